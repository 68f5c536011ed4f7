// What compression changed: pairs of models whose differences are known, the verdicts' error rates by simulation, exemplars,
// and bad input.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostRandom } from '../src/backend/threefry'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import {
  accuracy,
  type Answers,
  auditCompression,
  auditSweep,
  brierScore,
  classShifts,
  mcnemar,
  meanAbsoluteError,
  modalExemplars,
  oddsRatio,
  precision,
  selectionRate,
  tangoInterval,
  taxicabExemplars,
  truePositiveRate,
} from '../src/fairness'

/** Rows of two groups; compression breaks `broken` of the right answers of group b, and of no other. */
function planted({ rows = 800, broken = 0.2, seed = 1 } = {}) {
  const random = new HostRandom(seed)
  const labels = Array.from({ length: rows }, () => random.nextInt(2))
  const group = labels.map((_, i) => (i % 4 === 0 ? 'b' : 'a'))
  const base = labels.map((y) => (random.uniform() < 0.9 ? y : 1 - y))
  const compressed = base.map((p, i) =>
    group[i] === 'b' && p === labels[i] && random.uniform() < broken ? 1 - p : p,
  )
  return {
    data: { labels },
    groups: { group },
    base: { predictions: base },
    compressed: { predictions: compressed },
  }
}

const quick = { margin: 0.02, resamples: 200 }

