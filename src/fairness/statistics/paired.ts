// Two answers on the same rows: how sure a difference of shares is, and whether the flips lean to one side.

import { ArgumentError } from '../../errors'
import { checkCounts, checkLevel, type Interval, type LevelOptions } from './options'
import { binomialCdf, binomialPmf, normalCdf, normalQuantile } from './special'

function checkFlips(name: string, gained: number, lost: number, n: number): void {
  checkCounts(name, { gained, lost, n })
  if (n < 1 || gained + lost > n) {
    throw new ArgumentError(
      `${name}: gained ${gained} and lost ${lost} of n ${n} rows; expected gained + lost <= n and n at least 1`,
    )
  }
}

/**
 * Tango's score statistic for the hypothesis that the share after minus the share before is `delta`: its standard error
 * is that of the most likely shares *under* the hypothesis, so it works where no flip was seen. Counts may be fractional.
 */
export function tangoScore(gained: number, lost: number, n: number, delta: number): number {
  const excess = gained - lost - n * delta
  if (excess === 0) return 0
  const b = -gained - lost + (2 * n - gained + lost) * delta
  const c = -lost * delta * (1 - delta)
  // The larger of the two roots, in the form that does not cancel.
  const root = Math.sqrt(Math.max(0, b * b - 8 * n * c))
  const q = b <= 0 ? (root - b) / (4 * n) : (-2 * c) / (root + b)
  const variance = n * (2 * q + delta * (1 - delta))
  return variance > 0 ? excess / Math.sqrt(variance) : Math.sign(excess) * Infinity
}

/** The deltas that {@link tangoScore} keeps within ± z. */
export function tangoLimits(gained: number, lost: number, n: number, z: number): Interval {
  const estimate = (gained - lost) / n
  const end = (towards: number) => {
    let inside = estimate
    let outside = towards
    while (Math.abs(outside - inside) > 1e-12) {
      const middle = (inside + outside) / 2
      if (Math.abs(tangoScore(gained, lost, n, middle)) <= z) inside = middle
      else outside = middle
    }
    return (inside + outside) / 2
  }
  return [Math.abs(estimate + 1) < 1e-15 ? -1 : end(-1), Math.abs(estimate - 1) < 1e-15 ? 1 : end(1)]
}

/**
 * Tango's score interval for a difference of shares on the same n rows: `gained` rows are counted after but not before,
 * `lost` before but not after; the difference is (gained - lost) / n. Where no flip was seen it is
 * ± z² / (n + z²), while a bootstrap would say "exactly 0".
 * T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
 * Statistics in Medicine 17 (1998), 891-908.
 * @throws ArgumentError unless the counts are integers with gained + lost <= n, n >= 1, and 0 < level < 1.
 */
export function tangoInterval(gained: number, lost: number, n: number, options: LevelOptions = {}): Interval {
  const level = checkLevel('tangoInterval', options.level)
  checkFlips('tangoInterval', gained, lost, n)
  return tangoLimits(gained, lost, n, normalQuantile((1 + level) / 2))
}

/**
 * The two-sided p of the hypothesis that the difference (after minus before) is `delta`: it is below α exactly where
 * {@link tangoInterval} at level 1 - α leaves `delta` out.
 * @throws ArgumentError as tangoInterval, and unless -1 < delta < 1.
 */
export function tangoTest(gained: number, lost: number, n: number, delta: number): number {
  checkFlips('tangoTest', gained, lost, n)
  if (!(delta > -1 && delta < 1)) {
    throw new ArgumentError(`tangoTest: delta is ${delta}; expected a difference of shares in (-1, 1)`)
  }
  return 2 * normalCdf(-Math.abs(tangoScore(gained, lost, n, delta)))
}

/** How {@link mcnemar} computes its p. */
export interface McNemarOptions {
  /**
   * `mid-p` (default): the exact binomial p less half of the chance of what was seen; close to its nominal level.
   * `exact`: never above its level. `chi-squared`, `corrected`: large-sample forms, without and with Edwards's correction.
   */
  method?: 'mid-p' | 'exact' | 'chi-squared' | 'corrected'
}

/**
 * McNemar's test: do flips go one way more often than the other? `gained` and `lost` count the rows that changed; rows
 * that did not say nothing about it. Returns the two-sided p; 1 where nothing flipped.
 * Q. McNemar, Psychometrika 12 (1947), 153-157; on mid-p: Fagerland, Lydersen and Laake, BMC Med. Res. Meth. 13 (2013), 91.
 * @throws ArgumentError unless both counts are integers of at least 0.
 */
export function mcnemar(gained: number, lost: number, options: McNemarOptions = {}): number {
  checkCounts('mcnemar', { gained, lost })
  const { method = 'mid-p' } = options
  const n = gained + lost
  if (n === 0) return 1
  const fewer = Math.min(gained, lost)
  switch (method) {
    case 'exact':
      return Math.min(1, 2 * binomialCdf(fewer, n, 0.5))
    case 'mid-p':
      return Math.min(1, 2 * binomialCdf(fewer, n, 0.5) - binomialPmf(fewer, n, 0.5))
    case 'chi-squared':
    case 'corrected': {
      const gap = Math.max(0, Math.abs(gained - lost) - (method === 'corrected' ? 1 : 0))
      return 2 * normalCdf(-gap / Math.sqrt(n))
    }
    default:
      throw new ArgumentError(
        `mcnemar: method is '${String(method satisfies never)}'; expected mid-p, exact, chi-squared or corrected`,
      )
  }
}
