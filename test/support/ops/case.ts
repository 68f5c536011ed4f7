// What a row of the op table is, and values for its cases: clear of kinks, tied only where ties are wanted.
import fc from 'fast-check'
import type * as ef from '../../../src/index'
import type { ShapeOptions } from '../../../src/testing'
import { type Nd, nd, noise, sizeOf } from '../nd'

export type Tensor = ef.Tensor
export type ResultDType = ef.DType | 'throws'

/** One call of an op. */
export interface OpCase {
  readonly inputs: Nd[]
  readonly run: (...x: Tensor[]) => Tensor | readonly Tensor[]
  readonly expected: (...x: Nd[]) => Nd | Nd[]
  /** Arguments that are not tensors, for messages. */
  readonly note?: string
}

export interface Row {
  /** The export of src/index.ts. */
  readonly op: string
  readonly title?: string
  readonly cases: (limits: ShapeOptions) => fc.Arbitrary<OpCase>
  /** False for ops whose result has no gradient (comparisons, indices). Default true. */
  readonly differentiable?: boolean
  /** Inputs must not be made to repeat elements (ties are kinks). */
  readonly distinct?: boolean
  /** The dtype of the result when every operand is int32, or bool. */
  readonly int32?: ResultDType
  readonly bool?: ResultDType
}

export interface Domain {
  readonly min?: number
  readonly max?: number
  /** Points to stay away from, by 0.05. */
  readonly avoid?: (v: number) => number
  /** Values are multiples of this (plus `offset`). */
  readonly grid?: number
  readonly offset?: number
}

export const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

export function values(
  shape: readonly number[],
  seed: number,
  { min = -3, max = 3, avoid, grid, offset = 0 }: Domain = {},
): Nd {
  const next = noise(seed)
  return nd(shape, () => {
    let v = min + (max - min) * next()
    if (grid) v = Math.round(v / grid) * grid + offset
    return avoid ? avoid(v) : v
  })
}

/** All elements different by at least 0.1. */
export function distinctValues(shape: readonly number[], seed: number): Nd {
  const n = sizeOf(shape)
  const next = noise(seed)
  const order = Array.from({ length: n }, (_, i) => [next(), i]).sort((a, b) => a[0] - b[0])
  const data = new Array<number>(n)
  order.forEach(([, i], k) => {
    data[i] = (k - n / 2) * 0.1 + 0.04 * next()
  })
  return { shape: [...shape], data, type: 'float' }
}

export function ids(shape: readonly number[], seed: number, below: number): Nd {
  const next = noise(seed)
  return nd(shape, () => Math.floor(next() * below), 'int32')
}

export function flags(shape: readonly number[], seed: number): Nd {
  const next = noise(seed)
  return nd(shape, () => (next() < 0.5 ? 0 : 1), 'bool')
}

/** Moves a value that is closer than 0.05 to p away from it. */
export const awayFrom =
  (...points: number[]) =>
  (v: number): number => {
    for (const p of points) if (Math.abs(v - p) < 0.05) return v < p ? p - 0.05 : p + 0.05
    return v
  }

/** Keeps the fractional part clear of 0 and one half. */
export const betweenHalves = (v: number): number =>
  Math.floor(v * 2) / 2 + 0.1 + 0.3 * (v * 2 - Math.floor(v * 2))

export const truth = (x: boolean): number => (x ? 1 : 0)
