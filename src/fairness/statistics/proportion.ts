// Intervals of one share, k of n.

import { ArgumentError } from '../../errors'
import { checkCounts, checkLevel, type Interval, type LevelOptions } from './options'
import { betaQuantile, normalQuantile } from './special'

/**
 * Wilson's score interval for a share of k in n: the values p for which |k/n - p| <= z sqrt(p (1 - p) / n), that is
 * (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²). Unlike k/n ± z·(standard error) it stays within [0, 1] and
 * holds its level for small n and for shares near 0 and 1.
 * E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.
 *
 * @param z Quantile of the normal distribution; the default 1.96 gives a 95 % interval.
 * @throws ArgumentError unless n >= 1, 0 <= k <= n and z >= 0.
 */
export function wilson(k: number, n: number, z = 1.96): Interval {
  if (!(n >= 1 && k >= 0 && k <= n)) {
    throw new ArgumentError(`wilson: k is ${k} and n is ${n}; expected 0 <= k <= n and n at least 1`)
  }
  if (!(z >= 0)) throw new ArgumentError(`wilson: z is ${z}; expected a number of at least 0`)
  const centre = k + (z * z) / 2
  const reach = z * Math.sqrt((k * (n - k)) / n + (z * z) / 4)
  // Rounding must not carry an end over the edge, nor keep it from there.
  return [
    k === 0 ? 0 : Math.max(0, (centre - reach) / (n + z * z)),
    k === n ? 1 : Math.min(1, (centre + reach) / (n + z * z)),
  ]
}

/**
 * {@link wilson}'s interval at a level. Over shares and sizes it holds the true value in `level` of the cases on average;
 * for a single share it may fall a few points short of that.
 * @throws ArgumentError unless n >= 1, 0 <= k <= n and 0 < level < 1.
 */
export function wilsonInterval(k: number, n: number, options: LevelOptions = {}): Interval {
  const level = checkLevel('wilsonInterval', options.level)
  return wilson(k, n, normalQuantile((1 + level) / 2))
}

/**
 * Clopper and Pearson's exact interval for a share of k in n: the shares that neither one-sided binomial test rejects.
 * It holds the true value in at least `level` of the cases, whatever the share; the price is width.
 * C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934), 404-413.
 * @throws ArgumentError unless k and n are integers, n >= 1, 0 <= k <= n and 0 < level < 1.
 */
export function clopperPearson(k: number, n: number, options: LevelOptions = {}): Interval {
  const level = checkLevel('clopperPearson', options.level)
  checkCounts('clopperPearson', { k, n })
  if (n < 1 || k > n)
    throw new ArgumentError(`clopperPearson: k is ${k} and n is ${n}; expected 0 <= k <= n, n >= 1`)
  const tail = (1 - level) / 2
  return [k === 0 ? 0 : betaQuantile(tail, k, n - k + 1), k === n ? 1 : betaQuantile(1 - tail, k + 1, n - k)]
}
