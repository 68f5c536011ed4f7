// Fused map and reduce: an expression program, then sum, prod, max or min over the inner axes.
//
// Accumulators are float64. Two walks, chosen by the layout of the inputs: along the reduced axes, with four
// accumulators per row, or across them (the reduced axes are the far ones in memory, as for a bias
// gradient), adding whole rows into one accumulator per output. Both orders depend on the layout alone.

import type { Program } from '../program'
import type { ReduceKind, View } from '../types'
import { collapse, count } from './collapse'
import { BLOCK, Evaluation } from './interpreter'
import { Reader, Writer } from './stream'

/** See `Backend.reduce`. */
export function reduce(
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
): void {
  const outerRank = output.shape.length
  const shape = inputs.length > 0 ? inputs[0].shape : output.shape
  const outer = count(output.shape)
  const inner = count(shape.slice(outerRank))
  if (outer === 0) return
  const writer = new Writer(output)
  if (inner === 0) {
    writer.write(new Float64Array([kind === 'prod' ? 1 : 0]), outer, true)
    return
  }
  const int = program.instructions[program.outputs[0]].type !== 'float'
  if (outer > 1 && inner > 1 && acrossIsNearer(program, inputs, outerRank)) {
    const turn = <T>(axes: readonly T[]): T[] => [...axes.slice(outerRank), ...axes.slice(0, outerRank)]
    const turned = inputs.map((v) => turn(v.strides))
    across(kind, int, new Evaluation(program, inputs, scalars, turn(shape), turned), outer, inner, writer)
  } else {
    along(kind, int, new Evaluation(program, inputs, scalars, shape), outer, inner, writer)
  }
}

/** Whether neighbours along the kept axes lie closer together than neighbours along the reduced ones. */
function acrossIsNearer(program: Program, inputs: readonly View[], outerRank: number): boolean {
  let kept = 0
  let reduced = 0
  for (const i of program.usedInputs) {
    const { shape, strides } = inputs[i]
    const outer = collapse(shape.slice(0, outerRank), [strides.slice(0, outerRank)])
    const inner = collapse(shape.slice(outerRank), [strides.slice(outerRank)])
    const o = Math.abs(outer.strides[0].at(-1) as number)
    const r = Math.abs(inner.strides[0].at(-1) as number)
    // A broadcast axis costs nothing in either order.
    if (o === 0 || r === 0) continue
    kept += o
    reduced += r
  }
  return kept < reduced
}

function along(
  kind: ReduceKind,
  int: boolean,
  evaluation: Evaluation,
  outer: number,
  inner: number,
  writer: Writer,
): void {
  const results = new Float64Array(Math.min(outer, BLOCK))
  const total = outer * inner
  let pending = 0
  let row = identity(kind)
  let left = inner
  for (let done = 0; done < total; done += BLOCK) {
    const size = Math.min(BLOCK, total - done)
    evaluation.next(size)
    const block = evaluation.block(0)
    if (evaluation.uniform(0)) block.fill(block[0], 0, size)
    for (let i = 0; i < size; ) {
      const n = Math.min(left, size - i)
      row = combine(kind, int, row, n === 1 ? block[i] : fold(kind, int, block, i, i + n))
      i += n
      left -= n
      if (left > 0) continue
      results[pending++] = row
      row = identity(kind)
      left = inner
      if (pending === results.length) {
        writer.write(results, pending, false)
        pending = 0
      }
    }
  }
  if (pending > 0) writer.write(results, pending, false)
}

function across(
  kind: ReduceKind,
  int: boolean,
  evaluation: Evaluation,
  outer: number,
  inner: number,
  writer: Writer,
): void {
  const sums = new Float64Array(outer).fill(identity(kind))
  const total = outer * inner
  let column = 0
  for (let done = 0; done < total; done += BLOCK) {
    const size = Math.min(BLOCK, total - done)
    evaluation.next(size)
    const block = evaluation.block(0)
    if (evaluation.uniform(0)) block.fill(block[0], 0, size)
    for (let i = 0; i < size; ) {
      const n = Math.min(outer - column, size - i)
      merge(kind, int, sums, column, block, i, n)
      i += n
      column += n
      if (column === outer) column = 0
    }
  }
  for (let done = 0; done < outer; done += BLOCK) {
    writer.write(sums.subarray(done), Math.min(BLOCK, outer - done), false)
  }
}

