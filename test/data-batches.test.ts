import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import { batches, DataLoader } from '../src/data'
import { ReleasedError } from '../src/errors'

const samples = Array.from({ length: 12 }, (_, i) => ({
  ids: new Array<number>(1 + (i % 3)).fill(i),
  label: i % 2,
}))
const loader = () => new DataLoader(samples, { batchSize: 4 })

describe('batches', () => {
  it('are the host batches as tensors', async () => {
    for await (const { ids, mask, labels, lengths, host } of batches(loader(), { device: 'cpu' })) {
      expect([ids.dtype, mask.dtype, labels.dtype]).toEqual(['int32', 'bool', 'int32'])
      expect([ids.shape, mask.shape, labels.shape]).toEqual([host.shape, host.shape, [4]])
      expect(await ids.data()).toEqual(host.ids)
      expect(await mask.data()).toEqual(host.mask)
      expect(await labels.data()).toEqual(host.labels)
      expect(lengths).toBe(host.lengths)
    }
  })

  it('are released when the next is drawn, unless kept', async () => {
    const before = ef.memory().cpu.tensors
    const seen: { ids: ef.Tensor; labels: ef.Tensor }[] = []
    for await (const { ids, labels } of batches(loader(), { device: 'cpu' })) {
      if (seen.length === 0) ef.keep(labels)
      seen.push({ ids, labels })
      expect(ef.memory().cpu.tensors - before).toBeLessThanOrEqual(4)
    }
    expect(ef.memory().cpu.tensors).toBe(before + 1)
    expect(await seen[0]!.labels.tolist()).toEqual([0, 1, 0, 1])
    await expect(seen[1]!.ids.data()).rejects.toThrow(ReleasedError)
    await expect(seen[1]!.ids.data()).rejects.toThrow(/when the next one was drawn/)
    seen[0]!.labels.dispose()
  })

  it('are released when the loop is left early, by break or by an error', async () => {
    const before = ef.memory().cpu.tensors
    for await (const _ of batches(loader(), { device: 'cpu' })) break
    const failing = async () => {
      for await (const _ of batches(loader(), { device: 'cpu' })) throw new Error('stop')
    }
    await expect(failing()).rejects.toThrow('stop')
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('work inside an async noGrad', async () => {
    const before = ef.memory().cpu.tensors
    const total = await ef.noGrad(async () => {
      let sum = 0
      for await (const { labels } of batches(loader(), { device: 'cpu' })) sum += await labels.sum().item()
      return sum
    })
    expect(total).toBe(6)
    expect(ef.memory().cpu.tensors).toBe(before)
  })
})
