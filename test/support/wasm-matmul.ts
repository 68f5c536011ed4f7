// What the WASM matrix product is held to, whatever instructions it is made of: the TypeScript kernels, over shapes
// that straddle its tiles, blocks and thresholds, and its own bits.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../../src/backend/cpu'
import { matmul } from '../../src/backend/cpu/matmul'
import { wasmMatmul } from '../../src/backend/cpu/wasm/matmul'
import type { View } from '../../src/backend/types'
import { contiguous, type Layout, layoutOf, place, randomArray, valuesOf } from './naive'
import { withThreads } from './threads'

const backend = await withThreads(new CpuBackend())

/** The product of random operands by both kernels must agree to float32 rounding. */
async function agree(a: Layout, b: Layout, out: Layout, accumulate: boolean, seed: number): Promise<void> {
  const put = (layout: Layout, i: number): View =>
    place(backend, 'float32', layout, randomArray('float32', layout.length, seed + i))
  const x = put(a, 0)
  const y = put(b, 1)
  const fast = put(out, 2)
  const slow = put(out, 2)
  expect(wasmMatmul(x, y, fast, accumulate)).toBe(true)
  matmul(x, y, slow, accumulate)
  const [actual, expected] = [await valuesOf(backend, fast), await valuesOf(backend, slow)]
  const k = a.shape[a.shape.length - 1]
  const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  const tolerance = 2e-6 * (largest + Math.sqrt(k))
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance)) {
      const shapes = `${JSON.stringify(a)} @ ${JSON.stringify(b)} -> ${JSON.stringify(out)}`
      expect.fail(`element ${i} of ${shapes}: ${actual[i]}, expected ${expected[i]}`)
    }
  }
  // Whatever lies between the elements of the output is left alone.
  const raw = [fast, slow].map((v) => backend.readSync(v.buffer, 'float32', 0, out.length) as Float32Array)
  const touched = new Set(indices(out))
  for (let i = 0; i < out.length; i++) if (!touched.has(i)) expect(raw[0][i]).toBe(raw[1][i])
  for (const v of [x, y, fast, slow]) backend.free(v.buffer)
}

function indices({ shape, strides, offset }: Layout): number[] {
  return shape.reduce(
    (all, size, d) => all.flatMap((o) => Array.from({ length: size }, (_, i) => o + i * strides[d])),
    [offset],
  )
}

function turned(rows: number, columns: number): Layout {
  return { shape: [rows, columns], strides: [1, rows], offset: 0, length: rows * columns }
}

/** Rows that lie apart, from an odd place on: nothing is aligned. */
function spaced(rows: number, columns: number): Layout {
  return {
    shape: [rows, columns],
    strides: [columns + 3, 1],
    offset: 5,
    length: 5 + rows * (columns + 3),
  }
}

const random = (length: number, seed: number): Float32Array =>
  randomArray('float32', length, seed) as Float32Array
const matrix = (rows: number, columns: number, values: Float32Array): View =>
  place(backend, 'float32', contiguous([rows, columns]), values)

export function describeWasmMatmul(title: string): void {
  describe(title, () => {
    it('small products of any shape, strides, offsets and batches, overwriting and adding', async () => {
      const dim = fc.integer({ min: 1, max: 19 })
      const scene = fc
        .record({ batch: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }), m: dim, n: dim, k: dim })
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
        fc.asyncProperty(scene, (s) => agree(s.a, s.b, s.out, s.accumulate, s.seed)),
        { numRuns: 300 },
      )
    })

    it('every transposition around the edges of tiles, blocks and thresholds', async () => {
      const rows = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 31, 32, 33, 35, 257, 300)
      const columns = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65, 511, 513, 530)
      const depth = fc.constantFrom(1, 2, 3, 4, 5, 255, 256, 257, 260, 515, 1024, 1027)
      const layout = fc.constantFrom(packed, turned, spaced)
      const scene = fc
        .record({ m: rows, n: columns, k: depth, a: layout, b: layout, out: layout })
        .filter(({ m, n, k }) => m * n * k < 2e7)
      await fc.assert(
        fc.asyncProperty(scene, fc.boolean(), ({ m, n, k, a, b, out }, accumulate) =>
          agree(a(m, k), b(k, n), out(m, n), accumulate, m + n + k),
        ),
        { numRuns: 120 },
      )
    })

    it('a batch that shares an operand, folded into rows or not', async () => {
      const shared = (r: number, c: number): Layout => ({
        shape: [3, r, c],
        strides: [0, c, 1],
        offset: 0,
        length: r * c,
      })
      await agree(contiguous([3, 5, 40]), shared(40, 33), contiguous([3, 5, 33]), false, 1)
      await agree(shared(5, 40), contiguous([3, 40, 33]), contiguous([3, 5, 33]), true, 2)
    })

    it('gives the same bits every time, and the same wherever the output is divided', () => {
      const [m, n, k] = [70, 88, 600]
      const a = random(m * k, 1)
      const b = random(k * n, 2)
      const whole = multiply(a, b, m, n, k)
      expect(multiply(a, b, m, n, k)).toEqual(whole)
      for (const rows of [1, 7, 33, 64]) {
        const top = multiply(a.slice(0, rows * k), b, rows, n, k)
        const rest = multiply(a.slice(rows * k), b, m - rows, n, k)
        expect([...top, ...rest]).toEqual([...whole])
      }
      const left = multiply(a, columnsOf(b, n, 0, 40), m, 40, k)
      expect([...left]).toEqual([...columnsOf(whole, n, 0, 40)])
    })

    it('NaN and infinities reach exactly the elements that depend on them', () => {
      const a = new Float32Array(9 * 11).fill(1)
      a[2 * 11 + 3] = Number.NaN
      a[5 * 11 + 10] = Number.POSITIVE_INFINITY
      const b = new Float32Array(11 * 10).fill(1)
      b[10 * 10 + 9] = 0
      const c = multiply(a, b, 9, 10, 11)
      c.forEach((v, i) => {
        const [row, column] = [Math.floor(i / 10), i % 10]
        if (row === 2) expect(v).toBeNaN()
        else if (row === 5) expect(v).toBe(column === 9 ? Number.NaN : Number.POSITIVE_INFINITY)
        else expect(v).toBe(column === 9 ? 10 : 11)
      })
    })
  })
}

function packed(rows: number, columns: number): Layout {
  return contiguous([rows, columns])
}

function columnsOf(x: Float32Array, width: number, from: number, to: number): Float32Array {
  return x.filter((_, i) => i % width >= from && i % width < to)
}

function multiply(a: Float32Array, b: Float32Array, m: number, n: number, k: number): Float32Array {
  const [x, y, out] = [matrix(m, k, a), matrix(k, n, b), matrix(m, n, new Float32Array(m * n))]
  expect(wasmMatmul(x, y, out, false)).toBe(true)
  const values = backend.readSync(out.buffer, 'float32', 0, m * n) as Float32Array
  for (const v of [x, y, out]) backend.free(v.buffer)
  return values
}
