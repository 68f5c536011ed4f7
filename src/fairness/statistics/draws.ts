// Draws for resampling: how often each of some kinds of rows comes up again. Kinds with many rows are drawn by binomials,
// so the work goes with the kinds, not with the rows.

import type { HostRandom } from '../../backend/threefry'
import { logGamma } from './special'

/** A uniform number in [0, 1) with 53 random bits. */
function uniform(random: HostRandom): number {
  return ((random.nextUint32() >>> 5) * 2 ** 26 + (random.nextUint32() >>> 6)) / 2 ** 53
}

/** How many of n trials of chance p hit; exact for every n and p. */
export function binomial(random: HostRandom, n: number, p: number): number {
  if (n <= 0 || p <= 0) return 0
  if (p >= 1) return n
  if (p > 0.5) return n - binomial(random, n, 1 - p)
  return n * p < 10 ? byInversion(random, n, p) : byRejection(random, n, p)
}

function byInversion(random: HostRandom, n: number, p: number): number {
  const odds = p / (1 - p)
  let u = uniform(random)
  let chance = Math.exp(n * Math.log1p(-p))
  let k = 0
  while (u >= chance && k < n) {
    u -= chance
    k++
    chance *= (odds * (n - k + 1)) / k
  }
  return k
}

/** Transformed rejection (BTRS): W. Hörmann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46 (1993). */
function byRejection(random: HostRandom, n: number, p: number): number {
  const spread = Math.sqrt(n * p * (1 - p))
  const b = 1.15 + 2.53 * spread
  const a = -0.0873 + 0.0248 * b + 0.01 * p
  const centre = n * p + 0.5
  const quick = 0.92 - 4.2 / b
  const alpha = (2.83 + 5.1 / b) * spread
  const logOdds = Math.log(p / (1 - p))
  const mode = Math.floor((n + 1) * p)
  const height = logGamma(mode + 1) + logGamma(n - mode + 1)
  for (;;) {
    const u = uniform(random) - 0.5
    const v = uniform(random)
    const us = 0.5 - Math.abs(u)
    const k = Math.floor(((2 * a) / us + b) * u + centre)
    if (k < 0 || k > n) continue
    if (us >= 0.07 && v <= quick) return k
    const bound = height - logGamma(k + 1) - logGamma(n - k + 1) + (k - mode) * logOdds
    if (Math.log((v * alpha) / (a / (us * us) + b)) <= bound) return k
  }
}

/** Kinds of rows that are resampled together: which, and how many rows each has. */
export interface Stratum {
  /** Where the kinds stand in `counts`. */
  kinds: Int32Array
  counts: Float64Array
  /** Rows in all. */
  size: number
}

/** Writes into `into[kind]` how often each kind comes up when a stratum's rows are drawn anew, with replacement. */
export function resample(random: HostRandom, { kinds, counts, size }: Stratum, into: Float64Array): void {
  if (kinds.length === size) {
    // Each row is a kind of its own.
    for (const kind of kinds) into[kind] = 0
    for (let i = 0; i < size; i++) into[kinds[random.nextInt(size)]!]!++
    return
  }
  let rows = size
  let left = size
  for (let i = 0; i < kinds.length; i++) {
    const kind = kinds[i]!
    const drawn = i === kinds.length - 1 ? left : binomial(random, left, Math.min(1, counts[kind]! / rows))
    into[kind] = drawn
    left -= drawn
    rows -= counts[kind]!
  }
}
