// Elementwise programs on webgpu against the cpu: every kind, dtype and layout, sharing of buffers, large sizes.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type BinaryKind,
  constant,
  Expr,
  type ExprKind,
  input,
  scalar,
  type ScalarType,
  type UnaryKind,
} from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { DType } from '../src/backend/types'
import { ARRAY, contiguous, type Layout, layoutOf, randomArray, shapes } from './support/naive'
import { type Tolerance, useTwins } from './support/twins'

const twins = useTwins()
afterEach(() => twins().release())

const TYPE: Record<string, ScalarType> = { float32: 'float', int32: 'int', bool: 'bool' }
const DTYPES = ['float32', 'int32', 'bool'] as const

/** NaN, infinities, both zeros, halves, and numbers near the ends of float32. */
const SPECIAL = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  2,
  -2,
  3,
  -3,
  1e-7,
  -1e-7,
  0.3,
  -0.7,
  20,
  -20,
  80,
  87,
  89,
  -87,
  -100,
  150,
  1e4,
  -1e4,
  8388609,
  16777215,
  -16777216,
  2147483520,
  -2147483648,
  2147483648,
  3e9,
  1e10,
  1e20,
  -1e20,
  1e38,
  -1e38,
  3.4028234663852886e38,
  1e-30,
  -1e-30,
  1.2e-38,
]
const INTS = [
  0,
  1,
  -1,
  2,
  3,
  -3,
  5,
  7,
  -7,
  31,
  1000,
  -1000,
  65_535,
  65_536,
  2 ** 31 - 1,
  -(2 ** 31),
  -(2 ** 31) + 1,
]

/** Runs one expression over columns of values on both devices. */
async function check(
  e: Expr,
  columns: ArrayLike<number>[],
  dtypes: DType[],
  tolerance: Tolerance = {},
): Promise<void> {
  const n = columns[0].length
  const out: DType = e.type === 'float' ? 'float32' : e.type === 'int' ? 'int32' : 'bool'
  const ins = columns.map((c, i) => twins().place(dtypes[i], contiguous([n]), ARRAY[dtypes[i]].from(c)))
  const target = twins().place(out, contiguous([n]), new ARRAY[out](n))
  const program = new Program([e], columns.length)
  twins().run([...ins, target], (b, v) => b.elementwise(program, v.slice(0, -1), [], [v[ins.length]]))
  await twins().expectSame(target, tolerance)
}

/** All pairs of two lists, as two columns. */
function pairs(xs: readonly number[]): [number[], number[]] {
  return [xs.flatMap((x) => xs.map(() => x)), xs.flatMap(() => xs)]
}

/** Smallest normal float32: devices may flush what is below to 0. */
const TINY = 1.2e-38

// Bounds on the relative error; 0 asks for equal bits. sin and cos are good up to about 10^4 only.
// test/backend-webgpu-math.test.ts measures them all.
const UNARY: Partial<Record<UnaryKind, number>> = {
  neg: 0,
  abs: 0,
  sign: 0,
  floor: 0,
  ceil: 0,
  round: 0,
  isNaN: 0,
  not: 0,
  exp: 1e-6,
  log: 1e-6,
  log1p: 1e-6,
  expm1: 1e-6,
  sqrt: 3e-7,
  tanh: 1e-6,
  sigmoid: 1e-6,
  erf: 1e-6,
}
const BINARY: Record<BinaryKind, number> = {
  add: 0,
  sub: 0,
  mul: 0,
  div: 3e-7,
  pow: 1e-6,
  mod: 0,
  max: 0,
  min: 0,
  eq: 0,
  lt: 0,
  le: 0,
  and: 0,
  or: 0,
}
const YIELDS_BOOL: readonly ExprKind[] = ['isNaN', 'not', 'eq', 'lt', 'le', 'and', 'or']

