// `evenfold/compress`: models made smaller. What `evenfold` exports under `compress`.

export * from './distill'
export {
  loadModel,
  type LoadModelOptions,
  modelByteLength,
  modelToBytes,
  type ParametrizationMaker,
  saveModel,
  type SaveModelOptions,
} from './file'
export { compareMeasures, type Measure, measure, type MeasureOptions } from './measure'
export { type PassRecord, passesOf } from './passes'
export * from './prune'
export { dequantizeTensor, fakeQuantize, quantizeTensor } from './quantize/integers'
export { MinMaxObserver, MovingAverageObserver, Observer, PercentileObserver } from './quantize/observers'
export {
  chooseParams,
  type FullScheme,
  type IntegerType,
  QuantizationParams,
  type QuantizationScheme,
} from './quantize/scheme'
export {
  ActivationQuantizer,
  type ActivationScheme,
  type FullActivationScheme,
} from './quantize/activations'
export {
  type IntegerWeight,
  QuantizedLinear,
  type QuantizedLinearOptions,
  type WeightScheme,
} from './quantize/linear'
export type { LinearLike, QuantizedProjection } from './quantize/attention'
export { QuantizedEmbedding } from './quantize/embedding'
export type { LeftAlone } from './quantize/places'
export { quantize, type QuantizeOptions, type QuantizeReport } from './quantize/quantize'
export { loadQuantized, saveQuantized } from './quantize/file'
