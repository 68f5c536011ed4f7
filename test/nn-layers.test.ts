// Layers, losses and initialisers: what PyTorch's goldens do not show. Empty batches, bad input, second derivatives,
// randomness.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as nn from '../src/nn'

const F = nn.functional
const ids = (values: number[], shape = [values.length]) => ef.tensor(Int32Array.from(values), { shape })
const random = (shape: number[]) => ef.randn(shape, { dtype: 'float64', requiresGrad: true })

describe('LayerNorm', () => {
  const shapes = fc.record({
    outer: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
    inner: fc.array(fc.integer({ min: 2, max: 4 }), { minLength: 1, maxLength: 2 }),
    affine: fc.boolean(),
    bias: fc.boolean(),
  })

  it('has the right first and second derivatives, with and without weight and bias', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ outer, inner, affine, bias }) => {
        const fn = (x: ef.Tensor, weight?: ef.Tensor, shift?: ef.Tensor) =>
          F.layerNorm(x, inner, { weight: weight ?? null, bias: shift ?? null, eps: 0.1 })
        const inputs = [random([...outer, ...inner])]
        if (affine) inputs.push(random(inner))
        if (affine && bias) inputs.push(random(inner))
        await ef.autograd.gradcheck(fn, inputs)
        await ef.autograd.gradgradcheck(fn, inputs)
      }),
      { numRuns: 12 },
    )
  })

  it('reads any layout, and a bias without a weight', async () => {
    const fn = (x: ef.Tensor, bias: ef.Tensor) => F.layerNorm(x.transpose(0, 1), [3], { bias })
    await ef.autograd.gradcheck(fn, [random([3, 4]), random([3])])
  })

  it('gives only the gradients asked for', () => {
    const layer = new nn.LayerNorm(3)
    layer.weight!.requiresGrad = false
    layer
      .forward(ef.randn([2, 3]))
      .square()
      .sum()
      .backward()
    expect(layer.weight!.grad).toBe(null)
    expect(layer.bias!.grad!.shape).toEqual([3])
  })

  it('takes an empty batch', async () => {
    const layer = new nn.LayerNorm(3)
    const out = layer.forward(ef.zeros([0, 3]))
    expect(out.shape).toEqual([0, 3])
    out.sum().backward()
    expect(await layer.weight!.grad!.tolist()).toEqual([0, 0, 0])
  })

  it('refuses an input that does not end in the normalized shape, and mixed dtypes', () => {
    expect(() => new nn.LayerNorm([2, 3]).forward(ef.ones([3, 2]))).toThrow(
      /\[3, 2\].*\[2, 3\].*in LayerNorm/,
    )
    expect(() => new nn.LayerNorm(3).forward(ef.ones([2, 3], { dtype: 'float64' }))).toThrow(ef.DTypeError)
  })
})

describe('Linear', () => {
  it('takes any number of leading axes, and none, and empty batches', () => {
    const layer = new nn.Linear(3, 2)
    for (const lead of [[], [4], [0], [2, 0], [2, 4]])
      expect(layer.forward(ef.ones([...lead, 3])).shape).toEqual([...lead, 2])
  })

  it('starts uniform on ±1/sqrt(in)', async () => {
    ef.manualSeed(1)
    const layer = new nn.Linear(16, 500)
    for (const p of layer.parameters()) {
      const values = Array.from(await p.data())
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(0.25)
      expect(Math.max(...values)).toBeGreaterThan(0.24)
      expect(Math.min(...values)).toBeLessThan(-0.24)
    }
  })

  it('refuses sizes that are not positive integers', () => {
    expect(() => new nn.Linear(0, 2)).toThrow('Linear: inFeatures is 0; expected a positive integer')
  })
})

describe('Embedding', () => {
  it('refuses ids out of range, whether or not their range is known beforehand', async () => {
    const layer = new nn.Embedding(4, 2)
    expect(() => layer.forward(ids([1, 4]))).toThrow(
      new ef.IndexError('embedding: id 4 is out of range (in Embedding); expected 0 to 3'),
    )
    expect(() => layer.forward(ids([-1, 0]))).toThrow(ef.IndexError)
    expect(() => layer.forward(ids([3]).add(1))).toThrow(ef.IndexError)
    expect(() => layer.forward(ef.ones([2]))).toThrow(ef.DTypeError)
  })

  it('takes ids of any shape and none', () => {
    const layer = new nn.Embedding(4, 2)
    expect(layer.forward(ids([1, 2, 3, 0], [2, 2])).shape).toEqual([2, 2, 2])
    expect(layer.forward(ids([], [0, 3])).shape).toEqual([0, 3, 2])
  })

  it('starts standard normal with a zero padding row', async () => {
    ef.manualSeed(2)
    const layer = new nn.Embedding(2000, 4, { paddingIdx: -1 })
    expect(layer.paddingIdx).toBe(1999)
    expect(await layer.weight.slice(1999).tolist()).toEqual([0, 0, 0, 0])
    expect(await layer.weight.mean().item()).toBeCloseTo(0, 1)
    expect(await layer.weight.std().item()).toBeCloseTo(1, 1)
    expect(() => new nn.Embedding(4, 2, { paddingIdx: 4 })).toThrow(ef.ArgumentError)
  })

  it('has second derivatives that leave the padding row out', async () => {
    const at = ids([0, 2, 2, 1])
    await ef.autograd.gradgradcheck((w) => F.embedding(at, w).square(), [random([3, 2])])
    const weight = random([3, 2])
    F.embedding(at, weight, { paddingIdx: 2 }).square().sum().backward({ createGraph: true })
    const first = weight.grad!
    weight.grad = null
    first.sum().backward()
    expect(await weight.grad!.tolist()).toEqual([
      [2, 2],
      [2, 2],
      [0, 0],
    ])
  })
})

