// Random fills; the scheme is documented at `RandomKind`. Every element depends on its own position only.

import type { RandomKind, View } from '../types'
import { arrayOf } from './buffer'
import { count } from './collapse'

const TWO_POW_M24 = 2 ** -24

/** See `Backend.random`. */
export function random(kind: RandomKind, seed: number, stream: number, output: View): void {
  const out = arrayOf(output)
  const n = count(output.shape)
  const begin = output.offset
  const words = new Int32Array(2)
  if (kind.kind === 'normal') {
    for (let i = 0; i < n; i++) {
      threefry(seed, stream, i, 1, words)
      const u = ((words[0] >>> 8) + 1) * TWO_POW_M24
      const v = (words[1] >>> 8) * TWO_POW_M24
      out[begin + i] = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)
    }
    return
  }
  const value = meaningOf(kind)
  for (let i = 0; i < n; i += 2) {
    threefry(seed, stream, i >>> 1, 0, words)
    out[begin + i] = value(words[0])
    if (i + 1 < n) out[begin + i + 1] = value(words[1])
  }
}

/** What the bits of a random word stand for. */
function meaningOf(kind: Exclude<RandomKind, { kind: 'normal' }>): (word: number) => number {
  switch (kind.kind) {
    case 'uniform':
      return (word) => (word >>> 8) * TWO_POW_M24
    case 'bernoulli': {
      const p = Math.fround(kind.p)
      return (word) => ((word >>> 8) * TWO_POW_M24 < p ? 1 : 0)
    }
    case 'int': {
      const { low } = kind
      const range = kind.high - low
      return (word) => {
        // word * range / 2^32 in two halves: a double holds 53 bits, the product may need 64.
        const high = (word >>> 16) * range
        const rest = Math.floor(((word & 0xffff) * range) / 65_536)
        return low + Math.floor((high + rest) / 65_536)
      }
    }
    default:
      return kind satisfies never
  }
}

/**
 * threefry2x32 of backend/threefry.ts with its loop unrolled and no pair allocated, for the millions of draws of a
 * dropout mask; the tests hold the two together. Leaves the words in `out`.
 */
function threefry(k0: number, k1: number, c0: number, c1: number, out: Int32Array): void {
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
  out[0] = x
  out[1] = y
}
