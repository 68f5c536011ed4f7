// How good a classifier is, and how sure one can be: accuracy, loss and confusion counts in one pass, and an
// interval for every share.

import type { Batch } from '../data/batches'
import { batches } from '../data/batches'
import type { DataLoader } from '../data/loader'
import { ArgumentError, NonFiniteError, ShapeError } from '../errors'
import { wilson } from '../fairness/statistics/proportion'
import type { Module } from '../nn/module'
import { noGrad } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { type ClassScores, classScores } from './scores'

/** What {@link evaluateClassifier} finds. */
export interface Evaluation extends ClassScores {
  /** Share of right answers. */
  accuracy: number
  /** 95 % Wilson interval of the accuracy. */
  interval: [low: number, high: number]
  correct: number
  count: number
  /** Mean cross-entropy in nats, summed in float64. */
  loss: number
  /** `confusion[label][answer]`: how often. */
  confusion: number[][]
}

/** Runs `fn` with the model in evaluation mode and nothing recorded; the mode of every layer is restored. */
export async function inEvalMode<R>(model: Module, fn: () => Promise<R>): Promise<R> {
  const modes = model.modules().map((module) => [module, module.training] as const)
  model.eval()
  try {
    return await noGrad(fn)
  } finally {
    for (const [module, training] of modes) module.training = training
  }
}

/**
 * Classifies every batch of a loader (from its first batch on) with the model in evaluation mode: `logits` gives
 * [B, C] for a batch, the answer is the largest one (ties: the lowest index).
 *
 * ```ts
 * const { accuracy, interval } = await evaluateClassifier({ model, loader, logits: (b) => model.forward(b.ids) })
 * ```
 * @throws NonFiniteError for logits that are NaN or infinite; ArgumentError for labels outside 0 … C - 1.
 */
export function evaluateClassifier(options: {
  model: Module
  loader: DataLoader
  logits: (batch: Batch) => Tensor
}): Promise<Evaluation> {
  const { model, loader, logits } = options
  return inEvalMode(model, async () => {
    const tally = new Tally()
    loader.setEpoch(0)
    // One batch behind: the device computes the next one while this one is read.
    let last: Promise<void> | null = null
    const device = model.parameters()[0]?.device
    for await (const batch of batches(loader, device ? { device } : {})) {
      const scores = noGrad(() => logits(batch))
      const next = read(scores, batch.labels.size).then((values) => tally.add(values, batch.host.labels))
      next.catch(() => {}) // thrown by the await below, unless the loop ends before
      await last
      last = next
    }
    await last
    return tally.result()
  })
}

async function read(logits: Tensor, rows: number): Promise<{ values: ArrayLike<number>; classes: number }> {
  try {
    if (logits.ndim !== 2 || logits.shape[0] !== rows) {
      throw new ShapeError(
        `evaluateClassifier: logits have shape ${formatShape(logits.shape)}; expected [${rows}, number of classes]`,
      )
    }
    return { values: await logits.data(), classes: logits.shape[1] }
  } finally {
    logits.dispose()
  }
}

class Tally {
  #confusion: number[][] = []
  #loss = 0

  add({ values, classes }: { values: ArrayLike<number>; classes: number }, labels: Int32Array): void {
    if (this.#confusion.length === 0) {
      this.#confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
    }
    labels.forEach((label, row) => {
      if (!(label >= 0 && label < classes)) {
        throw new ArgumentError(
          `evaluateClassifier: label ${label}; the model has classes 0 to ${classes - 1}`,
        )
      }
      const scores = Array.from({ length: classes }, (_, c) => values[row * classes + c])
      if (!scores.every(Number.isFinite)) {
        throw new NonFiniteError(
          `evaluateClassifier: the model answers ${scores.join(', ')}; its weights or inputs are not finite`,
        )
      }
      const top = Math.max(...scores)
      this.#loss += top + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0)) - scores[label]
      this.#confusion[label][scores.indexOf(top)]++
    })
  }

  result(): Evaluation {
    const confusion = this.#confusion
    const count = confusion.flat().reduce((a, b) => a + b, 0)
    const correct = confusion.reduce((sum, row, i) => sum + row[i], 0)
    return {
      accuracy: correct / count,
      interval: wilson(correct, count),
      correct,
      count,
      loss: this.#loss / count,
      confusion,
      ...classScores(confusion),
    }
  }
}
