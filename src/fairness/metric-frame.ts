// Metrics, group by group: fairlearn's MetricFrame (Bird et al., "Fairlearn", MSR-TR-2020-32), with intervals, with classes
// always among the groups, and with "undefined" where another tool says 0.

import { ArgumentError } from '../errors'
import { type Group, type GroupColumn, type Partition, partitionsOf } from './groups'
import type { CompareOptions, Comparison, Compat, Measure } from './measure'
import { type Metric, type MetricFunction, customMetric } from './metrics'
import { checkAnswers, checkScores, checkWeights, classesOf, type Label, positiveOf, type Rows } from './rows'
import { bootstrapAll, type ResampleOptions } from './statistics/bootstrap'
import { checkAtLeast, type Interval } from './statistics/options'
import { Resampler, type Table, take, tableOf } from './table'

/** The name of the partition by labels. */
export const BY_CLASS = 'class'

/** What a {@link MetricFrame} measures, and on what. */
export interface MetricFrameOptions<M extends string> {
  /** By the names that the results go by: `{ accuracy, recall: truePositiveRate, mine: (y, p) => … }`. */
  metrics: Record<M, Metric | MetricFunction>
  labels: ArrayLike<Label>
  predictions: ArrayLike<Label>
  /** Probabilities of the positive class (or any score, for metrics that only rank). */
  scores?: ArrayLike<number>
  weights?: ArrayLike<number>
  /** The class that "positive" means; by default the larger of two. */
  positive?: Label
  /** Sensitive columns; a missing value is a group of its own. Without any, the classes are the groups. */
  groups?: Record<string, GroupColumn>
  /** Columns that may rightly make a difference: each of their levels gets a frame of its own, `strata`. */
  control?: Record<string, GroupColumn>
  /** Fewer supporting rows than this, and a group is left out of aggregates (and listed). Default 1. */
  minSupport?: number
  /** `regression`: labels are numbers, not classes, so there are no groups by class. Default `classification`. */
  task?: 'classification' | 'regression'
  /** Numbers as another tool would give them; for comparison only. */
  compat?: Compat
}

/** One group and its values. */
export interface GroupMeasures<M extends string> {
  /** `sex=f, age=old`. */
  name: string
  levels: Record<string, string>
  /** Rows in the group. */
  n: number
  values: Record<M, Measure>
}

/** A value and what resampling says of it. */
export interface Estimate {
  value?: number
  /** Undefined where there is no value, or where more than 5 % of the resamples had none. */
  interval?: Interval
  standardError?: number
  undefinedResamples: number
}

/** Bootstrap intervals of everything in a frame. */
export interface FrameIntervals<M extends string> {
  overall: Record<M, Estimate>
  byGroup: { name: string; values: Record<M, Estimate> }[]
  difference: Record<M, Estimate>
  ratio: Record<M, Estimate>
  groupMin: Record<M, Estimate>
  groupMax: Record<M, Estimate>
}

/** Which groups, and how they are compared. */
export interface FrameQuery extends CompareOptions {
  /** A name of `partitions`; by default the intersection of all sensitive columns. */
  of?: string
}

/** Which value the others are held against. */
export interface ReferenceQuery {
  of?: string
  /** A group's name, `majority` (the most rows; default) or `min` (the lowest value of each metric). */
  reference?: string
  /** A group is within tolerance where its ratio lies in [tolerance, 1 / tolerance]. Default 0.8. */
  tolerance?: number
}

/** A group held against the reference. */
export interface ReferenceComparison {
  name: string
  reference: string
  /** Its value minus the reference's. */
  difference?: number
  /** Its value over the reference's; with `compat: 'aequitas'` x/0 is 10. */
  ratio?: number
  withinTolerance?: boolean
  reason?: string
}

/**
 * Any metrics for all rows and for each group. Groups are the levels of sensitive columns, their intersections (also those
 * without a row) and, in any case, the classes themselves.
 *
 * ```ts
 * const frame = new MetricFrame({ metrics: { accuracy, truePositiveRate }, labels, predictions, groups: { sex, age } })
 * frame.difference().truePositiveRate // { value, low: 'sex=f, age=old', high: …, excluded: [] }
 * ```
 * @throws ArgumentError, ShapeError or NonFiniteError for columns that do not fit, and for missing labels or predictions.
 */
export class MetricFrame<M extends string> {
  /** Names for `of`: the intersection of the sensitive columns, each of them, 'class'. */
  readonly partitions: readonly string[]
  /** A frame for each combination of control levels that has rows; none without control columns. */
  readonly strata: readonly { levels: Record<string, string>; frame: MetricFrame<M> }[]
  readonly #metrics: Record<M, Metric>
  readonly #rows: Rows
  readonly #partitions: Partition[]
  readonly #rules: { minSupport: number; compat?: Compat }
  readonly #tables = new Map<string, Table<M>>()

