// Multi-head attention (Vaswani et al. 2017), torch.nn.MultiheadAttention's parameters and masks.

import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { sameDevice } from '../tensor/ops/apply'
import { unpack } from '../tensor/ops/join'
import { mean } from '../tensor/ops/reduce'
import { narrow, reshape, transpose, unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { broadcastShapes, formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { attentionCore, type AttentionCoreOptions } from './attention-core'
import { type AttentionMask, attentionWeights } from './attention-reference'
import { xavierUniform_, zeros_ } from './init'
import type { KeyValueCache } from './key-value-cache'
import { linear, Linear } from './linear'
import { Module } from './module'
import { checkHeads, checkProbability, checkSizes, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

/** `before`: as everyone does. The other two take bool masks only. */
export type MaskPlacement = 'before' | 'after' | 'afterUnnormalized'

const PLACEMENTS: readonly MaskPlacement[] = ['before', 'after', 'afterUnnormalized']

export function checkMaskPlacement(layer: string, placement: MaskPlacement): void {
  if (PLACEMENTS.includes(placement)) return
  throw new ArgumentError(
    `${layer}: unknown maskPlacement '${String(placement)}'; expected ${PLACEMENTS.map((name) => `'${name}'`).join(', ')}`,
  )
}

export interface MultiheadAttentionOptions extends LayerOptions {
  /** Width of a head. Default embedDim / numHeads; another one where heads were removed or widened. */
  headDim?: number
  /** On the attention weights, in training. Default 0. */
  dropout?: number
  /** Default true. */
  bias?: boolean
  /** Width of the keys. Default embedDim. */
  kdim?: number
  /** Width of the values. Default embedDim. */
  vdim?: number
  /** Inputs and output are [B, T, E] instead of [T, B, E]. Default false. */
  batchFirst?: boolean
  /**
   * Where masks apply. `before` (default): excluded scores do not enter the softmax. `after`: the weights are multiplied
   * by the mask and renormalized to sum 1 over what is kept, which is the same function and computed as such.
   * `afterUnnormalized`: multiplied only, so that what is excluded takes its share of the weight away.
   */
  maskPlacement?: MaskPlacement
}

/** Which keys a query may look at. A query that may look at none has weights 0 and output 0 (before the output bias). */
export interface AttentionMaskOptions {
  /** [B, S]; bool, true at keys to ignore (padding), or float, added to the scores. */
  keyPaddingMask?: Tensor | null
  /** [T, S], [B * heads, T, S] or broadcast to [B, heads, T, S]; bool, true where looking is forbidden, or float, added. */
  attnMask?: Tensor | null
  /** Query t sees keys 0 to t only. Default false. */
  causal?: boolean
}

export interface AttentionForwardOptions extends AttentionMaskOptions {
  /** Whether the weights are returned. They are a matrix per head: false saves memory. Default true. */
  needWeights?: boolean
  /** The returned weights: their mean over the heads (default), or those of each head. */
  averageWeights?: boolean
  /**
   * For generation, inside `noGrad`. Self-attention (key and value are the query): the sequence goes on where the cache ends;
   * its keys are those held and the new ones, S in all, and attention is causal. Otherwise keys and values are computed
   * at the first call and the same at every later one.
   */
  cache?: KeyValueCache | null
}

/** What computes queries, keys and values in the place of `inProjWeight` and its like: from integers, say. */
export abstract class InputProjection extends Module {
  /** Of [..., width] the projections `first` (0 query, 1 key, 2 value) to `first + count`: [..., count * heads * headDim]. */
  abstract override forward(x: Tensor, first: number, count: number): Tensor
  /** A float tensor of its device. */
  abstract get reference(): Tensor
}

/**
 * softmax(q k' / sqrt(d)) v in `numHeads` heads of width d, between projections of query, key and value and one of the
 * output. No matrix of T x S weights is kept for backward. With headDim * numHeads = embedDim = E: 4 (E² + E) parameters.
 */
export class MultiheadAttention extends Module {
  readonly embedDim: number
  readonly numHeads: number
  readonly headDim: number
  readonly dropout: number
  readonly batchFirst: boolean
  readonly maskPlacement: MaskPlacement
  /** Where keys or values have a width of their own: [heads * headDim, embedDim], [.., kdim], [.., vdim]. */
  qProjWeight: Parameter | null
  kProjWeight: Parameter | null
  vProjWeight: Parameter | null
  /** Else one for all three: [3 * heads * headDim, embedDim], rows of query, key, value. */
  inProjWeight: Parameter | null
  /** [3 * heads * headDim] */
  inProjBias: Parameter | null
  /** Where it is set, there are no parameters of input projections. */
  inProj: InputProjection | null = null
  outProj: Linear

  /** @throws ArgumentError if heads do not divide the width. */
  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super()
    const { dropout = 0, bias = true, batchFirst = false, maskPlacement = 'before' } = options
    const { kdim = embedDim, vdim = embedDim, headDim = embedDim / numHeads } = options
    checkSizes('MultiheadAttention', { embedDim, numHeads, kdim, vdim })
    if (options.headDim === undefined)
      checkHeads('MultiheadAttention', embedDim, numHeads, ', or give headDim')
    checkSizes('MultiheadAttention', { headDim })
    checkProbability('MultiheadAttention', 'dropout', dropout)
    checkMaskPlacement('MultiheadAttention', maskPlacement)
    this.embedDim = embedDim
    this.numHeads = numHeads
    this.headDim = headDim
    this.dropout = dropout
    this.batchFirst = batchFirst
    this.maskPlacement = maskPlacement
    const { device, dtype } = options
    const inner = numHeads * headDim
    const weight = (rows: number, cols: number): Parameter =>
      xavierUniform_(newParameter('MultiheadAttention', [rows, cols], { device, dtype }))
    const packed = kdim === embedDim && vdim === embedDim
    this.qProjWeight = packed ? null : weight(inner, embedDim)
    this.kProjWeight = packed ? null : weight(inner, kdim)
    this.vProjWeight = packed ? null : weight(inner, vdim)
    this.inProjWeight = packed ? weight(3 * inner, embedDim) : null
    this.inProjBias = bias ? zeros_(newParameter('MultiheadAttention', [3 * inner], { device, dtype })) : null
    this.outProj = new Linear(inner, embedDim, { bias, device, dtype })
    if (this.outProj.bias) zeros_(this.outProj.bias)
  }

  /**
   * `query` [T, B, embedDim], `key` [S, B, kdim], `value` [S, B, vdim] ([B, T, ...] if batchFirst); by default all three
   * are the query. Returns the output, shaped as the query, and the weights [B, T, S] ([B, heads, T, S] unless averaged),
   * after dropout, or null.
   * @throws ShapeError, DTypeError for inputs and masks that do not fit, before anything is computed.
   */
  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionForwardOptions = {},
  ): [output: Tensor, weights: Tensor | null] {
    const { needWeights = true, averageWeights = true, cache = null } = options
    const { masks, causal, offset } = this.#check(query, key, value, options)
    const [T, B] = this.#lengths(query)
    return tidy(() => {
      const [q, k, v] = this.#heads(query, key, value, cache)
      const core = { ...this.#core(masks(), { causal }, needWeights), offset }
      const { output, weights } = attentionCore(q, k, v, core)
      const merged = this.outProj.forward(reshape(output, [B, T, this.numHeads * this.headDim]))
      return [
        this.batchFirst ? merged : transpose(merged, 0, 1),
        weights && (averageWeights ? mean(weights, 1) : weights),
      ]
    })
  }

  /**
   * Throws what `forward` would throw for these inputs and options, and computes nothing: for layers that compute
   * something before they attend.
   */
  checkInputs(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionForwardOptions = {},
  ): void {
    this.inside(() => this.#check(query, key, value, options))
  }

  /** [B, T, heads * headDim] to [B, heads, T, headDim]. */
  splitHeads(x: Tensor): Tensor {
    const inner = this.numHeads * this.headDim
    if (x.ndim !== 3 || x.shape[2] !== inner) {
      throw new ShapeError(
        `splitHeads: expected [batch, time, ${inner}], got shape ${formatShape(x.shape)}${inModule()}`,
      )
    }
    return tidy(() => transpose(reshape(x, [x.shape[0], x.shape[1], this.numHeads, this.headDim]), 1, 2))
  }

  /** [B, heads, T, headDim] to [B, T, heads * headDim]: the inverse of splitHeads. */
  mergeHeads(x: Tensor): Tensor {
    this.#checkHeads('mergeHeads', { x })
    return tidy(() => reshape(transpose(x, 1, 2), [x.shape[0], x.shape[2], this.numHeads * this.headDim]))
  }

  /** Weights [B, heads, T, S] of queries [B, heads, T, headDim] over keys [B, heads, S, headDim]; without dropout. */
  getAttentionWeights(queries: Tensor, keys: Tensor, where: AttentionMaskOptions = {}): Tensor {
    this.#checkHeads('getAttentionWeights', { queries, keys })
    const masks = this.#checkMasks(where, [...queries.shape.slice(0, 3), keys.shape[2]], queries)
    return tidy(() => attentionWeights(queries, keys, this.#core(masks(), where, true)))
  }

  /** The weighted values of each query, heads merged: [B, T, heads * headDim]. */
  applyAttention(queries: Tensor, keys: Tensor, values: Tensor, where: AttentionMaskOptions = {}): Tensor {
    this.#checkHeads('applyAttention', { queries, keys, values })
    if (!sameShape(keys.shape, values.shape)) {
      throw new ShapeError(
        `applyAttention: keys have shape ${formatShape(keys.shape)} and values ${formatShape(values.shape)}${inModule()}; they must be equal`,
      )
    }
    const masks = this.#checkMasks(where, [...queries.shape.slice(0, 3), keys.shape[2]], queries)
    return tidy(() => {
      const [q, k, v] = [queries, keys, values].map((t) => transpose(t, 1, 2))
      const { output } = attentionCore(q, k, v, this.#core(masks(), where, false))
      return reshape(output, [...output.shape.slice(0, 2), this.numHeads * this.headDim])
    })
  }

  #core(
    masks: readonly AttentionMask[],
    { causal = false }: AttentionMaskOptions,
    needWeights: boolean,
  ): AttentionCoreOptions {
    return {
      masks,
      causal,
      scale: 1 / Math.sqrt(this.headDim),
      dropout: this.training ? this.dropout : 0,
      needWeights,
      renormalized: this.maskPlacement !== 'afterUnnormalized',
    }
  }

  /** Queries [B, T, heads, headDim] of the inputs, and all keys and values that they may look at. */
  #heads(query: Tensor, key: Tensor, value: Tensor, cache: KeyValueCache | null): readonly Tensor[] {
    if (key === query && value === query) {
      const [q, k, v] = this.#project([query], 0, 3)
      return cache ? [q, ...cache.append(this, k, v)] : [q, k, v]
    }
    const keysAndValues = (): [Tensor, Tensor] => {
      const [k, v] = key === value ? this.#project([key], 1, 2) : this.#project([key, value], 1, 1)
      return [k, v]
    }
    return [
      ...this.#project([query], 0, 1),
      ...(cache ? cache.once(this, key, keysAndValues) : keysAndValues()),
    ]
  }

  /**
   * Of each input `count` projections (0 query, 1 key, 2 value, counted on from `first`), each [B, .., heads, headDim]; one
   * product per input where the weights allow it.
   */
  #project(inputs: readonly Tensor[], first: number, count: number): Tensor[] {
    const inner = this.numHeads * this.headDim
    const { inProjWeight: packed, inProjBias: bias } = this
    const apart = [this.qProjWeight, this.kProjWeight, this.vProjWeight]
    const project = (x: Tensor, from: number, n: number): Tensor => {
      if (this.inProj) return this.inProj.forward(x, from, n)
      const rows = (all: Tensor): Tensor => narrow(all, 0, from * inner, n * inner)
      return linear(x, packed ? rows(packed) : (apart[from] as Parameter), bias && rows(bias))
    }
    const projected = inputs.flatMap((x, i) => {
      const from = first + i * count
      if (packed || this.inProj) return unpack(project(x, from, count), count)
      return Array.from({ length: count }, (_, n) => project(x, from + n, 1))
    })
    return projected.map((t) => {
      const rows = this.batchFirst ? t : transpose(t, 0, 1)
      return reshape(rows, [...rows.shape.slice(0, 2), this.numHeads, this.headDim])
    })
  }

  #lengths({ shape }: Tensor): [length: number, batch: number] {
    return this.batchFirst ? [shape[1], shape[0]] : [shape[0], shape[1]]
  }

  /** Which keys may be looked at; `offset`: positions of a cache before those of the query. */
  #check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    { cache = null, ...where }: AttentionForwardOptions,
  ): { masks: () => AttentionMask[]; causal: boolean; offset: number } {
    this.#checkTensors(query, key, value)
    const continued = cache !== null && key === query && value === query
    const { causal = continued } = where
    if (continued && !causal) {
      throw new ArgumentError(
        `MultiheadAttention: causal is false${inModule()}; self-attention with a cache cannot look ahead`,
      )
    }
    const offset = continued ? cache.lengthOf(this) : 0
    const [T, B] = this.#lengths(query)
    const S = offset + this.#lengths(key)[0]
    return { masks: this.#checkMasks(where, [B, this.numHeads, T, S], query), causal, offset }
  }

  #checkTensors(query: Tensor, key: Tensor, value: Tensor): void {
    const weight = this.inProj?.reference ?? this.outProj.weight
    sameDevice('MultiheadAttention', [weight, query, key, value])
    const axes = this.batchFirst ? 'batch, time' : 'time, batch'
    const widths = [this.embedDim, this.kProjWeight?.shape[1], this.vProjWeight?.shape[1]]
    for (const [i, [name, t]] of Object.entries({ query, key, value }).entries()) {
      const width = widths[i] ?? this.embedDim
      if (t.ndim !== 3 || t.shape[2] !== width) {
        throw new ShapeError(
          `MultiheadAttention: ${name} has shape ${formatShape(t.shape)}${inModule()}; expected [${axes}, ${width}]`,
        )
      }
      if (t.dtype !== weight.dtype) {
        throw new DTypeError(
          `MultiheadAttention: ${name} is ${t.dtype}${inModule()}, the parameters are ${weight.dtype}; convert one with to('${weight.dtype}')`,
        )
      }
    }
    const [, batch] = this.#lengths(query)
    const [S, keyBatch] = this.#lengths(key)
    if (keyBatch !== batch || !sameShape(this.#lengths(value), [S, keyBatch])) {
      throw new ShapeError(
        `MultiheadAttention: query, key and value have shapes ${[query, key, value].map((t) => formatShape(t.shape)).join(', ')}${inModule()}; ` +
          'expected one batch size, and as many values as keys',
      )
    }
  }

  #checkHeads(op: string, tensors: Readonly<Record<string, Tensor>>): void {
    for (const [name, t] of Object.entries(tensors)) {
      if (t.ndim === 4 && t.shape[1] === this.numHeads && t.shape[3] === this.headDim) continue
      throw new ShapeError(
        `${op}: ${name} has shape ${formatShape(t.shape)}${inModule()}; expected [batch, ${this.numHeads}, time, ${this.headDim}]`,
      )
    }
  }

  /** Checks masks at once; the result makes them broadcast to `shape` = [B, heads, T, S]. */
  #checkMasks(
    { keyPaddingMask = null, attnMask = null }: AttentionMaskOptions,
    shape: readonly number[],
    like: Tensor,
  ): () => AttentionMask[] {
    const [B, H, T, S] = shape
    if (keyPaddingMask && !sameShape(keyPaddingMask.shape, [B, S]))
      throw misfit('keyPaddingMask', keyPaddingMask, formatShape([B, S]))
    const perHead = attnMask?.ndim === 3
    if (attnMask) {
      const fits = perHead
        ? sameShape(attnMask.shape, [B * H, T, S])
        : attnMask.ndim === 2
          ? sameShape(attnMask.shape, [T, S])
          : attnMask.ndim === 4 && sameShape(broadcastShapes('attnMask', attnMask.shape, shape), shape)
      if (!fits) {
        throw misfit(
          'attnMask',
          attnMask,
          `${formatShape([T, S])}, ${formatShape([B * H, T, S])} or 4 axes that broadcast to ${formatShape(shape)}`,
        )
      }
    }
    for (const [name, mask] of Object.entries({ keyPaddingMask, attnMask })) {
      if (!mask) continue
      sameDevice(`MultiheadAttention: ${name}`, [like, mask])
      if (mask.dtype === 'bool') continue
      if (mask.dtype !== like.dtype) {
        throw new DTypeError(
          `MultiheadAttention: ${name} is ${mask.dtype}${inModule()}; expected bool (true: ignore) or ${like.dtype} (added to the scores)`,
        )
      }
      if (this.maskPlacement !== 'before') {
        throw new ArgumentError(
          `MultiheadAttention: ${name} is ${mask.dtype}${inModule()}; with maskPlacement '${this.maskPlacement}' masks must be bool`,
        )
      }
    }
    const wide = (mask: Tensor): Tensor =>
      mask === keyPaddingMask
        ? unsqueeze(unsqueeze(mask, 1), 1)
        : perHead
          ? reshape(mask, [B, H, T, S])
          : mask
    return () =>
      [keyPaddingMask, attnMask]
        .filter((mask) => mask !== null)
        .map((mask) => ({ kind: mask.dtype === 'bool' ? 'exclude' : 'add', mask: wide(mask) }))
  }
}

function misfit(name: string, mask: Tensor, expected: string): ShapeError {
  return new ShapeError(
    `MultiheadAttention: ${name} has shape ${formatShape(mask.shape)}${inModule()}; expected ${expected}`,
  )
}
