// Attention beyond PyTorch's values: the fused node against attention in ordinary ops over all shapes and masks; rows
// without a key; dropout; heads; memory; errors.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as models from '../src/models'
import * as nn from '../src/nn'
import { attentionCore } from '../src/nn/attention-core'
import { type AttentionMask, attentionReference } from '../src/nn/attention-reference'
import { describeDevices } from './support/devices'

const float64 = { dtype: 'float64' } as const
const random = (shape: readonly number[], requiresGrad = true) =>
  ef.randn(shape, { ...float64, requiresGrad })
const yes = (rows: boolean[][]) => ef.tensor(rows)

const values = (tensors: readonly (ef.Tensor | null)[]): Promise<number[][]> =>
  Promise.all(tensors.map(async (t) => Array.from(await t!.data())))

function expectClose(actual: readonly number[][], expected: readonly number[][], relative = 1e-12): void {
  expect(actual.map((row) => row.length)).toEqual(expected.map((row) => row.length))
  for (const [i, row] of expected.entries()) {
    const tolerance = relative * Math.max(1, ...row.map(Math.abs))
    for (const [j, value] of row.entries())
      expect(Math.abs(actual[i][j] - value), `value ${i}, element ${j}`).toBeLessThanOrEqual(tolerance)
  }
}

interface Case {
  B: number
  H: number
  T: number
  S: number
  d: number
  e: number
  causal: boolean
  offset: number
  padding: boolean
  forbidden: 'none' | 'bool' | 'add'
  layout: 'plain' | 'packed' | 'timeFirst'
  /** Elements a part may have. */
  part: number
  outputs: 'output' | 'weights' | 'both'
}

const size = fc.integer({ min: 1, max: 4 })
const anyCase: fc.Arbitrary<Case> = fc.record({
  B: fc.oneof({ weight: 9, arbitrary: size }, { weight: 1, arbitrary: fc.constant(0) }),
  H: fc.integer({ min: 1, max: 3 }),
  T: size,
  S: fc.oneof({ weight: 9, arbitrary: size }, { weight: 1, arbitrary: fc.constant(0) }),
  d: size,
  e: size,
  causal: fc.boolean(),
  offset: fc.integer({ min: 0, max: 3 }),
  padding: fc.boolean(),
  forbidden: fc.constantFrom('none', 'bool', 'add'),
  layout: fc.constantFrom('plain', 'packed', 'timeFirst'),
  part: fc.constantFrom(1, 7, 30, 1e6),
  outputs: fc.constantFrom('output', 'weights', 'both'),
})

/** [B, L, H, width] as it comes out of a projection: plain, a third of a wider one, or time first. */
function headed({ B, H, layout }: Case, length: number, width: number) {
  const shape =
    layout === 'timeFirst' ? [length, B, H, width] : [B, length, H, width * (layout === 'packed' ? 3 : 1)]
  const leaf = random(shape)
  return {
    leaf,
    view: (t: ef.Tensor): ef.Tensor =>
      layout === 'timeFirst' ? t.transpose(0, 1) : layout === 'packed' ? t.narrow(3, width, width) : t,
  }
}

function masksOf({ B, H, T, S, padding, forbidden }: Case): AttentionMask[] {
  const coin = (shape: number[]) => ef.rand(shape).lt(0.4)
  const masks: AttentionMask[] = padding ? [{ kind: 'exclude', mask: coin([B, 1, 1, S]) }] : []
  if (forbidden === 'bool') masks.push({ kind: 'exclude', mask: coin([B, H, T, S]) })
  if (forbidden === 'add') {
    const out = coin([T, S])
    masks.push({ kind: 'add', mask: ef.where(out, Number.NEGATIVE_INFINITY, random([T, S], false)) })
  }
  return masks
}

function gradientsOf(outputs: readonly ef.Tensor[], inputs: readonly ef.Tensor[]): Promise<number[][]> {
  const total = outputs
    .map((y) => y.mul(ef.arange(y.size, float64).mul(0.37).sin().reshape(y.shape)).sum())
    .reduce((a, b) => a.add(b))
  const found = ef.autograd.gradients([total], inputs)
  // Where no gradient arrives (the values, if only the weights are used) it is 0.
  return values(found.map((g, i) => g ?? ef.zerosLike(inputs[i])))
}

