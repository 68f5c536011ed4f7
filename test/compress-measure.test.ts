// measure: exact counts, and honesty about masks.
import * as ef from 'evenfold'
import { compress, models, nn } from 'evenfold'
import { expect, it } from 'vitest'
import { describeDevices } from './support/devices'

describeDevices('measure', (where) => {
  const wide = where.dtype === 'float64' ? 8 : 4

  it('counts what a model is made of and does', async () => {
    const model = new nn.Sequential(new nn.Linear(16, 32, where), new nn.ReLU(), new nn.Linear(32, 4, where))
    const x = ef.randn([5, 16], where)
    const before = await compress.measure(model, [x], { runs: 3 })
    expect(before).toMatchObject({
      device: where.device,
      parameters: 16 * 32 + 32 + 32 * 4 + 4,
      nonZeros: 16 * 32 + 32 + 32 * 4 + 4,
      macs: 5 * (16 * 32 + 32 * 4),
    })
    expect(before.bytesOnDisk).toBe((await compress.modelToBytes(model)).byteLength)
    expect(before.peakBytes).toBeGreaterThanOrEqual(before.parameters * wide)
    expect(before.latencyMs.low).toBeLessThanOrEqual(before.latencyMs.median)
    expect(before.latencyMs.median).toBeLessThanOrEqual(before.latencyMs.high)

    await compress.prune(model, { amount: 0.5 })
    const masked = await compress.measure(model, [x], { runs: 1 })
    expect(masked).toMatchObject({ parameters: 676, nonZeros: 16 * 16 + 32 + 32 * 2 + 4, macs: before.macs })
    // Only the bits are added: a mask makes nothing smaller.
    expect(masked.bytesOnDisk).toBeGreaterThan(before.bytesOnDisk)

    compress.undoPruning(model)
    await compress.removeUnits(model, { amount: 0.5, inputs: [x] })
    const removed = await compress.measure(model, [x], { runs: 1 })
    expect(removed).toMatchObject({ parameters: 340, nonZeros: 340, macs: before.macs / 2 })
    expect(removed.bytesOnDisk).toBeLessThan(before.bytesOnDisk)
    const [head, ...rows] = compress.compareMeasures(before, removed).split('\n')
    expect(head).toMatch(new RegExp(`^${where.device} +before +after +after / before$`))
    expect(rows.map((row) => row.split(/ {2,}/)[0])).toEqual([
      'bytes on disk',
      'parameters',
      'non-zeros',
      'MACs',
      'latency, ms',
      'peak memory, bytes',
    ])
    expect(rows[3]).toMatch(/^MACs +3,200 +1,600 +0\.500$/)
    expect(`${before}`).toMatch(/MACs +3,200$/m)
  })

  it('counts attention and recurrences', async () => {
    const [T, B, E] = [3, 2, 8]
    const attention = new nn.TransformerEncoderLayer(E, 2, { dimFeedforward: 16, ...where })
    const { macs } = await compress.measure(attention, [ef.randn([T, B, E], where)], { runs: 1 })
    expect(macs).toBe(T * B * (4 * E * E + 2 * E * 16) + 2 * B * T * T * E)
    const gru = new nn.GRU(5, 4, { bidirectional: true, ...where })
    const found = await compress.measure(gru, [ef.randn([T, B, 5], where)], { runs: 1 })
    expect(found.macs).toBe(T * B * 2 * 3 * 4 * (5 + 4))
  })

  it('leaves modes and memory as they were', async () => {
    const model = new models.GRUClassifier({ vocabularySize: 7, embeddingSize: 4, hiddenSize: 3, ...where })
    const ids = ef.tensor([[1, 2, 3]], { dtype: 'int32', device: where.device })
    await compress.prune(model, { amount: 0.5 })
    await compress.measure(model, [ids], { runs: 1 })
    const before = ef.memory()[where.device].tensors
    await compress.measure(model, [ids], { runs: 2 })
    expect(ef.memory()[where.device].tensors).toBe(before)
    expect(model.modules().every(({ training }) => training)).toBe(true)
  })

  it('refuses no runs, and models without parameters', async () => {
    const x = ef.ones([1], where)
    await expect(compress.measure(new nn.ReLU(), [x])).rejects.toThrow(/ReLU has no parameters/)
    await expect(compress.measure(new nn.Linear(1, 1, where), [x], { runs: 0 })).rejects.toThrow(/runs is 0/)
  })
})
