// The parities by name. Each is a comparison of groups' rates and comes with what it left out; with `intervals`, also with
// bootstrap intervals, of a largest difference or of equalized odds' larger of two as much as of a rate.

import { ArgumentError } from '../errors'
import type { GroupColumn } from './groups'
import type { CompareOptions, Comparison, Compat, Measure } from './measure'
import { type Estimate, MetricFrame } from './metric-frame'
import {
  accuracy,
  errorRate,
  falsePositiveRate,
  type Metric,
  precision,
  selectionRate,
  truePositiveRate,
} from './metrics'
import type { Label } from './rows'
import type { ResampleOptions } from './statistics/bootstrap'
import type { Interval } from './statistics/options'
import type { Table } from './table'

/** What a parity compares. */
export interface ParityOptions extends CompareOptions {
  labels: ArrayLike<Label>
  predictions: ArrayLike<Label>
  /** One sensitive column, or several by name: then their intersections are compared. */
  groups: GroupColumn | Record<string, GroupColumn>
  weights?: ArrayLike<number>
  /** The class that "positive" means; by default the larger of two. */
  positive?: Label
  /** Groups whose rate has fewer supporting rows are left out and listed. Default 1. */
  minSupport?: number
  compat?: Compat
  /** How to bootstrap; without it there are no intervals. */
  intervals?: ResampleOptions
}

/** A comparison, and how sure it is. */
export interface ParityValue extends Comparison {
  interval?: Interval
}

/** Groups compared by one rate. */
export interface Parity {
  /** Largest difference between groups (or to all rows). 0 is parity. */
  difference: ParityValue
  /** Smallest ratio between groups (or to all rows). 1 is parity. */
  ratio: ParityValue
  byGroup: { name: string; measure: Measure }[]
}

function frameOf<M extends string>(metrics: Record<M, Metric>, options: ParityOptions): MetricFrame<M> {
  const { groups, compare: _, intervals: __, ...rest } = options
  const columns = isColumn(groups) ? { group: groups } : groups
  if (Object.keys(columns).length === 0)
    throw new ArgumentError('groups: expected at least one sensitive column')
  return new MetricFrame({ metrics, groups: columns, ...rest })
}

function isColumn(groups: ParityOptions['groups']): groups is GroupColumn {
  return typeof groups.length === 'number'
}

function parity(metric: Metric, options: ParityOptions): Parity {
  const frame = frameOf({ metric }, options)
  const table = frame.table()
  const [difference, ratio] = sure(frame, options, (one) => [
    one.difference('metric', options),
    one.ratio('metric', options),
  ])
  return { difference: difference!, ratio: ratio!, byGroup: table.values('metric') }
}

/** Comparisons with their bootstrap intervals, if those are asked for. */
function sure<M extends string>(
  frame: MetricFrame<M>,
  { intervals }: ParityOptions,
  compare: (table: Table<M>) => Comparison[],
): ParityValue[] {
  const found = compare(frame.table())
  if (!intervals) return found
  const estimates: Estimate[] = frame.resample(intervals, (table) => compare(table).map(({ value }) => value))
  return found.map((one, i) => ({ ...one, interval: estimates[i]!.interval }))
}

/** Demographic (statistical) parity: equal shares answered with the positive class. */
export function demographicParity(options: ParityOptions): Parity {
  return parity(selectionRate, options)
}

/** Equal opportunity: equal true positive rates. Hardt, Price and Srebro, NeurIPS 2016. */
export function equalOpportunity(options: ParityOptions): Parity {
  return parity(truePositiveRate, options)
}

/** Predictive parity: equal precision. A. Chouldechova, Big Data 5 (2017), 153-163. */
export function predictiveParity(options: ParityOptions): Parity {
  return parity(precision, options)
}

/** Equal accuracy; over any number of classes. */
export function accuracyParity(options: ParityOptions): Parity {
  return parity(accuracy, options)
}

/** Equal error rates; over any number of classes. */
export function errorRateParity(options: ParityOptions): Parity {
  return parity(errorRate, options)
}

/** What {@link equalizedOdds} finds. */
export interface EqualizedOdds {
  /** The larger of the two rates' differences, and the smaller of their ratios: the worst case. */
  difference: ParityValue
  ratio: ParityValue
  /** The means of the two. */
  meanDifference: ParityValue
  meanRatio: ParityValue
  truePositiveRate: Parity
  falsePositiveRate: Parity
}

