// One row per op: how to call it, on what, and what plain JavaScript says the answer is.
//
// Everything in test/ops*.test.ts is generated from these rows. Values keep clear of kinks (the points where an op
// has no derivative) by the options `avoid`, `grid` and `distinct`.
import fc from 'fast-check'
import * as ef from '../../src/index'
import { broadcastableShapes, type ShapeOptions, shapes } from '../../src/testing'
import { exactErf } from './naive'
import { at, broadcast, elementwise, indices, type Nd, nd, noise, reduce, sizeOf } from './nd'

type Tensor = ef.Tensor
type ResultDType = ef.DType | 'throws'

/** One call of an op. */
export interface OpCase {
  readonly inputs: Nd[]
  readonly run: (...x: Tensor[]) => Tensor | readonly Tensor[]
  readonly expected: (...x: Nd[]) => Nd | Nd[]
  /** Arguments that are not tensors, for messages. */
  readonly note?: string
}

export interface Row {
  /** The export of src/index.ts. */
  readonly op: string
  readonly title?: string
  readonly cases: (limits: ShapeOptions) => fc.Arbitrary<OpCase>
  /** False for ops whose result has no gradient (comparisons, indices). Default true. */
  readonly differentiable?: boolean
  /** Inputs must not be made to repeat elements (ties are kinks). */
  readonly distinct?: boolean
  /** The dtype of the result when every operand is int32, or bool. */
  readonly int32?: ResultDType
  readonly bool?: ResultDType
}

interface Domain {
  readonly min?: number
  readonly max?: number
  /** Points to stay away from, by 0.05. */
  readonly avoid?: (v: number) => number
  /** Values are multiples of this (plus `offset`). */
  readonly grid?: number
  readonly offset?: number
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

function values(
  shape: readonly number[],
  seed: number,
  { min = -3, max = 3, avoid, grid, offset = 0 }: Domain = {},
): Nd {
  const next = noise(seed)
  return nd(shape, () => {
    let v = min + (max - min) * next()
    if (grid) v = Math.round(v / grid) * grid + offset
    return avoid ? avoid(v) : v
  })
}

/** All elements different by at least 0.1. */
function distinctValues(shape: readonly number[], seed: number): Nd {
  const n = sizeOf(shape)
  const next = noise(seed)
  const order = Array.from({ length: n }, (_, i) => [next(), i]).sort((a, b) => a[0] - b[0])
  const data = new Array<number>(n)
  order.forEach(([, i], k) => {
    data[i] = (k - n / 2) * 0.1 + 0.04 * next()
  })
  return { shape: [...shape], data, type: 'float' }
}

function ids(shape: readonly number[], seed: number, below: number): Nd {
  const next = noise(seed)
  return nd(shape, () => Math.floor(next() * below), 'int32')
}

function flags(shape: readonly number[], seed: number): Nd {
  const next = noise(seed)
  return nd(shape, () => (next() < 0.5 ? 0 : 1), 'bool')
}

/** Moves a value that is closer than 0.05 to p away from it. */
const awayFrom =
  (...points: number[]) =>
  (v: number): number => {
    for (const p of points) if (Math.abs(v - p) < 0.05) return v < p ? p - 0.05 : p + 0.05
    return v
  }

/** Keeps the fractional part clear of 0 and one half. */
const betweenHalves = (v: number): number => Math.floor(v * 2) / 2 + 0.1 + 0.3 * (v * 2 - Math.floor(v * 2))

const roundHalfEven = (v: number): number => {
  const low = Math.floor(v)
  return v - low < 0.5 || (v - low === 0.5 && low % 2 === 0) ? low : low + 1
}
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const truth = (x: boolean): number => (x ? 1 : 0)

/** An export of the library, called by its name. */
const call = (op: string, ...args: ef.Operand[]): Tensor =>
  (ef as unknown as Record<string, (...x: ef.Operand[]) => Tensor>)[op](...args)

function unary(
  op: string,
  f: (x: number) => number,
  int32: ResultDType,
  bool: ResultDType,
  {
    result = 'float',
    differentiable = true,
    ...domain
  }: Domain & { result?: Nd['type']; differentiable?: boolean } = {},
): Row {
  return {
    op,
    int32,
    bool,
    differentiable,
    cases: (limits) =>
      fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
        inputs: [values(shape, seed, domain)],
        run: (x) => call(op, x),
        expected: (x) => elementwise(f, [x], result),
      })),
  }
}

const FLOAT = ['float32', 'float32'] as const
const KEEP = ['int32', 'int32'] as const

