// Elementwise programs on the cpu's TypeScript kernels against a textbook evaluation, on every kind, dtype and layout.
// (test/wasm-programs.test.ts holds the WASM kernels to these.)
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import {
  type BinaryKind,
  constant,
  Expr,
  input,
  scalar,
  type ScalarType,
  type UnaryKind,
} from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { DType, HostArray, View } from '../src/backend/types'
import {
  ARRAY,
  anyInt,
  anyNumber,
  contiguous,
  evaluate,
  exactErf,
  layoutOf,
  noise,
  offsets,
  place,
  randomArray,
  shapes,
  valuesOf,
} from './support/naive'

const backend = new CpuBackend({ plain: true })
const TYPE: Record<DType, ScalarType> = { float32: 'float', float64: 'float', int32: 'int', bool: 'bool' }

const UNARY: UnaryKind[] = [
  'neg',
  'abs',
  'sign',
  'exp',
  'log',
  'log1p',
  'expm1',
  'sqrt',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'erf',
  'floor',
  'ceil',
  'round',
  'single',
]
const BINARY: BinaryKind[] = ['add', 'sub', 'mul', 'div', 'pow', 'mod', 'max', 'min']

/** Runs a one-output program on contiguous float64 (or int32) columns. */
async function run(
  e: Expr,
  columns: HostArray[],
  dtypes: DType[],
  out: DType,
  scalars: number[] = [],
): Promise<HostArray> {
  const n = columns[0].length
  const views = columns.map((c, i) => place(backend, dtypes[i], contiguous([n]), c))
  const target = place(backend, out, contiguous([n]), new ARRAY[out](n))
  backend.elementwise(new Program([e], columns.length, scalars.length), views, scalars, [target])
  const result = await backend.read(target.buffer, out, 0, n)
  for (const v of [...views, target]) backend.free(v.buffer)
  return result
}

function close(actual: ArrayLike<number>, expected: number[], relative = 4e-16): void {
  expect(actual.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue
    const error = Math.abs(actual[i] - expected[i])
    const allowed = relative * Math.abs(expected[i]) + 1e-300
    if (!(error <= allowed)) expect.fail(`element ${i}: ${actual[i]}, expected ${expected[i]}`)
  }
}

describe('every kind, on floats with NaN, infinities and -0', () => {
  it.each(UNARY)('%s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyNumber, { minLength: 1, maxLength: 20 }), async (xs) => {
        const e = new Expr(kind, 'float', [input(0)])
        const got = await run(e, [Float64Array.from(xs)], ['float64'], 'float64')
        close(
          got,
          xs.map((x) => evaluate(e, [x])),
          kind === 'erf' ? 1e-15 : 6e-16,
        )
      }),
      { numRuns: 30 },
    )
  })

  it.each(BINARY)('%s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyNumber, anyNumber), { minLength: 1, maxLength: 30 }),
        async (pairs) => {
          const a = Float64Array.from(pairs, (p) => p[0])
          const b = Float64Array.from(pairs, (p) => p[1])
          const e = new Expr(kind, 'float', [input(0), input(1)])
          const got = await run(e, [a, b], ['float64', 'float64'], 'float64')
          // max and min do not tell -0 from 0.
          const same = (x: number): number => (kind === 'max' || kind === 'min' ? x + 0 : x)
          close(
            got.map(same),
            pairs.map((p) => same(evaluate(e, p))),
          )
        },
      ),
    )
  })

  it.each(['eq', 'lt', 'le'] as const)('%s compares as IEEE 754 does', async (kind) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyNumber, anyNumber), { minLength: 1, maxLength: 30 }),
        async (pairs) => {
          const e = new Expr(kind, 'bool', [input(0), input(1)])
          const columns = [0, 1].map((k) => Float64Array.from(pairs, (p) => p[k]))
          const got = await run(e, columns, ['float64', 'float64'], 'bool')
          expect([...got]).toEqual(pairs.map((p) => evaluate(e, p)))
        },
      ),
    )
  })

  it('max and min propagate NaN from either side', async () => {
    const a = Float64Array.of(Number.NaN, 1, Number.NaN)
    const b = Float64Array.of(2, Number.NaN, Number.NaN)
    for (const e of [input(0).max(input(1)), input(0).min(input(1))]) {
      expect([...(await run(e, [a, b], ['float64', 'float64'], 'float64'))]).toEqual([
        Number.NaN,
        Number.NaN,
        Number.NaN,
      ])
    }
  })

  it('rounds halves to even and keeps the sign of zero', async () => {
    const xs = Float64Array.of(
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      -2.5,
      0.49999999999999994,
      -0.2,
      -0,
      2 ** 52 + 1,
      4503599627370495.5,
    )
    const got = await run(input(0).round(), [xs], ['float64'], 'float64')
    expect([...got]).toEqual([0, 2, 2, -0, -2, -2, 0, -0, -0, 2 ** 52 + 1, 4503599627370496])
  })

  it('isNaN, not, and, or, where and casts', async () => {
    const x = input(0)
    const y = input(1)
    const cases = [
      x.isNaN(),
      x.isNaN().not(),
      x.gt(0).and(y.gt(0)),
      x.gt(0).or(y.asBool()),
      x.lt(y).where(x, y.neg()),
      x.cast('int'),
      x.asBool(),
      x.cast('int').asFloat().add(x),
      x.gt(y).asFloat().add(x.gt(0).cast('int').asFloat()),
    ]
    const pool = [0, -0, 1.9, -1.9, Number.NaN, Infinity, -Infinity, 3e9, -3e9, 2 ** 31, 0.5]
    const pairs = pool.flatMap((p) => pool.map((q): [number, number] => [p, q]))
    const columns = [0, 1].map((k) => Float64Array.from(pairs, (p) => p[k]))
    for (const e of cases) {
      const out = e.type === 'float' ? 'float64' : e.type === 'int' ? 'int32' : 'bool'
      const got = await run(e, columns, ['float64', 'float64'], out)
      expect([...got]).toEqual(pairs.map((p) => evaluate(e, p)))
    }
  })
})

