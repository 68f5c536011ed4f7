// Dropout masks drawn in WASM, bit for bit those of the TypeScript kernel.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import type { HostArray } from '../src/backend/types'
import { contiguous, place } from './support/naive'
import { withThreads } from './support/threads'

const wasm = await withThreads(new CpuBackend())
const plain = new CpuBackend({ plain: true })

/** A mask of n elements that begins at an offset, and the byte before and after it. */
function mask(on: CpuBackend, p: number, seed: number, stream: number, n: number, offset: number): HostArray {
  const all = place(on, 'bool', contiguous([n + offset + 1]), new Uint8Array(n + offset + 1).fill(7))
  on.random({ kind: 'bernoulli', p }, seed, stream, { ...all, ...contiguous([n]), offset })
  const values = on.readSync(all.buffer, 'bool', 0, n + offset + 1)
  on.free(all.buffer)
  return values
}

it('the same mask of any size, at any place, for any probability and key', () => {
  const word = fc.integer({ min: 0, max: 2 ** 32 - 1 })
  const size = fc.oneof(fc.constantFrom(63, 64, 65, 79, 80, 81, 1023, 1040), fc.nat({ max: 3000 }))
  const p = fc.oneof(fc.constantFrom(0, 1, 2 ** -24, 1 - 2 ** -24, 0.1, 0.9), fc.double({ min: 0, max: 1 }))
  fc.assert(
    fc.property(p, word, word, size, fc.nat({ max: 20 }), (p, seed, stream, n, offset) => {
      expect(mask(wasm, p, seed, stream, n, offset)).toEqual(mask(plain, p, seed, stream, n, offset))
    }),
  )
})
