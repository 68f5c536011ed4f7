// gather and scatter-add on webgpu against the cpu: any layout, repeated ids, long axes, ids out of range.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { input } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { Backend, DType } from '../src/backend/types'
import { IndexError } from '../src/errors'
import { ARRAY, contiguous, type Layout, layoutOf, noise, randomArray, shapes } from './support/naive'
import { useTwins } from './support/twins'

const twins = useTwins()
afterEach(() => twins().release())

/** A shape, a dim, how many ids, and layouts of everything; ids vary over all axes or only along dim. */
const scene = shapes(6, 1).chain((shape) =>
  fc
    .record({ dim: fc.nat(shape.length - 1), ids: fc.nat(9), known: fc.integer({ min: 1, max: 6 }) })
    .chain(({ dim, ids, known }) => {
      const xShape = shape.with(dim, known)
      const indexShape = shape.with(dim, ids)
      return fc.record({
        dim: fc.constant(dim),
        x: layoutOf(xShape),
        index: fc.oneof(
          layoutOf(indexShape),
          fc.constant<Layout>({
            shape: indexShape,
            strides: indexShape.map((_, d) => (d === dim ? 1 : 0)),
            offset: 1,
            length: ids + 2,
          }),
        ),
        other: layoutOf(indexShape),
        out: layoutOf(indexShape, true),
        dtype: fc.constantFrom<DType>('float32', 'int32', 'bool'),
        seed: fc.integer(),
      })
    }),
)

function idsFor(length: number, known: number, seed: number): Int32Array {
  const next = noise(seed)
  return Int32Array.from({ length }, () => Math.floor(((next() + 1) / 2) * known))
}

/** Ids along the last-but-one axis, one per row. */
function perRow(rows: number, width: number): Layout {
  return { shape: [rows, width], strides: [1, 0], offset: 0, length: rows }
}

it('gather takes the named elements, in any layout and dtype', async () => {
  await fc.assert(
    fc.asyncProperty(scene, async ({ dim, x, index, out, dtype, seed }) => {
      const source = twins().place(dtype, x, randomArray(dtype, x.length, seed))
      const ids = twins().place('int32', index, idsFor(index.length, x.shape[dim], seed + 1))
      const target = twins().place(dtype, out, randomArray(dtype, out.length, seed + 2))
      twins().run([source, ids, target], (b, [p, q, r]) => b.gather(p, dim, q, r))
      await twins().expectSame(target)
      twins().release()
    }),
    { numRuns: 80 },
  )
})

it('scatterAdd adds to the named elements in order, to the bit', async () => {
  await fc.assert(
    fc.asyncProperty(
      scene.filter((s) => s.dtype !== 'bool'),
      async ({ dim, x, index, other, dtype, seed }) => {
        const outLayout = contiguous(x.shape, 3)
        const out = twins().place(dtype, outLayout, randomArray(dtype, outLayout.length, seed))
        const ids = twins().place('int32', index, idsFor(index.length, x.shape[dim], seed + 1))
        const source = twins().place(dtype, other, randomArray(dtype, other.length, seed + 2))
        twins().run([out, ids, source], (b, [p, q, r]) => b.scatterAdd(p, dim, q, r))
        await twins().expectSame(out)
        twins().release()
      },
    ),
    { numRuns: 80 },
  )
})

// Long axes are worked off in blocks of 8,192 positions.
describe.each([100, 8191, 8192, 8200, 20_000])('%i ids', (n) => {
  it('one per row, most of them equal', async () => {
    const [known, width] = [7, 2]
    const host = idsFor(n, known, n)
    host.fill(3, 0, Math.floor(n / 2))
    const table = twins().place(
      'float32',
      contiguous([known, width]),
      randomArray('float32', known * width, 1),
    )
    const ids = twins().place('int32', perRow(n, width), host)
    const rows = twins().place('float32', contiguous([n, width]), randomArray('float32', n * width, 2))
    const taken = twins().place('float32', contiguous([n, width]), new Float32Array(n * width))
    twins().run([table, ids, taken], (b, [p, q, r]) => b.gather(p, 0, q, r))
    await twins().expectSame(taken)
    twins().run([table, ids, rows], (b, [p, q, r]) => b.scatterAdd(p, 0, q, r))
    // Many thousand values on few rows: the order of the additions shows in the last bits.
    await twins().expectSame(table, { relative: 1e-5, absolute: 1e-3 })
  })

  it('other ids in every line', async () => {
    const [known, lines] = [500, 2]
    const layout = contiguous([lines, n])
    const out = twins().place('int32', contiguous([lines, known]), randomArray('int32', lines * known, 1))
    const ids = twins().place('int32', layout, idsFor(lines * n, known, n))
    const source = twins().place('int32', layout, randomArray('int32', lines * n, 2))
    twins().run([out, ids, source], (b, [p, q, r]) => b.scatterAdd(p, 1, q, r))
    await twins().expectSame(out)
  })
})

