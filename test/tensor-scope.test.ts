// Scopes: tidy, noGrad and keep release what is made inside; synchronous ones exactly, asynchronous ones until they
// settle; overlapping ones are refused and lose nothing.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'

const alive = (): number => ef.memory().cpu.tensors
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.each([
  ['tidy', ef.tidy],
  ['noGrad', ef.noGrad],
] as const)('%s', (_, scope) => {
  it('releases what is made inside and not returned, at any depth of the result', async () => {
    const before = alive()
    const result = scope(() => {
      const a = ef.ones([2])
      const b = a.add(1)
      ef.zeros([3])
      return { list: [b, [a.mul(3)]], map: new Map([['c', ef.full([], 4)]]), n: 1 }
    })
    expect(alive() - before).toBe(3)
    expect(Array.from(await result.map.get('c')!.data())).toEqual([4])
    expect(Array.from(await (result.list[0] as ef.Tensor).data())).toEqual([2, 2])
  })

  it('keeps memory that a returned view looks at', async () => {
    const view = scope(() => ef.arange(6).reshape([2, 3]).select(0, 1))
    expect(Array.from(await view.data())).toEqual([3, 4, 5])
  })

  it('leaves tensors from outside alone', async () => {
    const x = ef.ones([2])
    scope(() => x.add(1))
    expect(Array.from(await x.data())).toEqual([1, 1])
    expect(scope(() => x)).toBe(x)
    expect(x.isDisposed).toBe(false)
  })

  it('spares what is kept, and gradients of leaves', async () => {
    const x = ef.ones([2], { requiresGrad: true })
    let kept: ef.Tensor | undefined
    scope(() => {
      kept = ef.keep(ef.full([], 5))
      ef.enableGrad(() => x.mul(3).sum().backward())
    })
    expect(await kept?.item()).toBe(5)
    expect(Array.from(await x.grad!.data())).toEqual([3, 3])
  })

  it('hands results to the scope around it', () => {
    const before = alive()
    scope(() => {
      scope(() => ef.ones([2]))
      scope(() => [ef.ones([2]), ef.ones([2])])
    })
    expect(alive()).toBe(before)
  })

  it('releases everything when the function throws', () => {
    const before = alive()
    expect(() =>
      scope(() => {
        ef.ones([2]).add(1)
        throw new Error('mine')
      }),
    ).toThrow('mine')
    expect(alive()).toBe(before)
  })

  it('holds an async function’s tensors until it settles', async () => {
    const before = alive()
    const result = await scope(async () => {
      const a = ef.ones([2])
      await a.data()
      const b = a.add(1)
      await pause(1)
      return b.mul(2)
    })
    expect(alive() - before).toBe(1)
    expect(Array.from(await result.data())).toEqual([4, 4])
    await expect(
      scope(async () => {
        ef.ones([2])
        await pause(1)
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    expect(alive() - before).toBe(1)
  })

  it('lets scopes nest inside an async one', async () => {
    const before = alive()
    await scope(async () => {
      const a = await scope(async () => {
        await pause(1)
        return ef.ones([2])
      })
      scope(() => a.add(1))
      await scope(async () => pause(1))
    })
    expect(alive()).toBe(before)
  })

  it('refuses overlap, and loses nothing that either side made', async () => {
    let early: ef.Tensor | undefined
    let late: ef.Tensor | undefined
    let other: ef.Tensor | undefined
    const first = scope(async () => {
      early = ef.full([], 1)
      await pause(5)
      late = ef.full([], 2)
      await pause(5)
      return late
    })
    const second = scope(async () => {
      other = ef.full([], 3)
      await pause(20)
      return ef.full([], 4)
    })
    await expect(first).rejects.toThrow(ef.ScopeOverlapError)
    await expect(first).rejects.toThrow(/await/)
    expect(await (await second).item()).toBe(4)
    expect([await early?.item(), await late?.item(), await other?.item()]).toEqual([1, 2, 3])
  })

  it('works again after an overlap', () => {
    const before = alive()
    scope(() => {
      ef.ones([2]).add(1)
    })
    expect(alive()).toBe(before)
    expect(ef.ones([2], { requiresGrad: true }).mul(2).requiresGrad).toBe(true)
  })
})

describe('dispose', () => {
  it('gives memory back once, and later use says so', async () => {
    const before = alive()
    const x = ef.ones([2])
    x.dispose()
    x.dispose()
    expect(alive()).toBe(before)
    await expect(x.data()).rejects.toThrow(ef.ReleasedError)
    expect(() => x.add(1)).toThrow(/dispose/)
    expect(() => x.reshape([1, 2])).toThrow(ef.ReleasedError)
    expect(String(x)).toBe('Tensor(released, shape=[2])')
  })

  it('leaves other views and the tape their share', async () => {
    const x = ef.tensor([2, 3], { requiresGrad: true })
    const y = x.mul(1)
    const view = y.reshape([2, 1])
    const loss = y.square().sum()
    y.dispose()
    expect(Array.from(await view.data())).toEqual([2, 3])
    loss.backward()
    expect(Array.from(await x.grad!.data())).toEqual([4, 6])
  })

  it('is what `using` calls', () => {
    const x = ef.ones([2])
    x[Symbol.dispose]()
    expect(x.isDisposed).toBe(true)
  })
})

describe('memory', () => {
  it('counts storages and bytes, shared by views, and the peak', () => {
    ef.resetPeakMemory()
    const before = ef.memory().cpu
    const x = ef.zeros([100])
    const view = x.reshape([10, 10]).transpose(0, 1)
    const during = ef.memory().cpu
    expect(during.tensors - before.tensors).toBe(1)
    expect(during.bytes - before.bytes).toBeGreaterThanOrEqual(400)
    x.dispose()
    expect(ef.memory().cpu.bytes).toBe(during.bytes)
    view.dispose()
    const after = ef.memory().cpu
    expect(after.peakBytes).toBeGreaterThanOrEqual(during.bytes)
    ef.resetPeakMemory()
    expect(ef.memory().cpu.peakBytes).toBe(ef.memory().cpu.bytes)
  })
})

describe('survivors', () => {
  it('lists what is alive and where it was made, in debug mode only', async () => {
    expect(ef.survivors()).toEqual([])
    await ef.init({ device: 'cpu', debug: true })
    try {
      const made = ef.zeros([2, 3], { dtype: 'float64' })
      ef.zeros([4]).dispose()
      const view = made.reshape([6])
      const [only, ...others] = ef.survivors()
      expect(others).toEqual([])
      expect(only).toMatchObject({ device: 'cpu', dtype: 'float64', length: 6 })
      expect(only.bytes).toBeGreaterThanOrEqual(48)
      expect(only.stack).toContain('tensor-scope.test.ts')
      made.dispose()
      view.dispose()
      expect(ef.survivors()).toEqual([])
    } finally {
      await ef.init({ device: 'cpu' })
    }
    const later = ef.zeros([2])
    expect(ef.survivors()).toEqual([])
    later.dispose()
  })
})
