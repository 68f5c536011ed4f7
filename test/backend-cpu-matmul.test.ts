// Matrix products on the cpu against three plain loops: any strides, batches, edges of tiles and stretches.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { contiguous, type Layout, layoutOf, offsets, place, randomArray, valuesOf } from './support/naive'
import { withThreads } from './support/threads'

const wasm = await withThreads(new CpuBackend())
/** Without WebAssembly's memory, float32 is multiplied by the TypeScript kernels too. */
const plain = new CpuBackend({ plain: true })
type Float = 'float32' | 'float64'

/** Multiplies and compares with the sum of products in float64. */
async function check(
  backend: CpuBackend,
  dtype: Float,
  a: Layout,
  b: Layout,
  out: Layout,
  accumulate: boolean,
  seed: number,
): Promise<void> {
  const hosts = [a, b, out].map((l, i) => randomArray(dtype, l.length, seed + i))
  const views = [a, b, out].map((l, i) => place(backend, dtype, l, hosts[i]))
  backend.matmul(views[0], views[1], views[2], accumulate)
  const actual = await valuesOf(backend, views[2])
  const [x, y, z] = [a, b, out].map((l, v) => offsets(l).map((o) => hosts[v][o]))
  const [m, k] = a.shape.slice(-2)
  const n = b.shape[b.shape.length - 1]
  const tolerance = dtype === 'float32' ? 1e-6 : 1e-14
  for (let i = 0; i < z.length; i++) {
    const matrix = Math.floor(i / (m * n))
    const row = Math.floor(i / n) % m
    let sum = accumulate ? z[i] : 0
    let size = Math.abs(sum)
    for (let p = 0; p < k; p++) {
      const term = x[(matrix * m + row) * k + p] * y[(matrix * k + p) * n + (i % n)]
      sum += term
      size += Math.abs(term)
    }
    if (!(Math.abs(actual[i] - sum) <= tolerance * size))
      expect.fail(`element ${i}: ${actual[i]}, expected ${sum}`)
  }
  for (const v of views) backend.free(v.buffer)
}

describe.each<[string, Float, CpuBackend]>([
  ['float32', 'float32', wasm],
  ['float32 without WebAssembly', 'float32', plain],
  ['float64', 'float64', wasm],
])('%s', (_, dtype, backend) => {
  it('any small sizes, batches and layouts, also overwriting or adding to the output', async () => {
    const dim = fc.oneof(
      { weight: 1, arbitrary: fc.constant(0) },
      { weight: 9, arbitrary: fc.integer({ min: 1, max: 11 }) },
    )
    const scene = fc
      .record({ batch: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }), m: dim, n: dim, k: dim })
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
      fc.asyncProperty(scene, ({ a, b, out, accumulate, seed }) =>
        check(backend, dtype, a, b, out, accumulate, seed),
      ),
      { numRuns: 200 },
    )
  })

  it.each([
    [17, 33, 1000],
    [4, 4, 385],
    [5, 600, 384],
    [70, 9, 769],
    [1, 50, 800],
    [50, 1, 800],
    [3, 3, 1025],
    [300, 3, 70],
    [64, 64, 1],
    [130, 1030, 520],
    [1030, 5, 300],
    [5, 9, 5000],
    [150, 150, 4200],
    [9, 1101, 40],
    [701, 301, 300],
  ])('%i x %i, K = %i, with each operand transposed or not', async (m, n, k) => {
    const turned = (rows: number, columns: number): Layout => ({
      shape: [rows, columns],
      strides: [1, rows],
      offset: 0,
      length: rows * columns,
    })
    const large = m * n * k > 3e6
    for (const a of large ? [contiguous([m, k])] : [contiguous([m, k]), turned(m, k)]) {
      for (const b of large ? [turned(k, n)] : [contiguous([k, n]), turned(k, n)]) {
        await check(backend, dtype, a, b, contiguous([m, n]), false, m + n)
        if (!large) await check(backend, dtype, a, b, turned(m, n), true, m + n)
      }
    }
  })
})

it('shares a matrix over batches, as a broadcast operand on either side', async () => {
  const shared = (rows: number, columns: number, batch: number[]): Layout => ({
    shape: [...batch, rows, columns],
    strides: [...batch.map(() => 0), columns, 1],
    offset: 0,
    length: rows * columns,
  })
  await check(
    wasm,
    'float32',
    contiguous([2, 3, 5, 7]),
    shared(7, 6, [2, 3]),
    contiguous([2, 3, 5, 6]),
    false,
    1,
  )
  await check(
    wasm,
    'float32',
    shared(5, 7, [2, 3]),
    contiguous([2, 3, 7, 6]),
    contiguous([2, 3, 5, 6]),
    false,
    1,
  )
  // Rows that are not evenly spaced over the batch cannot be folded into one product.
  const spaced: Layout = { shape: [3, 5, 7], strides: [40, 7, 1], offset: 0, length: 120 }
  await check(wasm, 'float32', spaced, shared(7, 6, [3]), contiguous([3, 5, 6]), true, 1)
})

it('a K of 0 clears the output, or leaves it when accumulating', async () => {
  await check(wasm, 'float32', contiguous([5, 0]), contiguous([0, 6]), contiguous([5, 6]), false, 1)
  await check(wasm, 'float32', contiguous([5, 0]), contiguous([0, 6]), contiguous([5, 6]), true, 1)
})

it('TypeScript kernels sum float32 products with float64 accumulators, rounding once', async () => {
  const k = 900
  const a = randomArray('float32', 4 * k, 1)
  const b = randomArray('float32', 4 * k, 2)
  const views = [
    place(plain, 'float32', contiguous([4, k]), a),
    place(plain, 'float32', { shape: [k, 4], strides: [1, k], offset: 0, length: 4 * k }, b),
  ]
  const out = place(plain, 'float32', contiguous([4, 4]), new Float32Array(16))
  plain.matmul(views[0], views[1], out, false)
  const expected = Array.from({ length: 16 }, (_, i) => {
    let sum = 0
    for (let p = 0; p < k; p++) sum += a[(i >> 2) * k + p] * b[(i & 3) * k + p]
    return Math.fround(sum)
  })
  expect(await valuesOf(plain, out)).toEqual(expected)
})

it('NaN and infinity reach exactly the elements that depend on them', async () => {
  const a = randomArray('float32', 36, 1)
  a[6 * 2 + 3] = Number.NaN
  const views = [
    place(wasm, 'float32', contiguous([6, 6]), a),
    place(wasm, 'float32', contiguous([6, 6]), randomArray('float32', 36, 2)),
  ]
  const out = place(wasm, 'float32', contiguous([6, 6]), new Float32Array(36))
  wasm.matmul(views[0], views[1], out, false)
  const values = await valuesOf(wasm, out)
  values.forEach((v, i) => {
    expect(Number.isNaN(v)).toBe(Math.floor(i / 6) === 2)
  })
})
