// Hugging Face's config.json of BERT and DistilBERT: read, checked, and the parameters it stands for, all before
// anything is allocated.

import { ArgumentError, FormatError } from '../errors'
import type { Shape } from '../tensor/shape'

/** The architectures that can be built, under Hugging Face's names. */
export const BERT_ARCHITECTURES = [
  'BertModel',
  'BertForMaskedLM',
  'BertForSequenceClassification',
  'DistilBertModel',
  'DistilBertForMaskedLM',
  'DistilBertForSequenceClassification',
] as const

/** The name of a class of Hugging Face's, as `architectures` of a config.json has it. */
export type BertArchitecture = (typeof BERT_ARCHITECTURES)[number]

/** One set of names for the two families' configurations. */
export interface BertConfig {
  readonly modelType: 'bert' | 'distilbert'
  /** What the file says its weights are; null if it does not say. */
  readonly architecture: BertArchitecture | null
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly numLayers: number
  readonly numHeads: number
  readonly intermediateSize: number
  /** The longest sequence. */
  readonly maxPositions: number
  /** 0 in DistilBERT, which has no token types. */
  readonly tokenTypes: number
  readonly activation: 'gelu' | 'relu'
  readonly layerNormEps: number
  /** On embeddings, attention outputs (BERT only) and feed-forward outputs. */
  readonly dropout: number
  /** On attention weights. */
  readonly attentionDropout: number
  /** Before the classifier. */
  readonly classifierDropout: number
  /** Standard deviation of new weights. */
  readonly initializerRange: number
  /** The id whose embedding gets no gradient from being looked up; null: none. */
  readonly padTokenId: number | null
  readonly numLabels: number
}

type Json = Readonly<Record<string, unknown>>

/**
 * Reads a config.json: its text, or the object in it.
 * @throws FormatError for architectures and options that are not supported, and for sizes that do not fit each other.
 */
export function parseBertConfig(config: string | object, source = 'config.json'): BertConfig {
  const json = objectOf(config, source)
  const field = fieldsOf(json, source)
  const modelType = json.model_type
  const named = Array.isArray(json.architectures) ? (json.architectures[0] as unknown) : null
  if (modelType !== 'bert' && modelType !== 'distilbert') {
    throw new FormatError(
      `${source}: model_type ${JSON.stringify(modelType)}${named ? ` (${String(named)})` : ''} is not supported; supported are 'bert' and 'distilbert'`,
    )
  }
  const distil = modelType === 'distilbert'
  const architecture = (named ?? null) as BertArchitecture | null
  if (architecture !== null && !architecturesOf(modelType).includes(architecture)) {
    throw new FormatError(
      `${source}: architecture ${JSON.stringify(named)} is not supported; supported for model_type '${modelType}' are ${architecturesOf(modelType).join(', ')}`,
    )
  }
  refuseOthers(json, source)
  const dropout = field.probability(distil ? 'dropout' : 'hidden_dropout_prob', 0.1)
  const parsed: BertConfig = {
    modelType,
    architecture,
    vocabSize: field.size('vocab_size'),
    hiddenSize: field.size(distil ? 'dim' : 'hidden_size'),
    numLayers: field.size(distil ? 'n_layers' : 'num_hidden_layers'),
    numHeads: field.size(distil ? 'n_heads' : 'num_attention_heads'),
    intermediateSize: field.size(distil ? 'hidden_dim' : 'intermediate_size'),
    maxPositions: field.size('max_position_embeddings'),
    tokenTypes: distil ? 0 : field.size('type_vocab_size', 2),
    activation: field.oneOf(distil ? 'activation' : 'hidden_act', ['gelu', 'relu']),
    layerNormEps: distil ? 1e-12 : field.positive('layer_norm_eps', 1e-12),
    dropout,
    attentionDropout: field.probability(distil ? 'attention_dropout' : 'attention_probs_dropout_prob', 0.1),
    classifierDropout: distil
      ? field.probability('seq_classif_dropout', 0.2)
      : field.probability('classifier_dropout', dropout),
    initializerRange: field.positive('initializer_range', 0.02),
    padTokenId: padding(json, source),
    numLabels: isObject(json.id2label)
      ? Object.keys(json.id2label).length
      : (json.num_labels ?? null) === null
        ? 2
        : field.size('num_labels'),
  }
  const { hiddenSize, numHeads, padTokenId, vocabSize, numLabels } = parsed
  if (hiddenSize % numHeads !== 0) {
    throw new FormatError(`${source}: ${numHeads} attention heads do not divide the width ${hiddenSize}`)
  }
  if (padTokenId !== null && padTokenId >= vocabSize) {
    throw new FormatError(
      `${source}: pad_token_id ${padTokenId} is not in a vocabulary of ${vocabSize}; expected 0 to ${vocabSize - 1}`,
    )
  }
  if (numLabels === 0) throw new FormatError(`${source}: id2label is empty; expected a name for each class`)
  return parsed
}

