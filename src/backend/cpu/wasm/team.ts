// Several threads at work: writing tasks down, publishing them, and waiting until all are done.

import { platform } from '#platform'
import { DeviceError } from '../../../errors'
import type { PlatformWorker } from '../../../platform/types'
import { CALL, LAYOUT, type Runner, runner, type ThreadSetup } from './thread'
import type { Threads } from './threads'

/** Bytes of scratch memory that each thread has. */
const SCRATCH_BYTES = 4 * 1_048_576
/** Bytes of memory that tasks are written to, taken at once. */
const CHUNK = 65_536
/** How long a worker without work looks for some before it sleeps. */
const SPIN_MS = 0.2
/** After so many milliseconds in which no task was finished, a thread counts as lost. */
const PATIENCE_MS = 20_000

/** Which arguments of a module's functions may be addresses of scratch memory. */
export type ScratchArguments = Readonly<Record<string, readonly number[]>>

type Callee = (...args: number[]) => void

export class Team {
  /** Calls of kernels are written down, not made. */
  recording = false
  readonly #threads: Threads
  readonly #control: number
  #runner: Runner | null = null
  #workers: PlatformWorker[] = []
  #scratch = 0
  #scratchUsed = 0
  readonly #chunks: number[] = []
  /** Where the next call or parameters go: a chunk, and bytes of it that are taken. */
  #chunk = -1
  #taken = CHUNK
  /** Addresses of the first call of the current task and of the last one. */
  #first = 0
  #last = 0

  constructor(threads: Threads) {
    this.#threads = threads
    this.#control = threads.allocate(4 * LAYOUT.words)
  }

  get count(): number {
    return 1 + this.#workers.length
  }