describe('attention as one node', () => {
  it('has the outputs and gradients of attention in ordinary ops, whatever the parts it is cut into', async () => {
    await fc.assert(
      fc.asyncProperty(anyCase, async (sizes) => {
        const { T, S, d, e, causal, offset, outputs, part } = sizes
        const [q, k, v] = [headed(sizes, T, d), headed(sizes, S, d), headed(sizes, S, e)]
        const options = {
          masks: masksOf(sizes),
          causal,
          offset,
          scale: 0.7,
          dropout: 0,
          needWeights: outputs !== 'output',
        }
        const inputs = [q.leaf, k.leaf, v.leaf]
        const views = () => [q.view(q.leaf), k.view(k.leaf), v.view(v.leaf)] as const
        const chosen = (output: ef.Tensor, weights: ef.Tensor | null) =>
          outputs === 'output' ? [output] : outputs === 'weights' ? [weights!] : [output, weights!]
        const fused = attentionCore(...views(), options, part)
        const composed = attentionReference(...views(), options, null)
        const [actual, expected] = [chosen(fused.output, fused.weights), chosen(...composed)]
        expectClose(await values(actual), await values(expected))
        expectClose(await gradientsOf(actual, inputs), await gradientsOf(expected, inputs))
        ef.releaseSpent()
      }),
      { numRuns: 150 },
    )
  })

  it('has the right first and second derivatives', async () => {
    const shape = [1, 2, 2, 2]
    const inputs = [random(shape), random([1, 3, 2, 2]), random([1, 3, 2, 1])]
    const mask = yes([
      [false, true, false],
      [true, true, true],
    ])
    const run = (q: ef.Tensor, k: ef.Tensor, v: ef.Tensor): ef.Tensor[] => {
      const masks = [{ kind: 'exclude', mask }] as const
      const options = { masks, causal: false, scale: 0.8, dropout: 0, needWeights: true }
      const { output, weights } = attentionCore(q, k, v, options)
      return [output, weights!]
    }
    await ef.autograd.gradcheck(run, inputs)
    await ef.autograd.gradgradcheck(run, inputs)
  })

  it('draws the dropout of the forward pass again in backward, twice differentiated too', async () => {
    const inputs = [random([2, 3, 2, 2]), random([2, 3, 2, 2]), random([2, 3, 2, 2])]
    const run =
      (part: number) =>
      (q: ef.Tensor, k: ef.Tensor, v: ef.Tensor): ef.Tensor[] => {
        ef.manualSeed(11)
        const options = { masks: [], causal: true, scale: 1, dropout: 0.4, needWeights: true }
        const { output, weights } = attentionCore(q, k, v, options, part)
        return [output, weights!]
      }
    const weights = await run(1e6)(inputs[0], inputs[1], inputs[2])[1].data()
    expect(Array.from(weights).filter((w) => w === 0).length).toBeGreaterThan(12)
    for (const part of [9, 1e6]) {
      await ef.autograd.gradcheck(run(part), inputs)
      await ef.autograd.gradgradcheck(run(part), inputs)
    }
  })

  it('gives an input its gradient also where the others want none', async () => {
    const inputs = [random([2, 3, 1, 2]), random([2, 4, 1, 2]), random([2, 4, 1, 3])]
    const run = () => {
      const options = { masks: [], causal: false, scale: 1, dropout: 0, needWeights: false }
      return [attentionCore(inputs[0], inputs[1], inputs[2], options).output]
    }
    const all = await gradientsOf(run(), inputs)
    for (const [i, one] of inputs.entries()) {
      for (const t of inputs) t.requiresGrad = t === one
      expectClose(await gradientsOf(run(), [one]), [all[i]])
    }
  })

  it('gives a learned additive mask its gradient', async () => {
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, ...float64 })
    await ef.autograd.gradcheck(
      (x, attnMask) => layer.forward(x, x, x, { attnMask })[0],
      [random([1, 3, 4]), random([3, 3])],
    )
  })

  it('keeps no matrix of weights for backward', () => {
    const layer = new nn.MultiheadAttention(8, 2, { batchFirst: true })
    const x = ef.randn([2, 128, 8], { requiresGrad: true })
    const before = ef.memory().cpu.bytes
    const [output] = layer.forward(x, x, x, { needWeights: false })
    const held = ef.memory().cpu.bytes - before
    // q, k, v as one, the output before and after its projection, one number per row: far from 2 * 2 * 128 * 128.
    expect(held).toBeLessThan(4 * 2 * 128 * 8 * 8)
    expect(held).toBeLessThan((4 * 2 * 2 * 128 * 128) / 2)
    output.sum().backward()
    expect(x.grad).not.toBeNull()
  })

  it('leaves nothing behind after thirty passes', () => {
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, dropout: 0.2 })
    const x = ef.ones([2, 3, 4])
    const once = () => {
      const [output, weights] = layer.forward(x, x, x, { causal: true })
      const loss = output.sum().add(weights!.sum())
      loss.backward()
      for (const t of [output, weights!, loss]) t.dispose()
      layer.zeroGrad()
      ef.releaseSpent()
    }
    once()
    const before = ef.memory().cpu.tensors
    for (let i = 0; i < 30; i++) once()
    // The sums in between are the user's; nothing else is new.
    const perPass = (ef.memory().cpu.tensors - before) / 30
    expect(perPass).toBeLessThanOrEqual(2)
  })
})

