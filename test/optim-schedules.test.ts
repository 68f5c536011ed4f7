// The one-cycle and plateau schedules against PyTorch's rates; the average of weights against torch's AveragedModel.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { expectGolden, loadGolden } from './support/golden'
import { CPU32, CPU64, onDevices, type Precision, WEBGPU } from './support/precision'

const { optim } = ef
const weight = (): ef.Tensor => ef.zeros([1], { requiresGrad: true })
const named = (prefix: string) =>
  loadGolden('schedules')
    .filter((g) => g.name.startsWith(prefix))
    .map((g) => [g.name, g] as const)

describe('OneCycleLR', () => {
  const make = (name: string, options: object) => {
    const opt = name.endsWith('beta1') ? new optim.Adam([weight()]) : new optim.SGD([weight()])
    return { opt, schedule: new optim.OneCycleLR(opt, options as ef.optim.OneCycleOptions) }
  }
  const momentum = (opt: ef.optim.SGD | ef.optim.Adam): number =>
    opt instanceof optim.Adam ? opt.groups[0].beta1 : opt.groups[0].momentum

  it.each(named('oneCycle'))("%s: PyTorch's rates and momenta, and a saved state goes on", (name, golden) => {
    const { opt, schedule } = make(name, golden.options)
    const [rates, momenta]: number[][] = [[], []]
    golden.get('lr').values.forEach((_, i) => {
      rates.push(schedule.lr[0])
      momenta.push(momentum(opt))
      if (i === 11) {
        const other = make(name, golden.options)
        other.schedule.loadStateDict(JSON.parse(JSON.stringify(schedule.stateDict())))
        expect([other.schedule.lr, momentum(other.opt)]).toEqual([schedule.lr, momentum(opt)])
      }
      if (i < 19) schedule.step()
    })
    expectGolden(rates, golden.get('lr'), 'float64', 'lr')
    expectGolden(momenta, golden.get('momentum'), 'float64', 'momentum')
    schedule.step()
    expect(schedule.lr[0]).toBe(rates[19]) // beyond the end the last rate stays
  })

  it('may have a highest rate for each group', () => {
    const opt = new optim.SGD([{ params: [weight()] }, { params: [weight()] }])
    expect(
      new optim.OneCycleLR(opt, { maxLr: [1, 2], totalSteps: 9, divFactor: 10, annealStrategy: 'linear' }).lr,
    ).toEqual([0.1, 0.2])
    expect(() => new optim.OneCycleLR(opt, { maxLr: [1], totalSteps: 9 })).toThrow(/each of 2 groups/)
  })

  it('may switch momentum on for an optimizer that has taken steps without', async () => {
    const w = weight()
    const opt = new optim.RMSprop([w], { lr: 0.1 })
    const step = () => {
      w.grad = ef.ones([1])
      opt.step()
    }
    step()
    new optim.OneCycleLR(opt, { maxLr: 0.1, totalSteps: 9, cycleMomentum: true })
    step()
    expect(Object.keys(opt.stateDict().tensors)).toEqual(['0.squareAvg', '0.momentumBuffer'])
    expect((await w.data())[0]).toBeLessThan(-1)
  })

  it.each([
    { totalSteps: 1 },
    { pctStart: 1.5 },
    { annealStrategy: 'sin' },
    { maxLr: -1 },
    { divFactor: 0 },
    { maxMomentum: 1 },
  ])('refuses %j', (options) => {
    const opt = new optim.SGD([weight()])
    const all = { maxLr: 1, totalSteps: 9, ...options } as ef.optim.OneCycleOptions
    expect(() => new optim.OneCycleLR(opt, all)).toThrow(ef.ArgumentError)
  })
})

describe('ReduceLROnPlateau', () => {
  it.each(named('plateau'))("%s: PyTorch's rates, also across a saved state", (_, golden) => {
    const { metrics, lr, ...options } = golden.options as { metrics: number[]; lr: number }
    let opt = new optim.SGD([weight()], { lr })
    let schedule = new optim.ReduceLROnPlateau(opt, options)
    const rates = metrics.map((value, i) => {
      if (i % 4 === 3) {
        opt = new optim.SGD([weight()], { lr: schedule.lr[0] })
        const saved = JSON.parse(JSON.stringify(schedule.stateDict()))
        schedule = new optim.ReduceLROnPlateau(opt, options)
        schedule.loadStateDict(saved)
      }
      schedule.step(value)
      return schedule.lr[0]
    })
    expectGolden(rates, golden.get('lr'), 'float64', 'lr')
  })

  it('never takes NaN for progress', () => {
    const opt = new optim.SGD([weight()], { lr: 1 })
    const schedule = new optim.ReduceLROnPlateau(opt, { patience: 1 })
    for (const value of [0.5, Number.NaN, Number.NaN]) schedule.step(value)
    expect(schedule.lr[0]).toBeCloseTo(0.1, 12)
    expect(schedule.stateDict().best).toBe(0.5)
  })

  it.each([{ factor: 1 }, { patience: -1 }, { cooldown: 0.5 }, { threshold: Number.NaN }, { mode: 'best' }])(
    'refuses %j',
    (options) => {
      const opt = new optim.SGD([weight()])
      expect(() => new optim.ReduceLROnPlateau(opt, options as object)).toThrow(ef.ArgumentError)
    },
  )
})