const UNARY: Row[] = [
  unary('neg', (x) => -x, ...KEEP),
  unary('abs', Math.abs, ...KEEP, { avoid: awayFrom(0) }),
  unary('sign', Math.sign, ...KEEP, { avoid: awayFrom(0) }),
  unary('square', (x) => x * x, ...KEEP),
  unary('exp', Math.exp, ...FLOAT),
  unary('expm1', Math.expm1, ...FLOAT),
  unary('log', Math.log, ...FLOAT, { min: 0.1, max: 5 }),
  unary('log1p', Math.log1p, ...FLOAT, { min: -0.8, max: 5 }),
  unary('sqrt', Math.sqrt, ...FLOAT, { min: 0.1, max: 5 }),
  unary('rsqrt', (x) => 1 / Math.sqrt(x), ...FLOAT, { min: 0.1, max: 5 }),
  unary('reciprocal', (x) => 1 / x, ...FLOAT, { avoid: (v) => (Math.abs(v) < 0.3 ? 0.3 : v) }),
  unary('sin', Math.sin, ...FLOAT),
  unary('cos', Math.cos, ...FLOAT),
  unary('tanh', Math.tanh, ...FLOAT),
  unary('sigmoid', sigmoid, ...FLOAT, { min: -8, max: 8 }),
  unary('erf', exactErf, ...FLOAT),
  unary('floor', Math.floor, 'int32', 'bool', { avoid: betweenHalves }),
  unary('ceil', Math.ceil, 'int32', 'bool', { avoid: betweenHalves }),
  unary('round', roundHalfEven, 'int32', 'bool', { avoid: betweenHalves }),
  unary('relu', (x) => Math.max(x, 0), ...KEEP, { avoid: awayFrom(0) }),
  unary('silu', (x) => x * sigmoid(x), ...FLOAT, { min: -8, max: 8 }),
  unary('softplus', (x) => Math.log1p(Math.exp(x)), ...FLOAT, { min: -8, max: 8, grid: 0.5 }),
  unary('logSigmoid', (x) => -Math.log1p(Math.exp(-x)), ...FLOAT, { min: -8, max: 8, grid: 0.5 }),
  unary('logicalNot', (x) => truth(x === 0), 'bool', 'bool', {
    result: 'bool',
    differentiable: false,
    grid: 1,
  }),
  ...(
    [
      ['isnan', Number.isNaN],
      ['isfinite', Number.isFinite],
    ] as const
  ).map(([op, f]) =>
    unary(op, (x) => truth(f(x)), 'bool', 'bool', {
      result: 'bool',
      differentiable: false,
      min: 0,
      max: 5,
      avoid: (v) =>
        [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 1.5, -3][Math.floor(v)],
    }),
  ),
  ...(['none', 'tanh'] as const).map(
    (approximate): Row => ({
      op: 'gelu',
      title: `gelu ${approximate}`,
      int32: 'float32',
      bool: 'float32',
      cases: (limits) =>
        fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
          inputs: [values(shape, seed)],
          run: (x) => ef.gelu(x, { approximate }),
          expected: (x) =>
            elementwise(
              approximate === 'none'
                ? (v) => (v / 2) * (1 + exactErf(v / Math.SQRT2))
                : (v) => (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
              [x],
            ),
        })),
    }),
  ),
]

interface BinaryOptions {
  readonly a?: Domain
  readonly b?: Domain
  readonly result?: Nd['type']
  readonly differentiable?: boolean
  readonly distinct?: boolean
}

/** Tensor with tensor (broadcast), tensor with number, number with tensor. */
function binary(
  op: string,
  f: (a: number, b: number) => number,
  int32: ResultDType,
  bool: ResultDType | undefined,
  { a = {}, b = a, result = 'float', differentiable = true, distinct }: BinaryOptions = {},
): Row {
  return {
    op,
    int32,
    bool,
    differentiable,
    distinct,
    cases: (limits) =>
      fc
        .record({
          shapes: broadcastableShapes(limits),
          seed: seeds,
          form: fc.constantFrom('tt', 'tt', 'tn', 'nt'),
        })
        .map(
          ({
            shapes: {
              shapes: [sa, sb],
            },
            seed,
            form,
          }) => {
            const x = values(sa, seed, a)
            const y = values(sb, seed + 1, b)
            if (form === 'tt')
              return {
                inputs: [x, y],
                run: (p, q) => call(op, p, q),
                expected: (p, q) => elementwise(f, [p, q], result),
              }
            // Numbers exact in float32, so that both precisions see the same one.
            const number = Math.fround(values([], seed + 2, form === 'tn' ? b : a).data[0])
            return form === 'tn'
              ? {
                  inputs: [x],
                  run: (p) => call(op, p, number),
                  expected: (p) => elementwise((v) => f(v, number), [p], result),
                  note: `(x, ${number})`,
                }
              : {
                  inputs: [y],
                  run: (p) => call(op, number, p),
                  expected: (p) => elementwise((v) => f(number, v), [p], result),
                  note: `(${number}, x)`,
                }
          },
        ),
  }
}

const COMPARE: BinaryOptions = { a: { grid: 1 }, result: 'bool', differentiable: false }
const NEVER_EQUAL: BinaryOptions = { a: { grid: 0.25 }, b: { grid: 0.25, offset: 0.125 }, distinct: true }
const modulo = (a: number, b: number): number => a - b * Math.floor(a / b)

