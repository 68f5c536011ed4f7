// The cpu heap: one growing block of memory that every cpu tensor lives in.
//
// It is a WebAssembly.Memory, so that WASM kernels can work on tensors in place; where WebAssembly is missing
// it is a plain ArrayBuffer, copied when it grows. With threads the memory is a shared one: no view of it may reach a host
// API, most of which refuse such memory and some of which crash on it (`queue.writeBuffer` of dawn.node). The allocator is a two-level segregated fit (Masmano et al.,
// "TLSF", 2004): free blocks sit in lists by size class, two bitmaps find a fitting list in constant time, and
// neighbours coalesce on free. Block headers are JavaScript objects, so tensor data is never next to metadata.

import { OutOfMemoryError } from '../../errors'

/** A piece of the heap. Blocks form a list in address order; free ones are also in a size-class list. */
export interface HeapBlock {
  /** Byte address, a multiple of 64. */
  ptr: number
  /** Bytes, a multiple of 64. */
  size: number
  free: boolean
  before: HeapBlock | null
  after: HeapBlock | null
  previousFree: HeapBlock | null
  nextFree: HeapBlock | null
}

/** What kernels may ask of the heap. Growth replaces `buffer`: take views after allocating, and never keep them. */
export interface Heap {
  /** Sets aside at least `bytes` bytes, aligned to 64. Throws OutOfMemoryError. */
  allocate(bytes: number): HeapBlock
  /** Gives a block back. Throws when it is free already. */
  free(block: HeapBlock): void
  /**
   * Moves everything to memory that can be shared with threads, a new one each time, or to unshared memory; addresses stay.
   * Throws OutOfMemoryError.
   */
  share(shared: boolean): void
  /** In truth a SharedArrayBuffer where the memory is shared; kernels need not know. */
  readonly buffer: ArrayBuffer
  /** What the buffer belongs to, for WASM kernels; null on a plain ArrayBuffer. */
  readonly memory: WebAssembly.Memory | null
  /** Counts the growths and moves; a view taken at another generation is stale. */
  readonly generation: number
  readonly bytesInUse: number
  readonly capacity: number
  f32(ptr: number, length: number): Float32Array
  f64(ptr: number, length: number): Float64Array
  i32(ptr: number, length: number): Int32Array
  u8(ptr: number, length: number): Uint8Array
}

/** Memory that only grows. */
interface Store {
  readonly buffer: ArrayBuffer
  readonly memory: WebAssembly.Memory | null
  readonly maximum: number
  readonly shared: boolean
  /** Grows to `bytes`; false when the system has no more. */
  grow(bytes: number): boolean
}

const ALIGNMENT = 64
const PAGE = 65_536
const MIB = 1_048_576
const GIB = 1_073_741_824
/**
 * WebAssembly memory starts large: it takes address space only until it is touched, while the first growth
 * detaches a buffer, after which V8 checks for detachment at every access to any typed array (measured: 1.4 to
 * 2 times slower loops).
 */
const INITIAL_WASM_BYTES = GIB
const INITIAL_PLAIN_BYTES = 16 * MIB
/** Each power of two of sizes is split into 2^4 classes, which bounds the waste of a fit to 1/16. */
const CLASS_BITS = 4
const CLASSES = 1 << CLASS_BITS

export interface HeapOptions {
  /** Upper bound in bytes; by default the largest of 4, 2, 1 and 0.5 GiB that the system reserves. */
  readonly maximumBytes?: number
  /** Bytes to begin with; by default 1 GiB of WebAssembly memory, or 16 MiB of a plain buffer. */
  readonly initialBytes?: number
  /** Use a plain ArrayBuffer even where WebAssembly exists. */
  readonly plain?: boolean
}

/** Creates a heap; see `HeapOptions`. */
export function createHeap(options: HeapOptions = {}): Heap {
  const limits = options.maximumBytes ? [options.maximumBytes] : [4 * GIB, 2 * GIB, GIB, GIB / 2]
  const { initialBytes, plain } = options
  if (plain || typeof WebAssembly === 'undefined') {
    return new SegregatedHeap(plainStore(initialBytes ?? INITIAL_PLAIN_BYTES, limits[0]))
  }
  return new SegregatedHeap(wasmStore(initialBytes ?? INITIAL_WASM_BYTES, limits, false))
}

function wasmStore(initial: number, limits: readonly number[], shared: boolean): Store {
  const { memory, maximum } = reserve(initial, limits, shared)
  return {
    get buffer() {
      return memory.buffer as ArrayBuffer
    },
    memory,
    maximum,
    shared,
    grow(bytes) {
      try {
        memory.grow(Math.ceil((bytes - memory.buffer.byteLength) / PAGE))
        return true
      } catch {
        return false
      }
    },
  }
}

