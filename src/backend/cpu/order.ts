// Sorting and running sums along the last axis, line by line.

import { collapse, walk } from '../collapse'
import type { HostArray, View } from '../types'
import { arrayOf, bufferOf } from './buffer'

/** See `Backend.argSort`. */
export function argSort(descending: boolean, input: View, output: View): void {
  const n = output.shape[output.shape.length - 1]
  const source = arrayOf(input)
  const target = bufferOf(output).i32
  const keys = new Float64Array(n)
  let order = new Int32Array(n)
  let spare = new Int32Array(n)
  let at = output.offset
  lines(input, null, (start, step) => {
    let numbers = 0
    for (let i = 0; i < n; i++) {
      keys[i] = source[start + i * step]
      if (!Number.isNaN(keys[i])) order[numbers++] = i
    }
    for (let i = 0, last = numbers; i < n; i++) if (Number.isNaN(keys[i])) order[last++] = i
    if (descending) for (let i = 0; i < n; i++) keys[i] = -keys[i]
    for (let width = 1; width < numbers; width *= 2) {
      for (let i = 0; i < numbers; i += 2 * width) mergeRuns(keys, order, spare, i, width, numbers)
      spare.set(order.subarray(numbers), numbers)
      ;[order, spare] = [spare, order]
    }
    target.set(order, at)
    at += n
  })
}

/** Merges two neighbouring runs of sorted indices; of equal keys the left one's come first. */
function mergeRuns(
  keys: Float64Array,
  from: Int32Array,
  to: Int32Array,
  begin: number,
  width: number,
  n: number,
): void {
  const middle = Math.min(n, begin + width)
  const end = Math.min(n, begin + 2 * width)
  let [left, right] = [begin, middle]
  for (let k = begin; k < end; k++) {
    if (left < middle && (right >= end || keys[from[left]] <= keys[from[right]])) to[k] = from[left++]
    else to[k] = from[right++]
  }
}

/** See `Backend.cumsum`. */
export function cumsum(input: View, output: View): void {
  const last = output.shape.length - 1
  const source = arrayOf(input)
  const target = arrayOf(output)
  const int = output.dtype === 'int32'
  lines(input, output, (start, step, to, toStep) => {
    addUp(source, start, step, target, to, toStep, output.shape[last], int)
  })
}

function addUp(
  source: HostArray,
  start: number,
  step: number,
  target: HostArray,
  to: number,
  toStep: number,
  n: number,
  int: boolean,
): void {
  let sum = 0
  for (let i = 0; i < n; i++) {
    sum += source[start + i * step]
    if (int) sum |= 0
    target[to + i * toStep] = sum
  }
}

/** Calls `visit` with where each line along the last axis starts, and its step, in row-major order. */
function lines(
  a: View,
  b: View | null,
  visit: (aStart: number, aStep: number, bStart: number, bStep: number) => void,
): void {
  const last = a.shape.length - 1
  const views = b ? [a, b] : [a]
  const { shape, strides } = collapse(
    a.shape.slice(0, last),
    views.map((v) => v.strides.slice(0, last)),
  )
  const bStep = b ? b.strides[last] : 0
  walk(
    shape,
    views.map((v) => v.offset),
    strides,
    (at) => {
      visit(at[0], a.strides[last], at[1], bStep)
    },
  )
}
