// Attention as one autograd node: softmax(scale q k' + masks) v, without a matrix of T x S weights kept for backward.
//
// Per query the node saves the logarithm of the sum of exponentials, and backward computes the weights again from it
// (Dao et al. 2022). Rows are worked through in parts of batch and heads, so that scratch memory is bounded, and dropout
// is drawn again from its stream. With w the weights, d the dropped ones, and dd the gradient that reaches them:
//   dv = d' dout,   dw = drop(dout v' + dweights),   ds = w (dw - sum(w dw)),   dq = scale ds k,   dk = scale ds' q
// The definition in ordinary ops, attention-reference.ts, gives the second derivatives.
//
// Layout: q [B, T, H, d], k [B, S, H, d], v [B, S, H, e], any strides; output [B, T, H, e], weights [B, H, T, S].

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { rowwise } from '../backend/rows'
import type { AttentionCall, AttentionKernels, DType, View } from '../backend/types'
import { arange } from '../tensor/create'
import { fillStorage } from '../tensor/ops/views'
import { type RandomState, nextStream } from '../tensor/random-state'
import { gradEnabled, noGrad } from '../tensor/scope'
import { broadcastStrides, contiguousStrides, type Shape, sizeOf } from '../tensor/shape'
import { copyProgram, Tensor } from '../tensor/tensor'
import { DROP, type Kind, programsFor, SCORE_GRADIENT } from './attention-programs'
import { type AttentionMask, attentionReference } from './attention-reference'

export interface AttentionCoreOptions {
  readonly masks: readonly AttentionMask[]
  /** Query t sees keys 0 to offset + t only. */
  readonly causal: boolean
  /** Keys that come before the first query's own, where causal. Default 0. */
  readonly offset?: number
  readonly scale: number
  /** On the weights; 0 outside training. */
  readonly dropout: number
  /** Whether the weights, after dropout, are an output too. */
  readonly needWeights: boolean
  /** False: the softmax is over all keys, and what is excluded leaves the rest of the row smaller. Default true. */
  readonly renormalized?: boolean
}

/** Elements of scratch matrices; larger problems are cut by batch and heads. */
const PART_ELEMENTS = 2 ** 22
/** On the cpu, of what is computed at a time: a part has one stream of random numbers, whatever the device does with it. */
const SLICE_ELEMENTS = 2 ** 16

interface Sizes {
  readonly B: number
  readonly H: number
  readonly T: number
  readonly S: number
}

/** A range of the batch and of the heads. */
interface Part {
  readonly b: number
  readonly batches: number
  readonly h: number
  readonly heads: number
}

/** Cuts a part so that none of its parts has more scratch elements than `limit`, or all have one head. */
function partsOf(whole: Part, { T, S }: Sizes, limit: number): Part[] {
  const parts: Part[] = []
  const { batches: B, heads: H } = whole
  const batches = Math.max(1, Math.floor(limit / (H * T * S)))
  const heads = batches > 1 ? H : Math.min(H, Math.max(1, Math.floor(limit / (T * S))))
  for (let b = 0; b < B; b += batches) {
    for (let h = 0; h < H; h += heads) {
      const size = { batches: Math.min(batches, B - b), heads: Math.min(heads, H - h) }
      parts.push({ b: whole.b + b, h: whole.h + h, ...size })
    }
  }
  return parts
}

/** What is computed of a part at a time: on the cpu what the caches hold. */
function slicesOf(part: Part, run: Run, { backend }: Tensor): Part[] {
  return backend.name === 'cpu' ? partsOf(part, run.sizes, SLICE_ELEMENTS) : [part]
}

/**
 * Runs attention. Where a query may look at no key, its weights and output are 0.
 * `partElements` bounds the scratch matrices, for tests.
 */