  async start(count: number): Promise<void> {
    const { memory, words } = this.#threads
    this.#scratch = this.#threads.allocate(count * SCRATCH_BYTES)
    const base = this.#control >>> 2
    words.fill(0, base, base + LAYOUT.words)
    const setup = (index: number): ThreadSetup => ({
      ...{ memory, control: this.#control, index, scratchBytes: SCRATCH_BYTES },
      ...{ spinMs: SPIN_MS, layout: LAYOUT, call: CALL },
    })
    this.#runner = runner(setup(0))
    const source = `(setup, ready) => {
      const thread = (${runner})(setup)
      ready()
      thread.serve()
    }`
    const starts = Array.from({ length: count - 1 }, (_, i) => platform.startWorker(source, setup(i + 1)))
    const started = await Promise.allSettled(starts)
    this.#workers = started.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []))
    const failed = started.find((s) => s.status === 'rejected')
    if (failed) {
      this.stop()
      const { reason } = failed
      throw new DeviceError(`init: a thread could not be started: ${messageOf(reason)}`, { cause: reason })
    }
    for (const worker of this.#workers) {
      // The others do its work: nothing else to do.
      worker.onEnd(() => {
        this.#workers = this.#workers.filter((w) => w !== worker)
      })
    }
  }

  stop(): void {
    for (const worker of this.#workers.splice(0)) worker.stop()
  }

  /** Exports that workers know too; while recording, their calls are written down. */
  shared<Exports extends object>(bytes: Uint8Array, exports: Exports, scratch: ScratchArguments): Exports {
    const module = this.#threads.allocate(4 + bytes.length)
    const { words } = this.#threads
    words[module >>> 2] = bytes.length
    new Uint8Array(words.buffer, module + 4, bytes.length).set(bytes)
    const functions = Object.entries<Callee>(exports as Record<string, Callee>)
    ;(this.#runner as Runner).modules.set(
      module | 0,
      functions.map(([, f]) => f),
    )
    return Object.fromEntries(
      functions.map(([name, callee], index) => [
        name,
        (...args: number[]): void => {
          if (this.recording) this.#record(module, index, scratch[name] ?? [], args)
          else callee(...args)
        },
      ]),
    ) as Exports
  }

  scratch(bytes: number): number {
    const at = this.#scratchUsed
    this.#scratchUsed += Math.ceil(bytes / 64) * 64
    if (this.#scratchUsed > SCRATCH_BYTES)
      throw new Error(`threads: no ${bytes} bytes of scratch memory left`)
    return this.#scratch + at
  }

  /** Memory that lasts until the tasks written down now are done. */
  room(bytes: number): number {
    if (this.#taken + bytes > CHUNK) {
      this.#chunk++
      if (this.#chunk === this.#chunks.length) this.#chunks.push(this.#threads.allocate(CHUNK))
      // Not from the very start, which may be address 0: that means no call.
      this.#taken = 16
    }
    const address = this.#chunks[this.#chunk] + this.#taken
    this.#taken += (bytes + 15) & -16
    return address
  }

  split(size: number, step: number, pieces: number, piece: (first: number, count: number) => void): void {
    const units = Math.ceil(size / step)
    const tasks: number[] = []
    this.#chunk = -1
    this.#taken = CHUNK
    this.recording = true
    try {
      for (let i = 0; i < pieces; i++) {
        const first = Math.floor((units * i) / pieces) * step
        const end = Math.min(size, Math.floor((units * (i + 1)) / pieces) * step)
        this.#first = this.#last = 0
        piece(first, end - first)
        if (this.#first !== 0) tasks.push(this.#first)
      }
    } finally {
      this.recording = false
    }
    this.#run(tasks)
  }

  #record(module: number, callee: number, pointers: readonly number[], args: readonly number[]): void {
    const address = this.room(4 * (CALL.arguments + args.length))
    const { words } = this.#threads
    const at = address >>> 2
    let scratch = 0
    for (const i of pointers) {
      const place = (args[i] >>> 0) - this.#scratch
      if (place >= 0 && place < SCRATCH_BYTES) scratch |= 1 << i
    }
    words[at + CALL.next] = 0
    words[at + CALL.module] = module
    words[at + CALL.callee] = callee | (args.length << 8)
    words[at + CALL.scratch] = scratch
    for (let i = 0; i < args.length; i++) words[at + CALL.arguments + i] = args[i]
    if (this.#first === 0) this.#first = address
    else words[(this.#last >>> 2) + CALL.next] = address
    this.#last = address
  }

  #run(tasks: readonly number[]): void {
    const { words } = this.#threads
    const base = this.#control >>> 2
    const from = words[base + LAYOUT.limit]
    for (let i = 0; i < tasks.length; i++) words[base + LAYOUT.tasks + ((from + i) & LAYOUT.mask)] = tasks[i]
    words[base + LAYOUT.generation] = this.#threads.generation
    const limit = (from + tasks.length) | 0
    Atomics.store(words, base + LAYOUT.limit, limit)
    if (Atomics.load(words, base + LAYOUT.sleepers) > 0) Atomics.notify(words, base + LAYOUT.limit)
    ;(this.#runner as Runner).take()
    this.#join(words, base + LAYOUT.finished, limit)
    if (Atomics.exchange(words, base + LAYOUT.failed, 0) > 0) {
      throw new DeviceError('cpu: a kernel failed on one of the threads; its result is not complete')
    }
  }

  /** Waits until all tasks were finished. */
  #join(words: Int32Array, finished: number, limit: number): void {
    let [seen, end] = [limit, 0]
    for (let turn = 0; ; turn++) {
      const done = Atomics.load(words, finished)
      if (done === limit) return
      if ((turn & 1023) !== 1023) continue
      const now = performance.now()
      if (done !== seen) end = now + PATIENCE_MS
      seen = done
      if (now < end) continue
      this.stop()
      throw new DeviceError(
        `cpu: a thread has not answered for ${PATIENCE_MS / 1000} seconds; the result is not complete. The other ` +
          'threads were stopped too: work goes on with one, or call init again',
      )
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