describe('auditCompression', () => {
  it('finds the group that compression harmed, and clears the other', async () => {
    const { data, groups, base, compressed } = planted({ rows: 4000 })
    const audit = await auditCompression(base, compressed, data, { ...quick, groups })
    const [all, a, b] = audit.groups
    expect([all, a, b].map((one) => one!.name)).toEqual(['all rows', 'group=a', 'group=b'])
    expect(b!.metrics.accuracy!.verdict).toBe('harm')
    expect(b!.metrics.accuracy!.difference).toBeLessThan(-0.1)
    expect(a!.metrics.accuracy).toMatchObject({ verdict: 'no harm', difference: 0 })
    expect(a!.verdict).toBe('no harm')
    expect(audit.verdict).toBe('harm')
    expect(b!.exemplars!.enrichment!.interval[0]).toBeGreaterThan(1)
    expect(a!.exemplars!.count).toBe(0)
    const gap = audit.gaps.find(({ partition, metric }) => partition === 'group' && metric === 'accuracy')!
    expect(gap.difference).toBeGreaterThan(0.1)
    expect(gap.interval![0]).toBeGreaterThan(0.05)
  })

  it('counts flips and tests their direction', async () => {
    const labels = [1, 1, 1, 0, 0, 0, 1, 0]
    const audit = await auditCompression(
      { predictions: [1, 1, 0, 0, 1, 1, 1, 0] },
      { predictions: [1, 0, 1, 0, 1, 0, 0, 1] },
      { labels },
      quick,
    )
    expect(audit.groups[0]!.flips).toMatchObject({
      stayedRight: 2,
      rightToWrong: 3,
      wrongToRight: 2,
      stayedWrong: 1,
      wrongToOtherWrong: 0,
      churn: { k: 5, n: 8, value: 0.625 },
      mcnemar: { p: mcnemar(2, 3) },
    })
    expect(audit.exemplars.map(({ row }) => row)).toEqual([1, 2, 5, 6, 7])
    expect(audit.exemplars[0]).toEqual({ row: 1, before: 1, after: 0 })
  })

  it("decides a rate of shared rows by Tango's interval of its pairs, at the corrected level", async () => {
    const { data, groups, base, compressed } = planted()
    const audit = await auditCompression(base, compressed, data, { ...quick, groups })
    expect(audit.comparisons).toBe(3 + 2 * 3 + 2) // all rows; two groups; one accuracy for each class
    const { metrics, n } = audit.groups[2]!
    const { level, interval, method } = metrics.accuracy!.test!
    expect(method).toBe('tango')
    const lost = Math.round(-metrics.accuracy!.difference! * n)
    expect(interval).toEqual(tangoInterval(0, lost, n, { level }))
    expect(level).toBeCloseTo(1 - 0.05 / 11, 12) // Holm's first step
  })

  it('holds one comparison alone at the uncorrected level', async () => {
    const { data, base, compressed } = planted()
    const options = { ...quick, metrics: { accuracy }, correction: 'none' as const }
    const [all] = (await auditCompression(base, compressed, data, options)).groups
    expect(all!.metrics.accuracy!.test!.level).toBeCloseTo(0.95, 12)
    const bonferroni = await auditCompression(base, compressed, data, {
      ...options,
      correction: 'bonferroni',
    })
    expect(bonferroni.groups[0]!.metrics.accuracy!.test!.level).toBeCloseTo(1 - 0.05 / 3, 12)
  })

  it('says insufficient where the rows do not decide, and how many about would', async () => {
    const same = { predictions: Array.from({ length: 100 }, (_, i) => i % 2) }
    const data = { labels: same.predictions }
    const options = { margin: 0.01, metrics: { accuracy }, correction: 'none' as const, resamples: 100 }
    const [all] = (await auditCompression(same, same, data, options)).groups
    const { verdict, reason, test } = all!.metrics.accuracy!
    expect(verdict).toBe('insufficient evidence') // no flip among 100 rows: up to 3.7 % may be lost
    expect(reason).toMatch(/reaches across the margin/)
    const rows = test!.rowsToDecide!
    expect(tangoInterval(0, 0, rows)[0]).toBeGreaterThan(-0.01)
    expect(tangoInterval(0, 0, rows - 2)[0]).toBeLessThan(-0.01)
  })

  it('takes no group under the minimum support for evidence, and says undefined of what is', async () => {
    const labels = Array.from({ length: 60 }, (_, i) => (i < 50 ? i % 2 : 0))
    const group = labels.map((_, i) => (i < 50 ? 'many' : 'few'))
    const audit = await auditCompression(
      { predictions: labels },
      { predictions: labels.map((y) => 1 - y) },
      { labels },
      { ...quick, groups: { group } },
    )
    const few = audit.groups.find(({ name }) => name === 'group=few')!
    expect(few.metrics.accuracy).toMatchObject({
      verdict: 'insufficient evidence',
      reason: 'supported by 10 rows; the minimum is 30',
    })
    expect(few.metrics.truePositiveRate!.reason).toMatch(/no rows with such a label/)
    expect(few.metrics.truePositiveRate!.test).toBeUndefined()
  })

  it('a selection rate may be harmed either way', async () => {
    const labels = Array.from({ length: 500 }, (_, i) => i % 2)
    const more = labels.map((y, i) => (i % 5 === 0 ? 1 : y))
    for (const [base, compressed] of [
      [labels, more],
      [more, labels],
    ] as const) {
      const audit = await auditCompression(
        { predictions: base },
        { predictions: compressed },
        { labels },
        { ...quick, metrics: { selectionRate } },
      )
      expect(audit.groups[0]!.metrics.selectionRate!.verdict).toBe('harm')
    }
  })

  it('other statistics go by the bootstrap: precision, scores, weighted rows', async () => {
    const { data, base, compressed } = planted({ rows: 600 })
    const scores = (answers: Answers) => ({
      ...answers,
      scores: Array.from(answers.predictions, (p) => 0.1 + 0.8 * Number(p)),
    })
    const metrics = { accuracy, precision, brierScore }
    const options = {
      ...quick,
      resamples: 1000,
      metrics,
      margin: { accuracy: 0.02, precision: 0.02, brierScore: 0.01 },
    }
    const [all] = (await auditCompression(scores(base), scores(compressed), data, options)).groups
    expect(all!.metrics.accuracy!.test!.method).toBe('tango')
    expect(all!.metrics.precision!.test!.method).toBe('bootstrap')
    expect(all!.metrics.brierScore!.test!.method).toBe('bootstrap')
    const weights = data.labels.map(() => 2)
    const [heavy] = (await auditCompression(scores(base), scores(compressed), { ...data, weights }, options))
      .groups
    expect(heavy!.metrics.accuracy!.test!.method).toBe('bootstrap')
    expect(heavy!.metrics.accuracy!.difference).toBeCloseTo(all!.metrics.accuracy!.difference!, 12)
  })

  it('a bootstrap without a flip, or with too few resamples for so many comparisons, decides nothing', async () => {
    const { data, groups, base, compressed } = planted()
    const options = { ...quick, groups, metrics: { precision } }
    const still = (await auditCompression(base, base, data, options)).groups[0]!.metrics.precision!
    expect(still).toMatchObject({
      verdict: 'insufficient evidence',
      reason: expect.stringMatching(/says nothing/),
    })
    const few = (await auditCompression(base, compressed, data, { ...options, resamples: 40 })).groups[2]!
      .metrics.precision!
    expect(few).toMatchObject({
      verdict: 'insufficient evidence',
      reason: expect.stringMatching(/40 resamples/),
    })
  })

  it('computes answers when asked, and gives equal audits for equal seeds', async () => {
    const { data, groups, base, compressed } = planted()
    const options = { ...quick, groups }
    const audit = await auditCompression(base, compressed, data, options)
    expect(
      await auditCompression(
        () => base,
        async () => compressed,
        data,
        options,
      ),
    ).toEqual(audit)
    expect(await auditCompression(base, compressed, data, { ...options, seed: 9 })).not.toEqual(audit)
    const plain = await auditCompression(base, compressed, data, { ...options, resamples: 0 })
    expect(plain.groups[2]!.metrics.accuracy!.verdict).toBe(audit.groups[2]!.metrics.accuracy!.verdict)
    expect(plain.groups[2]!.metrics.accuracy!.interval).toBeUndefined()
  })

  it('a sweep is one audit each, corrected for all of them', async () => {
    const { data, groups, base } = planted()
    const at = (broken: number) => planted({ broken }).compressed
    const sweep = await auditSweep(base, { '50 %': at(0.01), '90 %': at(0.4) }, data, { ...quick, groups })
    expect(sweep['90 %'].verdict).toBe('harm')
    expect(sweep['50 %'].comparisons).toBe(22)
    const alone = await auditCompression(base, at(0.4), data, { ...quick, groups })
    const p = (audit: typeof alone) => audit.groups[2]!.metrics.accuracy!.test!
    expect(p(sweep['90 %']).p).toBe(p(alone).p)
    expect(p(sweep['90 %']).adjustedP).toBeGreaterThan(p(alone).adjustedP)
  })

  it('several seeds: the mean over models by the bootstrap, each model shown, exemplars by the commonest answer', async () => {
    const runs = [1, 2, 3].map(() => planted().base)
    const broken = [0.3, 0.35, 0.4].map((share) => planted({ broken: share }).compressed)
    const { data, groups } = planted()
    const audit = await auditCompression(runs, broken, data, { ...quick, resamples: 1000, groups })
    const { accuracy: change } = audit.groups[2]!.metrics
    expect(change).toMatchObject({ verdict: 'harm', test: { method: 'bootstrap' } })
    expect(change!.seeds!.after).toHaveLength(3)
    expect(change!.seeds!.welch!.p).toBeLessThan(0.05)
    expect(change!.after.value).toBeCloseTo(
      change!.seeds!.after.reduce((sum: number, one) => sum + one!, 0) / 3,
      12,
    )
    expect(audit.models).toEqual({ base: 3, compressed: 3 })
    expect(audit.groups[0]!.flips!.mcnemar).toBeUndefined()
    expect(audit.groups[0]!.flips!.churn.n).toBe(2400)
  })

  it('many classes: accuracy by class; a regression: no classes, no flips', async () => {
    const labels = Array.from({ length: 300 }, (_, i) => ['x', 'y', 'z'][i % 3]!)
    const compressed = labels.map((y, i) => (y === 'z' && i % 2 === 0 ? 'x' : y))
    const audit = await auditCompression(
      { predictions: labels },
      { predictions: compressed },
      { labels },
      quick,
    )
    expect(audit.groups.map(({ name, verdict }) => [name, verdict])).toContainEqual(['class=z', 'harm'])
    const numbers = labels.map((_, i) => i / 10)
    const regression = await auditCompression(
      { predictions: numbers },
      { predictions: numbers.map((y, i) => y + (i % 7)) },
      { labels: numbers },
      {
        task: 'regression',
        metrics: { meanAbsoluteError },
        margin: 0.5,
        resamples: 300,
        groups: { g: labels },
      },
    )
    expect(regression.groups.map(({ name, verdict }) => [name, verdict])).toEqual([
      ['all rows', 'harm'],
      ['g=x', 'harm'],
      ['g=y', 'harm'],
      ['g=z', 'harm'],
    ])
    expect(regression.exemplars).toEqual([])
    expect(regression.groups[0]!.flips).toBeUndefined()
  })

  it('names rows and groups, but tells no row its group', async () => {
    const { data, base, compressed } = planted()
    const group = data.labels.map((_, i) => (i === 0 ? null : 'secret'))
    const audit = await auditCompression(base, compressed, data, { ...quick, groups: { group } })
    expect(JSON.stringify(audit.exemplars)).not.toContain('secret')
    expect(audit.groups.map(({ name }) => name)).toContain('group=(missing)')
  })

  it.each([
    [{ margin: -0.1 }, ArgumentError, /margin of accuracy is -0.1/],
    [{ margin: Number.NaN }, ArgumentError, /margin of accuracy is NaN/],
    [{ margin: 0.1, groups: { g: ['a'] } }, ShapeError, /groups\.g has 1 rows/],
    [{ margin: 0.1, groups: { class: [1, 2] } }, ArgumentError, /choose another/],
    [{ margin: 0.1, correction: 'sidak' as 'holm' }, ArgumentError, /correction is 'sidak'/],
    [{ margin: 0.1, level: 95 }, ArgumentError, /level is 95/],
    [{ margin: 0.1, minSupport: 0 }, ArgumentError, /minSupport is 0/],
    [{ margin: 0.1, metrics: { brierScore } as never }, ArgumentError, /needs scores of the base/],
  ])('refuses %j', async (options, error, message) => {
    const two = { predictions: Array.from({ length: 60 }, (_, i) => i % 2) }
    const ask = auditCompression(two, two, { labels: two.predictions }, { resamples: 10, ...options })
    await expect(ask).rejects.toThrow(error)
    await expect(ask).rejects.toThrow(message)
  })

  it('refuses answers to other rows, missing answers, no models', async () => {
    const labels = [0, 1]
    const good = { predictions: labels }
    const ask = (compressed: Parameters<typeof auditCompression>[1]) =>
      auditCompression(good, compressed, { labels }, quick)
    await expect(ask({ predictions: [0] })).rejects.toThrow(ShapeError)
    await expect(ask({ predictions: [0, Number.NaN] })).rejects.toThrow(/predictions\[1\] is NaN/)
    await expect(ask({ predictions: labels, scores: [0, Number.NaN] })).rejects.toThrow(NonFiniteError)
    await expect(ask([])).rejects.toThrow(/at least one model/)
    await expect(auditSweep(good, {}, { labels }, quick)).rejects.toThrow(/at least one model/)
  })
})