const BINARY: Row[] = [
  binary('add', (a, b) => a + b, ...KEEP),
  binary('sub', (a, b) => a - b, ...KEEP),
  binary('mul', (a, b) => a * b, ...KEEP),
  binary('div', (a, b) => a / b, ...FLOAT, { b: { avoid: (v) => (Math.abs(v) < 0.4 ? 0.4 : v) } }),
  binary('pow', (a, b) => a ** b, ...FLOAT, { a: { min: 0.2, max: 3 }, b: { min: -2, max: 2 } }),
  binary('remainder', modulo, 'int32', undefined, {
    a: { grid: 0.5, min: -6, max: 6, offset: 0.25 },
    b: { avoid: (v) => [-2, -1, 1, 2][Math.floor(((v + 3) / 6) * 3.99)] },
    distinct: true,
  }),
  binary('maximum', Math.max, ...KEEP, NEVER_EQUAL),
  binary('minimum', Math.min, ...KEEP, NEVER_EQUAL),
  binary('eq', (a, b) => truth(a === b), 'bool', 'bool', COMPARE),
  binary('ne', (a, b) => truth(a !== b), 'bool', 'bool', COMPARE),
  binary('lt', (a, b) => truth(a < b), 'bool', 'bool', COMPARE),
  binary('le', (a, b) => truth(a <= b), 'bool', 'bool', COMPARE),
  binary('gt', (a, b) => truth(a > b), 'bool', 'bool', COMPARE),
  binary('ge', (a, b) => truth(a >= b), 'bool', 'bool', COMPARE),
  binary('logicalAnd', (a, b) => truth(a !== 0 && b !== 0), 'bool', 'bool', COMPARE),
  binary('logicalOr', (a, b) => truth(a !== 0 || b !== 0), 'bool', 'bool', COMPARE),
  binary('logicalXor', (a, b) => truth((a !== 0) !== (b !== 0)), 'bool', 'bool', COMPARE),
]

const CHOOSING: Row[] = [
  {
    op: 'pow',
    title: 'pow of any base to a whole number',
    cases: (limits) =>
      fc
        .record({ shape: shapes(limits), seed: seeds, n: fc.constantFrom(0, 1, 2, 3, -1, -2) })
        .map(({ shape, seed, n }) => ({
          inputs: [values(shape, seed, { avoid: (v) => (Math.abs(v) < 0.4 ? -0.4 : v) })],
          run: (x) => ef.pow(x, n),
          expected: (x) => elementwise((v) => v ** n, [x]),
          note: `(x, ${n})`,
        })),
  },
  {
    op: 'clamp',
    int32: 'int32',
    bool: 'int32',
    cases: (limits) =>
      fc
        .record({
          shape: shapes(limits),
          seed: seeds,
          bounds: fc.constantFrom({ min: -1 }, { max: 1 }, { min: -1, max: 1 }, { min: 2, max: -1 }),
        })
        .map(({ shape, seed, bounds }) => ({
          inputs: [values(shape, seed, { avoid: awayFrom(-1, 1, 2) })],
          run: (x) => ef.clamp(x, bounds),
          expected: (x) =>
            elementwise(
              (v) =>
                Math.min(
                  Math.max(v, bounds.min ?? Number.NEGATIVE_INFINITY),
                  bounds.max ?? Number.POSITIVE_INFINITY,
                ),
              [x],
            ),
          note: JSON.stringify(bounds),
        })),
  },
  {
    op: 'where',
    int32: 'int32',
    bool: 'bool',
    cases: (limits) =>
      fc.record({ shapes: broadcastableShapes({ ...limits, count: 3 }), seed: seeds }).map(
        ({
          shapes: {
            shapes: [sc, sa, sb],
          },
          seed,
        }) => ({
          inputs: [flags(sc, seed), values(sa, seed + 1), values(sb, seed + 2)],
          run: (p, a, b) => ef.where(p, a, b),
          expected: (p, a, b) => elementwise((m, x, y) => (m ? x : y), [p, a, b]),
        }),
      ),
  },
  {
    op: 'where',
    title: 'where with a number',
    cases: (limits) =>
      fc.record({ shapes: broadcastableShapes(limits), seed: seeds, first: fc.boolean() }).map(
        ({
          shapes: {
            shapes: [sc, sx],
          },
          seed,
          first,
        }) => ({
          inputs: [flags(sc, seed), values(sx, seed + 1)],
          run: (p, x) => (first ? ef.where(p, -1, x) : ef.where(p, x, 2)),
          expected: (p, x) => elementwise((m, v) => (first ? (m ? -1 : v) : m ? v : 2), [p, x]),
        }),
      ),
  },
  {
    op: 'maskedFill',
    int32: 'int32',
    cases: (limits) =>
      fc.record({ shapes: broadcastableShapes(limits), seed: seeds }).map(
        ({
          shapes: {
            shapes: [sx, sm],
          },
          seed,
        }) => ({
          inputs: [values(sx, seed), flags(sm, seed + 1)],
          run: (x, m) => ef.maskedFill(x, m, -9),
          expected: (x, m) => elementwise((v, p) => (p ? -9 : v), [x, m]),
        }),
      ),
  },
  {
    op: 'fuse',
    cases: (limits) =>
      fc
        .record({ shapes: broadcastableShapes({ ...limits, count: 3 }), seed: seeds })
        .map(({ shapes: { shapes: three }, seed }) => ({
          inputs: three.map((s, i) => values(s, seed + i)),
          run: (a, b, c) => FUSED(a, b, c),
          expected: (a, b, c) =>
            elementwise((x, y, z) => Math.tanh(x * y) + z * Math.exp(x) * 0.5, [a, b, c]),
        })),
  },
  {
    op: 'cast',
    title: 'cast to the other float and back',
    cases: (limits) =>
      fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
        inputs: [values(shape, seed, { grid: 0.25 })],
        // On a device without float64 the round trip is through int32 multiples of a quarter.
        run: (x) =>
          x.device === 'webgpu'
            ? x.mul(4).to('int32').to('float32').div(4).add(x).sub(x)
            : x.to('float64').to(x.dtype),
        expected: (x) => x,
      })),
    differentiable: true,
  },
  {
    op: 'cast',
    title: 'cast to int32 and bool',
    differentiable: false,
    int32: 'int32',
    bool: 'int32',
    cases: (limits) =>
      fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
        inputs: [values(shape, seed, { grid: 0.5 })],
        run: (x) => [ef.cast(x, 'int32'), ef.cast(x, 'bool')],
        expected: (x) => [
          elementwise((v) => Math.trunc(v) + 0, [x], 'int32'),
          elementwise((v) => truth(v !== 0), [x], 'bool'),
        ],
      })),
  },
]

