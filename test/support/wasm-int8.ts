// What the int8 products are held to, whatever instructions they are made of: sums in a plain loop, bit for bit, over
// shapes that straddle tiles and blocks, the ends of the range included.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../../src/backend/cpu'
import { matmulInt8 } from '../../src/backend/cpu/matmul-int8'
import { wasmMatmulInt8 } from '../../src/backend/cpu/wasm/matmul-int8'
import { packPanels, packRows, panelShape, quadsOf } from '../../src/backend/int8'
import type { View } from '../../src/backend/types'
import { contiguous, noise, place } from './naive'

/** `ends`: only the smallest and the largest. */
export type Values = 'any' | 'ends'

interface Scene {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly sevenBits: boolean
  readonly values: Values
}

/** Rows of a and of the transpose of b. */
function operands({ m, n, k, sevenBits, values }: Scene): [a: Int8Array, b: Int8Array] {
  const next = noise(m + 3 * n + 5 * k)
  const make = (count: number, lowest: number): Int8Array =>
    Int8Array.from({ length: count }, () => {
      const u = (next() + 1) / 2
      if (values === 'ends') return u < 0.5 ? lowest : 127
      return lowest + Math.floor(u * (128 - lowest))
    })
  return [make(m * k, sevenBits ? 0 : -128), make(n * k, -128)]
}

function expected(a: Int8Array, b: Int8Array, { m, n, k }: Scene): Int32Array {
  const out = new Int32Array(m * n)
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let p = 0; p < k; p++) out[i * n + j] += a[i * k + p] * b[j * k + p]
    }
  }
  return out
}

/** Views of the packed operands and of an output that holds -1. */
export function views(backend: CpuBackend, a: Int8Array, b: Int8Array, { m, n, k }: Scene): View[] {
  const put = (words: Int32Array, shape: readonly number[]): View =>
    place(backend, 'int32', contiguous(shape), words)
  return [
    put(packRows(a, m, k), [m, quadsOf(k)]),
    put(packPanels(b, n, k), panelShape(k, n)),
    put(new Int32Array(m * n).fill(-1), [m, n]),
  ]
}

export function read(backend: CpuBackend, { buffer, shape }: View): Int32Array {
  return backend.readSync(buffer, 'int32', 0, shape[0] * shape[1]) as Int32Array
}

const dim = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23)
const small = fc.record({ m: dim, n: dim, k: dim })
/** Around the blocks of rows, columns and K. */
const large = fc
  .record({
    m: fc.constantFrom(1, 5, 95, 96, 97, 101),
    n: fc.constantFrom(1, 8, 511, 512, 513, 521),
    k: fc.constantFrom(4, 31, 1021, 1024, 1025, 2049),
  })
  .filter(({ m, n, k }) => m * n * k < 2e7)
const kind = fc.record({ sevenBits: fc.boolean(), values: fc.constantFrom<Values>('any', 'ends') })

