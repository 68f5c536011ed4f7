// Optimizers, clipping and schedules against PyTorch's trajectories; the guard against bad steps; saving and going on.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { expectGolden, type GoldenCase, loadGolden } from './support/golden'
import { CPU32, CPU64, onDevices, type Precision, WEBGPU } from './support/precision'

const { optim } = ef

const options = (golden: GoldenCase): Record<string, unknown> => {
  const { groups: _, lrs: __, absent: ___, betas, ...rest } = golden.options
  const [beta1, beta2] = (betas as number[] | undefined) ?? []
  return betas ? { ...rest, beta1, beta2 } : rest
}

function make(
  kind: string,
  params: Iterable<ef.Tensor> | Iterable<{ params: ef.Tensor[] }>,
  given: object,
): ef.optim.Optimizer<{ lr: number }> {
  const Kind = { sgd: optim.SGD, adam: optim.Adam, adamw: optim.AdamW, rmsprop: optim.RMSprop }[
    kind
  ] as unknown as new (
    p: typeof params,
    o: object,
  ) => ef.optim.Optimizer<{ lr: number }>
  return new Kind(params, given)
}

const parameter = (values: number[], shape: number[], { dtype }: Pick<Precision, 'dtype'>): ef.Tensor =>
  ef.tensor(values, { shape, dtype, requiresGrad: true })

function setGrad(p: ef.Tensor, values: number[]): void {
  p.grad?.dispose()
  p.grad = ef.tensor(values, { shape: p.shape, dtype: p.dtype })
}

const NAMES = ['w', 'b'] as const

onDevices(
  'optimizers follow PyTorch step by step',
  (where) => {
    const cases = ['sgd', 'adam', 'adamw', 'rmsprop'].flatMap((kind) =>
      loadGolden(kind).map((golden) => [kind, golden.name, golden] as const),
    )
    it.each(cases)('%s: %s', async (kind, _, golden) => {
      const shapes = { w: [3, 2], b: [3] }
      const params = NAMES.map((n) => parameter(golden.get(`param.${n}`).values, shapes[n], where))
      const groups = golden.options.groups as object[] | undefined
      const opt = make(
        kind,
        groups ? groups.map((g, i) => ({ params: [params[i]], ...g })) : params,
        options(golden),
      )
      const absent = (golden.options.absent as number[] | undefined) ?? []
      const rates = golden.options.lrs as number[] | undefined
      for (let step = 0; step < 10; step++) {
        if (rates) for (const g of opt.groups) g.lr = rates[step]
        opt.zeroGrad()
        params.forEach((p, i) => {
          const n = p.size
          const all = golden.get(`gradients.${NAMES[i]}`).values
          if (NAMES[i] !== 'b' || !absent.includes(step)) setGrad(p, all.slice(step * n, (step + 1) * n))
        })
        opt.step()
        for (const [i, p] of params.entries()) {
          const all = golden.get(`trajectory.${NAMES[i]}`)
          const expected = { ...all, values: all.values.slice(step * p.size, (step + 1) * p.size) }
          expectGolden(
            await p.data(),
            expected,
            where.dtype,
            `${kind} ${golden.name} step ${step} ${NAMES[i]}`,
          )
        }
      }
    })
  },
  [CPU64, CPU32, WEBGPU],
)

