// Models beyond PyTorch's values: shapes, padding, masks, errors, and that they learn without leaking.
import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import * as models from '../src/models'
import type * as nn from '../src/nn'
import { crossEntropy } from '../src/nn/functional'

const sizes = { vocabularySize: 12, embeddingSize: 5, hiddenSize: 4 }
const ids = (rows: number[][]) => ef.tensor(rows, { dtype: 'int32' })

/** Plain gradient descent. */
function descend(model: nn.Module, rate: number): void {
  ef.noGrad(() => {
    for (const p of model.parameters()) if (p.grad) p.copy_(p.sub(p.grad.mul(rate)))
  })
  model.zeroGrad()
}

describe('the study’s models', () => {
  it('have the published shapes', () => {
    const encoder = new models.Encoder({ ...sizes, numLayers: 2 })
    expect(encoder.initialStates(3).shape).toEqual([4, 3, 4])
    const [outputs, hidden] = encoder.forward(
      ids([
        [1, 2, 3],
        [4, 5, 0],
      ]),
      encoder.initialStates(2),
    )
    expect([outputs.shape, hidden.shape]).toEqual([
      [2, 3, 4],
      [1, 2, 4],
    ])
    const decoder = new models.DecoderAttention({ hiddenSize: 4 })
    const [decoded, last] = decoder.forward(outputs, hidden)
    expect([decoded.shape, last.shape]).toEqual([
      [2, 3, 4],
      [1, 2, 4],
    ])
    const [first, state] = new models.EncoderDecoder(sizes).forward(
      ids([
        [1, 2, 3],
        [4, 5, 0],
      ]),
    )
    expect([first.shape, state.shape]).toEqual([
      [2, 4],
      [1, 2, 4],
    ])
  })

  it('SoftAttention gives 0, not NaN, to a row without a step to look at', async () => {
    const attention = new models.SoftAttention({ hiddenSize: 2, dtype: 'float64' })
    const x = ef.randn([2, 3, 2], { dtype: 'float64', requiresGrad: true })
    const mask = ef.tensor([
      [false, false, false],
      [true, false, true],
    ])
    const [attended, weights] = attention.forward(x, ef.zeros([1, 2, 2], { dtype: 'float64' }), mask)
    attended.sum().backward()
    expect(await weights.select(0, 0).tolist()).toEqual([[0], [0], [0]])
    expect(await weights.select(0, 1).sum().item()).toBeCloseTo(1, 12)
    expect(await attended.isfinite().all().item()).toBe(1)
    expect(await x.grad!.isfinite().all().item()).toBe(1)
    expect(await x.grad!.select(0, 0).tolist()).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ])
  })

  it('say which shape was expected', () => {
    const attention = new models.SoftAttention({ hiddenSize: 2 })
    const x = ef.zeros([2, 3, 2])
    expect(() => attention.forward(ef.zeros([2, 3, 5]), ef.zeros([1, 2, 2]))).toThrow(
      /inputs.*\[2, 3, 5\].*\[batch, steps, 2\]/,
    )
    expect(() => attention.forward(x, ef.zeros([1, 3, 2]))).toThrow(/hidden.*\[layers, 2, 2\]/)
    expect(() => attention.forward(x, ef.zeros([1, 2, 2]), ef.ones([3, 2], { dtype: 'bool' }))).toThrow(
      /mask.*\[2, 3\]/,
    )
    const model = new models.EncoderDecoder(sizes)
    expect(() => model.forward(ids([[1, 99]]))).toThrow(/^EncoderDecoder: id 99 is out of range/)
  })
})

