// Windows to bindings. WebGPU checks aliasing per buffer, not per range, so a kernel binds each buffer once, read_write
// where one of its windows is written; which window lies on which binding is part of the kernel's key.

import { DTypeError } from '../../errors'
import type { DType, View } from '../types'
import type { Block, GpuBuffer } from './pool'

/** WGSL element types of the dtypes: a bool is one u32. */
export type Element = 'f32' | 'i32' | 'u32'

export function elementOf(dtype: DType): Element {
  switch (dtype) {
    case 'float32':
      return 'f32'
    case 'int32':
      return 'i32'
    case 'bool':
      return 'u32'
    case 'float64':
      throw new DTypeError("webgpu: float64 does not exist on this device; use float32, or the device 'cpu'")
    default:
      return dtype satisfies never
  }
}

export function blockOf(view: View): Block {
  return (view.buffer as GpuBuffer).block
}

export class Bindings {
  readonly blocks: Block[] = []
  #access = ''
  #elements: string[] = []
  /** The binding of each window, in the order of `add`. */
  readonly #names: string[] = []
  #cell = -1

  /** Adds a window; returns the WGSL name of its array. With `lanes` 4 its elements are vectors of four. */
  add(view: View, written = false, lanes: 1 | 4 = 1): string {
    const block = blockOf(view)
    const element = lanes === 4 ? `vec4<${elementOf(view.dtype)}>` : elementOf(view.dtype)
    let at = this.blocks.indexOf(block)
    if (at < 0) {
      at = this.blocks.length
      this.blocks.push(block)
      this.#access += written ? 'w' : 'r'
      this.#elements.push(element)
    } else {
      if (this.#elements[at] !== element) {
        throw new DTypeError(`webgpu: one buffer used as ${this.#elements[at]} and ${element} in one op`)
      }
      if (written) this.#access = `${this.#access.slice(0, at)}w${this.#access.slice(at + 1)}`
    }
    this.#names.push(`b${at}`)
    return `b${at}`
  }

  /** Adds the failure cell. */
  addCell(block: Block): void {
    this.#cell = this.blocks.length
    this.blocks.push(block)
    this.#access += 'w'
    this.#elements.push('cell')
  }

  get access(): string {
    return this.#access
  }

  /** Identifies element types and which window is where. */
  get key(): string {
    return `${this.#elements.join()}:${this.#names.join()}`
  }

  /** Declarations of the arrays and of `params` with room for the given slot. */
  declarations(slotBytes: number): string {
    const lines = this.#elements.map((element, k) => {
      const mode = this.#access[k] === 'w' ? 'read_write' : 'read'
      return k === this.#cell
        ? `@group(0) @binding(${k}) var<storage, read_write> failure: array<atomic<u32>>;`
        : `@group(0) @binding(${k}) var<storage, ${mode}> b${k}: array<${element}>;`
    })
    lines.push(`@group(1) @binding(0) var<uniform> params: array<vec4<u32>, ${slotBytes / 16}>;`)
    return lines.join('\n')
  }
}
