// Gather and scatter-add along one axis. Both reduce to one loop over rows; where the ids do not vary along the
// inner axes (an embedding), whole rows move at once: by WASM kernels where one id and one row follow the other.

import { IndexError } from '../../errors'
import type { HostArray, View } from '../types'
import { arrayOf, bitsOf, bufferOf } from './buffer'
import { collapse, count, walk } from '../collapse'
import { type Lookup, wasmGather, wasmScatterAdd } from './wasm/lookup'

/** Rows of this many elements or more are copied as bytes. */
const LONG_ROW = 32
/** Fewer elements than this do not wait for WASM. */
const SMALLEST = 512

/** See `Backend.gather`. */
export function gather(x: View, dim: number, index: View, out: View): void {
  const lookup =
    out.dtype === 'float32' || out.dtype === 'int32' ? lookupOf('gather', x, dim, index, out) : null
  if (lookup && wasmGather(bufferOf(out).heap, lookup)) return
  const ids = bufferOf(index).i32
  const source = bitsOf(x)
  const target = bitsOf(out)
  const size = x.shape[dim]
  const jump = x.strides[dim]
  const bytes = target.BYTES_PER_ELEMENT
  const all = new Uint8Array(target.buffer)
  const sourceByte = bufferOf(x).ptr
  const targetByte = bufferOf(out).ptr
  rows(x, dim, index, out, (o, id, t, n, oStep, idStep, tStep) => {
    if (idStep !== 0 || n === 1) {
      for (let i = 0; i < n; i++, o += oStep, id += idStep, t += tStep) {
        const k = ids[id]
        if (k < 0 || k >= size) throw outOfRange('gather', k, size, dim)
        target[t] = source[o + k * jump]
      }
      return
    }
    const k = ids[id]
    if (k < 0 || k >= size) throw outOfRange('gather', k, size, dim)
    o += k * jump
    if (n >= LONG_ROW && oStep === 1 && tStep === 1) {
      const begin = sourceByte + o * bytes
      all.copyWithin(targetByte + t * bytes, begin, begin + n * bytes)
    } else for (let i = 0; i < n; i++, o += oStep, t += tStep) target[t] = source[o]
  })
}

/** See `Backend.scatterAdd`. */
export function scatterAdd(out: View, dim: number, index: View, src: View): void {
  const lookup = out.dtype === 'float32' ? lookupOf('scatterAdd', out, dim, index, src) : null
  if (lookup && wasmScatterAdd(bufferOf(out).heap, lookup)) return
  const ids = bufferOf(index).i32
  const target = arrayOf(out)
  const source = arrayOf(src)
  const size = out.shape[dim]
  const jump = out.strides[dim]
  rows(out, dim, index, src, (o, id, s, n, oStep, idStep, sStep) => {
    if (idStep !== 0 || n === 1) {
      for (let i = 0; i < n; i++, o += oStep, id += idStep, s += sStep) {
        const k = ids[id]
        if (k < 0 || k >= size) throw outOfRange('scatterAdd', k, size, dim)
        target[o + k * jump] += source[s]
      }
      return
    }
    const k = ids[id]
    if (k < 0 || k >= size) throw outOfRange('scatterAdd', k, size, dim)
    addRow(target, o + k * jump, oStep, source, s, sStep, n)
  })
}

function addRow(
  target: HostArray,
  t: number,
  tStep: number,
  source: HostArray,
  s: number,
  sStep: number,
  n: number,
): void {
  for (let i = 0; i < n; i++, t += tStep, s += sStep) target[t] += source[s]
}

/**
 * Walks `index` and `other` (of its shape) with `indexed`, row by row in row-major order. The row starts at the
 * given offsets; that of `indexed` is for id 0.
 */
function rows(
  indexed: View,
  dim: number,
  index: View,
  other: View,
  visit: (
    at: number,
    id: number,
    otherAt: number,
    n: number,
    step: number,
    idStep: number,
    otherStep: number,
  ) => void,
): void {
  // Along `dim` the position comes from the id alone.
  const still = indexed.strides.map((s, d) => (d === dim ? 0 : s))
  const { shape, strides } = collapse(index.shape, [still, index.strides, other.strides])
  const last = shape.length - 1
  const n = last < 0 ? 1 : shape[last]
  const [step, idStep, otherStep] = strides.map((s) => (last < 0 ? 0 : s[last]))
  walk(shape.slice(0, Math.max(0, last)), [indexed.offset, index.offset, other.offset], strides, (at) => {
    visit(at[0], at[1], at[2], n, step, idStep, otherStep)
  })
}

/** The call for the WASM kernels, its ids checked; null where they do not fit. */
function lookupOf(op: string, table: View, dim: number, index: View, other: View): Lookup | null {
  if (count(index.shape) < SMALLEST) return null
  const still = table.strides.map((s, d) => (d === dim ? 0 : s))
  const { shape, strides } = collapse(index.shape, [still, index.strides, other.strides])
  const [ofTable, ofIndex, ofOther] = strides
  if (shape.length !== 2 || ofTable[0] !== 0 || ofTable[1] !== 1 || ofIndex[1] !== 0 || ofOther[1] !== 1)
    return null
  const ids = bufferOf(index).i32
  const size = table.shape[dim]
  for (let i = 0, at = index.offset; i < shape[0]; i++, at += ofIndex[0]) {
    if (ids[at] < 0 || ids[at] >= size) throw outOfRange(op, ids[at], size, dim)
  }
  return {
    ids: bufferOf(index).ptr + 4 * index.offset,
    idStep: 4 * ofIndex[0],
    table: bufferOf(table).ptr + 4 * table.offset,
    tableStep: 4 * table.strides[dim],
    rows: bufferOf(other).ptr + 4 * other.offset,
    rowStep: 4 * ofOther[0],
    count: shape[0],
    width: shape[1],
  }
}

function outOfRange(op: string, id: number, size: number, dim: number): IndexError {
  return new IndexError(
    `${op}: index ${id} is out of range for dim ${dim} of size ${size}; expected 0 to ${size - 1}`,
  )
}