describe('Dropout', () => {
  it('drops about p, keeps the expectation, and the gradient follows the same mask', async () => {
    ef.manualSeed(3)
    const x = ef.ones([20000], { requiresGrad: true })
    const out = new nn.Dropout(0.25).forward(x)
    out.sum().backward()
    const values = await out.data()
    expect(new Set(values)).toEqual(new Set([0, Math.fround(4 / 3)]))
    expect(values.filter((v) => v === 0).length / values.length).toBeCloseTo(0.25, 1)
    expect(await x.grad!.data()).toEqual(values)
  })

  it('is the identity in evaluation and for p = 0, and gives zeros for p = 1', async () => {
    const x = ef.ones([3])
    expect(new nn.Dropout(0.9).eval().forward(x)).toBe(x)
    expect(new nn.Dropout(0).forward(x)).toBe(x)
    expect(await new nn.Dropout(1).forward(x).tolist()).toEqual([0, 0, 0])
    expect(() => new nn.Dropout(1.5)).toThrow(ef.ArgumentError)
  })

  it('repeats with the seed and changes from call to call', async () => {
    const draw = async () => {
      ef.manualSeed(4)
      const layer = new nn.Dropout()
      const x = ef.ones([64])
      return [await layer.forward(x).tolist(), await layer.forward(x).tolist()]
    }
    const [first, second] = await draw()
    expect(first).not.toEqual(second)
    expect(await draw()).toEqual([first, second])
  })
})

describe('crossEntropy', () => {
  it('equals itself on flattened extra axes, and on one example', async () => {
    const logits = random([2, 3, 4])
    const target = ids([0, 1, 2, 2, 1, 0, 0, -100], [2, 4])
    const options = { labelSmoothing: 0.1, weight: ef.tensor([1, 2, 3], { dtype: 'float64' }) }
    const wide = await F.crossEntropy(logits, target, options).item()
    const flat = await F.crossEntropy(
      logits.transpose(1, 2).reshape([8, 3]),
      target.reshape([8]),
      options,
    ).item()
    expect(wide).toBeCloseTo(flat, 12)
    const one = await F.crossEntropy(logits.slice(0, null, 0), ids([0], []), options).item()
    const row = await F.crossEntropy(logits.slice([0, 1], null, 0), ids([0]), options).item()
    expect(one).toBeCloseTo(row, 12)
  })

  it('has the right first and second derivatives', async () => {
    const target = ids([2, 0, -100, 1])
    const weight = ef.tensor([0.5, 1, 2], { dtype: 'float64' })
    const fn = (x: ef.Tensor) => F.crossEntropy(x, target, { weight, labelSmoothing: 0.2 })
    await ef.autograd.gradcheck(fn, [random([4, 3])])
    await ef.autograd.gradgradcheck(fn, [random([4, 3])])
  })

  it('of an empty batch is NaN as a mean and 0 as a sum, as in torch', async () => {
    const none = ids([], [0])
    expect(await F.crossEntropy(ef.zeros([0, 3]), none).item()).toBeNaN()
    expect(await F.crossEntropy(ef.zeros([0, 3]), none, { reduction: 'sum' }).item()).toBe(0)
    expect(await F.crossEntropy(ef.zeros([2, 3]), ids([-100, -100])).item()).toBeNaN()
  })

  it('refuses class ids out of range, also those computed on the device', () => {
    const logits = ef.zeros([2, 3])
    expect(() => F.crossEntropy(logits, ids([0, 3]))).toThrow(
      /target 3 is out of range; expected class ids 0 to 2/,
    )
    expect(() => F.crossEntropy(logits, ids([0, -1]))).toThrow(ef.IndexError)
    expect(() => F.crossEntropy(logits, ids([0, 2]).add(1))).toThrow(ef.IndexError)
  })

  it('refuses targets of another shape or dtype, and bad options', () => {
    const logits = ef.zeros([2, 3])
    expect(() => F.crossEntropy(logits, ids([0, 1, 2]))).toThrow(ef.ShapeError)
    expect(() => F.crossEntropy(logits, ef.zeros([2]))).toThrow(ef.DTypeError)
    expect(() => F.crossEntropy(logits, ids([0, 1]), { weight: ef.ones([2]) })).toThrow(ef.ShapeError)
    expect(() => F.crossEntropy(logits, ids([0, 1]), { labelSmoothing: 2 })).toThrow(ef.ArgumentError)
    expect(() => F.crossEntropy(logits, ids([0, 1]), { reduction: 'max' as 'mean' })).toThrow(
      /unknown reduction 'max'/,
    )
  })

  it('as a module keeps its class weight in the state', () => {
    const loss = new nn.CrossEntropyLoss({ weight: ef.ones([3]) })
    expect(Object.keys(loss.stateDict())).toEqual(['weight'])
    expect(loss.parameters()).toEqual([])
    loss.to('float64')
    expect(loss.forward(ef.zeros([2, 3], { dtype: 'float64' }), ids([0, 1])).dtype).toBe('float64')
  })
})

