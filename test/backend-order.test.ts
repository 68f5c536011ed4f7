// argSort and cumsum: the cpu against plain loops, webgpu against the cpu; any layout, long lines, ties, NaN, denormals.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { DType } from '../src/backend/types'
import { contiguous, layoutOf, noise, offsets, randomArray, shapes } from './support/naive'
import { useTwins } from './support/twins'

const lines = shapes(5, 1)

describe.each([
  ['software', true],
  ['hardware', false],
])('argSort with kernels for %s', (_, fallback) => {
  const twins = useTwins({ fallback })
  afterEach(() => twins().release())

  it('is the same on both devices, in any layout and dtype', async () => {
    const scene = lines.chain((shape) =>
      fc.record({
        input: layoutOf(shape),
        dtype: fc.constantFrom<DType>('float32', 'int32', 'bool'),
        descending: fc.boolean(),
        seed: fc.integer(),
      }),
    )
    await fc.assert(
      fc.asyncProperty(scene, async ({ input, dtype, descending, seed }) => {
        const x = twins().place(dtype, input, randomArray(dtype, input.length, seed))
        const out = twins().place('int32', contiguous(input.shape), new Int32Array(0))
        twins().run([x, out], (b, [p, q]) => b.argSort(descending, p, q))
        await twins().expectSame(out)
        twins().release()
      }),
      // A kernel with workgroup memory takes a software adapter seconds to compile.
      { numRuns: fallback ? 25 : 6 },
    )
  })

  const SPECIAL = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    0,
    -0,
    1e-40,
    2e-40,
    -1e-40,
    1,
    -1,
  ]
  it.each([
    [1, false],
    [2, true],
    [16, false],
    [17, true],
    [257, false],
    // Around blocks of 1,024, and with a run left over in every number of merging passes.
    [1000, true],
    [1024, false],
    [1025, true],
    [2049, false],
    [5000, true],
  ])('orders lines of %i elements as a stable sort does, descending %s', async (n, descending) => {
    const next = noise(n)
    // Many ties.
    const values = Float32Array.from({ length: 3 * n }, (_, i) =>
      i % 3 === 0 ? SPECIAL[Math.floor(((next() + 1) / 2) * SPECIAL.length)] : Math.round(next() * 20),
    )
    const x = twins().place('float32', contiguous([3, n]), values)
    const out = twins().place('int32', contiguous([3, n]), new Int32Array(0))
    twins().run([x, out], (b, [p, q]) => b.argSort(descending, p, q))
    const wanted = [0, 1, 2].flatMap((line) => {
      const key = (i: number): number => values[line * n + i] * (descending ? -1 : 1)
      const rank = (i: number): number => Number(Number.isNaN(key(i)))
      const order = Array.from({ length: n }, (_, i) => i)
      return order.sort(
        (a, b) => rank(a) - rank(b) || (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) || a - b,
      )
    })
    expect(Array.from(twins().cpu.readSync(out.cpu.buffer, 'int32', 0, 3 * n))).toEqual(wanted)
    expect(Array.from(await twins().gpu.read(out.gpu.buffer, 'int32', 0, 3 * n))).toEqual(wanted)
  })
})

describe('cumsum', () => {
  const twins = useTwins()
  afterEach(() => twins().release())

  it('is the same on both devices, in any layout and dtype', async () => {
    const scene = lines.chain((shape) =>
      fc.record({
        input: layoutOf(shape),
        output: layoutOf(shape, true),
        dtype: fc.constantFrom<DType>('float32', 'int32', 'bool'),
        seed: fc.integer(),
      }),
    )
    await fc.assert(
      fc.asyncProperty(scene, async ({ input, output, dtype, seed }) => {
        const x = twins().place(dtype, input, randomArray(dtype, input.length, seed))
        const type = dtype === 'float32' ? dtype : 'int32'
        const out = twins().place(type, output, randomArray(type, output.length, seed + 1))
        twins().run([x, out], (b, [p, q]) => b.cumsum(p, q))
        await twins().expectSame(out, dtype === 'float32' ? { relative: 1e-5, absolute: 1e-5 } : {})
        twins().release()
      }),
      { numRuns: 25 },
    )
  })

  it.each([64, 65, 1000, 10_000])('adds up lines of %i elements', async (n) => {
    const values = randomArray('int32', 2 * n, n)
    const x = twins().place('int32', contiguous([2, n]), values)
    const out = twins().place('int32', contiguous([2, n]), new Int32Array(0))
    twins().run([x, out], (b, [p, q]) => b.cumsum(p, q))
    let sum = 0
    const wanted = offsets(contiguous([2, n])).map((i) => {
      sum = (i % n === 0 ? 0 : sum) + values[i]
      return sum
    })
    expect(Array.from(twins().cpu.readSync(out.cpu.buffer, 'int32', 0, 2 * n))).toEqual(wanted)
    await twins().expectSame(out)
  })

  it('stays precise over long lines', async () => {
    const n = 20_000
    const x = twins().place(
      'float32',
      contiguous([1, n]),
      randomArray('float32', n, 3).map(Math.abs) as Float32Array,
    )
    const out = twins().place('float32', contiguous([1, n]), new Float32Array(0))
    twins().run([x, out], (b, [p, q]) => b.cumsum(p, q))
    await twins().expectSame(out, { relative: 2e-6 })
  })

  it('wraps whole numbers as int32 does', async () => {
    const x = twins().place('int32', contiguous([3]), Int32Array.of(2 ** 31 - 1, 1, 5))
    const out = twins().place('int32', contiguous([3]), new Int32Array(0))
    twins().run([x, out], (b, [p, q]) => b.cumsum(p, q))
    expect(Array.from(twins().cpu.readSync(out.cpu.buffer, 'int32', 0, 3))).toEqual([
      2 ** 31 - 1,
      -(2 ** 31),
      5 - 2 ** 31,
    ])
    await twins().expectSame(out)
  })
})
