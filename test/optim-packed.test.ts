// Optimizers treat parameters together: the bits are those of one optimizer per parameter, the launches far fewer.
import * as ef from 'evenfold'
import { optim } from 'evenfold'
import { expect, it } from 'vitest'
import { describeDevices } from './support/devices'

const SHAPES = [[3, 4], [7], [], [2, 3, 5], [0], [65], [1], [8, 8], [33, 2], [5]]

const KINDS: Record<string, (params: ef.Tensor[]) => optim.Optimizer<{ lr: number }>> = {
  SGD: (params) => new optim.SGD(params, { lr: 0.1 }),
  momentum: (params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9, nesterov: true }),
  Adam: (params) => new optim.Adam(params, { lr: 0.1, weightDecay: 0.1 }),
  AdamW: (params) => new optim.AdamW(params, { lr: 0.1 }),
  RMSprop: (params) => new optim.RMSprop(params, { lr: 0.1, momentum: 0.5, centered: true }),
}

describeDevices('parameters together', ({ device, dtype }) => {
  function parameters(): ef.Tensor[] {
    ef.manualSeed(1)
    return SHAPES.map((shape) => {
      const p = ef.randn(shape, { dtype })
      p.requiresGrad = true
      return p
    })
  }

  /** Gradients of step `step`; every third parameter has none in the second step. */
  function giveGradients(params: readonly ef.Tensor[], step: number): void {
    params.forEach((p, i) => {
      p.grad =
        step === 1 && i % 3 === 0
          ? null
          : ef.keep(
              p
                .detach()
                .mul(step + i)
                .sin()
                .add(0.1),
            )
    })
  }

  const read = (params: readonly ef.Tensor[]): Promise<unknown[]> => Promise.all(params.map((p) => p.data()))

  it.each(Object.keys(KINDS))('%s: as each by itself, bit for bit', async (name) => {
    const [together, apart] = [parameters(), parameters()]
    const one = KINDS[name](together)
    const many = apart.map((p) => KINDS[name]([p]))
    for (let step = 0; step < 4; step++) {
      giveGradients(together, step)
      giveGradients(apart, step)
      one.step()
      for (const optimizer of many) optimizer.step()
    }
    expect(await read(together)).toEqual(await read(apart))
    const own = one.stateDict()
    expect(own.steps).toEqual(many.flatMap((optimizer) => optimizer.stateDict().steps))
    for (const [key, t] of Object.entries(own.tensors)) {
      const [index, rest] = key.split('.')
      expect(await t.data()).toEqual(await many[Number(index)].stateDict().tensors[`0.${rest}`].data())
    }
  })

  it('one bad gradient holds all of them back', async () => {
    const params = parameters()
    const optimizer = KINDS.AdamW(params)
    giveGradients(params, 0)
    const before = await read(params)
    params[7].grad = ef.full([8, 8], Number.POSITIVE_INFINITY, { dtype })
    optimizer.step()
    expect(await read(params)).toEqual(before)
    expect(await optimizer.firstBadStep()).toBe(1)
  })

  it('clipping by norm is one norm over all, and one factor', async () => {
    const params = parameters()
    giveGradients(params, 0)
    const values = await Promise.all(params.map(async (p) => [...(await (p.grad as ef.Tensor).data())]))
    const norm = Math.hypot(...values.flat())
    expect(await optim.clipGradNorm(params, 1).item()).toBeCloseTo(norm, 4)
    for (const [i, p] of params.entries()) {
      const clipped = await (p.grad as ef.Tensor).data()
      values[i].forEach((v, k) => {
        expect(clipped[k]).toBeCloseTo(v / norm, 5)
      })
    }
  })

  if (device === 'webgpu') {
    it('takes a few launches for 40 parameters', async () => {
      const params = Array.from({ length: 40 }, (_, i) => {
        const p = ef.randn([i + 1])
        p.requiresGrad = true
        return p
      })
      const optimizer = new optim.AdamW(params)
      for (const p of params) p.grad = ef.keep(p.detach().add(1))
      optimizer.step()
      const report = await ef.profile(() => {
        optim.clipGradNorm(params, 1)
        optimizer.step()
      })
      // 80 for the updates alone if each were by itself; the least number of bindings a device has is 8.
      expect(report.dispatches).toBeLessThanOrEqual(45)
      expect(report).toMatchObject({ newPipelines: expect.any(Number), submits: 1 })
      const again = await ef.profile(() => optimizer.step())
      expect(again).toMatchObject({ newPipelines: 0, newBuffers: 0 })
    })
  }
})
