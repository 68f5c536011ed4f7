// The cpu heap: blocks never overlap, everything coalesces back, growth keeps the contents.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { createHeap, type HeapBlock } from '../src/backend/cpu/heap'
import { OutOfMemoryError, ReleasedError } from '../src/errors'

const MIB = 2 ** 20
/** Allocate so many bytes, or free the n-th live block. */
const operations = fc.array(
  fc.oneof(
    fc.record({ allocate: fc.oneof(fc.nat(300), fc.nat(5000), fc.nat(3 * MIB)) }),
    fc.record({ free: fc.nat(1000) }),
  ),
  { maxLength: 120 },
)

describe.each([
  ['WebAssembly memory', false],
  ['a plain ArrayBuffer', true],
])('on %s', (_, plain) => {
  it('blocks are aligned, large enough and never overlap; freeing all leaves one block', () => {
    fc.assert(
      fc.property(operations, (ops) => {
        const heap = createHeap({ plain, initialBytes: MIB, maximumBytes: 512 * MIB })
        const live: HeapBlock[] = []
        let used = 0
        for (const op of ops) {
          if ('allocate' in op) {
            const block = heap.allocate(op.allocate)
            expect(block.ptr % 64).toBe(0)
            expect(block.size).toBeGreaterThanOrEqual(op.allocate)
            for (const other of live) {
              expect(block.ptr >= other.ptr + other.size || other.ptr >= block.ptr + block.size).toBe(true)
            }
            expect(block.ptr + block.size).toBeLessThanOrEqual(heap.buffer.byteLength)
            live.push(block)
            used += block.size
          } else if (live.length > 0) {
            const [block] = live.splice(op.free % live.length, 1)
            used -= block.size
            heap.free(block)
          }
          expect(heap.bytesInUse).toBe(used)
        }
        for (const block of live) heap.free(block)
        const { capacity, generation } = heap
        const whole = heap.allocate(capacity)
        expect(whole.ptr).toBe(0)
        expect(whole.size).toBe(capacity)
        expect(heap.generation).toBe(generation)
      }),
      { numRuns: 40 },
    )
  })

  it('keeps contents when it grows, and tells by the generation', () => {
    const heap = createHeap({ plain, initialBytes: 16 * MIB, maximumBytes: 256 * MIB })
    const block = heap.allocate(4000)
    heap.f32(block.ptr, 1000).fill(7)
    const { generation, capacity } = heap
    heap.allocate(64 * MIB)
    expect(heap.generation).toBeGreaterThan(generation)
    expect(heap.capacity).toBeGreaterThanOrEqual(capacity + 48 * MIB)
    expect(heap.f32(block.ptr, 1000).every((v) => v === 7)).toBe(true)
  })

  it('names the bytes wanted, in use and the limit when there is no room, and stays usable', () => {
    const heap = createHeap({ plain, maximumBytes: 32 * MIB })
    const half = heap.allocate(20 * MIB)
    expect(() => heap.allocate(16 * MIB)).toThrow(OutOfMemoryError)
    expect(() => heap.allocate(16 * MIB)).toThrow(/16777216 bytes; 20971520 of .* limit is 33554432/)
    expect(heap.allocate(12 * MIB).size).toBe(12 * MIB)
    heap.free(half)
    expect(heap.allocate(20 * MIB).ptr).toBe(half.ptr)
  })
})

it('refuses to free a block twice, also after it was merged into a neighbour', () => {
  const heap = createHeap({ initialBytes: MIB })
  const [a, b, c] = [heap.allocate(100), heap.allocate(100), heap.allocate(100)]
  heap.free(a)
  expect(() => heap.free(a)).toThrow(/free already/)
  heap.free(b)
  expect(() => heap.free(b)).toThrow(/free already/)
  heap.free(c)
  expect(heap.bytesInUse).toBe(0)
})

it('takes the largest maximum that the system reserves', () => {
  const { Memory } = WebAssembly
  const tried: number[] = []
  class Reluctant extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      tried.push(descriptor.maximum! / 16384)
      if (descriptor.maximum! > 16384) throw new RangeError('could not allocate memory')
      super(descriptor)
    }
  }
  WebAssembly.Memory = Reluctant
  try {
    expect(createHeap().capacity).toBeGreaterThan(0)
    expect(tried).toEqual([4, 4, 2, 2, 1])
  } finally {
    WebAssembly.Memory = Memory
  }
})

describe('buffers', () => {
  it('hold host values across heap growth, and reads are fresh copies', async () => {
    const backend = new CpuBackend({ initialBytes: MIB, maximumBytes: 128 * MIB })
    const buffer = backend.allocate('float32', 5)
    backend.write(buffer, 'float32', Float32Array.of(1, 2, 3), 1)
    backend.allocate('float32', 10 * MIB)
    const read = await backend.read(buffer, 'float32', 1, 3)
    expect(backend.heap.generation).toBeGreaterThan(0)
    expect(read).toEqual(Float32Array.of(1, 2, 3))
    read[0] = 9
    expect(await backend.read(buffer, 'float32', 1, 1)).toEqual(Float32Array.of(1))
  })

  it('cannot be used or freed after being freed', async () => {
    const backend = new CpuBackend()
    const buffer = backend.allocate('int32', 4)
    backend.write(buffer, 'int32', Int32Array.of(1), 0)
    backend.free(buffer)
    expect(() => backend.free(buffer)).toThrow(ReleasedError)
    await expect(backend.read(buffer, 'int32', 0, 1)).rejects.toThrow(ReleasedError)
    expect(backend.heap.bytesInUse).toBe(0)
  })

  it('made before destroy stay readable; later ones come from a fresh heap', async () => {
    const backend = new CpuBackend()
    const old = backend.allocate('int32', 1)
    backend.write(old, 'int32', Int32Array.of(5), 0)
    const before = backend.heap
    backend.destroy()
    const fresh = backend.allocate('int32', 1)
    expect(backend.heap).not.toBe(before)
    backend.write(fresh, 'int32', Int32Array.of(6), 0)
    expect(await backend.read(old, 'int32', 0, 1)).toEqual(Int32Array.of(5))
    backend.free(old)
    expect(before.bytesInUse).toBe(0)
  })
})