onDevices(
  'clipping equals PyTorch',
  (where) => {
    const cases = loadGolden('clipping').filter((g) => g.name.startsWith('norm'))
    it.each(cases.map((g) => [g.name, g] as const))('%s', async (_, golden) => {
      const params = NAMES.map((n) =>
        ef.zeros(n === 'w' ? [3, 2] : [3], { dtype: where.dtype, requiresGrad: true }),
      )
      for (const [i, n] of NAMES.entries()) setGrad(params[i], golden.get(`gradients.${n}`).values)
      // JSON has no Infinity.
      const normType = Number(String(golden.options.normType).replace('inf', 'Infinity'))
      const norm = optim.clipGradNorm(params, golden.options.maxNorm as number, normType)
      expectGolden(await norm.data(), golden.get('totalNorm'), where.dtype, 'norm')
      for (const [i, n] of NAMES.entries())
        expectGolden(await params[i].grad!.data(), golden.get(`clipped.${n}`), where.dtype, n)
    })

    it('by value', async () => {
      const golden = loadGolden('clipping').find((g) => g.name === 'value')!
      const w = ef.zeros([3, 2], { dtype: where.dtype, requiresGrad: true })
      setGrad(w, golden.get('gradients.w').values)
      optim.clipGradValue([w], golden.options.clipValue as number)
      expectGolden(await w.grad!.data(), golden.get('clipped.w'), where.dtype, 'w')
    })
  },
  [CPU64, CPU32, WEBGPU],
)

describe('clipping', () => {
  it('of a NaN gradient spreads it, so that the step is refused', async () => {
    const w = ef.zeros([2], { requiresGrad: true })
    setGrad(w, [Number.NaN, 1])
    const opt = new optim.SGD([w])
    optim.clipGradNorm([w], 1)
    opt.step()
    expect(Array.from(await w.data())).toEqual([0, 0])
    expect(await opt.firstBadStep()).toBe(1)
  })

  it('refuses limits out of range and parameters without gradients', () => {
    const w = ef.zeros([2], { requiresGrad: true })
    expect(() => optim.clipGradNorm([w], 1)).toThrow(/backward/)
    expect(() => optim.clipGradNorm([w], 0)).toThrow(ef.ArgumentError)
    expect(() => optim.clipGradNorm([w], Number.NaN)).toThrow(ef.ArgumentError)
    expect(() => optim.clipGradNorm([w], 1, 0)).toThrow(/normType/)
    expect(() => optim.clipGradValue([w], -1)).toThrow(ef.ArgumentError)
  })
})

describe('schedules equal PyTorch’s', () => {
  // one-cycle and plateau: test/optim-schedules.test.ts
  const bySteps = loadGolden('schedules').filter((g) => !/^(oneCycle|plateau)/.test(g.name))
  it.each(bySteps.map((g) => [g.name, g] as const))('%s', (name, golden) => {
    const { lr, warmupSteps, totalSteps, numCycles, tMax, etaMin, stepSize, gamma } =
      golden.options as Record<string, number>
    const opt = new optim.SGD([ef.zeros([1], { requiresGrad: true })], { lr })
    const schedule = name.startsWith('linear')
      ? optim.linearScheduleWithWarmup(opt, warmupSteps, totalSteps)
      : name.startsWith('cosineAnnealing')
        ? optim.cosineAnnealing(opt, tMax, { etaMin })
        : name.startsWith('step')
          ? optim.stepLR(opt, stepSize, { gamma })
          : name.startsWith('multiStep')
            ? optim.multiStepLR(opt, golden.options.milestones as number[], { gamma })
            : optim.cosineScheduleWithWarmup(opt, warmupSteps, totalSteps, { cycles: numCycles })
    const rates: number[] = []
    golden.get('lr').values.forEach(() => {
      rates.push(schedule.lr[0])
      schedule.step()
    })
    expectGolden(rates, golden.get('lr'), 'float64', name)
  })

  it('scale each group’s own rate, and go on from a saved state', () => {
    const make = (): [ef.optim.SGD, ef.optim.LambdaLR] => {
      const groups = [0.1, 0.4].map((lr) => ({ params: [ef.zeros([1], { requiresGrad: true })], lr }))
      const opt = new optim.SGD(groups)
      return [opt, optim.linearScheduleWithWarmup(opt, 2, 6)]
    }
    const [, one] = make()
    for (let i = 0; i < 3; i++) one.step()
    expect(one.lr).toEqual([0.1 * 0.75, 0.4 * 0.75])
    const [, other] = make()
    other.loadStateDict(JSON.parse(JSON.stringify(one.stateDict())))
    one.step()
    other.step()
    expect(other.lr).toEqual(one.lr)
    const [w] = [ef.zeros([1], { requiresGrad: true })]
    expect(() => new optim.LambdaLR(new optim.SGD([w]), () => 1).loadStateDict(one.stateDict())).toThrow(
      ef.EvenfoldError,
    )
  })

  it('refuse impossible plans', () => {
    const opt = new optim.SGD([ef.zeros([1], { requiresGrad: true })])
    expect(() => optim.linearScheduleWithWarmup(opt, 5, 2)).toThrow(ef.ArgumentError)
    expect(() => optim.cosineScheduleWithWarmup(opt, -1, 2)).toThrow(ef.ArgumentError)
    expect(() => optim.cosineAnnealing(opt, 0)).toThrow(ef.ArgumentError)
    expect(() => optim.stepLR(opt, 0)).toThrow(ef.ArgumentError)
    expect(() => optim.multiStepLR(opt, [1, 2.5])).toThrow(ef.ArgumentError)
  })
})

