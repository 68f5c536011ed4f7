// The int8 matrix product with the instructions that every engine has, and the layout of its operands.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { packPanels, packRows, panelShape, quadsOf, unpackPanels } from '../src/backend/int8'
import { contiguous, place } from './support/naive'
import { describeWasmInt8 } from './support/wasm-int8'

describeWasmInt8('int8 products')

it('an empty K gives zeros', () => {
  const backend = new CpuBackend()
  const words = (shape: number[]) => place(backend, 'int32', contiguous(shape), new Int32Array(0))
  const out = place(backend, 'int32', contiguous([2, 3]), new Int32Array(6).fill(9))
  backend.matmulInt8(words([2, 0]), words([1, 0, 8]), out, false)
  expect([...backend.readSync(out.buffer, 'int32', 0, 6)]).toEqual([0, 0, 0, 0, 0, 0])
})

it('a word holds four values along K, the first in its lowest byte; zeros fill it up', () => {
  expect(quadsOf(5)).toBe(2)
  expect([...packRows([1, 2, 3, -1, 5], 1, 5)]).toEqual([0xff030201 | 0, 5])
  expect(panelShape(5, 9)).toEqual([2, 2, 8])
  const words = packPanels(
    Array.from({ length: 9 * 5 }, (_, i) => i),
    9,
    5,
  )
  const word = (panel: number, quad: number, column: number) => words[(panel * 2 + quad) * 8 + column]
  expect(word(0, 0, 1)).toBe(5 | (6 << 8) | (7 << 16) | (8 << 24))
  expect(word(0, 1, 1)).toBe(9)
  expect(word(1, 1, 0)).toBe(44)
  expect(word(1, 0, 1)).toBe(0)
})

it('unpacking panels gives back what was packed', () => {
  const matrix = fc
    .record({ n: fc.integer({ min: 0, max: 20 }), k: fc.integer({ min: 0, max: 20 }) })
    .chain(({ n, k }) =>
      fc.record({
        n: fc.constant(n),
        k: fc.constant(k),
        values: fc.int8Array({ minLength: n * k, maxLength: n * k }),
      }),
    )
  fc.assert(
    fc.property(matrix, ({ n, k, values }) => {
      expect(unpackPanels(packPanels(values, n, k), n, k)).toEqual(values)
    }),
  )
})
