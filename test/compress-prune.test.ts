// Pruning by masks: what is masked, ties and rounding, gradients, undo, what stays when it fails; against
// torch.nn.utils.prune and the published scores.
import * as ef from 'evenfold'
import { compress, nn } from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gradgradcheck } from '../src/testing'
import { type Candidates, countKept, pruneLowest } from '../src/compress/prune/select'
import { roundHalfToEven } from '../src/compress/prune/amount'
import { packBits, unpackBits } from '../src/compress/prune/mask'
import { describeDevices, onDevice } from './support/devices'
import { expectGolden, loadGolden } from './support/golden'

/** A Linear without bias of the given weight. */
function linear(weight: number[][], dtype: 'float32' | 'float64' = 'float64'): nn.Linear {
  const layer = new nn.Linear(weight[0].length, weight.length, { bias: false, dtype })
  layer.loadStateDict({ weight: ef.tensor(weight, { dtype }) })
  return layer
}

const W = [
  [0.5, -0.1, 0.3, -0.7],
  [0.2, -0.2, 0.9, 0.05],
]

async function maskOf(model: nn.Module, index = 0): Promise<number[]> {
  const [entry] = nn.parametrizationsOf(model).slice(index)
  return [...(await (entry.parametrized.steps[0] as compress.Mask).keep())]
}

describe('amounts', () => {
  it.each([
    ['a quarter', { fraction: 0.25 }, [1, 0, 1, 1, 1, 1, 1, 0]],
    ['a count', { count: 3 }, [1, 0, 1, 1, 0, 1, 1, 0]],
    ['half to even, down', { fraction: 0.3125 }, [1, 0, 1, 1, 1, 1, 1, 0]],
    ['half', { fraction: 0.5 }, [1, 0, 1, 1, 0, 0, 1, 0]],
    ['nothing', { fraction: 0 }, [1, 1, 1, 1, 1, 1, 1, 1]],
    ['everything', { fraction: 1 }, [0, 0, 0, 0, 0, 0, 0, 0]],
    ['a bare fraction', 0.25, [1, 0, 1, 1, 1, 1, 1, 0]],
    ['a bare count', 3, [1, 0, 1, 1, 0, 1, 1, 0]],
  ] satisfies [string, compress.Amount, number[]][])('%s', async (_, amount, expected) => {
    const layer = linear(W)
    await compress.prune(layer, { amount })
    expect(await maskOf(layer)).toEqual(expected)
  })

  it('act on what remains', async () => {
    const layer = linear(W)
    await compress.prune(layer, { amount: 0.5 })
    await compress.prune(layer, { amount: 0.5 })
    expect(await maskOf(layer)).toEqual([0, 0, 0, 1, 0, 0, 1, 0])
    expect(nn.parametrizationsOf(layer)[0].parametrized.steps).toHaveLength(1)
  })

  it('up to a sparsity count what is gone', async () => {
    const layer = linear(W)
    await compress.prune(layer, { amount: 0.25 })
    await compress.prune(layer, { amount: { sparsity: 0.5 } })
    expect(await maskOf(layer)).toEqual([1, 0, 1, 1, 0, 0, 1, 0])
    await compress.prune(layer, { amount: { sparsity: 0.25 } })
    expect(await maskOf(layer)).toEqual([1, 0, 1, 1, 0, 0, 1, 0])
  })

  it('take ties by the lowest index', async () => {
    const layer = linear([[1, 1, 1, 1, 1, 1, 1, 1]])
    await compress.prune(layer, { amount: 3 })
    expect(await maskOf(layer)).toEqual([0, 0, 0, 1, 1, 1, 1, 1])
  })

  it('round half to even', () => {
    expect([0.5, 1.5, 2.5, 3.5, 2.4999, 2.5001, 7].map(roundHalfToEven)).toEqual([0, 2, 2, 4, 2, 3, 7])
  })

  it.each([
    1,
    1.5,
    -0.1,
    -3,
    Number.NaN,
    9,
    { count: 9 },
    { count: -1 },
    { count: 1.5 },
    { fraction: 1.01 },
    { fraction: -0.01 },
    { fraction: Number.NaN },
    { sparsity: 1.01 },
    { share: 0.5 },
    {},
    { count: 1, fraction: 0.5 },
    'half',
  ])('refuse %j, and leave the model as it was', async (amount) => {
    const layer = linear(W)
    await expect(compress.prune(layer, { amount: amount as compress.Amount })).rejects.toThrow(
      ef.ArgumentError,
    )
    expect(Object.keys(layer.stateDict())).toEqual(['weight'])
    expect(compress.passesOf(layer)).toEqual([])
  })
})

