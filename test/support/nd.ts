// Plain n-dimensional arrays of numbers, and slow obvious functions on them: what the ops are compared with.
import type { DType } from '../../src/index'

export interface Nd {
  readonly shape: number[]
  readonly data: number[]
  /** 'float' is instantiated as float32 or float64. */
  readonly type: 'float' | 'int32' | 'bool'
}

export function dtypeOf(x: Nd, float: 'float32' | 'float64'): DType {
  return x.type === 'float' ? float : x.type
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

/** Every index of a shape, in row-major order. */
export function indices(shape: readonly number[]): number[][] {
  let all: number[][] = [[]]
  for (const n of shape) all = all.flatMap((at) => Array.from({ length: n }, (_, i) => [...at, i]))
  return all
}

/** An array from a function of the index. */
export function nd(shape: readonly number[], f: (at: number[]) => number, type: Nd['type'] = 'float'): Nd {
  return { shape: [...shape], data: indices(shape).map(f), type }
}

/** The element at an index, broadcasting: missing leading axes and axes of size 1 repeat. */
export function at(x: Nd, index: readonly number[]): number {
  const lead = index.length - x.shape.length
  let flat = 0
  x.shape.forEach((n, i) => {
    flat = flat * n + (n === 1 ? 0 : index[lead + i])
  })
  return x.data[flat]
}

export function broadcast(...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length))
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((s) => s[i - rank + s.length]).filter((n) => n !== undefined)
    return sizes.find((n) => n !== 1) ?? 1
  })
}

/** f of the elements of broadcast arrays. */
export function elementwise(f: (...v: number[]) => number, inputs: Nd[], type: Nd['type'] = 'float'): Nd {
  return nd(broadcast(...inputs.map((x) => x.shape)), (i) => f(...inputs.map((x) => at(x, i))), type)
}

/** f of the list of elements along the reduced axes. */
export function reduce(
  x: Nd,
  dims: readonly number[] | undefined,
  keepdim: boolean,
  f: (values: number[]) => number,
  type: Nd['type'] = 'float',
): Nd {
  const axes = (dims ?? x.shape.map((_, i) => i)).map((d) => (d < 0 ? d + x.shape.length : d))
  const inner = x.shape.map((n, i) => (axes.includes(i) ? n : 1))
  const kept = x.shape.map((n, i) => (axes.includes(i) ? 1 : n))
  const within = indices(inner)
  const data = indices(kept).map((o) =>
    f(
      within.map((i) =>
        at(
          x,
          i.map((v, d) => v + o[d]),
        ),
      ),
    ),
  )
  return { shape: keepdim ? kept : x.shape.filter((_, i) => !axes.includes(i)), data, type }
}

/** Linear congruential noise in [0, 1): values for a test case from one seed. */
export function noise(seed: number): () => number {
  let s = (seed ^ 0x2545f491) >>> 0
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0
    return s / 2 ** 32
  }
}
