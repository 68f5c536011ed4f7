// MetricFrame and the parities: the numbers of fairlearn's documentation, what is undefined said so, the other tools' numbers
// under `compat`, and bad input. Values of other tools are those of shared test vectors, computed with fairlearn 0.15.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import * as fair from '../src/fairness'
import { type Comparison, type Measure, MetricFrame, type MetricFrameOptions, MISSING } from '../src/fairness'
import { wilson } from '../src/fairness/statistics/proportion'

const {
  accuracy,
  falseNegativeRate,
  falsePositiveRate,
  precision,
  selectionRate,
  trueNegativeRate,
  truePositiveRate,
} = fair

/** The data of fairlearn's user guide. */
const guide = {
  labels: [0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1],
  predictions: [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0],
  group: [...'bbabbcccaaca'.slice(0, 12), ...'bccbcc'],
}
const metrics = {
  tpr: truePositiveRate,
  tnr: trueNegativeRate,
  fpr: falsePositiveRate,
  fnr: falseNegativeRate,
  selectionRate,
  accuracy,
}
const values = (measures: Record<string, Measure | Comparison>) =>
  Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, value]))
function expectValues(actual: Record<string, Measure | Comparison>, expected: Record<string, number>): void {
  for (const [name, value] of Object.entries(expected))
    expect(actual[name]!.value, name).toBeCloseTo(value, 6)
}

describe("MetricFrame on the data of fairlearn's user guide", () => {
  const frame = new MetricFrame({ metrics, ...guide, groups: { group: guide.group } })

  it('measures all rows and each group', () => {
    expectValues(frame.overall, {
      tpr: 0.5,
      tnr: 0.333333,
      fpr: 0.666667,
      fnr: 0.5,
      selectionRate: 0.555556,
      accuracy: 0.444444,
    })
    const [a, b, c] = frame.byGroup
    expect([a, b, c].map((one) => [one!.name, one!.n])).toEqual([
      ['group=a', 4],
      ['group=b', 6],
      ['group=c', 8],
    ])
    expectValues(a!.values, { tpr: 0.5, tnr: 0, fpr: 1, fnr: 0.5, selectionRate: 0.75, accuracy: 0.25 })
    expectValues(b!.values, { tpr: 0.6, tnr: 1, fpr: 0, fnr: 0.4, selectionRate: 0.5, accuracy: 0.666667 })
    expectValues(c!.values, {
      tpr: 0.4,
      tnr: 0.333333,
      fpr: 0.666667,
      fnr: 0.6,
      selectionRate: 0.5,
      accuracy: 0.375,
    })
  })

  it('compares groups with each other and with all rows', () => {
    expectValues(frame.difference(), { tpr: 0.2, fpr: 1, selectionRate: 0.25 })
    expectValues(frame.difference({ compare: 'toOverall' }), {
      tpr: 0.1,
      fpr: 0.666667,
      selectionRate: 0.194444,
      accuracy: 0.222222,
    })
    expectValues(frame.ratio(), { accuracy: 0.375, fnr: 0.666667 })
    expectValues(frame.ratio({ compare: 'toOverall' }), {
      tpr: 0.8,
      selectionRate: 0.740741,
      accuracy: 0.5625,
    })
    expect(frame.groupMin().accuracy).toMatchObject({ value: 0.25, low: 'group=a' })
    expect(frame.groupMax().tpr).toMatchObject({ value: 0.6, high: 'group=b' })
  })

  it('gives each rate its counts and its interval', () => {
    expect(frame.byGroup[1]!.values.tpr).toMatchObject({
      k: 3,
      n: 5,
      interval: wilson(3, 5),
    })
  })

  it('audits the classes as groups, too', () => {
    expect(frame.partitions).toEqual(['group', 'class'])
    const [negatives, positives] = frame.by('class')
    expect(negatives!.values.accuracy.value).toBeCloseTo(1 / 3)
    expect(positives!.values.accuracy.value).toBeCloseTo(0.5)
    expect(new MetricFrame({ metrics, ...guide }).byGroup.map(({ name }) => name)).toEqual([
      'class=0',
      'class=1',
    ])
  })

  it('names the parities', () => {
    const options = { ...guide, groups: guide.group }
    expect(fair.demographicParity(options).difference.value).toBeCloseTo(0.25)
    expect(fair.demographicParity(options).ratio.value).toBeCloseTo(0.666667)
    expect(fair.equalOpportunity(options).difference.value).toBeCloseTo(0.2)
    expect(fair.equalOpportunity(options).ratio.value).toBeCloseTo(0.666667)
    expect(fair.accuracyParity(options).difference.value).toBeCloseTo(0.666667 - 0.25)
    expect(fair.errorRateParity(options).difference.value).toBeCloseTo(0.666667 - 0.25)
    const odds = fair.equalizedOdds(options)
    expectValues({ ...odds } as unknown as Record<string, Measure>, {
      difference: 1,
      ratio: 0,
      meanDifference: 0.6,
      meanRatio: 0.333333,
    })
    expect(odds.difference).toMatchObject({ low: 'group=b', high: 'group=a' })
  })
})