describe('the lowest scores', () => {
  const lists = fc.array(
    fc.array(fc.record({ score: fc.integer({ min: -3, max: 3 }), kept: fc.boolean() }), { maxLength: 12 }),
    { minLength: 1, maxLength: 4 },
  )
  it('are those of a stable sort over all lists', () => {
    fc.assert(
      fc.property(lists, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        const candidates = given.map(
          (list): Candidates => ({
            scores: list.map((e) => e.score),
            keep: Uint8Array.from(list, (e) => Number(e.kept)),
          }),
        )
        const remaining = candidates.reduce((n, { keep }) => n + countKept(keep), 0)
        const n = Math.floor(share * remaining)
        const order = candidates
          .flatMap(({ scores, keep }, list) =>
            Array.from(keep, (k, i) => ({ list, i, k, score: scores[i] })).filter((e) => e.k),
          )
          .sort((a, b) => a.score - b.score)
        const expected = candidates.map(({ keep }) => [...keep])
        for (const { list, i } of order.slice(0, n)) expected[list][i] = 0
        expect(pruneLowest(candidates, n).map((keep) => [...keep])).toEqual(expected)
      }),
    )
  })

  it('bits survive packing', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 100 }), (bits) => {
        const packed = packBits(Uint8Array.from(bits))
        expect(packed.length).toBe(Math.ceil(bits.length / 32))
        expect([...unpackBits(packed, bits.length)]).toEqual(bits)
      }),
    )
  })
})

