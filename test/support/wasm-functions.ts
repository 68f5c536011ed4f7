// How exact the vectorised functions are, whatever instructions they are made of: over all float32 numbers and over the
// ranges where they do their work. The reference is the interpreter in float64, whose errors are a billionth of these.
// The largest errors are printed, in units in the last place of the float32 result.
import { afterAll, describe, expect, it } from 'vitest'
import { CpuBackend } from '../../src/backend/cpu'
import { wasmElementwise } from '../../src/backend/cpu/wasm/programs'
import { Expr, input, type UnaryKind } from '../../src/backend/expr'
import { Program } from '../../src/backend/program'
import { contiguous, noise, place } from './naive'

const wasm = new CpuBackend()
const plain = new CpuBackend({ plain: true })

const SPECIAL = [
  ...[0, -0, Infinity, -Infinity, Number.NaN, 1, -1, 0.5, 1e-45, -1e-45, 1e-39, 2 ** -126, 3.4028235e38],
  // Where exp becomes infinite, subnormal and zero.
  ...[88.72283, 88.72284, -87.3, -87.4, -103.9, -103.98, -104, -150, 150],
  // Where expm1 and tanh are -1 and 1, and erf is 1.
  ...[-17, -18, 8.9, 9.1, 0.9999999, 1.0000001, 3.9, 4.1, -4.1],
]

/** Every bit pattern is as likely, then numbers of ordinary sizes. */
function numbers(n: number): Float32Array {
  const next = noise(7)
  const x = new Float32Array(n)
  const bits = new Int32Array(x.buffer)
  for (let i = 0; i < n / 2; i++) bits[i] = next() * 2 ** 31
  for (let i = n / 2; i < n; i++) x[i] = next() * [1, 2, 10, 100][i % 4]
  x.set(SPECIAL)
  return x
}

/** The distance of neighbouring float32 numbers at x. */
function spacing(x: number): number {
  const size = Math.abs(Math.fround(x))
  return size < 2 ** -126 ? 2 ** -149 : 2 ** (Math.floor(Math.log2(Math.min(size, 3.4e38))) - 23)
}

export function describeWasmFunctions(title: string): void {
  describe(title, () => {
    const report: string[] = []
    afterAll(() => {
      console.log(`${title}, largest errors in ulp: ${report.join(', ')}`)
    })

    it.each<[UnaryKind, number]>([
      ['exp', 1],
      ['log', 1],
      ['log1p', 1.5],
      ['expm1', 1.6],
      ['tanh', 2.6],
      ['sigmoid', 2.9],
      ['erf', 3],
      ['sqrt', 0.5],
      ['sign', 0],
      ['floor', 0],
      ['ceil', 0],
      ['round', 0],
      ['single', 0],
    ])('%s is right to %d ulp, with NaN, infinities and subnormal numbers in their places', (kind, bound) => {
      const x = numbers(1 << 19)
      const program = new Program([new Expr(kind, 'float', [input(0)])], 1)
      const a = place(wasm, 'float32', contiguous([x.length]), x)
      const y = place(wasm, 'float32', contiguous([x.length]), x)
      expect(wasmElementwise(program, [a], [], [y])).toBe(true)
      const actual = wasm.readSync(y.buffer, 'float32', 0, x.length)
      const b = place(plain, 'float64', contiguous([x.length]), Float64Array.from(x))
      const z = place(plain, 'float64', contiguous([x.length]), new Float64Array(x.length))
      plain.elementwise(program, [b], [], [z])
      const exact = plain.readSync(z.buffer, 'float64', 0, x.length)
      let worst = 0
      for (let i = 0; i < x.length; i++) {
        const expected = Math.fround(exact[i])
        if (Number.isFinite(expected)) {
          worst = Math.max(worst, Math.abs(actual[i] - exact[i]) / spacing(exact[i]))
        } else if (!Object.is(actual[i], expected))
          expect.fail(`${kind}(${x[i]}): ${actual[i]}, expected ${expected}`)
      }
      report.push(`${kind} ${worst.toFixed(2)}`)
      expect(worst).toBeLessThanOrEqual(bound)
      for (const v of [a, y]) wasm.free(v.buffer)
      for (const v of [b, z]) plain.free(v.buffer)
    })
  })
}
