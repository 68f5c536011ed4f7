// Matrix products with double accumulators.
//
// The scheme is that of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008), in
// scalar JavaScript: both operands are packed into float64 panels four rows (or columns) wide, which takes any
// strides and spares the inner loop the conversion from float32, and a 4x4 tile of local variables is summed
// over a stretch of K short enough for its panels to stay in the first-level cache. Thin products, where
// packing would cost more than it saves, are computed directly.

import type { HostArray, View } from '../types'
import { arrayOf } from './buffer'
import { walk } from './collapse'
import { TILE, tile } from './tile'

/** A matrix inside a typed array: element (i, j) at `offset + i * row + j * column`. */
interface Matrix {
  readonly data: HostArray
  readonly offset: number
  readonly row: number
  readonly column: number
}

/** K is summed in stretches of this many, so that a panel takes 12 KiB. */
const STRETCH = 384
/** Elements of the packed operands at a time: 1 MiB for A, 4 MiB for B. */
const PACKED_A = 131_072
const PACKED_B = 524_288

let panelA = new Float64Array(0)
let panelB = new Float64Array(0)
let sums = new Float64Array(0)

/** See `Backend.matmul`. */
export function matmul(a: View, b: View, out: View, accumulate: boolean): void {
  const rank = out.shape.length
  let m = out.shape[rank - 2]
  const n = out.shape[rank - 1]
  const k = a.shape[rank - 1]
  if (m === 0 || n === 0) return
  let batch = out.shape.slice(0, rank - 2)
  const data = [a, b, out].map(arrayOf)
  const rows = [a, b, out].map((v) => v.strides[rank - 2])
  const columns = [a, b, out].map((v) => v.strides[rank - 1])
  const strides = [a, b, out].map((v) => v.strides.slice(0, rank - 2))
  // Batch entries that share B are more rows of one product, where A and the output lie that way.
  while (batch.length > 0) {
    const d = batch.length - 1
    const size = batch[d]
    const folds = strides[1][d] === 0 && strides[0][d] === rows[0] * m && strides[2][d] === rows[2] * m
    if (size !== 1 && !folds) break
    m *= size
    batch = batch.slice(0, d)
  }
  walk(batch, [a.offset, b.offset, out.offset], strides, (at) => {
    const matrix = (v: number): Matrix => ({ data: data[v], offset: at[v], row: rows[v], column: columns[v] })
    product(matrix(0), matrix(1), matrix(2), m, n, k, accumulate)
  })
}

