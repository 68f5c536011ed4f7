// What kernels need of a device: compile once, spread workgroups over the grid, dispatch.

import { ShapeError } from '../../errors'
import type { DType, View } from '../types'
import type { Bindings } from './bindings'
import type { Device } from './device'
import { Params } from './params'
import type { Pipelines } from './pipelines'
import type { GpuBuffer, Pool } from './pool'
import { type CommandQueue, SLOT_BYTES } from './queue'
import { specialise, type TemplateValues } from './template'

/** Invocations of a workgroup in the kernels that have one invocation per element. */
const WORKGROUP = 64

/** A kernel and the place it runs. */
export interface Dispatch {
  readonly op: string
  /** What the source depends on besides the bindings. */
  readonly key: string
  readonly template: string
  /** Template values besides BINDINGS; called when the kernel is compiled. */
  values(): TemplateValues
  readonly bindings: Bindings
  /** Word 0 of the parameters: invocations, or workgroups with `byGroup`. */
  readonly count: number
  /** Word 3. */
  readonly extra: number
  readonly byGroup?: boolean
  /** Words from 4 on. */
  fill(params: Params): void
}

export class Engine {
  constructor(
    readonly device: Device,
    readonly pool: Pool,
    readonly pipelines: Pipelines,
    readonly queue: CommandQueue,
    /** Whether kernels should suit a software adapter: no workgroup memory, no barriers. */
    readonly fallback: boolean,
    /** Whether invocations can hand values to their neighbours. */
    readonly subgroups: boolean,
    /** Whether fresh memory is filled with NaN, to show kernels that do not write all of it. */
    readonly debug: boolean,
  ) {}

  /** Memory from the pool: stale, or poisoned in debug mode. */
  allocate(bytes: number): GpuBuffer {
    const buffer = this.pool.allocate(bytes)
    if (this.debug)
      this.queue.write(buffer.block, 0, new Float32Array(buffer.byteLength / 4).fill(Number.NaN))
    return buffer
  }

  /** Most buffers one kernel may bind. */
  get maxBindings(): number {
    return this.device.gpu.limits.maxStorageBuffersPerShaderStage
  }

  run(d: Dispatch): void {
    if (d.count === 0) return
    // Kernels index with i32.
    if (d.count >= 2 ** 31) {
      throw new ShapeError(`webgpu: ${d.op} over ${d.count} elements; at most 2^31 - 1 are possible`)
    }
    const groups = d.byGroup ? d.count : Math.ceil(d.count / WORKGROUP)
    const rows = Math.ceil(groups / this.device.gpu.limits.maxComputeWorkgroupsPerDimension)
    const width = Math.ceil(groups / rows)
    const params = new Params().int(d.count, width, 0, d.extra)
    d.fill(params)
    const { slot } = params
    const { access, blocks, key } = d.bindings
    const kernel = this.pipelines.kernel(d.op, `${key}|${slot}|${d.key}`, access, () =>
      specialise(d.template, { ...d.values(), BINDINGS: d.bindings.declarations(SLOT_BYTES[slot]) }),
    )
    this.queue.dispatch(d.op, kernel, blocks, params.words, slot, [width, rows])
  }

  /** Calls `fn` with scratch memory as a contiguous vector; it goes back to the pool right after. */
  withScratch(dtype: DType, length: number, fn: (scratch: View) => void): void {
    const buffer = this.allocate(length * 4)
    try {
      fn({ buffer, dtype, offset: 0, shape: [length], strides: [1] })
    } finally {
      this.pool.release(buffer)
    }
  }
}
