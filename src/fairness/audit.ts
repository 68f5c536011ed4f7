// The audit: two models, the same rows, group by group. The base model and the compressed one are compared pair by pair, so
// that what is hard for both cancels; every difference gets a verdict, and all verdicts together are corrected for their number.

import { ArgumentError } from '../errors'
import type {
  Answers,
  Audit,
  AuditData,
  AuditModel,
  AuditOptions,
  AuditRuns,
  Change,
  GapChange,
  GroupAudit,
} from './audit-types'
import { flipsOf } from './audit-flips'
import { modalExemplars } from './exemplars'
import { everyRow, type Group, type Partition, partitionsOf } from './groups'
import type { Measure } from './measure'
import { BY_CLASS } from './metric-frame'
import { accuracy, falsePositiveRate, type Metric, truePositiveRate } from './metrics'
import { checkAnswers, checkScores, checkWeights, classesOf, positiveOf, type Rows } from './rows'
import { type BootstrapResult, bootstrapAll } from './statistics/bootstrap'
import { holm } from './statistics/multiple'
import { checkAtLeast, checkLevel } from './statistics/options'
import { welch } from './statistics/welch'
import { Resampler, type Table, tableOf } from './table'
import { bootstrapEvidence, decide, type Evidence, pairedEvidence, worst } from './verdict'

/** Metrics of {@link auditCompression} unless others are given. */
export type DefaultMetric = 'accuracy' | 'truePositiveRate' | 'falsePositiveRate'

/** The rules of one audit, checked. */
interface Plan<M extends string> {
  metrics: Record<M, Metric>
  margins: Record<M, number>
  partitions: Partition[]
  minSupport: number
  level: number
  correction: NonNullable<AuditOptions<M>['correction']>
  resamples: number
  seed: number
  flips: boolean
}

/** A change before its verdict. */
interface Draft {
  change: Change
  evidence?: Evidence
  better: Metric['better']
  margin: number
}

/**
 * What compression changed, group by group: each metric before and after with the paired difference, its interval and a
 * verdict; flips with McNemar's test; the rows that changed (exemplars); the gaps between groups.
 *
 * *Harm* is said where the corrected interval of the difference lies wholly beyond the margin, *no harm* where it lies wholly
 * within, else *insufficient evidence*, with the rows that would about decide. Rates whose rows do not depend on the model
 * (accuracy; true and false positive rate) are decided by Tango's score interval, others by the bootstrap. With several seeds
 * a value is the mean over models and the bootstrap decides, for these models; `seeds` holds each, and Welch's test.
 *
 * ```ts
 * const audit = await auditCompression(base, compressed, { labels }, { groups: { sex }, margin: 0.01 })
 * audit.verdict // 'harm', 'no harm' or 'insufficient evidence'
 * ```
 * @throws ArgumentError, ShapeError or NonFiniteError for columns or options that do not fit.
 */
export async function auditCompression<M extends string = DefaultMetric>(
  base: AuditRuns,
  compressed: AuditRuns,
  data: AuditData,
  options: AuditOptions<M>,
): Promise<Audit<M>> {
  const { only } = await auditSweep(base, { only: compressed }, data, options)
  return only
}

/**
 * {@link auditCompression} of several compressed models by name, such as a sweep of sparsities or bit widths: an audit each,
 * all corrected together for all their comparisons, so that the best of the sweep may be chosen.
 * @throws as auditCompression.
 */