describe('undefined is undefined', () => {
  const noPositives = { labels: [0, 0, 0, 1, 1, 0], predictions: [0, 1, 0, 1, 0, 1], groups: [...'aaabbb'] }

  it('a rate without support says so, with its counts, and is left out by name', () => {
    const odds = fair.equalizedOdds(noPositives)
    const [a] = odds.truePositiveRate.byGroup
    expect(a!.measure).toEqual({ k: 0, n: 0, reason: 'true positive rate: no rows with such a label' })
    expect(odds.truePositiveRate.difference).toMatchObject({
      reason: expect.stringContaining('only one group'),
      excluded: [{ name: 'group=a', n: 0 }],
    })
    expect(odds.difference.value).toBeCloseTo(0.666667) // the false positive rates alone
    expect(odds.difference.excluded.map(({ name }) => name)).toEqual([
      'group=a (true positive rate)',
      'true positive rate',
    ])
  })

  it("fairlearn's number is a true and a false positive rate of 0 at once", () => {
    const frame = new MetricFrame({
      metrics,
      ...noPositives,
      groups: { g: noPositives.groups },
      compat: 'fairlearn',
    })
    expectValues(frame.byGroup[0]!.values, { tpr: 0, fnr: 0, fpr: 1 / 3 })
    const odds = fair.equalizedOdds({ ...noPositives, compat: 'fairlearn' })
    expect(odds.difference.value).toBeCloseTo(0.666667)
    expect(odds.ratio.value).toBe(0)
  })

  it("0/0 between groups is undefined; fairlearn's equalized odds ratio then depends on the order of the two", () => {
    const labels = [0, 0, 1, 1, 0, 0, 1, 1]
    const groups = [...'aaaabbbb']
    const noFalse = { labels, predictions: [0, 0, 1, 0, 0, 0, 1, 1], groups }
    expect(fair.equalizedOdds(noFalse).falsePositiveRate.ratio.reason).toMatch(/0\/0/)
    expect(fair.equalizedOdds(noFalse).ratio.value).toBe(0.5)
    expect(fair.equalizedOdds({ ...noFalse, compat: 'fairlearn' })).toMatchObject({
      ratio: { value: 0.5 },
      meanRatio: { value: 0.5 },
    })
    const noTrue = { labels, predictions: [0, 0, 0, 0, 1, 0, 0, 0], groups }
    expect(fair.equalizedOdds(noTrue).ratio.value).toBe(0)
    expect(fair.equalizedOdds({ ...noTrue, compat: 'fairlearn' }).ratio.value).toBeNaN()
  })

  it('an intersection without rows is a group that says so', () => {
    const predictions = [1, 0, 1, 0, 1, 1]
    const frame = new MetricFrame({
      metrics: { selectionRate },
      labels: predictions,
      predictions,
      groups: { A: [...'aaabbb'], B: [...'xxyyyy'] },
    })
    expect(frame.partitions).toEqual(['A x B', 'A', 'B', 'class'])
    expect(
      frame.byGroup.map(({ name, n, values: { selectionRate: rate } }) => [name, n, rate.value]),
    ).toEqual([
      ['A=a, B=x', 2, 0.5],
      ['A=a, B=y', 1, 1],
      ['A=b, B=x', 0, undefined],
      ['A=b, B=y', 3, 2 / 3],
    ])
    const excluded = [{ name: 'A=b, B=x', n: 0, reason: 'selection rate: no rows' }]
    expect(frame.difference().selectionRate).toMatchObject({ value: 0.5, excluded })
    expectValues(frame.ratio(), { selectionRate: 0.5 })
    expectValues(frame.groupMin(), { selectionRate: 0.5 })
    expectValues(frame.groupMax(), { selectionRate: 1 })
    expect(frame.difference({ of: 'A' }).selectionRate.value).toBeCloseTo(0)
  })

  it('a group under the minimum support stays visible, but out of aggregates', () => {
    const frame = new MetricFrame({
      metrics: { accuracy },
      ...guide,
      groups: { g: guide.group },
      minSupport: 5,
    })
    expect(frame.byGroup[0]!.values.accuracy.value).toBe(0.25)
    expect(frame.groupMin().accuracy).toMatchObject({
      value: 0.375,
      excluded: [{ name: 'g=a', n: 4, reason: 'supported by 4 rows; the minimum is 5' }],
    })
  })

  it('a single group compares with nothing', () => {
    const alone = { labels: [0, 1], predictions: [0, 1], groups: ['x', 'x'] }
    expect(fair.demographicParity(alone).difference).toMatchObject({
      reason: expect.stringMatching(/only one group/),
    })
    expect(fair.demographicParity(alone).difference.value).toBeUndefined()
    expect(fair.demographicParity({ ...alone, compat: 'fairlearn' }).difference.value).toBe(0)
  })

  it('a missing sensitive value is a group of its own', () => {
    const groups = { g: ['x', null, 'y', undefined, '', Number.NaN] }
    const frame = new MetricFrame({
      metrics: { accuracy },
      labels: [0, 1, 0, 1, 0, 1],
      predictions: [0, 1, 0, 1, 1, 0],
      groups,
    })
    expect(frame.byGroup.map(({ levels, n }) => [levels.g, n])).toEqual([
      ['x', 1],
      ['y', 1],
      [MISSING, 4],
    ])
  })
})

