// WASM kernels with relaxed SIMD's fused multiply-add, which Node 20 has behind a flag.
import v8 from 'node:v8'
import { expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { contiguous, place } from './support/naive'
import { describeWasmFunctions } from './support/wasm-functions'
import { describeWasmMatmul } from './support/wasm-matmul'

v8.setFlagsFromString('--experimental-wasm-relaxed-simd')

describeWasmMatmul('WASM matmul with FMA')
describeWasmFunctions('with FMA')

it('rounds a product and its sum once', () => {
  const backend = new CpuBackend()
  const one = (values: number[], rows: number, columns: number) =>
    place(backend, 'float32', contiguous([rows, columns]), Float32Array.from(values))
  // (1 + e)(1 - e) - 1 = -e^2, which two roundings would lose.
  const e = 2 ** -13
  const out = one(new Array(5 * 5).fill(0), 5, 5)
  const row = [1, 1 + e]
  const a = one([...row, ...row, ...row, ...row, ...row], 5, 2)
  const b = one([...new Array(5).fill(-1), ...new Array(5).fill(1 - e)], 2, 5)
  backend.matmul(a, b, out, false)
  expect([...backend.readSync(out.buffer, 'float32', 0, 25)]).toEqual(new Array(25).fill(-(e ** 2)))
})
