// Measures of predicted numbers.

import { ArgumentError } from '../errors'
import type { Metric } from './metrics'

/** A weighted mean of something of each row, and perhaps a last step. */
function meanOf(
  name: string,
  better: Metric['better'],
  of: (y: number, p: number) => number,
  finish: (mean: number) => number = (mean) => mean,
): Metric {
  return {
    name,
    better,
    needs: 'numbers',
    measure({ labels, predictions, weights }) {
      let sum = 0
      let n = 0
      for (let i = 0; i < labels.length; i++) {
        const y = labels[i]
        const p = predictions[i]
        if (typeof y !== 'number' || typeof p !== 'number') {
          throw new ArgumentError(
            `${name}: row ${i} has label ${String(y)} and prediction ${String(p)}; expected numbers`,
          )
        }
        const weight = weights ? weights[i]! : 1
        n += weight
        if (weight > 0) sum += weight * of(y, p)
      }
      return n === 0 ? { n, reason: `${name}: no rows` } : { value: finish(sum / n), n }
    },
  }
}

/** Mean of (prediction - label)². */
export const meanSquaredError = meanOf('mean squared error', 'lower', (y, p) => (p - y) ** 2)
/** Square root of the mean squared error, in the label's unit. */
export const rootMeanSquaredError = meanOf(
  'root mean squared error',
  'lower',
  (y, p) => (p - y) ** 2,
  Math.sqrt,
)
/** Mean of |prediction - label|. */
export const meanAbsoluteError = meanOf('mean absolute error', 'lower', (y, p) => Math.abs(p - y))
/** Mean of prediction - label: above 0 where a group is predicted too high. */
export const meanError = meanOf('mean error', undefined, (y, p) => p - y)
/** Mean of the predictions. */
export const meanPrediction = meanOf('mean prediction', undefined, (_, p) => p)