export function attentionCore(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionCoreOptions,
  partElements = PART_ELEMENTS,
): { output: Tensor; weights: Tensor | null } {
  const sizes = { B: q.shape[0], T: q.shape[1], H: q.shape[2], S: k.shape[1] }
  const empty = q.size === 0 || k.size === 0 || v.size === 0
  const whole = { b: 0, batches: sizes.B, h: 0, heads: sizes.H }
  const parts = empty ? [] : partsOf(whole, sizes, partElements)
  const streams = options.dropout > 0 ? parts.map(() => nextStream()) : null
  // What is rare has no kernels of its own: weights that do not add up to 1, learned masks.
  const learned = gradEnabled() && options.masks.some(({ mask }) => mask.requiresGrad)
  if (learned || options.renormalized === false) {
    const kept = streams && keptOf(q, sizes, parts, streams, options.dropout)
    const [output, weights] = attentionReference(q, k, v, options, kept)
    kept?.dispose()
    return { output, weights: options.needWeights ? weights : null }
  }
  const { masks, offset = 0 } = options
  // From the last key's position on, a query sees all of them.
  const causal = options.causal && offset < sizes.S - 1
  const given = masks.map((m) => m.mask)
  const run = (values: readonly Tensor[], kernels: AttentionKernels | null): Run => ({
    sizes,
    parts,
    options,
    streams,
    operands: [...values],
    kinds: [...masks.map((m) => m.kind), ...(causal ? (['causal'] as const) : [])],
    causalOffset: causal ? offset : null,
    kernels,
  })
  const kernels = parts.length > 0 && !options.needWeights ? kernelsFor(run(given, null), q, k, v) : null
  const positions = causal && !kernels ? positionsOf(q, sizes, offset) : []
  const all = [...given, ...positions]
  const [output, lse, weights] = noGrad(() => forward(run(all, kernels), q, k, v))
  const outputs = weights ? [output, weights] : [output]
  record('attention', [q, k, v], outputs, [q, k, v, output, lse, ...all], (grads, saved, needs) => {
    const [qs, ks, vs, out, sums, ...rest] = saved
    if (gradEnabled()) {
      const kept = streams && keptOf(qs, sizes, parts, streams, options.dropout)
      const again = { ...options, masks: masks.map(({ kind }, i) => ({ kind, mask: rest[i] })) }
      return differentiateReference(
        (a, b, c) => attentionReference(a, b, c, again, kept),
        [qs, ks, vs],
        [grads[0], grads[1] ?? null],
        needs,
      )
    }
    return noGrad(() => backward(run(rest, kernels), [qs, ks, vs, out], sums, grads, needs))
  })
  lse.dispose()
  for (const t of positions) t.dispose()
  return { output, weights }
}

/** What forward and backward have in common. */
interface Run {
  readonly sizes: Sizes
  readonly parts: readonly Part[]
  readonly options: AttentionCoreOptions
  readonly streams: readonly RandomState[] | null
  /** The masks, then rows [T, 1] and columns [S] where causal. */
  readonly operands: readonly Tensor[]
  readonly kinds: readonly Kind[]
  readonly causalOffset: number | null
  /** The device's own, where they take this call; then no positions are among the operands. */
  readonly kernels: AttentionKernels | null
}

/** One part as the device's kernels want it. */
function callOf(run: Run, i: number, q: Tensor, k: Tensor, v: Tensor): AttentionCall {
  const { sizes, parts, options, streams, causalOffset } = run
  const part = parts[i]
  return {
    q: headed(q, part),
    k: headed(k, part),
    v: headed(v, part),
    masks: options.masks.map(({ kind }, m) => ({ kind, view: spread(run.operands[m], sizes, part) })),
    causalOffset,
    scale: options.scale,
    dropout: streams && { kept: 1 - options.dropout, rescale: rescale(options), ...streams[i] },
  }
}

function kernelsFor(run: Run, q: Tensor, k: Tensor, v: Tensor): AttentionKernels | null {
  const { attention } = q.backend
  return attention?.fits(callOf(run, 0, q, k, v)) ? attention : null
}

function positionsOf({ device }: Tensor, { T, S }: Sizes, offset: number): Tensor[] {
  const rows = arange(offset, offset + T, 1, { device })
  const column = rows.window(rows.offset, [T, 1], [1, 0])
  rows.dispose()
  return [column, arange(S, { device })]
}

