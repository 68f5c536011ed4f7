// Thresholds by group: fairlearn's numbers on its grid, the exact optimum on the hulls, and equal rates on any data.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import { fitThresholds, type ThresholdConstraint } from '../src/fairness'

const scores = [0.1, 0.4, 0.35, 0.8, 0.7, 0.2, 0.9, 0.6, 0.5, 0.3, 0.15, 0.55]
const labels = [0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 1]
const groups = { g: [...'aaaaaabbbbbb'] }
const data = { labels, scores, groups }

function expectChances(actual: Float64Array, expected: number[]): void {
  expected.forEach((chance, i) => {
    expect(actual[i], `row ${i}`).toBeCloseTo(chance, 6)
  })
}

/** Expected rates of each group under the chances of a positive answer. */
function rates(chances: Float64Array, y: number[], group: string[]) {
  return Object.fromEntries(
    [...new Set(group)].map((name) => {
      const mean = (keep: (i: number) => boolean) => {
        const rows = y.map((_, i) => i).filter((i) => group[i] === name && keep(i))
        return rows.reduce((sum, i) => sum + chances[i]!, 0) / rows.length
      }
      return [
        name,
        { selected: mean(() => true), tpr: mean((i) => y[i] === 1), fpr: mean((i) => y[i] === 0) },
      ]
    }),
  )
}

