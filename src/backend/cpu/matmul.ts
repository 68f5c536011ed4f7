// Matrix products with double accumulators.
//
// The scheme is that of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008), in
// scalar JavaScript: both operands are packed into float64 panels four rows (or columns) wide, which takes any
// strides and spares the inner loop the conversion from float32, and a 4x4 tile of local variables is summed
// over a stretch of K short enough for its panels to stay in the first-level cache. Thin products, where
// packing would cost more than it saves, are computed directly.

import type { View } from '../types'
import { arrayOf } from './buffer'
import { walk } from '../collapse'
import { type Matrix, thin, transposed } from './thin'
import { BEGIN_A, BEGIN_B, BEGIN_C, clear, pack, SIZE_A, SIZE_B, SIZE_C, TILE, tile, unload } from './tile'

/** K is summed in stretches of this many, so that a panel takes 12 KiB. */
const STRETCH = 384
/** The longest K packed at once; it leaves room for 32 rows and 128 columns. */
const LONGEST = 4096
/** The most columns packed at once; it leaves room for the sums of 128 rows. */
const WIDEST = 1024

/** See `Backend.matmul`. */
export function matmul(a: View, b: View, out: View, accumulate: boolean): void {
  const x = matrixOf(a)
  const y = matrixOf(b)
  const z = matrixOf(out)
  const n = out.shape[out.shape.length - 1]
  const k = a.shape[a.shape.length - 1]
  eachProduct(a, b, out, (at, m) => {
    x.offset = at[0]
    y.offset = at[1]
    z.offset = at[2]
    product(x, y, z, m, n, k, accumulate)
  })
}

/**
 * Calls `multiply` for each product of a batch, with the offsets of its three matrices and its number of rows; batch
 * entries that share B are more rows of one product, where A and the output lie that way.
 */
export function eachProduct(
  a: View,
  b: View,
  out: View,
  multiply: (at: readonly number[], m: number) => void,
): void {
  if (out.shape.includes(0)) return
  const rank = out.shape.length
  let m = out.shape[rank - 2]
  let axes = rank - 2
  for (; axes > 0; axes--) {
    const d = axes - 1
    const folds =
      b.strides[d] === 0 &&
      a.strides[d] === a.strides[rank - 2] * m &&
      out.strides[d] === out.strides[rank - 2] * m
    if (out.shape[d] !== 1 && !folds) break
    m *= out.shape[d]
  }
  const offsets = [a.offset, b.offset, out.offset]
  if (axes === 0) multiply(offsets, m)
  else walk(out.shape.slice(0, axes), offsets, [a.strides, b.strides, out.strides], (at) => multiply(at, m))
}

/** The first matrix of a batch. */
function matrixOf(view: View): Matrix {
  const rank = view.shape.length
  return {
    data: arrayOf(view),
    offset: view.offset,
    row: view.strides[rank - 2],
    column: view.strides[rank - 1],
  }
}

function product(
  a: Matrix,
  b: Matrix,
  out: Matrix,
  m: number,
  n: number,
  k: number,
  accumulate: boolean,
): void {
  if (n < TILE && n < m) thin(transposed(b), transposed(a), transposed(out), n, m, k, accumulate)
  else if (m < TILE || k < TILE) thin(a, b, out, m, n, k, accumulate)
  else packed(a, b, out, m, n, k, accumulate)
}

function packed(
  a: Matrix,
  b: Matrix,
  out: Matrix,
  m: number,
  n: number,
  k: number,
  accumulate: boolean,
): void {
  const depthAtOnce = Math.min(k, LONGEST)
  const columnsAtOnce = Math.min(n, WIDEST, tilesIn(SIZE_B / depthAtOnce))
  const rowsAtOnce = Math.min(m, tilesIn(SIZE_A / depthAtOnce), tilesIn(SIZE_C / roundUp(columnsAtOnce)))
  for (let j0 = 0; j0 < n; j0 += columnsAtOnce) {
    const columns = Math.min(columnsAtOnce, n - j0)
    const width = roundUp(columns)
    for (let i0 = 0; i0 < m; i0 += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, m - i0)
      clear(roundUp(rows) * width)
      for (let k0 = 0; k0 < k; k0 += depthAtOnce) {
        const depth = Math.min(depthAtOnce, k - k0)
        // All the rows share a packed B, if it holds the whole of K.
        if (i0 === 0 || depthAtOnce < k) {
          pack(BEGIN_B, b.data, b.offset + k0 * b.row + j0 * b.column, b.column, b.row, columns, depth)
        }
        pack(BEGIN_A, a.data, a.offset + i0 * a.row + k0 * a.column, a.row, a.column, rows, depth)
        tiles(roundUp(rows), width, depth)
      }
      const corner = out.offset + i0 * out.row + j0 * out.column
      for (let i = 0; i < rows; i++) {
        unload(BEGIN_C + i * width, out.data, corner + i * out.row, out.column, columns, accumulate)
      }
    }
  }
}

/** Multiplies what is packed, onto the sums. */
function tiles(height: number, width: number, depth: number): void {
  for (let p = 0; p < depth; p += STRETCH) {
    const stretch = Math.min(STRETCH, depth - p)
    for (let j = 0; j < width; j += TILE) {
      const panel = BEGIN_B + j * depth + p * TILE
      for (let i = 0; i < height; i += TILE) {
        tile(BEGIN_A + i * depth + p * TILE, panel, stretch, BEGIN_C + i * width + j, width)
      }
    }
  }
}

function roundUp(n: number): number {
  return Math.ceil(n / TILE) * TILE
}

/** The largest multiple of the tile that is not above n. */
function tilesIn(n: number): number {
  return Math.floor(n / TILE) * TILE
}