export async function auditSweep<Name extends string, M extends string = DefaultMetric>(
  base: AuditRuns,
  compressed: Record<Name, AuditRuns>,
  data: AuditData,
  options: AuditOptions<M>,
): Promise<Record<Name, Audit<M>>> {
  const { labels, weights } = data
  const before = await answersOf('base', base)
  const names = Object.keys(compressed) as Name[]
  if (names.length === 0) throw new ArgumentError('compressed: expected at least one model')
  const after = await Promise.all(names.map((name) => answersOf(`compressed ${name}`, compressed[name])))
  const all = [before, ...after].flat()
  for (const { predictions, scores } of all) {
    checkAnswers(labels, predictions)
    if (scores) checkScores('scores', scores, labels.length, false)
  }
  if (weights) checkWeights(weights, labels.length)
  const classes = classesOf(labels, ...all.map(({ predictions }) => predictions))
  const positive = positiveOf(classes, options.positive)
  const plan = planOf(labels, classes.length, options)
  for (const metric of Object.values<Metric>(plan.metrics)) {
    if (metric.needs === 'scores' && all.some(({ scores }) => !scores)) {
      throw new ArgumentError(`${metric.name} needs scores of the base and of every compressed model`)
    }
  }
  const rowsOf = (answers: Answers[]): Rows[] =>
    answers.map(({ predictions, scores }) => ({ labels, predictions, scores, weights, classes, positive }))
  const drafts = after.map((answers) => draft(plan, rowsOf(before), rowsOf(answers)))
  const comparisons = settle(
    drafts.flatMap(({ changes }) => changes),
    plan,
  )
  return Object.fromEntries(names.map((name, i) => [name, finish(drafts[i]!.audit, comparisons)])) as Record<
    Name,
    Audit<M>
  >
}

async function answersOf(name: string, runs: AuditRuns): Promise<Answers[]> {
  const list: readonly AuditModel[] = Array.isArray(runs) ? runs : [runs as AuditModel]
  if (list.length === 0) throw new ArgumentError(`${name}: expected at least one model, got none`)
  return Promise.all(list.map((one) => (typeof one === 'function' ? one() : one)))
}

function planOf<M extends string>(
  labels: AuditData['labels'],
  classes: number,
  options: AuditOptions<M>,
): Plan<M> {
  const { groups = {}, margin, minSupport = 30, correction = 'holm', resamples = 2000, seed = 0 } = options
  const byDefault = classes > 2 ? { accuracy } : { accuracy, truePositiveRate, falsePositiveRate }
  const metrics = options.metrics ?? (byDefault as Record<M, Metric>)
  const margins = Object.fromEntries(
    Object.keys(metrics).map((name) => [name, typeof margin === 'number' ? margin : margin?.[name as M]]),
  ) as Record<M, number>
  if (Object.keys(metrics).length === 0)
    throw new ArgumentError('metrics: expected at least one, such as { accuracy }')
  for (const [name, value] of Object.entries(margins)) {
    if (!(typeof value === 'number' && value >= 0 && Number.isFinite(value))) {
      throw new ArgumentError(
        `margin of ${name} is ${String(value)}; expected how much worse it may become: a number of at least 0, such as 0.01`,
      )
    }
  }
  checkAtLeast('auditCompression', 'minSupport', minSupport, 1)
  checkAtLeast('auditCompression', 'resamples', resamples, 0)
  if (BY_CLASS in groups)
    throw new ArgumentError(`groups: '${BY_CLASS}' is the name of the groups by label; choose another`)
  const flips = options.task !== 'regression'
  const partitions = [everyRow(labels.length), ...partitionsOf(groups, labels.length)]
  if (flips) partitions.push(...partitionsOf({ [BY_CLASS]: labels }, labels.length))
  const level = checkLevel('auditCompression', options.level)
  return { metrics, margins, partitions, minSupport, level, correction, resamples, seed, flips }
}

/** The metrics that say something of a partition: among one class, every rate given the label repeats its accuracy. */
function metricsFor<M extends string>({ metrics }: Plan<M>, partition: Partition): Record<M, Metric> {
  if (partition.name !== BY_CLASS) return metrics
  const kept = Object.entries<Metric>(metrics).filter(
    ([, { rate, better }]) => !rate || (rate.given !== 'label' && better !== undefined),
  )
  return Object.fromEntries(kept) as Record<M, Metric>
}