describe('bceWithLogits and mse', () => {
  it('have the right second derivatives', async () => {
    const y = ef.tensor([[1, 0, 0.5]], { dtype: 'float64' })
    const posWeight = ef.tensor([2, 1, 0.5], { dtype: 'float64' })
    await ef.autograd.gradgradcheck((x) => F.bceWithLogits(x, y, { posWeight }), [random([1, 3])])
    await ef.autograd.gradgradcheck((a, b) => F.mse(a, b), [random([2, 3]), random([2, 3])])
  })

  it('refuse operands that differ in shape or dtype, and weights that would widen the input', () => {
    for (const loss of [F.bceWithLogits, F.mse]) {
      expect(() => loss(ef.zeros([2, 1]), ef.zeros([2]))).toThrow(/\[2, 1\].*\[2\].*must be equal/)
      expect(() => loss(ef.zeros([2]), ef.zeros([2], { dtype: 'float64' }))).toThrow(ef.DTypeError)
    }
    expect(() => F.bceWithLogits(ef.zeros([1, 2]), ef.zeros([1, 2]), { weight: ef.ones([3, 1]) })).toThrow(
      ef.ShapeError,
    )
  })
})

describe('losses of pairs, and nll', () => {
  const [a, b] = [random([2, 3]), random([2, 3])]
  const signs = ef.tensor([1, -1], { dtype: 'float64' })

  it('have the right second derivatives', async () => {
    const second = ef.autograd.gradgradcheck
    await second((x, y) => F.smoothL1(x, y, { beta: 0.5 }), [a, b])
    await second((x, y) => F.huber(x, y, { delta: 0.7 }), [a, b])
    await second((x, y) => F.klDiv(x.logSoftmax(1), y.softmax(1), { reduction: 'batchmean' }), [a, b])
    await second((x, y) => F.klDiv(x, y, { logTarget: true }), [a, b])
    await second((x, y) => F.cosineEmbedding(x, y, signs, { margin: -1.1 }), [a, b])
    await second((x) => F.nll(x.square(), ids([2, 0])), [a])
  })

  it('klDiv per example is the sum over the classes; 0 between equal distributions', async () => {
    const p = ef.tidy(() => a.softmax(1))
    const sum = await F.klDiv(b, p, { reduction: 'sum' }).item()
    expect(await F.klDiv(b, p, { reduction: 'batchmean' }).item()).toBeCloseTo(sum / 2, 12)
    expect(await F.klDiv(p.log(), p).item()).toBeCloseTo(0, 12)
  })

  it('refuse operands that do not fit and options out of range', () => {
    for (const loss of [F.l1, F.smoothL1, F.huber, F.klDiv]) {
      expect(() => loss(ef.zeros([2, 1]), ef.zeros([2]))).toThrow(/\[2, 1\].*\[2\].*must be equal/)
      expect(() => loss(ef.zeros([2]), ef.zeros([2], { dtype: 'float64' }))).toThrow(ef.DTypeError)
      expect(() => loss(a, b, { reduction: 'max' as 'mean' })).toThrow(/unknown reduction 'max'/)
    }
    expect(() => F.smoothL1(a, b, { beta: -1 })).toThrow(
      'smoothL1: beta is -1; expected a number of at least 0',
    )
    expect(() => F.huber(a, b, { delta: 0 })).toThrow(ef.ArgumentError)
    expect(() => F.cosineEmbedding(a, b, ef.ones([3]))).toThrow(
      /cosineEmbedding: target has shape \[3\].*\[2\]/,
    )
    expect(() => F.cosineEmbedding(ef.zeros([1, 2, 3]), ef.zeros([1, 2, 3]), ef.ones([1, 2]))).toThrow(
      ef.ShapeError,
    )
    expect(() => F.marginRanking(a, b, signs)).toThrow(/marginRanking: target has shape \[2\]/)
    expect(() => F.nll(a, ids([0, 3]))).toThrow(/nll: target 3 is out of range/)
    expect(() => F.nll(a, ids([0, 1, 2]))).toThrow(ef.ShapeError)
  })
})

