// Random fills; the scheme is documented at `RandomKind`. Every element depends on its own position only.

import type { HostArray, RandomKind, View } from '../types'
import { count } from '../collapse'
import { arrayOf, bufferOf } from './buffer'
import { wasmBernoulli } from './wasm/random'

const TWO_POW_M24 = 2 ** -24

/** Elements below which WASM is not worth a call. */
const SMALLEST = 64

/** Words are drawn this many at a time. */
const WORDS = 1024

/** See `Backend.random`. */
export function random(kind: RandomKind, seed: number, stream: number, output: View): void {
  const out = arrayOf(output)
  const n = count(output.shape)
  const words = new Int32Array(WORDS)
  const normal = kind.kind === 'normal'
  // An element takes half a block of two words, a normal one a whole block.
  const perBatch = normal ? WORDS / 2 : WORDS
  let drawn = 0
  if (kind.kind === 'bernoulli' && output.dtype === 'bool' && n >= SMALLEST) {
    const { heap, ptr } = bufferOf(output)
    drawn = wasmBernoulli(heap, kind.p, seed, stream, ptr + output.offset, n)
  }
  for (let done = drawn; done < n; done += perBatch) {
    const size = Math.min(perBatch, n - done)
    const blocks = normal ? size : (size + 1) >> 1
    const first = normal ? done : done / 2
    for (let i = 0; i < blocks; i++) threefry(seed, stream, first + i, normal ? 1 : 0, words, 2 * i)
    convert(kind, words, out, output.offset + done, size)
  }
}

/** Makes n elements of random words. */
function convert(kind: RandomKind, words: Int32Array, out: HostArray, o: number, n: number): void {
  switch (kind.kind) {
    case 'uniform':
      for (let i = 0; i < n; i++) out[o + i] = (words[i] >>> 8) * TWO_POW_M24
      return
    case 'bernoulli': {
      const p = Math.fround(kind.p)
      for (let i = 0; i < n; i++) out[o + i] = Number((words[i] >>> 8) * TWO_POW_M24 < p)
      return
    }
    case 'int': {
      const { low } = kind
      const range = kind.high - low
      for (let i = 0; i < n; i++) {
        // word * range / 2^32 in two halves: a double holds 53 bits, the product may need 64.
        const high = (words[i] >>> 16) * range
        const rest = Math.floor(((words[i] & 0xffff) * range) / 65_536)
        out[o + i] = low + Math.floor((high + rest) / 65_536)
      }
      return
    }
    case 'normal':
      for (let i = 0; i < n; i++) {
        const u = ((words[2 * i] >>> 8) + 1) * TWO_POW_M24
        const v = (words[2 * i + 1] >>> 8) * TWO_POW_M24
        out[o + i] = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)
      }
      return
    default:
      kind satisfies never
  }
}

/**
 * threefry2x32 of backend/threefry.ts with its loop unrolled and no pair allocated, for the millions of draws of a
 * dropout mask; the tests hold the two together. Leaves the words at `out[at]`.
 */
function threefry(k0: number, k1: number, c0: number, c1: number, out: Int32Array, at: number): void {
  const k2 = 0x1bd11bda ^ k0 ^ k1
  let x = (c0 + k0) | 0
  let y = (c1 + k1) | 0
  x = (x + y) | 0
  y = ((y << 13) | (y >>> 19)) ^ x
  x = (x + y) | 0
  y = ((y << 15) | (y >>> 17)) ^ x
  x = (x + y) | 0
  y = ((y << 26) | (y >>> 6)) ^ x
  x = (x + y) | 0
  y = ((y << 6) | (y >>> 26)) ^ x
  x = (x + k1) | 0
  y = (y + k2 + 1) | 0
  x = (x + y) | 0
  y = ((y << 17) | (y >>> 15)) ^ x
  x = (x + y) | 0
  y = ((y << 29) | (y >>> 3)) ^ x
  x = (x + y) | 0
  y = ((y << 16) | (y >>> 16)) ^ x
  x = (x + y) | 0
  y = ((y << 24) | (y >>> 8)) ^ x
  x = (x + k2) | 0
  y = (y + k0 + 2) | 0
  x = (x + y) | 0
  y = ((y << 13) | (y >>> 19)) ^ x
  x = (x + y) | 0
  y = ((y << 15) | (y >>> 17)) ^ x
  x = (x + y) | 0
  y = ((y << 26) | (y >>> 6)) ^ x
  x = (x + y) | 0
  y = ((y << 6) | (y >>> 26)) ^ x
  x = (x + k0) | 0
  y = (y + k1 + 3) | 0
  x = (x + y) | 0
  y = ((y << 17) | (y >>> 15)) ^ x
  x = (x + y) | 0
  y = ((y << 29) | (y >>> 3)) ^ x
  x = (x + y) | 0
  y = ((y << 16) | (y >>> 16)) ^ x
  x = (x + y) | 0
  y = ((y << 24) | (y >>> 8)) ^ x
  x = (x + k1) | 0
  y = (y + k2 + 4) | 0
  x = (x + y) | 0
  y = ((y << 13) | (y >>> 19)) ^ x
  x = (x + y) | 0
  y = ((y << 15) | (y >>> 17)) ^ x
  x = (x + y) | 0
  y = ((y << 26) | (y >>> 6)) ^ x
  x = (x + y) | 0
  y = ((y << 6) | (y >>> 26)) ^ x
  x = (x + k2) | 0
  y = (y + k0 + 5) | 0
  out[at] = x
  out[at + 1] = y
}