describe('GRUClassifier', () => {
  const rows = [
    [3, 7, 1, 5, 0, 0],
    [2, 9, 0, 0, 0, 0],
    [4, 4, 6, 8, 1, 11],
  ]

  it('gives each text the same logits however it is padded, by lengths, by mask or by the ids', async () => {
    const model = new models.GRUClassifier({ ...sizes, dtype: 'float64' }).eval()
    const lengths = [4, 2, 6]
    const byLengths = (await model.forward(ids(rows), { lengths }).tolist()) as number[][]
    const byIds = (await model.forward(ids(rows)).tolist()) as number[][]
    const byMask = (await model.forward(ids(rows), { mask: ids(rows).ne(0) }).tolist()) as number[][]
    for (const [i, row] of rows.entries()) {
      const alone = (await model.forward(ids([row.slice(0, lengths[i])])).tolist()) as number[][]
      for (const c of [0, 1]) {
        for (const logits of [byLengths, byIds, byMask]) expect(logits[i][c]).toBeCloseTo(alone[0][c], 12)
      }
    }
  })

  it('shows how much each token counted', async () => {
    const model = new models.GRUClassifier({ ...sizes, numClasses: 3 }).eval()
    const [logits, attention] = model.forward(ids(rows), { attention: true })
    expect([logits.shape, attention.shape]).toEqual([
      [3, 3],
      [3, 6],
    ])
    const weights = (await attention.tolist()) as number[][]
    for (const row of weights) expect(row.reduce((n, w) => n + w, 0)).toBeCloseTo(1, 5)
    expect(weights[1].slice(2)).toEqual([0, 0, 0, 0])
    expect(() => model.forward(ids(rows), { lengths: [4, 2, 6], mask: ids(rows).ne(0) })).toThrow(
      ef.ArgumentError,
    )
  })

  it('takes a row of padding only', async () => {
    const model = new models.GRUClassifier(sizes).eval()
    const logits = model.forward(
      ids([
        [0, 0],
        [1, 0],
      ]),
    )
    logits.sum().backward()
    const bias = await model.linear.bias!.tolist()
    expect(await logits.select(0, 0).tolist()).toEqual(bias)
    for (const p of model.parameters()) expect(await p.grad!.isfinite().all().item()).toBe(1)
  })

  it('learns, and holds no more memory after ten steps than after two', async () => {
    ef.manualSeed(0)
    const model = ef.tidy(() => new models.GRUClassifier({ ...sizes, dropout: 0.1 }))
    const losses: number[] = []
    const held: number[] = []
    for (let step = 0; step < 40; step++) {
      const x = ids(rows)
      const target = ef.tensor([0, 1, 0], { dtype: 'int32' })
      const logits = model.forward(x, { lengths: [4, 2, 6] })
      const loss = crossEntropy(logits, target)
      loss.backward()
      descend(model, 0.5)
      losses.push(await loss.item())
      for (const t of [x, target, logits, loss]) t.dispose()
      ef.releaseSpent()
      held.push(ef.memory().cpu.bytes)
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] / 4)
    expect(held[39]).toBe(held[1])
  })

  it('has second derivatives through every layer', async () => {
    const model = new models.GRUClassifier({ ...sizes, dtype: 'float64' }).eval()
    const table = model.encoder.embedding.weight
    const target = ef.tensor([0, 1, 0], { dtype: 'int32' })
    // The gradient penalty's derivative by finite differences along a random direction.
    const penalty = (create: boolean): ef.Tensor => {
      const loss = crossEntropy(model.forward(ids(rows), { lengths: [4, 2, 6] }), target)
      const [g] = ef.autograd.gradients([loss], [table], { createGraph: create })
      return g!.square().sum()
    }
    const [exact] = ef.autograd.gradients([penalty(true)], [model.linear.weight])
    const direction = ef.randn(model.linear.weight.shape, { dtype: 'float64' })
    const at = async (h: number): Promise<number> => {
      ef.noGrad(() => {
        model.linear.weight.copy_(model.linear.weight.add(direction.mul(h)))
      })
      const value = await penalty(false).item()
      ef.noGrad(() => {
        model.linear.weight.copy_(model.linear.weight.sub(direction.mul(h)))
      })
      return value
    }
    const h = 1e-4
    const numeric = ((await at(h)) - (await at(-h))) / (2 * h)
    const analytic = await exact!.mul(direction).sum().item()
    expect(Math.abs(numeric - analytic)).toBeLessThan(1e-6 * Math.max(1, Math.abs(analytic)))
    expect(Math.abs(analytic)).toBeGreaterThan(1e-8)
  })
})