describe('compat', () => {
  const labels = [1, 1, 0, 0, 1, 0, 0, 1, 0, 1]
  const predictions = [1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
  const g = [...'ppppuuuvvv']

  it('aif360: differences to the privileged group, undefined precision 0, an undefined label rate NaN', () => {
    const options = { labels, predictions, groups: { g }, compat: 'aif360' as const }
    const frame = new MetricFrame({ metrics: { ...metrics, precision }, ...options })
    expect(frame.byGroup[1]!.values.precision.value).toBe(0)
    const { selectionRate: rows } = frame.toReference({ reference: 'g=p' })
    expect(rows[1]).toMatchObject({ name: 'g=u', difference: -0.25, ratio: 0 }) // statistical parity difference, disparate impact
    const [, u] = fair.averageOdds({ ...options, reference: 'g=p' })
    expect(u).toMatchObject({ difference: -0.25, absolute: 0.25 }) // FPR 0 and 0, TPR 0 and 1/2
    const none = new MetricFrame({
      metrics,
      labels: [0, 0, 1],
      predictions: [0, 1, 1],
      groups: { g: [...'aab'] },
      compat: 'aif360',
    })
    expect(none.byGroup[0]!.values.tpr.value).toBeNaN()
  })

  it('aequitas: disparities to the majority, x/0 shown as 10, fair within [tau, 1/tau]', () => {
    const frame = new MetricFrame({
      metrics: { ...metrics, precision },
      labels,
      predictions,
      groups: { g },
      compat: 'aequitas',
    })
    const { fpr, tpr, precision: p } = frame.toReference()
    expect(fpr.map(({ ratio }) => ratio)).toEqual([Number.NaN, Number.NaN, 10])
    expect(tpr[2]).toMatchObject({ reference: 'g=p', ratio: 2, withinTolerance: false })
    expect(p[1]!.ratio).toBeNaN()
    expect(frame.toReference({ reference: 'min' }).tpr[0]).toMatchObject({ reference: 'g=u', ratio: 10 })
    expect(
      new MetricFrame({ metrics, labels, predictions, groups: { g } }).toReference().fpr[2],
    ).toMatchObject({
      reason: "the reference's value is 0: no ratio",
    })
  })

  it('is a look at other numbers only: it never changes a rate that has support', () => {
    const row = fc.record({ y: fc.nat(1), p: fc.nat(1), group: fc.constantFrom('a', 'b', 'c') })
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), (rows) => {
        const columns = {
          labels: rows.map(({ y }) => y),
          predictions: rows.map(({ p }) => p),
          groups: { g: rows.map(({ group }) => group) },
        }
        const own = new MetricFrame({ metrics: { ...metrics, precision }, ...columns, positive: 1 })
        for (const compat of ['fairlearn', 'aif360', 'aequitas'] as const) {
          const other = new MetricFrame({
            metrics: { ...metrics, precision },
            ...columns,
            positive: 1,
            compat,
          })
          own.byGroup.forEach(({ values: ours }, i) => {
            for (const [name, { value }] of Object.entries(ours)) {
              const theirs = other.byGroup[i]!.values[name as 'tpr'].value
              if (value === undefined) expect(theirs).toSatisfy((x) => x === 0 || Number.isNaN(x))
              else expect(theirs).toBe(value)
            }
          })
        }
      }),
    )
  })
})