describe('error rates of verdicts, by simulation', () => {
  // Two groups and their classes; each draw is an audit of its own. A rate of 0.05 over 200 draws is known to 1.5 points.
  const DRAWS = 200
  const rows = 180
  const standardError = Math.sqrt((0.05 * 0.95) / DRAWS)

  async function shares({ loss, margin, draws = DRAWS }: { loss: number; margin: number; draws?: number }) {
    const random = new HostRandom(11)
    const group = Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? 'small' : 'large'))
    let harm = 0
    let cleared = 0
    for (let draw = 0; draw < draws; draw++) {
      const labels = Array.from({ length: rows }, () => random.nextInt(2))
      const answers = (share: number) => ({
        predictions: labels.map((y) => (random.uniform() < share ? y : 1 - y)),
      })
      const audit = await auditCompression(
        answers(0.85),
        answers(0.85 - loss),
        { labels },
        { groups: { group }, margin, resamples: 0 },
      )
      const verdicts = audit.groups.flatMap(({ metrics }) =>
        Object.values(metrics).map(({ verdict }) => verdict),
      )
      if (verdicts.includes('harm')) harm++
      if (verdicts.includes('no harm')) cleared++
    }
    return { harm: harm / draws, cleared: cleared / draws }
  }

  it('equal accuracy and independent errors: harm is said, of any group or metric, at most at the nominal rate', {
    timeout: 180_000,
  }, async () => {
    for (const margin of [0, 0.02]) {
      const { harm } = await shares({ loss: 0, margin })
      console.log(
        `harm where there is none, margin ${margin}: ${harm} (nominal 0.05, Monte-Carlo error ${standardError.toFixed(4)})`,
      )
      expect(harm).toBeLessThanOrEqual(0.05 + 2 * standardError)
    }
  })

  it('a true loss on the margin: no harm is said, of any group or metric, at most at the nominal rate', {
    timeout: 180_000,
  }, async () => {
    const { cleared } = await shares({ loss: 0.1, margin: 0.1 })
    console.log(
      `no harm on the margin: ${cleared} (nominal 0.05, Monte-Carlo error ${standardError.toFixed(4)})`,
    )
    expect(cleared).toBeLessThanOrEqual(0.05 + 2 * standardError)
  })

  it('and both are said where they are true and plain', async () => {
    expect((await shares({ loss: 0.4, margin: 0.02, draws: 30 })).harm).toBeGreaterThan(0.95)
    expect((await shares({ loss: -0.1, margin: 0.15, draws: 30 })).cleared).toBeGreaterThan(0.9)
  })
})

