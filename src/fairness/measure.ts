// A measured value, or why there is none; and what groups' values come to together. A rate without support is not 0: it is
// undefined, says so, and is left out of what is computed from it, by name.

import type { Interval } from './statistics/options'

/** Numbers as another tool would give them: fairlearn (0.15), AIF360 or aequitas. */
export type Compat = 'fairlearn' | 'aif360' | 'aequitas'

/** What was left out, and why. */
export interface Excluded {
  /** The group's (or the class's) name. */
  name: string
  reason: string
  /** Rows that would have supported the value. */
  n: number
}

/** A value of some rows. */
export interface Measure {
  /** Undefined where the rows do not support one; `reason` then says why. */
  value?: number
  reason?: string
  /** For a rate: how many of the `n` rows it counts hit (their weights, where rows have weights). */
  k?: number
  /** How many rows support the value (their weights, where rows have weights). */
  n: number
  /** For a rate of unweighted rows: its 95 % Wilson interval. */
  interval?: Interval
  /** For a mean over classes: those without a value. */
  excluded?: Excluded[]
}

/** One group's value. */
export interface NamedMeasure {
  name: string
  measure: Measure
}

/** What the values of several groups come to. */
export interface Comparison {
  /** Undefined where fewer groups than needed have a value; `reason` then says why. */
  value?: number
  reason?: string
  /** The group with the lowest and the one with the highest value. */
  low?: string
  high?: string
  /** Groups without a value, or with less than the minimum support. */
  excluded: Excluded[]
}

/** How groups are compared. */
export interface CompareOptions {
  /** `betweenGroups` (default): the largest pair. `toOverall`: the group farthest from the value of all rows. */
  compare?: 'betweenGroups' | 'toOverall'
}

/** What decides which groups count in an aggregate. */
export interface AggregateRules {
  minSupport: number
  compat?: Compat
}

interface Supported {
  values: { name: string; value: number }[]
  excluded: Excluded[]
}

function supported(groups: readonly NamedMeasure[], { minSupport, compat }: AggregateRules): Supported {
  const values: { name: string; value: number }[] = []
  const excluded: Excluded[] = []
  for (const { name, measure } of groups) {
    const { value, reason, n } = measure
    if (value === undefined || Number.isNaN(value))
      excluded.push({ name, reason: reason ?? 'not a number', n })
    else if (!compat && n < minSupport) {
      excluded.push({ name, reason: `supported by ${n} rows; the minimum is ${minSupport}`, n })
    } else values.push({ name, value })
  }
  return { values, excluded }
}

function extremes(values: { name: string; value: number }[]): {
  low: string
  high: string
  min: number
  max: number
} {
  let low = values[0]!
  let high = values[0]!
  for (const one of values) {
    if (one.value < low.value) low = one
    if (one.value > high.value) high = one
  }
  return { low: low.name, high: high.name, min: low.value, max: high.value }
}

/** The lowest (or highest) value of the groups. */
export function extremeOf(
  which: 'min' | 'max',
  groups: readonly NamedMeasure[],
  rules: AggregateRules,
): Comparison {
  const { values, excluded } = supported(groups, rules)
  if (values.length === 0) return { reason: 'no group has a value', excluded }
  const { low, high, min, max } = extremes(values)
  return { value: which === 'min' ? min : max, low, high, excluded }
}

/** Compares the values there are, between groups or each to `base`, the overall one, where they are enough for that. */
function compared(
  groups: readonly NamedMeasure[],
  overall: Measure,
  { compare }: CompareOptions,
  rules: AggregateRules,
  say: (values: readonly number[], base?: number) => Pick<Comparison, 'value' | 'reason'>,
): Comparison {
  const { values, excluded } = supported(groups, rules)
  if (values.length === 0) return { reason: 'no group has a value', excluded }
  const toOverall = compare === 'toOverall'
  if (toOverall && overall.value === undefined) return { reason: `overall: ${overall.reason}`, excluded }
  if (!toOverall && values.length === 1 && !rules.compat)
    return { reason: 'only one group has a value; a comparison needs two', excluded }
  const { low, high, min, max } = extremes(values)
  return { ...say([min, max], toOverall ? overall.value : undefined), low, high, excluded }
}

/** The largest difference of the groups' values, never negative. */
export function differenceOf(
  groups: readonly NamedMeasure[],
  overall: Measure,
  options: CompareOptions,
  rules: AggregateRules,
): Comparison {
  return compared(groups, overall, options, rules, ([min, max], base) => ({
    value: base === undefined ? max - min : Math.max(Math.abs(max - base), Math.abs(min - base)),
  }))
}

/** The smallest ratio of the groups' values, at most 1. 0/0 is undefined; `compat` gives NaN. */
export function ratioOf(
  groups: readonly NamedMeasure[],
  overall: Measure,
  options: CompareOptions,
  rules: AggregateRules,
): Comparison {
  return compared(groups, overall, options, rules, (values, base) => {
    const ratios = base === undefined ? [values[0] / values[1]] : values.map((value) => value / base)
    const small = ratios
      .map((ratio) => (ratio > 1 ? 1 / ratio : ratio))
      .filter((ratio) => !Number.isNaN(ratio))
    if (small.length > 0) return { value: Math.min(...small) }
    if (rules.compat) return { value: Number.NaN }
    return { reason: base === undefined ? '0/0: all values are 0' : '0/0: the overall value is 0' }
  })
}
