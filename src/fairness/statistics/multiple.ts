// Many comparisons at once: the more one looks at, the more looks striking by chance alone.

import { ArgumentError } from '../../errors'

/** p-values in ascending order, as indices; refuses what is no p-value. */
function ascending(name: string, p: ArrayLike<number>): number[] {
  for (let i = 0; i < p.length; i++) {
    if (!(p[i]! >= 0 && p[i]! <= 1)) {
      throw new ArgumentError(`${name}: p[${i}] is ${p[i]}; expected p-values in [0, 1]`)
    }
  }
  return Array.from(p, (_, i) => i).sort((i, j) => p[i]! - p[j]! || i - j)
}

/**
 * Holm's step-down adjustment: what stays at or below α is rejected, and the chance of a single false rejection among all
 * is at most α, however the tests depend on each other. S. Holm, Scand. J. Statistics 6 (1979), 65-70.
 * @throws ArgumentError for values outside [0, 1].
 */
export function holm(p: ArrayLike<number>): number[] {
  const adjusted = new Array<number>(p.length)
  let largest = 0
  ascending('holm', p).forEach((index, rank) => {
    largest = Math.max(largest, Math.min(1, (p.length - rank) * p[index]!))
    adjusted[index] = largest
  })
  return adjusted
}

/**
 * Benjamini and Hochberg's adjustment: what stays at or below q is rejected, and on average at most a share q of the
 * rejections is false (for independent or positively dependent tests). J. Royal Stat. Soc. B 57 (1995), 289-300.
 * @throws ArgumentError for values outside [0, 1].
 */
export function benjaminiHochberg(p: ArrayLike<number>): number[] {
  const adjusted = new Array<number>(p.length)
  const order = ascending('benjaminiHochberg', p)
  let smallest = 1
  for (let rank = p.length; rank > 0; rank--) {
    const index = order[rank - 1]!
    smallest = Math.min(smallest, (p.length / rank) * p[index]!)
    adjusted[index] = smallest
  }
  return adjusted
}
