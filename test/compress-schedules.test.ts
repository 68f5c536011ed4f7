// Sparsity over time: gradual pruning, rounds with and without going back, lottery tickets; and masks that are trained.
import * as ef from 'evenfold'
import { compress, nn } from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { describeDevices } from './support/devices'

const zerosOf = async (t: ef.Tensor) => [...(await t.data())].filter((x) => x === 0).length
const rounded = (x: number) => Number(x.toFixed(4))

describe('cubic sparsity', () => {
  it('is the published one', () => {
    const long = compress.cubicSparsity({ final: 0.9, steps: 10 })
    expect(Array.from({ length: 11 }, (_, t) => rounded(long(t)))).toEqual([
      0, 0.2439, 0.4392, 0.5913, 0.7056, 0.7875, 0.8424, 0.8757, 0.8928, 0.8991, 0.9,
    ])
    const short = compress.cubicSparsity({ initial: 0.7, final: 0.9, steps: 5 })
    expect(Array.from({ length: 6 }, (_, t) => rounded(short(t)))).toEqual([
      0.7, 0.7976, 0.8568, 0.8872, 0.8984, 0.9,
    ])
  })

  it('stays within its ends, and does not fall', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true })
    const step = fc.integer({ min: -10, max: 200 })
    fc.assert(
      fc.property(share, share, fc.integer({ min: 1, max: 100 }), step, step, (a, b, steps, t, u) => {
        const [initial, final] = [Math.min(a, b), Math.max(a, b)]
        const s = compress.cubicSparsity({ initial, final, begin: 7, steps })
        expect(s(7)).toBeCloseTo(initial, 12)
        expect(s(7 + steps)).toBe(final)
        expect(s(Math.min(t, u))).toBeLessThanOrEqual(s(Math.max(t, u)) + 1e-12)
      }),
    )
  })

  it.each([
    { final: 1.1, steps: 5 },
    { final: 0.5, initial: -1, steps: 5 },
    { final: 0.5, steps: 0 },
  ])('refuses %j', (options) => {
    expect(() => compress.cubicSparsity(options)).toThrow(ef.ArgumentError)
  })
})

