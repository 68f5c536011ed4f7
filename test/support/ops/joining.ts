// Rows of the ops that look up, add up, join and multiply.
import fc from 'fast-check'
import * as ef from '../../../src/index'
import { broadcastableShapes, type ShapeOptions, shapes } from '../../../src/testing'
import { at, broadcast, indices, nd } from '../nd'
import { ids, type Row, seeds, truth, values } from './case'

const filled3 = (limits: ShapeOptions): fc.Arbitrary<number[]> =>
  shapes({ ...limits, minRank: 3, maxRank: 3, minSize: 1 })

export const INDEXING: Row[] = [
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
  ...[
    'ij,jk->ik',
    'ij,jk',
    'bij,bkj->bik',
    'ii->i',
    'ii',
    'iji,j->i',
    'ij->ji',
    'ijk->j',
    'ij,ij->ij',
    'i,j->ij',
    'bi,bi->b',
    'ij,jk,kl->li',
    'ab,cb,a->c',
    ',i->i',
    'Bi,jB->jB',
  ].map(
    (equation): Row => ({
      op: 'einsum',
      title: `einsum ${equation}`,
      int32: 'throws',
      bool: 'throws',
      cases: () =>
        fc
          .record({
            sizes: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 5, maxLength: 5 }),
            seed: seeds,
          })
          .map(({ sizes, seed }) => {
            const [left, right] = equation.split('->')
            const letters = [...new Set(left.replaceAll(',', ''))].sort()
            const parts = left.split(',').map((part) => [...part])
            const all = parts.flat()
            const out =
              right === undefined
                ? letters.filter((n) => all.filter((m) => m === n).length === 1)
                : [...right]
            const summed = letters.filter((n) => !out.includes(n))
            const size = (n: string): number => sizes[letters.indexOf(n)]
            return {
              inputs: parts.map((part, k) => values(part.map(size), seed + k)),
              run: (...x) => ef.einsum(equation, ...x),
              expected: (...x) =>
                nd(out.map(size), (i) => {
                  const within = indices(summed.map(size))
                  const value = (n: string, j: number[]): number =>
                    out.includes(n) ? i[out.indexOf(n)] : j[summed.indexOf(n)]
                  return within.reduce(
                    (total, j) =>
                      total +
                      x.reduce(
                        (p, t, k) =>
                          p *
                          at(
                            t,
                            parts[k].map((n) => value(n, j)),
                          ),
                        1,
                      ),
                    0,
                  )
                }),
              note: `sizes ${letters.map((n) => `${n}=${size(n)}`).join(' ')}`,
            }
          }),
    }),
  ),
]
