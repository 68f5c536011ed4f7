// Llama (Touvron et al. 2023): a decoder with rotary positions, RMSNorm and a gated feed-forward part; parameters under
// the names of Meta's code and llama2.c.

import { ArgumentError, ShapeError } from '../errors'
import { attentionCore } from '../nn/attention-core'
import { Embedding } from '../nn/embedding'
import { normal_ } from '../nn/init'
import { linear, Linear } from '../nn/linear'
import { Module } from '../nn/module'
import { checkSizes, type LayerOptions } from '../nn/options'
import { RMSNorm } from '../nn/rms-norm'
import { rotary } from '../nn/rotary'
import { inModule } from '../tensor/context'
import { tensor } from '../tensor/create'
import { checkRange } from '../tensor/ops/indexing'
import { add, mul, silu } from '../tensor/ops/elementwise'
import { cat } from '../tensor/ops/join'
import { argmax } from '../tensor/ops/reduce'
import { expand, reshape, select, unsqueeze } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

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

/** Keys and values of the positions so far, [B, S, numKeyHeads, d], per layer. */
export type LlamaCache = readonly { readonly keys: Tensor; readonly values: Tensor }[]

type Sizes = Required<LlamaConfig>

function newLinear(rows: number, cols: number, options: LayerOptions): Linear {
  const layer = new Linear(cols, rows, { bias: false, ...options })
  normal_(layer.weight, 0, 0.02)
  return layer
}

class LlamaLayer extends Module {
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

  forward(x: Tensor, past: LlamaCache[number] | null): { output: Tensor; seen: LlamaCache[number] } {
    const { embedDim: E, numHeads, numKeyHeads, rotaryBase: base } = this.#sizes
    const [B, T] = x.shape
    const d = E / numHeads
    const offset = past ? past.keys.shape[1] : 0
    return tidy(() => {
      const a = this.attentionNorm.forward(x)
      const headed = (layer: Linear, heads: number) => reshape(layer.forward(a), [B, T, heads, d])
      const q = rotary(headed(this.wq, numHeads), { base, offset })
      const k = rotary(headed(this.wk, numKeyHeads), { base, offset })
      const v = headed(this.wv, numKeyHeads)
      const keys = past ? cat([past.keys, k], 1) : k
      const values = past ? cat([past.values, v], 1) : v
      const { output } = attentionCore(q, this.#shared(keys), this.#shared(values), {
        masks: [],
        // Beyond a cache there is one query, which sees everything.
        causal: !past,
        scale: 1 / Math.sqrt(d),
        dropout: 0,
        needWeights: false,
      })
      const h = add(x, this.wo.forward(reshape(output, [B, T, E])))
      const b = this.ffnNorm.forward(h)
      const fed = this.w2.forward(mul(silu(this.w1.forward(b)), this.w3.forward(b)))
      return { output: add(h, fed), seen: { keys, values } }
    })
  }

  /** One head of keys or values for each head of queries. */
  #shared(t: Tensor): Tensor {
    const { numHeads, numKeyHeads } = this.#sizes
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
    this.config = sizes
    this.tokEmbeddings = new Embedding(vocabularySize, embedDim, options)
    normal_(this.tokEmbeddings.weight, 0, 0.02)
    this.layers = Array.from({ length: numLayers }, () => new LlamaLayer(sizes, options))
    this.norm = new RMSNorm(embedDim, { eps: normEps, ...options })
    this.output = tied ? null : newLinear(vocabularySize, embedDim, options)
  }

  /** `ids` [B, T] int32. */
  forward(ids: Tensor): Tensor {
    return tidy(() => this.#run(ids, null).logits)
  }

  /**
   * As forward, after the positions of a cache, and with the cache that includes the new ones; the given one stays the
   * caller's to dispose. A sequence starts with any number of ids and no cache, and goes on with one id at a time.
   */
  step(ids: Tensor, cache: LlamaCache | null = null): { logits: Tensor; cache: LlamaCache } {
    return tidy(() => this.#run(ids, cache))
  }

  /**
   * The ids that follow `prompt`, the likeliest one each time. Ends at `stopId`, which is not returned, after
   * `maxNewTokens` (default: as many as there are positions) or at the last position.
   */
  async generate(
    prompt: readonly number[],
    { maxNewTokens = Number.POSITIVE_INFINITY, stopId = null }: GenerateOptions = {},
  ): Promise<number[]> {
    const { device } = this.tokEmbeddings.weight
    const found: number[] = []
    const room = Math.min(maxNewTokens, this.config.maxPositions - prompt.length)
    let cache: LlamaCache | null = null
    let next: readonly number[] = prompt
    try {
      while (found.length < room) {
        const { best, seen } = noGrad(() => {
          const ids = tensor(next, { shape: [1, next.length], dtype: 'int32', device })
          const { logits, cache: seen } = this.step(ids, cache)
          return { best: argmax(select(select(logits, 1, -1), 0, 0), 0), seen }
        })
        release(cache)
        cache = seen
        const [id] = await best.data()
        best.dispose()
        if (Number(id) === stopId) break
        found.push(Number(id))
        next = [Number(id)]
      }
    } finally {
      release(cache)
    }
    return found
  }

  #run(ids: Tensor, cache: LlamaCache | null): { logits: Tensor; cache: LlamaCache } {
    this.#check(ids, cache)
    let x = this.tokEmbeddings.forward(ids)
    const after = this.layers.map((layer, i) => {
      const { output, seen } = layer.forward(x, cache ? cache[i] : null)
      x = output
      return seen
    })
    const logits = linear(this.norm.forward(x), (this.output ?? this.tokEmbeddings).weight)
    return { logits, cache: after }
  }

  #check(ids: Tensor, cache: LlamaCache | null): void {
    const { maxPositions, vocabularySize } = this.config
    if (ids.ndim !== 2 || ids.size === 0) {
      throw new ShapeError(
        `Llama: ids have shape ${formatShape(ids.shape)}${inModule()}; expected [batch, time], at least one token`,
      )
    }
    const end = ids.shape[1] + (cache ? cache[0].keys.shape[1] : 0)
    if (end > maxPositions) {
      throw new ShapeError(
        `Llama: sequences of ${end} tokens are longer than the model's ${maxPositions} positions${inModule()}; truncate them`,
      )
    }
    if (cache && ids.shape[1] !== 1) {
      throw new ShapeError(
        `Llama: ${ids.shape[1]} ids per sequence with a cache${inModule()}; after the first step give one at a time`,
      )
    }
    checkRange('Llama', ids, vocabularySize, 'id')
  }
}

export interface GenerateOptions {
  maxNewTokens?: number
  stopId?: number | null
}

function release(cache: LlamaCache | null): void {
  for (const { keys, values } of cache ?? []) {
    keys.dispose()
    values.dispose()
  }
}
