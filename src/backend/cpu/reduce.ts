// Fused map and reduce: an expression program, then sum, prod, max or min over the inner axes.
//
// Accumulators are float64. Two walks, chosen by the layout of the inputs: along the reduced axes, with four
// accumulators per row, or across them (the reduced axes are the far ones in memory, as for a bias
// gradient), adding whole rows into one accumulator per output. Both orders depend on the layout alone.

import type { Program } from '../program'
import type { ReduceKind, View } from '../types'
import { collapse, count } from '../collapse'
import { Evaluation } from './interpreter'
import { BLOCK, REGISTERS, RESULTS } from './scratch'
import { Reader, Writer } from './stream'

const R = REGISTERS

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
    R[RESULTS] = identity(kind)
    writer.write(RESULTS, outer, true)
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
  const results = new Results(writer)
  const total = outer * inner
  const start = identity(kind)
  let row = start
  let left = inner
  for (let done = 0; done < total; done += evaluation.block) {
    const size = Math.min(evaluation.block, total - done)
    evaluation.next(size)
    const at = spread(evaluation, size)
    for (let i = at; i < at + size; ) {
      const n = Math.min(left, at + size - i)
      row = combine(kind, int, row, n === 1 ? R[i] : fold(kind, int, i, i + n))
      i += n
      left -= n
      if (left > 0) continue
      results.push(row)
      row = start
      left = inner
    }
  }
  results.flush()
}

/** Position of the values of the program, one per element also where they are all the same. */
function spread(evaluation: Evaluation, size: number): number {
  const at = evaluation.position(0)
  if (evaluation.uniform(0)) R.fill(R[at], at, at + size)
  return at
}

/** Collects results and writes them a block at a time. */
class Results {
  readonly #writer: Writer
  #pending = 0

  constructor(writer: Writer) {
    this.#writer = writer
  }

  push(value: number): void {
    R[RESULTS + this.#pending++] = value
    if (this.#pending === BLOCK) this.flush()
  }

  flush(): void {
    this.#writer.write(RESULTS, this.#pending, false)
    this.#pending = 0
  }
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
  for (let done = 0; done < total; done += evaluation.block) {
    const size = Math.min(evaluation.block, total - done)
    evaluation.next(size)
    const at = spread(evaluation, size)
    for (let i = at; i < at + size; ) {
      const n = Math.min(outer - column, at + size - i)
      merge(kind, int, sums, column, i, n)
      i += n
      column += n
      if (column === outer) column = 0
    }
  }
  const results = new Results(writer)
  for (let i = 0; i < outer; i++) results.push(sums[i])
  results.flush()
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

/** Reduces `R[begin .. end)`. */
function fold(kind: ReduceKind, int: boolean, begin: number, end: number): number {
  switch (kind) {
    case 'sum':
      // A block of int32 cannot leave the exact integers of a double.
      return int ? foldSum(begin, end) | 0 : foldSum(begin, end)
    case 'prod':
      return int ? foldProdInt(begin, end) : foldProd(begin, end)
    case 'max':
      return foldMax(begin, end)
    case 'min':
      return foldMin(begin, end)
    default:
      return kind satisfies never
  }
}

function foldSum(begin: number, end: number): number {
  // Four sums, because each addition waits for the one before it.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let i = begin
  for (; i + 4 <= end; i += 4) {
    a += R[i]
    b += R[i + 1]
    c += R[i + 2]
    d += R[i + 3]
  }
  for (; i < end; i++) a += R[i]
  return a + b + (c + d)
}
function foldProd(begin: number, end: number): number {
  let a = 1
  for (let i = begin; i < end; i++) a *= R[i]
  return a
}
function foldProdInt(begin: number, end: number): number {
  let a = 1
  for (let i = begin; i < end; i++) a = Math.imul(a, R[i])
  return a
}
// Once the best value is NaN, no comparison replaces it.
function foldMax(begin: number, end: number): number {
  let a = -Infinity
  for (let i = begin; i < end; i++) {
    const v = R[i]
    if (v > a || Number.isNaN(v)) a = v
  }
  return a
}
function foldMin(begin: number, end: number): number {
  let a = Infinity
  for (let i = begin; i < end; i++) {
    const v = R[i]
    if (v < a || Number.isNaN(v)) a = v
  }
  return a
}

/** `sums[s + i] = combine(sums[s + i], R[x + i])` for i < n. */
function merge(kind: ReduceKind, int: boolean, sums: Float64Array, s: number, x: number, n: number): void {
  if (kind === 'sum' && !int) mergeSum(sums, s, x, n)
  else for (let i = 0; i < n; i++) sums[s + i] = combine(kind, int, sums[s + i], R[x + i])
}
function mergeSum(sums: Float64Array, s: number, x: number, n: number): void {
  const end = s + n
  for (; s + 4 <= end; s += 4, x += 4) {
    sums[s] += R[x]
    sums[s + 1] += R[x + 1]
    sums[s + 2] += R[x + 2]
    sums[s + 3] += R[x + 3]
  }
  for (; s < end; s++, x++) sums[s] += R[x]
}

/** See `Backend.argReduce`. */
export function argReduce(kind: 'max' | 'min', input: View, output: View): void {
  const inner = input.shape[input.shape.length - 1]
  const total = count(output.shape) * inner
  if (total === 0) return
  const reader = new Reader(input)
  const results = new Results(new Writer(output))
  let column = 0
  let best = 0
  let value = 0
  for (let done = 0; done < total; done += BLOCK) {
    const size = Math.min(BLOCK, total - done)
    reader.read(0, size)
    if (reader.uniform) R.fill(R[0], 0, size)
    for (let i = 0; i < size; i++) {
      const v = R[i]
      const better = kind === 'max' ? v > value : v < value
      // The first NaN wins; once it leads, nothing beats it.
      if (column === 0 || better || (Number.isNaN(v) && !Number.isNaN(value))) {
        best = column
        value = v
      }
      if (++column < inner) continue
      column = 0
      results.push(best)
    }
  }
  results.flush()
}