describe('integers', () => {
  it.each(['add', 'sub', 'mul', 'mod', 'max', 'min', 'eq', 'lt', 'le'] as const)(
    '%s wraps as int32',
    async (kind) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(anyInt, anyInt), { minLength: 1, maxLength: 30 }),
          async (pairs) => {
            const type = ['eq', 'lt', 'le'].includes(kind) ? 'bool' : 'int'
            const e = new Expr(kind, type, [input(0, 'int'), input(1, 'int')])
            const columns = [0, 1].map((k) => Int32Array.from(pairs, (p) => p[k]))
            const got = await run(e, columns, ['int32', 'int32'], type === 'int' ? 'int32' : 'bool')
            expect([...got]).toEqual(pairs.map((p) => evaluate(e, p)))
          },
        ),
      )
    },
  )

  it.each(['neg', 'abs', 'sign'] as const)('%s wraps as int32', async (kind) => {
    const xs = [0, 1, -1, 5, -7, 2 ** 31 - 1, -(2 ** 31)]
    const e = new Expr(kind, 'int', [input(0, 'int')])
    expect([...(await run(e, [Int32Array.from(xs)], ['int32'], 'int32'))]).toEqual(
      xs.map((x) => evaluate(e, [x]) + 0),
    )
  })

  it('wrap in the middle of an expression, and divide to float', async () => {
    const x = input(0, 'int')
    const e = x.mul(x).add(1).asFloat().div(2)
    const xs = [3, 65536, 2 ** 31 - 1, -(2 ** 31)]
    expect([...(await run(e, [Int32Array.from(xs)], ['int32'], 'float64'))]).toEqual([5, 0.5, 1, 0.5])
  })
})

describe('accuracy in float64', () => {
  const grid = Array.from({ length: 1301 }, (_, i) => (i - 650) / 100 + 0.00123)

  it('erf to 2.5e-16 of its largest value', async () => {
    const got = await run(input(0).erf(), [Float64Array.from(grid)], ['float64'], 'float64')
    const worst = Math.max(...grid.map((x, i) => Math.abs(got[i] - exactErf(x))))
    expect(worst).toBeLessThan(2.5e-16)
    const small = grid.map((x) => x * 1e-4)
    const near = await run(input(0).erf(), [Float64Array.from(small)], ['float64'], 'float64')
    expect(Math.max(...small.map((x, i) => Math.abs(near[i] / exactErf(x) - 1)))).toBeLessThan(5e-16)
  })

  it('gelu to 1e-15', async () => {
    const x = input(0)
    const gelu = x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1))
    const got = await run(gelu, [Float64Array.from(grid)], ['float64'], 'float64')
    grid.forEach((v, i) => {
      expect(Math.abs(got[i] - v * 0.5 * (1 + exactErf(v * Math.SQRT1_2)))).toBeLessThan(1e-15)
    })
  })

  it.each(['exp', 'tanh', 'sigmoid', 'log1p', 'expm1'] as const)(
    '%s to a few units in the last place, also near 0',
    async (kind) => {
      const xs = grid.flatMap((x) => [x, x * 1e-9, x * 20]).filter((x) => kind !== 'log1p' || x > -1)
      const e = new Expr(kind, 'float', [input(0)])
      const got = await run(e, [Float64Array.from(xs)], ['float64'], 'float64')
      close(
        got,
        xs.map((x) => evaluate(e, [x])),
        kind === 'tanh' ? 1.1e-15 : 6e-16,
      )
    },
  )

  it('float32 results are rounded once, from float64', async () => {
    const xs = Float32Array.from(grid)
    const e = input(0).mul(input(0)).add(0.1).exp()
    const got = await run(e, [xs], ['float32'], 'float32')
    expect([...got]).toEqual(Array.from(xs, (x) => Math.fround(Math.exp(x * x + 0.1))))
  })
})

