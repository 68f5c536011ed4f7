// Metrics gathered on the device against values worked out by hand or from textbooks.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import { ClassificationMetrics, classScores, RocAuc, rocAuc, wilson } from '../src/train'

const ints = (values: number[]) => ef.tensor(values, { dtype: 'int32' })

describe('classScores', () => {
  it('of a binary classifier: 20 found, 180 false alarms, 10 missed, 1820 rightly left (a screening test)', () => {
    const { precision, recall, f1 } = classScores([
      [1820, 180],
      [10, 20],
    ])
    expect(precision[1]).toBeCloseTo(0.1, 12)
    expect(recall[1]).toBeCloseTo(2 / 3, 12)
    expect(f1[1]).toBeCloseTo(4 / 23, 12) // 2 * 0.1 * (2/3) / (0.1 + 2/3)
  })

  it("of three classes: scikit-learn's example, macro F1 0.2666…", () => {
    // y_true = [0, 1, 2, 0, 1, 2], y_pred = [0, 2, 1, 0, 0, 1]
    const { f1, macroF1 } = classScores([
      [2, 0, 0],
      [1, 0, 1],
      [0, 2, 0],
    ])
    expect(f1.map((v) => v.toFixed(3))).toEqual(['0.800', '0.000', '0.000'])
    expect(macroF1).toBeCloseTo(4 / 15, 12)
  })

  it('says NaN, not 0, of a class that never occurs, and leaves it out of the mean', () => {
    const { precision, recall, f1, macroF1 } = classScores([
      [3, 0, 0],
      [0, 0, 0],
      [0, 0, 2],
    ])
    expect([precision[1], recall[1], f1[1]]).toEqual([Number.NaN, Number.NaN, Number.NaN])
    expect(macroF1).toBe(1)
  })
})

describe('rocAuc', () => {
  it.each([
    ["scikit-learn's example", [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75],
    ['all in order', [1, 2, 3, 4], [0, 0, 1, 1], 1],
    ['all the other way', [4, 3, 2, 1], [0, 0, 1, 1], 0],
    ['all equal', [5, 5, 5], [0, 1, 1], 0.5],
    ['ties across the classes count half', [1, 2, 2, 3], [0, 0, 1, 1], 3.5 / 4],
    ['infinite scores', [Number.NEGATIVE_INFINITY, 0, Number.POSITIVE_INFINITY], [0, 0, 1], 1],
    ['one class alone', [1, 2], [1, 1], Number.NaN],
    ['nothing', [], [], Number.NaN],
  ])('%s', (_, scores, labels, expected) => {
    expect(rocAuc(scores, labels)).toBe(expected)
  })

  it('is the share of pairs in the right order', () => {
    const pairs = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 1 })))
    fc.assert(
      fc.property(pairs, (rows) => {
        const of = (label: number) => rows.filter(([, l]) => l === label).map(([s]) => s)
        const [negatives, positives] = [of(0), of(1)]
        let right = 0
        for (const p of positives) for (const n of negatives) right += p > n ? 1 : p === n ? 0.5 : 0
        const expected = right / (positives.length * negatives.length)
        const auc = rocAuc(
          rows.map(([s]) => s),
          rows.map(([, l]) => l),
        )
        if (Number.isNaN(expected)) expect(auc).toBeNaN()
        else expect(auc).toBeCloseTo(expected, 12)
      }),
    )
  })

  it('refuses other labels, other lengths and NaN', () => {
    expect(() => rocAuc([1, 2], [0, 2])).toThrow(ArgumentError)
    expect(() => rocAuc([1, 2], [0])).toThrow(ArgumentError)
    expect(() => rocAuc([1, Number.NaN], [0, 1])).toThrow(NonFiniteError)
  })
})

describe.each(['cpu', 'webgpu'] as const)('on %s', (device) => {
  beforeAll(() => ef.init({ device }))

  it('ClassificationMetrics counts over batches, reads once and starts over', async () => {
    const metrics = new ClassificationMetrics()
    // Answers 0, 2 and 1, then 0, 0 (a tie) and 1: scikit-learn's example from above.
    metrics.add(
      ef.tensor([
        [2, 0, 0],
        [0, 0, 1],
        [0, 3, 0],
      ]),
      ints([0, 1, 2]),
    )
    ef.tidy(() => {
      const scores = [
        [2, 1, 0],
        [1, 1, 0],
        [0, 9, 8],
      ]
      metrics.add(ef.tensor(scores), ints([0, 1, 2]))
    })
    const result = await metrics.result()
    expect(result.confusion).toEqual([
      [2, 0, 0],
      [1, 0, 1],
      [0, 2, 0],
    ])
    expect(result).toMatchObject({ correct: 2, count: 6, accuracy: 2 / 6, interval: wilson(2, 6) })
    expect(result.macroF1).toBeCloseTo(4 / 15, 12)
    metrics.add(ef.tensor([[0, 1]]), ints([1]))
    expect((await metrics.result()).confusion).toEqual([
      [0, 0],
      [0, 1],
    ])
    await expect(metrics.result()).rejects.toThrow(ArgumentError)
  })

  it('they hold no memory from batch to batch, and none after the result', async () => {
    const [logits, labels] = [ef.tensor([[1, 2]]), ints([1])]
    const before = ef.memory()[device].tensors
    const metrics = new ClassificationMetrics()
    for (let i = 0; i < 5; i++) metrics.add(logits, labels)
    expect(ef.memory()[device].tensors).toBe(before + 1)
    await metrics.result()
    const auc = new RocAuc()
    for (let i = 0; i < 5; i++) auc.add(logits.select(1, 1), labels)
    await auc.result()
    expect(ef.memory()[device].tensors).toBeLessThanOrEqual(before + 5) // the views made here
  })

  it('RocAuc ranks over all batches', async () => {
    const auc = new RocAuc()
    auc.add(ef.tensor([0.1, 0.4]), ints([0, 0]))
    auc.add(ef.tensor([0.35, 0.8]), ints([1, 1]))
    expect(await auc.result()).toBe(0.75)
    expect(await auc.result()).toBeNaN()
  })

  it('answers that are not finite, labels out of range and other shapes are errors', async () => {
    const metrics = new ClassificationMetrics()
    metrics.add(
      ef.tensor([
        [1, 0],
        [Number.NaN, 0],
        [0, Number.POSITIVE_INFINITY],
      ]),
      ints([0, 1, 0]),
    )
    await expect(metrics.result()).rejects.toThrow(/2 answers of the model are not finite/)
    for (const label of [2, -1]) {
      const counting = async () => {
        metrics.add(ef.tensor([[1, 0]]), ints([label]))
        await metrics.result()
      }
      await expect(counting()).rejects.toThrow(/1 labels are out of range; .* 0 to 1/)
    }
    const logits = ef.tensor([[1, 0]])
    expect(() => metrics.add(logits, ints([0, 1]))).toThrow(ShapeError)
    expect(() => metrics.add(logits.flatten(), ints([0, 1]))).toThrow(ShapeError)
    expect(() => metrics.add(logits, ef.tensor([0.5]))).toThrow(/int32/)
    expect(() => new RocAuc().add(logits, ints([0]))).toThrow(ShapeError)
  })
})
