// Commands: encoded when an op is called, submitted together. One compute pass stays open; the queue is flushed at a
// readback, before a host write into memory that encoded work uses, and every MAX_DISPATCHES dispatches.
//
// Parameters of a dispatch lie in a slot of one uniform buffer, found by a dynamic offset. They are collected on the host
// and written once, right before the submit; the queue keeps that order, so each batch starts again at the first slot.

import { DeviceError } from '../../errors'
import { type Device, MAP_READ, USAGE } from './device'
import type { Kernel, Pipelines } from './pipelines'
import type { Block, Pool } from './pool'
import { Timer } from './timer'

/** Dispatches per submit. */
const MAX_DISPATCHES = 128
/** Bytes of the usual slot, and of the large one for kernels with many windows or scalars. */
export const SLOT_BYTES = [512, 4096] as const
const UNIFORM_BYTES = MAX_DISPATCHES * SLOT_BYTES[0]
/** Idle staging memory kept for readbacks. */
const MAX_STAGING = 64 * 2 ** 20
/** Bytes of the failure cell: token, id, two unused words. */
export const CELL_BYTES = 16

export class CommandQueue {
  readonly #device: Device
  readonly #pool: Pool
  readonly #pipelines: Pipelines
  readonly #uniforms: GPUBuffer
  readonly #uniformGroups: GPUBindGroup[]
  readonly #slots = new Uint32Array(UNIFORM_BYTES / 4)
  readonly #staging: GPUBuffer[] = []
  /** Where kernels report ids out of range. */
  readonly cell: Block
  #cellUsed = false
  #slotEnd = 0
  #encoder: GPUCommandEncoder | null = null
  #pass: GPUComputePassEncoder | null = null
  #pending = 0
  #lastOp = ''
  #batch = 0
  /** Set while someone profiles. */
  #timer: Timer | null = null
  dispatches = 0
  submits = 0
  stagingCreated = 0
  bytesWritten = 0
  bytesRead = 0

  constructor(device: Device, pool: Pool, pipelines: Pipelines) {
    this.#device = device
    this.#pool = pool
    this.#pipelines = pipelines
    this.#uniforms = device.gpu.createBuffer({ size: UNIFORM_BYTES, usage: USAGE.UNIFORM | USAGE.COPY_DST })
    this.#uniformGroups = SLOT_BYTES.map((bytes) => pipelines.uniformGroup(this.#uniforms, bytes))
    this.cell = pool.allocate(CELL_BYTES).block
    this.write(this.cell, 0, new Uint32Array(CELL_BYTES / 4))
  }