describe('every kind, on floats with NaN, infinities, zeros and large values', () => {
  it.each(Object.entries(UNARY) as [UnaryKind, number][])('%s', async (kind, relative) => {
    const arg = kind === 'not' ? input(0).asBool() : input(0)
    const e = new Expr(kind, YIELDS_BOOL.includes(kind) ? 'bool' : 'float', [arg])
    await check(e, [SPECIAL], ['float32'], { relative, absolute: TINY })
  })

  it.each(['sin', 'cos'] as const)('%s', async (kind) => {
    const xs = SPECIAL.filter((x) => !Number.isFinite(x) || Math.abs(x) <= 1e4)
    await check(new Expr(kind, 'float', [input(0)]), [xs], ['float32'], { absolute: 5e-7 })
  })

  it.each(Object.entries(BINARY) as [BinaryKind, number][])('%s', async (kind, relative) => {
    const bool = YIELDS_BOOL.includes(kind)
    const args =
      kind === 'and' || kind === 'or' ? [input(0).asBool(), input(1).asBool()] : [input(0), input(1)]
    await check(new Expr(kind, bool ? 'bool' : 'float', args), pairs(SPECIAL), ['float32', 'float32'], {
      relative,
      absolute: TINY,
    })
  })

  it('where takes the chosen side whatever the other one holds', async () => {
    const [a, b] = pairs(SPECIAL)
    await check(input(0).lt(input(1)).where(input(0), input(1)), [a, b], ['float32', 'float32'])
    await check(input(0).isNaN().where(0, input(0)), [a], ['float32'])
  })

  it('casts: to int truncates, to bool asks for != 0', async () => {
    await check(input(0).cast('int'), [SPECIAL], ['float32'])
    await check(input(0).cast('bool'), [SPECIAL], ['float32'])
  })

  it('keeps the sign of zero', async () => {
    const { gpu } = twins()
    for (const e of [
      input(0).neg(),
      input(0).floor(),
      input(0).round(),
      input(0).sign(),
      input(0).sqrt(),
      input(0).tanh(),
      input(0).expm1(),
      input(0).log1p(),
      input(0).erf(),
      input(0).sin(),
    ]) {
      const x = twins().place('float32', contiguous([2]), Float32Array.of(0, -0))
      gpu.elementwise(new Program([e], 1), [x.gpu], [], [x.gpu])
      const got = await gpu.read(x.gpu.buffer, 'float32', 0, 2)
      const expected = e.kind === 'neg' ? [-0, 0] : [0, -0]
      expect([...got], e.kind).toEqual(expected)
    }
  })

  it('keeps NaN and infinity through a constant 0', async () => {
    const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2, 0]
    await check(input(0).mul(0), [values], ['float32'])
    await check(input(0).div(0), [values], ['float32'])
  })

  it('constants: NaN, infinities, -0 and numbers that decimal text would round', async () => {
    for (const value of [Number.NaN, Infinity, -Infinity, -0, 1e-40, 1 / 3, 16777217, -1e39]) {
      await check(input(0).mul(0).add(constant(value)), [[1, 2]], ['float32'], { absolute: TINY })
    }
  })
})

describe('integers and truth values', () => {
  it.each(['neg', 'abs', 'sign', 'not'] as const)('%s of integers', async (kind) => {
    const e = kind === 'not' ? input(0, 'int').not() : new Expr(kind, 'int', [input(0, 'int')])
    await check(e, [INTS], ['int32'])
  })

  it.each(['add', 'sub', 'mul', 'mod', 'max', 'min', 'eq', 'lt', 'le'] as const)(
    '%s of integers wraps',
    async (kind) => {
      const e = new Expr(kind, YIELDS_BOOL.includes(kind) ? 'bool' : 'int', [
        input(0, 'int'),
        input(1, 'int'),
      ])
      await check(e, pairs(INTS), ['int32', 'int32'])
    },
  )

  it('integers divide and take powers as floats', async () => {
    await check(input(0, 'int').div(input(1, 'int')), pairs(INTS), ['int32', 'int32'], { relative: 3e-7 })
    await check(input(0, 'int').pow(2), [INTS.filter((x) => Math.abs(x) < 2000)], ['int32'], {
      relative: 1e-6,
    })
  })

  it('casts between all types', async () => {
    await check(input(0, 'int').cast('float'), [INTS], ['int32'])
    await check(input(0, 'int').cast('bool'), [INTS], ['int32'])
    await check(input(0, 'bool').cast('int'), [[0, 1]], ['bool'])
    await check(input(0, 'bool').cast('float'), [[0, 1]], ['bool'])
  })

  it.each(['eq', 'lt', 'le', 'and', 'or'] as const)('%s of truth values', async (kind) => {
    await check(new Expr(kind, 'bool', [input(0, 'bool'), input(1, 'bool')]), pairs([0, 1]), ['bool', 'bool'])
  })

  it('arithmetic on truth values counts', async () => {
    const [a, b] = [input(0, 'bool'), input(1, 'bool')]
    for (const e of [a.add(b), a.mul(b), a.neg(), a.max(b), a.where(b, 0), a.not()]) {
      await check(e, pairs([0, 1]), ['bool', 'bool'])
    }
  })

  it('mixed types meet in the wider one', async () => {
    const columns = [SPECIAL.slice(3, 20), INTS, INTS.map((_, i) => i % 2)]
    const e = input(0).mul(input(1, 'int')).add(input(2, 'bool')).max(input(1, 'int').add(2))
    await check(e, columns, ['float32', 'int32', 'bool'], { relative: 3e-7, absolute: 3e-7 })
  })
})