export function describeWasmInt8(title: string): void {
  describe(title, () => {
    it.each([
      ['small products', small, 300],
      ['products of several blocks', large, 40],
    ])('%s are exact', (_, shapes, numRuns) => {
      const backend = new CpuBackend()
      fc.assert(
        fc.property(shapes, kind, (sizes, options) => {
          const scene = { ...sizes, ...options }
          const [a, b] = operands(scene)
          const [x, y, out] = views(backend, a, b, scene)
          expect(wasmMatmulInt8(x, y, out, scene.sevenBits)).toBe(true)
          expect(read(backend, out)).toEqual(expected(a, b, scene))
          for (const view of [x, y, out]) backend.free(view.buffer)
        }),
        { numRuns },
      )
    })

    it('rows that lie apart: nothing between them is read or written', () => {
      const backend = new CpuBackend()
      for (const sevenBits of [false, true]) {
        const scene: Scene = { m: 7, n: 11, k: 13, sevenBits, values: 'any' }
        const [a, b] = operands(scene)
        const [x, y] = views(backend, a, b, scene)
        const spread = (view: View, width: number): View => {
          const [rows, columns] = view.shape
          const apart = place(backend, 'int32', contiguous([rows, width + 3], 5), new Int32Array(0))
          const words = backend.readSync(view.buffer, 'int32', 0, rows * columns) as Int32Array
          const all = new Int32Array(5 + rows * (width + 3)).fill(0x7f7f7f7f)
          for (let i = 0; i < rows * columns; i++) {
            all[5 + Math.floor(i / columns) * (width + 3) + (i % columns)] = words[i]
          }
          backend.write(apart.buffer, 'int32', all, 0)
          return { ...apart, shape: view.shape, strides: [width + 3, 1], offset: 5 }
        }
        const out = spread(place(backend, 'int32', contiguous([7, 11]), new Int32Array(77)), 11)
        expect(wasmMatmulInt8(spread(x, 4), y, out, sevenBits)).toBe(true)
        const all = backend.readSync(out.buffer, 'int32', 0, 5 + 7 * 14) as Int32Array
        const sums = expected(a, b, scene)
        all.forEach((v, i) => {
          const [row, column] = [Math.floor((i - 5) / 14), (i - 5) % 14]
          expect(v).toBe(i >= 5 && column < 11 ? sums[row * 11 + column] : 0x7f7f7f7f)
        })
      }
    })

    it('any division of rows, and of columns at panels, gives the same', () => {
      const backend = new CpuBackend()
      const scene: Scene = { m: 29, n: 40, k: 70, sevenBits: true, values: 'any' }
      const [a, b] = operands(scene)
      const [x, y, out] = views(backend, a, b, scene)
      for (const [top, left] of [
        [1, 8],
        [13, 24],
        [28, 32],
      ]) {
        for (const [from, to] of [
          [0, top],
          [top, 29],
        ]) {
          for (const [first, end] of [
            [0, left],
            [left, 40],
          ]) {
            const rows = { ...x, shape: [to - from, x.shape[1]], offset: from * x.strides[0] }
            const panels = {
              ...y,
              shape: [(end - first) / 8, ...y.shape.slice(1)],
              offset: (first / 8) * y.strides[0],
            }
            const part = { ...out, shape: [to - from, end - first], offset: from * 40 + first }
            wasmMatmulInt8(rows, panels, part, true)
          }
        }
        expect(read(backend, out)).toEqual(expected(a, b, scene))
      }
    })

    it('the TypeScript kernel, which serves where WASM may not be compiled, gives the same', () => {
      const plain = new CpuBackend({ plain: true })
      fc.assert(
        fc.property(small, kind, (sizes, options) => {
          const scene = { ...sizes, ...options }
          const [a, b] = operands(scene)
          const [x, y, out] = views(plain, a, b, scene)
          expect(wasmMatmulInt8(x, y, out, scene.sevenBits)).toBe(false)
          plain.matmulInt8(x, y, out, scene.sevenBits)
          expect(read(plain, out)).toEqual(expected(a, b, scene))
          for (const view of [x, y, out]) plain.free(view.buffer)
        }),
        { numRuns: 50 },
      )
    })

    it('sums beyond int32 wrap, alike in both kernels', () => {
      const backend = new CpuBackend()
      const scene: Scene = { m: 1, n: 1, k: 140_000, sevenBits: false, values: 'ends' }
      const low = new Int8Array(scene.k).fill(-128)
      const [x, y, out] = views(backend, low, low, scene)
      const wrapped = (scene.k * 128 * 128) | 0
      expect(wrapped).toBeLessThan(0)
      wasmMatmulInt8(x, y, out, false)
      expect([...read(backend, out)]).toEqual([wrapped])
      matmulInt8(x, y, out)
      expect([...read(backend, out)]).toEqual([wrapped])
    })
  })
}