it('scatterAdd gives equal bits every time', async () => {
  const n = 9000
  const ids = twins().place('int32', contiguous([n]), idsFor(n, 5, 1))
  const source = twins().place('float32', contiguous([n]), randomArray('float32', n, 2))
  const seen = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const out = twins().place('float32', contiguous([5]), new Float32Array(5))
    twins().gpu.scatterAdd(out.gpu, 0, ids.gpu, source.gpu)
    seen.add(String(await twins().gpu.read(out.gpu.buffer, 'float32', 0, 5)))
  }
  expect(seen.size).toBe(1)
})

it('x, index and out may lie in one buffer', async () => {
  const base = twins().place(
    'int32',
    contiguous([60]),
    Int32Array.from({ length: 60 }, (_, i) => i % 10),
  )
  const [x, index, out] = [contiguous([10], 0), contiguous([20], 10), contiguous([20], 40)].map((l) =>
    twins().window(base, l),
  )
  twins().run([x, index, out], (b, [p, q, r]) => b.gather(p, 0, q, r))
  await twins().expectSame(base)
  twins().run([x, index, out], (b, [p, q, r]) => b.scatterAdd(p, 0, q, r))
  await twins().expectSame(base)
})

it('gather over more than 65,535 workgroups', async () => {
  const n = 65_536 * 64 + 5
  const x = twins().place(
    'int32',
    contiguous([10]),
    Int32Array.from({ length: 10 }, (_, i) => i * i),
  )
  const ids = twins().place(
    'int32',
    contiguous([n]),
    Int32Array.from({ length: n }, (_, i) => i % 10),
  )
  const out = twins().place('int32', contiguous([n]), new Int32Array(n))
  twins().run([x, ids, out], (b, [p, q, r]) => b.gather(p, 0, q, r))
  await twins().expectSame(out)
})

describe.each([-1, 3, 2 ** 31 - 1, -(2 ** 31)])('the id %i of 0 to 2', (id) => {
  const layouts: [string, Layout][] = [
    ['one id per row', perRow(3, 3)],
    ['ids in every line', contiguous([3, 3])],
  ]
  const calls: [string, (b: Backend, ...v: Parameters<Backend['scatterAdd']>) => void][] = [
    ['gather', (b, x, dim, index, other) => b.gather(x, dim, index, other)],
    ['scatterAdd', (b, x, dim, index, other) => b.scatterAdd(x, dim, index, other)],
  ]
  it.each(calls.flatMap(([name, call]) => layouts.map(([title, layout]) => ({ name, title, call, layout }))))(
    '$name, $title: an IndexError at the next read, once, and the device goes on',
    async ({ call, layout, name }) => {
      const { gpu } = twins()
      const ids = new Int32Array(layout.length)
      ids[layout.length - 1] = id
      const x = twins().place(
        'float32',
        contiguous([3, 3]),
        Float32Array.from({ length: 9 }, (_, i) => i + 1),
      )
      const index = twins().place('int32', layout, ids)
      const other = twins().place('float32', contiguous([3, 3]), new Float32Array(9).fill(1))
      call(gpu, x.gpu, 0, index.gpu, other.gpu)
      const reading = gpu.read(x.gpu.buffer, 'float32', 0, 9)
      await expect(reading).rejects.toThrow(IndexError)
      await expect(reading).rejects.toThrow(String(id))
      // What was in range is right, what was not is 0 (gather) or skipped (scatterAdd).
      const got = await gpu.read((name === 'gather' ? other : x).gpu.buffer, 'float32', 0, 9)
      const row = layout.strides[1] === 0
      if (name === 'gather')
        expect([...got]).toEqual(row ? [1, 2, 3, 1, 2, 3, 0, 0, 0] : [1, 2, 3, 1, 2, 3, 1, 2, 0])
      else expect([...got]).toEqual(row ? [3, 4, 5, 4, 5, 6, 7, 8, 9] : [4, 5, 5, 4, 5, 6, 7, 8, 9])
      const y = twins().place('float32', contiguous([2]), Float32Array.of(1, 2))
      twins().run([y], (b, [v]) => b.elementwise(new Program([input(0).mul(2)], 1), [v], [], [v]))
      await twins().expectSame(y)
    },
  )
})

it('synchronize reports an id out of range too', async () => {
  const { gpu } = twins()
  const x = twins().place('float32', contiguous([3]), new Float32Array(3))
  const index = twins().place('int32', contiguous([1]), Int32Array.of(9))
  const out = twins().place('float32', contiguous([1]), new Float32Array(1))
  gpu.gather(x.gpu, 0, index.gpu, out.gpu)
  await expect(gpu.synchronize()).rejects.toThrow(IndexError)
  await gpu.synchronize()
})

it('an empty lookup does nothing', async () => {
  const x = twins().place('float32', contiguous([3, 2]), randomArray('float32', 6, 1))
  const index = twins().place('int32', contiguous([0, 2]), new Int32Array(0))
  const out = twins().place('float32', contiguous([0, 2]), new ARRAY.float32(0))
  twins().run([x, index, out], (b, [p, q, r]) => {
    b.gather(p, 0, q, r)
    b.scatterAdd(p, 0, q, r)
  })
  await twins().expectSame(x)
})