onDevices('a step with a gradient that is not finite', (where) => {
  it.each([
    ['SGD', () => optim.SGD, { momentum: 0.9 }],
    ['Adam', () => optim.Adam, {}],
    ['AdamW', () => optim.AdamW, {}],
    ['RMSprop', () => optim.RMSprop, { centered: true, momentum: 0.9 }],
  ] as const)('changes nothing in any parameter or state: %s', async (_, kind, given) => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const params = [parameter([1, 2], [2], where), parameter([3], [1], where)]
      const opt = new (kind() as typeof optim.SGD)(params, { lr: 0.1, ...given })
      setGrad(params[0], [0.1, 0.2])
      setGrad(params[1], [0.3])
      opt.step()
      const before = await everything(params, opt)
      setGrad(params[0], [0.1, 0.2])
      setGrad(params[1], [bad])
      opt.step()
      expect(await everything(params, opt)).toEqual(before)
      expect(await opt.firstBadStep()).toBe(2)
      // Later good steps work, and the first bad one stays on record until it is cleared.
      setGrad(params[1], [0.3])
      opt.step()
      expect(await everything(params, opt)).not.toEqual(before)
      setGrad(params[1], [bad])
      opt.step()
      expect(await opt.firstBadStep()).toBe(2)
      opt.clearBadStep()
      expect(await opt.firstBadStep()).toBeNull()
    }
  })

  it('is none when gradients are merely large', async () => {
    const w = parameter([1], [1], where)
    const opt = new optim.SGD([w], { lr: 1e-37 })
    setGrad(w, [3e37])
    opt.step()
    expect(await opt.firstBadStep()).toBeNull()
    expect((await w.data())[0]).toBeLessThan(0)
  })
})

async function everything(
  params: ef.Tensor[],
  opt: { stateDict(): ef.optim.OptimizerState },
): Promise<number[][]> {
  const tensors = [...params, ...Object.values(opt.stateDict().tensors)]
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())))
}