/** The largest memory of these limits that the system gives. */
function reserve(
  initial: number,
  limits: readonly number[],
  shared: boolean,
): { memory: WebAssembly.Memory; maximum: number } {
  let failure: unknown
  for (const limit of limits) {
    const maximum = Math.floor(limit / PAGE)
    // A system may grant the address space and refuse the start.
    for (const start of [initial, INITIAL_PLAIN_BYTES]) {
      try {
        const memory = new WebAssembly.Memory({
          initial: Math.min(Math.ceil(start / PAGE), maximum),
          maximum,
          shared,
        })
        return { memory, maximum: maximum * PAGE }
      } catch (error) {
        failure = error
      }
    }
  }
  throw new OutOfMemoryError('cpu heap: the system refuses to reserve even 0.5 GiB of address space', {
    cause: failure,
  })
}

function plainStore(initial: number, maximum: number): Store {
  let buffer = new ArrayBuffer(Math.min(initial, maximum))
  return {
    get buffer() {
      return buffer
    },
    memory: null,
    maximum,
    shared: false,
    grow(bytes) {
      try {
        const grown = new ArrayBuffer(bytes)
        new Uint8Array(grown).set(new Uint8Array(buffer))
        buffer = grown
        return true
      } catch {
        return false
      }
    },
  }
}

class SegregatedHeap implements Heap {
  generation = 0
  bytesInUse = 0
  #store: Store
  #buffer: ArrayBuffer
  #last: HeapBlock | null = null
  /** Heads of the free lists, at `row * CLASSES + column`. */
  readonly #lists: (HeapBlock | null)[] = new Array(32 * CLASSES).fill(null)
  /** Bit r: row r has a non-empty list. */
  #rows = 0
  /** Per row, bit c: list (r, c) is non-empty. */
  readonly #columns = new Int32Array(32)

  constructor(store: Store) {
    this.#store = store
    this.#buffer = store.buffer
    this.#append(0, this.#buffer.byteLength)
  }

  get buffer(): ArrayBuffer {
    return this.#buffer
  }
  get memory(): WebAssembly.Memory | null {
    return this.#store.memory
  }
  get capacity(): number {
    return this.#buffer.byteLength
  }

  allocate(bytes: number): HeapBlock {
    const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT
    let block = this.#find(size)
    if (!block) {
      this.#grow(size)
      // A fit by class rounds up; the last block is the one that was just made large enough.
      block = this.#find(size) ?? (this.#last as HeapBlock)
    }
    this.#unlink(block)
    if (block.size > size) this.#split(block, size)
    this.bytesInUse += block.size
    return block
  }

  free(block: HeapBlock): void {
    if (block.free) throw new Error(`cpu heap: the block at ${block.ptr} is free already`)
    this.bytesInUse -= block.size
    let merged = block
    const { before, after } = block
    if (after?.free) {
      this.#unlink(after)
      this.#absorb(block, after)
    }
    if (before?.free) {
      this.#unlink(before)
      this.#absorb(before, block)
      // Whoever still holds the absorbed block must not be able to free it again.
      block.free = true
      merged = before
    }
    this.#link(merged)
  }

