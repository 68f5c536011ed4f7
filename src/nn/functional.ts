// Layers and losses as plain functions: `nn.functional.crossEntropy(logits, target)`.

export { gelu, logSigmoid, relu, sigmoid, silu, softplus, tanh } from '../tensor/ops/elementwise'
export { oneHot } from '../tensor/ops/indexing'
export { logSoftmax, softmax } from '../tensor/ops/softmax'
export { dropout } from './dropout'
export { embedding } from './embedding'
export { layerNorm, type LayerNormFunctionOptions } from './layer-norm'
export { linear } from './linear'
export {
  type BceWithLogitsOptions,
  bceWithLogits,
  crossEntropy,
  type CrossEntropyOptions,
  mse,
  type Reduction,
} from './loss'
export { maskedSoftmax } from './masked-softmax'
export { rmsNorm, type RmsNormFunctionOptions } from './rms-norm'