describeDevices('a query that may look at no key', (where) => {
  it.each(['bool', 'add', 'both'] as const)(
    'has weights 0, output 0 and gradients 0, never NaN (%s)',
    async (kind) => {
      const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, bias: false, ...where })
      const x = ef.randn([2, 3, 4], { ...where, requiresGrad: true })
      const padding = ef.tensor([
        [true, true, true],
        [false, false, true],
      ])
      const bool = padding.to(where.device)
      const add = ef.where(bool, Number.NEGATIVE_INFINITY, ef.zeros([2, 3], where))
      const wide = ef
        .zeros([4, 3, 3], where)
        .add(add.reshape([2, 1, 1, 3]).expand([2, 2, 3, 3]).reshape([4, 3, 3]))
      const [output, weights] = layer.forward(x, x, x, {
        keyPaddingMask: kind === 'add' ? null : bool,
        attnMask: kind === 'bool' ? null : wide,
      })
      output.square().sum().add(weights!.square().sum()).backward()
      expect(await output.select(0, 0).eq(0).all().item()).toBe(1)
      expect(await weights!.select(0, 0).eq(0).all().item()).toBe(1)
      expect(await x.grad!.select(0, 0).eq(0).all().item()).toBe(1)
      expect(await x.grad!.isfinite().all().item()).toBe(1)
      expect(await x.grad!.select(0, 1).eq(0).all().item()).toBe(0)
      const sums = await weights!.select(0, 1).sum(-1).data()
      for (const sum of sums) expect(sum).toBeCloseTo(1, 5)
    },
  )

  it('is left alone by the study’s blocks, whatever is masked', async () => {
    for (const Block of [models.PreNormAttentionBlock, models.PostNormAttentionBlock]) {
      const block = new Block(4, 3, 2, { dropout: 0, ...where })
      const x = ef.randn([2, 3, 4], { ...where, requiresGrad: true })
      const mask = ef.tensor(
        [
          [0, 0, 0],
          [1, 0, 1],
        ],
        { dtype: 'int32', device: where.device },
      )
      block.forward(x, mask).square().sum().backward()
      expect(await x.grad!.isfinite().all().item()).toBe(1)
    }
  })
})

describe('heads', () => {
  const [m, d] = [3, 5]
  const layer = new nn.MultiheadAttention(m * d, m, { batchFirst: true, ...float64 })

  it('are cut from the width in order: y[0,1,2,3] = x[0,2,1*d+3]', async () => {
    const x = random([2, 4, m * d], false)
    const y = layer.splitHeads(x)
    expect(y.shape).toEqual([2, m, 4, d])
    const at = async (t: ef.Tensor, ...index: number[]) =>
      (await t.data())[index.reduce((o, i, a) => o * t.shape[a] + i, 0)]
    expect(await at(y, 0, 1, 2, 3)).toBe(await at(x, 0, 2, 1 * d + 3))
    expect(await layer.mergeHeads(y).data()).toEqual(await x.data())
  })

  it('give the layer’s output when run one step after another', async () => {
    const x = random([2, 4, m * d], false)
    const keyPaddingMask = yes([
      [false, false, true, true],
      [false, true, false, false],
    ])
    const where = { keyPaddingMask, causal: true }
    const parts = nn.functional.linear(x, layer.inProjWeight!, layer.inProjBias).chunk(3, -1)
    const [q, k, v] = parts.map((t) => layer.splitHeads(t))
    const attended = layer.applyAttention(q, k, v, where)
    const weights = layer.getAttentionWeights(q, k, where)
    const [output, returned] = layer.forward(x, x, x, { ...where, averageWeights: false })
    expectClose(
      await values([layer.outProj.forward(attended), weights, layer.mergeHeads(weights.matmul(v))]),
      await values([output, returned, attended]),
    )
  })

  it('say which shape they expect', () => {
    expect(() => layer.splitHeads(ef.zeros([2, 4, 14]))).toThrow(/splitHeads: expected \[batch, time, 15\]/)
    expect(() => layer.mergeHeads(ef.zeros([2, 5, 4, 3]))).toThrow(/expected \[batch, 3, time, 5\]/)
  })
})

