// From bytes to functions: what this machine's WebAssembly can do, and instances on a heap's memory.
//
// Modules are compiled at once, on first use: they have a few KiB and take a fraction of a millisecond. Where
// compiling is refused (a page's security policy, an engine without SIMD) there is no instance, and the
// TypeScript kernels serve.

import { v128 } from './code'
import { Module, type Target } from './emitter'

/** What modules for this memory are written for. */
export function targetOf(memory: WebAssembly.Memory): Target {
  return { fma: hasFma(), shared: !(memory.buffer instanceof ArrayBuffer) }
}

/** The exports of a module, working on `memory`; null where it may not be compiled. */
export function instanceOf<Exports>(
  bytes: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): Exports | null {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports as Exports
  } catch {
    // Engines differ in what they throw.
    return null
  }
}

/** The exports of the module that `emit` writes; null as `instanceOf`. With threads, ask them to make it instead. */
export function instantiate<Exports>(
  emit: (target: Target) => Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): Exports | null {
  return instanceOf(emit(targetOf(memory)), memory)
}

let fma: boolean | undefined

/** Whether there is relaxed SIMD: by default from Node 22 on, and in browsers. */
function hasFma(): boolean {
  if (fma === undefined) {
    const probe = new Module({ fma: true, shared: false })
    probe.export('probe', ['at'], (f, { at }) => {
      const x = v128.load(at)
      f.run(v128.store(at, f.madd(x, x, x)))
    })
    fma = WebAssembly.validate(probe.bytes())
  }
  return fma
}
