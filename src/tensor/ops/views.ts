// Views: the same memory seen in another shape. Only `copy` (and reshape where strides do not allow a view) move data.

import { record } from '../../autograd/tape'
import { scalar } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, ShapeError } from '../../errors'
import { inModule } from '../context'
import {
  broadcastStrides,
  checkShape,
  contiguousStrides,
  formatShape,
  normalizeDim,
  normalizeDims,
  reshapeStrides,
  resolveReshape,
  sameShape,
  type Shape,
} from '../shape'
import { copyProgram, scalarType, Tensor } from '../tensor'
import { recordedWindow, sumTo } from './apply'

/** A contiguous copy in a storage of its own. */
export function copy(x: Tensor): Tensor {
  const out = Tensor.allocate(x.backend, x.dtype, x.shape)
  if (out.size > 0) x.backend.elementwise(copyProgram(x.dtype), [x.view()], [], [out.view()])
  out.storage.range = x.idRange
  record('copy', [x], [out], [], ([g]) => [g])
  return out
}

/** `x` itself if it is laid out row by row, else a copy that is. */
export function contiguous(x: Tensor): Tensor {
  return x.isContiguous ? x : copy(x)
}

/** The same elements in another shape; one size may be -1. A view where strides allow it. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const to = resolveReshape(`reshape${inModule()}`, x.shape, shape)
  const strides = reshapeStrides(x.shape, x.strides, to)
  if (!strides) return reshape(copy(x), to)
  return recordedWindow('reshape', x, to, strides, (g) => reshape(g, x.shape))
}

/** Merges axes `start` to `end` (inclusive) into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.ndim === 0) return reshape(x, [1])
  const a = normalizeDim('flatten', start, x.ndim)
  const b = normalizeDim('flatten', end, x.ndim)
  if (a > b) throw new ArgumentError(`flatten: start ${start} lies after end ${end}`)
  const merged = x.shape.slice(a, b + 1).reduce((p, n) => p * n, 1)
  return reshape(x, [...x.shape.slice(0, a), merged, ...x.shape.slice(b + 1)])
}

/** Axis i of the result is axis `dims[i]` of x. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => normalizeDim('permute', d, x.ndim))
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    throw new ArgumentError(`permute: dims [${String(dims)}] must name each of the ${x.ndim} axes once`)
  }
  const inverse = order.map((_, i) => order.indexOf(i))
  return recordedWindow(
    'permute',
    x,
    order.map((i) => x.shape[i]),
    order.map((i) => x.strides[i]),
    (g) => permute(g, inverse),
  )
}

/** Swaps two axes. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const order = [...x.shape.keys()]
  const a = normalizeDim('transpose', dim0, x.ndim)
  const b = normalizeDim('transpose', dim1, x.ndim)
  if (x.ndim > 0) [order[a], order[b]] = [order[b], order[a]]
  return permute(x, order)
}

/** Repeats axes of size 1, and new leading ones, without copying. -1 keeps a size. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim
  if (lead < 0)
    throw new ShapeError(`expand: ${formatShape(shape)} has fewer axes than ${formatShape(x.shape)}`)
  const to = shape.map((n, i) => (n === -1 && i >= lead ? x.shape[i - lead] : n))
  checkShape('expand', to)
  x.shape.forEach((n, i) => {
    if (n !== 1 && n !== to[lead + i]) {
      throw new ShapeError(
        `expand: ${formatShape(x.shape)} does not expand to ${formatShape(to)}${inModule()}; axis ${i} is ${n}, only size 1 can be repeated`,
      )
    }
  })
  if (sameShape(x.shape, to)) return x
  return recordedWindow('expand', x, to, broadcastStrides(x.shape, x.strides, to), (g) => sumTo(g, x.shape))
}

/** A slice argument per axis: an index (drops the axis), `[start, end, step]` (null: open), or null for all. */
export type SliceArgument =
  | number
  | null
  | readonly [start: number | null, end?: number | null, step?: number]

