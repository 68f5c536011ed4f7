// Llama (Touvron et al. 2023): a decoder with rotary positions, RMSNorm and a gated feed-forward part; parameters under
// the names of Meta's code and llama2.c.

import { ArgumentError } from '../errors'
import { attentionCore } from '../nn/attention-core'
import { Embedding } from '../nn/embedding'
import { type Generated, generate, type GenerateOptions } from '../nn/generate'
import { normal_ } from '../nn/init'
import type { KeyValueCache } from '../nn/key-value-cache'
import { linear, Linear } from '../nn/linear'
import { Module } from '../nn/module'
import { checkEps, checkSizes, type LayerOptions } from '../nn/options'
import { RMSNorm } from '../nn/rms-norm'
import { rotary } from '../nn/rotary'
import { add, mul, silu } from '../tensor/ops/elementwise'
import { expand, reshape, unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { checkTokens } from './tokens'

export interface LlamaConfig {
  readonly vocabularySize: number
  readonly embedDim: number
  /** Width of the feed-forward part. */
  readonly hiddenDim: number
  readonly numLayers: number
  readonly numHeads: number
  /** Heads of keys and values, each shared by numHeads / numKeyHeads heads of queries. Default numHeads. */
  readonly numKeyHeads?: number
  /** The longest sequence. */
  readonly maxPositions: number
  /** Default 1e-5. */
  readonly normEps?: number
  /** Of the rotary positions. Default 10,000. */
  readonly rotaryBase?: number
  /** Whether the embeddings are the output layer too. Default true. */
  readonly tied?: boolean
}

type Sizes = Required<LlamaConfig>

function newLinear(rows: number, cols: number, options: LayerOptions): Linear {
  const layer = new Linear(cols, rows, { bias: false, ...options })
  normal_(layer.weight, 0, 0.02)
  return layer
}

export class LlamaLayer extends Module {
  static override readonly keys = {
    wq: 'attention.wq',
    wk: 'attention.wk',
    wv: 'attention.wv',
    wo: 'attention.wo',
    w1: 'feed_forward.w1',
    w2: 'feed_forward.w2',
    w3: 'feed_forward.w3',
  }
  readonly #sizes: Sizes
  attentionNorm: RMSNorm
  wq: Linear
  wk: Linear
  wv: Linear
  wo: Linear
  ffnNorm: RMSNorm
  w1: Linear
  w2: Linear
  w3: Linear

  constructor(sizes: Sizes, options: LayerOptions) {
    super()
    const { embedDim: E, hiddenDim: F, numHeads, numKeyHeads, normEps: eps } = sizes
    const keyWidth = (E / numHeads) * numKeyHeads
    this.#sizes = sizes
    this.attentionNorm = new RMSNorm(E, { eps, ...options })
    this.wq = newLinear(E, E, options)
    this.wk = newLinear(keyWidth, E, options)
    this.wv = newLinear(keyWidth, E, options)
    this.wo = newLinear(E, E, options)
    this.ffnNorm = new RMSNorm(E, { eps, ...options })
    this.w1 = newLinear(F, E, options)
    this.w2 = newLinear(E, F, options)
    this.w3 = newLinear(F, E, options)
  }

  /** Width of a head. */
  get headDim(): number {
    return this.#sizes.embedDim / this.#sizes.numHeads
  }

  /** Heads of queries, and of keys and values; fewer than in the config where some were removed. */
  get numHeads(): number {
    return this.wq.outFeatures / this.headDim
  }

  get numKeyHeads(): number {
    return this.wk.outFeatures / this.headDim
  }

  forward(x: Tensor, cache: KeyValueCache | null): Tensor {
    const { rotaryBase: base } = this.#sizes
    const [B, T] = x.shape
    const { headDim: d, numHeads, numKeyHeads } = this
    const offset = cache?.lengthOf(this) ?? 0
    return tidy(() => {
      const a = this.attentionNorm.forward(x)
      const headed = (layer: Linear, heads: number) => reshape(layer.forward(a), [B, T, heads, d])
      const q = rotary(headed(this.wq, numHeads), { base, offset })
      const k = rotary(headed(this.wk, numKeyHeads), { base, offset })
      const v = headed(this.wv, numKeyHeads)
      const [keys, values] = cache ? cache.append(this, k, v) : [k, v]
      const { output } = attentionCore(q, this.#shared(keys), this.#shared(values), {
        masks: [],
        causal: true,
        offset,
        scale: 1 / Math.sqrt(d),
        dropout: 0,
        needWeights: false,
      })
      const h = add(x, this.wo.forward(reshape(output, [B, T, numHeads * d])))
      const b = this.ffnNorm.forward(h)
      const fed = this.w2.forward(mul(silu(this.w1.forward(b)), this.w3.forward(b)))
      return add(h, fed)
    })
  }

  /** One head of keys or values for each head of queries. */
  #shared(t: Tensor): Tensor {
    const { numHeads, numKeyHeads } = this
    if (numHeads === numKeyHeads) return t
    const [B, S, , d] = t.shape
    const wide = expand(unsqueeze(t, 3), [B, S, numKeyHeads, numHeads / numKeyHeads, d])
    return reshape(wide, [B, S, numHeads, d])
  }
}

