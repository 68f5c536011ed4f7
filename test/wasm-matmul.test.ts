// The WASM matrix product with the instructions that every engine has, and what surrounds it: growing memory,
// addresses above 2 GiB, and machines where nothing may be compiled.
import { afterEach, expect, it, vi } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { matmul } from '../src/backend/cpu/matmul'
import { wasmMatmul } from '../src/backend/cpu/wasm/matmul'
import type { View } from '../src/backend/types'
import { contiguous, place, randomArray } from './support/naive'
import { describeWasmMatmul } from './support/wasm-matmul'

const MIB = 2 ** 20

afterEach(() => {
  vi.restoreAllMocks()
})

describeWasmMatmul('WASM matmul')

/** Three views of a product, on a backend of one's own. */
function scene(backend: CpuBackend, m: number, n: number, k: number): [View, View, View] {
  const put = (rows: number, columns: number, seed: number): View =>
    place(backend, 'float32', contiguous([rows, columns]), randomArray('float32', rows * columns, seed))
  return [put(m, k, 1), put(k, n, 2), put(m, n, 3)]
}

function result(backend: CpuBackend, out: View): Float32Array {
  return backend.readSync(out.buffer, 'float32', 0, out.shape[0] * out.shape[1]) as Float32Array
}

it('survives that its scratch memory makes the heap grow', () => {
  const roomy = new CpuBackend()
  const tight = new CpuBackend({ initialBytes: MIB / 16, maximumBytes: 64 * MIB })
  const [a, b, out] = scene(tight, 20, 40, 30)
  const before = tight.heap.generation
  tight.matmul(a, b, out, false)
  expect(tight.heap.generation).toBeGreaterThan(before)
  const [x, y, z] = scene(roomy, 20, 40, 30)
  roomy.matmul(x, y, z, false)
  expect(result(tight, out)).toEqual(result(roomy, z))
})

it('reads and writes above 2 GiB', () => {
  const backend = new CpuBackend({ initialBytes: 2200 * MIB })
  const low = scene(backend, 9, 17, 5)
  // Address space only: nothing touches it.
  backend.allocate('bool', 2100 * MIB)
  const high = scene(backend, 9, 17, 5)
  expect(high.every((v) => (v.buffer as ReturnType<CpuBackend['allocate']>).ptr > 2 ** 31)).toBe(true)
  backend.matmul(...low, false)
  backend.matmul(...high, false)
  expect(result(backend, high[2])).toEqual(result(backend, low[2]))
})

it('leaves float64, an empty K and memory without WebAssembly to the TypeScript kernels', () => {
  const backend = new CpuBackend()
  const [a, b, out] = scene(backend, 4, 4, 4)
  const double = (v: View): View => ({ ...v, dtype: 'float64', shape: [2, 2], strides: [2, 1] })
  expect(wasmMatmul(double(a), double(b), double(out), false)).toBe(false)
  expect(wasmMatmul({ ...a, shape: [4, 0] }, { ...b, shape: [0, 4] }, out, false)).toBe(false)
  expect(wasmMatmul(...scene(new CpuBackend({ plain: true }), 4, 4, 4), false)).toBe(false)
})

it('where compiling is forbidden, the TypeScript kernels serve, bit for bit', () => {
  const forbid = vi.spyOn(WebAssembly, 'Module').mockImplementation(function refuse() {
    throw new WebAssembly.CompileError('blocked by the content security policy')
  })
  const backend = new CpuBackend()
  const [a, b, out] = scene(backend, 13, 29, 300)
  backend.matmul(a, b, out, false)
  backend.matmul(a, b, out, true)
  expect(forbid).toHaveBeenCalledTimes(1)
  const expected = place(backend, 'float32', contiguous([13, 29]), new Float32Array(13 * 29))
  matmul(a, b, expected, false)
  matmul(a, b, expected, true)
  expect(result(backend, out)).toEqual(result(backend, expected))
})
