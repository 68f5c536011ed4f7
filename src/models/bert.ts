// BERT (Devlin et al. 2019) and DistilBERT (Sanh et al. 2019), with Hugging Face's parameters under its names.
//
// The two differ in the names, in token types and the pooler, and in dropout after attention; so one class of each kind
// serves both, and a subclass gives it DistilBERT's names.

import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { Dropout } from '../nn/dropout'
import { Embedding } from '../nn/embedding'
import { attentionCore } from '../nn/attention-core'
import { normal_, zeros_ } from '../nn/init'
import { LayerNorm } from '../nn/layer-norm'
import { Linear, linear } from '../nn/linear'
import { crossEntropy } from '../nn/loss'
import { Module } from '../nn/module'
import { type LayerOptions, newParameter } from '../nn/options'
import type { Parameter } from '../nn/parameter'
import { inModule } from '../tensor/context'
import { copyInto } from '../tensor/mutate'
import { checkRange } from '../tensor/ops/indexing'
import { add, eq, gelu, logicalNot, mul, relu, tanh } from '../tensor/ops/elementwise'
import { narrow, reshape, select } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { BERT_LAYER_KEYS, type BertConfig, DISTILBERT_LAYER_KEYS } from './bert-config'
import { checkLikeTokens, checkTokens } from './tokens'

/** What the models take beside token ids. */
export interface BertInputs {
  /** `[B, T]`: 1 or true at tokens, 0 or false at padding. Default: all are tokens. */
  attentionMask?: Tensor | null
  /** [B, T] int32: which of two texts a token belongs to. Default all 0. DistilBERT has none. */
  tokenTypeIds?: Tensor | null
  /** Whether the outputs hold `hiddenStates`. Default false. */
  outputHiddenStates?: boolean
}

export interface BertOutput {
  /** [B, T, E] */
  lastHiddenState: Tensor
  /** `[B, E]`: tanh of a linear layer on the first token; null where there is no pooler. */
  poolerOutput: Tensor | null
  /** The embeddings and the output of each layer, numLayers + 1 in all; null unless asked for. */
  hiddenStates: Tensor[] | null
}

export interface BertHeadOutput {
  /** [B, T, V] of a masked language model, [B, numLabels] of a classifier. */
  logits: Tensor
  /** The mean cross-entropy, if labels were given. */
  loss: Tensor | null
  hiddenStates: Tensor[] | null
}

function newLinear(rows: number, cols: number, config: BertConfig, options: LayerOptions): Linear {
  const layer = new Linear(cols, rows, options)
  normal_(layer.weight, 0, config.initializerRange)
  if (layer.bias) zeros_(layer.bias)
  return layer
}

function newEmbedding(
  rows: number,
  config: BertConfig,
  options: LayerOptions,
  paddingIdx: number | null = null,
) {
  const table = new Embedding(rows, config.hiddenSize, { paddingIdx, ...options })
  // Scaled rather than drawn again: the padding row stays 0.
  noGrad(() => {
    copyInto(table.weight, mul(table.weight, config.initializerRange))
  })
  return table
}

function newNorm({ hiddenSize, layerNormEps: eps }: BertConfig, options: LayerOptions): LayerNorm {
  return new LayerNorm(hiddenSize, { eps, ...options })
}

/** The sum of word, position and token type embeddings, normalized. */
class Embeddings extends Module {
  static override readonly keys = { layerNorm: 'LayerNorm' }
  wordEmbeddings: Embedding
  positionEmbeddings: Embedding
  tokenTypeEmbeddings: Embedding | null
  layerNorm: LayerNorm
  dropout: Dropout

  constructor(config: BertConfig, options: LayerOptions) {
    super()
    this.wordEmbeddings = newEmbedding(config.vocabSize, config, options, config.padTokenId)
    this.positionEmbeddings = newEmbedding(config.maxPositions, config, options)
    this.tokenTypeEmbeddings = config.tokenTypes > 0 ? newEmbedding(config.tokenTypes, config, options) : null
    this.layerNorm = newNorm(config, options)
    this.dropout = new Dropout(config.dropout)
  }

