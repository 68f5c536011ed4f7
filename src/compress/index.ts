// `evenfold/compress`: models made smaller. What `evenfold` exports under `compress`.

export * from './distill'
export { type PassRecord, passesOf } from './passes'
export type { Amount } from './prune/amount'
export { Mask } from './prune/mask'
export {
  makePermanent,
  prune,
  type PrunedParameter,
  type PruneOptions,
  setMask,
  undoPruning,
} from './prune/prune'
export { movementScores, type Scores, snipScores, taylorScores, wandaScores } from './prune/scores'
export { dequantizeTensor, fakeQuantize, quantizeTensor } from './quantize/integers'
export { MinMaxObserver, MovingAverageObserver, Observer, PercentileObserver } from './quantize/observers'
export {
  chooseParams,
  type FullScheme,
  type IntegerType,
  QuantizationParams,
  type QuantizationScheme,
} from './quantize/scheme'
