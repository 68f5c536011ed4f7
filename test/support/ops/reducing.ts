// Rows of the ops that reduce axes or work along one.
import fc from 'fast-check'
import * as ef from '../../../src/index'
import { shapes } from '../../../src/testing'
import { at, type Nd, nd, reduce, sizeOf } from '../nd'
import {
  distinctValues,
  type Domain,
  type ResultDType,
  type Row,
  seeds,
  type Tensor,
  truth,
  values,
} from './case'

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

export const REDUCTIONS: Row[] = [
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

/** Indices that sort a list; equal elements stay in order. */
const ordered = (v: number[], descending: boolean): number[] =>
  [...v.keys()].sort((a, b) => (descending ? v[b] - v[a] : v[a] - v[b]) || a - b)
const flatIndex = (shape: number[], index: number[]): number =>
  index.reduce((flat, i, d) => flat * shape[d] + i, 0)

const soft = (v: number[]): number[] => {
  const top = Math.max(...v)
  const e = v.map((x) => Math.exp(x - top))
  return e.map((x) => x / total(e))
}
const argBest = (better: (a: number, b: number) => boolean) => (v: number[]) =>
  v.reduce((best, x, i) => (better(x, v[best]) ? i : best), 0)
const argLargest = argBest((a, b) => a > b)
const argSmallest = argBest((a, b) => a < b)

export const ALONG: Row[] = [
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
      (x) => (op === 'max' ? ef.max(x) : ef.min(x)),
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
        const { values: v, indices: i } = (op === 'max' ? ef.max : ef.min)(x, d, { keepdim })
        return [v, i]
      },
      (x, d, k) => [
        reduce(x, [d], k, (v) => Math[op](...v)),
        reduce(x, [d], k, op === 'max' ? argLargest : argSmallest, 'int32'),
      ],
      { title: `${op} along an axis`, minSize: 1, distinct: true, int32: 'int32', bool: 'bool' },
    ),
  ]),
  along(
    'cumsum',
    (x, d) => ef.cumsum(x, d),
    (x, d) => lines(x, d, (v) => v.map((_, i) => total(v.slice(0, i + 1)))),
    { int32: 'int32', bool: 'int32' },
  ),
  ...[false, true].flatMap((descending): Row[] => [
    along(
      'sort',
      (x, d) => {
        const { values: v, indices: i } = ef.sort(x, d, { descending })
        return [v, i]
      },
      (x, d) => [
        lines(x, d, (v) => ordered(v, descending).map((i) => v[i])),
        { ...lines(x, d, (v) => ordered(v, descending)), type: 'int32' },
      ],
      { title: `sort, descending ${descending}`, distinct: true, int32: 'int32', bool: 'bool' },
    ),
    along(
      'argsort',
      (x, d) => ef.argsort(x, d, { descending }),
      (x, d) => ({ ...lines(x, d, (v) => ordered(v, descending)), type: 'int32' }),
      {
        title: `argsort, descending ${descending}`,
        distinct: true,
        differentiable: false,
        int32: 'int32',
        bool: 'int32',
      },
    ),
    along(
      'topk',
      (x, d) => {
        const { values: v, indices: i } = ef.topk(x, Math.min(2, x.shape.at(d)!), d, { largest: descending })
        return [v, i]
      },
      (x, d) => {
        const first = (sorted: Nd): Nd => {
          const a = d < 0 ? d + x.shape.length : d
          const shape = x.shape.with(a, Math.min(2, x.shape[a]))
          return nd(shape, (i) => sorted.data[flatIndex(x.shape, i)], sorted.type)
        }
        return [
          first(lines(x, d, (v) => ordered(v, descending).map((i) => v[i]))),
          first({ ...lines(x, d, (v) => ordered(v, descending)), type: 'int32' }),
        ]
      },
      { title: `topk, largest ${descending}`, distinct: true, int32: 'int32', bool: 'bool' },
    ),
  ]),
]