  forward(ids: Tensor, tokenTypeIds: Tensor | null): Tensor {
    return tidy(() => {
      const positions = narrow(this.positionEmbeddings.weight, 0, 0, ids.shape[1])
      let sum = add(this.wordEmbeddings.forward(ids), positions)
      const types = this.tokenTypeEmbeddings
      if (types) sum = add(sum, tokenTypeIds ? types.forward(tokenTypeIds) : select(types.weight, 0, 0))
      return this.dropout.forward(this.layerNorm.forward(sum))
    })
  }
}

/** Attention and feed-forward, each normalized after the residual sum. */
export class BertLayer extends Module {
  static override readonly keys: Readonly<Record<string, string>> = BERT_LAYER_KEYS
  readonly #config: BertConfig
  query: Linear
  key: Linear
  value: Linear
  out: Linear
  norm1: LayerNorm
  linear1: Linear
  linear2: Linear
  norm2: LayerNorm
  dropout1: Dropout
  dropout2: Dropout

  constructor(config: BertConfig, options: LayerOptions) {
    super()
    const { hiddenSize: E, intermediateSize: F } = config
    this.#config = config
    this.query = newLinear(E, E, config, options)
    this.key = newLinear(E, E, config, options)
    this.value = newLinear(E, E, config, options)
    this.out = newLinear(E, E, config, options)
    this.norm1 = newNorm(config, options)
    this.linear1 = newLinear(F, E, config, options)
    this.linear2 = newLinear(E, F, config, options)
    this.norm2 = newNorm(config, options)
    // DistilBERT has none after attention.
    this.dropout1 = new Dropout(config.modelType === 'bert' ? config.dropout : 0)
    this.dropout2 = new Dropout(config.dropout)
  }

  /** Width of a head. */
  get headDim(): number {
    return this.#config.hiddenSize / this.#config.numHeads
  }

  /** `x` [B, T, E]; `padding` broadcasts to [B, heads, T, T], true at keys to ignore. */
  forward(x: Tensor, padding: Tensor | null): Tensor {
    const { activation, attentionDropout } = this.#config
    const [B, T] = x.shape
    const { headDim: width } = this
    // Heads may have been removed.
    const inner = this.query.outFeatures
    const numHeads = inner / width
    return tidy(() => {
      const [q, k, v] = [this.query, this.key, this.value].map((layer) =>
        reshape(layer.forward(x), [B, T, numHeads, width]),
      )
      const { output } = attentionCore(q, k, v, {
        masks: padding ? [{ kind: 'exclude', mask: padding }] : [],
        causal: false,
        scale: 1 / Math.sqrt(width),
        dropout: this.training ? attentionDropout : 0,
        needWeights: false,
      })
      const attended = this.dropout1.forward(this.out.forward(reshape(output, [B, T, inner])))
      const a = this.norm1.forward(add(x, attended))
      const hidden = activate(activation, this.linear1.forward(a))
      return this.norm2.forward(add(a, this.dropout2.forward(this.linear2.forward(hidden))))
    })
  }
}

class DistilBertLayer extends BertLayer {
  static override readonly keys = DISTILBERT_LAYER_KEYS
}

function activate(name: BertConfig['activation'], x: Tensor): Tensor {
  return name === 'gelu' ? gelu(x) : relu(x)
}

function checkFamily(model: string, config: BertConfig, family: BertConfig['modelType']): void {
  if (config.modelType !== family) {
    throw new ArgumentError(
      `${model}: the config is of model_type '${config.modelType}'; expected '${family}'`,
    )
  }
}

export interface BertModelOptions extends LayerOptions {
  /** Whether there is a pooler. Default true; DistilBERT never has one. */
  pooler?: boolean
}

/** Token ids [B, T] to a vector per token. 109,482,240 parameters in BERT-base. */
export class BertModel extends Module {
  static override readonly keys: Readonly<Record<string, string>> = {
    layers: 'encoder.layer',
    pooler: 'pooler.dense',
  }
  embeddings: Embeddings
  layers: BertLayer[]
  pooler: Linear | null

