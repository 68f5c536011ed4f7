// Rates: each counts some rows (`hit`) among some rows (`among`). So a rate knows its support, resamples by counts, and
// says when it has none.

import { ArgumentError } from '../errors'
import type { Compat, Excluded, Measure } from './measure'
import type { Label, Rows } from './rows'
import { wilson } from './statistics/proportion'

/** Something to measure for each group. */
export interface Metric {
  readonly name: string
  /** Which way harm lies; without it a difference either way is one. */
  readonly better?: 'higher' | 'lower'
  /** `scores`: probabilities of the positive class are needed. `numbers`: labels and predictions are numbers. */
  readonly needs?: 'scores' | 'numbers'
  /** For a rate: which rows it is among, so that two models on the same rows can be compared pair by pair. */
  readonly rate?: Rate
  measure(rows: Rows): Measure
}

/** A rate's two questions about a row; `y` and `p` say whether label and prediction are the positive class. */
export interface Rate {
  /** What decides whether a row is counted at all. */
  readonly given: 'all' | 'label' | 'prediction'
  /** The class it is about, where that is not the rows' own positive class. */
  readonly positive?: Label
  among(y: boolean, p: boolean, right: boolean): boolean
  hit(y: boolean, p: boolean, right: boolean): boolean
}

/** What the other tools say of a rate among no rows. */
const WITHOUT_SUPPORT: Record<Compat, Record<Rate['given'], number>> = {
  fairlearn: { all: Number.NaN, label: 0, prediction: 0 },
  aif360: { all: Number.NaN, label: Number.NaN, prediction: 0 },
  aequitas: { all: Number.NaN, label: Number.NaN, prediction: Number.NaN },
}

/** The measure as another tool would give it: a number for a rate without support. */
export function conform(metric: Metric, measure: Measure, compat: Compat | undefined, rows: number): Measure {
  if (!compat || measure.value !== undefined) return measure
  // A group without rows is NaN to all three, whatever the rate.
  const value = metric.rate && rows > 0 ? WITHOUT_SUPPORT[compat][metric.rate.given] : Number.NaN
  return { ...measure, value }
}

const AMONG: Record<Rate['given'], string> = {
  all: 'no rows',
  label: 'no rows with such a label',
  prediction: 'no rows with such a prediction',
}

function rate(name: string, better: Metric['better'], counted: Rate): Metric {
  const measure = ({ labels, predictions, weights, positive }: Rows): Measure => {
    let k = 0
    let n = 0
    for (let i = 0; i < labels.length; i++) {
      const y = labels[i] === positive
      const p = predictions[i] === positive
      const right = labels[i] === predictions[i]
      if (!counted.among(y, p, right)) continue
      const weight = weights ? weights[i]! : 1
      n += weight
      if (counted.hit(y, p, right)) k += weight
    }
    if (n === 0) return { k, n, reason: `${name}: ${AMONG[counted.given]}` }
    return weights ? { value: k / n, k, n } : { value: k / n, k, n, interval: wilson(k, n) }
  }
  return { name, better, rate: counted, measure }
}

const everyRow = () => true
const isPositive = (y: boolean) => y
const isNegative = (y: boolean) => !y
const isChosen = (_: boolean, p: boolean) => p
const isPassedOver = (_: boolean, p: boolean) => !p
const isRight = (_y: boolean, _p: boolean, right: boolean) => right
const isWrong = (_y: boolean, _p: boolean, right: boolean) => !right

/** Share of right answers, over any number of classes. */
export const accuracy = rate('accuracy', 'higher', { given: 'all', among: everyRow, hit: isRight })
/** Share of wrong answers. */
export const errorRate = rate('error rate', 'lower', { given: 'all', among: everyRow, hit: isWrong })
/** Share of rows answered with the positive class: P(ŷ = 1). */
export const selectionRate = rate('selection rate', undefined, {
  given: 'all',
  among: everyRow,
  hit: isChosen,
})
/** Share of rows that are positive: P(y = 1), a property of the data. */
export const baseRate = rate('base rate', undefined, { given: 'all', among: everyRow, hit: isPositive })
/** P(ŷ = 1 | y = 1): recall, sensitivity. */
export const truePositiveRate = rate('true positive rate', 'higher', {
  given: 'label',
  among: isPositive,
  hit: isChosen,
})
/** P(ŷ = 0 | y = 0): specificity. */
export const trueNegativeRate = rate('true negative rate', 'higher', {
  given: 'label',
  among: isNegative,
  hit: isPassedOver,
})
/** P(ŷ = 1 | y = 0). */
export const falsePositiveRate = rate('false positive rate', 'lower', {
  given: 'label',
  among: isNegative,
  hit: isChosen,
})
/** P(ŷ = 0 | y = 1). */
export const falseNegativeRate = rate('false negative rate', 'lower', {
  given: 'label',
  among: isPositive,
  hit: isPassedOver,
})
/** P(y = 1 | ŷ = 1): positive predictive value. */
export const precision = rate('precision', 'higher', {
  given: 'prediction',
  among: isChosen,
  hit: isPositive,
})
/** P(y = 0 | ŷ = 0). */
export const negativePredictiveValue = rate('negative predictive value', 'higher', {
  given: 'prediction',
  among: isPassedOver,
  hit: isNegative,
})
/** P(y = 0 | ŷ = 1). */
export const falseDiscoveryRate = rate('false discovery rate', 'lower', {
  given: 'prediction',
  among: isChosen,
  hit: isNegative,
})
/** P(y = 1 | ŷ = 0). */
export const falseOmissionRate = rate('false omission rate', 'lower', {
  given: 'prediction',
  among: isPassedOver,
  hit: isPositive,
})

