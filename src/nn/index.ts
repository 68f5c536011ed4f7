// torch.nn for evenfold: `import { nn } from 'evenfold'`.

import '../tensor/methods'

export {
  Flatten,
  GELU,
  Identity,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
} from './activation'
export { ModuleList, Sequential } from './container'
export { Dropout } from './dropout'
export { Embedding } from './embedding'
export * as functional from './functional'
export { GRU, type GRUOptions, type SequenceMask } from './gru'
export * as init from './init'
export { LayerNorm, type LayerNormOptions } from './layer-norm'
export { Linear } from './linear'
export { BCEWithLogitsLoss, CrossEntropyLoss, MSELoss } from './loss'
export { type Layer, Module, type StateDict } from './module'
export {
  type AttentionForwardOptions,
  type AttentionMaskOptions,
  type MaskPlacement,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from './multihead-attention'
export type { LayerOptions } from './options'
export { Buffer, Parameter } from './parameter'
export { RMSNorm, type RMSNormOptions } from './rms-norm'
export {
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerEncoderLayerOptions,
  type TransformerMaskOptions,
} from './transformer'