describe('many classes, regressions, weights, control columns', () => {
  const labels = ['cat', 'dog', 'dog', 'cow', 'cat', 'dog']
  const predictions = ['cat', 'dog', 'cat', 'cow', 'cow', 'dog']

  it('one class against the rest, and their mean', () => {
    const recall = fair.macro(truePositiveRate)
    const frame = new MetricFrame({
      metrics: { accuracy, recall, cats: fair.oneVsRest(precision, 'cat'), f1: fair.macro(fair.f1) },
      labels,
      predictions,
      groups: { home: [...'aabbbb'] },
    })
    expectValues(frame.overall, {
      accuracy: 4 / 6,
      recall: (1 / 2 + 2 / 3 + 1) / 3,
      cats: 0.5,
      f1: (1 / 2 + 4 / 5 + 2 / 3) / 3,
    })
    expect(frame.byGroup[0]!.values.recall).toMatchObject({ value: 1, excluded: [{ name: 'cow', n: 0 }] })
    expect(frame.by('class').map(({ name, values: { accuracy: share } }) => [name, share.value])).toEqual([
      ['class=cat', 0.5],
      ['class=cow', 1],
      ['class=dog', 2 / 3],
    ])
  })

  it('a regression has no groups by class', () => {
    const frame = new MetricFrame({
      metrics: { mae: fair.meanAbsoluteError, rmse: fair.rootMeanSquaredError, bias: fair.meanError },
      labels: [1, 2, 3, 4],
      predictions: [1, 3, 3, 0],
      groups: { g: [...'aabb'] },
      task: 'regression',
    })
    expect(frame.partitions).toEqual(['g'])
    expect(frame.byGroup.map((one) => values(one.values))).toEqual([
      { mae: 0.5, rmse: Math.sqrt(0.5), bias: 0.5 },
      { mae: 2, rmse: Math.sqrt(8), bias: -2 },
    ])
  })

  it('a weight of 3 is three rows', () => {
    const row = fc.record({
      y: fc.nat(1),
      p: fc.nat(1),
      s: fc.nat(8),
      w: fc.nat(3),
      group: fc.constantFrom('a', 'b'),
    })
    const all = {
      ...metrics,
      auc: fair.rocAuc,
      ece: fair.expectedCalibrationError(),
      brier: fair.brierScore,
      f1: fair.f1,
    }
    fc.assert(
      fc.property(fc.array(row, { minLength: 2, maxLength: 25 }), (rows) => {
        fc.pre(rows.some(({ w }) => w > 0))
        const columns = (list: typeof rows) => ({
          labels: list.map(({ y }) => y),
          predictions: list.map(({ p }) => p),
          scores: list.map(({ s }) => s / 8),
          groups: { g: list.map(({ group }) => group) },
          positive: 1,
        })
        const weighted = new MetricFrame({ metrics: all, ...columns(rows), weights: rows.map(({ w }) => w) })
        const long = new MetricFrame({
          metrics: all,
          ...columns(rows.flatMap((one) => new Array<typeof one>(one.w).fill(one))),
        })
        for (const name of Object.keys(all) as (keyof typeof all)[]) {
          const [a, b] = [weighted.overall[name].value, long.overall[name].value]
          if (b === undefined) expect(a).toBeUndefined()
          else expect(a).toBeCloseTo(b, 10)
        }
      }),
    )
  })

  it('control columns give a frame for each of their levels', () => {
    const control = { department: [...'xxxxxxxxxyyyyyyyyy'] }
    const frame = new MetricFrame({ metrics, ...guide, groups: { group: guide.group }, control })
    expect(frame.strata.map(({ levels }) => levels.department)).toEqual(['x', 'y'])
    const half = new MetricFrame({
      metrics,
      labels: guide.labels.slice(0, 9),
      predictions: guide.predictions.slice(0, 9),
      groups: { group: guide.group.slice(0, 9) },
    })
    expect(frame.strata[0]!.frame.byGroup).toEqual(half.byGroup)
    expect(frame.strata[0]!.frame.difference()).toEqual(half.difference())
  })

  it('functions are metrics; one without weights sees rows as often as they were drawn', () => {
    const agree = (y: ArrayLike<unknown>, p: ArrayLike<unknown>) =>
      Array.from(y).filter((one, i) => one === p[i]).length / y.length
    const options = { ...guide, groups: { group: guide.group } }
    const frame = new MetricFrame({ metrics: { agree, accuracy }, ...options })
    expect(frame.overall.agree.value).toBe(frame.overall.accuracy.value)
    const { byGroup } = frame.intervals({ resamples: 200 })
    for (const one of byGroup) expect(one.values.agree).toEqual(one.values.accuracy)
    const weights = guide.labels.map(() => 0.5)
    expect(() => new MetricFrame({ metrics: { agree }, ...options, weights }).overall).toThrow(
      /takes no weights/,
    )
  })
})

