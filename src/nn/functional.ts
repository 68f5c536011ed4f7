// Layers and losses as plain functions: `nn.functional.crossEntropy(logits, target)`.

export { gelu, logSigmoid, relu, sigmoid, silu, softplus, tanh } from '../tensor/ops/elementwise'
export { oneHot } from '../tensor/ops/indexing'
export { logSoftmax, softmax } from '../tensor/ops/softmax'
export { batchNorm, type BatchNormFunctionOptions } from './batch-norm'
export { conv1d, conv2d, type ConvFunctionOptions } from './conv'
export { dropout } from './dropout'
export { embedding } from './embedding'
export { layerNorm, type LayerNormFunctionOptions } from './layer-norm'
export { linear } from './linear'
export {
  type BceWithLogitsOptions,
  bceWithLogits,
  crossEntropy,
  type CrossEntropyOptions,
  nll,
  type NllOptions,
} from './loss'
export {
  cosineEmbedding,
  huber,
  type HuberOptions,
  klDiv,
  type KlDivOptions,
  l1,
  marginRanking,
  type MarginOptions,
  mse,
  smoothL1,
  type SmoothL1Options,
} from './pair-loss'
export type { Reduction, ReductionOptions } from './reduction'
export { maskedSoftmax } from './masked-softmax'
export { avgPool2d, type AvgPool2dOptions, maxPool2d, type MaxPool2dOptions } from './pooling'
export { rmsNorm, type RmsNormFunctionOptions } from './rms-norm'
export { rotary, type RotaryOptions } from './rotary'