function draft<M extends string>(
  plan: Plan<M>,
  before: Rows[],
  after: Rows[],
): { audit: Omit<Audit<M>, 'comparisons' | 'verdict'>; changes: Draft[] } {
  const changes: Draft[] = []
  const groups: GroupAudit<M>[] = []
  const gaps: GapChange<M>[] = []
  const exemplars = plan.flips ? modalExemplars(before.map(predictionsOf), after.map(predictionsOf)) : []
  const changed = new Set(exemplars.map(({ row }) => row))
  plan.partitions.forEach((partition, index) => {
    const metrics = metricsFor(plan, partition)
    const names = Object.keys(metrics) as M[]
    if (names.length === 0) return
    const tables = (runs: Rows[]) => runs.map((rows) => tableOf(metrics, rows, partition, rulesOf(plan)))
    const [first, second] = [tables(before), tables(after)]
    const drawn = resampled({ ...plan, metrics }, before, after, partition, plan.seed + index)
    partition.groups.forEach((group, g) => {
      const entries = names.map((name, m): [M, Change] => {
        const metric = metrics[name]
        const values = (list: Table<M>[]) => list.map((table) => table.groups[g]!.values[name])
        const change = changeOf(values(first), values(second))
        const boot = drawn?.group(g, m)
        if (boot?.interval) change.interval = boot.interval
        const evidence = evidenceOf(metric, change, group, before, after, boot)
        changes.push({ change, evidence, better: metric.better, margin: plan.margins[name] })
        return [name, change]
      })
      groups.push({
        partition: partition.name,
        name: group.name,
        levels: group.levels,
        n: group.rows.length,
        metrics: Object.fromEntries(entries) as Record<M, Change>,
        ...(plan.flips ? flipsOf(group, before, after, changed) : {}),
        verdict: 'insufficient evidence',
      })
    })
    if (partition.groups.length > 1)
      gaps.push(...names.map((metric, m) => gapOf(metric, partition, first, second, drawn?.gap(m))))
  })
  const { level, correction } = plan
  const models = { base: before.length, compressed: after.length }
  return {
    audit: { rows: before[0]!.labels.length, models, level, correction, groups, gaps, exemplars },
    changes,
  }
}

function predictionsOf({ predictions }: Rows): Rows['predictions'] {
  return predictions
}

function rulesOf({ minSupport }: { minSupport: number }): { minSupport: number } {
  return { minSupport }
}

function mean(values: (number | undefined)[]): number | undefined {
  let sum = 0
  for (const value of values) {
    if (value === undefined) return undefined
    sum += value
  }
  return sum / values.length
}

function changeOf(before: Measure[], after: Measure[]): Change {
  const merge = (measures: Measure[]): Measure => {
    if (measures.length === 1) return measures[0]!
    const value = mean(measures.map((one) => one.value))
    const n = Math.min(...measures.map((one) => one.n))
    return value === undefined ? { n, reason: measures.find(({ reason }) => reason)!.reason } : { value, n }
  }
  const change: Change = { before: merge(before), after: merge(after), verdict: 'insufficient evidence' }
  const [from, to] = [change.before.value, change.after.value]
  if (from !== undefined && to !== undefined) {
    change.difference = to - from
    if (from !== 0) change.relative = (to - from) / from
  }
  if (before.length > 1 || after.length > 1) {
    const values = (measures: Measure[]) => measures.map(({ value }) => value)
    change.seeds = { before: values(before), after: values(after) }
    const defined = (list: (number | undefined)[]) => list.filter((value) => value !== undefined)
    const [a, b] = [defined(change.seeds.after), defined(change.seeds.before)]
    if (a.length > 1 && b.length > 1) change.seeds.welch = welch(a, b)
  }
  return change
}

/** Bootstrap of every difference and gap of a partition; undefined where no resamples are wanted. */
function resampled<M extends string>(
  plan: Plan<M>,
  before: Rows[],
  after: Rows[],
  partition: Partition,
  seed: number,
): { group(g: number, m: number): BootstrapResult; gap(m: number): BootstrapResult } | undefined {
  if (plan.resamples === 0) return undefined
  const names = Object.keys(plan.metrics) as M[]
  const sampler = new Resampler(plan.metrics, [...before, ...after], partition, rulesOf(plan))
  const change = (tables: Table<M>[], of: (table: Table<M>) => number | undefined) => {
    const from = mean(tables.slice(0, before.length).map(of))
    const to = mean(tables.slice(before.length).map(of))
    return from === undefined || to === undefined ? undefined : to - from
  }
  const results = bootstrapAll(
    (drawn) => {
      const tables = sampler.tables(drawn)
      return [
        ...names.map((name) => change(tables, (table) => table.difference(name).value)),
        ...partition.groups.flatMap((_, g) =>
          names.map((name) => change(tables, (table) => table.groups[g]!.values[name].value)),
        ),
      ]
    },
    { ...sampler.draw, resamples: plan.resamples, level: plan.level, seed },
  )
  return { gap: (m) => results[m]!, group: (g, m) => results[(g + 1) * names.length + m]! }
}

