// Matrix products on webgpu against the cpu, both kernels: with workgroup memory (for GPUs) and without (for software).
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { contiguous, type Layout, layoutOf, randomArray } from './support/naive'
import { useTwins } from './support/twins'

describe.each([
  ['software', true],
  ['hardware', false],
])('kernels for %s', (_, fallback) => {
  const twins = useTwins({ fallback })
  afterEach(() => twins().release())

  async function check(a: Layout, b: Layout, out: Layout, accumulate: boolean, seed: number): Promise<void> {
    const [x, y, z] = [a, b, out].map((l, i) =>
      twins().place('float32', l, randomArray('float32', l.length, seed + i)),
    )
    twins().run([x, y, z], (backend, [p, q, r]) => backend.matmul(p, q, r, accumulate))
    const k = a.shape[a.shape.length - 1]
    // Values below 1 in magnitude; each partial sum is rounded to 2^-24 of itself.
    await twins().expectSame(z, { relative: 1e-6, absolute: 1e-6 + 1e-7 * k })
    twins().release()
  }

  it('any small sizes, batches and layouts, overwriting or adding to the output', async () => {
    const dim = fc.oneof(
      { weight: 1, arbitrary: fc.constant(0) },
      { weight: 9, arbitrary: fc.integer({ min: 1, max: 11 }) },
    )
    const scene = fc
      .record({ batch: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 6 }), m: dim, n: dim, k: dim })
      .filter(({ batch, m, n, k }) => batch.reduce((p, v) => p * v, 1) * (m * n + m * k + k * n) < 20_000)
      .chain(({ batch, m, n, k }) =>
        fc.record({
          a: layoutOf([...batch, m, k]),
          b: layoutOf([...batch, k, n]),
          out: layoutOf([...batch, m, n], true),
          accumulate: fc.boolean(),
          seed: fc.integer(),
        }),
      )
    await fc.assert(
      fc.asyncProperty(scene, ({ a, b, out, accumulate, seed }) => check(a, b, out, accumulate, seed)),
      // A pipeline with workgroup memory takes a software adapter a second, and each rank of batch is one.
      { numRuns: fallback ? 60 : 12 },
    )
  })

  it.each([
    [1, 1, 1],
    [3, 5, 7],
    [17, 33, 100],
    [32, 32, 32],
    [33, 31, 17],
    [31, 65, 16],
    [64, 64, 1],
    [1, 50, 800],
    [50, 1, 800],
    [1, 1, 4097],
    [130, 70, 15],
    [5, 9, 5000],
    [128, 128, 128],
    // Around tiles of 32 x 16 of which most is used, K in fours.
    [16, 12, 4],
    [31, 16, 12],
    [33, 20, 64],
    [40, 36, 8],
    // Around what hardware has a kernel of its own for: few rows or columns, from K = 32; a K of 512 is cut.
    [8, 33, 32],
    [9, 8, 33],
    [3, 65, 31],
    [2, 70, 511],
    [6, 40, 512],
    [40, 35, 513],
  ])('%i x %i, K = %i, with each operand and the output transposed or not', async (m, n, k) => {
    const turned = (rows: number, columns: number): Layout => ({
      shape: [rows, columns],
      strides: [1, rows],
      offset: 0,
      length: rows * columns,
    })
    for (const a of [contiguous([m, k]), turned(m, k)]) {
      for (const b of [contiguous([k, n]), turned(k, n)]) {
        await check(a, b, contiguous([m, n], 3), false, m + n)
        await check(a, b, turned(m, n), true, k)
      }
    }
  })

  it('batches where either side repeats', async () => {
    const repeated = (batch: number[], strides: number[], rows: number, columns: number): Layout => ({
      shape: [...batch, rows, columns],
      strides: [...strides, columns, 1],
      offset: 0,
      length: 1 + batch.reduce((s, v, d) => s + (v - 1) * strides[d], 0) + rows * columns,
    })
    await check(
      repeated([4, 3], [0, 35], 5, 7),
      repeated([4, 3], [63, 0], 7, 9),
      contiguous([4, 3, 5, 9]),
      false,
      1,
    )
    await check(repeated([6], [0], 40, 20), repeated([6], [600], 20, 30), contiguous([6, 40, 30]), true, 2)
    await check(repeated([3], [0], 2, 3), repeated([3], [0], 3, 2), contiguous([3, 2, 2]), false, 3)
  })

  it('operands and output in one buffer', async () => {
    const base = twins().place('float32', contiguous([300]), randomArray('float32', 300, 1))
    const [a, b, out] = [contiguous([5, 7], 0), contiguous([7, 9], 100), contiguous([5, 9], 200)].map((l) =>
      twins().window(base, l),
    )
    for (const accumulate of [false, true]) {
      twins().run([a, b, out], (backend, [p, q, r]) => backend.matmul(p, q, r, accumulate))
      await twins().expectSame(base, { relative: 1e-6, absolute: 1e-6 })
    }
    // A matrix times its own transpose.
    const at = twins().window(base, { shape: [7, 5], strides: [1, 7], offset: 0, length: 35 })
    const square = twins().window(base, contiguous([5, 5], 250))
    twins().run([a, at, square], (backend, [p, q, r]) => backend.matmul(p, q, r, false))
    await twins().expectSame(base, { relative: 1e-6, absolute: 1e-6 })
  })

  it('K = 0 gives zeros, or leaves the output when adding to it', async () => {
    for (const accumulate of [false, true])
      await check(contiguous([3, 0]), contiguous([0, 4]), contiguous([3, 4]), accumulate, 1)
  })

  it('NaN and infinity reach their row and column only', async () => {
    const host = randomArray('float32', 40 * 40, 1) as Float32Array
    host[3 * 40 + 5] = Number.NaN
    host[20 * 40 + 30] = Number.POSITIVE_INFINITY
    const a = twins().place('float32', contiguous([40, 40]), host)
    const b = twins().place('float32', contiguous([40, 40]), randomArray('float32', 1600, 2))
    const out = twins().place('float32', contiguous([40, 40]), new Float32Array(1600))
    twins().run([a, b, out], (backend, [p, q, r]) => backend.matmul(p, q, r, false))
    await twins().expectSame(out, { relative: 1e-6, absolute: 1e-5 })
  })

  // The same flattening of workgroups in both; in hardware kernels so many cost a software adapter a minute.
  it.runIf(fallback)('more than 65,535 workgroups', async () => {
    const batch = 65_536 * 64 + 3
    const each: Layout = { shape: [batch, 1, 1], strides: [1, 1, 1], offset: 0, length: batch }
    const a = twins().place(
      'float32',
      each,
      Float32Array.from({ length: batch }, (_, i) => i),
    )
    const b = twins().place('float32', { ...each, strides: [0, 1, 1], length: 1 }, Float32Array.of(3))
    const out = twins().place('float32', each, new Float32Array(batch))
    twins().run([a, b, out], (backend, [p, q, r]) => backend.matmul(p, q, r, false))
    await twins().expectSame(out)
  })
})