function identity(kind: ReduceKind): number {
  return kind === 'sum' ? 0 : kind === 'prod' ? 1 : kind === 'max' ? -Infinity : Infinity
}

/** One step of the reduction; integers wrap as int32. */
function combine(kind: ReduceKind, int: boolean, a: number, b: number): number {
  switch (kind) {
    case 'sum':
      return int ? (a + b) | 0 : a + b
    case 'prod':
      return int ? Math.imul(a, b) : a * b
    case 'max':
      return a > b || Number.isNaN(a) ? a : b
    case 'min':
      return a < b || Number.isNaN(a) ? a : b
    default:
      return kind satisfies never
  }
}

/** Reduces `x[begin .. end)`. */
function fold(kind: ReduceKind, int: boolean, x: Float64Array, begin: number, end: number): number {
  switch (kind) {
    case 'sum':
      // A block of int32 cannot leave the exact integers of a double.
      return int ? foldSum(x, begin, end) | 0 : foldSum(x, begin, end)
    case 'prod':
      return int ? foldProdInt(x, begin, end) : foldProd(x, begin, end)
    case 'max':
      return foldMax(x, begin, end)
    case 'min':
      return foldMin(x, begin, end)
    default:
      return kind satisfies never
  }
}

function foldSum(x: Float64Array, begin: number, end: number): number {
  // Four sums, because each addition waits for the one before it.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let i = begin
  for (; i + 4 <= end; i += 4) {
    a += x[i]
    b += x[i + 1]
    c += x[i + 2]
    d += x[i + 3]
  }
  for (; i < end; i++) a += x[i]
  return a + b + (c + d)
}
function foldProd(x: Float64Array, begin: number, end: number): number {
  let a = 1
  for (let i = begin; i < end; i++) a *= x[i]
  return a
}
function foldProdInt(x: Float64Array, begin: number, end: number): number {
  let a = 1
  for (let i = begin; i < end; i++) a = Math.imul(a, x[i])
  return a
}
function foldMax(x: Float64Array, begin: number, end: number): number {
  let a = -Infinity
  for (let i = begin; i < end; i++) {
    const v = x[i]
    if (v > a || Number.isNaN(v)) a = v
    // The largest so far being NaN, no comparison replaces it.
  }
  return a
}
function foldMin(x: Float64Array, begin: number, end: number): number {
  let a = Infinity
  for (let i = begin; i < end; i++) {
    const v = x[i]
    if (v < a || Number.isNaN(v)) a = v
  }
  return a
}

/** `sums[s + i] = combine(sums[s + i], x[o + i])` for i < n. */
function merge(
  kind: ReduceKind,
  int: boolean,
  sums: Float64Array,
  s: number,
  x: Float64Array,
  o: number,
  n: number,
): void {
  if (kind === 'sum' && !int) mergeSum(sums, s, x, o, n)
  else for (let i = 0; i < n; i++) sums[s + i] = combine(kind, int, sums[s + i], x[o + i])
}
function mergeSum(sums: Float64Array, s: number, x: Float64Array, o: number, n: number): void {
  for (let i = 0; i < n; i++) sums[s + i] += x[o + i]
}

/** See `Backend.argReduce`. */
export function argReduce(kind: 'max' | 'min', input: View, output: View): void {
  const inner = input.shape[input.shape.length - 1]
  const outer = count(output.shape)
  const total = outer * inner
  if (total === 0) return
  const reader = new Reader(input)
  const block = new Float64Array(Math.min(BLOCK, total))
  const results = new Float64Array(Math.min(outer, BLOCK))
  const writer = new Writer(output)
  let pending = 0
  let column = 0
  let best = 0
  let value = 0
  for (let done = 0; done < total; done += BLOCK) {
    const size = Math.min(BLOCK, total - done)
    reader.read(block, size)
    if (reader.uniform) block.fill(block[0], 0, size)
    for (let i = 0; i < size; i++) {
      const v = block[i]
      // The first NaN wins; once it leads, nothing beats it.
      const better = kind === 'max' ? v > value : v < value
      if (column === 0 || better || (Number.isNaN(v) && !Number.isNaN(value))) {
        best = column
        value = v
      }
      if (++column < inner) continue
      column = 0
      results[pending++] = best
      if (pending === results.length) {
        writer.write(results, pending, false)
        pending = 0
      }
    }
  }
  if (pending > 0) writer.write(results, pending, false)
}