/** Which weights dropout keeps, all parts together: [B, H, T, S]. Only second derivatives need it whole. */
function keptOf(
  like: Tensor,
  { B, H, T, S }: Sizes,
  parts: readonly Part[],
  streams: readonly RandomState[],
  dropout: number,
): Tensor {
  const kept = Tensor.allocate(like.backend, 'bool', [B, H, T, S])
  parts.forEach((part, i) => {
    const { seed, stream } = streams[i]
    const at = (part.b * H + part.h) * T * S
    const shape = [part.batches, part.heads, T, S]
    like.backend.random(
      { kind: 'bernoulli', p: 1 - dropout },
      seed,
      stream,
      windowOf(kept, at, shape, contiguousStrides(shape)),
    )
  })
  return kept
}

// ---- windows ---------------------------------------------------------------------------------------------------

function windowOf(t: Tensor, offset: number, shape: Shape, strides: readonly number[]): View {
  return { ...t.view(), offset: t.offset + offset, shape, strides }
}

/** [batches, heads, length, width] of a tensor [B, length, H, width]. */
function headed(t: Tensor, { b, batches, h, heads }: Part): View {
  const [sb, sl, sh, sw] = t.strides
  return windowOf(t, b * sb + h * sh, [batches, heads, t.shape[1], t.shape[3]], [sb, sh, sl, sw])
}

function transposed(view: View): View {
  const swap = ([a, b, c, d]: readonly number[]): number[] => [a, b, d, c]
  return { ...view, shape: swap(view.shape), strides: swap(view.strides) }
}

/** A part of something that broadcasts to [B, H, T, S]. */
function spread(t: Tensor, { B, H, T, S }: Sizes, { b, batches, h, heads }: Part): View {
  const strides = broadcastStrides(t.shape, t.strides, [B, H, T, S])
  return windowOf(t, b * strides[0] + h * strides[1], [batches, heads, T, S], strides)
}

/** A part of [B, H, T], one value per row, either by itself or repeated along the keys. */
function rows(t: Tensor, { H, T, S }: Sizes, { b, batches, h, heads }: Part, wide: boolean): View {
  const [shape, strides] = [
    [batches, heads, T],
    [H * T, T, 1],
  ]
  return windowOf(t, (b * H + h) * T, wide ? [...shape, S] : shape, wide ? [...strides, 0] : strides)
}

/** Room for a contiguous [batches, heads, T, S] of one part, used by every part in turn. */
class Scratch {
  readonly #all: Tensor
  readonly #area: number

  /** `largest` is the first part. */
  constructor(like: Tensor, { T, S }: Sizes, largest: Part, dtype: DType = like.dtype) {
    this.#area = T * S
    this.#all = Tensor.allocate(like.backend, dtype, [largest.batches * largest.heads, T, S])
  }

