// The threads that work on a heap, and how kernels share work between them.
//
// A kernel says `split`: into which pieces its work may be cut, and what each of them calls. With one thread the calls
// happen at once. With more, WASM functions called by a piece are written down as a task (thread.ts), the tasks
// are published, the main thread takes part, and `split` returns when all are done. Pieces are for whoever comes first, so
// results may not depend on how the work is cut: kernels cut outputs, never sums.
//
// Nothing is sent to the workers once they run: tasks and the bytes of new kernels pass through the heap, since a page's main
// thread may not wait, and a worker that waits in Atomics.wait receives no messages.

import { DeviceError } from '../../../errors'
import type { Heap, HeapBlock } from '../heap'
import { instanceOf, targetOf } from './compile'
import type { Target } from './emitter'
import { type ScratchArguments, Team } from './team'

/** Tasks per thread, where the work is large enough: the more, the less it matters that one of them is slow. */
const PIECES = 4
/** Nanoseconds of work that are worth a task. */
const LEAST_NS = 8_000
/** The most bytes that the parameters of one call may have. */
export const PARAMETERS = 4096

/** All that runs WASM kernels on one heap; made anew when its memory or the number of threads changes. */
export class Threads {
  readonly memory: WebAssembly.Memory
  readonly #heap: Heap
  readonly #leastNs: number
  readonly #blocks: HeapBlock[] = []
  readonly #parameters: number
  /** null with one thread. */
  #team: Team | null = null
  #words: Int32Array = new Int32Array(0)
  #numbers: Float32Array = new Float32Array(0)
  #generation = -1

  constructor(heap: Heap, memory: WebAssembly.Memory, leastNs = LEAST_NS) {
    this.#heap = heap
    this.#leastNs = leastNs
    this.memory = memory
    this.#parameters = this.allocate(PARAMETERS)
  }

  /** How many work now, the main thread included. */
  get count(): number {
    return this.#team?.count ?? 1
  }

  /** The exports of a module; null where it may not be compiled. Inside of `split` a call of them is a piece's work. */
  instantiate<Exports extends object>(
    emit: (target: Target) => Uint8Array<ArrayBuffer>,
    scratch: ScratchArguments = {},
  ): Exports | null {
    const bytes = emit(targetOf(this.memory))
    const exports = instanceOf<Exports>(bytes, this.memory)
    return exports && this.#team ? this.#team.shared(bytes, exports, scratch) : exports
  }

  /**
   * Memory that each thread has for itself, at an address that means a different place to each; it lasts from call to call
   * of one piece. Functions that are given it say so to `instantiate`.
   */
  scratch(bytes: number): number {
    return this.#team ? this.#team.scratch(bytes) : this.allocate(bytes)
  }

  /** Room for the parameters of one call; write them before the call. At most 4096 bytes. */
  parameters(bytes: number): number {
    return this.#team?.recording ? this.#team.room(bytes) : this.#parameters
  }

  /** How often the memory grew. */
  get generation(): number {
    return this.#heap.generation
  }

  /** All memory as words; not to be kept. */
  get words(): Int32Array {
    this.#renew()
    return this.#words
  }
  get numbers(): Float32Array {
    this.#renew()
    return this.#numbers
  }

  /**
   * Calls `piece` for ranges that cover 0 to `size`; all but the last are multiples of `step`. `work` says, from shapes alone,
   * about how many nanoseconds everything takes. Pieces may run in any order and at the same time, though only the WASM calls
   * in them do.
   */
  split(size: number, step: number, work: number, piece: (first: number, count: number) => void): void {
    const pieces = Math.min(this.pieces(work), Math.ceil(size / step))
    if (pieces < 2) piece(0, size)
    else (this.#team as Team).split(size, step, pieces, piece)
  }

  /** The most ranges that `split` makes for so much work. */
  pieces(work: number): number {
    const team = this.#team
    if (!team || team.count < 2 || team.recording) return 1
    return Math.max(1, Math.min(team.count * PIECES, Math.floor(work / this.#leastNs)))
  }

  /** Memory until `release`. */
  allocate(bytes: number): number {
    const block = this.#heap.allocate(bytes)
    this.#blocks.push(block)
    return block.ptr
  }

  /** Starts workers, before any kernel is made. */
  async start(count: number): Promise<void> {
    const team = new Team(this)
    await team.start(count)
    this.#team = team
  }

  /** Stops the workers; from now on there is one thread. */
  stop(): void {
    this.#team?.stop()
  }

  /** Gives the memory back; no kernel of these threads may run afterwards. */
  release(): void {
    this.stop()
    for (const block of this.#blocks.splice(0)) this.#heap.free(block)
  }

  #renew(): void {
    if (this.#generation === this.#heap.generation) return
    this.#words = this.#heap.i32(0, this.#heap.capacity >>> 2)
    this.#numbers = this.#heap.f32(0, this.#heap.capacity >>> 2)
    this.#generation = this.#heap.generation
  }
}

const known = new WeakMap<Heap, Threads>()

/** What runs kernels on a heap; null where its memory is none of WebAssembly's. */
export function threadsOf(heap: Heap): Threads | null {
  const { memory } = heap
  if (!memory) return null
  let threads = known.get(heap)
  if (threads?.memory !== memory) {
    threads = new Threads(heap, memory)
    known.set(heap, threads)
  }
  return threads
}

/**
 * Makes so many threads work on a heap, whose memory becomes shared with more than one of them, and unshared again with one.
 * Addresses stay. Until the workers are ready, there is one thread. `leastNs` is how much work is worth a task.
 * @throws DeviceError where memory cannot be shared or a worker does not start; then there is one thread.
 */
export async function setThreads(heap: Heap, count: number, leastNs?: number): Promise<void> {
  const before = threadsOf(heap)
  if (before ? before.count === count : count === 1) return
  if (!before)
    throw new DeviceError(`init: ${count} threads were asked for, but there is no WebAssembly here`)
  before.stop()
  // Workers take a moment to end: they keep the old memory.
  heap.share(count > 1)
  before.release()
  known.delete(heap)
  if (count === 1 || !heap.memory) return
  const threads = new Threads(heap, heap.memory, leastNs)
  try {
    await threads.start(count)
  } catch (error) {
    threads.stop()
    heap.share(false)
    threads.release()
    known.get(heap)?.release()
    known.delete(heap)
    throw error
  }
  // Kernels that were made meanwhile know of no team.
  known.get(heap)?.release()
  known.set(heap, threads)
}

/** Stops what `setThreads` started. */
export function stopThreads(heap: Heap): void {
  known.get(heap)?.stop()
}