describeDevices('rounds', (where) => {
  const make = () => new nn.Sequential(new nn.Linear(5, 8, where), new nn.Tanh(), new nn.Linear(8, 4, where))
  /** A few steps towards zero outputs, with an optimizer of their own. */
  const trainer = (model: nn.Module, steps = 1) => {
    const x = ef.randn([4, 5], where)
    return () => {
      const optimizer = new ef.optim.AdamW(model.parameters(), { lr: 0.02 })
      for (let i = 0; i < steps; i++) {
        optimizer.zeroGrad()
        const loss = (model.forward as (x: ef.Tensor) => ef.Tensor)(x).square().mean()
        loss.backward()
        loss.dispose()
        optimizer.step()
      }
      optimizer.dispose()
      model.zeroGrad()
      ef.releaseSpent()
    }
  }
  const sparsity = async (model: nn.Module) => {
    const entries = nn.parametrizationsOf(model)
    let zeros = 0
    for (const { parametrized } of entries) zeros += await zerosOf(parametrized.read())
    return zeros / entries.reduce((n, { parametrized }) => n + parametrized.original.size, 0)
  }

  it('gradual pruning meets its sparsities, and what is gone stays gone', async () => {
    const model = make()
    const step = compress.gradualPruning(model, {
      final: 0.75,
      begin: 2,
      steps: 6,
      every: 2,
      scope: 'global',
    })
    const train = trainer(model)
    const seen: (number | null)[] = []
    const shares: number[] = []
    for (let t = 0; t < 10; t++) {
      train()
      const s = await step(t)
      seen.push(s)
      if (s !== null) {
        shares.push(await sparsity(model))
        expect(shares.at(-1)).toBeCloseTo(s, 1)
      }
    }
    const cubic = compress.cubicSparsity({ final: 0.75, begin: 2, steps: 6 })
    expect(seen).toEqual([null, null, cubic(2), null, cubic(4), null, cubic(6), null, cubic(8), null])
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)).toBe(0.75)
  })

  it('iterative pruning goes 0.1, 0.2 … 0.9', async () => {
    const model = make()
    const seen: number[] = []
    const train = trainer(model)
    await compress.iterativePruning(model, {
      train: async () => {
        train()
        seen.push(rounded(await sparsity(model)))
      },
    })
    const counts = Array.from({ length: 9 }, (_, k) => Math.round(((k + 1) / 10) * 72))
    expect(seen).toEqual(counts.map((n) => rounded(n / 72)))
  })

  it('with rewinding, the result is a mask on the earlier weights', async () => {
    ef.manualSeed(4)
    const model = make()
    const start = compress.snapshot(model)
    const before = await start['0.weight'].data()
    const train = trainer(model, 3)
    const seen: ArrayLike<number>[] = []
    await compress.iterativePruning(model, {
      rounds: 3,
      rewindTo: start,
      rewindAtEnd: true,
      train: async () => {
        seen.push(await nn.namedOriginals(model)[0][1].data())
        train()
      },
    })
    for (const weights of seen) expect(weights).toEqual(before)
    const [{ parametrized }] = nn.parametrizationsOf(model)
    const keep = await (parametrized.steps[0] as compress.Mask).keep()
    expect(await parametrized.read().data()).toEqual(before.map((x, i) => (keep[i] ? x : 0)))
  })

  it('a lottery ticket starts where it was drawn, or at a later step', async () => {
    ef.manualSeed(4)
    const [model, late] = [make(), make()]
    const before = await nn.namedOriginals(model)[0][1].data()
    await compress.lotteryTicket(model, { rounds: 2, rewindAtEnd: true, train: trainer(model, 2) })
    expect(await nn.namedOriginals(model)[0][1].data()).toEqual(before)
    expect(await sparsity(model)).toBeCloseTo(1 - 0.8 ** 2, 1)

    const train = trainer(late, 2)
    let saved: nn.StateDict | null = null
    await compress.lotteryTicket(late, {
      rounds: 2,
      rewindTo: () => saved as nn.StateDict,
      rewindAtEnd: true,
      train: (round) => {
        train()
        if (round < 0) saved = compress.snapshot(late)
        train()
      },
    })
    expect(await nn.namedOriginals(late)[0][1].data()).toEqual(
      await (saved as unknown as nn.StateDict)['0.weight'].data(),
    )
  })

  it('ten rounds leave nothing behind', async () => {
    const model = make()
    const train = trainer(model, 2)
    const start = compress.snapshot(model)
    const counts: number[] = []
    await compress.iterativePruning(model, {
      rounds: 10,
      rewindTo: start,
      train: () => {
        train()
        counts.push(ef.memory()[where.device].tensors)
      },
    })
    expect(counts.slice(1)).toEqual(Array.from({ length: 9 }, () => counts[1]))
  })

  it('refuse what is out of range', async () => {
    const model = make()
    const train = () => {}
    await expect(compress.iterativePruning(model, { rounds: 0, train })).rejects.toThrow(/rounds is 0/)
    await expect(compress.iterativePruning(model, { rewindAtEnd: true, train })).rejects.toThrow(
      /needs rewindTo/,
    )
    await expect(compress.lotteryTicket(model, { fraction: 1, train })).rejects.toThrow(/fraction is 1/)
    expect(() => compress.gradualPruning(model, { final: 0.5, steps: 10, every: 0 })).toThrow(/every is 0/)
    expect(() => compress.rewind(model, { '0.weight': ef.ones([2, 2]) })).toThrow(/0\.weight, 0\.bias/)
    expect(nn.parametrizationsOf(model)).toEqual([])
  })
})