  /** The matrices of a part, or of a slice of it. */
  of(part: Part, { b, h, batches, heads }: Part = part): View {
    const shape = [batches, heads, ...this.#all.shape.slice(1)]
    const first = (b - part.b) * part.heads + h - part.h
    return windowOf(this.#all, first * this.#area, shape, contiguousStrides(shape))
  }
}

// ---- forward and backward --------------------------------------------------------------------------------------

function forward(
  run: Run,
  q: Tensor,
  k: Tensor,
  v: Tensor,
): [output: Tensor, lse: Tensor, weights: Tensor | null] {
  const { sizes, parts, options, operands, streams } = run
  const { B, H, T, S } = sizes
  const { backend, dtype } = q
  const make = (shape: Shape): Tensor => Tensor.allocate(backend, dtype, shape)
  const output = make([B, T, H, v.shape[3]])
  const lse = make([B, H, T])
  const weights = options.needWeights ? make([B, H, T, S]) : null
  if (parts.length === 0) {
    for (const t of [output, lse, weights]) if (t && sizeOf(t.shape) > 0) fillStorage(t, 0)
    return [output, lse, weights]
  }
  if (run.kernels) {
    for (const [i, part] of parts.entries())
      run.kernels.forward(callOf(run, i, q, k, v), headed(output, part), rows(lse, sizes, part, false))
    return [output, lse, null]
  }
  const programs = programsFor(run.kinds)
  const [largest] = slicesOf(parts[0], run, q)
  const matrix = weights ? null : new Scratch(q, sizes, largest)
  const kept = streams && new Scratch(q, sizes, parts[0], 'bool')
  parts.forEach((part, i) => {
    if (kept) redraw(run, i, q, kept.of(part))
    for (const slice of slicesOf(part, run, q)) {
      const w = weights ? spread(weights, sizes, slice) : (matrix as Scratch).of(slice)
      const masks = operands.map((t) => spread(t, sizes, slice))
      backend.matmul(headed(q, slice), transposed(headed(k, slice)), w, false)
      rowwise(backend, programs.softmax, {
        ...{ inputs: [w, ...masks], outer: 3, scalars: [options.scale] },
        ...{ elements: [w], rows: [rows(lse, sizes, slice, false)] },
      })
      if (kept) backend.elementwise(DROP, [w, kept.of(part, slice)], [rescale(options)], [w])
      backend.matmul(w, headed(v, slice), headed(output, slice), false)
    }
  })
  return [output, lse, weights]
}

function rescale({ dropout }: AttentionCoreOptions): number {
  return dropout === 1 ? 0 : 1 / (1 - dropout)
}

/** The same draw for a part every time. */
function redraw({ streams, options }: Run, i: number, like: Tensor, mask: View): void {
  if (!streams) return
  const { seed, stream } = streams[i]
  like.backend.random({ kind: 'bernoulli', p: 1 - options.dropout }, seed, stream, mask)
}

function backward(
  run: Run,
  [q, k, v, output]: readonly Tensor[],
  lse: Tensor,
  [g, gWeights = null]: readonly (Tensor | null)[],
  [needQ, needK, needV]: readonly boolean[],
): (Tensor | null)[] {
  const { sizes, parts, options, operands, streams } = run
  const { backend } = q
  if (!g && !gWeights) return [null, null, null]
  const like = (t: Tensor, need: boolean): Tensor | null =>
    need ? Tensor.allocate(backend, t.dtype, t.shape) : null
  const [dq, dk, dv] = [like(q, needQ), like(k, needK), like(v, needV && g !== null)]
  if (parts.length === 0) {
    for (const t of [dq, dk, dv]) if (t && t.size > 0) fillStorage(t, 0)
    return [dq, dk, dv]
  }
  if (run.kernels && g) {
    const all = [dq ?? like(q, true), dk ?? like(k, true), dv ?? like(v, true)] as Tensor[]
    for (const [i, part] of parts.entries()) {
      const [dqs, dks, dvs] = all.map((t) => headed(t, part))
      const into = { dq: dqs, dk: dks, dv: dvs }
      const call = callOf(run, i, q, k, v)
      run.kernels.backward(call, headed(output, part), rows(lse, sizes, part, false), headed(g, part), into)
    }
    return [dq, dk, dv]
  }
  const programs = programsFor(run.kinds)
  const [largest] = slicesOf(parts[0], run, q)
  const [weights, gradient] = [new Scratch(q, sizes, largest), new Scratch(q, sizes, largest)]
  const kept = streams && new Scratch(q, sizes, parts[0], 'bool')
  const scalars = [options.scale]
  parts.forEach((part, i) => {
    if (kept) redraw(run, i, q, kept.of(part))
    for (const slice of slicesOf(part, run, q)) {
      const [w, dw] = [weights.of(slice), gradient.of(slice)]
      const masks = operands.map((t) => spread(t, sizes, slice))
      const drop = (x: View): void => {
        if (kept) backend.elementwise(DROP, [x, kept.of(part, slice)], [rescale(options)], [x])
      }
      backend.matmul(headed(q, slice), transposed(headed(k, slice)), w, false)
      backend.elementwise(programs.weights, [w, rows(lse, sizes, slice, true), ...masks], scalars, [w])
      if (dq || dk) {
        if (gWeights) backend.elementwise(copyProgram(q.dtype), [spread(gWeights, sizes, slice)], [], [dw])
        if (g) backend.matmul(headed(g, slice), transposed(headed(v, slice)), dw, gWeights !== null)
        drop(dw)
        rowwise(backend, SCORE_GRADIENT, { inputs: [w, dw], outer: 3, scalars, elements: [dw], rows: [] })
        if (dq) backend.matmul(dw, headed(k, slice), headed(dq, slice), false)
        if (dk) backend.matmul(transposed(dw), headed(q, slice), headed(dk, slice), false)
      }
      if (dv && g) {
        drop(w)
        backend.matmul(transposed(w), headed(g, slice), headed(dv, slice), false)
      }
    }
  })
  return [dq, dk, dv]
}
