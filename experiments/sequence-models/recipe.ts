// The six experiments of the published study: what each trains and what was published. The models' sizes are the
// defaults of the library's classes.

/** Sizes that a run may choose; the study's where absent. */
export interface Sizes {
  /** Rows of the embedding; default 30,522. */
  vocabularySize?: number
  /** Of embeddings, states and feed-forward parts in experiments 1 to 5; default 256. */
  width?: number
}

export interface Experiment {
  number: number
  name: string
  /** Of this project's run: at the published 1e-5 a run of a few hundred steps stays at chance. */
  lr: number
  /** From the study's log: 7,032 batches of 512 titles of Amazon Polarity, 1,000 validation rows. */
  published: Published
}

export interface Published {
  parameters: number
  bestAccuracy: number
  lastAccuracy: number
  lastF1: number
  minTrainLoss: number
  minValidationLoss: number
  trainSeconds: number
  /** Of one evaluation. */
  evaluationSeconds: number
  gpuGiB: number
}

const GRU_LR = 1e-3
const TRANSFORMER_LR = 3e-4
/** A linear layer on frozen features wants larger steps than a network does. */
const PROBE_LR = 1e-2

export const EXPERIMENTS: readonly Experiment[] = [
  {
    number: 1,
    name: 'GRU encoder',
    lr: GRU_LR,
    published: {
      parameters: 8_603_136,
      bestAccuracy: 0.812,
      lastAccuracy: 0.803,
      lastF1: 0.8012,
      minTrainLoss: 0.343,
      minValidationLoss: 0.409,
      trainSeconds: 986,
      evaluationSeconds: 0.11,
      gpuGiB: 6.178,
    },
  },
  {
    number: 2,
    name: 'GRU encoder-decoder',
    lr: GRU_LR,
    published: {
      parameters: 9_195_008,
      bestAccuracy: 0.833,
      lastAccuracy: 0.828,
      lastF1: 0.8307,
      minTrainLoss: 0.313,
      minValidationLoss: 0.371,
      trainSeconds: 1487,
      evaluationSeconds: 0.151,
      gpuGiB: 8.044,
    },
  },
  {
    number: 3,
    name: 'Transformer, pre-norm, 2 layers',
    lr: TRANSFORMER_LR,
    published: {
      parameters: 8_671_744,
      bestAccuracy: 0.787,
      lastAccuracy: 0.784,
      lastF1: 0.7769,
      minTrainLoss: 0.421,
      minValidationLoss: 0.454,
      trainSeconds: 2502,
      evaluationSeconds: 0.269,
      gpuGiB: 7.448,
    },
  },
  {
    number: 4,
    name: 'Transformer, pre-norm, 4 layers',
    lr: TRANSFORMER_LR,
    published: {
      parameters: 9_463_296,
      bestAccuracy: 0.797,
      lastAccuracy: 0.796,
      lastF1: 0.8035,
      minTrainLoss: 0.42,
      minValidationLoss: 0.436,
      trainSeconds: 4527,
      evaluationSeconds: 0.397,
      gpuGiB: 12.262,
    },
  },
  {
    number: 5,
    name: 'Transformer, post-norm, 2 layers',
    lr: TRANSFORMER_LR,
    published: {
      parameters: 8_671_744,
      bestAccuracy: 0.785,
      lastAccuracy: 0.736,
      lastF1: 0.6819,
      minTrainLoss: 0.429,
      minValidationLoss: 0.456,
      trainSeconds: 2412,
      evaluationSeconds: 0.232,
      gpuGiB: 7.578,
    },
  },
  {
    number: 6,
    name: 'BERT, frozen',
    lr: PROBE_LR,
    published: {
      parameters: 109_482_240,
      bestAccuracy: 0.809,
      lastAccuracy: 0.807,
      lastF1: 0.806,
      minTrainLoss: 0.42,
      minValidationLoss: 0.4255,
      trainSeconds: 30362,
      evaluationSeconds: 5.843,
      gpuGiB: 8.432,
    },
  },
]

/** AdamW's constants in the study. */
export const ADAMW = { eps: 1e-8, weightDecay: 0.01 }
export const DROPOUT = 0.3
export const HEADS = 4

const bert = (sizes: Record<string, number>) => ({
  model_type: 'bert',
  architectures: ['BertModel'],
  ...sizes,
})

/** bert-base-uncased, the study's sixth model, as its config.json has it. */
export const BERT_BASE = bert({
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  max_position_embeddings: 512,
  type_vocab_size: 2,
})

/**
 * What stands in for it without weights: BERT-tiny's sizes (Turc et al. 2019), or smaller ones. Its random weights are
 * wider than BERT's 0.02, with which a layer passes on so little that an untrained [CLS] hardly depends on the text.
 */
export const bertTiny = ({ vocabularySize = 30522, width = 256 }: Sizes) =>
  bert({
    initializer_range: 0.1,
    vocab_size: vocabularySize,
    hidden_size: Math.min(128, width),
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 4 * Math.min(128, width),
    max_position_embeddings: 512,
    type_vocab_size: 2,
  })
