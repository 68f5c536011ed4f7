// Map-reduce and argReduce on webgpu against the cpu: any layout, sizes around every way of cutting the work.
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { constant, input, scalar, type ScalarType } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { DType, HostArray, ReduceKind } from '../src/backend/types'
import { contiguous, type Layout, layoutOf, noise, randomArray, shapes } from './support/naive'
import { type Tolerance, useTwins } from './support/twins'

const KINDS: ReduceKind[] = ['sum', 'prod', 'max', 'min']
const TYPE: Record<string, ScalarType> = { float32: 'float', int32: 'int', bool: 'bool' }
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Near 1 for products, so that thousands of factors stay finite; else in [-1, 1). */
function valuesFor(kind: ReduceKind, dtype: DType, n: number, seed: number): HostArray {
  if (kind !== 'prod' || dtype !== 'float32') return randomArray(dtype, n, seed)
  const next = noise(seed)
  return Float32Array.from({ length: n }, () => 1 + next() / 64)
}

/** Rounding of a sum of `inner` values in [-1, 1), whatever the order; the others lose little or nothing. */
function toleranceOf(kind: ReduceKind, dtype: DType, inner: number): Tolerance {
  if (dtype !== 'float32' || kind === 'max' || kind === 'min') return {}
  return kind === 'sum'
    ? { relative: 1e-6, absolute: 1e-6 + 1e-7 * inner }
    : { relative: 1e-6 + 6e-8 * inner }
}

