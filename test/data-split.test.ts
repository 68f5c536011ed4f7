import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { holdOut, reservoirSample } from '../src/data'
import { ArgumentError } from '../src/errors'

describe('holdOut', () => {
  it('parts all records in two, the same way for the same seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.integer(), (n, seed) => {
        const count = Math.max(1, Math.floor(n / 3))
        const { train, heldOut } = holdOut(n, { count, seed })
        expect(heldOut).toHaveLength(count)
        expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
        expect(holdOut(n, { count, seed })).toEqual({ train, heldOut })
      }),
    )
    expect(holdOut(100, { count: 10, seed: 1 })).not.toEqual(holdOut(100, { count: 10, seed: 2 }))
    expect(holdOut(67349, { fraction: 0.02 }).heldOut).toHaveLength(1347)
  })

  it.each([[{}], [{ count: 0 }], [{ count: 10 }], [{ fraction: 1 }], [{ fraction: 0.5, count: 2 }]])(
    'refuses %j of 10',
    (options) => {
      expect(() => holdOut(10, options)).toThrow(ArgumentError)
    },
  )
})

describe('reservoirSample', () => {
  async function* stream(n: number) {
    for (let i = 0; i < n; i++) yield i
  }

  it('is a subset in the order of the stream, the same for the same seed', async () => {
    const sample = await reservoirSample(stream(1000), 20, { seed: 4 })
    expect(new Set(sample).size).toBe(20)
    expect(sample).toEqual([...sample].sort((a, b) => a - b))
    expect(await reservoirSample(stream(1000), 20, { seed: 4 })).toEqual(sample)
    expect(await reservoirSample(stream(1000), 20, { seed: 5 })).not.toEqual(sample)
    expect(await reservoirSample(stream(3), 20)).toEqual([0, 1, 2])
  })

  it('takes every record with the same probability', async () => {
    const counts = new Array<number>(10).fill(0)
    for (let seed = 0; seed < 3000; seed++) {
      for (const i of await reservoirSample(counts.keys(), 3, { seed })) counts[i]!++
    }
    for (const count of counts) expect(Math.abs(count - 900)).toBeLessThan(120)
  })
})
