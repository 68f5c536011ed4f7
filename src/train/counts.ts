// Metrics that gather on the device, batch by batch, and are read once at the end.

import { ArgumentError, DTypeError, NonFiniteError, ShapeError } from '../errors'
import { ones, zeros } from '../tensor/create'
import { cast } from '../tensor/ops/cast'
import { add, ge, isfinite, logicalAnd, lt, mul, where } from '../tensor/ops/elementwise'
import { scatterAdd } from '../tensor/ops/indexing'
import { cat, stack } from '../tensor/ops/join'
import { all, argmax } from '../tensor/ops/reduce'
import { escapeScopes, noGrad } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { wilson } from '../fairness/statistics/proportion'
import { type ClassScores, classScores, rocAuc } from './scores'

export interface Classification extends ClassScores {
  /** Share of right answers. */
  accuracy: number
  /** 95 % Wilson interval of the accuracy. */
  interval: [low: number, high: number]
  correct: number
  count: number
  /** `confusion[label][answer]`: how often. */
  confusion: number[][]
}

/**
 * The confusion matrix of a classifier and what follows from it. Counts are exact up to 2^31 - 1.
 *
 * ```ts
 * const metrics = new ClassificationMetrics()
 * for await (const batch of batches(loader)) metrics.add(model.forward(batch.ids), batch.labels)
 * const { accuracy, f1, macroF1, confusion } = await metrics.result()
 * ```
 */
export class ClassificationMetrics {
  /** C x C counts, then the number of rows that are not finite, then of labels out of range. */
  #counts: Tensor | null = null
  #classes = 0

  /**
   * Counts the answers (the largest logit; ties: the lowest index) of logits [B, C] against labels [B] int32, without
   * reading either.
   */
  add(logits: Tensor, labels: Tensor): void {
    const [rows, classes] = logits.shape
    if (logits.ndim !== 2 || labels.ndim !== 1 || labels.shape[0] !== rows) {
      throw new ShapeError(
        `ClassificationMetrics.add: logits have shape ${formatShape(logits.shape)}, labels ${formatShape(labels.shape)}; expected [B, C] and [B]`,
      )
    }
    if (labels.dtype !== 'int32')
      throw new DTypeError(`ClassificationMetrics.add: labels must be int32, got ${labels.dtype}`)
    if (this.#counts && classes !== this.#classes) {
      throw new ShapeError(
        `ClassificationMetrics.add: logits of ${classes} classes after some of ${this.#classes}`,
      )
    }
    if (rows === 0) return
    this.#classes = classes
    const { device } = logits
    noGrad(() => {
      const cells = classes * classes + 2
      this.#counts ??= escapeScopes(zeros([cells], { dtype: 'int32', device }))
      const finite = all(isfinite(logits), 1)
      const known = logicalAnd(ge(labels, 0), lt(labels, classes))
      const answer = where(finite, add(mul(labels, classes), argmax(logits, 1)), cells - 2)
      // Whole numbers of one batch are exact in float32, the sum of many batches is not.
      const batch = scatterAdd(
        zeros([cells], { device }),
        0,
        where(known, answer, cells - 1),
        ones([rows], { device }),
      )
      this.#counts.copy_(add(this.#counts, cast(batch, 'int32')))
    })
  }

  /**
   * Reads the counts, once, and starts over.
   * @throws NonFiniteError if logits were NaN or infinite; ArgumentError for labels outside 0 … C - 1, and if nothing was added.
   */
  async result(): Promise<Classification> {
    const counts = this.#counts
    const size = this.#classes
    this.#counts = null
    const values = counts ? Array.from(await counts.data()) : [0, 0]
    counts?.dispose()
    const [bad, unknown] = values.slice(-2)
    if (unknown > 0) {
      throw new ArgumentError(
        `ClassificationMetrics: ${unknown} labels are out of range; the model has classes 0 to ${size - 1}`,
      )
    }
    if (bad > 0) {
      throw new NonFiniteError(
        `ClassificationMetrics: ${bad} answers of the model are not finite; its weights or inputs are not`,
      )
    }
    const confusion = Array.from({ length: counts ? size : 0 }, (_, c) =>
      values.slice(c * size, (c + 1) * size),
    )
    const count = confusion.flat().reduce((a, b) => a + b, 0)
    const correct = confusion.reduce((sum, row, c) => sum + row[c], 0)
    const interval = wilson(correct, count)
    return { accuracy: correct / count, interval, correct, count, confusion, ...classScores(confusion) }
  }
}

/** ROC-AUC over batches: keeps scores and labels on the device and reads them once, since ranks need all of them. */
export class RocAuc {
  #parts: Tensor[] = []

  /** Scores [B] (the higher, the more likely class 1; any scale) and labels [B], 0 or 1. */
  add(scores: Tensor, labels: Tensor): void {
    if (scores.ndim !== 1 || labels.ndim !== 1 || labels.size !== scores.size) {
      throw new ShapeError(
        `RocAuc.add: scores have shape ${formatShape(scores.shape)}, labels ${formatShape(labels.shape)}; expected [B] and [B]`,
      )
    }
    this.#parts.push(escapeScopes(noGrad(() => stack([cast(scores, 'float32'), cast(labels, 'float32')]))))
  }

  /**
   * Reads everything, once, and starts over; NaN where a class is missing.
   * @throws as `rocAuc`
   */
  async result(): Promise<number> {
    const parts = this.#parts
    this.#parts = []
    if (parts.length === 0) return Number.NaN
    const all = escapeScopes(noGrad(() => cat(parts, 1)))
    for (const part of parts) part.dispose()
    const values = await all.data()
    const n = all.shape[1]
    all.dispose()
    return rocAuc(values.subarray(0, n), values.subarray(n))
  }
}
