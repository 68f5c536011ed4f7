// Rows of the elementwise ops that take more than operands: choices, bounds, dtypes, expressions of one's own.
import fc from 'fast-check'
import * as ef from '../../../src/index'
import { broadcastableShapes, shapes } from '../../../src/testing'
import { elementwise } from '../nd'
import { awayFrom, flags, type Row, seeds, truth, values } from './case'

export const CHOOSING: Row[] = [
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
        // webgpu has no float64 to go through.
        run: (x) => (x.device === 'webgpu' ? ef.cast(x, 'float32') : ef.cast(ef.cast(x, 'float64'), x.dtype)),
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
