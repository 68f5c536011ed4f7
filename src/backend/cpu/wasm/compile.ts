// From bytes to functions: what this machine's WebAssembly can do, and instances on a heap's memory.
//
// Modules are compiled at once, on first use: they have a few KiB and take a fraction of a millisecond. Where
// compiling is refused (a page's security policy, an engine without SIMD) there is no instance, and the
// TypeScript kernels serve.

import { f32x4, v128 } from './code'
import { Module } from './emitter'

/** What a module has to know of the machine it is written for. */
export interface Target {
  /** Relaxed SIMD's fused multiply-add may be used. */
  readonly fma: boolean
  /** The memory is a shared one. */
  readonly shared: boolean
}

/** The exports of the module that `emit` writes, working on `memory`; null where it may not be compiled. */
export function instantiate<Exports>(
  emit: (target: Target) => Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): Exports | null {
  const bytes = emit({ fma: hasFma(), shared: !(memory.buffer instanceof ArrayBuffer) })
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports as Exports
  } catch {
    // Engines differ in what they throw.
    return null
  }
}

let fma: boolean | undefined

/** Whether there is relaxed SIMD: by default from Node 22 on, and in browsers. */
function hasFma(): boolean {
  if (fma === undefined) {
    const probe = new Module(false)
    probe.export('probe', ['at'], (f, { at }) => {
      const x = v128.load(at)
      f.run(v128.store(at, f32x4.relaxedMadd(x, x, x)))
    })
    fma = WebAssembly.validate(probe.bytes())
  }
  return fma
}