  share(shared: boolean): void {
    const { memory, maximum } = this.#store
    if (!memory || !(shared || this.#store.shared)) return
    const from = this.#buffer
    const limits = [maximum, maximum / 2, maximum / 4].filter((limit) => limit >= from.byteLength)
    const store = wasmStore(from.byteLength, limits, shared)
    const missing = from.byteLength - store.buffer.byteLength
    if (missing > 0 && !store.grow(from.byteLength)) {
      throw new OutOfMemoryError(
        `cpu heap: the system refuses a second ${from.byteLength} bytes to move its content to; release tensors first, ` +
          'or call init before making any',
      )
    }
    // Free memory is left alone: touching it would make it real.
    for (let block = this.#last; block; block = block.before) {
      if (!block.free) new Uint8Array(store.buffer, block.ptr, block.size).set(this.u8(block.ptr, block.size))
    }
    this.#store = store
    this.#buffer = store.buffer
    this.generation++
    if (missing < 0) this.#append(from.byteLength, -missing)
  }

  f32(ptr: number, length: number): Float32Array {
    return new Float32Array(this.#buffer, ptr, length)
  }
  f64(ptr: number, length: number): Float64Array {
    return new Float64Array(this.#buffer, ptr, length)
  }
  i32(ptr: number, length: number): Int32Array {
    return new Int32Array(this.#buffer, ptr, length)
  }
  u8(ptr: number, length: number): Uint8Array {
    return new Uint8Array(this.#buffer, ptr, length)
  }

  /** A free block of at least `size` bytes: from the first class in which every block is large enough. */
  #find(size: number): HeapBlock | null {
    const units = size / ALIGNMENT
    const row = 31 - Math.clz32(units)
    // Rounding up to the next class boundary makes any block of the class fit.
    const rounded = row <= CLASS_BITS ? units : units + (1 << (row - CLASS_BITS)) - 1
    const index = classOf(rounded)
    let r = index >> CLASS_BITS
    let columns = this.#columns[r] & (-1 << (index & (CLASSES - 1)))
    if (columns === 0) {
      const rows = r >= 31 ? 0 : this.#rows & (-1 << (r + 1))
      if (rows === 0) return null
      r = lowestBit(rows)
      columns = this.#columns[r]
    }
    return this.#lists[(r << CLASS_BITS) | lowestBit(columns)]
  }

  #grow(size: number): void {
    const old = this.#buffer.byteLength
    const tail = this.#last?.free ? this.#last.size : 0
    const need = Math.max(0, size - tail)
    const wanted = Math.max(need, old / 4, 16 * MIB)
    const total = (extra: number): number => Math.ceil((old + extra) / PAGE) * PAGE
    const { maximum } = this.#store
    const generous = Math.min(total(wanted), Math.floor(maximum / ALIGNMENT) * ALIGNMENT)
    const tight = Math.min(total(need), generous)
    if (old + need > maximum || !(this.#store.grow(generous) || this.#store.grow(tight))) {
      throw new OutOfMemoryError(
        `cpu heap: no room for ${size} bytes; ${this.bytesInUse} of ${old} bytes are in use and the limit is ` +
          `${maximum}. Use smaller batches, or release tensors (tidy, dispose)`,
      )
    }
    this.#buffer = this.#store.buffer
    this.generation++
    this.#append(old, this.#buffer.byteLength - old)
  }

  /** Adds free memory at the end. */
  #append(ptr: number, size: number): void {
    const last = this.#last
    if (last?.free) {
      this.#unlink(last)
      last.size += size
      this.#link(last)
      return
    }
    const block: HeapBlock = {
      ptr,
      size,
      free: false,
      before: last,
      after: null,
      previousFree: null,
      nextFree: null,
    }
    if (last) last.after = block
    this.#last = block
    this.#link(block)
  }

  /** Cuts a block to `size` and frees the rest. */
  #split(block: HeapBlock, size: number): void {
    const rest: HeapBlock = {
      ptr: block.ptr + size,
      size: block.size - size,
      free: false,
      before: block,
      after: block.after,
      previousFree: null,
      nextFree: null,
    }
    if (block.after) block.after.before = rest
    else this.#last = rest
    block.after = rest
    block.size = size
    this.#link(rest)
  }

  /** Joins `right` onto its left neighbour. */
  #absorb(left: HeapBlock, right: HeapBlock): void {
    left.size += right.size
    left.after = right.after
    if (right.after) right.after.before = left
    else this.#last = left
  }

  #link(block: HeapBlock): void {
    const index = classOf(block.size / ALIGNMENT)
    const head = this.#lists[index]
    block.free = true
    block.previousFree = null
    block.nextFree = head
    if (head) head.previousFree = block
    this.#lists[index] = block
    const row = index >> CLASS_BITS
    this.#columns[row] |= 1 << (index & (CLASSES - 1))
    this.#rows |= 1 << row
  }

  #unlink(block: HeapBlock): void {
    const { previousFree, nextFree } = block
    block.free = false
    block.previousFree = null
    block.nextFree = null
    if (nextFree) nextFree.previousFree = previousFree
    if (previousFree) {
      previousFree.nextFree = nextFree
      return
    }
    const index = classOf(block.size / ALIGNMENT)
    this.#lists[index] = nextFree
    if (nextFree) return
    const row = index >> CLASS_BITS
    this.#columns[row] &= ~(1 << (index & (CLASSES - 1)))
    if (this.#columns[row] === 0) this.#rows &= ~(1 << row)
  }
}

/** Size class of a block of `units` times 64 bytes: exact below 32 units, then 16 classes per power of two. */
function classOf(units: number): number {
  const row = 31 - Math.clz32(units)
  if (row <= CLASS_BITS) return units
  return ((row - CLASS_BITS + 1) << CLASS_BITS) | ((units >>> (row - CLASS_BITS)) & (CLASSES - 1))
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits)
}