const FUSED = ef.fuse((x, y, z) => x.mul(y).tanh().add(z.mul(x.exp()).mul(0.5)))

interface Reducing {
  readonly dims: number[] | undefined
  readonly keepdim: boolean
}

/** No axes named, one, or several; some counted from the end. */
function reducing(rank: number): fc.Arbitrary<Reducing> {
  const all = Array.from({ length: rank }, (_, i) => i)
  const some = fc
    .tuple(fc.subarray(all), fc.boolean())
    .map(([axes, negative]) => axes.map((d) => (negative ? d - rank : d)))
  return fc.record({ dims: fc.oneof(fc.constant(undefined), some), keepdim: fc.boolean() })
}

const total = (v: number[]): number => v.reduce((a, b) => a + b, 0)
const average = (v: number[]): number => total(v) / v.length
const spread = (v: number[], correction: number): number => {
  const m = average(v)
  return total(v.map((x) => (x - m) ** 2)) / Math.max(0, v.length - correction)
}

/** Bessel's correction where there is more than one element. */
const bessel = (x: Tensor, dims: number[] | undefined): number =>
  sizeOf((dims ?? [...x.shape.keys()]).map((d) => x.shape.at(d)!)) > 1 ? 1 : 0
const unbiased = (v: number[]): number => spread(v, v.length > 1 ? 1 : 0)

type Reduction = (x: Tensor, dims: number[] | undefined, options: { keepdim: boolean }) => Tensor

function reduction(
  op: string,
  run: Reduction,
  f: (v: number[]) => number,
  int32: ResultDType,
  bool: ResultDType,
  {
    title,
    result = 'float',
    differentiable = true,
    distinct = false,
    minSize = 0,
    domain = {},
  }: {
    title?: string
    result?: Nd['type']
    differentiable?: boolean
    distinct?: boolean
    minSize?: number
    domain?: Domain
  } = {},
): Row {
  return {
    op,
    title,
    int32,
    bool,
    differentiable,
    distinct,
    cases: (limits) =>
      shapes({ ...limits, minSize }).chain((shape) =>
        fc.record({ how: reducing(shape.length), seed: seeds }).map(({ how: { dims, keepdim }, seed }) => ({
          inputs: [distinct ? distinctValues(shape, seed) : values(shape, seed, domain)],
          run: (x) => run(x, dims, { keepdim }),
          expected: (x) => reduce(x, dims, keepdim, f, result),
          note: `dims ${JSON.stringify(dims)}, keepdim ${keepdim}`,
        })),
      ),
  }
}

const p = (power: number) => (v: number[]) => total(v.map((x) => Math.abs(x) ** power)) ** (1 / power)