function objectOf(config: string | object, source: string): Json {
  let json: unknown = config
  if (typeof config === 'string') {
    try {
      json = JSON.parse(config)
    } catch (cause) {
      throw new FormatError(`${source}: not JSON (${String(cause)})`, { cause })
    }
  }
  if (!isObject(json)) throw new FormatError(`${source}: expected a JSON object`)
  return json
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function padding(json: Json, source: string): number | null {
  const id = json.pad_token_id === undefined ? 0 : json.pad_token_id
  if (id === null || (Number.isInteger(id) && (id as number) >= 0)) return id as number | null
  throw new FormatError(
    `${source}: pad_token_id is ${JSON.stringify(id)}; expected a token id from 0 upwards, or null`,
  )
}

/** What would change the computation and is not built here. */
function refuseOthers(json: Json, source: string): void {
  const expected: Json = {
    position_embedding_type: 'absolute',
    is_decoder: false,
    add_cross_attention: false,
    sinusoidal_pos_embds: false,
    tie_word_embeddings: true,
  }
  for (const [name, value] of Object.entries(expected)) {
    const given = json[name]
    if (given === undefined || given === null || given === value) continue
    throw new FormatError(
      `${source}: ${name} ${JSON.stringify(given)} is not supported; supported is ${JSON.stringify(value)}`,
    )
  }
}

/** Checked access to fields; null counts as absent. */
function fieldsOf(json: Json, source: string) {
  const read = (
    name: string,
    preset: unknown,
    valid: (value: number) => boolean,
    expected: string,
  ): number => {
    const value = json[name] ?? preset
    if (typeof value === 'number' && valid(value)) return value
    throw new FormatError(
      `${source}: ${name} is ${value === undefined ? 'missing' : JSON.stringify(value)}; expected ${expected}`,
    )
  }
  return {
    size: (name: string, preset?: number) =>
      read(name, preset, (n) => Number.isSafeInteger(n) && n > 0, 'a positive integer'),
    probability: (name: string, preset: number) =>
      read(name, preset, (p) => p >= 0 && p <= 1, 'a number from 0 to 1'),
    positive: (name: string, preset: number) =>
      read(name, preset, (x) => Number.isFinite(x) && x > 0, 'a positive number'),
    oneOf<T extends string>(name: string, choices: readonly T[]): T {
      const value = json[name] ?? choices[0]
      if (choices.includes(value as T)) return value as T
      throw new FormatError(
        `${source}: ${name} ${JSON.stringify(value)} is not supported; supported are ${choices.join(', ')}`,
      )
    },
  }
}

function architecturesOf(modelType: BertConfig['modelType']): BertArchitecture[] {
  return BERT_ARCHITECTURES.filter((name) => name.startsWith('Distil') === (modelType === 'distilbert'))
}

/** Checks that an architecture belongs to a configuration's family. Default: the configuration's own, or the base model. */
export function chooseArchitecture(config: BertConfig, wanted?: BertArchitecture): BertArchitecture {
  const choices = architecturesOf(config.modelType)
  const chosen = wanted ?? config.architecture ?? choices[0]
  if (choices.includes(chosen)) return chosen
  throw new ArgumentError(
    `${String(chosen)} cannot be built from a config of model_type '${config.modelType}'; expected one of ${choices.join(', ')}`,
  )
}

/** State-dict keys of one layer: query, key, value, out, norm1, linear1, linear2, norm2. */
const LAYER_KEYS = {
  bert: {
    query: 'attention.self.query',
    key: 'attention.self.key',
    value: 'attention.self.value',
    out: 'attention.output.dense',
    norm1: 'attention.output.LayerNorm',
    linear1: 'intermediate.dense',
    linear2: 'output.dense',
    norm2: 'output.LayerNorm',
  },
  distilbert: {
    query: 'attention.q_lin',
    key: 'attention.k_lin',
    value: 'attention.v_lin',
    out: 'attention.out_lin',
    norm1: 'sa_layer_norm',
    linear1: 'ffn.lin1',
    linear2: 'ffn.lin2',
    norm2: 'output_layer_norm',
  },
} as const

export const BERT_LAYER_KEYS = LAYER_KEYS.bert
export const DISTILBERT_LAYER_KEYS = LAYER_KEYS.distilbert

/**
 * The shape of every parameter of an architecture under its state-dict key, from the configuration alone. Masked language
 * models tie the decoder to the word embeddings, so it is not listed.
 */
export function bertParameterShapes(
  config: BertConfig,
  architecture: BertArchitecture = chooseArchitecture(config),
): Record<string, Shape> {
  chooseArchitecture(config, architecture)
  const { modelType, hiddenSize: E, intermediateSize: F, vocabSize, tokenTypes, numLabels } = config
  const shapes: Record<string, Shape> = {}
  const linear = (key: string, rows: number, cols: number): void => {
    shapes[`${key}.weight`] = [rows, cols]
    shapes[`${key}.bias`] = [rows]
  }
  const norm = (key: string): void => {
    shapes[`${key}.weight`] = [E]
    shapes[`${key}.bias`] = [E]
  }
  const isBase = architecture === 'BertModel' || architecture === 'DistilBertModel'
  const base = isBase ? '' : `${modelType}.`
  const embeddings = `${base}embeddings`
  shapes[`${embeddings}.word_embeddings.weight`] = [vocabSize, E]
  shapes[`${embeddings}.position_embeddings.weight`] = [config.maxPositions, E]
  if (tokenTypes > 0) shapes[`${embeddings}.token_type_embeddings.weight`] = [tokenTypes, E]
  norm(`${embeddings}.LayerNorm`)
  const names = LAYER_KEYS[modelType]
  const stack = modelType === 'bert' ? 'encoder' : 'transformer'
  for (let i = 0; i < config.numLayers; i++) {
    const layer = `${base}${stack}.layer.${i}`
    for (const name of ['query', 'key', 'value', 'out'] as const) linear(`${layer}.${names[name]}`, E, E)
    norm(`${layer}.${names.norm1}`)
    linear(`${layer}.${names.linear1}`, F, E)
    linear(`${layer}.${names.linear2}`, E, F)
    norm(`${layer}.${names.norm2}`)
  }
  if (architecture === 'BertModel' || architecture === 'BertForSequenceClassification')
    linear(`${base}pooler.dense`, E, E)
  if (architecture === 'BertForMaskedLM') {
    linear('cls.predictions.transform.dense', E, E)
    norm('cls.predictions.transform.LayerNorm')
    shapes['cls.predictions.bias'] = [vocabSize]
  }
  if (architecture === 'DistilBertForMaskedLM') {
    linear('vocab_transform', E, E)
    norm('vocab_layer_norm')
    shapes['vocab_projector.bias'] = [vocabSize]
  }
  if (architecture === 'DistilBertForSequenceClassification') linear('pre_classifier', E, E)
  if (architecture.endsWith('ForSequenceClassification')) linear('classifier', numLabels, E)
  return shapes
}

/** Number of parameters, from the configuration alone: 109,482,240 for BERT-base's BertModel. */
export function countBertParameters(config: BertConfig, architecture?: BertArchitecture): number {
  return Object.values(bertParameterShapes(config, architecture)).reduce(
    (total, shape) => total + shape.reduce((n, size) => n * size, 1),
    0,
  )
}