onDevices(
  'EMA',
  (where) => {
    const parameter = (values: number[], { dtype }: Precision): ef.Tensor =>
      ef.tensor(values, { shape: [2, 3], dtype, requiresGrad: true })
    const assign = (p: ef.Tensor, values: number[]): void => {
      ef.noGrad(() => p.copy_(ef.tensor(values, { shape: p.shape, dtype: p.dtype })))
    }
    const read = async (p: ef.Tensor): Promise<number[]> => Array.from(await p.data(), Number)

    it.each(loadGolden('ema').map((g) => [g.name, g] as const))(
      "%s: PyTorch's averages; the weights come back bit for bit",
      async (_, golden) => {
        const all = golden.get('weights').values
        const w = parameter(all.slice(0, 6), where)
        const ema = new optim.EMA([w], { decay: golden.options.decay as number })
        for (let i = 0; i < 6; i++) {
          assign(w, all.slice(6 * i, 6 * i + 6))
          ema.update()
          const before = await read(w)
          const expected = golden.get('averages')
          const averaged = await ema.use(() => read(w))
          const values = expected.values.slice(6 * i, 6 * i + 6)
          expectGolden(averaged, { ...expected, values }, where.dtype, `update ${i}`)
          expect(await read(w)).toEqual(before)
        }
      },
    )

    it('goes on from a saved state, and brings the weights back after an error', async () => {
      const [w, v] = [parameter([1, 2, 3, 4, 5, 6], where), parameter([0, 0, 0, 0, 0, 0], where)]
      const ema = new optim.EMA([w], { decay: 0.5 })
      ema.update()
      assign(w, [3, 2, 1, 0, -1, -2])
      ema.update()
      const other = new optim.EMA([v], { decay: 0.5 })
      other.loadStateDict(ema.stateDict())
      assign(v, [9, 9, 9, 9, 9, 9])
      assign(w, [9, 9, 9, 9, 9, 9])
      other.update()
      ema.update()
      expect(await other.use(() => read(v))).toEqual(await ema.use(() => read(w)))
      expect(await ema.use(() => read(w))).toEqual([5.5, 5.5, 5.5, 5.5, 5.5, 5.5])
      await expect(ema.use(() => Promise.reject(new Error('stop')))).rejects.toThrow('stop')
      expect(await read(w)).toEqual([9, 9, 9, 9, 9, 9])
    })

    it('holds no memory from update to update', () => {
      const w = parameter([1, 2, 3, 4, 5, 6], where)
      const ema = new optim.EMA([w])
      ema.update()
      const before = ef.memory()[where.device].tensors
      for (let i = 0; i < 5; i++) ema.update()
      ema.swap()
      ema.swap()
      expect(ef.memory()[where.device].tensors).toBe(before)
    })
  },
  [CPU64, CPU32, WEBGPU],
)

describe('EMA', () => {
  it('refuses what would mix weights and averages, and states that do not fit', () => {
    const w = weight()
    const ema = new optim.EMA([w])
    ema.swap()
    expect(() => ema.update()).toThrow(/swap\(\) back/)
    expect(() => ema.stateDict()).toThrow(/swap\(\) back/)
    ema.swap()
    const state = ema.stateDict()
    expect(() => ema.loadStateDict({ ...state, tensors: {} })).toThrow(ef.FormatError)
    expect(() => ema.loadStateDict({ ...state, tensors: { 0: ef.zeros([2]) } })).toThrow(/\[2\].*\[1\]/)
    expect(() => ema.loadStateDict({ ...state, updates: -1 })).toThrow(ef.FormatError)
    expect(() => new optim.EMA([], {})).toThrow(/parameters/)
    expect(() => new optim.EMA([w], { decay: 1.5 })).toThrow(ef.ArgumentError)
  })

  it('follows a model to another device', async () => {
    await ef.init({ device: 'webgpu' })
    const model = await new ef.nn.Linear(2, 2).cpu()
    const ema = new optim.EMA(model.parameters(), { decay: 0.5 })
    model.to('webgpu')
    ema.update()
    await model.cpu()
    expect(() => ema.update()).toThrow(/await cpu\(\)/)
    await ema.cpu()
    ema.update()
    expect(Object.values(ema.stateDict().tensors).every((t) => t.device === 'cpu')).toBe(true)
    await ef.init({ device: 'cpu' })
  })
})
