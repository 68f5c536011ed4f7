// Device buffers of the cpu: a heap block, and typed views on it that are renewed when the heap grows.

import { ReleasedError } from '../../errors'
import type { DeviceBuffer, DType, HostArray, View } from '../types'
import type { Heap, HeapBlock } from './heap'

/** Memory of one storage on the cpu heap. */
export class CpuBuffer implements DeviceBuffer {
  readonly byteLength: number
  readonly #heap: Heap
  #block: HeapBlock | null
  // One view per element type, taken on first use.
  #generation = -1
  #f32: Float32Array | undefined
  #f64: Float64Array | undefined
  #i32: Int32Array | undefined
  #u8: Uint8Array | undefined

  constructor(heap: Heap, bytes: number) {
    this.#heap = heap
    this.#block = heap.allocate(bytes)
    this.byteLength = this.#block.size
  }

  /** Byte address on the heap. */
  get ptr(): number {
    return this.#alive().ptr
  }
  get heap(): Heap {
    return this.#heap
  }

  get f32(): Float32Array {
    this.#renew()
    this.#f32 ??= this.#heap.f32(this.ptr, this.byteLength >>> 2)
    return this.#f32
  }
  get f64(): Float64Array {
    this.#renew()
    this.#f64 ??= this.#heap.f64(this.ptr, this.byteLength / 8)
    return this.#f64
  }
  get i32(): Int32Array {
    this.#renew()
    this.#i32 ??= this.#heap.i32(this.ptr, this.byteLength >>> 2)
    return this.#i32
  }
  get u8(): Uint8Array {
    this.#renew()
    this.#u8 ??= this.#heap.u8(this.ptr, this.byteLength)
    return this.#u8
  }

  /** The view that carries `dtype`. Valid until the next allocation. */
  typed(dtype: DType): HostArray {
    switch (dtype) {
      case 'float32':
        return this.f32
      case 'float64':
        return this.f64
      case 'int32':
        return this.i32
      case 'bool':
        return this.u8
      default:
        return dtype satisfies never
    }
  }

  free(): void {
    this.#heap.free(this.#alive())
    this.#block = null
    this.#generation = -1
    this.#f32 = this.#f64 = this.#i32 = this.#u8 = undefined
  }

  #alive(): HeapBlock {
    if (!this.#block)
      throw new ReleasedError('cpu: this buffer was freed; it cannot be read, written or freed again')
    return this.#block
  }

  #renew(): void {
    if (this.#generation === this.#heap.generation) return
    this.#alive()
    this.#f32 = this.#f64 = this.#i32 = this.#u8 = undefined
    this.#generation = this.#heap.generation
  }
}

/** The cpu buffer under a view. */
export function bufferOf(view: View): CpuBuffer {
  return view.buffer as CpuBuffer
}

/** The typed array under a view; index it with the view's offset and strides. */
export function arrayOf(view: View): HostArray {
  return bufferOf(view).typed(view.dtype)
}

/**
 * The array to move elements of this dtype bit by bit: float32 travels as int32, so that copying kernels see
 * three array types instead of four and every NaN keeps its payload.
 */
export function bitsOf(view: View): Int32Array | Float64Array | Uint8Array {
  const buffer = bufferOf(view)
  return view.dtype === 'float64' ? buffer.f64 : view.dtype === 'bool' ? buffer.u8 : buffer.i32
}