describe('maskedSoftmax', () => {
  it('is softmax over the kept positions, 0 elsewhere, and 0 with gradient 0 where nothing is kept', async () => {
    const x = ef.tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: 'float64', requiresGrad: true },
    )
    const mask = ef.tensor([
      [true, false, true],
      [false, false, false],
    ])
    const out = F.maskedSoftmax(x, mask, 1)
    out
      .mul(
        ef.tensor(
          [
            [1, 5, 2],
            [1, 2, 3],
          ],
          { dtype: 'float64' },
        ),
      )
      .sum()
      .backward()
    const e = Math.exp(2)
    const values = (await out.tolist()) as number[][]
    expect(values[0][0]).toBeCloseTo(1 / (1 + e), 12)
    expect(values[0][1]).toBe(0)
    expect(values[1]).toEqual([0, 0, 0])
    const grad = (await x.grad!.tolist()) as number[][]
    expect(grad[0][0]).toBeCloseTo(-e / (1 + e) ** 2, 12)
    expect(grad[0][1]).toBe(0)
    expect(grad[1]).toEqual([0, 0, 0])
  })

  it('refuses a mask that does not broadcast to the scores', () => {
    expect(() => F.maskedSoftmax(ef.zeros([1, 3]), ef.ones([2, 3], { dtype: 'bool' }), 1)).toThrow(
      ef.ShapeError,
    )
  })
})

describe('init', () => {
  const moments = async (t: ef.Tensor) => {
    const values = Array.from(await t.data())
    const mean = values.reduce((n, v) => n + v, 0) / values.length
    const variance = values.reduce((n, v) => n + (v - mean) ** 2, 0) / values.length
    return { mean, std: Math.sqrt(variance), largest: Math.max(...values.map(Math.abs)) }
  }
  const weight = () => new nn.Parameter(ef.zeros([200, 50]))

  it.each([
    ['uniform_', () => nn.init.uniform_(weight(), -1, 1), Math.sqrt(1 / 3), 1],
    ['normal_', () => nn.init.normal_(weight(), 0, 0.02), 0.02, 0.2],
    ['xavierUniform_', () => nn.init.xavierUniform_(weight()), Math.sqrt(2 / 250), Math.sqrt(6 / 250)],
    ['xavierNormal_', () => nn.init.xavierNormal_(weight(), 2), 2 * Math.sqrt(2 / 250), 1],
    ['kaimingUniform_', () => nn.init.kaimingUniform_(weight()), Math.sqrt(2 / 50), Math.sqrt(6 / 50)],
    [
      'kaimingNormal_',
      () => nn.init.kaimingNormal_(weight(), { mode: 'fanOut', nonlinearity: 'tanh' }),
      5 / 3 / Math.sqrt(200),
      1,
    ],
  ])('%s has the deviation of its formula', async (_, make, std, bound) => {
    ef.manualSeed(5)
    const found = await moments(make())
    expect(found.mean / std).toBeCloseTo(0, 1)
    expect(found.std / std).toBeCloseTo(1, 1)
    expect(found.largest).toBeLessThanOrEqual(bound)
  })

  it('constants, and the fans of a weight', async () => {
    expect(await nn.init.ones_(ef.zeros([2])).tolist()).toEqual([1, 1])
    expect(await nn.init.zeros_(ef.ones([2])).tolist()).toEqual([0, 0])
    expect(await nn.init.constant_(weight(), 0.5).max().item()).toBe(0.5)
    expect(nn.init.calculateFanInAndFanOut(ef.zeros([4, 3, 2, 2]))).toEqual({ fanIn: 12, fanOut: 16 })
    expect(() => nn.init.xavierUniform_(ef.zeros([3]))).toThrow(ef.ShapeError)
    expect(nn.init.calculateGain('leakyRelu', 1)).toBe(1)
  })

  it('is not recorded', () => {
    const p = nn.init.normal_(weight())
    expect(p.isLeaf && p.requiresGrad).toBe(true)
  })
})

describe('other modules', () => {
  it('Flatten and Identity', () => {
    expect(new nn.Flatten().forward(ef.zeros([2, 3, 4])).shape).toEqual([2, 12])
    expect(new nn.Flatten(0, 1).forward(ef.zeros([2, 3, 4])).shape).toEqual([6, 4])
    const x = ef.zeros([1])
    expect(new nn.Identity().forward(x)).toBe(x)
  })
})
