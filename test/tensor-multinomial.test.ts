// multinomial draws by weight, on both devices, and says what it cannot draw from.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

onDevices('multinomial', ({ device }) => {
  it.each([true, false])('draws as often as the weights say, replacement %s', async (replacement) => {
    ef.manualSeed(1)
    const weights = ef.tensor([0, 3, 0, 1, 4, 0])
    const lines = weights.expand([4000, 6])
    const first = (await lines.multinomial(1, { replacement }).data()) as Int32Array
    const counts = [0, 0, 0, 0, 0, 0]
    for (const i of first) counts[i]++
    expect([counts[0], counts[2], counts[5]]).toEqual([0, 0, 0])
    // Within five standard deviations.
    for (const [i, p] of [
      [1, 3 / 8],
      [3, 1 / 8],
      [4, 1 / 2],
    ]) {
      expect(Math.abs(counts[i] / 4000 - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / 4000))
    }
  })

  it('draws nothing twice without replacement, and repeats with the seed', async () => {
    const weights = ef.rand([20, 7]).add(0.1)
    ef.manualSeed(5)
    const drawn = weights.multinomial(7)
    for (const line of (await drawn.tolist()) as number[][])
      expect(line.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6])
    ef.manualSeed(5)
    expect(await weights.multinomial(7).data()).toEqual(await drawn.data())
    expect(await weights.multinomial(7).data()).not.toEqual(await drawn.data())
  })

  it('keeps to positive weights along long lines', async () => {
    ef.manualSeed(2)
    const weights = ef.where(ef.arange(1000).remainder(64).eq(63), ef.tensor(1e-3), ef.tensor(0))
    const drawn = (await weights.multinomial(500, { replacement: true }).data()) as Int32Array
    expect(drawn.every((i) => i % 64 === 63 && i < 1000)).toBe(true)
    expect(new Set(drawn).size).toBe(15)
  })

  it('reports weights that nothing can be drawn from', async () => {
    const wrong = [
      [[0, 0], 1],
      [[-1, 2], 1],
      [[Number.NaN, 2], 1],
      [[Number.POSITIVE_INFINITY, 2], 1],
    ] as const
    for (const replacement of [true, false]) {
      for (const [values, count] of [...wrong, ...(replacement ? [] : [[[0, 1], 2] as const])]) {
        const weights = ef.tensor([...values])
        const draw = (): ef.Tensor => weights.multinomial(count, { replacement })
        if (device === 'cpu') expect(draw).toThrow(/negative or non-finite/)
        else expect(await draw().data()).toContain(2)
      }
    }
  })
})

describe('multinomial', () => {
  it('refuses arguments that do not fit', () => {
    const weights = ef.ones([3])
    expect(() => weights.multinomial(4)).toThrow(/count is 4 for 3 classes/)
    expect(weights.multinomial(4, { replacement: true }).shape).toEqual([4])
    expect(() => weights.multinomial(0)).toThrow(ef.ArgumentError)
    expect(() => ef.ones([1, 1, 1]).multinomial(1)).toThrow(ef.ShapeError)
    expect(() => ef.tensor([1, 2], { dtype: 'int32' }).multinomial(1)).toThrow(ef.DTypeError)
  })
})
