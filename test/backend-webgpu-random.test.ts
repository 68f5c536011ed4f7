// Random fills on webgpu: the bits of the cpu, whatever the size, the window and the seed.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { DType, RandomKind } from '../src/backend/types'
import { contiguous, randomArray } from './support/naive'
import { useTwins } from './support/twins'

const twins = useTwins()
afterEach(() => twins().release())

const KINDS: [string, RandomKind, DType, number][] = [
  ['uniform', { kind: 'uniform' }, 'float32', 0],
  ['small integers', { kind: 'int', low: -3, high: 11 }, 'int32', 0],
  ['large integers', { kind: 'int', low: -(2 ** 31), high: 2 ** 31 - 1 }, 'int32', 0],
  ['all integers', { kind: 'int', low: -(2 ** 31), high: 2 ** 31 }, 'int32', 0],
  ['one integer', { kind: 'int', low: 5, high: 6 }, 'int32', 0],
  ['bernoulli', { kind: 'bernoulli', p: 0.3 }, 'bool', 0],
  ['never', { kind: 'bernoulli', p: 0 }, 'bool', 0],
  ['always', { kind: 'bernoulli', p: 1 }, 'bool', 0],
  ['normal', { kind: 'normal' }, 'float32', 2e-6],
]

const word = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, 1, -1))

describe.each(KINDS)('%s', (_, kind, dtype, absolute) => {
  it('agrees with the cpu for any seed, stream, size and offset', async () => {
    await fc.assert(
      fc.asyncProperty(word, word, fc.nat(300), fc.nat(5), async (seed, stream, n, offset) => {
        const out = twins().place(dtype, contiguous([n], offset), randomArray(dtype, n + offset + 2, 1))
        twins().run([out], (b, [o]) => b.random(kind, seed, stream, o))
        await twins().expectSame(out, { absolute, relative: absolute })
        twins().release()
      }),
      { numRuns: 25 },
    )
  })

  it('and over many elements of a tensor with axes', async () => {
    const out = twins().place(dtype, contiguous([50, 20, 101]), randomArray(dtype, 1, 1))
    twins().run([out], (b, [o]) => b.random(kind, 7, 8, o))
    await twins().expectSame(out, { absolute, relative: absolute })
  })
})

it('an element does not depend on how many there are', async () => {
  const { gpu } = twins()
  const [short, long] = [10, 1000].map((n) => twins().place('float32', contiguous([n]), new Float32Array(n)))
  for (const t of [short, long]) gpu.random({ kind: 'normal' }, 1, 2, t.gpu)
  const [a, b] = await Promise.all([short, long].map((t) => gpu.read(t.gpu.buffer, 'float32', 0, 10)))
  expect(a).toEqual(b)
})

it('more than 65,535 workgroups', async () => {
  const n = 65_536 * 64 + 9
  const out = twins().place('float32', contiguous([n]), new Float32Array(n))
  twins().run([out], (b, [o]) => b.random({ kind: 'uniform' }, 3, 4, o))
  await twins().expectSame(out)
})
