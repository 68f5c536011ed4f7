// What each thread of the cpu device does: it takes tasks from shared memory and runs the calls in them.
//
// A task is a linked list of calls of WASM functions. All deciding stays with the main thread's TypeScript (threads.ts); this
// is an interpreter of a few dozen lines, and the main thread runs tasks with it too. Whoever is free takes the next task, so
// that a thread that sleeps, is slow or has died delays nobody else.
//
// `runner` becomes a worker as text: it names nothing outside of itself, and nothing that a compiler would lower to a
// helper of its own. So it works from source, bundled, in Node and in a page, without anything to configure.

/** Where things are in the words that threads share; what changes often has a cache line of its own. */
export const LAYOUT = {
  /** Tasks are numbered on and on. The next to be taken; the first that is not there yet; how many were finished. */
  next: 0,
  limit: 16,
  finished: 32,
  /** Threads in Atomics.wait, on `limit`. */
  sleepers: 48,
  /** How many tasks threw an error. */
  failed: 64,
  /** The heap's growths, so that threads know when to look at the memory again. */
  generation: 80,
  /** Address of the first call of task t, at `tasks + (t & mask)`. */
  tasks: 96,
  mask: 255,
  words: 96 + 256,
} as const

/** Words of a call: address of the next call or 0, module, function and number of arguments, which are scratch, arguments. */
export const CALL = { next: 0, module: 1, callee: 2, scratch: 3, arguments: 4 } as const

/** Everything that a thread has to know; a worker gets it as a message. */
export interface ThreadSetup {
  readonly memory: WebAssembly.Memory
  /** Address of the shared words. */
  readonly control: number
  /** 0 is the main thread. */
  readonly index: number
  /** Bytes from one thread's scratch memory to the next one's. */
  readonly scratchBytes: number
  /** How long a worker without work looks for some before it sleeps. */
  readonly spinMs: number
  readonly layout: typeof LAYOUT
  readonly call: typeof CALL
}

type Callee = (...args: number[]) => void

export interface Runner {
  /** Functions by the address of their module, in the order of its exports. */
  readonly modules: Map<number, Callee[]>
  /** Runs tasks until none is left. */
  take(): void
  /** Runs tasks for ever. */
  serve(): never
}

/** A thread's side of the work. */
export function runner(setup: ThreadSetup): Runner {
  const { memory, index, scratchBytes, spinMs, layout, call } = setup
  const base = setup.control >>> 2
  const [next, limit] = [base + layout.next, base + layout.limit]
  const modules = new Map<number, Callee[]>()
  let words = new Int32Array(memory.buffer)
  let generation = 0

  /** After a growth; asking for nothing makes the engine look at the memory's size. */
  function renew(): void {
    memory.grow(0)
    words = new Int32Array(memory.buffer)
    generation = words[base + layout.generation]
  }

  /** A module is its length and its bytes; they are compiled from a copy, which compilers insist on. */
  function functionsOf(module: number): Callee[] {
    let functions = modules.get(module)
    if (!functions) {
      const at = module >>> 0
      const bytes = new Uint8Array(memory.buffer, at + 4, words[at >>> 2]).slice()
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } })
      functions = Object.values(instance.exports) as Callee[]
      modules.set(module, functions)
    }
    return functions
  }

  function run(first: number): void {
    for (let address = first; address !== 0; ) {
      const at = address >>> 2
      const callee = words[at + call.callee]
      const scratch = words[at + call.scratch]
      const count = callee >>> 8
      const args: number[] = []
      for (let i = 0; i < count; i++) {
        const value = words[at + call.arguments + i]
        args.push((scratch >>> i) & 1 ? value + index * scratchBytes : value)
      }
      functionsOf(words[at + call.module])[callee & 255](...args)
      address = words[at + call.next]
    }
  }

  function take(): void {
    for (;;) {
      const task = Atomics.load(words, next)
      if (task === Atomics.load(words, limit)) return
      if (Atomics.compareExchange(words, next, task, (task + 1) | 0) !== task) continue
      try {
        if (words[base + layout.generation] !== generation) renew()
        run(words[base + layout.tasks + (task & layout.mask)])
      } catch {
        Atomics.add(words, base + layout.failed, 1)
      }
      Atomics.add(words, base + layout.finished, 1)
    }
  }

  function serve(): never {
    for (;;) {
      const seen = Atomics.load(words, limit)
      take()
      const end = performance.now() + spinMs
      while (Atomics.load(words, limit) === seen) {
        if (performance.now() < end) continue
        Atomics.add(words, base + layout.sleepers, 1)
        Atomics.wait(words, limit, seen)
        Atomics.sub(words, base + layout.sleepers, 1)
      }
    }
  }

  return { modules, take, serve }
}
