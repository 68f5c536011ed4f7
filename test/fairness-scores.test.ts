// Calibration and ranking of scores, inequality of benefits, fairness to the single person: against their definitions, and
// against numbers that AIF360's formulas give.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import {
  benefits,
  betweenGroupEntropy,
  brierScore,
  coefficientOfVariation,
  consistency,
  counterfactualFlips,
  expectedCalibrationError,
  generalizedEntropy,
  logLoss,
  MetricFrame,
  reliability,
  rocAuc,
  subgroupAuc,
  theil,
} from '../src/fairness'

const scored = fc.array(fc.record({ y: fc.nat(1), s: fc.nat(10), inside: fc.boolean() }), {
  minLength: 1,
  maxLength: 40,
})

function overall(metric: Parameters<typeof frame>[0], labels: number[], scores: number[]) {
  return frame(metric, labels, scores).overall.metric
}
function frame(metric: typeof rocAuc, labels: number[], scores: number[]) {
  return new MetricFrame({
    metrics: { metric },
    labels,
    predictions: scores.map((s) => Number(s >= 0.5)),
    scores,
    positive: 1,
  })
}

describe('scores', () => {
  it('Brier score and log loss are means over rows', () => {
    expect(overall(brierScore, [1, 0, 1], [0.9, 0.2, 0.4]).value).toBeCloseTo((0.01 + 0.04 + 0.36) / 3)
    expect(overall(logLoss, [1, 0, 1], [0.9, 0.2, 0.4]).value).toBeCloseTo(
      -(Math.log(0.9) + Math.log(0.8) + Math.log(0.4)) / 3,
    )
    expect(overall(logLoss, [1], [0]).value).toBeCloseTo(-Math.log(1e-15))
  })

  it('the calibration error is the mean distance of score and share over bins', () => {
    const labels = [0, 0, 1, 1, 1, 0]
    const scores = [0.1, 0.15, 0.12, 0.9, 1, 0.95]
    const bins = reliability({ labels, positive: 1, scores }, { bins: 5 })
    expect(bins.map(({ n }) => n)).toEqual([3, 0, 0, 0, 3])
    expect(bins[0]).toMatchObject({ low: 0, high: 0.2, share: 1 / 3 })
    expect(bins[4]!.score).toBeCloseTo(0.95)
    expect(bins[1]).not.toHaveProperty('share')
    const expected = 0.5 * Math.abs(0.37 / 3 - 1 / 3) + 0.5 * Math.abs(0.95 - 2 / 3)
    expect(overall(expectedCalibrationError({ bins: 5 }), labels, scores).value).toBeCloseTo(expected)
    const halves = reliability({ labels, positive: 1, scores }, { bins: 2, binning: 'mass' })
    expect(halves.map(({ n, low }) => [n, low])).toEqual([
      [3, 0],
      [3, 0.9],
    ])
  })

  it('AUC is the share of pairs in the right order, ties half', () => {
    fc.assert(
      fc.property(scored, (rows) => {
        let won = 0
        let pairs = 0
        for (const a of rows) {
          for (const b of rows) {
            if (a.y === 0 || b.y === 1) continue
            pairs++
            won += a.s > b.s ? 1 : a.s === b.s ? 0.5 : 0
          }
        }
        const found = overall(
          rocAuc,
          rows.map(({ y }) => y),
          rows.map(({ s }) => s / 10),
        )
        if (pairs === 0) expect(found.reason).toMatch(/it needs both/)
        else expect(found.value).toBeCloseTo(won / pairs, 10)
      }),
    )
  })

  it("a group's AUCs against its background take positives and negatives from either side", () => {
    fc.assert(
      fc.property(scored, (rows) => {
        const columns = (list: typeof rows) => ({
          labels: list.map(({ y }) => y),
          scores: list.map(({ s }) => s / 10),
          member: list.map(({ inside }) => inside),
          positive: 1,
        })
        const auc = (keep: (row: (typeof rows)[number]) => boolean) =>
          subgroupAuc({ ...columns(rows.filter(keep).map((row) => ({ ...row, inside: true }))) }).subgroup
        const found = subgroupAuc(columns(rows))
        expect(found.subgroup).toEqual(auc(({ inside }) => inside))
        expect(found.bpsn).toEqual(auc(({ y, inside }) => (y === 1 ? !inside : inside)))
        expect(found.bnsp).toEqual(auc(({ y, inside }) => (y === 1 ? inside : !inside)))
      }),
    )
  })

  it('refuse what is no probability, no bin, no score', () => {
    expect(() => expectedCalibrationError({ bins: 0 })).toThrow(ArgumentError)
    expect(() =>
      reliability({ labels: [1], positive: 1, scores: [0.5] }, { binning: 'x' as 'mass' }),
    ).toThrow(/'x'/)
    expect(() => reliability({ labels: [1], positive: 1 })).toThrow(/needs scores/)
    expect(() => subgroupAuc({ labels: [1], scores: [Number.NaN], member: [true], positive: 1 })).toThrow(
      NonFiniteError,
    )
    expect(() => subgroupAuc({ labels: [1], scores: [1], member: [], positive: 1 })).toThrow(ShapeError)
    expect(() => overall(brierScore, [1], [1.2])).toThrow(/scores\[0\] is 1.2; expected probabilities/)
  })
})