const REDUCTIONS: Row[] = [
  reduction('sum', ef.sum, total, 'int32', 'int32'),
  reduction('mean', ef.mean, average, 'throws', 'throws'),
  reduction('prod', ef.prod, (v) => v.reduce((a, b) => a * b, 1), 'int32', 'int32', {
    domain: { min: -2, max: 2, grid: 0.5 },
  }),
  reduction(
    'variance',
    (x, d, o) => ef.variance(x, d, { ...o, correction: 0 }),
    (v) => spread(v, 0),
    'throws',
    'throws',
  ),
  reduction(
    'variance',
    (x, d, o) => ef.variance(x, d, { ...o, correction: bessel(x, d) }),
    unbiased,
    'throws',
    'throws',
    {
      title: 'variance with Bessel’s correction',
      minSize: 1,
    },
  ),
  reduction(
    'std',
    (x, d, o) => ef.std(x, d, { ...o, correction: bessel(x, d) }),
    (v) => Math.sqrt(unbiased(v)),
    'throws',
    'throws',
    {
      minSize: 1,
      distinct: true,
    },
  ),
  reduction('amax', ef.amax, (v) => Math.max(...v), 'int32', 'bool', { distinct: true, minSize: 1 }),
  reduction('amin', ef.amin, (v) => Math.min(...v), 'int32', 'bool', { distinct: true, minSize: 1 }),
  reduction('any', ef.any, (v) => truth(v.some((x) => x !== 0)), 'bool', 'bool', {
    result: 'bool',
    differentiable: false,
    domain: { grid: 2 },
  }),
  reduction('all', ef.all, (v) => truth(v.every((x) => x !== 0)), 'bool', 'bool', {
    result: 'bool',
    differentiable: false,
    domain: { grid: 2 },
  }),
  ...(
    [
      ['1', 1, p(1)],
      ['2', 2, p(2)],
      ['3', 3, p(3)],
      ['1.5', 1.5, p(1.5)],
      ['infinity', Number.POSITIVE_INFINITY, (v: number[]) => Math.max(...v.map(Math.abs))],
    ] as const
  ).map(([name, power, f]) =>
    reduction('norm', (x, dims, o) => ef.norm(x, { p: power, dims, ...o }), f, 'throws', 'throws', {
      title: `norm ${name}`,
      minSize: 1,
      distinct: true,
    }),
  ),
  reduction('logsumexp', ef.logsumexp, (v) => Math.log(total(v.map(Math.exp))), 'throws', 'throws'),
]

/** Ops along one axis. */
function along(
  op: string,
  run: (x: Tensor, dim: number, keepdim: boolean) => Tensor | Tensor[],
  expected: (x: Nd, dim: number, keepdim: boolean) => Nd | Nd[],
  { title, minSize = 0, minRank = 1, ...row }: Partial<Row> & { minSize?: number; minRank?: number },
): Row {
  return {
    op,
    title,
    ...row,
    cases: (limits) =>
      shapes({ ...limits, minSize, minRank }).chain((shape) =>
        fc
          .record({
            dim: fc.integer({ min: -shape.length, max: Math.max(0, shape.length - 1) }),
            keepdim: fc.boolean(),
            seed: seeds,
          })
          .map(({ dim, keepdim, seed }) => ({
            inputs: [row.distinct ? distinctValues(shape, seed) : values(shape, seed)],
            run: (x) => run(x, dim, keepdim),
            expected: (x) => expected(x, dim, keepdim),
            note: `dim ${dim}, keepdim ${keepdim}`,
          })),
      ),
  }
}

/** A function of each line along an axis to a line of the same length. */
function lines(x: Nd, dim: number, f: (line: number[]) => number[]): Nd {
  const d = dim < 0 ? dim + x.shape.length : dim
  return nd(x.shape, (i) => f(Array.from({ length: x.shape[d] }, (_, k) => at(x, i.with(d, k))))[i[d]])
}

const soft = (v: number[]): number[] => {
  const top = Math.max(...v)
  const e = v.map((x) => Math.exp(x - top))
  return e.map((x) => x / total(e))
}
const argBest = (better: (a: number, b: number) => boolean) => (v: number[]) =>
  v.reduce((best, x, i) => (better(x, v[best]) ? i : best), 0)
const argLargest = argBest((a, b) => a > b)
const argSmallest = argBest((a, b) => a < b)

const ALONG: Row[] = [
  along(
    'softmax',
    (x, d) => ef.softmax(x, d),
    (x, d) => lines(x, d, soft),
    { int32: 'throws', bool: 'throws' },
  ),
  along(
    'logSoftmax',
    (x, d) => ef.logSoftmax(x, d),
    (x, d) => lines(x, d, (v) => soft(v).map(Math.log)),
    { int32: 'throws', bool: 'throws' },
  ),
  along(
    'argmax',
    (x, d, keepdim) => ef.argmax(x, d, { keepdim }),
    (x, d, k) => reduce(x, [d], k, argLargest, 'int32'),
    {
      minSize: 1,
      differentiable: false,
      int32: 'int32',
      bool: 'int32',
    },
  ),
  along(
    'argmin',
    (x, d, keepdim) => ef.argmin(x, d, { keepdim }),
    (x, d, k) => reduce(x, [d], k, argSmallest, 'int32'),
    {
      minSize: 1,
      differentiable: false,
      int32: 'int32',
      bool: 'int32',
    },
  ),
  along(
    'argmax',
    (x, _, keepdim) => ef.argmax(x, undefined, { keepdim }),
    (x, _, k) => reduce(x, undefined, k, argLargest, 'int32'),
    {
      title: 'argmax of everything',
      minSize: 1,
      differentiable: false,
    },
  ),
  along(
    'argmin',
    (x, _, keepdim) => ef.argmin(x, undefined, { keepdim }),
    (x, _, k) => reduce(x, undefined, k, argSmallest, 'int32'),
    {
      title: 'argmin of everything',
      minSize: 1,
      differentiable: false,
    },
  ),
  ...(['max', 'min'] as const).flatMap((op): Row[] => [
    along(
      op,
      (x) => ef[op](x),
      (x) => reduce(x, undefined, false, (v) => Math[op](...v)),
      {
        title: `${op} of everything`,
        minSize: 1,
        distinct: true,
        int32: 'int32',
        bool: 'bool',
      },
    ),
    along(
      op,
      (x, d, keepdim) => {
        const { values: v, indices: i } = ef[op](x, d, { keepdim })
        return [v, i]
      },
      (x, d, k) => [
        reduce(x, [d], k, (v) => Math[op](...v)),
        reduce(x, [d], k, op === 'max' ? argLargest : argSmallest, 'int32'),
      ],
      { title: `${op} along an axis`, minSize: 1, distinct: true, int32: 'int32', bool: 'bool' },
    ),
  ]),
]

