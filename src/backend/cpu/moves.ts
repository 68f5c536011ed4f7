// Runs of elements between typed arrays and the scratch memory, one loop per element type: V8 makes fast code for a
// loop only while it sees a single kind of array.

import type { HostArray } from '../types'
import { REGISTERS } from './scratch'

/**
 * `load` puts n elements of an array, `step` apart from `offset` on, at `to` in the scratch memory; `store` takes n from
 * there, converted to the element type; `fill` stores one value n times.
 */
export const { load, store, fill } = makeMoves(REGISTERS)

// See scratch.ts for why the loops are inside a function.
function makeMoves(registers: Float64Array) {
  const R = registers

  function load(a: HostArray, offset: number, step: number, to: number, n: number): void {
    if (step === 0) R.fill(a[offset], to, to + n)
    else if (a instanceof Float32Array) {
      if (step === 1) loadF32Run(a, offset, to, n)
      else loadF32(a, offset, step, to, n)
    } else if (a instanceof Float64Array) loadF64(a, offset, step, to, n)
    else if (a instanceof Int32Array) loadI32(a, offset, step, to, n)
    else loadU8(a, offset, step, to, n)
  }

  /** Unrolled, like its counterpart below: nearly every element of a training run passes here. */
  function loadF32Run(a: Float32Array, o: number, to: number, n: number): void {
    const end = to + n
    for (; to + 4 <= end; to += 4, o += 4) {
      R[to] = a[o]
      R[to + 1] = a[o + 1]
      R[to + 2] = a[o + 2]
      R[to + 3] = a[o + 3]
    }
    for (; to < end; to++, o++) R[to] = a[o]
  }
  function loadF32(a: Float32Array, o: number, step: number, to: number, n: number): void {
    for (const end = to + n; to < end; to++, o += step) R[to] = a[o]
  }
  function loadF64(a: Float64Array, o: number, step: number, to: number, n: number): void {
    for (const end = to + n; to < end; to++, o += step) R[to] = a[o]
  }
  function loadI32(a: Int32Array, o: number, step: number, to: number, n: number): void {
    for (const end = to + n; to < end; to++, o += step) R[to] = a[o]
  }
  function loadU8(a: Uint8Array, o: number, step: number, to: number, n: number): void {
    for (const end = to + n; to < end; to++, o += step) R[to] = a[o]
  }

  function store(a: HostArray, offset: number, step: number, from: number, n: number): void {
    if (a instanceof Float32Array) {
      if (step === 1) storeF32Run(a, offset, from, n)
      else storeF32(a, offset, step, from, n)
    } else if (a instanceof Float64Array) storeF64(a, offset, step, from, n)
    else if (a instanceof Int32Array) storeI32(a, offset, step, from, n)
    else storeBool(a, offset, step, from, n)
  }

  function storeF32Run(a: Float32Array, o: number, from: number, n: number): void {
    const end = from + n
    for (; from + 4 <= end; from += 4, o += 4) {
      a[o] = R[from]
      a[o + 1] = R[from + 1]
      a[o + 2] = R[from + 2]
      a[o + 3] = R[from + 3]
    }
    for (; from < end; from++, o++) a[o] = R[from]
  }
  function storeF32(a: Float32Array, o: number, step: number, from: number, n: number): void {
    for (const end = from + n; from < end; from++, o += step) a[o] = R[from]
  }
  function storeF64(a: Float64Array, o: number, step: number, from: number, n: number): void {
    for (const end = from + n; from < end; from++, o += step) a[o] = R[from]
  }
  function storeI32(a: Int32Array, o: number, step: number, from: number, n: number): void {
    for (const end = from + n; from < end; from++, o += step) a[o] = R[from]
  }
  function storeBool(a: Uint8Array, o: number, step: number, from: number, n: number): void {
    for (const end = from + n; from < end; from++, o += step) a[o] = Number(R[from] !== 0)
  }

  function fill(a: HostArray, offset: number, step: number, value: number, n: number): void {
    const v = a instanceof Uint8Array ? (value !== 0 ? 1 : 0) : value
    if (step === 1) a.fill(v, offset, offset + n)
    else for (let i = 0, o = offset; i < n; i++, o += step) a[o] = v
  }

  return { load, store, fill }
}