  constructor(
    readonly config: BertConfig,
    { pooler = true, ...options }: BertModelOptions = {},
  ) {
    super()
    this.checkConfig()
    const distil = config.modelType === 'distilbert'
    const { hiddenSize, numLayers } = config
    this.embeddings = new Embeddings(config, options)
    this.layers = Array.from({ length: numLayers }, () =>
      distil ? new DistilBertLayer(config, options) : new BertLayer(config, options),
    )
    this.pooler = pooler && !distil ? newLinear(hiddenSize, hiddenSize, config, options) : null
  }

  protected checkConfig(): void {
    checkFamily('BertModel', this.config, 'bert')
  }

  /**
   * `ids` [B, T] int32.
   * @throws ShapeError for sequences longer than the positions and for masks and types of another shape; IndexError for
   * ids outside the vocabulary; before anything is computed.
   */
  forward(ids: Tensor, inputs: BertInputs = {}): BertOutput {
    const { attentionMask = null, tokenTypeIds = null, outputHiddenStates = false } = inputs
    this.#check(ids, attentionMask, tokenTypeIds)
    return tidy(() => {
      const padding = attentionMask && paddingOf(attentionMask)
      const states = [this.embeddings.forward(ids, tokenTypeIds)]
      for (const layer of this.layers) {
        const x = states[states.length - 1]
        states.push(layer.forward(x, padding))
      }
      const lastHiddenState = states[states.length - 1]
      const poolerOutput = this.pooler && tanh(this.pooler.forward(select(lastHiddenState, 1, 0)))
      return { lastHiddenState, poolerOutput, hiddenStates: outputHiddenStates ? states : null }
    })
  }

  #check(ids: Tensor, attentionMask: Tensor | null, tokenTypeIds: Tensor | null): void {
    const { maxPositions, tokenTypes } = this.config
    const { table } = this.embeddings.wordEmbeddings
    checkTokens('BERT', ids, { table, positions: maxPositions })
    checkLikeTokens('BERT', ids, { attentionMask, tokenTypeIds })
    if (tokenTypeIds && tokenTypes === 0)
      throw new ArgumentError(`tokenTypeIds: DistilBERT has no token types${inModule()}; leave them out`)
    if (tokenTypeIds && tokenTypeIds.dtype !== 'int32')
      throw new DTypeError(`BERT: tokenTypeIds are ${tokenTypeIds.dtype}${inModule()}; expected int32`)
    if (tokenTypeIds) checkRange('BERT: tokenTypeIds', tokenTypeIds, tokenTypes, 'token type')
  }
}

/** [B, T] to [B, 1, 1, T], true at padding. */
function paddingOf(mask: Tensor): Tensor {
  const padding = mask.dtype === 'bool' ? logicalNot(mask) : eq(mask, 0)
  return reshape(padding, [mask.shape[0], 1, 1, mask.shape[1]])
}

/** BERT without token types and pooler, half as deep. 66,362,880 parameters in distilbert-base. */
export class DistilBertModel extends BertModel {
  static override readonly keys = { layers: 'transformer.layer' }

  protected override checkConfig(): void {
    checkFamily('DistilBertModel', this.config, 'distilbert')
  }
}

/** The base model of a model with a head. */
function newBase(config: BertConfig, options: BertModelOptions): BertModel {
  return config.modelType === 'bert' ? new BertModel(config, options) : new DistilBertModel(config, options)
}

/** Predicts the token at every position; the decoder is the table of word embeddings. */
export class BertForMaskedLM extends Module {
  static override readonly keys: Readonly<Record<string, string>> = {
    transform: 'cls.predictions.transform.dense',
    norm: 'cls.predictions.transform.LayerNorm',
    decoderBias: 'cls.predictions.bias',
  }
  bert: BertModel
  transform: Linear
  norm: LayerNorm
  /** [V] */
  decoderBias: Parameter

