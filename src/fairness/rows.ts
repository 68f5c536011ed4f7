// What a metric sees: labels, answers, and perhaps scores and weights, as plain arrays that belong together.

import { ArgumentError, NonFiniteError, ShapeError } from '../errors'

/** A class, as it stands in the data. */
export type Label = string | number | boolean

/** Rows of a classifier or a regression and what is true of them. */
export interface Rows {
  /** What is true: classes, or numbers in a regression. */
  readonly labels: ArrayLike<Label>
  /** What the model answered. */
  readonly predictions: ArrayLike<Label>
  /** The model's probability (or any score) of the positive class. */
  readonly scores?: ArrayLike<number>
  /** How much each row counts. In a resample: how often it was drawn, times its own weight. */
  readonly weights?: ArrayLike<number>
  /** The class that "positive" means. */
  readonly positive: Label
  /** Every class of labels and predictions, ascending. */
  readonly classes: readonly Label[]
}

/** Numbers before words, each ascending. */
export function compareLabels(a: Label, b: Label): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a !== typeof b) return typeof a < typeof b ? -1 : 1
  return a < b ? -1 : a > b ? 1 : 0
}

/** The distinct values of one or several columns, ascending. */
export function classesOf(...columns: ArrayLike<Label>[]): Label[] {
  const found = new Set<Label>()
  for (const column of columns) for (let i = 0; i < column.length; i++) found.add(column[i]!)
  return [...found].sort(compareLabels)
}

/** Throws unless a column has one entry for each of the `size` rows that `counted` has. */
export function checkLength(
  name: string,
  column: ArrayLike<unknown>,
  size: number,
  counted = 'labels',
): void {
  if (column.length !== size) {
    throw new ShapeError(
      `${name} has ${column.length} rows and ${counted} ${size}; expected the same rows in the same order`,
    )
  }
}

/** Throws unless labels and predictions have the same length, at least 1, and no missing entry. */
export function checkAnswers(labels: ArrayLike<Label>, predictions: ArrayLike<Label>): void {
  checkLength('predictions', predictions, labels.length)
  if (labels.length === 0) throw new ArgumentError('labels: expected at least one row, got none')
  for (const [name, column] of Object.entries({ labels, predictions })) {
    for (let i = 0; i < column.length; i++) {
      const value: unknown = column[i]
      if (value === null || value === undefined || Number.isNaN(value)) {
        throw new ArgumentError(
          `${name}[${i}] is ${String(value)}; expected a class or a number in every row`,
        )
      }
    }
  }
}

/** Throws unless every score is a number of [0, 1] (or finite, where `probabilities` is false). */
export function checkScores(
  name: string,
  scores: ArrayLike<number>,
  size: number,
  probabilities = true,
): void {
  checkLength(name, scores, size)
  for (let i = 0; i < size; i++) {
    const score = scores[i]!
    if (!Number.isFinite(score))
      throw new NonFiniteError(`${name}[${i}] is ${score}; expected finite numbers`)
    if (probabilities && !(score >= 0 && score <= 1)) {
      throw new ArgumentError(
        `${name}[${i}] is ${score}; expected probabilities in [0, 1] (apply sigmoid or softmax to logits)`,
      )
    }
  }
}

/** Throws unless every weight is finite and at least 0, and one is above. */
export function checkWeights(weights: ArrayLike<number>, size: number): void {
  checkLength('weights', weights, size)
  let total = 0
  for (let i = 0; i < size; i++) {
    if (!(weights[i]! >= 0 && Number.isFinite(weights[i]))) {
      throw new ArgumentError(`weights[${i}] is ${weights[i]}; expected finite numbers of at least 0`)
    }
    total += weights[i]!
  }
  if (total === 0) throw new ArgumentError('weights: all are 0; expected at least one row to count')
}

/**
 * The positive class: the one asked for, or the larger of two (1 of 0 and 1, true of false, 1 of -1 and 1). With more
 * classes any serves those metrics that ask for none.
 */
export function positiveOf(classes: readonly Label[], positive?: Label): Label {
  if (positive === undefined) return classes.at(-1)!
  // A class may be absent from a sample, but a positive class of another type is a slip.
  if (!classes.includes(positive) && classes.every((one) => typeof one !== typeof positive)) {
    throw new ArgumentError(
      `positive is ${JSON.stringify(positive)}; the classes are ${classes
        .slice(0, 8)
        .map((one) => JSON.stringify(one))
        .join(', ')}`,
    )
  }
  return positive
}
