// Rows that ids name, copied and added in WASM, bit for bit as the TypeScript kernels do it.
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import type { DType, HostArray } from '../src/backend/types'
import { IndexError } from '../src/errors'
import { contiguous, type Layout, noise, place, randomArray } from './support/naive'

const plain = new CpuBackend({ plain: true })
const shared = new CpuBackend({ maximumBytes: 2 ** 28, initialBytes: 2 ** 24 })
const others: Record<string, CpuBackend> = { 'one thread': new CpuBackend(), 'two threads': shared }
beforeAll(() => shared.setThreads(2, 1))
afterAll(() => shared.destroy())

interface Scene {
  readonly dtype: DType
  readonly table: Layout
  readonly dim: number
  readonly index: Layout
  readonly rows: Layout
  readonly ids: Int32Array
}

/** Rows that may have gaps between them, and begin anywhere, of a table that may have them too; ids, apart or side by side. */
const scene = fc
  .record({
    dtype: fc.constantFrom<DType>('float32', 'int32'),
    words: fc.constantFrom(1, 2, 7, 100),
    count: fc.constantFrom(2, 33, 130, 511, 512, 513),
    width: fc.constantFrom(1, 2, 3, 4, 5, 15, 16, 17, 31, 64, 83),
    gap: fc.constantFrom(0, 1, 5),
    apart: fc.integer({ min: 1, max: 3 }),
    backwards: fc.boolean(),
    offset: fc.nat({ max: 5 }),
    seed: fc.integer(),
  })
  .map(({ dtype, words, count, width, gap, apart, backwards, offset, seed }): Scene => {
    const wide = (n: number): Layout => ({
      shape: [n, width],
      strides: [width + gap, 1],
      offset,
      length: offset + n * (width + gap),
    })
    const step = backwards ? -apart : apart
    const next = noise(seed)
    return {
      ...{ dtype, table: wide(words), rows: wide(count), dim: 0 },
      index: {
        shape: [count, width],
        strides: [step, 0],
        offset: backwards ? apart * (count - 1) : 0,
        length: apart * count,
      },
      ids: Int32Array.from({ length: apart * count }, () => Math.floor(((next() + 1) / 2) * words)),
    }
  })

/** Both calls; what lies in the memory of their outputs, and around them. */
function both(on: CpuBackend, { dtype, table, dim, index, rows, ids }: Scene): HostArray[] {
  const x = place(on, dtype, table, randomArray(dtype, table.length, 1))
  const y = place(on, dtype, rows, randomArray(dtype, rows.length, 2))
  const at = place(on, 'int32', index, ids)
  on.scatterAdd(x, dim, at, y)
  on.gather(x, dim, at, y)
  const read = [x, y].map((v) => on.readSync(v.buffer, dtype, 0, (v === x ? table : rows).length))
  for (const v of [x, y, at]) on.free(v.buffer)
  return read
}

it('rows of any width, count and layout', () => {
  fc.assert(
    fc.property(scene, (s) => same(s)),
    { numRuns: 100 },
  )
})

/** Bytes, since a difference of large arrays would take minutes to print. */
function same(s: Scene): void {
  const expected = both(plain, s).map(bytesOf)
  for (const [name, on] of Object.entries(others)) {
    const equal = both(on, s).map((values, i) => bytesOf(values).equals(expected[i]))
    expect({ name, equal }).toEqual({ name, equal: [true, true] })
  }
}

const bytesOf = (a: HostArray): Buffer => Buffer.from(a.buffer, a.byteOffset, a.byteLength)

it('rows within other axes', () => {
  // Entries along the middle axis of [words, middle, width], an id for each row of them.
  const middle = { shape: [40, 3, 20], strides: [1, 0, 0], offset: 0, length: 40 }
  const ids = Int32Array.from({ length: 40 }, (_, i) => (i * 7) % 5)
  const s: Scene = {
    ...{ dtype: 'float32', dim: 0, ids, index: middle },
    table: contiguous([5, 3, 20]),
    rows: contiguous([40, 3, 20]),
  }
  same(s)
  const inner: Scene = {
    ...{ dtype: 'float32', dim: 1, ids },
    index: { shape: [2, 40, 20], strides: [0, 1, 0], offset: 0, length: 40 },
    table: contiguous([2, 5, 20]),
    rows: contiguous([2, 40, 20]),
  }
  same(inner)
})

it.each([-1, 7, 2 ** 31 - 1, -(2 ** 31)])('an id of %i throws before anything is written', (id) => {
  const ids = new Int32Array(100)
  ids[60] = id
  const on = others['one thread']
  const x = place(on, 'float32', contiguous([7, 20]), randomArray('float32', 140, 1))
  const y = place(on, 'float32', contiguous([100, 20]), randomArray('float32', 2000, 2))
  const at = place(on, 'int32', { shape: [100, 20], strides: [1, 0], offset: 0, length: 100 }, ids)
  for (const call of [() => on.gather(x, 0, at, y), () => on.scatterAdd(x, 0, at, y)]) {
    expect(call).toThrow(IndexError)
    expect(call).toThrow(`index ${id} is out of range for dim 0 of size 7; expected 0 to 6`)
  }
  expect(on.readSync(x.buffer, 'float32', 0, 140)).toEqual(randomArray('float32', 140, 1))
  expect(on.readSync(y.buffer, 'float32', 0, 2000)).toEqual(randomArray('float32', 2000, 2))
})
