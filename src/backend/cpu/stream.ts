// Strided windows as streams: the next n elements, in row-major order, to or from a float64 scratch block.
//
// A stream collapses its own axes, whatever the other operands look like, so each tensor is walked in the longest
// runs its layout allows. A stream holds a typed array: use it before the next allocation. The inner loops are written out per element type: V8 makes fast code for a loop only
// while it sees a single kind of array.

import type { HostArray, View } from '../types'
import { arrayOf } from './buffer'
import { collapse } from './collapse'

/** Position in a strided window; `step` says how far the elements of the current run are apart. */
class Cursor {
  readonly step: number
  /** Elements of a run. */
  readonly inner: number
  offset: number
  /** Elements already taken from the current run. */
  taken = 0
  readonly #shape: readonly number[]
  readonly #strides: readonly number[]
  readonly #index: number[]

  constructor(shape: readonly number[], strides: readonly number[], offset: number) {
    const collapsed = collapse(shape, [strides])
    const last = collapsed.shape.length - 1
    this.#shape = collapsed.shape
    this.#strides = collapsed.strides[0]
    this.step = last < 0 ? 0 : this.#strides[last]
    this.inner = last < 0 ? 1 : collapsed.shape[last]
    this.offset = offset
    this.#index = last > 0 ? new Array<number>(last).fill(0) : []
  }

  /** Goes to the first element of the next run. */
  next(): void {
    this.offset -= this.taken * this.step
    this.taken = 0
    for (let d = this.#index.length - 1; d >= 0; d--) {
      this.offset += this.#strides[d]
      if (++this.#index[d] < this.#shape[d]) return
      this.offset -= this.#strides[d] * this.#shape[d]
      this.#index[d] = 0
    }
  }
}

/** Reads a window in row-major order. */
export class Reader {
  /** Every element is the same one (a broadcast scalar). */
  readonly uniform: boolean
  readonly #cursor: Cursor
  readonly #array: HostArray

  constructor(view: View, shape: readonly number[] = view.shape, strides: readonly number[] = view.strides) {
    this.#array = arrayOf(view)
    this.#cursor = new Cursor(shape, strides, view.offset)
    this.uniform = this.#cursor.step === 0 && this.#isSingle(shape, strides)
  }

  /** Fills `to[0 .. n)` with the next n elements; of a uniform window only `to[0]`. */
  read(to: Float64Array, n: number): void {
    const cursor = this.#cursor
    if (this.uniform) {
      to[0] = this.#array[cursor.offset]
      return
    }
    for (let done = 0; done < n; ) {
      if (cursor.taken === cursor.inner) cursor.next()
      const run = Math.min(n - done, cursor.inner - cursor.taken)
      load(this.#array, cursor.offset, cursor.step, to, done, done + run)
      cursor.offset += run * cursor.step
      cursor.taken += run
      done += run
    }
  }

  #isSingle(shape: readonly number[], strides: readonly number[]): boolean {
    return shape.every((size, d) => size === 1 || strides[d] === 0)
  }
}

/** Writes a window in row-major order. */
export class Writer {
  readonly #cursor: Cursor
  readonly #array: HostArray

  constructor(view: View, shape: readonly number[] = view.shape, strides: readonly number[] = view.strides) {
    this.#array = arrayOf(view)
    this.#cursor = new Cursor(shape, strides, view.offset)
  }

  /** Writes `from[0 .. n)`, converted to the element type; with `uniform`, n times `from[0]`. */
  write(from: Float64Array, n: number, uniform: boolean): void {
    const cursor = this.#cursor
    for (let done = 0; done < n; ) {
      if (cursor.taken === cursor.inner) cursor.next()
      const run = Math.min(n - done, cursor.inner - cursor.taken)
      if (uniform) fill(this.#array, cursor.offset, cursor.step, from[0], run)
      else store(this.#array, cursor.offset, cursor.step, from, done, done + run)
      cursor.offset += run * cursor.step
      cursor.taken += run
      done += run
    }
  }
}

function load(
  array: HostArray,
  offset: number,
  step: number,
  to: Float64Array,
  begin: number,
  end: number,
): void {
  if (step === 0) to.fill(array[offset], begin, end)
  else if (array instanceof Float32Array) {
    if (step === 1) loadF32Run(array, offset - begin, to, begin, end)
    else loadF32(array, offset, step, to, begin, end)
  } else if (array instanceof Float64Array) {
    if (step === 1) loadF64Run(array, offset - begin, to, begin, end)
    else loadF64(array, offset, step, to, begin, end)
  } else if (array instanceof Int32Array) loadI32(array, offset, step, to, begin, end)
  else loadU8(array, offset, step, to, begin, end)
}

function loadF32Run(a: Float32Array, shift: number, to: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++) to[i] = a[shift + i]
}
function loadF64Run(a: Float64Array, shift: number, to: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++) to[i] = a[shift + i]
}
function loadF32(
  a: Float32Array,
  o: number,
  step: number,
  to: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) to[i] = a[o]
}
function loadF64(
  a: Float64Array,
  o: number,
  step: number,
  to: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) to[i] = a[o]
}
function loadI32(a: Int32Array, o: number, step: number, to: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++, o += step) to[i] = a[o]
}
function loadU8(a: Uint8Array, o: number, step: number, to: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++, o += step) to[i] = a[o]
}

function store(
  array: HostArray,
  offset: number,
  step: number,
  from: Float64Array,
  begin: number,
  end: number,
): void {
  if (array instanceof Float32Array) {
    if (step === 1) storeF32Run(array, offset - begin, from, begin, end)
    else storeF32(array, offset, step, from, begin, end)
  } else if (array instanceof Float64Array) {
    if (step === 1) storeF64Run(array, offset - begin, from, begin, end)
    else storeF64(array, offset, step, from, begin, end)
  } else if (array instanceof Int32Array) storeI32(array, offset, step, from, begin, end)
  else storeBool(array, offset, step, from, begin, end)
}

function storeF32Run(a: Float32Array, shift: number, from: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++) a[shift + i] = from[i]
}
function storeF64Run(a: Float64Array, shift: number, from: Float64Array, begin: number, end: number): void {
  for (let i = begin; i < end; i++) a[shift + i] = from[i]
}
function storeF32(
  a: Float32Array,
  o: number,
  step: number,
  from: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) a[o] = from[i]
}
function storeF64(
  a: Float64Array,
  o: number,
  step: number,
  from: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) a[o] = from[i]
}
function storeI32(
  a: Int32Array,
  o: number,
  step: number,
  from: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) a[o] = from[i]
}
function storeBool(
  a: Uint8Array,
  o: number,
  step: number,
  from: Float64Array,
  begin: number,
  end: number,
): void {
  for (let i = begin; i < end; i++, o += step) a[o] = from[i] !== 0 ? 1 : 0
}

function fill(array: HostArray, offset: number, step: number, value: number, n: number): void {
  const v = array instanceof Uint8Array ? (value !== 0 ? 1 : 0) : value
  if (step === 1) array.fill(v, offset, offset + n)
  else for (let i = 0, o = offset; i < n; i++, o += step) array[o] = v
}