/** 2 tp / (2 tp + fp + fn); undefined where neither labels nor predictions have a positive. */
export const f1: Metric = {
  name: 'F1',
  better: 'higher',
  measure({ labels, predictions, weights, positive }) {
    let hits = 0
    let sum = 0
    for (let i = 0; i < labels.length; i++) {
      const weight = weights ? weights[i]! : 1
      const y = labels[i] === positive ? weight : 0
      const p = predictions[i] === positive ? weight : 0
      sum += y + p
      hits += Math.min(y, p)
    }
    if (sum === 0) return { n: 0, reason: 'F1: no row with a positive label or prediction' }
    return { value: (2 * hits) / sum, n: sum - hits }
  },
}

/** A metric with one class against all others: `oneVsRest(truePositiveRate, 'cat')` is the recall of cats. */
export function oneVsRest(metric: Metric, positive: Label): Metric {
  const { name, better, needs, rate } = metric
  return {
    name: `${name} (${String(positive)})`,
    better,
    needs,
    rate: rate && { ...rate, positive },
    measure: (rows) => metric.measure({ ...rows, positive }),
  }
}

/** The plain mean of a metric over all classes, each against the rest; classes without a value are left out and listed. */
export function macro(metric: Metric): Metric {
  return {
    name: `macro ${metric.name}`,
    better: metric.better,
    needs: metric.needs,
    measure(rows) {
      let sum = 0
      let defined = 0
      let n = 0
      const excluded: Excluded[] = []
      for (const positive of rows.classes) {
        const one = metric.measure({ ...rows, positive })
        n += one.n
        if (one.value === undefined) excluded.push({ name: String(positive), reason: one.reason!, n: one.n })
        else {
          sum += one.value
          defined++
        }
      }
      if (defined === 0) return { n, reason: `macro ${metric.name}: no class has a value`, excluded }
      return excluded.length > 0 ? { value: sum / defined, n, excluded } : { value: sum / defined, n }
    },
  }
}

/** Any measure of labels and predictions, as scikit-learn's: fn(labels, predictions, weights). */
export type MetricFunction = (
  labels: ArrayLike<Label>,
  predictions: ArrayLike<Label>,
  weights?: ArrayLike<number>,
) => number

/**
 * A metric from a function. One that takes three arguments has to weigh each row; one that takes two sees resampled rows
 * as often as they were drawn, and cannot serve rows with weights. NaN means undefined.
 */
export function customMetric(
  name: string,
  fn: MetricFunction,
  options: Pick<Metric, 'better' | 'needs'> = {},
): Metric {
  return {
    name,
    ...options,
    measure({ labels, predictions, weights }) {
      const n = weights ? Array.from(weights).reduce((sum, weight) => sum + weight, 0) : labels.length
      if (n === 0) return { n, reason: `${name}: no rows` }
      const value =
        weights && fn.length < 3
          ? fn(repeated(name, labels, weights), repeated(name, predictions, weights))
          : fn(labels, predictions, weights)
      return Number.isNaN(value) ? { n, reason: `${name}: not a number for these rows` } : { value, n }
    },
  }
}

function repeated(name: string, values: ArrayLike<Label>, weights: ArrayLike<number>): Label[] {
  return Array.from(values).flatMap((value, i) => {
    if (!Number.isInteger(weights[i])) {
      throw new ArgumentError(
        `${name}: the function takes no weights, but row ${i} has weight ${weights[i]}; give it a third argument`,
      )
    }
    return new Array<Label>(weights[i]!).fill(value)
  })
}