describe.each([
  ['software', true, false],
  ['hardware', false, false],
  ['hardware with subgroups', false, true],
])('kernels for %s', (_, fallback, subgroups) => {
  const twins = useTwins({ fallback, subgroups })
  afterEach(() => twins().release())

  async function check(
    kind: ReduceKind,
    dtype: DType,
    x: Layout,
    outer: number[],
    out: Layout,
    seed: number,
  ): Promise<void> {
    const a = twins().place(dtype, x, valuesFor(kind, dtype, x.length, seed))
    const target = twins().place(dtype, out, randomArray(dtype, out.length, seed + 1))
    const program = new Program([input(0, TYPE[dtype])], 1)
    twins().run([a, target], (b, [v, o]) => b.reduce(kind, program, [v], [], o))
    await twins().expectSame(target, toleranceOf(kind, dtype, size(x.shape.slice(outer.length))))
    twins().release()
  }

  describe.each(KINDS)('%s', (kind) => {
    it('of the inner axes, any layout and dtype', async () => {
      const dtypes: DType[] =
        kind === 'sum' || kind === 'prod' ? ['float32', 'int32'] : ['float32', 'int32', 'bool']
      const scene = shapes(7).chain((shape) =>
        fc.nat(shape.length).chain((split) =>
          fc.record({
            x: layoutOf(shape),
            outer: fc.constant(shape.slice(0, split)),
            out: layoutOf(shape.slice(0, split), true),
            dtype: fc.constantFrom(...dtypes),
            seed: fc.integer(),
          }),
        ),
      )
      await fc.assert(
        fc.asyncProperty(scene, async ({ x, outer, out, dtype, seed }) => {
          fc.pre(size(x.shape.slice(outer.length)) > 0 || kind === 'sum' || kind === 'prod')
          await check(kind, dtype, x, outer, out, seed)
        }),
        { numRuns: 25 },
      )
    })

    // Around blocks of 32 and 64, around where long rows are cut into chunks, and few against many outputs.
    it.each([1, 2, 3, 70, 300, 5000])(
      'of rows of every length, %i of them, in both memory orders',
      async (rows) => {
        const lengths =
          rows > 300
            ? [1, 33, 130]
            : [1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513, 1023, 1025, 2049, 4097]
        for (const n of lengths) {
          if (rows * n > 400_000) continue
          await check(kind, 'float32', contiguous([rows, n]), [rows], contiguous([rows], 1), n)
          const turned: Layout = { shape: [rows, n], strides: [1, rows], offset: 0, length: rows * n }
          await check(kind, 'float32', turned, [rows], contiguous([rows]), n)
        }
      },
    )

    it('of long inner axes that do not collapse, into outputs that do not either', async () => {
      const shape = [2, 3, 19, 5, 23]
      const strides = [1, 2, 6 * 5 * 23, 6, 30]
      const x: Layout = { shape, strides, offset: 0, length: size(shape) }
      const out: Layout = { shape: [2, 3], strides: [1, -2], offset: 4, length: 6 }
      await check(kind, 'float32', x, [2, 3], out, 1)
      await check(kind, 'int32', x, [2, 3], out, 2)
    })

    it('of a million elements', async () => {
      await check(kind, kind === 'prod' ? 'int32' : 'float32', contiguous([1_000_003]), [], contiguous([]), 3)
    })

    it('of a fused program with several inputs, scalars and a broadcast operand', async () => {
      const program = new Program([input(0).mul(scalar(0)).sub(input(1)).mul(input(2, 'bool')).add(1)], 3, 1)
      for (const [rows, n] of [
        [5, 40],
        [3, 1500],
      ]) {
        const ins = [
          twins().place('float32', contiguous([rows, n], 3), valuesFor('sum', 'float32', rows * n + 3, 1)),
          twins().place(
            'float32',
            { shape: [rows, n], strides: [0, 1], offset: 1, length: n + 1 },
            randomArray('float32', n + 1, 2),
          ),
          twins().place(
            'bool',
            { shape: [rows, n], strides: [1, 0], offset: 0, length: rows },
            randomArray('bool', rows, 3),
          ),
        ]
        const out = twins().place('float32', contiguous([rows]), new Float32Array(rows))
        twins().run([...ins, out], (b, [x, y, z, o]) => b.reduce(kind, program, [x, y, z], [0.01], o))
        // Factors away from 1 cancel or overflow: only the order of magnitude of a product is certain.
        await twins().expectSame(
          out,
          kind === 'prod' ? { relative: 1e-3, absolute: 1e-6 } : { relative: 1e-5, absolute: 1e-3 },
        )
      }
    })

    it('of no elements gives the identity, or nothing', async () => {
      const program = new Program([input(0)], 1)
      if (kind === 'sum' || kind === 'prod') {
        const empty = twins().place('float32', contiguous([3, 0]), new Float32Array(0))
        const out = twins().place('float32', contiguous([3], 1), Float32Array.of(5, 5, 5, 5))
        twins().run([empty, out], (b, [x, o]) => b.reduce(kind, program, [x], [], o))
        await twins().expectSame(out)
      }
      const gone = twins().place('float32', contiguous([0, 4]), new Float32Array(0))
      const none = twins().place('float32', contiguous([0]), Float32Array.of(7))
      twins().run([gone, none], (b, [x, o]) => b.reduce(kind, program, [x], [], o))
      await twins().expectSame(none)
    })
  })

  it('has subgroup operations where they are asked for', () => {
    const sources = vi.spyOn(twins().gpu.gpuDevice, 'createShaderModule')
    const x = twins().place('float32', contiguous([2, 100]), randomArray('float32', 200, 1))
    const out = twins().place('float32', contiguous([2]), new Float32Array(2))
    // Of a program that no other test has.
    const program = new Program([input(0).mul(2).cos()], 1)
    twins().gpu.reduce('sum', program, [x.gpu], [], out.gpu)
    expect(sources.mock.calls.map(([{ code }]) => /^enable subgroups;/.test(code))).toEqual([subgroups])
    sources.mockRestore()
  })

  it('equal bits every time', async () => {
    const x = twins().place('float32', contiguous([7, 9001]), randomArray('float32', 7 * 9001, 1))
    const out = twins().place('float32', contiguous([7]), new Float32Array(7))
    const program = new Program([input(0).exp()], 1)
    const seen = new Set<string>()
    for (let i = 0; i < 5; i++) {
      twins().gpu.reduce('sum', program, [x.gpu], [], out.gpu)
      seen.add(String(await twins().gpu.read(out.gpu.buffer, 'float32', 0, 7)))
    }
    expect(seen.size).toBe(1)
  })

  it('a long sum keeps its precision', async () => {
    const n = 2 ** 20
    const x = twins().place(
      'float32',
      { shape: [n], strides: [0], offset: 0, length: 1 },
      Float32Array.of(0.1),
    )
    const out = twins().place('float32', contiguous([]), new Float32Array(1))
    twins().run([x, out], (b, [v, o]) => b.reduce('sum', new Program([input(0)], 1), [v], [], o))
    await twins().expectSame(out, { relative: 2e-5 })
  })

  it('adding into one output from the buffer it lies in', async () => {
    const base = twins().place('float32', contiguous([100]), randomArray('float32', 100, 1))
    const x = twins().window(base, contiguous([9, 10], 10))
    const out = twins().window(base, contiguous([9], 0))
    twins().run([x, out], (b, [v, o]) => b.reduce('max', new Program([input(0)], 1), [v], [], o))
    await twins().expectSame(base)
  })

  describe.each([40, 3000])('rows of %i', (n) => {
    it.each(['max', 'min'] as const)('%s propagates NaN and knows infinities', async (kind) => {
      const host = randomArray('float32', 4 * n, 1) as Float32Array
      host[n - 1] = Number.NaN
      host[n] = Number.POSITIVE_INFINITY
      host[n + 3] = Number.NEGATIVE_INFINITY
      host.fill(Number.NEGATIVE_INFINITY, 2 * n, 3 * n)
      host.fill(Number.POSITIVE_INFINITY, 3 * n, 4 * n)
      const x = twins().place('float32', contiguous([4, n]), host)
      const out = twins().place('float32', contiguous([4]), new Float32Array(4))
      twins().run([x, out], (b, [v, o]) => b.reduce(kind, new Program([input(0)], 1), [v], [], o))
      await twins().expectSame(out)
      const where = twins().place('int32', contiguous([4]), new Int32Array(4))
      twins().run([x, where], (b, [v, o]) => b.argReduce(kind, v, o))
      await twins().expectSame(where)
    })
  })

  describe.each(['max', 'min'] as const)('argReduce %s', (kind) => {
    it('any layout and dtype; few distinct values, so that ties are many', async () => {
      const scene = shapes(6, 1).chain((shape) =>
        fc.record({
          x: layoutOf(shape),
          out: layoutOf(shape.slice(0, -1), true),
          dtype: fc.constantFrom<DType>('float32', 'int32', 'bool'),
          seed: fc.integer(),
        }),
      )
      await fc.assert(
        fc.asyncProperty(scene, async ({ x, out, dtype, seed }) => {
          fc.pre(x.shape[x.shape.length - 1] > 0)
          const host = randomArray(dtype, x.length, seed).map((v) =>
            dtype === 'float32' ? Math.round(v * 2) : v % 3,
          )
          const a = twins().place(dtype, x, host as HostArray)
          const target = twins().place('int32', out, new Int32Array(out.length).fill(-5))
          twins().run([a, target], (b, [v, o]) => b.argReduce(kind, v, o))
          await twins().expectSame(target)
          twins().release()
        }),
        { numRuns: 30 },
      )
    })

    it.each([
      [1, 70_000],
      [3, 5000],
      [64, 513],
      [5000, 7],
    ])('%i rows of %i, with ties and NaN', async (rows, n) => {
      for (const nan of [false, true]) {
        const host = Float32Array.from(randomArray('float32', rows * n, n), (v, i) =>
          nan && i % 4099 === 4000 ? Number.NaN : Math.round(v * 20),
        )
        const out = twins().place('int32', contiguous([rows]), new Int32Array(rows))
        const x = twins().place('float32', contiguous([rows, n]), host)
        twins().run([x, out], (b, [v, o]) => b.argReduce(kind, v, o))
        await twins().expectSame(out)
      }
    })

    it('does not tell -0 from 0 and takes the first of equals', async () => {
      const x = twins().place('float32', contiguous([2, 3]), Float32Array.of(-0, 0, -0, 0, -0, 0))
      const out = twins().place('int32', contiguous([2]), Int32Array.of(9, 9))
      twins().run([x, out], (b, [v, o]) => b.argReduce(kind, v, o))
      expect([...(await twins().gpu.read(out.gpu.buffer, 'int32', 0, 2))]).toEqual([0, 0])
    })
  })

  it('integers at the ends of their range', async () => {
    const ends = Int32Array.of(
      -(2 ** 31),
      2 ** 31 - 1,
      0,
      -(2 ** 31),
      -(2 ** 31),
      -(2 ** 31),
      2 ** 31 - 1,
      2 ** 31 - 1,
      2 ** 31 - 1,
    )
    for (const kind of KINDS) {
      const x = twins().place('int32', contiguous([3, 3]), ends)
      const out = twins().place('int32', contiguous([3]), new Int32Array(3))
      twins().run([x, out], (b, [v, o]) => b.reduce(kind, new Program([input(0, 'int')], 1), [v], [], o))
      await twins().expectSame(out)
    }
  })

  it('a program without inputs reduces over its output alone', async () => {
    const out = twins().place('float32', contiguous([4]), new Float32Array(4))
    twins().run([out], (b, [o]) => b.reduce('sum', new Program([constant(2.5)], 0), [], [], o))
    await twins().expectSame(out)
  })

  it('the output may have another dtype than the inputs', async () => {
    const x = twins().place('int32', contiguous([5, 700]), randomArray('int32', 3500, 1))
    const any = twins().place('bool', contiguous([5]), new Uint8Array(5))
    twins().run([x, any], (b, [v, o]) =>
      b.reduce('max', new Program([input(0, 'int').asBool()], 1), [v], [], o),
    )
    await twins().expectSame(any)
    const count = twins().place('int32', contiguous([5]), new Int32Array(5))
    const flags = twins().place('bool', contiguous([5, 700]), randomArray('bool', 3500, 1))
    twins().run([flags, count], (b, [v, o]) =>
      b.reduce('sum', new Program([input(0, 'bool').cast('int')], 1), [v], [], o),
    )
    await twins().expectSame(count)
  })
})