describe('intervals of a frame', () => {
  const n = 400
  const labels = Array.from({ length: n }, (_, i) => (i * 7) % 2)
  const predictions = labels.map((y, i) => (i % 5 === 0 ? 1 - y : y))
  const groups = { g: labels.map((_, i) => (i % 3 === 0 ? 'a' : 'b')) }

  it('hold their values, and agree with the rate that has a formula', () => {
    const frame = new MetricFrame({
      metrics: { accuracy, tpr: truePositiveRate },
      labels,
      predictions,
      groups,
    })
    const found = frame.intervals({ resamples: 4000, seed: 1 })
    const [low, high] = found.overall.accuracy.interval!
    const [wilsonLow, wilsonHigh] = frame.overall.accuracy.interval!
    expect(low).toBeCloseTo(wilsonLow, 1)
    expect(high).toBeCloseTo(wilsonHigh, 1)
    expect(found.byGroup.map(({ name }) => name)).toEqual(['g=a', 'g=b'])
    for (const one of [found.overall, found.difference, found.ratio, found.groupMin, found.groupMax]) {
      expect(one.tpr.interval![0]).toBeLessThanOrEqual(one.tpr.interval![1])
      expect(one.tpr.value).toBeDefined()
    }
    expect(frame.intervals({ resamples: 4000, seed: 1 })).toEqual(found)
  })

  it("equalized odds' larger of two has one", () => {
    const intervals = { resamples: 500, method: 'bca' as const }
    const { difference } = fair.equalizedOdds({ labels, predictions, groups, intervals })
    expect(difference.interval![0]).toBeGreaterThanOrEqual(0)
    expect(difference.interval![1]).toBeLessThanOrEqual(1)
    expect(fair.equalizedOdds({ labels, predictions, groups }).difference.interval).toBeUndefined()
  })
})

