// Models built from nn: the published sequence-model study's classes, and a text classifier for daily use.

export {
  type AttentionBlockOptions,
  PostNormAttentionBlock,
  PreNormAttentionBlock,
} from './attention-blocks'
export {
  BertForMaskedLM,
  BertForSequenceClassification,
  type BertHeadOutput,
  type BertInputs,
  BertModel,
  type BertModelOptions,
  type BertOutput,
  DistilBertForMaskedLM,
  DistilBertForSequenceClassification,
  DistilBertModel,
} from './bert'
export {
  BERT_ARCHITECTURES,
  type BertArchitecture,
  type BertConfig,
  bertParameterShapes,
  countBertParameters,
  parseBertConfig,
} from './bert-config'
export { Encoder, type EncoderOptions } from './encoder'
export {
  DecoderAttention,
  type DecoderAttentionOptions,
  EncoderDecoder,
  type EncoderDecoderOptions,
} from './encoder-decoder'
export { GRUClassifier, type GRUClassifierOptions } from './gru-classifier'
export { Llama, type LlamaConfig } from './llama'
export { loadLlama2c } from './llama2c'
export {
  type BertModelOf,
  buildBert,
  loadPretrained,
  type LoadPretrainedOptions,
  type Pretrained,
  type PretrainedFiles,
} from './pretrained'
export { SoftAttention, type SoftAttentionOptions } from './soft-attention'
export { TransformerClassifier, type TransformerClassifierOptions } from './transformer-classifier'
export { Transformer, type TransformerOptions } from './transformer'