describe('exemplars', () => {
  it('modal: the commonest answer changed; ties go to the largest label', () => {
    const base = [
      [0, 1, 0, 2],
      [0, 1, 1, 2],
      [1, 1, 1, 2],
    ]
    const compressed = [
      [1, 1, 0, 0],
      [0, 1, 1, 2],
    ]
    expect(modalExemplars(base, compressed)).toEqual([{ row: 0, before: 0, after: 1 }])
    expect(modalExemplars([[1, 10]], [[1, 9]])).toEqual([{ row: 1, before: 10, after: 9 }])
  })

  it('taxicab: rows by how far the shares of their answers moved', () => {
    const found = taxicabExemplars(
      [
        [0, 1, 0],
        [0, 1, 1],
      ],
      [
        [1, 1, 0],
        [1, 1, 0],
      ],
    )
    expect(found).toEqual([
      { row: 0, distance: 2 },
      { row: 2, distance: 1 },
      { row: 1, distance: 0 },
    ])
    const models = fc.array(fc.array(fc.nat(3), { minLength: 5, maxLength: 5 }), {
      minLength: 1,
      maxLength: 6,
    })
    fc.assert(
      fc.property(models, models, (a, b) => {
        for (const { distance } of taxicabExemplars(a, b)) {
          expect(distance).toBeGreaterThanOrEqual(0)
          expect(distance).toBeLessThanOrEqual(2 + 1e-12)
        }
        expect(modalExemplars(a, a)).toEqual([])
      }),
    )
  })

  it('class shifts: which class lost more than the rest', () => {
    const labels = Array.from({ length: 40 }, (_, i) => i % 4)
    const model = (worse: number, shift: number) =>
      labels.map((y, i) => (y === worse && (i + shift) % 5 < 2 ? (y + 1) % 4 : i === shift ? (y + 1) % 4 : y))
    const base = [0, 1, 2, 3].map((shift) => model(-1, shift))
    const compressed = [0, 1, 2, 3].map((shift) => model(2, shift))
    const found = classShifts(labels, base, compressed)
    expect(found.map(({ label }) => label)).toEqual([0, 1, 2, 3])
    expect(found[2]!.after).toBeLessThan(found[2]!.before)
    expect(found[2]!.p).toBeLessThan(0.01)
    expect(found[0]!.after).toBeGreaterThan(found[0]!.before)
    expect(() => classShifts(labels, base, [labels])).toThrow(/compressed has 1 models/)
  })

  it('the odds ratio is above 1 where something is commoner inside', () => {
    const { value, interval } = oddsRatio({ hits: 20, misses: 80 }, { hits: 10, misses: 190 })
    expect(value).toBeCloseTo((20.5 * 190.5) / (80.5 * 10.5), 10)
    expect(interval[0]).toBeGreaterThan(1)
    expect(oddsRatio({ hits: 0, misses: 5 }, { hits: 0, misses: 5 })).toMatchObject({ value: 1 })
    expect(() => oddsRatio({ hits: -1, misses: 5 }, { hits: 0, misses: 5 })).toThrow(ArgumentError)
  })

  it('refuse populations that do not fit', () => {
    expect(() => modalExemplars([], [[1]])).toThrow(/base: expected the answers of at least one model/)
    expect(() => modalExemplars([[1, 2]], [[1]])).toThrow(ShapeError)
    expect(() => taxicabExemplars([[1]], [])).toThrow(ArgumentError)
  })

  it('precision and recall of the positive class stay apart from those of another', async () => {
    const labels = Array.from({ length: 90 }, (_, i) => i % 2)
    const wrong = labels.map((y, i) => (y === 0 && i % 4 === 0 ? 1 : y))
    const audit = await auditCompression(
      { predictions: labels },
      { predictions: wrong },
      { labels },
      { ...quick, metrics: { truePositiveRate }, positive: 0 },
    )
    expect(audit.groups[0]!.metrics.truePositiveRate!.difference).toBeLessThan(-0.4)
  })
})