describe.each([
  { pooling: 'cls', block: 'prenorm' },
  { pooling: 'mean', block: 'postnorm' },
] as const)('TransformerClassifier, $pooling of $block blocks', (options) => {
  const small = { ...options, vocabularySize: 12, embeddingSize: 4, hiddenSize: 6, numHeads: 2, maxLength: 6 }
  const rows = [
    [3, 7, 1, 5, 0, 0],
    [2, 9, 0, 0, 0, 0],
    [4, 4, 6, 8, 1, 11],
  ]
  const lengths = [4, 2, 6]

  it('gives each text the same logits however it is padded, by lengths, by mask or by the ids', async () => {
    const model = new models.TransformerClassifier({ ...small, dtype: 'float64' }).eval()
    const all = await Promise.all(
      [{ lengths }, {}, { mask: ids(rows).ne(0) }].map((where) => model.forward(ids(rows), where).tolist()),
    )
    for (const [i, row] of rows.entries()) {
      const [alone] = (await model.forward(ids([row.slice(0, lengths[i])])).tolist()) as number[][]
      for (const logits of all as number[][][]) {
        for (const c of [0, 1]) expect(logits[i][c]).toBeCloseTo(alone[c], 12)
      }
    }
  })

  it('shows how much each token counted: what goes to padding is 0, and CLS takes the rest', async () => {
    const model = new models.TransformerClassifier({ ...small, numClasses: 3 }).eval()
    const [logits, attention] = model.forward(ids(rows), { lengths, attention: true })
    expect([logits.shape, attention.shape]).toEqual([
      [3, 3],
      [3, 6],
    ])
    expect(await logits.tolist()).toEqual(await model.forward(ids(rows), { lengths }).tolist())
    for (const [i, row] of ((await attention.tolist()) as number[][]).entries()) {
      expect(row.map((w) => w > 0)).toEqual(row.map((_, t) => t < lengths[i]))
      expect(row.reduce((n, w) => n + w, 0)).toBeLessThan(1)
    }
  })

  it('takes a row of padding only', async () => {
    const model = new models.TransformerClassifier(small).eval()
    const [logits, attention] = model.forward(
      ids([
        [0, 0],
        [1, 0],
      ]),
      { attention: true },
    )
    logits.sum().backward()
    expect(await attention.select(0, 0).tolist()).toEqual([0, 0])
    expect(await logits.isfinite().all().item()).toBe(1)
    for (const p of model.parameters()) expect((await p.grad?.isfinite().all().item()) ?? 1).toBe(1)
  })

  it('learns, and holds no more memory after forty steps than after two', async () => {
    ef.manualSeed(0)
    const model = ef.tidy(() => new models.TransformerClassifier({ ...small, dropout: 0.1 }))
    const losses: number[] = []
    const held: number[] = []
    for (let step = 0; step < 40; step++) {
      const x = ids(rows)
      const target = ef.tensor([0, 1, 0], { dtype: 'int32' })
      const logits = model.forward(x, { lengths })
      const loss = crossEntropy(logits, target)
      loss.backward()
      descend(model, 0.3)
      losses.push(await loss.item())
      for (const t of [x, target, logits, loss]) t.dispose()
      ef.releaseSpent()
      held.push(ef.memory().cpu.bytes)
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] / 3)
    expect(held[39]).toBe(held[1])
  })

  it('has state-dict keys as PyTorch names them', () => {
    const keys = Object.keys(new models.TransformerClassifier({ ...small, numLayers: 1 }).stateDict())
    const block = ['layer_norm_1', 'attn.in_proj', 'attn.out_proj', 'layer_norm_2', 'linear.0', 'linear.3']
    const expected = [
      'embedding.weight',
      'cls_token',
      'pos_embedding',
      ...block.flatMap((name) =>
        ['weight', 'bias'].map(
          (kind) => `transformer.0.${name}${name.endsWith('in_proj') ? '_' : '.'}${kind}`,
        ),
      ),
      'mlp_head.weight',
      'mlp_head.bias',
    ]
    expect(keys.sort()).toEqual(
      [...expected.map((key) => `transformer.${key}`), 'linear.weight', 'linear.bias'].sort(),
    )
  })

  it('refuses what it cannot do', () => {
    const model = new models.TransformerClassifier(small)
    expect(() => model.forward(ids([[1, 2, 3, 4, 5, 6, 7]]))).toThrow(ef.ShapeError)
    expect(() => model.forward(ids([[1, 2, 3, 4, 5, 6, 7]]))).toThrow(/7.*\b6\b/)
    expect(() => model.forward(ids(rows), { lengths, mask: ids(rows).ne(0) })).toThrow(ef.ArgumentError)
    for (const [wrong, message] of [
      [{ numHeads: 3 }, /heads do not divide/],
      [{ pooling: 'max' as 'cls' }, /unknown pooling 'max'; expected 'cls' or 'mean'/],
      [{ block: 'sandwich' as 'prenorm' }, /unknown block 'sandwich'/],
      [{ numClasses: 0 }, /numClasses is 0/],
      [{ maxLength: 0 }, /maxLength is 0/],
    ] as const) {
      expect(() => new models.TransformerClassifier({ ...small, ...wrong })).toThrow(ef.ArgumentError)
      expect(() => new models.TransformerClassifier({ ...small, ...wrong })).toThrow(message)
    }
  })
})