describeDevices('masks', (where) => {
  it.each(
    loadGolden('pruning')
      .filter((g) => g.name !== 'global')
      .map((g) => [g.name, g] as const),
  )('as torch.nn.utils.prune: %s', async (_, golden) => {
    const weight = onDevice(golden.get('weight'), where)
    const layer = new nn.Linear(weight.shape[1], weight.shape[0], { bias: false, ...where })
    layer.loadStateDict({ weight })
    const original = layer.weight
    for (const [i, step] of (golden.options.steps as compress.PruneOptions[]).entries()) {
      const norm = (step.norm as unknown) === 'inf' ? Infinity : step.norm
      await compress.prune(layer, { ...step, norm })
      expect(await maskOf(layer)).toEqual(golden.get(`mask.${i}`).values)
    }
    const output = layer.forward(onDevice(golden.get('input'), where))
    output
      .mul(onDevice(golden.get('cotangent'), where))
      .sum()
      .backward()
    expectGolden(await output.data(), golden.get('output'), where.dtype, 'output')
    const gradient = await original.grad!.data()
    expectGolden(gradient, golden.get('grad'), where.dtype, 'gradient')
    const mask = await maskOf(layer)
    expect([...gradient].filter((_, i) => !mask[i]).every((x) => x === 0)).toBe(true)
  })

  it('over all tensors, as torch’s global_unstructured', async () => {
    const golden = loadGolden('pruning').find((g) => g.name === 'global')!
    const weights = [0, 1].map((i) => onDevice(golden.get(`weight.${i}`), where))
    const model = new nn.Sequential(
      ...weights.map(({ shape }) => new nn.Linear(shape[1], shape[0], { bias: false, ...where })),
    )
    model.loadStateDict({ '0.weight': weights[0], '1.weight': weights[1] })
    for (const [step, fraction] of (golden.options.amounts as number[]).entries()) {
      await compress.prune(model, { amount: { fraction }, scope: 'global' })
      for (const i of [0, 1]) expect(await maskOf(model, i)).toEqual(golden.get(`mask.${step}.${i}`).values)
    }
  })

  it('have second derivatives, and gradient 0 where pruned', async () => {
    if (where.dtype !== 'float64') return
    const layer = new nn.Linear(3, 2, where)
    await compress.prune(layer, { amount: 0.5 })
    const x = ef.randn([4, 3], where)
    const original = nn.parametrizationsOf(layer)[0].parametrized.original
    const f = (w: ef.Tensor) => {
      const mask = nn.parametrizationsOf(layer)[0].parametrized.steps[0]
      return nn.functional.linear(x, mask.forward(w)).tanh()
    }
    const w = ef.tensor(await original.data(), { shape: [2, 3], dtype: 'float64', requiresGrad: true })
    await ef.autograd.gradcheck(f, [w])
    await gradgradcheck(f, [w])
  })

  it('train, undo, and become permanent', async () => {
    ef.manualSeed(3)
    const layer = new nn.Linear(8, 8, where)
    const optimizer = new ef.optim.AdamW(layer.parameters(), { lr: 0.1 })
    const before = await layer.weight.data()
    await compress.prune(layer, { amount: 0.5, parameters: ['weight'] })
    expect(layer.parameters()).toHaveLength(2)
    compress.undoPruning(layer)
    expect(await layer.weight.data()).toEqual(before)
    expect(Object.keys(layer.stateDict())).toEqual(['weight', 'bias'])

    await compress.prune(layer, { amount: 0.5, parameters: ['weight'] })
    const mask = await maskOf(layer)
    layer
      .forward(ef.ones([2, 8], where))
      .square()
      .sum()
      .backward()
    optimizer.step()
    optimizer.zeroGrad()
    const trained = await layer.weight.data()
    expect(trained).not.toEqual(before)
    expect([...trained].map((x) => Number(x !== 0))).toEqual(mask)
    compress.makePermanent(layer)
    expect(Object.keys(layer.stateDict())).toEqual(['weight', 'bias'])
    expect(layer.weight).toBeInstanceOf(nn.Parameter)
    expect(await layer.weight.data()).toEqual(trained)
  })

  it('move with the model', async () => {
    const layer = new nn.Linear(5, 7, where)
    await compress.prune(layer, { amount: 0.3 })
    const x = ef.randn([2, 5], where)
    const expected = await layer.forward(x).data()
    if (where.device === 'webgpu') await layer.cpu()
    else layer.to('float64')
    const moved =
      where.device === 'webgpu'
        ? await ef.tensor(await x.data(), { shape: [2, 5], device: 'cpu' })
        : x.to('float64')
    const actual = await layer.forward(moved).data()
    actual.forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i], 5)
    })
  })

  it('leave nothing behind', async () => {
    const layer = new nn.Linear(16, 16, where)
    const x = ef.randn([2, 16], where)
    const round = async () => {
      await compress.prune(layer, { amount: 0.1 })
      const loss = layer.forward(x).sum()
      loss.backward()
      loss.dispose()
      layer.zeroGrad()
      ef.noGrad(() => {
        layer.forward(x)
      })
      ef.releaseSpent()
    }
    await round()
    const before = ef.memory()[where.device].tensors
    for (let i = 0; i < 10; i++) await round()
    expect(ef.memory()[where.device].tensors).toBe(before)
  })
})