  constructor(
    readonly config: BertConfig,
    options: LayerOptions = {},
  ) {
    super()
    const { hiddenSize, vocabSize } = config
    this.checkConfig()
    this.bert = newBase(config, { ...options, pooler: false })
    this.transform = newLinear(hiddenSize, hiddenSize, config, options)
    this.norm = newNorm(config, options)
    this.decoderBias = zeros_(newParameter('BertForMaskedLM', [vocabSize], options))
  }

  protected checkConfig(): void {
    checkFamily('BertForMaskedLM', this.config, 'bert')
  }

  /** `labels` [B, T] int32: the tokens to predict, -100 where none is asked for. */
  forward(ids: Tensor, { labels = null, ...inputs }: BertInputs & { labels?: Tensor | null } = {}) {
    if (labels) checkLabels(labels, ids.shape)
    return tidy((): BertHeadOutput => {
      const { lastHiddenState, hiddenStates } = this.bert.forward(ids, inputs)
      const features = this.norm.forward(
        activate(this.config.activation, this.transform.forward(lastHiddenState)),
      )
      const logits = linear(features, this.bert.embeddings.wordEmbeddings.weight, this.decoderBias)
      return { logits, loss: labels && this.#loss(logits, labels), hiddenStates }
    })
  }

  #loss(logits: Tensor, labels: Tensor): Tensor {
    const [B, T, V] = logits.shape
    return crossEntropy(reshape(logits, [B * T, V]), reshape(labels, [B * T]))
  }
}

export class DistilBertForMaskedLM extends BertForMaskedLM {
  static override readonly keys = {
    bert: 'distilbert',
    transform: 'vocab_transform',
    norm: 'vocab_layer_norm',
    decoderBias: 'vocab_projector.bias',
  }

  protected override checkConfig(): void {
    checkFamily('DistilBertForMaskedLM', this.config, 'distilbert')
  }
}

/** Sorts texts into classes, by their first token. */
export class BertForSequenceClassification extends Module {
  static override readonly keys: Readonly<Record<string, string>> = {}
  bert: BertModel
  /** DistilBERT's own layer before the classifier, where BERT has the pooler. */
  preClassifier: Linear | null
  dropout: Dropout
  classifier: Linear

  constructor(
    readonly config: BertConfig,
    options: LayerOptions = {},
  ) {
    super()
    const { hiddenSize, numLabels, modelType } = config
    this.checkConfig()
    this.bert = newBase(config, options)
    this.preClassifier =
      modelType === 'distilbert' ? newLinear(hiddenSize, hiddenSize, config, options) : null
    this.dropout = new Dropout(config.classifierDropout)
    this.classifier = newLinear(numLabels, hiddenSize, config, options)
  }

  protected checkConfig(): void {
    checkFamily('BertForSequenceClassification', this.config, 'bert')
  }

  /** `labels` [B] int32: the class of each text. */
  forward(ids: Tensor, { labels = null, ...inputs }: BertInputs & { labels?: Tensor | null } = {}) {
    if (labels) checkLabels(labels, ids.shape.slice(0, 1))
    return tidy((): BertHeadOutput => {
      const { lastHiddenState, poolerOutput, hiddenStates } = this.bert.forward(ids, inputs)
      const pooled = this.preClassifier
        ? relu(this.preClassifier.forward(select(lastHiddenState, 1, 0)))
        : (poolerOutput as Tensor)
      const logits = this.classifier.forward(this.dropout.forward(pooled))
      return { logits, loss: labels && crossEntropy(logits, labels), hiddenStates }
    })
  }
}

export class DistilBertForSequenceClassification extends BertForSequenceClassification {
  static override readonly keys = { bert: 'distilbert' }

  protected override checkConfig(): void {
    checkFamily('DistilBertForSequenceClassification', this.config, 'distilbert')
  }
}

function checkLabels(labels: Tensor, shape: readonly number[]): void {
  if (!sameShape(labels.shape, shape)) {
    throw new ShapeError(
      `labels have shape ${formatShape(labels.shape)}${inModule()}; expected ${formatShape(shape)}`,
    )
  }
  if (labels.dtype !== 'int32')
    throw new DTypeError(`labels are ${labels.dtype}${inModule()}; expected int32`)
}
