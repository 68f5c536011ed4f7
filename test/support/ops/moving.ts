// Rows of the ops that only move elements: the answer says where each element comes from.
import fc from 'fast-check'
import * as ef from '../../../src/index'
import { type ShapeOptions, shapes } from '../../../src/testing'
import { at, type Nd, nd } from '../nd'
import { type Row, seeds, type Tensor, values } from './case'

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

export const VIEWS: Row[] = [
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
  moving(
    'pad',
    (x) => ef.pad(x, [1, 2, 0, 1], { value: 1 }),
    rank3,
    (x) =>
      nd([x.shape[0], x.shape[1] + 1, x.shape[2] + 3], ([a, b, c]) =>
        b < x.shape[1] && c >= 1 && c <= x.shape[2] ? at(x, [a, b, c - 1]) : 1,
      ),
  ),
  moving(
    'pad',
    (x) => ef.pad(x, [2, -1, -1, 1]),
    filled3,
    (x) =>
      nd([x.shape[0], x.shape[1], x.shape[2] + 1], ([a, b, c]) =>
        b < x.shape[1] - 1 && c >= 2 ? at(x, [a, b + 1, c - 2]) : 0,
      ),
    'pad that cuts',
  ),
  moving(
    'repeat',
    (x) => ef.repeat(x, [2, 1, 3, 2]),
    (l) => shapes({ ...l, minRank: 3, maxRank: 3, maxElements: 12 }),
    (x) =>
      nd([2, x.shape[0], 3 * x.shape[1], 2 * x.shape[2]], ([, a, b, c]) =>
        at(x, [a, b % x.shape[1], c % x.shape[2]]),
      ),
  ),
  ...(
    [
      [0, 1, 1],
      [1, 1, 2],
      [-1, 2, 1],
      [-1, 3, 2],
    ] as const
  ).map(([dim, size, step]) =>
    moving(
      'unfold',
      (x) => ef.unfold(x, dim, Math.min(size, x.shape.at(dim)!), step),
      filled3,
      (x) => {
        const d = dim < 0 ? dim + 3 : dim
        const n = Math.min(size, x.shape[d])
        const windows = Math.floor((x.shape[d] - n) / step) + 1
        return nd([...x.shape.with(d, windows), n], (i) => at(x, i.slice(0, 3).with(d, i[d] * step + i[3])))
      },
      `unfold of ${size} every ${step} along ${dim}`,
    ),
  ),
  { ...moving('detach', (x) => ef.detach(x), whole, same), differentiable: false },
]