describe('dropout of attention', () => {
  it('is there in training only, and the weights returned are those applied', async () => {
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, dropout: 0.5, ...float64 })
    const x = random([1, 6, 4], false)
    ef.manualSeed(3)
    const [, dropped] = layer.forward(x, x, x, { averageWeights: false })
    layer.eval()
    const [, plain] = layer.forward(x, x, x, { averageWeights: false })
    const [some, all] = await values([dropped, plain])
    expect(some.filter((w) => w === 0).length).toBeGreaterThan(10)
    for (const [i, w] of some.entries()) if (w !== 0) expect(w).toBeCloseTo(2 * all[i], 12)
  })
})

describe('errors of attention', () => {
  const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true })
  const x = ef.zeros([2, 3, 4])

  it('name what does not fit, before anything is allocated', () => {
    const before = ef.memory().cpu.tensors
    expect(() => new nn.MultiheadAttention(10, 4)).toThrow(
      'MultiheadAttention: 4 heads do not divide embedDim 10; choose another numHeads, or give headDim',
    )
    expect(() => new models.Transformer({ embedDim: 10, numHeads: 4 })).toThrow(ef.ArgumentError)
    expect(ef.memory().cpu.tensors).toBe(before)
    expect(() => layer.forward(ef.zeros([2, 3, 5]))).toThrow(
      /query has shape \[2, 3, 5\] \(in MultiheadAttention\); expected \[batch, time, 4\]/,
    )
    expect(() => layer.forward(x, ef.zeros([1, 3, 4]))).toThrow(/one batch size/)
    expect(() => layer.forward(x, x, x, { keyPaddingMask: yes([[true, false]]) })).toThrow(
      /keyPaddingMask has shape \[1, 2\].*expected \[2, 3\]/,
    )
    expect(() => layer.forward(x, x, x, { attnMask: ef.zeros([2, 3, 3]) })).toThrow(
      /expected \[3, 3\], \[4, 3, 3\]/,
    )
    expect(() => layer.forward(x, x, x, { attnMask: ef.zeros([3, 3], { dtype: 'int32' }) })).toThrow(
      ef.DTypeError,
    )
    const after = new nn.MultiheadAttention(4, 2, { batchFirst: true, maskPlacement: 'after' })
    expect(() => after.forward(x, x, x, { attnMask: ef.zeros([3, 3]) })).toThrow(/'after' masks must be bool/)
    expect(() => new nn.TransformerEncoderLayer(4, 2, { activation: 'tanh' as 'relu' })).toThrow(
      ef.ArgumentError,
    )
  })

  it('of the study’s Transformer name the positions it has', () => {
    const model = new models.Transformer({ vocabularySize: 5, embedDim: 4, hiddenDim: 4, sequenceLength: 3 })
    const ids = (shape: number[]) => ef.zeros(shape, { dtype: 'int32' })
    expect(() => model.forward(ids([1, 4]))).toThrow(
      "Transformer: sequences of 4 tokens are longer than the model's 3 positions (in Transformer); truncate them",
    )
    expect(() => model.forward(ids([1, 3]), ids([1, 4]))).toThrow(/mask has shape \[1, 4\]/)
    expect(model.forward(ids([1, 3]), ids([1, 3])).shape).toEqual([1, 4])
  })

  it('an encoder’s layers are copies with parameters of their own', async () => {
    const first = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 3 })
    const encoder = new nn.TransformerEncoder(first, 2)
    const [a, b] = encoder.layers.map((layer) => layer.linear1.weight)
    expect(await a.data()).toEqual(await first.linear1.weight.data())
    expect(await b.data()).toEqual(await a.data())
    expect(new Set([a, b, first.linear1.weight]).size).toBe(3)
    expect(encoder.parameters()).toHaveLength(24)
  })
})
