// Printing and nesting of host values, in PyTorch's layout.

import type { DeviceName, DType, HostArray } from '../backend/types'
import { formatShape, type Shape, sizeOf } from './shape'

/** Nested arrays of numbers or booleans, as deep as the tensor has axes. */
export type Nested = number | boolean | Nested[]

/** Row-major values as nested arrays. */
export function nest(data: HostArray, shape: Shape, dtype: DType): Nested {
  const value = (i: number): number | boolean => (dtype === 'bool' ? data[i] !== 0 : data[i])
  const build = (axis: number, offset: number): Nested => {
    if (axis === shape.length) return value(offset)
    const step = sizeOf(shape.slice(axis + 1))
    return Array.from({ length: shape[axis] }, (_, i) => build(axis + 1, offset + i * step))
  }
  return build(0, 0)
}

/** Above this many elements only the edges are printed. */
const SUMMARY_THRESHOLD = 1000
const EDGE_ITEMS = 3

/** `tensor([[1, 2], [3, 4]], dtype=int32)`; without values, a summary of what the tensor is. */
export function formatTensor(
  data: HostArray | null,
  shape: Shape,
  dtype: DType,
  device: DeviceName,
  requiresGrad: boolean,
): string {
  const notes = [
    ...(dtype === 'float32' ? [] : [`dtype=${dtype}`]),
    ...(device === 'cpu' ? [] : [`device=${device}`]),
    ...(requiresGrad ? ['requiresGrad=true'] : []),
  ]
  if (data === null) return `tensor(${['...', `shape=${formatShape(shape)}`, ...notes].join(', ')})`
  if (data.length === 0) notes.unshift(`shape=${formatShape(shape)}`)
  const values = data
  const summarize = values.length > SUMMARY_THRESHOLD
  const print = numberFormat(values, dtype)
  // Columns are as wide as the widest number shown, so all are printed once before the layout.
  const width = shape.length === 0 ? 0 : widest(0, 0)
  const body = build(0, 0, 'tensor('.length)
  return `tensor(${[body, ...notes].join(', ')})`

  /** Indices along an axis; null stands for those left out. */
  function shownAlong(n: number): (number | null)[] {
    const all = Array.from({ length: n }, (_, i) => i)
    if (!summarize || n <= 2 * EDGE_ITEMS) return all
    return [...all.slice(0, EDGE_ITEMS), null, ...all.slice(-EDGE_ITEMS)]
  }

  function widest(axis: number, offset: number): number {
    if (axis === shape.length) return print(values[offset]).length
    const step = sizeOf(shape.slice(axis + 1))
    const widths = shownAlong(shape[axis]).map((i) => (i === null ? 0 : widest(axis + 1, offset + i * step)))
    return Math.max(0, ...widths)
  }

  function build(axis: number, offset: number, indent: number): string {
    if (axis === shape.length) return print(values[offset]).padStart(width)
    const step = sizeOf(shape.slice(axis + 1))
    const parts = shownAlong(shape[axis]).map((i) =>
      i === null ? '...' : build(axis + 1, offset + i * step, indent + 1),
    )
    const last = axis === shape.length - 1
    const separator = last ? ', ' : `,${'\n'.repeat(shape.length - 1 - axis)}${' '.repeat(indent + 1)}`
    return `[${parts.join(separator)}]`
  }
}

function numberFormat(data: HostArray, dtype: DType): (x: number) => string {
  if (dtype === 'bool') return (x) => (x === 0 ? 'false' : 'true')
  if (dtype === 'int32') return String
  let largest = 0
  let smallest = Number.POSITIVE_INFINITY
  let whole = true
  for (const x of data) {
    if (!Number.isFinite(x)) continue
    const a = Math.abs(x)
    if (a > largest) largest = a
    if (a !== 0 && a < smallest) smallest = a
    if (!Number.isInteger(x)) whole = false
  }
  const special = (x: number, f: (x: number) => string): string => {
    if (Number.isNaN(x)) return 'nan'
    if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf'
    return f(x)
  }
  if (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1e8)
    return (x) => special(x, (v) => v.toExponential(4))
  if (whole) return (x) => special(x, (v) => `${v}.`)
  return (x) => special(x, (v) => v.toFixed(4))
}