/** Ops that only move elements: the answer is given by where each element comes from. */
function moving(
  op: string,
  run: (x: Tensor) => Tensor | Tensor[],
  shapeArbitrary: (limits: ShapeOptions) => fc.Arbitrary<number[]>,
  expected: (x: Nd) => Nd | Nd[],
  title?: string,
): Row {
  return {
    op,
    title,
    int32: 'int32',
    bool: 'bool',
    cases: (limits) =>
      fc
        .record({ shape: shapeArbitrary(limits), seed: seeds })
        .map(({ shape, seed }) => ({ inputs: [values(shape, seed)], run, expected })),
  }
}

const rank3 = (limits: ShapeOptions): fc.Arbitrary<number[]> => shapes({ ...limits, minRank: 3, maxRank: 3 })
const filled3 = (limits: ShapeOptions): fc.Arbitrary<number[]> =>
  shapes({ ...limits, minRank: 3, maxRank: 3, minSize: 1 })
const whole = (limits: ShapeOptions): fc.Arbitrary<number[]> => shapes(limits)
const same = (x: Nd): Nd => x
const reshaped = (x: Nd, shape: number[]): Nd => ({ ...x, shape })

/** Positions that a Python range of an axis of size n takes. */
const range = (n: number, from: number, to: number, step = 1): number[] => {
  const found: number[] = []
  for (let i = from < 0 ? Math.max(0, from + n) : from; i < Math.min(n, to < 0 ? to + n : to); i += step)
    found.push(i)
  return found
}