/** Evidence of a group's difference: pair by pair for a rate whose rows both models share, else from the bootstrap. */
function evidenceOf(
  metric: Metric,
  change: Change,
  group: Group,
  before: Rows[],
  after: Rows[],
  boot: BootstrapResult | undefined,
): Evidence | undefined {
  const n = Math.min(change.before.n, change.after.n)
  const { rate } = metric
  const [first, second] = [before[0]!, after[0]!]
  if (rate && rate.given !== 'prediction' && before.length === 1 && after.length === 1 && !first.weights) {
    const positive = rate.positive ?? first.positive
    let gained = 0
    let lost = 0
    let support = 0
    for (const row of group.rows) {
      const label = first.labels[row]!
      const from = first.predictions[row]!
      const to = second.predictions[row]!
      const y = label === positive
      if (!rate.among(y, from === positive, from === label)) continue
      support++
      const was = rate.hit(y, from === positive, from === label)
      const is = rate.hit(y, to === positive, to === label)
      if (is && !was) gained++
      if (was && !is) lost++
    }
    return support > 0 ? pairedEvidence(gained, lost, support) : undefined
  }
  return boot?.interval && boot.value !== undefined
    ? bootstrapEvidence(boot.value, boot.values, n)
    : undefined
}

function gapOf<M extends string>(
  metric: M,
  partition: Partition,
  before: Table<M>[],
  after: Table<M>[],
  boot: BootstrapResult | undefined,
): GapChange<M> {
  const gap = (tables: Table<M>[]) => mean(tables.map((table) => table.difference(metric).value))
  const [from, to] = [gap(before), gap(after)]
  const difference = from === undefined || to === undefined ? undefined : to - from
  return { partition: partition.name, metric, before: from, after: to, difference, interval: boot?.interval }
}

/** Writes the verdicts into the changes, all corrected together; returns how many there were to correct for. */
function settle<M extends string>(changes: Draft[], { level, correction, minSupport }: Plan<M>): number {
  const decidable: (Draft & { evidence: Evidence })[] = []
  for (const one of changes) {
    const { change, evidence } = one
    const n = Math.min(change.before.n, change.after.n)
    if (change.difference === undefined) change.reason = change.before.reason ?? change.after.reason
    else if (n < minSupport) change.reason = `supported by ${n} rows; the minimum is ${minSupport}`
    else if (!evidence) change.reason = 'the bootstrap gives no interval: too few resamples have a value'
    else decidable.push({ ...one, evidence })
  }
  decide(decidable, 1 - level, correction).forEach(({ verdict, reason, ...test }, i) => {
    const { change, evidence, margin } = decidable[i]!
    change.verdict = verdict
    if (reason) change.reason = reason
    change.test = { ...test, method: evidence.method, margin }
  })
  return decidable.length
}

function finish<M extends string>(
  audit: Omit<Audit<M>, 'comparisons' | 'verdict'>,
  comparisons: number,
): Audit<M> {
  const tested = audit.groups.flatMap(({ flips }) => flips?.mcnemar ?? [])
  holm(tested.map(({ p }) => p)).forEach((p, i) => {
    tested[i]!.adjustedP = p
  })
  for (const group of audit.groups) group.verdict = worst(verdictsOf(group))
  return { ...audit, comparisons, verdict: worst(audit.groups.flatMap(verdictsOf)) }
}

/** A group that no row belongs to takes no part in the verdict. */
function verdictsOf<M extends string>({ metrics, n }: GroupAudit<M>): Change['verdict'][] {
  if (n === 0) return []
  return Object.values<Change | undefined>(metrics).flatMap((change) => (change ? [change.verdict] : []))
}
