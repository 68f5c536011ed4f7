// Products with few rows, few columns or a short K, computed without packing: a row of the output at a time.

import type { HostArray } from '../types'

/** A matrix inside a typed array: element (i, j) at `offset + i * row + j * column`. */
export interface Matrix {
  readonly data: HostArray
  offset: number
  readonly row: number
  readonly column: number
}

export function transposed(x: Matrix): Matrix {
  return { data: x.data, offset: x.offset, row: x.column, column: x.row }
}

let line = new Float64Array(0)
let sums = new Float64Array(0)

/** `out = a @ b`, or `out += a @ b` with `accumulate`, for M x K and K x N; best where M or K is small. */
export function thin(
  a: Matrix,
  b: Matrix,
  out: Matrix,
  m: number,
  n: number,
  k: number,
  accumulate: boolean,
): void {
  if (line.length < k) line = new Float64Array(k)
  if (sums.length < n) sums = new Float64Array(n)
  const alongK = Math.abs(b.row) < Math.abs(b.column)
  for (let i = 0; i < m; i++) {
    for (let p = 0, o = a.offset + i * a.row; p < k; p++, o += a.column) line[p] = a.data[o]
    if (alongK) dots(line, b.data, b.offset, b.row, b.column, sums, n, k)
    else combine(line, b.data, b.offset, b.row, b.column, sums, n, k)
    const { data, column } = out
    const start = out.offset + i * out.row
    if (accumulate) for (let j = 0, o = start; j < n; j++, o += column) data[o] += sums[j]
    else for (let j = 0, o = start; j < n; j++, o += column) data[o] = sums[j]
  }
}

/** `to[j] = sum over p of x[p] * b(p, j)`, walking B along p. */
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
    let s2 = 0
    let s3 = 0
    let p = 0
    let o = offset + j * column
    for (; p + 4 <= k; p += 4, o += 4 * row) {
      s0 += x[p] * b[o]
      s1 += x[p + 1] * b[o + row]
      s2 += x[p + 2] * b[o + 2 * row]
      s3 += x[p + 3] * b[o + 3 * row]
    }
    for (; p < k; p++, o += row) s0 += x[p] * b[o]
    to[j] = s0 + s1 + (s2 + s3)
  }
}

/** The same, walking B along j, four rows of it at a time. */
function combine(
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
  let p = 0
  for (; p + 4 <= k; p += 4) {
    const x0 = x[p]
    const x1 = x[p + 1]
    const x2 = x[p + 2]
    const x3 = x[p + 3]
    let o = offset + p * row
    for (let j = 0; j < n; j++, o += column) {
      to[j] += x0 * b[o] + x1 * b[o + row] + (x2 * b[o + 2 * row] + x3 * b[o + 3 * row])
    }
  }
  for (; p < k; p++) {
    const v = x[p]
    for (let j = 0, o = offset + p * row; j < n; j++, o += column) to[j] += v * b[o]
  }
}