const VIEWS: Row[] = [
  moving('contiguous', (x) => ef.contiguous(x), whole, same),
  moving(
    'reshape',
    (x) => ef.reshape(x, [-1]),
    whole,
    (x) => reshaped(x, [x.data.length]),
    'reshape to a line',
  ),
  moving(
    'reshape',
    (x) => ef.reshape(x, [x.shape[1] * x.shape[2], 1, x.shape[0]]),
    rank3,
    (x) => reshaped(x, [x.shape[1] * x.shape[2], 1, x.shape[0]]),
  ),
  moving(
    'flatten',
    (x) => ef.flatten(x),
    whole,
    (x) => reshaped(x, [x.data.length]),
  ),
  moving(
    'flatten',
    (x) => ef.flatten(x, 1),
    rank3,
    (x) => reshaped(x, [x.shape[0], x.shape[1] * x.shape[2]]),
    'flatten from axis 1',
  ),
  moving(
    'permute',
    (x) => ef.permute(x, [2, 0, -2]),
    rank3,
    (x) => nd([x.shape[2], x.shape[0], x.shape[1]], ([c, a, b]) => at(x, [a, b, c])),
  ),
  moving(
    'transpose',
    (x) => ef.transpose(x, 0, -1),
    rank3,
    (x) => nd([...x.shape].reverse(), ([c, b, a]) => at(x, [a, b, c])),
  ),
  moving(
    'flip',
    (x) => ef.flip(x, [0, -1]),
    rank3,
    (x) => nd(x.shape, ([a, b, c]) => at(x, [x.shape[0] - 1 - a, b, x.shape[2] - 1 - c])),
  ),
  moving(
    'unsqueeze',
    (x) => ef.unsqueeze(x, -2),
    rank3,
    (x) => reshaped(x, [x.shape[0], x.shape[1], 1, x.shape[2]]),
  ),
  moving(
    'squeeze',
    (x) => ef.squeeze(x),
    whole,
    (x) =>
      reshaped(
        x,
        x.shape.filter((n) => n !== 1),
      ),
  ),
  moving(
    'squeeze',
    (x) => ef.squeeze(x, 1),
    rank3,
    (x) =>
      reshaped(
        x,
        x.shape.filter((n, i) => n !== 1 || i !== 1),
      ),
    'squeeze of one axis',
  ),
  moving(
    'expand',
    (x) => ef.expand(x, [2, ...x.shape.map((n) => (n === 1 ? 3 : -1))]),
    (l) => shapes({ ...l, maxRank: 2, maxElements: 4 }),
    (x) => nd([2, ...x.shape.map((n) => (n === 1 ? 3 : n))], (i) => at(x, i)),
  ),
  moving(
    'slice',
    (x) => ef.slice(x, [1, null], -1, [null, -1, 2]),
    filled3,
    (x) => {
      const rows = range(x.shape[0], 1, x.shape[0])
      const cols = range(x.shape[2], 0, -1, 2)
      return nd([rows.length, cols.length], ([a, c]) => at(x, [rows[a], x.shape[1] - 1, cols[c]]))
    },
  ),
  moving(
    'slice',
    (x) => ef.slice(x, null, [-2, 9], [1, 3]),
    rank3,
    (x) => {
      const rows = range(x.shape[1], -2, 9)
      const cols = range(x.shape[2], 1, 3)
      return nd([x.shape[0], rows.length, cols.length], ([a, b, c]) => at(x, [a, rows[b], cols[c]]))
    },
    'slice beyond the ends',
  ),
  moving(
    'narrow',
    (x) => ef.narrow(x, -1, 1, x.shape[2] - 1),
    filled3,
    (x) => nd([x.shape[0], x.shape[1], x.shape[2] - 1], ([a, b, c]) => at(x, [a, b, c + 1])),
  ),
  moving(
    'select',
    (x) => ef.select(x, 1, -1),
    filled3,
    (x) => nd([x.shape[0], x.shape[2]], ([a, c]) => at(x, [a, x.shape[1] - 1, c])),
  ),
  moving(
    'tril',
    (x) => ef.tril(x),
    (l) => shapes({ ...l, minRank: 2 }),
    (x) => nd(x.shape, (i) => (i.at(-1)! <= i.at(-2)! ? at(x, i) : 0)),
  ),
  moving(
    'triu',
    (x) => ef.triu(x, -1),
    (l) => shapes({ ...l, minRank: 2 }),
    (x) => nd(x.shape, (i) => (i.at(-1)! >= i.at(-2)! - 1 ? at(x, i) : 0)),
  ),
  moving(
    'split',
    (x) => ef.split(x, 2, 1),
    filled3,
    (x) =>
      Array.from({ length: Math.ceil(x.shape[1] / 2) }, (_, k) =>
        nd([x.shape[0], Math.min(2, x.shape[1] - 2 * k), x.shape[2]], ([a, b, c]) =>
          at(x, [a, b + 2 * k, c]),
        ),
      ),
  ),
  moving(
    'split',
    (x) => ef.split(x, [1, 0, x.shape[0] - 1]),
    filled3,
    (x) => [
      nd([1, x.shape[1], x.shape[2]], (i) => at(x, i)),
      nd([0, x.shape[1], x.shape[2]], () => 0),
      nd([x.shape[0] - 1, x.shape[1], x.shape[2]], ([a, b, c]) => at(x, [a + 1, b, c])),
    ],
    'split by sizes',
  ),
  moving(
    'chunk',
    (x) => ef.chunk(x, 2, -1),
    filled3,
    (x) => {
      const size = Math.ceil(x.shape[2] / 2)
      return Array.from({ length: Math.ceil(x.shape[2] / size) }, (_, k) =>
        nd([x.shape[0], x.shape[1], Math.min(size, x.shape[2] - size * k)], ([a, b, c]) =>
          at(x, [a, b, c + size * k]),
        ),
      )
    },
  ),
  { ...moving('detach', (x) => ef.detach(x), whole, same), differentiable: false },
]