describe('on hardware', () => {
  const twins = useTwins({ fallback: false })
  afterEach(() => twins().release())

  /** A product's results against the cpu's; gives the new kernels and the dispatches it took. */
  async function run(a: Layout, b: Layout, out: Layout, accumulate = false): Promise<[number, number]> {
    const [x, y, z] = [a, b, out].map((l, i) => twins().place('int32', l, randomArray('int32', l.length, i)))
    const { pipelines, dispatches } = twins().gpu.stats
    twins().run([x, y, z], (backend, [p, q, r]) => backend.matmul(p, q, r, accumulate))
    await twins().expectSame(z)
    const after = twins().gpu.stats
    twins().release()
    return [after.pipelines - pipelines, after.dispatches - dispatches]
  }
  const product = (m: number, n: number, k: number, batch: number[] = []): Promise<[number, number]> =>
    run(contiguous([...batch, m, k]), contiguous([...batch, k, n]), contiguous([...batch, m, n]))

  it('kernels are chosen by shape', async () => {
    // Tiles; nearly enough K, one row too many, several tiles, too short a K to be cut.
    expect(await product(9, 9, 32)).toEqual([1, 1])
    expect(await product(8, 40, 31)).toEqual([0, 1])
    expect(await product(40, 70, 511)).toEqual([0, 1])
    // Few rows: as many as a power of two. Few columns that lie apart are the rows of another kernel.
    expect(await product(8, 40, 32)).toEqual([1, 1])
    expect(await product(5, 33, 100)).toEqual([0, 1])
    expect(await product(40, 3, 32)).toEqual([1, 1])
    // Parts of K, and their sums; batches are one more axis to walk, and do without where they fill the device.
    expect(await product(9, 9, 512)).toEqual([2, 2])
    expect(await product(40, 70, 2000)).toEqual([0, 2])
    expect(await product(9, 9, 512, [64])).toEqual([1, 2])
    expect(await product(9, 9, 512, [65])).toEqual([0, 1])
  })

  it('parts of K of batches whose sides repeat, into windows', async () => {
    const [batch, m, n, k] = [3, 10, 12, 1030]
    const a: Layout = {
      shape: [2, batch, m, k],
      strides: [0, m * k, k, 1],
      offset: 2,
      length: batch * m * k + 2,
    }
    const b: Layout = { shape: [2, batch, k, n], strides: [k * n, 0, 1, k], offset: 0, length: 2 * k * n }
    const out: Layout = { shape: [2, batch, m, n], strides: [1, 2, 100, 8], offset: 5, length: 1200 }
    for (const accumulate of [false, true]) expect((await run(a, b, out, accumulate))[1]).toBe(2)
  })
})

