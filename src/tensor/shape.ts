// Pure arithmetic on shapes and strides: sizes, broadcasting, dimension arguments, view rules.

import { ArgumentError, ShapeError } from '../errors'

/** The sizes of the axes. */
export type Shape = readonly number[]

/** Most axes a tensor may have. */
export const MAX_RANK = 8
/** Most elements a tensor may have: indices are signed 32-bit on every device. */
export const MAX_ELEMENTS = 2 ** 31 - 1

export function sizeOf(shape: Shape): number {
  let size = 1
  for (const n of shape) size *= n
  return size
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 0) return true
    if (shape[i] !== 1 && strides[i] !== step) return false
    step *= shape[i]
  }
  return true
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i])
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

/** Checks that a user's shape is a list of non-negative integers within the limits. */
export function checkShape(op: string, shape: Shape): void {
  if (shape.length > MAX_RANK) {
    throw new ShapeError(
      `${op}: shape ${formatShape(shape)} has ${shape.length} axes; at most ${MAX_RANK} are supported`,
    )
  }
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new ShapeError(`${op}: shape ${formatShape(shape)} must hold non-negative integers`)
    }
  }
  if (sizeOf(shape) > MAX_ELEMENTS) {
    throw new ShapeError(`${op}: shape ${formatShape(shape)} has more than 2^31 - 1 elements`)
  }
}

/** NumPy broadcasting. */
export function broadcastShapes(op: string, ...shapes: Shape[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length))
  const out = new Array<number>(rank).fill(1)
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i
      if (shape[i] === 1) continue
      if (out[at] !== 1 && out[at] !== shape[i]) {
        throw new ShapeError(
          `${op}: shapes ${shapes.map(formatShape).join(' and ')} do not broadcast; ` +
            `axis ${at - rank} is ${out[at]} and ${shape[i]}, expected equal sizes or 1`,
        )
      }
      out[at] = shape[i]
    }
  }
  return out
}

/** Strides that repeat a `shape`-sized view to the broadcast shape `to` (new and size-1 axes get 0). */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): number[] {
  const lead = to.length - shape.length
  return to.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : strides[i - lead]))
}

/** A dimension argument made non-negative. Rank-0 tensors accept -1 and 0, as in PyTorch. */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const span = Math.max(rank, 1)
  if (!Number.isInteger(dim) || dim < -span || dim >= span) {
    throw new ArgumentError(
      `${op}: dim ${dim} is out of range for a tensor with ${rank} axes; expected ${-span} to ${span - 1}`,
    )
  }
  return dim < 0 ? dim + span : dim
}

/** Dimension arguments made non-negative, ascending and distinct; undefined means all. */
export function normalizeDims(
  op: string,
  dims: number | readonly number[] | undefined,
  rank: number,
): number[] {
  if (dims === undefined) return Array.from({ length: rank }, (_, i) => i)
  if (rank === 0) {
    for (const d of typeof dims === 'number' ? [dims] : dims) normalizeDim(op, d, 0)
    return []
  }
  const list = (typeof dims === 'number' ? [dims] : dims).map((d) => normalizeDim(op, d, rank))
  if (new Set(list).size !== list.length)
    throw new ArgumentError(`${op}: dims [${String(dims)}] name an axis twice`)
  return list.sort((a, b) => a - b)
}

/** `shape` with the reduced `dims` removed, or kept as 1. */
export function reducedShape(shape: Shape, dims: readonly number[], keepdim: boolean): number[] {
  const out: number[] = []
  shape.forEach((n, i) => {
    if (!dims.includes(i)) out.push(n)
    else if (keepdim) out.push(1)
  })
  return out
}

/** Fills in a single -1 of a reshape and checks the element count. */
export function resolveReshape(op: string, from: Shape, to: Shape): number[] {
  const unknown = to.indexOf(-1)
  const size = sizeOf(from)
  const shape = [...to]
  if (unknown >= 0) {
    const rest = sizeOf(to.filter((_, i) => i !== unknown))
    if (to.lastIndexOf(-1) !== unknown)
      throw new ShapeError(`${op}: shape ${formatShape(to)} has more than one -1`)
    if (rest === 0 || size % rest !== 0) {
      throw new ShapeError(
        `${op}: cannot infer the -1 of ${formatShape(to)} from ${formatShape(from)} (${size} elements)`,
      )
    }
    shape[unknown] = size / rest
  }
  checkShape(op, shape)
  if (sizeOf(shape) !== size) {
    throw new ShapeError(
      `${op}: ${formatShape(from)} has ${size} elements, ${formatShape(to)} has ${sizeOf(shape)}; they must be equal`,
    )
  }
  return shape
}

/** Strides that show the same memory in another shape, or null where that needs a copy. */
export function reshapeStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (sizeOf(shape) === 0) return contiguousStrides(to)
  // Merge axes of the old shape that are laid out as one, then cut the runs into the new axes.
  const runs: { size: number; stride: number }[] = []
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue
    const last = runs[runs.length - 1]
    if (last && last.stride === strides[i] * shape[i]) {
      last.size *= shape[i]
      last.stride = strides[i]
    } else runs.push({ size: shape[i], stride: strides[i] })
  }
  const out = new Array<number>(to.length)
  let axis = to.length - 1
  for (let r = runs.length - 1; r >= 0; r--) {
    let { size, stride } = runs[r]
    while (size > 1) {
      if (axis < 0) return null
      const n = to[axis]
      if (n !== 1 && size % n !== 0) return null
      out[axis--] = stride
      stride *= n
      size /= n
    }
  }
  for (; axis >= 0; axis--) out[axis] = 0
  return out
}
