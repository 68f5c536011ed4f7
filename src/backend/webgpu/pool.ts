// GPU buffers, recycled by size class. This file owns the rules of their reuse:
//  - a buffer that an unsubmitted encoder uses is neither written with writeBuffer nor destroyed (see `used`);
//  - pooled memory is stale: a kernel writes every element or the op clears it (debug mode poisons with NaN).

import { OutOfMemoryError } from '../../errors'
import type { DeviceBuffer } from '../types'

export class GpuBuffer implements DeviceBuffer {
  /** The encoder epoch that last touched the buffer. */
  used = -1
  live = true
  constructor(
    readonly id: number,
    readonly gpu: GPUBuffer,
    readonly byteLength: number,
  ) {}
}

/** Powers of two with three steps between, so that at most a quarter is wasted. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256
  const power = 2 ** Math.floor(Math.log2(bytes - 1))
  return power + Math.ceil((bytes - power) / (power / 4)) * (power / 4)
}

export class Pool {
  readonly #device: GPUDevice
  readonly #limit: number
  readonly #onError: (error: OutOfMemoryError) => void
  readonly #free = new Map<number, GpuBuffer[]>()
  #nextId = 0
  created = 0
  bytes = 0

  constructor(device: GPUDevice, onError: (error: OutOfMemoryError) => void) {
    this.#device = device
    this.#limit = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize)
    this.#onError = onError
  }

  /** @throws OutOfMemoryError at once above the device's limit; where the driver refuses, at the next op or read. */
  allocate(bytes: number): GpuBuffer {
    const size = sizeClass(bytes)
    const buffer = this.#free.get(size)?.pop()
    if (buffer) {
      buffer.live = true
      return buffer
    }
    if (size > this.#limit) {
      throw new OutOfMemoryError(
        `webgpu: a buffer of ${bytes} bytes was asked for; this device's largest is ${this.#limit}. Use smaller batches or the cpu`,
      )
    }
    this.#device.pushErrorScope('out-of-memory')
    const gpu = this.#device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    })
    this.#device.popErrorScope().then(
      (error) => {
        if (error) {
          this.#onError(
            new OutOfMemoryError(
              `webgpu: no room for a buffer of ${size} bytes beside the ${this.bytes} in use; use smaller batches`,
              { cause: error },
            ),
          )
        }
      },
      () => {
        // The device is gone; its `lost` promise says why.
      },
    )
    this.created++
    this.bytes += size
    return new GpuBuffer(this.#nextId++, gpu, size)
  }

  /** Work that is queued on the buffer still comes before whoever gets it next. */
  release(buffer: GpuBuffer): void {
    if (!buffer.live) return
    buffer.live = false
    const list = this.#free.get(buffer.byteLength)
    if (list) list.push(buffer)
    else this.#free.set(buffer.byteLength, [buffer])
  }
}
