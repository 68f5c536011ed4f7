// Strided windows as streams: the next n elements, in row-major order, to or from the scratch memory.
//
// A stream collapses its own axes, whatever the other operands look like, so each tensor is walked in the longest
// runs its layout allows. A stream holds a typed array: use it before the next allocation.

import type { HostArray, View } from '../types'
import { arrayOf } from './buffer'
import { collapse } from '../collapse'
import { fill, load, store } from './moves'
import { REGISTERS } from './scratch'

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

  /** Puts the next n elements at `to` in the scratch memory; of a uniform window only one. */
  read(to: number, n: number): void {
    const cursor = this.#cursor
    if (this.uniform) {
      REGISTERS[to] = this.#array[cursor.offset]
      return
    }
    for (const end = to + n; to < end; ) {
      if (cursor.taken === cursor.inner) cursor.next()
      const run = Math.min(end - to, cursor.inner - cursor.taken)
      load(this.#array, cursor.offset, cursor.step, to, run)
      cursor.offset += run * cursor.step
      cursor.taken += run
      to += run
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

  /** Takes n elements at `from` in the scratch memory, or n times the first with `uniform`, converted to the dtype. */
  write(from: number, n: number, uniform: boolean): void {
    const cursor = this.#cursor
    for (const end = from + n; from < end; ) {
      if (cursor.taken === cursor.inner) cursor.next()
      const run = Math.min(end - from, cursor.inner - cursor.taken)
      if (uniform) fill(this.#array, cursor.offset, cursor.step, REGISTERS[end - n], run)
      else store(this.#array, cursor.offset, cursor.step, from, run)
      cursor.offset += run * cursor.step
      cursor.taken += run
      from += run
    }
  }
}
