// The cpu backend: typed-array kernels for every method of the contract, float32 and float64. It is also the
// readable specification that the other devices are tested against.

import type { Program } from '../program'
import type { RowCall, RowPlan } from '../rows'
import {
  type Backend,
  BYTES_PER_ELEMENT,
  type DeviceBuffer,
  type DType,
  type HostArray,
  type RandomKind,
  type ReduceKind,
  type View,
} from '../types'
import { CpuBuffer } from './buffer'
import { elementwise } from './elementwise'
import { gather, scatterAdd } from './gather'
import { createHeap, type Heap, type HeapOptions } from './heap'
import { matmul } from './matmul'
import { matmulInt8 } from './matmul-int8'
import { argSort, cumsum } from './order'
import { random } from './random'
import { argReduce, reduce } from './reduce'
import { wasmMatmul } from './wasm/matmul'
import { wasmMatmulInt8 } from './wasm/matmul-int8'
import { wasmPackInt8, wasmUnpackInt8 } from './wasm/pack-int8'
import { wasmReduce, wasmRows } from './wasm/programs'
import { setThreads, stopThreads } from './wasm/threads'

/** Runs everything at once, on the calling thread and those it has started; the methods are documented at `Backend`. */
export class CpuBackend implements Backend {
  readonly name = 'cpu'
  readonly #options: HeapOptions
  #heap: Heap | null = null

  constructor(options: HeapOptions = {}) {
    this.#options = options
  }

  /** The heap of all cpu tensors, made on first use so that importing the library reserves nothing. */
  get heap(): Heap {
    this.#heap ??= createHeap(this.#options)
    return this.#heap
  }

  /** See `InitOptions.threads`; and `setThreads` in wasm/threads.ts, of `leastNs`. */
  async setThreads(count: number, leastNs?: number): Promise<void> {
    // With one thread, memory need not be set aside before the first tensor.
    if (count > 1 || this.#heap) await setThreads(this.heap, count, leastNs)
  }

  stopThreads(): void {
    if (this.#heap) stopThreads(this.#heap)
  }

  supports(_dtype: DType): boolean {
    return true
  }

  allocate(dtype: DType, length: number): CpuBuffer {
    return new CpuBuffer(this.heap, length * BYTES_PER_ELEMENT[dtype])
  }

  free(buffer: DeviceBuffer): void {
    own(buffer).free()
  }

  write(buffer: DeviceBuffer, dtype: DType, data: HostArray, offset: number): void {
    own(buffer).typed(dtype).set(data, offset)
  }

  async read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray> {
    return this.readSync(buffer, dtype, offset, length)
  }

  readSync(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): HostArray {
    return own(buffer)
      .typed(dtype)
      .slice(offset, offset + length)
  }

  elementwise(
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    outputs: readonly View[],
  ): void {
    elementwise(program, inputs, scalars, outputs)
  }

  reduce(
    kind: ReduceKind,
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    output: View,
  ): void {
    if (!wasmReduce(kind, program, inputs, scalars, output)) reduce(kind, program, inputs, scalars, output)
  }

  rows(plan: RowPlan, call: RowCall): boolean {
    return wasmRows(plan, call)
  }

  argReduce(kind: 'max' | 'min', input: View, output: View): void {
    argReduce(kind, input, output)
  }

  argSort(descending: boolean, input: View, output: View): void {
    argSort(descending, input, output)
  }

  cumsum(input: View, output: View): void {
    cumsum(input, output)
  }

  matmul(a: View, b: View, out: View, accumulate: boolean): void {
    if (!wasmMatmul(a, b, out, accumulate)) matmul(a, b, out, accumulate)
  }

  matmulInt8(a: View, b: View, out: View, sevenBits: boolean): void {
    if (!wasmMatmulInt8(a, b, out, sevenBits)) matmulInt8(a, b, out)
  }

  packInt8(x: View, reciprocal: View, zero: View, low: number, high: number, out: View): boolean {
    return wasmPackInt8(x, reciprocal, zero, low, high, out)
  }

  unpackInt8(words: View, scale: View, zero: View, out: View): boolean {
    return wasmUnpackInt8(words, scale, zero, out)
  }

  gather(x: View, dim: number, index: View, out: View): void {
    gather(x, dim, index, out)
  }

  scatterAdd(out: View, dim: number, index: View, src: View): void {
    scatterAdd(out, dim, index, src)
  }

  random(kind: RandomKind, seed: number, stream: number, output: View): void {
    random(kind, seed, stream, output)
  }

  async synchronize(): Promise<void> {}

  /** Lets go of the heap. Buffers made before stay readable; new ones come from a fresh heap. */
  destroy(): void {
    this.stopThreads()
    this.#heap = null
  }
}

function own(buffer: DeviceBuffer): CpuBuffer {
  return buffer as CpuBuffer
}

/** The one cpu device of the process. */
export const cpuBackend = new CpuBackend()