  constructor(options: MetricFrameOptions<M>) {
    const {
      labels,
      predictions,
      scores,
      weights,
      groups = {},
      control = {},
      minSupport = 1,
      compat,
    } = options
    checkAnswers(labels, predictions)
    const size = labels.length
    if (scores) checkScores('scores', scores, size, false)
    if (weights) checkWeights(weights, size)
    checkAtLeast('MetricFrame', 'minSupport', minSupport, 0)
    this.#metrics = asMetrics(options.metrics)
    const classes = classesOf(labels, predictions)
    this.#rows = {
      labels,
      predictions,
      scores,
      weights,
      classes,
      positive: positiveOf(classes, options.positive),
    }
    for (const metric of Object.values<Metric>(this.#metrics)) {
      if (metric.needs === 'scores' && !scores) {
        throw new ArgumentError(
          `${metric.name} needs scores: the model's probability of the positive class for each row`,
        )
      }
    }
    if (BY_CLASS in groups)
      throw new ArgumentError(`groups: '${BY_CLASS}' is the name of the groups by label; choose another`)
    const byClass: Record<string, GroupColumn> = options.task === 'regression' ? {} : { [BY_CLASS]: labels }
    this.#partitions = [...partitionsOf(groups, size), ...partitionsOf(byClass, size)]
    if (this.#partitions.length === 0)
      throw new ArgumentError('groups: a regression needs at least one sensitive column')
    this.partitions = this.#partitions.map(({ name }) => name)
    this.#rules = { minSupport, compat }
    this.strata = strataOf(options, control, size)
  }

  #partition(of = this.partitions[0]!): Partition {
    const found = this.#partitions.find(({ name }) => name === of)
    if (!found) throw new ArgumentError(`of is '${of}'; expected one of ${this.partitions.join(', ')}`)
    return found
  }

  #table(of?: string): Table<M> {
    const partition = this.#partition(of)
    let table = this.#tables.get(partition.name)
    if (!table) {
      table = tableOf(this.#metrics, this.#rows, partition, this.#rules)
      this.#tables.set(partition.name, table)
    }
    return table
  }