describe('scopes and scores', () => {
  it('a global half of seven is four', async () => {
    const model = new nn.Sequential(
      linear([
        [0.1, 0.2],
        [0.3, 0.4],
      ]),
      linear([
        [0.15, 0.25],
        [0.35, 9],
      ]),
    )
    await compress.prune(model, { amount: { count: 4 }, scope: 'global' })
    expect([await maskOf(model, 0), await maskOf(model, 1)]).toEqual([
      [0, 0, 1, 1],
      [0, 0, 1, 1],
    ])
  })

  it('random is seeded, and another draw is another mask', async () => {
    const draw = async (seed: number) => {
      const layer = linear([Array.from({ length: 40 }, (_, i) => i + 1)])
      ef.manualSeed(seed)
      await compress.prune(layer, { amount: 0.5, score: 'random' })
      return (await maskOf(layer)).join('')
    }
    expect(await draw(1)).toBe(await draw(1))
    expect(await draw(1)).not.toBe(await draw(2))
  })

  /** L = sum (Wx - t)², of the published vector. */
  function lossOf(layer: nn.Linear): ef.Tensor {
    const x = ef.tensor([1, 2], { dtype: 'float64' })
    return layer
      .forward(x)
      .sub(ef.tensor([1, 0], { dtype: 'float64' }))
      .square()
      .sum()
  }
  const taylor = [
    [0.5, -0.2],
    [0.1, 0.3],
  ]

  it.each([
    ['taylor', compress.taylorScores, [0.9, 0.72, 0.14, 0.84]],
    ['snip', compress.snipScores, [0.346154, 0.276923, 0.053846, 0.323077]],
    ['movement', compress.movementScores, [0.9, -0.72, -0.14, -0.84]],
  ] as const)('%s', async (_, score, expected: readonly number[]) => {
    const layer = linear(taylor)
    lossOf(layer).backward()
    const scores = await score(layer).weight.data()
    expected.forEach((v, i) => {
      expect(scores[i]).toBeCloseTo(v, 6)
    })
    await compress.prune(layer, { amount: { count: 1 }, score: score(layer) })
    expect((await maskOf(layer)).indexOf(0)).toBe(expected.indexOf(Math.min(...expected)))
  })

  it('wanda weighs by the norms of the inputs, row by row, rounding down', async () => {
    const layer = linear([
      [3, 2, 1],
      [-1, -2, 3],
    ])
    const x = ef.tensor(
      [
        [1, 2, 2],
        [0, 0, 2],
      ],
      { dtype: 'float64' },
    )
    const scores = await compress.wandaScores(layer, () => layer.forward(x))
    const norms = [1, 2, Math.sqrt(8)]
    const expected = [3, 2 * norms[1], norms[2], 1, 2 * norms[1], 3 * norms[2]]
    ;(await scores.weight.data()).forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i], 12)
    })
    await compress.prune(layer, { amount: { fraction: 0.6 }, score: scores, scope: 'row' })
    expect(await maskOf(layer)).toEqual([1, 1, 0, 0, 1, 1])
  })

  it('gradients are needed', () => {
    expect(() => compress.taylorScores(linear(taylor))).toThrow(/call backward\(\)/)
  })
})

describe('tied and other parameters', () => {
  it('a tied one is masked wherever it is held', async () => {
    const model = new nn.Sequential(
      new nn.Linear(2, 2, { bias: false }),
      new nn.Linear(2, 2, { bias: false }),
    )
    const [a, b] = model.layers as nn.Linear[]
    b.weight = a.weight
    await compress.prune(model, { amount: { count: 2 } })
    expect((await a.weight.data()).filter((x) => x === 0)).toHaveLength(2)
    expect(await b.weight.data()).toEqual(await a.weight.data())
    expect(model.parameters()).toHaveLength(1)
    compress.undoPruning(model)
    expect(b.weight).toBe(a.weight)
  })

  /** A model, a twin of it, and what one of them computes. */
  function twins<M extends nn.Module>(make: () => M, run: (m: M, x: ef.Tensor) => ef.Tensor) {
    const [model, twin] = [make(), make()]
    twin.loadStateDict(model.stateDict())
    return { model, twin, run: (which: 'model' | 'twin', x: ef.Tensor) => run({ model, twin }[which], x) }
  }
  const dtype = 'float64'

  it.each([
    [
      'GRU',
      () =>
        twins(
          () => new nn.GRU(3, 4, { numLayers: 2, bidirectional: true, dtype }),
          (m, x) => m.forward(x)[0],
        ),
    ],
    [
      'attention',
      () =>
        twins(
          () => new nn.MultiheadAttention(3, 1, { dtype }),
          (m, x) => m.forward(x)[0],
        ),
    ],
    [
      'encoder layer',
      () =>
        twins(
          () => new nn.TransformerEncoderLayer(3, 3, { dtype, dimFeedforward: 5 }).eval(),
          (m, x) => m.forward(x),
        ),
    ],
  ] as const)('%s: the mask is the model with zeros in its weights', async (_, make) => {
    ef.manualSeed(5)
    const { model, twin, run } = make()
    await compress.prune(model, { amount: 0.4, scope: 'global' })
    ef.noGrad(() => {
      for (const { name, parametrized } of nn.parametrizationsOf(model))
        twin.stateDict()[name].copy_(parametrized.read())
    })
    const x = ef.randn([4, 2, 3], { dtype })
    expect(await run('model', x).data()).toEqual(await run('twin', x).data())
  })
})

