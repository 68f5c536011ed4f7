// Map-reduce and argReduce on the cpu against plain loops, over awkward shapes and layouts.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { constant, input, scalar } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { ReduceKind, View } from '../src/backend/types'
import { contiguous, layoutOf, noise, offsets, place, shapes, valuesOf } from './support/naive'

const backend = new CpuBackend({ plain: true })
const KINDS: ReduceKind[] = ['sum', 'prod', 'max', 'min']
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

function naive(kind: ReduceKind, values: number[]): number {
  if (kind === 'sum') return values.reduce((a, b) => a + b, 0)
  if (kind === 'prod') return values.reduce((a, b) => a * b, 1)
  return kind === 'max' ? Math.max(...values) : Math.min(...values)
}

function expectClose(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length)
  actual.forEach((v, i) => {
    if (Object.is(v, expected[i]) || v === expected[i]) return
    if (!(Math.abs(v - expected[i]) <= tolerance * (1 + Math.abs(expected[i])))) {
      expect.fail(`element ${i}: ${v}, expected ${expected[i]}`)
    }
  })
}

describe.each(KINDS)('%s', (kind) => {
  it('of a program over the inner axes, any layout', async () => {
    const scene = shapes(5).chain((shape) =>
      fc.record({
        a: layoutOf(shape),
        b: layoutOf(shape),
        split: fc.nat(shape.length),
        seed: fc.integer(),
      }),
    )
    const program = new Program([input(0).mul(scalar(0)).sub(input(1))], 2, 1)
    await fc.assert(
      fc.asyncProperty(scene, async ({ a, b, split, seed }) => {
        const outer = a.shape.slice(0, split)
        const inner = size(a.shape.slice(split))
        fc.pre(inner > 0 || kind === 'sum' || kind === 'prod')
        const hosts = [a, b].map((l, i) => Float64Array.from({ length: l.length }, noise(seed + i)))
        const views = [a, b].map((l, i) => place(backend, 'float64', l, hosts[i]))
        const at = [a, b].map(offsets)
        const mapped = at[0].map((o, i) => hosts[0][o] * 1.5 - hosts[1][at[1][i]])
        const expected = Array.from({ length: size(outer) }, (_, i) =>
          naive(kind, mapped.slice(i * inner, (i + 1) * inner)),
        )
        const out = place(backend, 'float64', contiguous(outer, 2), new Float64Array(2))
        backend.reduce(kind, program, views, [1.5], out)
        expectClose(await valuesOf(backend, out), expected, 1e-13)
        for (const v of [...views, out]) backend.free(v.buffer)
      }),
      { numRuns: 100 },
    )
  })

  it.each([
    ['rows in memory order', [70, 901], [901, 1]],
    ['columns in memory order', [901, 70], [1, 901]],
    ['many rows of two', [2500, 2], [2, 1]],
    ['two rows across', [2, 2500], [1, 2]],
    ['many outputs across', [3000, 3], [1, 3000]],
    ['everything', [4097], [1]],
    ['a repeated row', [40, 60], [0, 1]],
    ['repeated elements', [60, 40], [1, 0]],
    ['one element repeated', [60, 40], [0, 0]],
  ])('%s, over several blocks', async (_, shape, strides) => {
    const length = 1 + shape.reduce((n, s, d) => n + (s - 1) * strides[d], 0)
    const next = noise(5)
    // Near 1, so that products of thousands stay finite.
    const host = Float32Array.from({ length }, () => 1 + next() / 64)
    const view = place(backend, 'float32', { shape, strides, offset: 0, length }, host)
    const outer = shape.slice(0, -1)
    const inner = shape[shape.length - 1]
    const elements = offsets(view).map((o) => host[o])
    const expected = Array.from({ length: size(outer) }, (_, i) =>
      naive(kind, elements.slice(i * inner, (i + 1) * inner)),
    )
    const out = place(backend, 'float64', contiguous(outer), new Float64Array(0))
    backend.reduce(kind, new Program([input(0)], 1), [view], [], out)
    expectClose(await valuesOf(backend, out), expected, 1e-12)
  })

  it('of no elements gives the identity, or nothing', async () => {
    const empty = place(backend, 'float32', contiguous([3, 0]), new Float32Array(0))
    const out = place(backend, 'float32', contiguous([3]), Float32Array.of(5, 5, 5))
    if (kind === 'sum' || kind === 'prod') {
      backend.reduce(kind, new Program([input(0)], 1), [empty], [], out)
      expect(await valuesOf(backend, out)).toEqual(new Array(3).fill(kind === 'sum' ? 0 : 1))
    }
    const none = place(backend, 'float32', contiguous([0]), new Float32Array(0))
    const gone = place(backend, 'float32', contiguous([0, 4]), new Float32Array(0))
    backend.reduce(kind, new Program([input(0)], 1), [gone], [], none)
    expect(await valuesOf(backend, none)).toEqual([])
  })
})

it.each([
  ['along', [2, 2000], [2000, 1]],
  ['across', [2, 2000], [1, 2]],
])('max and min propagate NaN, %s', async (_, shape, strides) => {
  const host = new Float64Array(4000).fill(1)
  host[strides[0] + 700 * strides[1]] = Number.NaN
  const view = place(backend, 'float64', { shape, strides, offset: 0, length: 4000 }, host)
  const out = place(backend, 'float64', contiguous([2]), new Float64Array(2))
  for (const kind of ['max', 'min'] as const) {
    backend.reduce(kind, new Program([input(0)], 1), [view], [], out)
    expect(await valuesOf(backend, out)).toEqual([1, Number.NaN])
  }
})

