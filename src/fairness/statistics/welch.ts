// Two sets of numbers of unequal spread.

import { ArgumentError, NonFiniteError } from '../../errors'
import { studentTwoSided } from './special'

/** What {@link welch} finds. */
export interface WelchTest {
  /** (mean a - mean b) over its standard error. */
  t: number
  /** Degrees of freedom after Welch and Satterthwaite. */
  df: number
  /** Two-sided. */
  p: number
}

function moments(name: string, values: ArrayLike<number>): { mean: number; error: number; n: number } {
  const n = values.length
  if (n < 2) throw new ArgumentError(`welch: ${name} has ${n} values; a spread needs at least 2`)
  let mean = 0
  for (let i = 0; i < n; i++) {
    if (!Number.isFinite(values[i]))
      throw new NonFiniteError(`welch: ${name}[${i}] is ${values[i]}; expected finite numbers`)
    mean += values[i]! / n
  }
  let squares = 0
  for (let i = 0; i < n; i++) squares += (values[i]! - mean) ** 2
  return { mean, error: squares / (n - 1) / n, n }
}

/**
 * Welch's t-test for the means of two independent samples: no equal spread assumed. Two constant samples have no spread to
 * judge by: p is 1 where their means are equal, else 0.
 * B. L. Welch, Biometrika 34 (1947), 28-35.
 * @throws ArgumentError for fewer than 2 values on a side; NonFiniteError for NaN or infinite ones.
 */
export function welch(a: ArrayLike<number>, b: ArrayLike<number>): WelchTest {
  const first = moments('a', a)
  const second = moments('b', b)
  const variance = first.error + second.error
  const gap = first.mean - second.mean
  if (variance === 0) {
    const df = first.n + second.n - 2
    return gap === 0 ? { t: 0, df, p: 1 } : { t: Math.sign(gap) * Infinity, df, p: 0 }
  }
  const df = variance ** 2 / (first.error ** 2 / (first.n - 1) + second.error ** 2 / (second.n - 1))
  const t = gap / Math.sqrt(variance)
  return { t, df, p: studentTwoSided(t, df) }
}