describe('layouts', () => {
  const dtypes: DType[] = ['float32', 'float64', 'int32', 'bool']
  it('reads and writes any strides, dtypes and shapes up to rank 8', async () => {
    const scene = shapes(8).chain((shape) =>
      fc.record({
        a: layoutOf(shape),
        b: layoutOf(shape),
        c: layoutOf(shape),
        out: layoutOf(shape, true),
        second: layoutOf(shape, true),
        types: fc.tuple(fc.constantFrom(...dtypes), fc.constantFrom(...dtypes), fc.constantFrom(...dtypes)),
        outType: fc.constantFrom(...dtypes),
        s: fc.integer({ min: -3, max: 3 }),
        seed: fc.integer(),
      }),
    )
    await fc.assert(
      fc.asyncProperty(scene, async ({ a, b, c, out, second, types, outType, s, seed }) => {
        const layouts = [a, b, c]
        const hosts = layouts.map((l, i) => randomArray(types[i], l.length, seed + i))
        const views = layouts.map((l, i) => place(backend, types[i], l, hosts[i]))
        const [x, y, z] = types.map((t, i) => input(i, TYPE[t]))
        const first = x.mul(y).add(z).mul(scalar(0)).max(constant(-40)).cast(TYPE[outType])
        const other = z.gt(0).where(y.asFloat(), scalar(0).neg())
        const before = randomArray(outType, out.length, seed + 9)
        const targets = [
          place(backend, outType, out, before),
          place(backend, 'float64', second, new Float64Array(second.length)),
        ]
        backend.elementwise(new Program([first, other], 3, 1), views, [s], targets)
        const at = layouts.map(offsets)
        const elements = offsets(out).map((_, i) => [0, 1, 2].map((k) => hosts[k][at[k][i]]))
        const round = (v: number): number => ARRAY[outType].of(v)[0]
        expect(await valuesOf(backend, targets[0])).toEqual(
          elements.map((v) => round(evaluate(first, v, [s]))),
        )
        expect(await valuesOf(backend, targets[1])).toEqual(elements.map((v) => evaluate(other, v, [s])))
        // Nothing around the window changed.
        const after = await backend.read(targets[0].buffer, outType, 0, out.length)
        const inside = new Set(offsets(out))
        before.forEach((v, i) => {
          if (!inside.has(i)) expect(after[i]).toBe(v)
        })
        for (const v of [...views, ...targets]) backend.free(v.buffer)
      }),
      { numRuns: 150 },
    )
  })

  it('copies any layout bit by bit, NaN payloads included', async () => {
    const scene = shapes(6).chain((shape) =>
      fc.record({
        from: layoutOf(shape),
        to: layoutOf(shape, true),
        dtype: fc.constantFrom(...dtypes),
        seed: fc.integer(),
      }),
    )
    const identity = new Program([input(0)], 1)
    await fc.assert(
      fc.asyncProperty(scene, async ({ from, to, dtype, seed }) => {
        const host = randomArray(dtype, from.length, seed)
        const view = place(backend, dtype, from, host)
        const target = place(backend, dtype, to, new ARRAY[dtype](to.length))
        backend.elementwise(identity, [view], [], [target])
        expect(await valuesOf(backend, target)).toEqual(offsets(from).map((o) => host[o]))
        backend.free(view.buffer)
        backend.free(target.buffer)
      }),
      { numRuns: 150 },
    )
    const payload = new Float32Array(Uint32Array.of(0x7fc12345).buffer)
    const copied = await run(input(0), [payload], ['float32'], 'float32')
    expect(new Uint32Array(copied.buffer)[0]).toBe(0x7fc12345)
  })

  it('copies long rows and large transposes', async () => {
    const host = Float32Array.from({ length: 150 * 130 }, noise(4))
    const shape = [130, 150]
    for (const layout of [
      contiguous(shape),
      { shape, strides: [1, 130], offset: 0, length: 130 * 150 },
      { shape: [129, 140], strides: [150, 1], offset: 7, length: 130 * 150 },
    ]) {
      const view = place(backend, 'float32', layout, host)
      const target = place(backend, 'float32', contiguous(layout.shape), new Float32Array(130))
      backend.elementwise(new Program([input(0)], 1), [view], [], [target])
      expect(await valuesOf(backend, target)).toEqual(offsets(layout).map((o) => host[o]))
    }
  })

  it('updates in place, over several blocks', async () => {
    const n = 2500
    const host = Float64Array.from({ length: n }, noise(1))
    const view = place(backend, 'float64', contiguous([50, 50]), host)
    const turned: View = { ...view, shape: [50, 50], strides: [1, 50] }
    backend.elementwise(new Program([input(0).mul(2).add(input(1))], 2), [turned, turned], [], [turned])
    expect([...(await backend.read(view.buffer, 'float64', 0, n))]).toEqual([...host].map((x) => x * 2 + x))
  })

  it('evaluates uniform operands (constants, scalars, broadcast elements) on either side of every kind', async () => {
    const n = 1500
    const host = Float64Array.from({ length: n }, noise(2))
    const x = place(backend, 'float64', contiguous([n]), host)
    const one = place(
      backend,
      'float64',
      { shape: [n], strides: [0], offset: 0, length: 1 },
      Float64Array.of(1.25),
    )
    const out = place(backend, 'float64', contiguous([n]), new Float64Array(n))
    for (const kind of [...BINARY, 'eq', 'lt', 'le'] as const) {
      for (const u of [
        constant(2),
        constant(1),
        constant(-1),
        scalar(0),
        input(1),
        scalar(0).mul(input(1)).sin(),
      ]) {
        for (const args of [
          [input(0), u],
          [u, input(0)],
          [u, constant(3)],
        ]) {
          const e = new Expr(kind, ['eq', 'lt', 'le'].includes(kind) ? 'bool' : 'float', args)
          backend.elementwise(new Program([e.asFloat()], 2, 1), [x, one], [0.75], [out])
          close(
            await backend.read(out.buffer, 'float64', 0, n),
            [...host].map((v) => evaluate(e, [v, 1.25], [0.75])),
          )
        }
      }
    }
    const where = input(1).gt(scalar(0)).where(input(0), constant(5))
    backend.elementwise(new Program([where], 2, 1), [x, one], [0.75], [out])
    expect([...(await backend.read(out.buffer, 'float64', 0, n))]).toEqual([...host])
  })

  it('runs deep expressions whose registers are reused', async () => {
    const host = Float64Array.from({ length: 1100 }, noise(3))
    let e = input(0)
    const parts: Expr[] = []
    for (let i = 0; i < 40; i++) {
      e = e.mul(0.9).add(i % 3 === 0 ? input(0) : 0.1)
      parts.push(e.sin())
    }
    const sum = parts.reduce((p, q) => p.add(q))
    close(
      await run(sum, [host], ['float64'], 'float64'),
      [...host].map((v) => evaluate(sum, [v])),
      1e-15,
    )
  })

  it('runs expressions with more values alive than there are whole registers', async () => {
    const host = Float64Array.from({ length: 1100 }, noise(3))
    let e = input(0)
    for (let i = 1; i <= 200; i++) e = input(0).mul(i).sin().add(e.mul(0.5))
    let nested = input(0)
    for (let i = 1; i <= 200; i++) nested = input(0).mul(i).cos().mul(input(0)).add(nested)
    const both = nested.mul(e)
    close(
      await run(both, [host], ['float64'], 'float64'),
      [...host].map((v) => evaluate(both, [v])),
      1e-13,
    )
  })

  it('fills from constants and scalars alone', async () => {
    const out = place(
      backend,
      'float32',
      { shape: [3, 5], strides: [10, 2], offset: 1, length: 40 },
      new Float32Array(40),
    )
    backend.elementwise(new Program([scalar(0).add(1)], 0, 1), [], [0.5], [out])
    expect(await valuesOf(backend, out)).toEqual(new Array(15).fill(1.5))
    expect((await backend.read(out.buffer, 'float32', 0, 40)).filter((v) => v !== 0).length).toBe(15)
  })
})