/** Like `x[a, b:c, ::2]`: negative positions count from the end, ranges are clipped, steps are positive. A view. */
export function slice(x: Tensor, ...args: SliceArgument[]): Tensor {
  if (args.length > x.ndim)
    throw new ArgumentError(`slice: ${args.length} arguments for a tensor with ${x.ndim} axes`)
  // The window is followed twice: in x's own layout, and in a contiguous tensor of x's shape for the gradient.
  const dense = contiguousStrides(x.shape)
  let offset = x.offset
  let denseOffset = 0
  const shape: number[] = []
  const strides: number[] = []
  const denseStrides: number[] = []
  x.shape.forEach((n, i) => {
    const arg = args[i] ?? null
    if (typeof arg === 'number') {
      if (!Number.isInteger(arg) || arg < -n || arg >= n) {
        throw new ArgumentError(`slice: index ${arg} is out of range for axis ${i} of size ${n}${inModule()}`)
      }
      const at = arg < 0 ? arg + n : arg
      offset += at * x.strides[i]
      denseOffset += at * dense[i]
      return
    }
    const [from, to, step = 1] = arg ?? [null]
    if (!Number.isInteger(step) || step < 1) {
      throw new ArgumentError(`slice: step ${step} must be a positive integer; flip() reverses an axis`)
    }
    for (const p of [from, to]) {
      if (p !== null && p !== undefined && !Number.isInteger(p) && Math.abs(p) !== Number.POSITIVE_INFINITY) {
        throw new ArgumentError(`slice: position ${p} must be a whole number or null`)
      }
    }
    const clip = (p: number | null | undefined, open: number): number =>
      p === null || p === undefined ? open : Math.min(n, Math.max(0, p < 0 ? p + n : p))
    const start = clip(from, 0)
    const length = Math.max(0, Math.ceil((clip(to, n) - start) / step))
    if (length > 0) {
      offset += start * x.strides[i]
      denseOffset += start * dense[i]
    }
    shape.push(length)
    strides.push(x.strides[i] * step)
    denseStrides.push(dense[i] * step)
  })
  return recordedWindow(
    'slice',
    x,
    shape,
    strides,
    (g) => embed(g, x.shape, denseOffset, denseStrides, args),
    offset,
  )
}

/** Zeros of `shape` with `g` written into a window: the gradient of `slice(x, ...args)`. */
function embed(
  g: Tensor,
  shape: Shape,
  offset: number,
  strides: readonly number[],
  args: readonly SliceArgument[],
): Tensor {
  if (sameShape(g.shape, shape)) return g
  const out = Tensor.allocate(g.backend, g.dtype, shape)
  fillStorage(out, 0)
  const window = { ...out.view(), offset, shape: g.shape, strides }
  if (g.size > 0) g.backend.elementwise(copyProgram(g.dtype), [g.view()], [], [window])
  record('slice backward', [g], [out], [], ([gg]) => [gg && slice(gg, ...args)])
  return out
}

/** Writes a number into every element of a fresh tensor. */
export function fillStorage(out: Tensor, value: number): void {
  if (out.size > 0) out.backend.elementwise(FILL[scalarType(out.dtype)], [], [value], [out.view()])
}

const FILL = {
  float: new Program([scalar(0)], 0, 1),
  int: new Program([scalar(0, 'int')], 0, 1),
  bool: new Program([scalar(0).asBool()], 0, 1),
}

/** `length` entries of axis `dim` from `start`. A view. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const d = normalizeDim('narrow', dim, x.ndim)
  if (
    !Number.isInteger(start) ||
    !Number.isInteger(length) ||
    start < 0 ||
    length < 0 ||
    start + length > x.shape[d]
  ) {
    throw new ArgumentError(
      `narrow: start ${start} and length ${length} leave axis ${d} of size ${x.shape[d]}${inModule()}`,
    )
  }
  return slice(x, ...new Array<null>(d).fill(null), [start, start + length])
}

/** Entry `index` of axis `dim`, which disappears. A view. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  return slice(x, ...new Array<null>(normalizeDim('select', dim, x.ndim)).fill(null), index)
}

/** Removes axes of size 1: all, or `dim` if its size is 1. */
export function squeeze(x: Tensor, dim?: number): Tensor {
  const d = dim === undefined ? -1 : normalizeDim('squeeze', dim, x.ndim)
  const drop = (i: number): boolean => x.shape[i] === 1 && (dim === undefined || i === d)
  const keep = [...x.shape.keys()].filter((i) => !drop(i))
  if (keep.length === x.ndim) return x
  return recordedWindow(
    'squeeze',
    x,
    keep.map((i) => x.shape[i]),
    keep.map((i) => x.strides[i]),
    (g) => reshape(g, x.shape),
  )
}

/** Inserts an axis of size 1 at `dim` (of the result). */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1)
  const shape = [...x.shape]
  const strides = [...x.strides]
  shape.splice(d, 0, 1)
  strides.splice(d, 0, 0)
  checkShape('unsqueeze', shape)
  return recordedWindow('unsqueeze', x, shape, strides, (g) => squeeze(g, d))
}

/** Reverses the given axes. A view. */
export function flip(x: Tensor, dims: number | readonly number[]): Tensor {
  const which = normalizeDims('flip', dims, x.ndim)
  let { offset } = x
  const strides = x.strides.map((s, i) => {
    if (!which.includes(i) || x.shape[i] === 0) return s
    offset += (x.shape[i] - 1) * s
    return -s
  })
  return recordedWindow('flip', x, x.shape, strides, (g) => flip(g, which), offset)
}

/** The same values outside the graph, sharing memory; they outlive backward. */
export function detach(x: Tensor): Tensor {
  return x.window(x.offset, x.shape, x.strides)
}
