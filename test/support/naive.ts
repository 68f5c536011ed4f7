// Slow and obvious reference computations in float64, and strided layouts to try kernels on.
import fc from 'fast-check'
import type { Expr } from '../../src/backend/expr'
import type { Backend, DType, HostArray, View } from '../../src/backend/types'

/** The value of an expression, by the textbook meaning of each kind. */
export function evaluate(e: Expr, inputs: readonly number[], scalars: readonly number[] = []): number {
  const [a, b, c] = e.args.map((x) => evaluate(x, inputs, scalars))
  const result = (x: number): number => (e.type === 'int' ? Number(BigInt.asIntN(32, BigInt(x))) : x)
  const truth = (x: boolean): number => (x ? 1 : 0)
  switch (e.kind) {
    case 'input':
      return inputs[e.value]
    case 'scalar':
      return scalars[e.value]
    case 'const':
      return e.value
    case 'neg':
      return result(-a)
    case 'abs':
      return result(Math.abs(a))
    case 'sign':
      return Math.sign(a)
    case 'exp':
      return Math.exp(a)
    case 'log':
      return Math.log(a)
    case 'log1p':
      return Math.log1p(a)
    case 'expm1':
      return Math.expm1(a)
    case 'sqrt':
      return Math.sqrt(a)
    case 'sin':
      return Math.sin(a)
    case 'cos':
      return Math.cos(a)
    case 'tanh':
      return Math.tanh(a)
    case 'sigmoid':
      return 1 / (1 + Math.exp(-a))
    case 'erf':
      return exactErf(a)
    case 'floor':
      return Math.floor(a)
    case 'ceil':
      return Math.ceil(a)
    case 'round': {
      const low = Math.floor(a)
      if (a - low !== 0.5) return Math.round(a)
      return low % 2 === 0 ? low : low + 1
    }
    case 'single':
      return Math.fround(a)
    case 'isNaN':
      return truth(Number.isNaN(a))
    case 'not':
      return truth(a === 0)
    case 'add':
      return result(a + b)
    case 'sub':
      return result(a - b)
    // A product of two int32 does not fit a double.
    case 'mul':
      return e.type === 'int' ? Number(BigInt.asIntN(32, BigInt(a) * BigInt(b))) : a * b
    case 'div':
      return a / b
    case 'pow':
      return a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b
    case 'mod': {
      if (e.type === 'int' && b === 0) return 0
      const r = a % b
      const m = r !== 0 && Math.sign(r) !== Math.sign(b) ? r + b : r
      return e.type === 'int' ? m + 0 : m
    }
    case 'max':
      return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)
    case 'min':
      return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.min(a, b)
    case 'eq':
      return truth(a === b)
    case 'lt':
      return truth(a < b)
    case 'le':
      return truth(a <= b)
    case 'and':
      return truth(a !== 0 && b !== 0)
    case 'or':
      return truth(a !== 0 || b !== 0)
    case 'where':
      return a !== 0 ? b : c
    case 'cast':
      if (e.type === 'bool') return truth(a !== 0)
      if (e.type === 'float') return a
      return Number.isFinite(a) ? Number(BigInt.asIntN(32, BigInt(Math.trunc(a)))) : 0
    default:
      return e.kind satisfies never
  }
}

/** erf by its Taylor series in 60-digit fixed-point arithmetic: exact to the last bit of a double for |x| < 6.5. */
export function exactErf(x: number): number {
  if (Number.isNaN(x)) return x
  if (Math.abs(x) >= 6.5) return Math.sign(x)
  // Below the fixed point's reach; the next term of the series is x^3.
  if (Math.abs(x) < 1e-12) return x * (2 / Math.sqrt(Math.PI))
  const bits = 200n
  const toFixed = (v: number): bigint => {
    // A double is an integer times a power of two.
    let exponent = 0n
    let m = v
    while (!Number.isInteger(m)) {
      m *= 2
      exponent++
      if (exponent > 1100n) break
    }
    return (BigInt(m) << bits) >> exponent
  }
  const z = toFixed(x)
  const z2 = (z * z) >> bits
  let power = z
  let sum = z
  for (let n = 1n; n < 400n; n++) {
    power = -((power * z2) >> bits) / n
    sum += power / (2n * n + 1n)
  }
  // 2 / sqrt(pi), to 60 digits.
  const factor = (1128379167095512573896158903121545171688101258657997713688171n << bits) / 10n ** 60n
  const y = (sum * factor) >> bits
  return Number(y) / 2 ** 200
}

/** A strided view under test and the values in its buffer. */
export interface Layout {
  readonly shape: readonly number[]
  readonly strides: readonly number[]
  readonly offset: number
  /** Elements the buffer needs. */
  readonly length: number
}

