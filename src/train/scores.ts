// Scores of classifiers from plain numbers: precision, recall and F1 from a confusion matrix, ROC-AUC from ranks.

import { ArgumentError, NonFiniteError } from '../errors'

/** By class; NaN where there is nothing to divide by. */
export interface ClassScores {
  /** Share of the answers of a class that are right. */
  precision: number[]
  /** Share of a class's examples that are found. */
  recall: number[]
  /** Harmonic mean of the two, 2 TP / (2 TP + FP + FN); of a binary classifier `f1[1]` is what is usually meant. */
  f1: number[]
  /** Mean of `f1` over the classes that occur among labels or answers. */
  macroF1: number
}

/** Scores from `confusion[label][answer]`. */
export function classScores(confusion: readonly (readonly number[])[]): ClassScores {
  const hits = confusion.map((row, c) => row[c])
  const labels = confusion.map((row) => row.reduce((a, b) => a + b, 0))
  const answers = confusion.map((_, c) => confusion.reduce((sum, row) => sum + row[c], 0))
  const f1 = hits.map((hit, c) => (2 * hit) / (labels[c] + answers[c]))
  const known = f1.filter((value) => !Number.isNaN(value))
  return {
    precision: hits.map((hit, c) => hit / answers[c]),
    recall: hits.map((hit, c) => hit / labels[c]),
    f1,
    macroF1: known.reduce((a, b) => a + b, 0) / known.length,
  }
}

/**
 * Area under the ROC curve: the share of pairs of a positive (label 1) and a negative (label 0) in which the positive has
 * the higher score, ties counting half. Exact, by the ranks (Mann-Whitney). NaN where either class is missing.
 * @throws ArgumentError for other labels or lengths; NonFiniteError for NaN among the scores.
 */
export function rocAuc(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const n = scores.length
  if (labels.length !== n)
    throw new ArgumentError(`rocAuc: ${n} scores and ${labels.length} labels; expected as many of both`)
  for (let i = 0; i < n; i++) {
    if (labels[i] !== 0 && labels[i] !== 1)
      throw new ArgumentError(`rocAuc: label ${labels[i]}; expected 0 or 1`)
    if (Number.isNaN(scores[i])) throw new NonFiniteError(`rocAuc: score ${i} is NaN`)
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => compare(scores[a], scores[b]))
  let positives = 0
  let rankSum = 0
  for (let start = 0; start < n; ) {
    let end = start
    let hits = 0
    for (; end < n && scores[order[end]] === scores[order[start]]; end++) hits += labels[order[end]]
    // Ranks count from 1; equal scores share the mean of theirs.
    rankSum += (hits * (start + 1 + end)) / 2
    positives += hits
    start = end
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * (n - positives))
}

/** Not a difference: infinite scores are allowed. */
function compare(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0
}
