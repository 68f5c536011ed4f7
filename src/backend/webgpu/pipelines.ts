// Pipelines and bind groups, each made once. A pipeline costs 1.5 ms and the driver caches none; a bind group 3 to 8 us.

import { type Device, STAGE_COMPUTE } from './device'
import type { Block } from './pool'

/** A compiled kernel with the layout of its buffers: one letter per binding, `r` read or `w` read_write. */
export interface Kernel {
  readonly pipeline: GPUComputePipeline
  readonly access: string
}

/** Bind groups kept; far above what a training step uses. */
const MAX_GROUPS = 8192

export class Pipelines {
  readonly #device: Device
  readonly #uniformLayout: GPUBindGroupLayout
  readonly #kernels = new Map<string, Kernel>()
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>()
  readonly #groups = new Map<string, GPUBindGroup>()
  /** Keys of the bind groups that name a block. */
  readonly #users = new Map<Block, string[]>()

  constructor(device: Device) {
    this.#device = device
    this.#uniformLayout = device.gpu.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: STAGE_COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
      ],
    })
  }

  get count(): number {
    return this.#kernels.size
  }

  /** The kernel of a key; `source` is called once per key. `access` is part of the key. */
  kernel(op: string, key: string, access: string, source: () => string): Kernel {
    const fullKey = `${op}|${access}|${key}`
    let kernel = this.#kernels.get(fullKey)
    if (!kernel) {
      const code = source()
      const { gpu } = this.#device
      const pipeline = this.#device.guard(`compiling ${op}`, 0, ['validation', 'internal'], () =>
        gpu.createComputePipeline({
          label: op,
          layout: this.#layout(access).pipeline,
          compute: { module: gpu.createShaderModule({ label: op, code }), entryPoint: 'main' },
        }),
      )
      kernel = { pipeline, access }
      this.#kernels.set(fullKey, kernel)
    }
    return kernel
  }

  /** Buffers in the order of the kernel's bindings. */
  bindGroup(access: string, blocks: readonly Block[]): GPUBindGroup {
    let key = access
    for (const block of blocks) key += `,${block.id}`
    let group = this.#groups.get(key)
    if (!group) {
      if (this.#groups.size >= MAX_GROUPS) {
        this.#groups.clear()
        this.#users.clear()
      }
      group = this.#device.guard('binding buffers', 0, ['validation'], () =>
        this.#device.gpu.createBindGroup({
          layout: this.#layout(access).group,
          entries: blocks.map((block, binding) => ({ binding, resource: { buffer: block.gpu } })),
        }),
      )
      this.#groups.set(key, group)
      for (const block of blocks) {
        const keys = this.#users.get(block)
        if (keys) keys.push(key)
        else this.#users.set(block, [key])
      }
    }
    return group
  }

  /** The group of the uniform slots; its offset is given with each dispatch. */
  uniformGroup(buffer: GPUBuffer, slotBytes: number): GPUBindGroup {
    return this.#device.gpu.createBindGroup({
      layout: this.#uniformLayout,
      entries: [{ binding: 0, resource: { buffer, size: slotBytes } }],
    })
  }

  /** Forgets the bind groups that name a destroyed block. */
  forget(block: Block): void {
    for (const key of this.#users.get(block) ?? []) this.#groups.delete(key)
    this.#users.delete(block)
  }

  #layout(access: string): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    let layout = this.#layouts.get(access)
    if (!layout) {
      const { gpu } = this.#device
      const group = gpu.createBindGroupLayout({
        entries: [...access].map((letter, binding) => ({
          binding,
          visibility: STAGE_COMPUTE,
          buffer: { type: letter === 'w' ? ('storage' as const) : ('read-only-storage' as const) },
        })),
      })
      const pipeline = gpu.createPipelineLayout({ bindGroupLayouts: [group, this.#uniformLayout] })
      layout = { group, pipeline }
      this.#layouts.set(access, layout)
    }
    return layout
  }
}