describe('bad input leaves the model as it was', () => {
  it.each([
    ['an unknown name', { parameters: ['wieght'] }, /has no parameter 'wieght'.*weight/s],
    ['a name twice', { parameters: ['weight', 'weight'] }, /named twice/],
    ['an unknown score', { score: 'size' as 'magnitude' }, /unknown score 'size'/],
    ['an unknown scope', { scope: 'layer' as 'global' }, /unknown scope 'layer'/],
    ['slices over all tensors', { scope: 'global', dim: 0 }, /dim is 0 with scope 'global'/],
    ['an axis out of range', { dim: 2 }, /axis from -2 to 1/],
    ['a norm of 0', { dim: 0, norm: 0 }, /norm is 0/],
    ['scores of another shape', { score: { weight: ef.ones([2, 3]) } }, /\[2, 3\]; expected \[2, 4\]/],
    [
      'scores that are NaN',
      { score: { weight: ef.full([2, 4], Number.NaN) } },
      /element 0 of the scores of 'weight' is NaN/,
    ],
  ] as [string, Partial<compress.PruneOptions>, RegExp][])('%s', async (_, options, message) => {
    const layer = linear(W)
    await expect(compress.prune(layer, { amount: 0.5, ...options })).rejects.toThrow(message)
    expect(Object.keys(layer.stateDict())).toEqual(['weight'])
  })

  it('weights that are not finite are named', async () => {
    const model = new nn.Sequential(
      linear(W),
      linear([
        [1, 2],
        [3, Number.NaN],
      ]),
    )
    await expect(compress.prune(model, { amount: 0.5 })).rejects.toThrow(
      /element 3 of parameter '1.weight' is NaN/,
    )
    expect(nn.parametrizationsOf(model)).toEqual([])
  })

  it('names and their order do not depend on what is masked', async () => {
    const model = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 3 })
    const before = nn.namedOriginals(model)
    expect(before).toEqual(model.namedParameters())
    await compress.prune(model, { amount: 0.5, parameters: ['self_attn.in_proj_weight', 'linear2.weight'] })
    expect(nn.namedOriginals(model)).toEqual(before)
  })

  it('a parametrized weight cannot be overwritten by accident', async () => {
    const layer = linear(W)
    await compress.prune(layer, { amount: 0.5 })
    expect(() => {
      layer.weight = new nn.Parameter(ef.ones([2, 4]))
    }).toThrow(/computed by a parametrization/)
  })

  it('every pass is noted with its options and seed', async () => {
    const layer = linear(W)
    ef.manualSeed(11)
    await compress.prune(layer, { amount: 0.5 })
    expect(compress.passesOf(layer)).toEqual([
      { pass: 'prune', options: { amount: 0.5, score: 'magnitude', parameters: ['weight'] }, seed: 11 },
    ])
  })
})
