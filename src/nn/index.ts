// torch.nn for evenfold: `import { nn } from 'evenfold'`.

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
export { BatchNorm1d, BatchNorm2d, type BatchNormOptions } from './batch-norm'
export { ModuleList, Sequential } from './container'
export { Conv1d, Conv2d, type ConvOptions, type Pair } from './conv'
export { Dropout } from './dropout'
export { Embedding } from './embedding'
export * as functional from './functional'
export { generate, type Generated, type GenerateOptions, type NextLogits } from './generate'
export { GRU } from './gru'
export * as init from './init'
export { KeyValueCache, type KeysAndValues } from './key-value-cache'
export { LayerNorm, type LayerNormOptions } from './layer-norm'
export { Linear } from './linear'
export { BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss } from './loss'
export { LSTM } from './lstm'
export { type Layer, Module, type StateDict } from './module'
export {
  type AttentionForwardOptions,
  type AttentionMaskOptions,
  InputProjection,
  type MaskPlacement,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from './multihead-attention'
export type { LayerOptions } from './options'
export { Buffer, Parameter } from './parameter'
export {
  CosineEmbeddingLoss,
  HuberLoss,
  KLDivLoss,
  L1Loss,
  MarginRankingLoss,
  MSELoss,
  SmoothL1Loss,
} from './pair-loss'
export {
  bakeParametrization,
  namedOriginals,
  originalOf,
  Parametrization,
  type ParametrizationConfig,
  Parametrized,
  type ParametrizedEntry,
  parametrizationsOf,
  parametrize,
  removeParametrization,
} from './parametrize'
export { AvgPool2d, MaxPool2d } from './pooling'
export type { RecurrentOptions, SequenceMask } from './recurrent-layer'
export { RMSNorm, type RMSNormOptions } from './rms-norm'
export { RNN, type RNNOptions } from './rnn'
export {
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerMaskOptions,
} from './transformer'
export {
  TransformerDecoder,
  TransformerDecoderLayer,
  type TransformerDecoderMaskOptions,
} from './transformer-decoder'
export type { TransformerLayerOptions } from './transformer-layer'