const INDEXING: Row[] = [
  {
    op: 'gather',
    cases: (limits) =>
      fc
        .record({
          shape: filled3(limits),
          length: fc.integer({ min: 0, max: 4 }),
          dim: fc.integer({ min: -3, max: 2 }),
          seed: seeds,
        })
        .map(({ shape, length, dim, seed }) => {
          const d = dim < 0 ? dim + 3 : dim
          // Shorter than x where it may be.
          const to = shape.map((n, i) => (i === d ? length : Math.max(1, n - (seed % 2))))
          return {
            inputs: [values(shape, seed), ids(to, seed + 1, shape[d])],
            run: (x, index) => ef.gather(x, dim, index),
            expected: (x, index) => nd(to, (i) => at(x, i.with(d, at(index, i)))),
            note: `dim ${dim}`,
          }
        }),
  },
  {
    op: 'scatterAdd',
    cases: (limits) =>
      fc
        .record({
          shape: filled3(limits),
          length: fc.integer({ min: 0, max: 5 }),
          dim: fc.integer({ min: -3, max: 2 }),
          seed: seeds,
        })
        .map(({ shape, length, dim, seed }) => {
          const d = dim < 0 ? dim + 3 : dim
          const to = shape.map((n, i) => (i === d ? length : Math.max(1, n - (seed % 2))))
          return {
            inputs: [values(shape, seed), ids(to, seed + 1, shape[d]), values(to, seed + 2)],
            run: (x, index, src) => ef.scatterAdd(x, dim, index, src),
            expected: (x, index, src) => {
              const out = nd(shape, (i) => at(x, i))
              for (const i of indices(to)) {
                const [a, b, c] = i.with(d, at(index, i))
                out.data[(a * shape[1] + b) * shape[2] + c] += at(src, i)
              }
              return out
            },
            note: `dim ${dim}`,
          }
        }),
  },
  {
    op: 'indexSelect',
    cases: (limits) =>
      fc
        .record({
          shape: filled3(limits),
          index: shapes({ maxRank: 2, maxSize: 3 }),
          dim: fc.integer({ min: -3, max: 2 }),
          seed: seeds,
        })
        .map(({ shape, index: to, dim, seed }) => {
          const d = dim < 0 ? dim + 3 : dim
          return {
            inputs: [values(shape, seed), ids(to, seed + 1, shape[d])],
            run: (x, index) => ef.indexSelect(x, dim, index),
            expected: (x, index) =>
              nd([...shape.slice(0, d), ...to, ...shape.slice(d + 1)], (i) =>
                at(x, [...i.slice(0, d), at(index, i.slice(d, d + to.length)), ...i.slice(d + to.length)]),
              ),
            note: `dim ${dim}`,
          }
        }),
  },
  {
    op: 'oneHot',
    differentiable: false,
    cases: (limits) =>
      fc.record({ shape: shapes({ ...limits, maxRank: 2 }), seed: seeds }).map(({ shape, seed }) => ({
        inputs: [ids(shape, seed, 4)],
        run: (index) => ef.oneHot(index, 4),
        expected: (index) => nd([...shape, 4], (i) => truth(at(index, i.slice(0, -1)) === i.at(-1)), 'int32'),
      })),
  },
  ...(['cat', 'stack'] as const).map(
    (op): Row => ({
      op,
      cases: (limits) =>
        shapes({
          ...limits,
          minRank: 1,
          maxElements: Math.max(2, Math.floor((limits.maxElements ?? 60) / 3)),
        }).chain((shape) =>
          fc
            .record({
              dim: fc.integer({ min: 0, max: shape.length - 1 }),
              lengths: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 3 }),
              seed: seeds,
            })
            .map(({ dim, lengths, seed }) => {
              const parts = lengths.map((n, k) =>
                values(op === 'stack' ? shape : shape.with(dim, n), seed + k),
              )
              if (op === 'stack') {
                return {
                  inputs: parts,
                  run: (...x) => ef.stack(x, dim),
                  expected: (...x) =>
                    nd(shape.toSpliced(dim, 0, x.length), (i) => at(x[i[dim]], i.toSpliced(dim, 1))),
                  note: `dim ${dim}`,
                }
              }
              return {
                inputs: parts,
                run: (...x) => ef.cat(x, dim),
                expected: (...x) => {
                  const places = x.flatMap((part, k) =>
                    Array.from({ length: part.shape[dim] }, (_, j) => [k, j]),
                  )
                  return nd(shape.with(dim, places.length), (i) =>
                    at(x[places[i[dim]][0]], i.with(dim, places[i[dim]][1])),
                  )
                },
                note: `dim ${dim}`,
              }
            }),
        ),
    }),
  ),
  {
    op: 'matmul',
    cases: (limits) =>
      fc
        .record({
          batch: broadcastableShapes({ maxRank: 2, maxSize: 2 }),
          sizes: fc.tuple(
            ...[1, 2, 3].map(() =>
              fc.oneof(
                { weight: 6, arbitrary: fc.integer({ min: 1, max: 3 }) },
                { weight: 1, arbitrary: fc.constant(0) },
              ),
            ),
          ),
          large: fc.boolean(),
          vectors: fc.constantFrom('mm', 'mm', 'mm', 'vm', 'mv', 'vv'),
          seed: seeds,
        })
        .map(
          ({
            batch: {
              shapes: [ba, bb],
            },
            sizes,
            large,
            vectors,
            seed,
          }) => {
            const factor = large && (limits.maxElements ?? 60) > 20 ? 3 : 1
            const [m, k, n] = sizes.map((s) => s * factor)
            const sa = vectors[0] === 'v' ? [k] : [...ba, m, k]
            const sb = vectors[1] === 'v' ? [k] : [...bb, k, n]
            return {
              inputs: [values(sa, seed), values(sb, seed + 1)],
              run: (a, b) => ef.matmul(a, b),
              expected: (a, b) => {
                const rows = vectors[0] === 'v' ? [] : [m]
                const cols = vectors[1] === 'v' ? [] : [n]
                const outer = broadcast(vectors[0] === 'v' ? [] : ba, vectors[1] === 'v' ? [] : bb)
                return nd([...outer, ...rows, ...cols], (i) => {
                  const lead = i.slice(0, outer.length)
                  const row = vectors[0] === 'v' ? [] : [i[outer.length]]
                  const col = vectors[1] === 'v' ? [] : [i.at(-1)!]
                  let sum = 0
                  for (let j = 0; j < k; j++) {
                    const x = vectors[0] === 'v' ? a.data[j] : at(a, [...lead, ...row, j])
                    const y = vectors[1] === 'v' ? b.data[j] : at(b, [...lead, j, ...col])
                    sum += x * y
                  }
                  return sum
                })
              },
              note: vectors,
            }
          },
        ),
  },
]

export const TABLE: readonly Row[] = [
  ...UNARY,
  ...BINARY,
  ...CHOOSING,
  ...REDUCTIONS,
  ...ALONG,
  ...VIEWS,
  ...INDEXING,
]

export const titleOf = (row: Row): string => row.title ?? row.op