describeDevices('trained masks', (where) => {
  const W = [
    [0.5, -0.2],
    [0.1, 0.3],
  ]
  const layerOf = (weight: number[][]) => {
    const layer = new nn.Linear(weight[0].length, weight.length, { bias: false, ...where })
    layer.loadStateDict({ weight: ef.tensor(weight, where) })
    return layer
  }
  /** L = sum (Wx - t)², of the published vector. */
  const lossOf = (layer: nn.Linear) =>
    layer
      .forward(ef.tensor([1, 2], where))
      .sub(ef.tensor([1, 0], where))
      .square()
      .sum()
  const close = (actual: ArrayLike<number>, expected: number[]) => {
    expected.forEach((v, i) => {
      expect(actual[i]).toBeCloseTo(v, 5)
    })
  }

  it('movement: the score’s gradient is that of the weight times the weight', async () => {
    const layer = layerOf(W)
    const training = await compress.trainMasks(layer, { sparsity: 0, init: 'zero' })
    lossOf(layer).backward()
    const [scores] = training.scores
    close(await scores.grad!.data(), [-0.9, 0.72, 0.14, 0.84])
    close(await nn.namedOriginals(layer)[0][1].grad!.data(), [-1.8, -3.6, 1.4, 2.8])
    new ef.optim.SGD(training.scores, { lr: 0.01 }).step()
    close(await scores.data(), [0.009, -0.0072, -0.0014, -0.0084])
    await training.setSparsity(0.5)
    close(await layer.weight.data(), [0.5, 0, 0.1, 0])
  })

  it('gradients of masked weights are 0, those of their scores are not', async () => {
    const layer = layerOf(W)
    const training = await compress.trainMasks(layer, { sparsity: 0.5, freeze: false })
    lossOf(layer).backward()
    const [weight, scores] = [nn.namedOriginals(layer)[0][1].grad!, training.scores[0].grad!]
    expect([...(await weight.data())].map((g) => g === 0)).toEqual([false, true, true, false])
    expect([...(await scores.data())].every((g) => g !== 0)).toBe(true)
  })

  it.each([
    ['magnitude', [0.02, 0, 0, 0.02], 0.01],
    ['magnitudeSoft', [0.5, 0.2, 0.1, 0.3], 0.2],
  ] as const)('start by %s', async (init, expected, threshold) => {
    const layer = layerOf(W)
    const { masks, scores } = await compress.trainMasks(layer, { sparsity: 0.5, init })
    close(await scores[0].data(), [...expected])
    expect(await masks.get('weight')!.threshold.item()).toBeCloseTo(threshold, 6)
    close(await layer.weight.data(), [0.5, 0, 0, 0.3])
  })

  it('find a subnetwork of frozen weights, and become a fixed mask', async () => {
    ef.manualSeed(8)
    const layer = new nn.Linear(12, 3, where)
    const values = await layer.weight.data()
    const training = await compress.trainMasks(layer, { sparsity: 0.5 })
    expect(layer.parameters().filter((p) => p.requiresGrad)).toEqual(training.scores)
    const optimizer = new ef.optim.Adam(training.scores, { lr: 0.005 })
    const x = ef.randn([16, 12], where)
    const lossNow = () => layer.forward(x).square().mean()
    const before = await lossNow().item()
    const sparsity = compress.cubicSparsity({ initial: 0.5, final: 0.75, steps: 12 })
    for (let t = 0; t < 16; t++) {
      optimizer.zeroGrad()
      lossNow().add(training.penalty().mul(0.01)).backward()
      optimizer.step()
      await training.setSparsity(sparsity(t))
    }
    expect(await lossNow().item()).toBeLessThan(before)
    // A negative weight times 0 is -0.
    const trained = (await layer.weight.data()).map((v) => v + 0)
    await training.finish()
    expect(await layer.weight.data()).toEqual(trained)
    expect([...trained].filter((v) => v === 0)).toHaveLength(27)
    expect(trained).toEqual(values.map((v, i) => (trained[i] === 0 ? 0 : v)))
    expect(layer.parameters().every((p) => p.requiresGrad)).toBe(true)
    compress.undoPruning(layer)
    expect(await layer.weight.data()).toEqual(values)
  })

  it('are saved with the model', async () => {
    const [layer, fresh] = [layerOf(W), layerOf(W)]
    const training = await compress.trainMasks(layer, { sparsity: 0.5, init: 'zero' })
    ef.noGrad(() =>
      training.scores[0].copy_(
        ef.tensor(
          [
            [3, 1],
            [2, 4],
          ],
          where,
        ),
      ),
    )
    await compress.loadModel(await compress.modelToBytes(layer), fresh)
    close(await fresh.weight.data(), [0.5, 0, 0, 0.3])
  })

  it('refuse what does not fit, and leave the model as it was', async () => {
    const layer = layerOf(W)
    const train = (options: Partial<compress.TrainMasksOptions>) =>
      compress.trainMasks(layer, { sparsity: 0.5, ...options })
    await expect(train({ sparsity: 1.5 })).rejects.toThrow(/sparsity is 1.5/)
    await expect(train({ init: 'ones' as 'zero' })).rejects.toThrow(/unknown init 'ones'/)
    await expect(train({ rule: 'best' as 'topK' })).rejects.toThrow(/unknown rule 'best'/)
    await expect(train({ parameters: ['w'] })).rejects.toThrow(/has no parameter 'w'/)
    expect(nn.parametrizationsOf(layer)).toEqual([])
    await compress.prune(layer, { amount: 0.5 })
    await expect(train({})).rejects.toThrow(/'weight' has a parametrization already/)
  })
})