  #each<R>(of: (metric: M) => R): Record<M, R> {
    return Object.fromEntries((Object.keys(this.#metrics) as M[]).map((name) => [name, of(name)])) as Record<
      M,
      R
    >
  }

  /** Each metric of all rows. */
  get overall(): Record<M, Measure> {
    return this.#table().overall
  }

  /** Each metric of each group of the sensitive columns' intersection; of the classes without sensitive columns. */
  get byGroup(): GroupMeasures<M>[] {
    return this.by(this.partitions[0]!)
  }

  /** As `byGroup`, for another of the `partitions`, such as 'class'. */
  by(partition: string): GroupMeasures<M>[] {
    return this.#table(partition).groups.map(({ group, values }) => ({
      name: group.name,
      levels: group.levels,
      n: group.rows.length,
      values,
    }))
  }

  /** The largest difference between two groups, or from a group to all rows. */
  difference(query: FrameQuery = {}): Record<M, Comparison> {
    return this.#each((metric) => this.#table(query.of).difference(metric, query))
  }

  /** The smallest ratio of two groups (the lowest over the highest), or of a group and all rows; at most 1. */
  ratio(query: FrameQuery = {}): Record<M, Comparison> {
    return this.#each((metric) => this.#table(query.of).ratio(metric, query))
  }

  /** The lowest value of any group. */
  groupMin(query: Pick<FrameQuery, 'of'> = {}): Record<M, Comparison> {
    return this.#each((metric) => this.#table(query.of).extreme('min', metric))
  }

  /** The highest value of any group. */
  groupMax(query: Pick<FrameQuery, 'of'> = {}): Record<M, Comparison> {
    return this.#each((metric) => this.#table(query.of).extreme('max', metric))
  }

  /** Every group held against one: aequitas's disparities, and AIF360's (un)privileged differences and ratios. */
  toReference(query: ReferenceQuery = {}): Record<M, ReferenceComparison[]> {
    const { reference = 'majority', tolerance = 0.8 } = query
    const { groups } = this.#table(query.of)
    return this.#each((metric) => {
      const held = referenceGroup(groups, metric, reference)
      return groups.map(({ group, values }) =>
        compareTo(
          group.name,
          values[metric],
          held.group.name,
          held.values[metric],
          tolerance,
          this.#rules.compat,
        ),
      )
    })
  }

  /**
   * Bootstrap intervals of all of the above. The rows of each group are drawn anew on their own, so that sizes stay; rows
   * that are equal are drawn by counts.
   */
  intervals(options: FrameQuery & ResampleOptions = {}): FrameIntervals<M> {
    const names = Object.keys(this.#metrics) as M[]
    const groups = this.#partition(options.of).groups
    const found = this.resample(options, (table) =>
      names.flatMap((name) => [
        table.overall[name].value,
        table.difference(name, options).value,
        table.ratio(name, options).value,
        table.extreme('min', name).value,
        table.extreme('max', name).value,
        ...table.groups.map(({ values }) => values[name].value),
      ]),
    )
    const per = 5 + groups.length
    const at = (offset: number) => this.#each((name) => found[names.indexOf(name) * per + offset]!)
    return {
      overall: at(0),
      difference: at(1),
      ratio: at(2),
      groupMin: at(3),
      groupMax: at(4),
      byGroup: groups.map(({ name }, i) => ({ name, values: at(5 + i) })),
    }
  }

  /** Bootstrap of any numbers that follow from a table of groups. @internal */
  resample(
    options: FrameQuery & ResampleOptions,
    statistics: (table: Table<M>) => (number | undefined)[],
  ): Estimate[] {
    const sampler = new Resampler(this.#metrics, [this.#rows], this.#partition(options.of), this.#rules)
    const results = bootstrapAll((drawn) => statistics(sampler.tables(drawn)[0]!), {
      ...options,
      ...sampler.draw,
    })
    return results.map(({ values: _, ...estimate }) => estimate)
  }

  /** The table that every answer comes from. @internal */
  table(of?: string): Table<M> {
    return this.#table(of)
  }
}

function asMetrics<M extends string>(metrics: Record<M, Metric | MetricFunction>): Record<M, Metric> {
  const entries = Object.entries<Metric | MetricFunction>(metrics)
  if (entries.length === 0) throw new ArgumentError('metrics: expected at least one, such as { accuracy }')
  return Object.fromEntries(
    entries.map(([name, metric]) => [
      name,
      typeof metric === 'function' ? customMetric(name, metric) : metric,
    ]),
  ) as Record<M, Metric>
}

function strataOf<M extends string>(
  options: MetricFrameOptions<M>,
  control: Record<string, GroupColumn>,
  size: number,
): { levels: Record<string, string>; frame: MetricFrame<M> }[] {
  const partition = partitionsOf(control, size)[0]
  if (!partition) return []
  const { labels, predictions, scores, weights, groups = {} } = options
  const positive = options.positive ?? positiveOf(classesOf(labels, predictions))
  return partition.groups
    .filter(({ rows }) => rows.length > 0)
    .map(({ rows, levels }) => ({
      levels,
      frame: new MetricFrame({
        ...options,
        positive,
        control: {},
        labels: take(labels, rows),
        predictions: take(predictions, rows),
        scores: scores && take(scores, rows),
        weights: weights && take(weights, rows),
        groups: Object.fromEntries(
          Object.entries(groups).map(([name, column]) => [name, take(column, rows)]),
        ),
      }),
    }))
}

type Row<M extends string> = { group: Group; values: Record<M, Measure> }

function referenceGroup<M extends string>(groups: readonly Row<M>[], metric: M, reference: string): Row<M> {
  if (reference === 'majority') {
    return groups.reduce((best, one) => (one.group.rows.length > best.group.rows.length ? one : best))
  }
  if (reference === 'min') {
    const value = ({ values }: Row<M>) => values[metric].value ?? Number.NaN
    return groups.reduce((best, one) => (value(one) < value(best) || Number.isNaN(value(best)) ? one : best))
  }
  const found = groups.find(({ group }) => group.name === reference)
  if (found) return found
  const names = groups.map(({ group }) => group.name).join('; ')
  throw new ArgumentError(`reference is '${reference}'; expected 'majority', 'min' or a group: ${names}`)
}

function compareTo(
  name: string,
  own: Measure,
  reference: string,
  other: Measure,
  tolerance: number,
  compat?: Compat,
): ReferenceComparison {
  if (own.value === undefined || other.value === undefined) {
    return { name, reference, reason: own.reason ?? `reference: ${other.reason}` }
  }
  const difference = own.value - other.value
  const ratio = own.value / other.value
  if (compat) {
    const capped = compat === 'aequitas' && ratio === Infinity ? 10 : ratio
    const withinTolerance = Number.isNaN(capped) ? undefined : capped >= tolerance && capped <= 1 / tolerance
    return { name, reference, difference, ratio: capped, withinTolerance }
  }
  if (other.value === 0)
    return { name, reference, difference, reason: `the reference's value is 0: no ratio` }
  return { name, reference, difference, ratio, withinTolerance: ratio >= tolerance && ratio <= 1 / tolerance }
}