/** Sizes, strides and offsets in fours: a software adapter then computes larger tiles in registers. */
describe.each([
  ['with subgroups', true],
  ['without', false],
])('tiles in registers, %s', (_, subgroups) => {
  const twins = useTwins({ fallback: true, subgroups })
  afterEach(() => twins().release())
  const matrix = (rows: number, columns: number, turned: boolean, batch = 0): Layout => {
    // Room between the rows, the columns and the matrices.
    const pitch = 4 * Math.ceil((turned ? rows : columns) / 4) + 4
    const step = pitch * (turned ? columns : rows) + 8
    return {
      shape: batch > 0 ? [batch, rows, columns] : [rows, columns],
      strides: [...(batch > 0 ? [step] : []), ...(turned ? [1, pitch] : [pitch, 1])],
      offset: 4,
      length: 4 + Math.max(1, batch) * step,
    }
  }

  it('every layout, edge and batch, overwriting or adding', async () => {
    for (const [m, n, k, batch] of [
      [24, 16, 4, 0],
      [32, 32, 32, 2],
      [33, 36, 20, 0],
      [45, 44, 8, 3],
    ]) {
      for (const [aTurned, bTurned] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ]) {
        const accumulate = aTurned
        const layouts = [
          matrix(m, k, aTurned, batch),
          matrix(k, n, bTurned, batch),
          matrix(m, n, false, batch),
        ]
        const [a, b, out] = layouts.map((l, i) =>
          twins().place('float32', l, randomArray('float32', l.length, m + i)),
        )
        twins().run([a, b, out], (backend, [p, q, r]) => backend.matmul(p, q, r, accumulate))
        await twins().expectSame(out, { relative: 1e-6, absolute: 1e-6 + 1e-7 * k })
        twins().release()
      }
    }
  })

  it('are chosen by shape and layout', async () => {
    const kernels = (m: number, n: number, k: number, out = contiguous([m, n])): number => {
      const before = twins().gpu.stats.pipelines
      const [a, b, c] = [contiguous([m, k]), contiguous([k, n]), out].map((l) =>
        twins().place('int32', l, randomArray('int32', l.length, 1)),
      )
      twins().run([a, b, c], (backend, [p, q, r]) => backend.matmul(p, q, r, false))
      twins().release()
      return twins().gpu.stats.pipelines - before
    }
    // Of integers, so that all kernels are new. The simple one is the same for all of these: mostly edge, K or N not in fours, an offset, turned results.
    expect(kernels(4, 4, 4)).toBe(1)
    const shifted = contiguous([32, 32], 1)
    const turned = { ...contiguous([32, 32]), strides: [1, 32] }
    for (const count of [
      kernels(8, 16, 4),
      kernels(32, 32, 6),
      kernels(32, 30, 4),
      kernels(32, 32, 4, shifted),
      kernels(32, 32, 4, turned),
    ])
      expect(count).toBe(0)
    expect(kernels(32, 32, 4)).toBe(1)
  })
})
