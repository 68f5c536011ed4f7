// GPU memory: buffers in size classes, given back to a free list and taken from it again. This file owns two rules.
//
// A buffer that the encoder not yet submitted uses (`batch` is the current one) is neither destroyed nor written by the
// host: the write would overtake the encoded work. (Encoded work itself may reuse it: that stays in order.)
// What comes from the pool is stale: kernels write every element. In debug mode it is filled with NaN to show those that do not.

import { OutOfMemoryError, ReleasedError } from '../../errors'
import type { DeviceBuffer } from '../types'
import { type Device, USAGE } from './device'

/** A GPUBuffer and what is known of it. Lives on in the pool when its storage is gone. */
export class Block {
  /** The last batch of commands that uses it. */
  batch = -1
  constructor(
    readonly id: number,
    readonly gpu: GPUBuffer,
    readonly size: number,
  ) {}
}

/** Memory of one storage. */
export class GpuBuffer implements DeviceBuffer {
  readonly byteLength: number
  #block: Block | null

  constructor(block: Block) {
    this.byteLength = block.size
    this.#block = block
  }

  get block(): Block {
    if (!this.#block) {
      throw new ReleasedError('webgpu: this buffer was freed; it cannot be read, written or freed again')
    }
    return this.#block
  }

  /** Cuts the buffer off from its block. */
  detach(): Block {
    const block = this.block
    this.#block = null
    return block
  }
}

/** Below this much, idle memory is never given back to the driver. */
const KEEP_BYTES = 64 * 2 ** 20
/** Submits between two measurements of how much memory the work needs. */
const WINDOW = 64

export class Pool {
  readonly #device: Device
  readonly #limit: number
  readonly #free = new Map<number, Block[]>()
  readonly #all = new Set<Block>()
  #nextId = 0
  #liveBytes = 0
  /** Peaks of live bytes in this window of submits and the one before. */
  #peaks: [number, number] = [0, 0]
  #submits = 0
  /** Called when a block is destroyed. */
  onDestroy: (block: Block) => void = () => {}
  created = 0
  totalBytes = 0

  constructor(device: Device) {
    this.#device = device
    const { maxBufferSize, maxStorageBufferBindingSize } = device.gpu.limits
    // Room is left for the words that a readback adds.
    this.#limit = Math.min(maxBufferSize - 256, maxStorageBufferBindingSize)
  }

  /** Room for `bytes`. Throws OutOfMemoryError where no buffer can be that large. */
  allocate(bytes: number): GpuBuffer {
    const size = this.#sizeClass(bytes)
    const block = this.#free.get(size)?.pop() ?? this.#create(size)
    this.#liveBytes += size
    this.#peaks[0] = Math.max(this.#peaks[0], this.#liveBytes)
    return new GpuBuffer(block)
  }

  release(buffer: GpuBuffer): void {
    const block = buffer.detach()
    this.#liveBytes -= block.size
    const list = this.#free.get(block.size)
    if (list) list.push(block)
    else this.#free.set(block.size, [block])
  }

  /** After a submit, when no block is in use: destroys idle memory beyond what recent work needed. */
  trim(): void {
    if (++this.#submits % WINDOW === 0) this.#peaks = [this.#liveBytes, this.#peaks[0]]
    const allowed = Math.max(KEEP_BYTES, 1.5 * Math.max(...this.#peaks))
    if (this.totalBytes <= allowed) return
    for (const list of this.#free.values()) {
      while (list.length > 0 && this.totalBytes > allowed) this.#destroy(list.shift() as Block)
    }
  }

  destroy(): void {
    for (const block of this.#all) block.gpu.destroy()
    this.#all.clear()
    this.#free.clear()
    this.totalBytes = 0
  }

  /** Sizes come in steps of a quarter of the power of two below, so that at most a fifth is wasted. */
  #sizeClass(bytes: number): number {
    const step = Math.max(256, 2 ** Math.floor(Math.log2(Math.max(1, bytes))) / 4)
    const size = Math.max(256, Math.ceil(bytes / step) * step)
    if (size <= this.#limit) return size
    const exact = Math.ceil(bytes / 256) * 256
    if (exact <= this.#limit) return exact
    throw new OutOfMemoryError(
      `webgpu: a tensor of ${bytes} bytes is too large: this device allows ${this.#limit} bytes per buffer. Use smaller batches, or the device 'cpu'`,
    )
  }

  #create(size: number): Block {
    const gpu = this.#device.guard('allocate', size, ['out-of-memory', 'validation'], () =>
      this.#device.gpu.createBuffer({ size, usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST }),
    )
    const block = new Block(this.#nextId++, gpu, size)
    this.#all.add(block)
    this.created++
    this.totalBytes += size
    return block
  }

  #destroy(block: Block): void {
    block.gpu.destroy()
    this.#all.delete(block)
    this.totalBytes -= block.size
    this.onDestroy(block)
  }
}