/** Python's max and min over two numbers: the second counts only where it compares, so NaN depends on the order. */
function pythonExtreme(which: 'max' | 'min', first: number, second: number): number {
  return (which === 'max' ? second > first : second < first) ? second : first
}

function combine(
  how: 'max' | 'min' | 'mean',
  named: readonly (readonly [string, Comparison])[],
  compat: Compat | undefined,
): Comparison {
  const excluded = named.flatMap(([rate, { excluded }]) =>
    excluded.map((one) => ({ ...one, name: `${one.name} (${rate})` })),
  )
  if (compat && how !== 'mean') {
    const [first, second] = named.map(([, { value }]) => value ?? Number.NaN)
    return { value: pythonExtreme(how, first!, second!), excluded }
  }
  const defined = named.filter(([, { value }]) => value !== undefined && !Number.isNaN(value))
  for (const [name, { reason }] of named) if (reason) excluded.push({ name, reason, n: 0 })
  if (defined.length === 0) {
    return compat ? { value: Number.NaN, excluded } : { reason: 'neither rate can be compared', excluded }
  }
  const values = defined.map(([, { value }]) => value!)
  const value =
    how === 'mean' ? values.reduce((sum, one) => sum + one, 0) / values.length : Math[how](...values)
  const decisive = how === 'mean' ? undefined : defined.find(([, one]) => one.value === value)![1]
  return { value, low: decisive?.low, high: decisive?.high, excluded }
}

/**
 * Equalized odds: equal true positive *and* equal false positive rates. Hardt, Price and Srebro, "Equality of opportunity in
 * supervised learning", NeurIPS 2016. A rate that no two groups have is left out of the worst case and listed.
 */
export function equalizedOdds(options: ParityOptions): EqualizedOdds {
  const frame = frameOf({ tpr: truePositiveRate, fpr: falsePositiveRate }, options)
  const { compat } = options
  const compare = (table: Table<'tpr' | 'fpr'>): Comparison[] => {
    const pair = (of: (metric: 'tpr' | 'fpr') => Comparison) =>
      [
        [truePositiveRate.name, of('tpr')],
        [falsePositiveRate.name, of('fpr')],
      ] as const
    const differences = pair((metric) => table.difference(metric, options))
    const ratios = pair((metric) => table.ratio(metric, options))
    return [
      combine('max', differences, compat),
      combine('min', ratios, compat),
      combine('mean', differences, compat),
      combine('mean', ratios, compat),
      differences[0][1],
      ratios[0][1],
      differences[1][1],
      ratios[1][1],
    ]
  }
  const found = sure(frame, options, compare)
  const table = frame.table()
  return {
    difference: found[0]!,
    ratio: found[1]!,
    meanDifference: found[2]!,
    meanRatio: found[3]!,
    truePositiveRate: { difference: found[4]!, ratio: found[5]!, byGroup: table.values('tpr') },
    falsePositiveRate: { difference: found[6]!, ratio: found[7]!, byGroup: table.values('fpr') },
  }
}

/** A group's odds held against a reference group's. */
export interface AverageOdds {
  name: string
  reference: string
  /** ½ [(FPR - FPR of the reference) + (TPR - TPR of the reference)]: signed, so that the two may cancel. */
  difference?: number
  /** ½ [|FPR - FPR of the reference| + |TPR - TPR of the reference|]. */
  absolute?: number
  reason?: string
}

/**
 * Average odds of each group against a reference group (AIF360's: unprivileged minus privileged).
 * @param options `reference`: a group's name, or `majority` (default).
 */
export function averageOdds(options: ParityOptions & { reference?: string }): AverageOdds[] {
  const { reference, ...rest } = options
  const frame = frameOf({ tpr: truePositiveRate, fpr: falsePositiveRate }, rest)
  const { tpr, fpr } = frame.toReference({ reference })
  return tpr.map((up, i) => {
    const down = fpr[i]!
    const { name, reference: held } = up
    if (up.difference === undefined || down.difference === undefined) {
      return { name, reference: held, reason: up.reason ?? down.reason }
    }
    return {
      name,
      reference: held,
      difference: (up.difference + down.difference) / 2,
      absolute: (Math.abs(up.difference) + Math.abs(down.difference)) / 2,
    }
  })
}