export function contiguous(shape: readonly number[], offset = 0): Layout {
  const strides: number[] = []
  let length = 1
  for (let d = shape.length - 1; d >= 0; d--) {
    strides.unshift(length)
    length *= shape[d]
  }
  return { shape, strides, offset, length: offset + length }
}

/** Element offsets of a layout in row-major order. */
export function offsets({ shape, strides, offset }: Omit<Layout, 'length'>): number[] {
  let all = [offset]
  shape.forEach((size, d) => {
    all = all.flatMap((o) => Array.from({ length: size }, (_, i) => o + i * strides[d]))
  })
  return all
}

/** Axes in any order, broadcast, reversed, spread; `writable` leaves out broadcasting. */
export function layoutOf(shape: readonly number[], writable = false): fc.Arbitrary<Layout> {
  const modes = writable
    ? (['plain', 'reversed', 'spread'] as const)
    : (['plain', 'plain', 'broadcast', 'reversed', 'spread'] as const)
  return fc
    .record({
      order: fc.shuffledSubarray(
        shape.map((_, d) => d),
        { minLength: shape.length },
      ),
      modes: fc.array(fc.constantFrom(...modes), { minLength: shape.length, maxLength: shape.length }),
      plain: fc.boolean(),
      lead: fc.nat(3),
    })
    .map(({ order, modes, plain, lead }) => {
      if (plain) return contiguous(shape, lead)
      const strides = new Array<number>(shape.length).fill(0)
      let span = 1
      let offset = lead
      for (const d of order) {
        const mode = modes[d]
        if (mode === 'broadcast') continue
        const step = mode === 'spread' ? span * 2 : span
        if (mode === 'reversed') offset += step * Math.max(0, shape[d] - 1)
        strides[d] = mode === 'reversed' ? -step : step
        span = step * Math.max(1, shape[d])
      }
      return { shape, strides, offset, length: span + lead + 1 }
    })
}

/** Shapes of rank 0 to `maxRank` with sizes 0, 1 and awkward ones, of modest total size. */
export function shapes(maxRank: number, minRank = 0): fc.Arbitrary<number[]> {
  return fc
    .array(
      fc.oneof(
        { weight: 1, arbitrary: fc.constantFrom(0, 1) },
        { weight: 8, arbitrary: fc.integer({ min: 1, max: 7 }) },
      ),
      {
        minLength: minRank,
        maxLength: maxRank,
      },
    )
    .map((shape) => {
      // Large ranks get small axes.
      let budget = 3000
      return shape.map((size) => {
        const s = Math.min(size, Math.max(1, budget))
        budget = Math.floor(budget / Math.max(1, s))
        return s
      })
    })
}

/** Doubles, the special ones often. */
export const anyNumber: fc.Arbitrary<number> = fc.oneof(
  { weight: 6, arbitrary: fc.double({ min: -8, max: 8, noNaN: true }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      Number.NaN,
      Infinity,
      -Infinity,
      -0,
      0,
      1,
      -1,
      0.5,
      -0.5,
      1.5,
      2.5,
      1e300,
      1e-310,
    ),
  },
)

export const anyInt: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -9, max: 9 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(-(2 ** 31), 2 ** 31 - 1),
)

/** A deterministic stream of doubles in [-1, 1). */
export function noise(seed: number): () => number {
  let s = seed | 0
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0
    return s / 2 ** 31
  }
}

/** The host array type of each dtype. */
export const ARRAY = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  bool: Uint8Array,
} as const

/** Deterministic values of a dtype: floats in [-1, 1), integers of magnitude below 50, truth values. */
export function randomArray(dtype: DType, n: number, seed: number): HostArray {
  const next = noise(seed)
  const array = new ARRAY[dtype](n)
  for (let i = 0; i < n; i++) {
    const v = next()
    array[i] = dtype === 'bool' ? +(v > 0) : dtype === 'int32' ? v * 50 : v
  }
  return array
}

/** Puts values in a fresh buffer of a backend and gives the view of a layout on it. */
export function place(backend: Backend, dtype: DType, layout: Layout, values: HostArray): View {
  const buffer = backend.allocate(dtype, layout.length)
  backend.write(buffer, dtype, values, 0)
  return { buffer, dtype, offset: layout.offset, shape: layout.shape, strides: layout.strides }
}

/** The elements of a view in row-major order. */
export async function valuesOf(backend: Backend, view: View): Promise<number[]> {
  const at = offsets(view)
  const end = at.reduce((m, o) => Math.max(m, o), -1) + 1
  const all = await backend.read(view.buffer, view.dtype, 0, end)
  return at.map((o) => all[o])
}
