// fast-check arbitraries for shapes and tensors: small, odd, and often at the edges (sizes 0 and 1, broadcasts, views).

import fc from 'fast-check'
import type { DeviceName, DType } from '../backend/types'
import { tensor } from '../tensor/create'
import { expand, flip, permute, reshape, slice } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { broadcastShapes, type Shape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

export interface ShapeOptions {
  /** Default 0. */
  minRank?: number
  /** Default 3. */
  maxRank?: number
  /** Default 0: empty tensors occur. */
  minSize?: number
  /** Largest size of an axis. Default 5. */
  maxSize?: number
  /** Most elements. Default 60. */
  maxElements?: number
}

/** Shapes, the sizes 0 (if allowed) and 1 often among them. */
export function shapes({
  minRank = 0,
  maxRank = 3,
  minSize = 0,
  maxSize = 5,
  maxElements = 60,
}: ShapeOptions = {}): fc.Arbitrary<number[]> {
  const size = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: Math.max(1, minSize), max: maxSize }) },
    { weight: 2, arbitrary: fc.constant(Math.max(1, minSize)) },
    ...(minSize === 0 ? [{ weight: 1, arbitrary: fc.constant(0) }] : []),
  )
  return fc
    .array(size, { minLength: minRank, maxLength: maxRank })
    .map((shape) => withinLimit(shape, minSize, maxElements))
}

/** Shrinks the largest axes until the element count is allowed. */
function withinLimit(shape: number[], minSize: number, maxElements: number): number[] {
  const out = [...shape]
  while (sizeOf(out) > maxElements) {
    const largest = out.indexOf(Math.max(...out))
    if (out[largest] <= Math.max(1, minSize)) break
    out[largest]--
  }
  return out
}

export interface BroadcastOptions extends ShapeOptions {
  /** How many shapes. Default 2. */
  count?: number
}

export interface Broadcast {
  /** Shapes that broadcast together. */
  readonly shapes: number[][]
  /** What they broadcast to. */
  readonly result: number[]
}

/** Shapes that broadcast together: leading axes missing, others 1. */
export function broadcastableShapes({
  count = 2,
  ...options
}: BroadcastOptions = {}): fc.Arbitrary<Broadcast> {
  return shapes(options)
    .chain((full) => {
      const one = fc.record({
        lead: fc.oneof(
          { weight: 2, arbitrary: fc.constant(0) },
          { weight: 1, arbitrary: fc.integer({ min: 0, max: full.length }) },
        ),
        ones: fc.array(
          fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
          {
            minLength: full.length,
            maxLength: full.length,
          },
        ),
      })
      return fc
        .array(one, { minLength: count, maxLength: count })
        .map((cuts) => cuts.map(({ lead, ones }) => full.map((n, i) => (ones[i] ? 1 : n)).slice(lead)))
    })
    .map((found) => ({ shapes: found, result: broadcastShapes('broadcastableShapes', ...found) }))
}

export interface TensorArbitraryOptions {
  /** A shape, or an arbitrary of shapes. Default `shapes()`. */
  shape?: Shape | fc.Arbitrary<readonly number[]>
  /** Default float32. */
  dtype?: DType
  /** Least and greatest value. Default [-10, 10]; ignored for bool. */
  range?: readonly [min: number, max: number]
  device?: DeviceName
  requiresGrad?: boolean
  /** Also tensors that are not laid out row by row: transposed, flipped, cut with a step. Default true. */
  views?: boolean
}

/** Tensors of finite values. Dispose them, or run the property inside `tidy`. */
export function tensors({
  shape = shapes(),
  dtype = 'float32',
  range = [-10, 10],
  device,
  requiresGrad = false,
  views = true,
}: TensorArbitraryOptions = {}): fc.Arbitrary<Tensor> {
  const shapeArbitrary = shape instanceof fc.Arbitrary ? shape : fc.constant([...shape])
  return shapeArbitrary.chain((to) => {
    const n = sizeOf(to)
    return fc
      .record({
        values: fc.array(element(dtype, range), { minLength: n, maxLength: n }),
        layout: views && to.length > 0 ? fc.constantFrom(...LAYOUTS) : fc.constant('plain' as const),
      })
      .map(({ values, layout }) => {
        const out = tidy(() => arrange(tensor(values, { shape: to, dtype, device }), layout))
        if (requiresGrad) out.requiresGrad = true
        return out
      })
  })
}

function element(dtype: DType, [min, max]: readonly [number, number]): fc.Arbitrary<number> {
  if (dtype === 'bool') return fc.integer({ min: 0, max: 1 })
  if (dtype === 'int32') return fc.integer({ min: Math.ceil(min), max: Math.floor(max) })
  if (dtype === 'float64') return fc.double({ min, max, noNaN: true })
  return fc.float({ min: Math.fround(min), max: Math.fround(max), noNaN: true })
}

const LAYOUTS = ['plain', 'plain', 'transposed', 'flipped', 'cut'] as const

/** The same shape and, up to order, the same values, seen through a view that is not row by row. */
function arrange(t: Tensor, layout: (typeof LAYOUTS)[number]): Tensor {
  const last = t.ndim - 1
  switch (layout) {
    case 'plain':
      return t
    case 'transposed': {
      const reversed = [...t.shape.keys()].reverse()
      return permute(reshape(t, [...t.shape].reverse()), reversed)
    }
    case 'flipped':
      return flip(t, last)
    case 'cut': {
      // Every second column of a tensor twice as wide.
      const pairs = expand(reshape(t, [...t.shape, 1]), [...t.shape, 2])
      const wide = reshape(pairs, [...t.shape.slice(0, -1), 2 * t.shape[last]])
      return slice(wide, ...new Array<null>(last).fill(null), [0, null, 2])
    }
    default:
      return layout satisfies never
  }
}
