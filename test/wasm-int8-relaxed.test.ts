// The int8 matrix product with relaxed SIMD, which Node 20 has behind a flag: both of its forms, whatever the processor.
import v8 from 'node:v8'
import { expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { instantiate } from '../src/backend/cpu/wasm/compile'
import { gemmInt8, type Int8Kernels } from '../src/backend/cpu/wasm/gemm-int8'
import { packPanels, packRows, quadsOf } from '../src/backend/int8'
import { describeWasmInt8 } from './support/wasm-int8'

v8.setFlagsFromString('--experimental-wasm-relaxed-simd')

describeWasmInt8('int8 products with relaxed SIMD')

const { heap } = new CpuBackend()
const kernels = instantiate<Int8Kernels>(gemmInt8, heap.memory as WebAssembly.Memory) as Required<Int8Kernels>
/** V8 forgot the third operand of the four-way dot product at first (seen in Node 20, not in 22). */
const addsDots = Number(process.versions.node.split('.')[0]) >= 22

it('the two forms', () => {
  expect(kernels.pairs).toBeTypeOf('function')
  expect(kernels.dot).toBeTypeOf('function')
})

it.each([
  ['pairs', 'pairs', true],
  ['dot', 'dot', addsDots],
] as const)('%s: every size of tile, alone and onto what is there', (_, name, works) => {
  if (!works) return
  const [n, k] = [11, 21]
  const quads = quadsOf(k)
  for (let m = 1; m <= 13; m++) {
    const a = Int8Array.from({ length: m * k }, (_, i) => (i % 3 === 0 ? 127 : (37 * i) % 128))
    const b = Int8Array.from({ length: n * k }, (_, i) => (i % 4 === 0 ? -128 : ((91 * i) % 256) - 128))
    const [left, right] = [packRows(a, m, k), packPanels(b, n, k)]
    const at = [left.length, right.length, m * n, 64].map((words) => heap.allocate(4 * words).ptr)
    heap.i32(at[0], left.length).set(left)
    heap.i32(at[1], right.length).set(right)
    for (const add of [0, 1]) {
      kernels[name](at[0], 4 * quads, at[1], 32 * quads, at[2], 4 * n, m, n, quads, add, at[3])
    }
    const sums = heap.i32(at[2], m * n)
    sums.forEach((sum, i) => {
      const [row, column] = [Math.floor(i / n), i % n]
      let expected = 0
      for (let p = 0; p < k; p++) expected += a[row * k + p] * b[column * k + p]
      expect(sum).toBe(2 * expected)
    })
  }
})