/** A few expressions per type, exact on both devices for the values of randomArray. */
function body(dtype: DType, variant: number): Expr {
  const [a, b] = [input(0, TYPE[dtype]), input(1, TYPE[dtype])]
  if (dtype === 'bool') return variant === 0 ? a.and(b.not()) : a.eq(b)
  return variant === 0 ? a.sub(b) : a.lt(b).where(a.neg(), b.max(a))
}

const scene = shapes(8).chain((shape) =>
  fc.record({
    layouts: fc.tuple(layoutOf(shape), layoutOf(shape)),
    outs: fc.tuple(layoutOf(shape, true), layoutOf(shape, true)),
    dtype: fc.constantFrom(...DTYPES),
    variant: fc.nat(1),
    seed: fc.integer(),
  }),
)

describe('windows', () => {
  it('of any shape and layout, with one and two outputs, leaving the rest of the buffers alone', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async ({ layouts, outs, dtype, variant, seed }) => {
        const ins = layouts.map((l, i) => twins().place(dtype, l, randomArray(dtype, l.length, seed + i)))
        const first = twins().place(dtype, outs[0], randomArray(dtype, outs[0].length, seed + 2))
        const second = twins().place('bool', outs[1], randomArray('bool', outs[1].length, seed + 3))
        const e = body(dtype, variant)
        const program = new Program(
          variant === 0 ? [e] : [e, input(0, TYPE[dtype]).eq(input(1, TYPE[dtype]))],
          2,
        )
        twins().run([...ins, first, second], (b, [x, y, p, q]) =>
          b.elementwise(program, [x, y], [], variant === 0 ? [p] : [p, q]),
        )
        for (const t of [...ins, first, second]) await twins().expectSame(t)
        twins().release()
      }),
      { numRuns: 120 },
    )
  })

  it('that share a buffer: two inputs and an output, apart from one another', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async ({ layouts, outs, dtype, seed }) => {
        // Three stretches of one buffer.
        const all = [...layouts, outs[0]]
        const starts = all.map((_, i) => all.slice(0, i).reduce((n, l) => n + l.length, 0))
        const length = starts[2] + all[2].length
        const base = twins().place(dtype, contiguous([length]), randomArray(dtype, length, seed))
        const views = all.map((l, i) => twins().window(base, { ...l, offset: l.offset + starts[i] }))
        const program = new Program([body(dtype, 0)], 2)
        twins().run(views, (b, [x, y, o]) => b.elementwise(program, [x, y], [], [o]))
        await twins().expectSame(base)
        twins().release()
      }),
      { numRuns: 60 },
    )
  })

  it('updated in place, by inputs that overlap them', async () => {
    await fc.assert(
      fc.asyncProperty(
        scene.filter((s) => s.dtype !== 'bool'),
        async ({ layouts, outs, dtype, seed }) => {
          const target = twins().place(dtype, outs[0], randomArray(dtype, outs[0].length, seed))
          const other = twins().place(dtype, layouts[0], randomArray(dtype, layouts[0].length, seed + 1))
          const program = new Program([body(dtype, 0), body(dtype, 1)], 3)
          const second = twins().place(dtype, outs[1], randomArray(dtype, outs[1].length, seed + 2))
          twins().run([target, other, second], (b, [x, y, z]) =>
            b.elementwise(program, [x, y, z], [], [x, z]),
          )
          for (const t of [target, other, second]) await twins().expectSame(t)
          twins().release()
        },
      ),
      { numRuns: 60 },
    )
  })

  it('large ones, where memory goes in fours and where it does not', async () => {
    const windows = (rows: number, columns: number): Layout[] =>
      [
        { strides: [columns, 1], offset: 0 },
        { strides: [columns + 4, 1], offset: 4 },
        { strides: [0, 1], offset: 8 },
        { strides: [1, 0], offset: 3 },
        { strides: [0, 0], offset: 5 },
        // Not aligned, from the right to the left, by columns.
        { strides: [columns, 1], offset: 1 },
        { strides: [columns + 2, 1], offset: 0 },
        { strides: [columns, -1], offset: columns - 1 },
        { strides: [1, rows], offset: 0 },
      ].map((window) => ({ ...window, shape: [rows, columns], length: 8 + (rows + 2) * (columns + 4) }))
    let seed = 0
    for (const [rows, columns] of [
      [32, 36],
      [31, 32],
      [30, 35],
    ]) {
      const layouts = windows(rows, columns)
      for (const layout of layouts) {
        const dtype = DTYPES[seed % 3]
        const out = layouts[seed % 2]
        const [x, y, first, second] = [layouts[0], layout, out, layouts[0]].map((l, i) =>
          twins().place(
            i === 3 ? 'bool' : dtype,
            l,
            randomArray(i === 3 ? 'bool' : dtype, l.length, seed + i),
          ),
        )
        const same = input(0, TYPE[dtype]).eq(input(1, TYPE[dtype]))
        const program = new Program([body(dtype, 1), same], 2)
        twins().run([x, y, first, second], (b, [p, q, r, t]) => b.elementwise(program, [p, q], [], [r, t]))
        for (const t of [first, second]) await twins().expectSame(t)
        twins().run([x, y], (b, [p, q]) => b.elementwise(new Program([body(dtype, 0)], 2), [p, q], [], [p]))
        await twins().expectSame(x)
        twins().release()
        seed++
      }
    }
  })

  it('of rank 8 that do not collapse', async () => {
    const shape = [2, 3, 2, 1, 2, 2, 3, 2]
    const strides: number[] = []
    let step = 1
    for (const size of shape) {
      strides.push(step)
      step *= size
    }
    const backwards: Layout = { shape, strides, offset: 0, length: step }
    const x = twins().place('float32', backwards, randomArray('float32', step, 1))
    const y = twins().place('float32', contiguous(shape), new Float32Array(step))
    twins().run([x, y], (b, [a, o]) => b.elementwise(new Program([input(0)], 1), [a], [], [o]))
    await twins().expectSame(y)
  })
})