function transposed(x: Matrix): Matrix {
  return { data: x.data, offset: x.offset, row: x.column, column: x.row }
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

/** Few rows, or a short K: one row of the output at a time. */
function thin(a: Matrix, b: Matrix, out: Matrix, m: number, n: number, k: number, accumulate: boolean): void {
  if (sums.length < n) sums = new Float64Array(n)
  const x = panelFor('a', k)
  const alongK = Math.abs(b.row) < Math.abs(b.column)
  for (let i = 0; i < m; i++) {
    gatherRow(a.data, a.offset + i * a.row, a.column, x, k)
    if (alongK) dots(x, b.data, b.offset, b.row, b.column, sums, n, k)
    else combineRows(x, b.data, b.offset, b.row, b.column, sums, n, k)
    emit(sums, 0, out.data, out.offset + i * out.row, out.column, n, accumulate)
  }
}

function gatherRow(data: HostArray, offset: number, step: number, to: Float64Array, n: number): void {
  for (let i = 0, o = offset; i < n; i++, o += step) to[i] = data[o]
}

/** `to[j] = sum over p of x[p] * b(p, j)`, reading B along p. */
function dots(
  x: Float64Array,
  b: HostArray,
  offset: number,
  row: number,
  column: number,
  to: Float64Array,
  n: number,
  k: number,
): void {
  for (let j = 0; j < n; j++) {
    let s0 = 0
    let s1 = 0
    let p = 0
    let o = offset + j * column
    for (; p + 2 <= k; p += 2, o += 2 * row) {
      s0 += x[p] * b[o]
      s1 += x[p + 1] * b[o + row]
    }
    if (p < k) s0 += x[p] * b[o]
    to[j] = s0 + s1
  }
}

/** The same, reading B along j. */
function combineRows(
  x: Float64Array,
  b: HostArray,
  offset: number,
  row: number,
  column: number,
  to: Float64Array,
  n: number,
  k: number,
): void {
  to.fill(0, 0, n)
  for (let p = 0; p < k; p++) {
    const v = x[p]
    for (let j = 0, o = offset + p * row; j < n; j++, o += column) to[j] += v * b[o]
  }
}

function emit(
  from: Float64Array,
  f: number,
  out: HostArray,
  offset: number,
  step: number,
  n: number,
  accumulate: boolean,
): void {
  if (accumulate) for (let j = 0, o = offset; j < n; j++, o += step) out[o] += from[f + j]
  else for (let j = 0, o = offset; j < n; j++, o += step) out[o] = from[f + j]
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
  const rowsAtOnce = atOnce(PACKED_A, k, m)
  const columnsAtOnce = atOnce(PACKED_B, k, n)
  for (let j0 = 0; j0 < n; j0 += columnsAtOnce) {
    const columns = Math.min(columnsAtOnce, n - j0)
    const width = roundUp(columns)
    const pb = panelFor('b', width * k)
    pack(b.data, b.offset + j0 * b.column, b.column, b.row, columns, k, pb)
    for (let i0 = 0; i0 < m; i0 += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, m - i0)
      const height = roundUp(rows)
      const pa = panelFor('a', height * k)
      pack(a.data, a.offset + i0 * a.row, a.row, a.column, rows, k, pa)
      if (sums.length < height * width) sums = new Float64Array(height * width)
      const c = sums
      for (let p0 = 0; p0 < k; p0 += STRETCH) {
        const stretch = Math.min(STRETCH, k - p0)
        for (let j = 0; j < width; j += TILE) {
          for (let i = 0; i < height; i += TILE) {
            tile(pa, i * k + p0 * TILE, pb, j * k + p0 * TILE, stretch, c, i * width + j, width, p0 > 0)
          }
        }
      }
      const corner = out.offset + i0 * out.row + j0 * out.column
      for (let i = 0; i < rows; i++) {
        emit(c, i * width, out.data, corner + i * out.row, out.column, columns, accumulate)
      }
    }
  }
}

function roundUp(n: number): number {
  return Math.ceil(n / TILE) * TILE
}

/** How many rows (or columns) of length k are packed together. */
function atOnce(budget: number, k: number, n: number): number {
  return Math.min(n, Math.max(32, Math.floor(budget / k / TILE) * TILE))
}

function panelFor(which: 'a' | 'b', length: number): Float64Array {
  const panel = which === 'a' ? panelA : panelB
  if (panel.length >= length) return panel
  const grown = new Float64Array(length)
  if (which === 'a') panelA = grown
  else panelB = grown
  return grown
}

/**
 * Packs `lines` lines of length k (rows of A, columns of B) in panels of four: the four elements at each p side by
 * side. Missing lines of the last panel are zero. `line` and `step` are the strides from line to line and along it.
 */
function pack(
  x: HostArray,
  offset: number,
  line: number,
  step: number,
  lines: number,
  k: number,
  to: Float64Array,
): void {
  let t = 0
  let i = 0
  for (; i + TILE <= lines; i += TILE) {
    let o0 = offset + i * line
    let o1 = o0 + line
    let o2 = o1 + line
    let o3 = o2 + line
    for (let p = 0; p < k; p++, t += TILE, o0 += step, o1 += step, o2 += step, o3 += step) {
      to[t] = x[o0]
      to[t + 1] = x[o1]
      to[t + 2] = x[o2]
      to[t + 3] = x[o3]
    }
  }
  if (i === lines) return
  to.fill(0, t, t + TILE * k)
  for (let r = 0; i < lines; i++, r++) {
    for (let p = 0, o = offset + i * line; p < k; p++, o += step) to[t + p * TILE + r] = x[o]
  }
}
