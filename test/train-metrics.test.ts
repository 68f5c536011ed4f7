import * as ef from 'evenfold'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Batch, DataLoader } from '../src/data'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import * as nn from '../src/nn'
import { evaluateClassifier, wilson } from '../src/train'

beforeAll(() => ef.init({ device: 'cpu' }))

describe("Wilson's interval", () => {
  it.each([
    [8, 10, 0.490162, 0.943318],
    [0, 5, 0, 0.434482],
    [5, 5, 0.565518, 1],
  ])('for %i of %i', (k, n, low, high) => {
    // The published values use the exact quantile 1.959964.
    const [a, b] = wilson(k, n, 1.959963984540054)
    expect(a).toBeCloseTo(low, 6)
    expect(b).toBeCloseTo(high, 6)
  })

  it('lies in [0, 1], holds the share, mirrors, and narrows with n', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, share) => {
          const k = Math.round(share * n)
          const [low, high] = wilson(k, n)
          expect(low).toBeGreaterThanOrEqual(0)
          expect(high).toBeLessThanOrEqual(1)
          expect(low).toBeLessThanOrEqual(k / n + 1e-12)
          expect(high).toBeGreaterThanOrEqual(k / n - 1e-12)
          const [low2, high2] = wilson(n - k, n)
          expect(low2).toBeCloseTo(1 - high, 9)
          expect(high2).toBeCloseTo(1 - low, 9)
          const [low10, high10] = wilson(10 * k, 10 * n)
          expect(high10 - low10).toBeLessThan(high - low)
        },
      ),
    )
  })

  it.each([
    [1, 0],
    [-1, 5],
    [6, 5],
    [Number.NaN, 5],
  ])('of %d in %d is an ArgumentError', (k, n) => {
    expect(() => wilson(k, n)).toThrow(ArgumentError)
  })
})

describe('evaluateClassifier', () => {
  class Table extends nn.Module {
    dropout = new nn.Dropout(0.9)
    scores = new nn.Parameter(
      ef.tensor([
        [2, 0, 0],
        [0, 1, 1],
        [0, 0, 3],
        [1, 1, 0],
      ]),
    )
    forward(ids: ef.Tensor): ef.Tensor {
      return this.dropout.forward(this.scores.indexSelect(0, ids.squeeze(1)))
    }
  }
  const loader = (rows: [id: number, label: number][]) =>
    new DataLoader(
      rows.map(([id, label]) => ({ ids: [id], label })),
      { batchSize: 2 },
    )
  // Answers of rows 0 to 3: 0, 1 (a tie), 2, 0 (a tie).
  const data = loader([
    [0, 0],
    [1, 2],
    [2, 2],
    [3, 1],
    [0, 0],
  ])

  it('counts answers by label, with accuracy, its interval and the mean cross-entropy', async () => {
    const model = new Table()
    for await (const _ of data) break // a loader left in the middle starts from its first batch
    const result = await evaluateClassifier({ model, loader: data, logits: (b) => model.forward(b.ids) })
    expect(result.confusion).toEqual([
      [2, 0, 0],
      [1, 0, 0],
      [0, 1, 1],
    ])
    expect(result).toMatchObject({ correct: 3, count: 5, accuracy: 0.6, interval: wilson(3, 5) })
    const cost = (scores: number[], label: number) =>
      Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0)) - scores[label]
    const expected =
      (2 * cost([2, 0, 0], 0) + cost([0, 1, 1], 2) + cost([0, 0, 3], 2) + cost([1, 1, 0], 1)) / 5
    expect(result.loss).toBeCloseTo(expected, 6)
  })

  it('runs in evaluation mode, records nothing, holds no memory and restores the mode', async () => {
    const model = new Table()
    model.dropout.eval()
    const live: number[] = []
    const before = ef.memory().cpu.tensors
    const logits = (batch: Batch) => {
      live.push(ef.memory().cpu.tensors)
      const scores = model.forward(batch.ids)
      expect([model.training, scores.requiresGrad]).toEqual([false, false])
      return scores
    }
    const many = loader(Array.from({ length: 40 }, (_, i) => [i % 4, i % 3]))
    await evaluateClassifier({ model, loader: many, logits })
    expect([model.training, model.dropout.training]).toEqual([true, false])
    expect(new Set(live.slice(2)).size).toBe(1)
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('refuses logits of another shape, labels out of range, and answers that are not finite', async () => {
    const model = new Table()
    const flat = (b: Batch) => model.forward(b.ids).flatten()
    await expect(evaluateClassifier({ model, loader: data, logits: flat })).rejects.toThrow(ShapeError)
    const logits = (b: Batch) => model.forward(b.ids)
    const wrong = loader([[0, 3]])
    await expect(evaluateClassifier({ model, loader: wrong, logits })).rejects.toThrow(ArgumentError)
    ef.noGrad(() => model.scores.fill_(Number.NaN))
    await expect(evaluateClassifier({ model, loader: data, logits })).rejects.toThrow(NonFiniteError)
  })
})