  /** Encodes one dispatch. `params` is copied; `slot` says which size of slot the kernel declares. */
  dispatch(
    op: string,
    kernel: Kernel,
    blocks: readonly Block[],
    params: Uint32Array,
    slot: 0 | 1,
    groups: readonly [number, number],
  ): void {
    const bytes = SLOT_BYTES[slot]
    if (this.#pending >= MAX_DISPATCHES || this.#slotEnd + bytes > UNIFORM_BYTES) this.flush()
    const offset = this.#slotEnd
    this.#slotEnd += bytes
    this.#slots.set(params, offset / 4)
    const pass = this.#openPass(op)
    pass.setPipeline(kernel.pipeline)
    pass.setBindGroup(0, this.#pipelines.bindGroup(kernel.access, blocks))
    pass.setBindGroup(1, this.#uniformGroups[slot], [offset])
    pass.dispatchWorkgroups(groups[0], groups[1])
    for (const block of blocks) block.batch = this.#batch
    if (blocks.includes(this.cell)) this.#cellUsed = true
    this.#pending++
    this.#lastOp = op
    this.dispatches++
  }

  /** Submits everything encoded so far. */
  flush(): void {
    const encoder = this.#encoder
    if (!encoder) return
    this.#closePass()
    const collected = this.#timer?.collect(encoder)
    this.#encoder = null
    const { queue } = this.#device.gpu
    this.#device.guard(`a batch ending with ${this.#lastOp}`, 0, ['validation', 'out-of-memory'], () => {
      if (this.#slotEnd > 0) queue.writeBuffer(this.#uniforms, 0, this.#slots, 0, this.#slotEnd / 4)
      queue.submit([encoder.finish()])
    })
    collected?.()
    this.#slotEnd = 0
    this.#pending = 0
    this.#batch++
    this.submits++
    this.#pool.trim()
  }

  /** Copies host bytes into a block. */
  write(block: Block, byteOffset: number, data: ArrayBufferView): void {
    if (this.#encoder && block.batch === this.#batch) this.flush()
    this.bytesWritten += data.byteLength
    this.#device.guard('write', data.byteLength, ['validation'], () =>
      this.#device.gpu.queue.writeBuffer(block.gpu, byteOffset, unshared(data)),
    )
  }

  /**
   * A copy of a block's bytes as they are once all encoded work is done, together with the failure cell, which it
   * clears. Rejects with the device's first error.
   */
  async read(
    block: Block,
    byteOffset: number,
    byteLength: number,
  ): Promise<{ bytes: ArrayBuffer; cell: Uint32Array }> {
    this.#device.check()
    this.bytesRead += byteLength
    const withCell = this.#cellUsed
    const size = byteLength + (withCell ? CELL_BYTES : 0)
    if (size === 0) {
      this.flush()
      await this.idle()
      return { bytes: new ArrayBuffer(0), cell: new Uint32Array(2) }
    }
    const staging = this.#takeStaging(size)
    const encoder = this.#openEncoder()
    this.#closePass()
    if (byteLength > 0) encoder.copyBufferToBuffer(block.gpu, byteOffset, staging, 0, byteLength)
    if (withCell) {
      encoder.copyBufferToBuffer(this.cell.gpu, 0, staging, byteLength, CELL_BYTES)
      encoder.clearBuffer(this.cell.gpu, 0, CELL_BYTES)
      this.#cellUsed = false
    }
    this.#lastOp = 'read'
    this.flush()
    try {
      await staging.mapAsync(MAP_READ, 0, size)
    } catch (error) {
      staging.destroy()
      await this.#device.settled()
      this.#device.check()
      throw new DeviceError(`webgpu: reading ${byteLength} bytes failed: ${(error as Error).message}`, {
        cause: error,
      })
    }
    const bytes = staging.getMappedRange(0, size).slice(0)
    staging.unmap()
    this.#giveStaging(staging)
    await this.#device.settled()
    this.#device.check()
    return withCell
      ? { bytes: bytes.slice(0, byteLength), cell: new Uint32Array(bytes, byteLength, 2) }
      : { bytes, cell: new Uint32Array(2) }
  }

  /** Times kernels from here on; the function returned stops it and resolves to the times. */
  startTimer(): () => Promise<Timer> {
    this.flush()
    const timer = new Timer(this.#device, MAX_DISPATCHES)
    this.#timer = timer
    return async () => {
      this.flush()
      this.#timer = null
      await timer.done()
      return timer
    }
  }

  /** Resolves when all submitted work is done; rejects with the device's first error. */
  async idle(): Promise<void> {
    await this.#device.gpu.queue.onSubmittedWorkDone().catch(() => {})
    await this.#device.settled()
    this.#device.check()
  }

  destroy(): void {
    this.#encoder = null
    this.#pass = null
    this.#uniforms.destroy()
    for (const staging of this.#staging) staging.destroy()
    this.#staging.length = 0
  }

  #openEncoder(): GPUCommandEncoder {
    this.#encoder ??= this.#device.gpu.createCommandEncoder()
    return this.#encoder
  }

  #openPass(op: string): GPUComputePassEncoder {
    // A pass can be timed, a dispatch cannot.
    if (this.#timer) this.#closePass()
    this.#pass ??= this.#openEncoder().beginComputePass(this.#timer?.pass(op))
    return this.#pass
  }

  #closePass(): void {
    this.#pass?.end()
    this.#pass = null
  }

  #takeStaging(bytes: number): GPUBuffer {
    const found = this.#staging.findIndex((b) => b.size >= bytes && b.size <= 4 * bytes + 4096)
    if (found >= 0) return this.#staging.splice(found, 1)[0]
    const size = Math.ceil(bytes / 4096) * 4096
    this.stagingCreated++
    return this.#device.guard('read', size, ['out-of-memory', 'validation'], () =>
      this.#device.gpu.createBuffer({
        size: Math.min(size, this.#device.gpu.limits.maxBufferSize),
        usage: USAGE.MAP_READ | USAGE.COPY_DST,
      }),
    )
  }

  #giveStaging(staging: GPUBuffer): void {
    this.#staging.push(staging)
    let kept = this.#staging.reduce((sum, b) => sum + b.size, 0)
    while (kept > MAX_STAGING) {
      const oldest = this.#staging.shift() as GPUBuffer
      kept -= oldest.size
      oldest.destroy()
    }
  }
}

/** WebGPU must not see shared memory (dawn.node crashes); such views are copied. */
function unshared(data: ArrayBufferView): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const plain = Object.prototype.toString.call(data.buffer) === '[object ArrayBuffer]'
  return plain ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
}