describe('state', () => {
  const kinds: [string, (p: ef.Tensor[]) => ef.optim.Optimizer<{ lr: number }>][] = [
    ['SGD', (p) => new optim.SGD(p, { lr: 0.1 })],
    ['SGD with momentum', (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.3 })],
    ['Adam', (p) => new optim.Adam(p)],
    ['AdamW', (p) => new optim.AdamW(p)],
    ['RMSprop', (p) => new optim.RMSprop(p)],
    ['RMSprop, centered, with momentum', (p) => new optim.RMSprop(p, { momentum: 0.9, centered: true })],
  ]
  const fresh = (): ef.Tensor[] => [parameter([1, 2], [2], CPU32), parameter([3], [], CPU32)]
  const step = (opt: { step(): void }, params: ef.Tensor[], i: number): void => {
    for (const [k, p] of params.entries()) {
      setGrad(
        p,
        Array.from({ length: p.size }, (_, j) => Math.sin(3 * i + k + j)),
      )
    }
    opt.step()
  }
  /** What a file would give back: options through JSON, tensors as copies. */
  const stored = (state: ef.optim.OptimizerState): ef.optim.OptimizerState => ({
    ...(JSON.parse(JSON.stringify({ ...state, tensors: {} })) as ef.optim.OptimizerState),
    tensors: Object.fromEntries(Object.entries(state.tensors).map(([k, t]) => [k, t.clone()])),
  })

  it.each(kinds)('goes on bit for bit after a round trip: %s', async (_, make) => {
    const params = fresh()
    const opt = make(params)
    for (let i = 0; i < 5; i++) step(opt, params, i)
    opt.groups[0].lr = 0.05
    const state = stored(opt.stateDict())
    const copies = params.map((p) => {
      const q = p.detach().clone()
      q.requiresGrad = true
      return q
    })
    const other = make(copies)
    other.loadStateDict(state)
    for (let i = 5; i < 9; i++) {
      step(opt, params, i)
      step(other, copies, i)
    }
    expect(await everything(copies, other)).toEqual(await everything(params, opt))
    expect(other.stepCount).toBe(9)
  })

  it('of a run that had not begun brings an optimizer back to its start', async () => {
    for (const [, make] of kinds) {
      const [params, twins] = [fresh(), fresh()]
      const [opt, twin] = [make(params), make(twins)]
      const start = stored(opt.stateDict())
      for (let i = 0; i < 3; i++) step(opt, params, i)
      opt.loadStateDict(start)
      ef.noGrad(() =>
        params.forEach((p, i) => {
          p.copy_(twins[i])
        }),
      )
      for (let i = 0; i < 2; i++) {
        step(opt, params, i)
        step(twin, twins, i)
      }
      expect(await everything(params, opt)).toEqual(await everything(twins, twin))
    }
  })

  it('covers parameters that never had a gradient', async () => {
    const params = fresh()
    const opt = new optim.AdamW(params)
    setGrad(params[0], [1, 2])
    opt.step()
    const other = new optim.AdamW(params)
    other.loadStateDict(stored(opt.stateDict()))
    step(other, params, 1)
    expect(await other.firstBadStep()).toBeNull()
  })

  it('that does not fit is refused before anything changes', async () => {
    const params = fresh()
    const opt = new optim.Adam(params, { lr: 0.5 })
    step(opt, params, 0)
    const before = await everything(params, opt)
    const state = stored(opt.stateDict())
    const sgd = new optim.SGD(params, { momentum: 0.9 })
    step(sgd, params, 1)
    const one = ef.zeros([1])
    const wrong: [string, unknown, RegExp][] = [
      ['fewer groups', { ...state, groups: [] }, /0 groups, expected 1/],
      ['more parameters', { ...state, steps: [1, 1, 1] }, /3 parameters, expected 2/],
      [
        'another shape',
        { ...state, tensors: { ...state.tensors, '0.expAvg': one } },
        /0\.expAvg.*\[1\].*\[2\]/,
      ],
      ['an unknown parameter', { ...state, tensors: { ...state.tensors, '7.expAvg': one } }, /7\.expAvg/],
      ['another optimizer’s', stored(sgd.stateDict()), /momentumBuffer/],
      ['a missing part', { ...state, tensors: { '0.expAvg': state.tensors['0.expAvg'] } }, /0\.expAvgSq/],
      ['nothing', {}, /groups/],
      ['options out of range', { ...state, groups: [{ ...state.groups[0], lr: -1 }] }, /lr/],
    ]
    const params2 = fresh()
    const target = new optim.Adam(params2, { lr: 0.5 })
    step(target, params2, 0)
    for (const [what, bad, message] of wrong) {
      expect(() => target.loadStateDict(bad as ef.optim.OptimizerState), what).toThrow(ef.FormatError)
      expect(() => target.loadStateDict(bad as ef.optim.OptimizerState), what).toThrow(message)
      expect(target.groups[0].lr, what).toBe(0.5)
    }
    expect(await everything(params2, target)).toEqual(before)
  })
})

