import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostRandom, seedToKey, threefry2x32 } from '../src/backend/threefry'
import { ArgumentError, FormatError } from '../src/errors'

describe('threefry2x32', () => {
  // The known-answer vectors of Random123 (kat_vectors, threefry2x32, 20 rounds): counter, key, result.
  it.each([
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x243f6a88, 0x85a308d3],
      [0x13198a2e, 0x03707344],
      [0xc4923a9c, 0x483df7a0],
    ],
  ])('counter %j under key %j', ([c0, c1], [k0, k1], expected) => {
    expect(threefry2x32(k0!, k1!, c0!, c1!)).toEqual(expected)
  })
})

describe('seedToKey', () => {
  it('keeps every bit of a seed, negative ones included', () => {
    expect(seedToKey(0x1_0000_0002)).toEqual([2, 1])
    expect(seedToKey(-1)).toEqual([0xffffffff, 0xffffffff])
  })
  it.each([0.5, Number.NaN, 2 ** 53])('refuses %s', (seed) => {
    expect(() => seedToKey(seed)).toThrow(ArgumentError)
  })
})

describe('HostRandom', () => {
  it('repeats itself from one seed and differs between seeds', () => {
    const words = (random: HostRandom) => Array.from({ length: 9 }, () => random.nextUint32())
    expect(words(new HostRandom(7))).toEqual(words(new HostRandom(7)))
    expect(words(new HostRandom(7))).not.toEqual(words(new HostRandom(8)))
    expect(words(new HostRandom(7).fork(1))).not.toEqual(words(new HostRandom(7).fork(2)))
    expect(words(new HostRandom(7, 2))).toEqual(words(new HostRandom(7).fork(2)))
    expect(words(new HostRandom(7).fork(0))).not.toEqual(words(new HostRandom(7)))
  })

  it('draws the words of consecutive counters', () => {
    const random = new HostRandom(0)
    const drawn = [random.nextUint32(), random.nextUint32(), random.nextUint32()]
    expect(drawn).toEqual([...threefry2x32(0, 0, 0, 0), threefry2x32(0, 0, 1, 0)[0]])
  })

  it('uniform lies in [0, 1) on a grid of 2^-24 with the right mean and variance', () => {
    const random = new HostRandom(3)
    const draws = Array.from({ length: 20000 }, () => random.uniform())
    expect(draws.every((u) => u >= 0 && u < 1 && Number.isInteger(u * 2 ** 24))).toBe(true)
    const mean = draws.reduce((a, b) => a + b) / draws.length
    const variance = draws.reduce((a, b) => a + (b - mean) ** 2, 0) / draws.length
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.01)
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.003)
  })

  it('nextInt covers [0, n) evenly', () => {
    const random = new HostRandom(5)
    const counts = new Array<number>(6).fill(0)
    for (let i = 0; i < 12000; i++) counts[random.nextInt(6)]!++
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200)
    expect(() => random.nextInt(0)).toThrow(ArgumentError)
  })

  it('permutation holds each index once', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer(), (n, seed) => {
        const order = new HostRandom(seed).permutation(n)
        expect(Array.from(order).sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
      }),
    )
    expect(Array.from(new HostRandom(1).permutation(50))).not.toEqual(Array.from({ length: 50 }, (_, i) => i))
  })

  it('continues from a stored state, after any number of draws', () => {
    fc.assert(
      fc.property(fc.nat(9), fc.integer(), (draws, seed) => {
        const random = new HostRandom(seed)
        for (let i = 0; i < draws; i++) random.nextUint32()
        const resumed = new HostRandom()
        resumed.setState(JSON.parse(JSON.stringify(random.state())))
        for (let i = 0; i < 5; i++) expect(resumed.nextUint32()).toBe(random.nextUint32())
      }),
    )
  })

  it('refuses a malformed state', () => {
    expect(() => new HostRandom().setState({ key: [1, -1], draws: 0 })).toThrow(FormatError)
    expect(() => new HostRandom().setState({ key: [1, 2], draws: 0.5 })).toThrow(FormatError)
  })
})