/** Token ids [B, T] to logits [B, T, V] of the next token. */
export class Llama extends Module {
  readonly config: Sizes
  tokEmbeddings: Embedding
  layers: LlamaLayer[]
  norm: RMSNorm
  /** Null where the embeddings serve as the output layer. */
  output: Linear | null

  /** @throws ArgumentError for sizes that do not fit each other, before anything is allocated. */
  constructor(config: LlamaConfig, options: LayerOptions = {}) {
    super()
    const { numHeads, numKeyHeads = numHeads, normEps = 1e-5, rotaryBase = 10000, tied = true } = config
    const sizes = { ...config, numKeyHeads, normEps, rotaryBase, tied }
    const { vocabularySize, embedDim, hiddenDim, numLayers, maxPositions } = config
    checkSizes('Llama', { vocabularySize, embedDim, hiddenDim, numLayers, maxPositions })
    checkSizes('Llama', { numHeads, numKeyHeads })
    if (embedDim % (2 * numHeads) !== 0) {
      throw new ArgumentError(
        `Llama: ${numHeads} heads do not divide embedDim ${embedDim} into even widths; choose another numHeads`,
      )
    }
    if (numHeads % numKeyHeads !== 0)
      throw new ArgumentError(`Llama: numKeyHeads ${numKeyHeads} does not divide numHeads ${numHeads}`)
    checkEps('Llama', 'normEps', normEps)
    if (!(Number.isFinite(rotaryBase) && rotaryBase > 0))
      throw new ArgumentError(`Llama: rotaryBase is ${rotaryBase}; expected a positive number`)
    this.config = sizes
    this.tokEmbeddings = new Embedding(vocabularySize, embedDim, options)
    normal_(this.tokEmbeddings.weight, 0, 0.02)
    this.layers = Array.from({ length: numLayers }, () => new LlamaLayer(sizes, options))
    this.norm = new RMSNorm(embedDim, { eps: normEps, ...options })
    this.output = tied ? null : newLinear(vocabularySize, embedDim, options)
  }

  /**
   * `ids` [B, T] int32. With a cache, inside `noGrad`, they come after the positions that it holds, and theirs are added.
   * @throws ShapeError for sequences longer than the model's positions, IndexError for ids outside its vocabulary, before
   * anything is computed.
   */
  forward(ids: Tensor, { cache = null }: { cache?: KeyValueCache | null } = {}): Tensor {
    this.#check(ids, cache)
    return tidy(() => {
      const x = this.layers.reduce(
        (input, layer) => layer.forward(input, cache),
        this.tokEmbeddings.forward(ids),
      )
      return linear(this.norm.forward(x), (this.output ?? this.tokEmbeddings).weight)
    })
  }

  /** The ids that follow a prompt, or each of several, as `nn.generate` says; at most up to the model's last position. */
  generate<P extends readonly number[] | readonly (readonly number[])[]>(
    prompts: P,
    options: Omit<GenerateOptions, 'device'> = {},
  ): Promise<Generated<P>> {
    const maxLength = Math.min(options.maxLength ?? Infinity, this.config.maxPositions)
    const { device } = this.tokEmbeddings.weight
    return generate((ids, cache) => this.forward(ids, { cache }), prompts, { ...options, maxLength, device })
  }

  #check(ids: Tensor, cache: KeyValueCache | null): void {
    const { maxPositions: positions } = this.config
    checkTokens('Llama', ids, { table: this.tokEmbeddings.table, positions, past: cache?.length ?? 0 })
  }
}