describe('an optimizer', () => {
  it('refuses what cannot be trained', () => {
    const w = ef.zeros([1], { requiresGrad: true })
    expect(() => new optim.SGD([])).toThrow(/parameters/)
    expect(() => new optim.SGD([w, w])).toThrow(/twice/)
    expect(() => new optim.SGD([{ params: [w] }, { params: [w] }])).toThrow(/two groups/)
    expect(() => new optim.SGD([w.mul(2)])).toThrow(/leaf/)
    expect(() => new optim.SGD([3 as unknown as ef.Tensor])).toThrow(ef.ArgumentError)
  })

  it.each([
    [
      'SGD',
      () => [{ lr: -1 }, { momentum: -0.1 }, { weightDecay: -1 }, { nesterov: true }, { lr: Number.NaN }],
    ],
    ['Adam', () => [{ lr: -1 }, { beta1: 1 }, { beta2: -0.1 }, { eps: -1 }, { weightDecay: Number.NaN }]],
    ['AdamW', () => [{ lr: -1 }, { beta1: 1 }, { beta2: 1.5 }, { eps: Number.NaN }, { weightDecay: -1 }]],
    ['RMSprop', () => [{ lr: -1 }, { alpha: 1.5 }, { eps: -1 }, { momentum: -1 }, { weightDecay: -1 }]],
  ] as const)('%s refuses options out of range', (kind, wrong) => {
    const w = ef.zeros([1], { requiresGrad: true })
    for (const given of wrong()) {
      expect(() => new (optim[kind] as typeof optim.SGD)([w], given), JSON.stringify(given)).toThrow(
        ef.ArgumentError,
      )
    }
  })

  it('does nothing where no parameter has a gradient, and leaves those without one alone', async () => {
    const [a, b] = [parameter([1], [1], CPU32), parameter([2], [1], CPU32)]
    const opt = new optim.AdamW([a, b])
    opt.step()
    setGrad(a, [1])
    opt.step()
    expect((await a.data())[0]).not.toBe(1)
    expect((await b.data())[0]).toBe(2)
  })

  it('zeroGrad takes gradients away, and says so to who still holds one', () => {
    const w = parameter([1], [1], CPU32)
    const opt = new optim.SGD([w])
    w.square().sum().backward()
    const g = w.grad as ef.Tensor
    opt.zeroGrad()
    expect(w.grad).toBeNull()
    expect(() => g.add(1)).toThrow(/zeroGrad.*keep/)
    w.square().sum().backward()
    const kept = ef.keep(w.grad as unknown as ef.Tensor)
    opt.zeroGrad()
    expect(kept.isDisposed).toBe(false)
  })

  it('minimizes', async () => {
    for (const kind of ['SGD', 'Adam', 'AdamW', 'RMSprop'] as const) {
      const w = parameter([3, -2], [2], CPU32)
      const opt = new (optim[kind] as typeof optim.SGD)([w], { lr: 0.1 })
      for (let i = 0; i < 200; i++) {
        opt.zeroGrad()
        w.sub(1).square().sum().backward()
        opt.step()
      }
      const [a, b] = await w.data()
      expect(Math.abs(a - 1) + Math.abs(b - 1), kind).toBeLessThan(0.1)
    }
  })
})

describe('dispose', () => {
  it('releases what was kept, and a later step begins anew', async () => {
    const [p, fresh] = [0, 1].map(() => new ef.nn.Parameter(ef.ones([3])))
    const step = (optimizer: ef.optim.Adam, of: ef.nn.Parameter) => {
      of.grad = ef.tensor([1, -2, 3])
      optimizer.step()
    }
    const before = ef.memory().cpu.tensors
    const optimizer = new ef.optim.Adam([p], { lr: 0.1 })
    step(optimizer, p)
    optimizer.zeroGrad()
    optimizer.dispose()
    expect(ef.memory().cpu.tensors).toBe(before)
    const values = await p.data()
    ef.noGrad(() => fresh.copy_(ef.tensor(values)))
    step(optimizer, p)
    step(new ef.optim.Adam([fresh], { lr: 0.1 }), fresh)
    expect(await p.data()).toEqual(await fresh.data())
  })
})
