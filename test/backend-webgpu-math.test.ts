// How accurate the float functions are on webgpu, against float64 over wide ranges. WGSL leaves most of them to the
// driver, with errors as large as 2^-11 for sin; the library brings its own, all good to about 2e-7.
import { afterEach, describe, expect, it } from 'vitest'
import { Expr, input, type UnaryKind } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { contiguous, exactErf, noise } from './support/naive'
import { useTwins } from './support/twins'

const twins = useTwins()
afterEach(() => twins().release())

const N = 20_000

/** Magnitudes spread evenly over the exponents from 10^low to 10^high, of both signs or one. */
function spread(low: number, high: number, sign: 1 | -1 | 0): Float32Array {
  const next = noise(high * 31 + low)
  return Float32Array.from({ length: N }, () => {
    const size = 10 ** (low + ((next() + 1) / 2) * (high - low))
    return sign === 0 ? (next() < 0 ? -size : size) : sign * size
  })
}

function even(low: number, high: number): Float32Array {
  return Float32Array.from({ length: N }, (_, i) => low + ((i + 0.5) / N) * (high - low))
}

async function on(e: Expr, columns: Float32Array[]): Promise<Float32Array> {
  const n = columns[0].length
  const ins = columns.map((c) => twins().place('float32', contiguous([n]), c))
  const out = twins().place('float32', contiguous([n]), new Float32Array(n))
  twins().gpu.elementwise(
    new Program([e], columns.length),
    ins.map((t) => t.gpu),
    [],
    [out.gpu],
  )
  return (await twins().gpu.read(out.gpu.buffer, 'float32', 0, n)) as Float32Array
}

/** The largest error relative to the exact value, which counts as at least `floor`. */
function worst(
  got: Float32Array,
  exact: (i: number) => number,
  floor: number,
): { error: number; at: number } {
  let error = 0
  let at = 0
  for (let i = 0; i < got.length; i++) {
    const e = exact(i)
    if (Math.abs(e) > 3.4028234663852886e38) continue
    const d = Math.abs(got[i] - e) / Math.max(floor, Math.abs(e))
    if (!(d <= error)) {
      error = d
      at = i
    }
  }
  return { error, at }
}

const NORMAL = 1.2e-38
/** Kind, values, largest error allowed relative to max(|exact|, floor), floor. */
const CASES: [UnaryKind, string, Float32Array, (x: number) => number, number, number][] = [
  ['exp', '-87 to 88.7', even(-87, 88.7), Math.exp, 3e-7, NORMAL],
  ['exp', 'near 0', spread(-8, 0, 0), Math.exp, 2e-7, NORMAL],
  ['expm1', '-20 to 88', even(-20, 88), Math.expm1, 4e-7, NORMAL],
  ['expm1', 'near 0', spread(-30, 0, 0), Math.expm1, 4e-7, NORMAL],
  ['log', 'all magnitudes', spread(-37, 38, 1), Math.log, 3e-7, NORMAL],
  ['log', 'near 1', even(0.5, 2), Math.log, 4e-7, NORMAL],
  ['log1p', 'all magnitudes', spread(-37, 38, 1), Math.log1p, 4e-7, NORMAL],
  ['log1p', 'below 0', even(-0.9999, 0), Math.log1p, 4e-7, NORMAL],
  ['log1p', 'near 0', spread(-30, -1, 0), Math.log1p, 4e-7, NORMAL],
  ['sqrt', 'all magnitudes', spread(-37, 38, 1), Math.sqrt, 2e-7, NORMAL],
  ['tanh', 'all magnitudes', spread(-30, 3, 0), Math.tanh, 4e-7, NORMAL],
  ['tanh', '-10 to 10', even(-10, 10), Math.tanh, 4e-7, NORMAL],
  ['sigmoid', '-87 to 87', even(-87, 87), (x) => 1 / (1 + Math.exp(-x)), 4e-7, NORMAL],
  ['sin', '-100 to 100', even(-100, 100), Math.sin, 3e-7, 0.01],
  ['sin', 'up to 10^4', spread(-20, 4, 0), Math.sin, 4e-7, 1],
  ['sin', 'near 0', spread(-30, 0, 0), Math.sin, 3e-7, NORMAL],
  ['cos', '-100 to 100', even(-100, 100), Math.cos, 3e-7, 0.01],
  ['cos', 'up to 10^4', spread(-20, 4, 0), Math.cos, 4e-7, 1],
]

describe('largest relative error', () => {
  it.each(CASES)('%s %s', async (kind, _, xs, exact, bound, floor) => {
    const got = await on(new Expr(kind, 'float', [input(0)]), [xs])
    const { error, at } = worst(got, (i) => exact(xs[i]), floor)
    expect(error, `at x = ${xs[at]}: ${got[at]}, exact ${exact(xs[at])}`).toBeLessThan(bound)
  })

  it('erf', async () => {
    const xs = Float32Array.from(
      [...even(-5, 5)].filter((_, i) => i % 20 === 0).concat([...spread(-30, 1, 0)].slice(0, 500)),
    )
    const got = await on(input(0).erf(), [xs])
    const { error, at } = worst(got, (i) => exactErf(xs[i]), NORMAL)
    expect(error, `at x = ${xs[at]}: ${got[at]}`).toBeLessThan(6e-7)
  })

  it('pow with any exponent', async () => {
    const a = spread(-6, 6, 1)
    const b = even(-6, 6)
    const got = await on(input(0).pow(input(1)), [a, b])
    const { error, at } = worst(got, (i) => a[i] ** b[i], NORMAL)
    expect(error, `${a[at]} ** ${b[at]}: ${got[at]}, exact ${a[at] ** b[at]}`).toBeLessThan(1e-6)
  })

  it('pow with whole exponents, negative bases too', async () => {
    const a = spread(-4, 4, 0)
    const b = Float32Array.from(a, (_, i) => (i % 19) - 9)
    const got = await on(input(0).pow(input(1)), [a, b])
    const { error, at } = worst(got, (i) => a[i] ** b[i], NORMAL)
    expect(error, `${a[at]} ** ${b[at]}: ${got[at]}, exact ${a[at] ** b[at]}`).toBeLessThan(1e-6)
  })

  it('division', async () => {
    const a = spread(-15, 15, 0)
    const b = spread(-14, 14, 0)
    const got = await on(input(0).div(input(1)), [a, b])
    expect(worst(got, (i) => a[i] / b[i], NORMAL).error).toBeLessThan(3e-7)
  })

  it('mod is exact', async () => {
    const a = spread(-3, 6, 0)
    const b = spread(-2, 3, 0)
    const got = await on(input(0).mod(input(1)), [a, b])
    const mod = (x: number, y: number): number => {
      const r = x % y
      return Math.fround(r !== 0 && r < 0 !== y < 0 ? r + y : r)
    }
    expect([...got]).toEqual([...a].map((x, i) => mod(x, b[i])))
  })
})