describe('bad input', () => {
  const good = { metrics: { accuracy }, labels: [0, 1], predictions: [0, 1] }
  const scored = { ...good, metrics: { brier: fair.brierScore } }

  it.each([
    [{ ...good, labels: [], predictions: [] }, ArgumentError, /at least one row/],
    [{ ...good, predictions: [0] }, ShapeError, /predictions has 1 rows and labels 2/],
    [{ ...good, groups: { g: ['a'] } }, ShapeError, /groups\.g has 1 rows/],
    [{ ...good, labels: [0, Number.NaN] }, ArgumentError, /labels\[1\] is NaN/],
    [{ ...good, groups: { class: ['a', 'b'] } }, ArgumentError, /choose another/],
    [{ ...good, groups: { g: [1, '1'] } }, ArgumentError, /read the same/],
    [{ ...good, weights: [1, -1] }, ArgumentError, /weights\[1\] is -1/],
    [{ ...good, weights: [0, 0] }, ArgumentError, /all are 0/],
    [{ ...good, minSupport: 0.5 }, ArgumentError, /minSupport is 0.5/],
    [{ ...good, positive: 'yes' }, ArgumentError, /positive is "yes"/],
    [{ ...good, task: 'regression' as const }, ArgumentError, /at least one sensitive column/],
    [
      {
        ...good,
        groups: { id: Array.from({ length: 2 }, (_, i) => i), of: [0, 1] },
        scores: [0, Number.NaN],
      },
      NonFiniteError,
      /scores\[1\] is NaN/,
    ],
    [{ ...good, metrics: {} }, ArgumentError, /at least one, such as/],
  ])('is refused by name (%#)', (options, error, message) => {
    const make = () => new MetricFrame(options as MetricFrameOptions<string>)
    expect(make).toThrow(error)
    expect(make).toThrow(message)
  })

  it('too many groups are refused before they are made', () => {
    const labels = Array.from({ length: 200 }, (_, i) => i % 2)
    const groups = { a: labels.map((_, i) => i), b: labels.map((_, i) => -i) }
    expect(() => new MetricFrame({ metrics: { accuracy }, labels, predictions: labels, groups })).toThrow(
      /40000 groups/,
    )
  })

  it('metrics say what they lack', () => {
    expect(() => new MetricFrame(scored)).toThrow(/Brier score needs scores/)
    expect(
      () =>
        new MetricFrame({ ...good, metrics: { mae: fair.meanAbsoluteError }, labels: ['a', 'b'] }).overall,
    ).toThrow(/expected numbers/)
    expect(() => new MetricFrame(good).by('sex')).toThrow(/expected one of class/)
    expect(() => new MetricFrame(good).toReference({ reference: 'x' })).toThrow(
      /expected 'majority', 'min' or a group: class=0/,
    )
  })
})
