// Models built from nn: the published sequence-model study's classes, and a text classifier for daily use.

import '../tensor/methods'

export {
  type AttentionBlockOptions,
  PostNormAttentionBlock,
  PreNormAttentionBlock,
} from './attention-blocks'
export { Encoder, type EncoderOptions } from './encoder'
export {
  DecoderAttention,
  type DecoderAttentionOptions,
  EncoderDecoder,
  type EncoderDecoderOptions,
} from './encoder-decoder'
export { GRUClassifier, type GRUClassifierOptions } from './gru-classifier'
export { SoftAttention, type SoftAttentionOptions } from './soft-attention'
export { Transformer, type TransformerOptions } from './transformer'
