// Fairness to the single person: are similar people answered alike, and would a swap of the group change the answer?

import { ArgumentError, NonFiniteError, ShapeError } from '../errors'
import type { Measure } from './measure'
import { checkAnswers, checkScores, type Label } from './rows'
import { wilson } from './statistics/proportion'

/** How neighbours are found. */
export interface ConsistencyOptions {
  /** Neighbours of each row. Default 5. */
  neighbors?: number
  /** AIF360's number: a row is its own first neighbour. */
  compat?: 'aif360'
}

/**
 * 1 - mean |prediction - mean prediction of the k nearest other rows|, by Euclidean distance (ties: the lower row). 1 is
 * perfect consistency. Scale the features first. Work grows with the square of the rows.
 * Zemel, Wu, Swersky, Pitassi and Dwork, "Learning fair representations", ICML 2013.
 *
 * @param features A row of numbers for each prediction.
 * @throws ShapeError for rows that do not fit; ArgumentError for fewer rows than neighbours; NonFiniteError.
 */
export function consistency(
  features: ArrayLike<ArrayLike<number>>,
  predictions: ArrayLike<number>,
  options: ConsistencyOptions = {},
): Measure {
  const { neighbors = 5, compat } = options
  const n = predictions.length
  if (features.length !== n)
    throw new ShapeError(`consistency: ${features.length} rows of features for ${n} predictions`)
  const others = n - (compat ? 0 : 1)
  if (!(Number.isInteger(neighbors) && neighbors >= 1 && neighbors <= others)) {
    throw new ArgumentError(
      `consistency: neighbors is ${neighbors}; expected an integer from 1 to ${others}, for ${n} rows`,
    )
  }
  const width = features[0]!.length
  const points = Float64Array.from(
    { length: n * width },
    (_, i) => features[Math.floor(i / width)]![i % width] ?? Number.NaN,
  )
  if (Array.from(features).some((row) => row.length !== width)) {
    throw new ShapeError(`consistency: rows of features differ in length; the first has ${width}`)
  }
  if (!points.every(Number.isFinite)) throw new NonFiniteError('consistency: a feature is not finite')
  let sum = 0
  for (let i = 0; i < n; i++) {
    const near: { row: number; distance: number }[] = []
    for (let j = 0; j < n; j++) {
      if (j === i && !compat) continue
      let distance = 0
      for (let d = 0; d < width; d++) distance += (points[i * width + d]! - points[j * width + d]!) ** 2
      if (near.length === neighbors && distance >= near.at(-1)!.distance) continue
      let at = near.length
      while (at > 0 && near[at - 1]!.distance > distance) at--
      near.splice(at, 0, { row: j, distance })
      if (near.length > neighbors) near.pop()
    }
    const around = near.reduce((total, { row }) => total + predictions[row]!, 0) / neighbors
    sum += Math.abs(predictions[i]! - around)
  }
  return { value: 1 - sum / n, n }
}

/** What swapping the group did to the answers. */
export interface CounterfactualFlips {
  /** Share of rows whose answer changed, with its Wilson interval. */
  flips: Measure
  /** Mean |score - score after the swap|; where scores were given. */
  shift?: number
  /** Rows whose answer changed. */
  rows: number[]
}

/**
 * Flip rate under a counterfactual: the same rows with their group terms swapped (names, pronouns, a column), answered again.
 * Garg et al., "Counterfactual fairness in text classification through robustness", AIES 2019. Give only rows that the swap
 * changes; the others cannot flip and would dilute the rate.
 * @throws ArgumentError, ShapeError or NonFiniteError for columns that do not fit.
 */
export function counterfactualFlips(options: {
  predictions: ArrayLike<Label>
  swapped: ArrayLike<Label>
  scores?: ArrayLike<number>
  swappedScores?: ArrayLike<number>
}): CounterfactualFlips {
  const { predictions, swapped, scores, swappedScores } = options
  checkAnswers(predictions, swapped)
  const n = predictions.length
  const rows: number[] = []
  for (let i = 0; i < n; i++) if (predictions[i] !== swapped[i]) rows.push(i)
  const flips: Measure = { value: rows.length / n, k: rows.length, n, interval: wilson(rows.length, n) }
  if (!scores && !swappedScores) return { flips, rows }
  if (!scores || !swappedScores)
    throw new ArgumentError('counterfactualFlips: give scores and swappedScores, or neither')
  checkScores('scores', scores, n, false)
  checkScores('swappedScores', swappedScores, n, false)
  let shift = 0
  for (let i = 0; i < n; i++) shift += Math.abs(scores[i]! - swappedScores[i]!) / n
  return { flips, shift, rows }
}