it('scalars of each type are data: other values need no other pipeline', async () => {
  const e = input(0)
    .mul(scalar(0))
    .add(scalar(1, 'int'))
    .max(scalar(2, 'bool').where(scalar(3), -1e9))
  const program = new Program([e], 1, 4)
  const x = twins().place('float32', contiguous([33]), randomArray('float32', 33, 1))
  const out = twins().place('float32', contiguous([33]), new Float32Array(33))
  let pipelines = -1
  for (const scalars of [
    [2, 3, 1, 0.25],
    [-0.5, -7, 0, 1e30],
    [Number.NaN, 0, 1, -Infinity],
    [1 / 3, 2 ** 31 - 1, 0, 0],
  ]) {
    twins().run([x, out], (b, [a, o]) => b.elementwise(program, [a], scalars, [o]))
    await twins().expectSame(out, { relative: 1e-6, absolute: 1e-6 })
    if (pipelines >= 0) expect(twins().gpu.stats.pipelines).toBe(pipelines)
    pipelines = twins().gpu.stats.pipelines
  }
})

it('a program without inputs fills its output', async () => {
  const out = twins().place('int32', contiguous([3, 5], 2), new Int32Array(17))
  twins().run([out], (b, [o]) => b.elementwise(new Program([scalar(0, 'int')], 0, 1), [], [7], [o]))
  await twins().expectSame(out)
})

it('inputs that the program never reads cost nothing and break nothing', async () => {
  const used = twins().place('float32', contiguous([4]), Float32Array.of(1, 2, 3, 4))
  const unused = Array.from({ length: 20 }, () =>
    twins().place('float32', contiguous([4]), new Float32Array(4)),
  )
  const out = twins().place('float32', contiguous([4]), new Float32Array(4))
  const program = new Program([input(20).mul(2)], 21)
  twins().run([...unused, used, out], (b, v) => b.elementwise(program, v.slice(0, 21), [], [v[21]]))
  await twins().expectSame(out)
})

it('more than 65,535 workgroups', async () => {
  const n = 65_536 * 64 + 77
  const x = twins().place(
    'int32',
    contiguous([n]),
    Int32Array.from({ length: n }, (_, i) => i),
  )
  const program = new Program([input(0, 'int').mul(3).add(1)], 1)
  const odd: Layout = { shape: [n], strides: [-1], offset: n - 1, length: n }
  const out = twins().place('int32', odd, new Int32Array(n))
  twins().run([x, out], (b, [a, o]) => b.elementwise(program, [a], [], [o]))
  await twins().expectSame(out)
})