describe('inequality of benefits', () => {
  const b = benefits([0, 0, 1, 1, 1, 0, 1, 0], [0, 1, 1, 0, 1, 0, 0, 0])

  it('is what AIF360 computes', () => {
    expect([...b]).toEqual([1, 2, 1, 0, 1, 1, 0, 1])
    expect(generalizedEntropy(b).value).toBeCloseTo(0.2346938776, 9)
    expect(theil(b).value).toBeCloseTo(0.3315734443, 9)
    expect(coefficientOfVariation(b).value).toBeCloseTo(0.685118789, 9)
    expect(coefficientOfVariation(b, { compat: 'aif360' }).value).toBeCloseTo(2 * Math.sqrt(0.2346938776), 9)
    const log = generalizedEntropy([1, 2], { alpha: 0 }).value!
    expect(generalizedEntropy([1, 2], { alpha: 0, compat: 'aif360' }).value).toBeCloseTo(log / 1.5, 12)
  })

  it('is 0 for equals, blind to scale, and parts into within and between', () => {
    const positive = fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 4, maxLength: 20 })
    fc.assert(
      fc.property(positive, fc.constantFrom(0, 1, 2, -1, 0.5), (values, alpha) => {
        const of = (list: ArrayLike<number>) => generalizedEntropy(list, { alpha }).value!
        expect(of(values.map(() => 3))).toBeCloseTo(0, 10)
        expect(of(values.map((v) => 7 * v))).toBeCloseTo(of(values), 8)
        // Shorrocks: total = between + Σ share of rows · (mean of group / mean)^α · within.
        const groups = values.map((_, i) => i % 2)
        const mean = (list: number[]) => list.reduce((sum, v) => sum + v, 0) / list.length
        const parts = [0, 1].map((g) => values.filter((_, i) => i % 2 === g))
        const within = parts.reduce(
          (sum, part) =>
            sum + (part.length / values.length) * (mean(part) / mean(values)) ** alpha * of(part),
          0,
        )
        expect(within + betweenGroupEntropy(values, { groups }, { alpha }).value!).toBeCloseTo(of(values), 8)
      }),
    )
  })

  it('is undefined where nothing is shared, and refuses what is no benefit', () => {
    expect(generalizedEntropy([0, 0])).toEqual({ n: 2, reason: 'all benefits are 0: nothing is shared' })
    expect(generalizedEntropy([0, 1], { alpha: 0 }).reason).toMatch(/choose one above 0/)
    expect(() => generalizedEntropy([1, -1])).toThrow(/benefit 1 is -1/)
    expect(() => generalizedEntropy([])).toThrow(ArgumentError)
    expect(() => betweenGroupEntropy([1], {})).toThrow(/at least one sensitive column/)
  })
})

describe('the single person', () => {
  const features = [[0], [1], [2], [10], [11], [12]]

  it('consistency compares each row with its nearest others', () => {
    expect(consistency(features, [1, 1, 1, 0, 0, 0], { neighbors: 2 }).value).toBe(1)
    expect(consistency(features, [1, 0, 1, 0, 0, 0], { neighbors: 2 }).value).toBeCloseTo(
      1 - (0.5 + 1 + 0.5) / 6,
    )
    // AIF360 counts the row among its own neighbours, and so finds it the more consistent.
    expect(consistency(features, [1, 0, 1, 0, 0, 0], { neighbors: 3, compat: 'aif360' }).value).toBeCloseTo(
      1 - (1 / 3 + 2 / 3 + 1 / 3) / 6,
    )
  })

  it('counterfactual flips are counted, with their interval, shift and rows', () => {
    const found = counterfactualFlips({
      predictions: [1, 0, 1, 1],
      swapped: [1, 1, 1, 0],
      scores: [0.9, 0.4, 0.8, 0.6],
      swappedScores: [0.8, 0.6, 0.8, 0.1],
    })
    expect(found.flips).toMatchObject({ value: 0.5, k: 2, n: 4 })
    expect(found.rows).toEqual([1, 3])
    expect(found.shift).toBeCloseTo(0.2)
  })

  it('refuse what does not fit', () => {
    expect(() => consistency(features, [1, 0])).toThrow(ShapeError)
    expect(() => consistency(features, [1, 1, 1, 0, 0, 0], { neighbors: 6 })).toThrow(/from 1 to 5/)
    expect(() => consistency([[0], [1, 2]], [1, 0], { neighbors: 1 })).toThrow(/differ in length/)
    expect(() => consistency([[0], [Number.NaN]], [1, 0], { neighbors: 1 })).toThrow(NonFiniteError)
    expect(() => counterfactualFlips({ predictions: [1], swapped: [1], scores: [1] })).toThrow(/or neither/)
    expect(() => counterfactualFlips({ predictions: [1], swapped: [] })).toThrow(ShapeError)
  })
})
