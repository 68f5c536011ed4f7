// gather and scatter-add on the cpu against plain loops.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import type { DType } from '../src/backend/types'
import { IndexError } from '../src/errors'
import {
  ARRAY,
  contiguous,
  type Layout,
  layoutOf,
  noise,
  offsets,
  place,
  randomArray,
  shapes,
  valuesOf,
} from './support/naive'

const backend = new CpuBackend()

/** Row-major position in `shape` of the element that position i of `index` shape names with `id` along `dim`. */
function target(
  indexShape: readonly number[],
  shape: readonly number[],
  dim: number,
  i: number,
  id: number,
): number {
  let rest = i
  const index = new Array<number>(indexShape.length)
  for (let d = indexShape.length - 1; d >= 0; d--) {
    index[d] = rest % indexShape[d]
    rest = Math.floor(rest / indexShape[d])
  }
  index[dim] = id
  return index.reduce((p, v, d) => p * shape[d] + v, 0)
}

/** A shape, a dim, how many ids, and layouts of everything; ids vary over all axes or only along dim. */
const scene = shapes(5, 1).chain((shape) =>
  fc
    .record({ dim: fc.nat(shape.length - 1), ids: fc.nat(9), known: fc.integer({ min: 1, max: 6 }) })
    .chain(({ dim, ids, known }) => {
      const xShape = shape.with(dim, known)
      const indexShape = shape.with(dim, ids)
      return fc.record({
        dim: fc.constant(dim),
        x: layoutOf(xShape),
        index: fc.oneof(
          layoutOf(indexShape),
          fc.constant<Layout>({
            shape: indexShape,
            strides: indexShape.map((_, d) => (d === dim ? 1 : 0)),
            offset: 1,
            length: ids + 2,
          }),
        ),
        other: layoutOf(indexShape),
        out: layoutOf(indexShape, true),
        dtype: fc.constantFrom<DType>('float32', 'float64', 'int32', 'bool'),
        seed: fc.integer(),
      })
    }),
)

function idsFor(layout: Layout, known: number, seed: number): Int32Array {
  const next = noise(seed)
  return Int32Array.from({ length: layout.length }, () => Math.floor(((next() + 1) / 2) * known))
}

it('gather takes the named elements, in any layout and dtype', async () => {
  await fc.assert(
    fc.asyncProperty(scene, async ({ dim, x, index, out, dtype, seed }) => {
      const host = randomArray(dtype, x.length, seed)
      const ids = idsFor(index, x.shape[dim], seed + 1)
      const views = [
        place(backend, dtype, x, host),
        place(backend, 'int32', index, ids),
        place(backend, dtype, out, new ARRAY[dtype](out.length)),
      ]
      backend.gather(views[0], dim, views[1], views[2])
      const at = offsets(x)
      const expected = offsets(index).map((o, i) => host[at[target(index.shape, x.shape, dim, i, ids[o])]])
      expect(await valuesOf(backend, views[2])).toEqual(expected)
      for (const v of views) backend.free(v.buffer)
    }),
    { numRuns: 300 },
  )
})

it('scatterAdd adds to the named elements in order, in any layout', async () => {
  await fc.assert(
    fc.asyncProperty(scene, async ({ dim, x, index, other, dtype, seed }) => {
      fc.pre(dtype !== 'bool')
      const outLayout = contiguous(x.shape, 3)
      const before = randomArray(dtype, outLayout.length, seed)
      const host = randomArray(dtype, other.length, seed + 2)
      const ids = idsFor(index, x.shape[dim], seed + 1)
      const views = [
        place(backend, dtype, outLayout, before),
        place(backend, 'int32', index, ids),
        place(backend, dtype, other, host),
      ]
      backend.scatterAdd(views[0], dim, views[1], views[2])
      const expected = before.slice(3)
      const at = offsets(other)
      offsets(index).forEach((o, i) => {
        expected[target(index.shape, x.shape, dim, i, ids[o])] += host[at[i]]
      })
      expect(await valuesOf(backend, views[0])).toEqual([...expected])
      for (const v of views) backend.free(v.buffer)
    }),
    { numRuns: 300 },
  )
})

it.each<DType>(['float32', 'float64', 'int32', 'bool'])(
  'an embedding moves whole rows and sums their gradients (%s)',
  async (dtype) => {
    const [words, width, length] = [50, 40, 23]
    const table = randomArray(dtype, words * width, 1)
    const ids = idsFor(contiguous([length]), words, 2)
    const x = place(backend, dtype, contiguous([words, width]), table)
    const index = place(backend, 'int32', { shape: [length, width], strides: [1, 0], offset: 0, length }, ids)
    const out = place(backend, dtype, contiguous([length, width]), new ARRAY[dtype](0))
    backend.gather(x, 0, index, out)
    expect(await valuesOf(backend, out)).toEqual(
      [...ids].flatMap((id) => [...table.slice(id * width, (id + 1) * width)]),
    )
    if (dtype === 'bool') return
    const sum = place(backend, dtype, contiguous([words, width]), new ARRAY[dtype](words * width))
    backend.scatterAdd(sum, 0, index, out)
    const times = Array.from({ length: words }, (_, w) => ids.filter((id) => id === w).length)
    const expected = Array.from(table, (v, i) => {
      let s = ARRAY[dtype].of(0)
      for (let t = 0; t < times[Math.floor(i / width)]; t++) s = ARRAY[dtype].of(s[0] + v)
      return s[0]
    })
    expect(await valuesOf(backend, sum)).toEqual(expected)
  },
)

describe.each([
  ['ids along the row', [0, 1]],
  ['one id per row', [1, 0]],
])('%s out of range', (_, strides) => {
  it.each([-1, 3, 2 ** 31 - 1])('%i throws and names the range', (id) => {
    const x = place(backend, 'float32', contiguous([3, 3]), new Float32Array(9))
    const index = place(
      backend,
      'int32',
      { shape: [3, 3], strides, offset: 0, length: 3 },
      Int32Array.of(0, 2, id),
    )
    const other = place(backend, 'float32', contiguous([3, 3]), new Float32Array(9))
    expect(() => backend.gather(x, 0, index, other)).toThrow(IndexError)
    expect(() => backend.gather(x, 0, index, other)).toThrow(
      `index ${id} is out of range for dim 0 of size 3`,
    )
    expect(() => backend.scatterAdd(x, 0, index, other)).toThrow(IndexError)
  })
})
