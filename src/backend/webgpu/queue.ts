// Encoding now, submitting later. Kernels go into one open compute pass; the queue is flushed at a readback, before
// a host write to a buffer in use, and every FLUSH_AFTER dispatches.
//
// Every kernel has the same calling convention: binding 0 is a uniform slot of 256 words (shapes, strides, offsets,
// numbers: all that changes per call), bindings 1… are storage buffers. Pipelines are cached by source, bind groups by
// the buffers they hold.

import { DeviceError } from '../../errors'
import type { GpuBuffer } from './pool'

/** Words (32 bits) of a uniform slot. */
export const SLOT_WORDS = 256
const SLOT_BYTES = SLOT_WORDS * 4
const FLUSH_AFTER = 128
const MAX_BIND_GROUPS = 8192
const MAX_GROUPS_PER_AXIS = 65_535

export interface Binding {
  readonly buffer: GpuBuffer
  readonly writable: boolean
}

export interface Kernel {
  readonly pipeline: GPUComputePipeline
  readonly pattern: string
}

export interface QueueStats {
  dispatches: number
  submits: number
  pipelines: number
}

export class Queue {
  readonly stats: QueueStats = { dispatches: 0, submits: 0, pipelines: 0 }
  readonly #device: GPUDevice
  readonly #slots: GPUBuffer
  readonly #words = new Int32Array(SLOT_WORDS * FLUSH_AFTER)
  readonly #kernels = new Map<string, Kernel>()
  readonly #layouts = new Map<string, GPUBindGroupLayout>()
  readonly #groups = new Map<string, GPUBindGroup>()
  #encoder: GPUCommandEncoder | null = null
  #pass: GPUComputePassEncoder | null = null
  #pending = 0
  /** Counts submits, so that buffers can tell whether they are in the open encoder. */
  #epoch = 0

  constructor(device: GPUDevice) {
    this.#device = device
    this.#slots = device.createBuffer({
      label: 'evenfold uniform slots',
      size: SLOT_BYTES * FLUSH_AFTER,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
  }

  /** The pipeline of a source; `key` stands for the source, which is only made if it is new. */
  kernel(key: string, pattern: string, source: () => string): Kernel {
    const found = this.#kernels.get(key)
    if (found) return found
    this.stats.pipelines++
    const module = this.#device.createShaderModule({ label: key, code: source() })
    const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [this.#layout(pattern)] })
    const pipeline = this.#device.createComputePipeline({ label: key, layout, compute: { module, entryPoint: 'main' } })
    const kernel = { pipeline, pattern }
    this.#kernels.set(key, kernel)
    return kernel
  }

  #layout(pattern: string): GPUBindGroupLayout {
    let layout = this.#layouts.get(pattern)
    if (!layout) {
      const entries: GPUBindGroupLayoutEntry[] = [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: SLOT_BYTES } },
      ]
      for (const [i, access] of [...pattern].entries()) {
        entries.push({
          binding: i + 1,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: access === 'w' ? 'storage' : 'read-only-storage' },
        })
      }
      layout = this.#device.createBindGroupLayout({ entries })
      this.#layouts.set(pattern, layout)
    }
    return layout
  }

  #group(pattern: string, bindings: readonly Binding[]): GPUBindGroup {
    const key = `${pattern}:${bindings.map((b) => b.buffer.id).join(',')}`
    let group = this.#groups.get(key)
    if (!group) {
      if (this.#groups.size >= MAX_BIND_GROUPS) this.#groups.clear()
      group = this.#device.createBindGroup({
        layout: this.#layout(pattern),
        entries: [
          { binding: 0, resource: { buffer: this.#slots, size: SLOT_BYTES } },
          ...bindings.map((b, i) => ({ binding: i + 1, resource: { buffer: b.buffer.gpu } })),
        ],
      })
      this.#groups.set(key, group)
    }
    return group
  }

  /** Encodes one dispatch of `groups` workgroups (any number; the kernel flattens two axes). */
  dispatch(kernel: Kernel, bindings: readonly Binding[], words: ArrayLike<number>, groups: number): void {
    if (groups === 0) return
    if (words.length > SLOT_WORDS) {
      throw new DeviceError(`webgpu: a kernel needs ${words.length} words of parameters, ${SLOT_WORDS} are available; split the fused expression`)
    }
    if (this.#pending === FLUSH_AFTER) this.flush()
    if (!this.#encoder || !this.#pass) {
      this.#encoder = this.#device.createCommandEncoder()
      this.#pass = this.#encoder.beginComputePass()
    }
    this.#words.set(words, this.#pending * SLOT_WORDS)
    this.#pass.setPipeline(kernel.pipeline)
    this.#pass.setBindGroup(0, this.#group(kernel.pattern, bindings), [this.#pending * SLOT_BYTES])
    const x = Math.min(groups, MAX_GROUPS_PER_AXIS)
    this.#pass.dispatchWorkgroups(x, Math.ceil(groups / x))
    for (const b of bindings) b.buffer.used = this.#epoch
    this.#pending++
    this.stats.dispatches++
  }

  /** Whether the open encoder uses the buffer. */
  uses(buffer: GpuBuffer): boolean {
    return this.#encoder !== null && buffer.used === this.#epoch
  }

  /** Submits what is encoded; `tail` may append copies. */
  flush(tail?: (encoder: GPUCommandEncoder) => void): void {
    this.#pass?.end()
    this.#pass = null
    if (!this.#encoder && !tail) return
    const encoder = this.#encoder ?? this.#device.createCommandEncoder()
    this.#encoder = null
    tail?.(encoder)
    if (this.#pending > 0) this.#device.queue.writeBuffer(this.#slots, 0, this.#words, 0, this.#pending * SLOT_WORDS)
    this.#device.queue.submit([encoder.finish()])
    this.#pending = 0
    this.#epoch++
    this.stats.submits++
  }
}