describe('fitThresholds', () => {
  it("on fairlearn's grid gives fairlearn's thresholds and chances", () => {
    const parity = fitThresholds({ ...data, constraint: 'demographicParity', compat: 'fairlearn' })
    expect(parity.rate).toBeCloseTo(0.666, 12)
    const a = parity.rules['g=a']!
    expect([a.p0, a.rule0.threshold, a.p1, a.rule1.threshold]).toEqual(
      [0.002, 0.55, 0.998, 0.275].map((x) => expect.closeTo(x, 9)),
    )
    expectChances(
      parity.probabilities(scores, groups),
      [0, 0.998, 0.998, 1, 1, 0, 1, 0.998667, 0.998667, 0, 0, 0.998667],
    )
    const opportunity = fitThresholds({ ...data, constraint: 'truePositiveRate', compat: 'fairlearn' })
    expect(opportunity.rate).toBe(1)
    expectChances(opportunity.probabilities(scores, groups), [0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1])
  })

  it('on the vertices finds what the grid misses: no chance where none is needed', () => {
    const parity = fitThresholds({ ...data, constraint: 'demographicParity' })
    expect(parity.rate).toBeCloseTo(2 / 3, 12)
    expectChances(parity.probabilities(scores, groups), [0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1])
    expect(parity.objective).toBeGreaterThan(
      fitThresholds({ ...data, constraint: 'demographicParity', compat: 'fairlearn' }).objective,
    )
    expect(parity.objective).toBeCloseTo(10 / 12, 12)
  })

  const row = fc.record({ y: fc.nat(1), s: fc.nat(12), group: fc.constantFrom('a', 'b', 'c') })
  const anyRows = fc.array(row, { minLength: 6, maxLength: 40 }).map((rows) => [
    ...rows,
    ...['a', 'b', 'c'].flatMap((group) => [
      { y: 0, s: 3, group },
      { y: 1, s: 8, group },
    ]),
  ])
  const columns = (rows: { y: number; s: number; group: string }[]) => ({
    labels: rows.map(({ y }) => y),
    scores: rows.map(({ s }) => s / 12),
    groups: { g: rows.map(({ group }) => group) },
  })

  it.each([
    'demographicParity',
    'truePositiveRate',
    'falsePositiveRate',
    'trueNegativeRate',
    'falseNegativeRate',
    'equalizedOdds',
  ] as ThresholdConstraint[])(
    '%s holds exactly on the rows of the fit, and no grid point beats the objective',
    (constraint) => {
      fc.assert(
        fc.property(
          anyRows,
          fc.boolean(),
          fc.constantFrom('accuracy' as const, 'balancedAccuracy' as const),
          (rows, flip, objective) => {
            const options = { ...columns(rows), constraint, flip, objective }
            const fit = fitThresholds(options)
            const chances = fit.probabilities(options.scores, options.groups)
            const found = Object.values(rates(chances, options.labels, options.groups.g))
            for (const one of found) {
              if (constraint === 'demographicParity') expect(one.selected).toBeCloseTo(fit.rate, 9)
              if (/truePositive|falseNegative|Odds/.test(constraint))
                expect(one.tpr).toBeCloseTo(found[0]!.tpr, 9)
              if (/falsePositive|trueNegative|Odds/.test(constraint))
                expect(one.fpr).toBeCloseTo(found[0]!.fpr, 9)
            }
            expect(fit.objective).toBeGreaterThanOrEqual(
              fitThresholds({ ...options, compat: 'fairlearn' }).objective - 1e-9,
            )
            if (objective === 'accuracy') {
              const right = chances.reduce((sum, p, i) => sum + (options.labels[i] === 1 ? p : 1 - p), 0)
              expect(fit.objective).toBeCloseTo(right / chances.length, 9)
            }
          },
        ),
      )
    },
  )

  it("answers of a binary predictor give Hardt's derived predictor, at the optimum of its linear programme", () => {
    // Group a: TPR 3/4, FPR 1/4; group b: TPR 1/2, FPR 1/2. Equal odds and least error: on b's diagonal.
    const y = [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0]
    const answers = [1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0]
    const fit = fitThresholds({ labels: y, scores: answers, groups: { g: [...'aaaaaaaabbbb'] }, flip: true })
    expect(fit.objective).toBeCloseTo(0.5, 12)
    const better = fitThresholds({
      labels: y,
      scores: [...answers.slice(0, 8), 1, 1, 0, 0],
      groups: { g: [...'aaaaaaaabbbb'] },
      flip: true,
    })
    expect(better.objective).toBeCloseTo(0.75, 12) // all at a's (1/4, 3/4)
    expect(better.rules['g=b']!.ignore).toBeGreaterThan(0)
  })

  it('deterministic: one threshold each within the tolerance, or the nearest, marked', () => {
    const fit = fitThresholds({ ...data, constraint: 'truePositiveRate', deterministic: { tolerance: 0 } })
    expect(fit).toMatchObject({ feasible: true, gap: 0 })
    expect(fit.probabilities(scores, groups).every((chance) => chance === 0 || chance === 1)).toBe(true)
    const apart = {
      labels: [0, 1, 0, 1, 1],
      scores: [0.5, 0.5, 0.5, 0.5, 0.6],
      groups: { g: [...'aabbb'] },
      constraint: 'demographicParity' as const,
    }
    const near = fitThresholds({ ...apart, deterministic: { tolerance: 0.1 } })
    expect(near.feasible).toBe(true) // all or none
    fc.assert(
      fc.property(anyRows, fc.constantFrom(0, 0.05, 0.3), (rows, tolerance) => {
        const options = { ...columns(rows), constraint: 'truePositiveRate' as const }
        const { gap, feasible, rules } = fitThresholds({ ...options, deterministic: { tolerance } })
        expect(feasible).toBe(gap <= tolerance + 1e-12)
        expect(Object.keys(rules)).toEqual(['g=a', 'g=b', 'g=c'])
      }),
    )
  })

  it('predicts by the chances, the same for the same seed', () => {
    const fit = fitThresholds(data)
    const many = Array.from({ length: 4000 }, () => 0.35)
    const group = { g: many.map(() => 'b') }
    const [chance] = fit.probabilities(many, group)
    const answers = fit.predict(many, group, { seed: 3 })
    const share = answers.reduce((sum, one) => sum + one, 0) / many.length
    expect(Math.abs(share - chance!)).toBeLessThanOrEqual(
      4 * Math.sqrt((chance! * (1 - chance!)) / many.length) + 1e-12,
    )
    expect(fit.predict(many, group, { seed: 3 })).toEqual(answers)
  })

  it.each([
    [{ labels: [0, 1] }, ShapeError, /labels has 2 rows and scores 12/],
    [{ scores: [...scores.slice(1), Number.NaN] }, NonFiniteError, /scores\[11\] is NaN/],
    [{ labels: labels.map((y, i) => (i < 6 ? 0 : y)) }, ArgumentError, /g=a has 0 positives among 6 rows/],
    [{ labels: labels.map((y, i) => (i === 0 ? 2 : y)) }, ArgumentError, /3 classes/],
    [{ groups: {} }, ArgumentError, /at least one sensitive column/],
    [{ constraint: 'parity' as 'equalizedOdds' }, ArgumentError, /constraint is 'parity'/],
    [{ objective: 'f1' as 'accuracy' }, ArgumentError, /objective is 'f1'/],
    [{ deterministic: {} }, ArgumentError, /needs mixing/],
    [
      { deterministic: { tolerance: 2 }, constraint: 'truePositiveRate' as const },
      ArgumentError,
      /tolerance is 2/,
    ],
  ])('refuses what it cannot fit (%#)', (options, error, message) => {
    expect(() => fitThresholds({ ...data, ...options })).toThrow(error)
    expect(() => fitThresholds({ ...data, ...options })).toThrow(message)
  })

  it('has no threshold for a group that it has not seen', () => {
    expect(() => fitThresholds(data).probabilities([0.5], { g: ['c'] })).toThrow(
      /no rows of 'g=c' in the fit/,
    )
  })
})
