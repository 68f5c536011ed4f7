// sort and topk beyond the op table: ties, NaN, tensors without axes, what they refuse.
import { expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

onDevices('order', () => {
  it('keeps ties in order and NaN last, in both directions', async () => {
    const x = ef.tensor([2, Number.NaN, 1, 2, -0, 0])
    expect(await x.argsort().tolist()).toEqual([4, 5, 2, 0, 3, 1])
    const { values, indices } = x.sort(0, { descending: true })
    expect(await indices.tolist()).toEqual([0, 3, 2, 4, 5, 1])
    expect(await values.tolist()).toEqual([2, 2, 1, -0, 0, Number.NaN])
    expect(await x.topk(3).indices.tolist()).toEqual([0, 3, 2])
    expect(await x.topk(2, -1, { largest: false }).indices.tolist()).toEqual([4, 5])
  })

  it('orders int32 to its ends', async () => {
    const x = ef.tensor([0, -(2 ** 31), 2 ** 31 - 1, -1], { dtype: 'int32' })
    expect(await x.argsort().tolist()).toEqual([1, 3, 0, 2])
    expect(await x.argsort(0, { descending: true }).tolist()).toEqual([2, 0, 3, 1])
  })

  it('takes a tensor without axes', async () => {
    const x = ef.tensor(3, { requiresGrad: true })
    const { values, indices } = x.sort()
    expect([await values.item(), await indices.item()]).toEqual([3, 0])
    expect((await x.topk(1).values.tolist()) as number).toBe(3)
    x.cumsum(0).backward()
    expect(await x.grad?.item()).toBe(1)
  })
})

it('topk names a k that does not fit', () => {
  expect(() => ef.ones([2, 3]).topk(4)).toThrow(/k is 4; expected a whole number from 0 to 3/)
  expect(ef.ones([2, 3]).topk(0).values.shape).toEqual([2, 0])
})