it('max and min of infinities', async () => {
  const view = place(
    backend,
    'float64',
    contiguous([2, 2]),
    Float64Array.of(-Infinity, -Infinity, Infinity, Infinity),
  )
  const out = place(backend, 'float64', contiguous([2]), new Float64Array(2))
  for (const kind of ['max', 'min'] as const) {
    backend.reduce(kind, new Program([input(0)], 1), [view], [], out)
    expect(await valuesOf(backend, out)).toEqual([-Infinity, Infinity])
  }
})

it.each([
  ['along', [3, 1500], [1500, 1]],
  ['across', [3, 1500], [1, 3]],
])('integers wrap as int32, %s', async (_, shape, strides) => {
  const next = noise(8)
  const host = Int32Array.from({ length: 4500 }, () => Math.floor(next() * 2 ** 31))
  const view = place(backend, 'int32', { shape, strides, offset: 0, length: 4500 }, host)
  const out = place(backend, 'int32', contiguous([3]), new Int32Array(3))
  const rows = [0, 1, 2].map((r) =>
    offsets(view)
      .slice(r * 1500, (r + 1) * 1500)
      .map((o) => BigInt(host[o])),
  )
  const program = new Program([input(0, 'int')], 1)
  backend.reduce('sum', program, [view], [], out)
  expect(await valuesOf(backend, out)).toEqual(
    rows.map((r) =>
      Number(
        BigInt.asIntN(
          32,
          r.reduce((a, b) => a + b),
        ),
      ),
    ),
  )
  const odd = new Program([input(0, 'int').mul(2).add(1)], 1)
  backend.reduce('prod', odd, [view], [], out)
  expect(await valuesOf(backend, out)).toEqual(
    rows.map((r) =>
      Number(
        BigInt.asIntN(
          32,
          r.reduce((a, b) => a * (2n * b + 1n), 1n),
        ),
      ),
    ),
  )
})

it('max and min on bool are any and all; a counted comparison sums', async () => {
  const view = place(backend, 'bool', contiguous([3, 3]), Uint8Array.of(0, 0, 0, 0, 1, 0, 1, 1, 1))
  const out = place(backend, 'bool', contiguous([3]), new Uint8Array(3))
  const program = new Program([input(0, 'bool')], 1)
  backend.reduce('max', program, [view], [], out)
  expect(await valuesOf(backend, out)).toEqual([0, 1, 1])
  backend.reduce('min', program, [view], [], out)
  expect(await valuesOf(backend, out)).toEqual([0, 0, 1])
  const counts = place(backend, 'int32', contiguous([3]), new Int32Array(3))
  backend.reduce('sum', new Program([input(0, 'bool').cast('int')], 1), [view], [], counts)
  expect(await valuesOf(backend, counts)).toEqual([0, 1, 3])
})

it('sums a constant over the shape of its operand', async () => {
  const view = place(backend, 'float32', contiguous([2, 1300]), new Float32Array(2600))
  const out = place(backend, 'float32', contiguous([2]), new Float32Array(2))
  backend.reduce('sum', new Program([constant(0.5)], 1), [view], [], out)
  expect(await valuesOf(backend, out)).toEqual([650, 650])
})

it('sums float32 with float64 accumulators', async () => {
  const n = 3000
  const host = new Float32Array(n).fill(0.1)
  const view: View = place(backend, 'float32', contiguous([n]), host)
  const out = place(backend, 'float32', contiguous([]), new Float32Array(1))
  backend.reduce('sum', new Program([input(0)], 1), [view], [], out)
  expect(await valuesOf(backend, out)).toEqual([Math.fround(n * Math.fround(0.1))])
})

describe.each(['max', 'min'] as const)('arg%s', (kind) => {
  it('finds the first best along the last axis, NaN before all', async () => {
    const scene = shapes(4, 1).chain((shape) => fc.record({ layout: layoutOf(shape), seed: fc.integer() }))
    await fc.assert(
      fc.asyncProperty(scene, async ({ layout, seed }) => {
        const inner = layout.shape[layout.shape.length - 1]
        fc.pre(inner > 0)
        const next = noise(seed)
        // Few distinct values, so that there are ties.
        const host = Float32Array.from({ length: layout.length }, () => {
          const v = Math.round(next() * 3)
          return v === 3 ? Number.NaN : v
        })
        const view = place(backend, 'float32', layout, host)
        const elements = offsets(layout).map((o) => host[o])
        const out = place(backend, 'int32', contiguous(layout.shape.slice(0, -1)), new Int32Array(0))
        backend.argReduce(kind, view, out)
        const expected: number[] = []
        for (let i = 0; i < elements.length; i += inner) {
          const row = elements.slice(i, i + inner)
          const best = naive(kind, row)
          expected.push(Number.isNaN(best) ? row.findIndex(Number.isNaN) : row.indexOf(best))
        }
        expect(await valuesOf(backend, out)).toEqual(expected)
        backend.free(view.buffer)
        backend.free(out.buffer)
      }),
    )
  })

  it('works on rows longer than a block, and on integers', async () => {
    const host = new Int32Array(3000).fill(4)
    host[1700] = kind === 'max' ? 5 : 3
    host[2800] = host[1700]
    const view = place(backend, 'int32', contiguous([2, 1500]), host)
    const out = place(backend, 'int32', contiguous([2]), new Int32Array(2))
    backend.argReduce(kind, view, out)
    expect(await valuesOf(backend, out)).toEqual([0, 200])
  })
})
