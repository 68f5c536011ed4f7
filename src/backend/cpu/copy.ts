// Strided copies between views of one dtype: contiguous(), transposes, concatenation, slices.

import type { View } from '../types'
import { bitsOf, bufferOf } from './buffer'
import { collapse, walk } from '../collapse'

type Bits = Int32Array | Float64Array | Uint8Array

/** Rows of a transposed copy handled together, so that each cache line read serves all of them. */
const TILE = 16

/** Copies `from` into `to`; equal shapes and dtypes. They may be the very same window, else must not overlap. */
export function copy(from: View, to: View): void {
  const { shape, strides } = collapse(to.shape, [from.strides, to.strides])
  if (shape[0] === 0) return
  const source = bitsOf(from)
  const target = bitsOf(to)
  const [ss, ts] = strides
  const last = shape.length - 1
  const inner = last < 0 ? 1 : shape[last]
  const si = last < 0 ? 1 : ss[last]
  const ti = last < 0 ? 1 : ts[last]
  if (si === 1 && ti === 1 && inner >= 64) {
    // Both live on the one heap, so a run is moved without making a view of it.
    const bytes = target.BYTES_PER_ELEMENT
    const all = new Uint8Array(source.buffer)
    const fromByte = bufferOf(from).ptr
    const toByte = bufferOf(to).ptr
    walk(shape.slice(0, last), [from.offset, to.offset], [ss, ts], (at) => {
      const begin = fromByte + at[0] * bytes
      all.copyWithin(toByte + at[1] * bytes, begin, begin + inner * bytes)
    })
  } else if (last >= 1 && ti === 1 && Math.abs(ss[last - 1]) < Math.abs(si)) {
    const rows = shape[last - 1]
    const sr = ss[last - 1]
    const tr = ts[last - 1]
    walk(shape.slice(0, last - 1), [from.offset, to.offset], [ss, ts], (at) => {
      for (let r = 0; r < rows; r += TILE) {
        transpose(target, at[1] + r * tr, tr, source, at[0] + r * sr, sr, si, Math.min(TILE, rows - r), inner)
      }
    })
  } else {
    walk(shape.slice(0, Math.max(0, last)), [from.offset, to.offset], [ss, ts], (at) => {
      copyRun(target, at[1], ti, source, at[0], si, inner)
    })
  }
}

function copyRun(target: Bits, t: number, ti: number, source: Bits, s: number, si: number, n: number): void {
  for (let i = 0; i < n; i++, t += ti, s += si) target[t] = source[s]
}

function transpose(
  target: Bits,
  t: number,
  tr: number,
  source: Bits,
  s: number,
  sr: number,
  si: number,
  rows: number,
  columns: number,
): void {
  for (let c = 0; c < columns; c++, t++, s += si) {
    for (let r = 0, tt = t, ss = s; r < rows; r++, tt += tr, ss += sr) target[tt] = source[ss]
  }
}
