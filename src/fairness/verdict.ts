// Verdicts: what may be said of a difference, given a margin, a level, and how many differences were looked at.
//
// A comparison is decided where its corrected interval lies wholly on one side of the margin: beyond it is harm, within it is
// none (non-inferiority), across it the evidence is insufficient. Each comparison is thus one two-sided test at its margin,
// and the correction is over these tests.

import { ArgumentError } from '../errors'
import type { Metric } from './metrics'
import { benjaminiHochberg, holm } from './statistics/multiple'
import type { Interval } from './statistics/options'
import { tangoLimits, tangoScore } from './statistics/paired'
import { normalCdf, normalQuantile } from './statistics/special'

/** What may be said of a group. */
export type Verdict = 'harm' | 'no harm' | 'insufficient evidence'

/** How verdicts allow for many comparisons. */
export type Correction = 'holm' | 'bonferroni' | 'benjaminiHochberg' | 'none'

/** How sure a difference (after minus before) is, at any level. */
export interface Evidence {
  method: 'tango' | 'bootstrap'
  estimate: number
  /** Rows that support the difference. */
  n: number
  /** Two-sided p of "the difference is delta". */
  p(delta: number): number
  /** Interval at level 1 - alpha; undefined where the evidence cannot resolve that level, which `limit` then explains. */
  interval(alpha: number): Interval | undefined
  limit?: string
  /** About how many rows would keep the interval at level 1 - alpha off delta, if rates stayed as they are. */
  rowsToDecide(alpha: number, delta: number): number | undefined
}

/** Evidence of a difference of paired shares, by Tango's score; works where no flip was seen. */
export function pairedEvidence(gained: number, lost: number, n: number): Evidence {
  const zOf = (alpha: number) => normalQuantile(1 - alpha / 2)
  return {
    method: 'tango',
    estimate: (gained - lost) / n,
    n,
    p: (delta) => 2 * normalCdf(-Math.abs(tangoScore(gained, lost, n, delta))),
    interval: (alpha) => tangoLimits(gained, lost, n, zOf(alpha)),
    rowsToDecide(alpha, delta) {
      const z = zOf(alpha)
      const decides = (scale: number) =>
        Math.abs(tangoScore(gained * scale, lost * scale, n * scale, delta)) > z
      return searchRows(n, decides)
    },
  }
}

/** Evidence from resampled differences. */
export function bootstrapEvidence(estimate: number, sorted: Float64Array, n: number): Evidence {
  const count = sorted.length
  const mean = sorted.reduce((sum, value) => sum + value, 0) / count
  const error = Math.sqrt(
    sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, count - 1),
  )
  const share = (keep: (value: number) => boolean) =>
    (1 + sorted.reduce((sum, value) => sum + (keep(value) ? 1 : 0), 0)) / (1 + count)
  return {
    method: 'bootstrap',
    estimate,
    n,
    p: (delta) =>
      Math.min(
        1,
        2 *
          Math.min(
            share((value) => value <= delta),
            share((value) => value >= delta),
          ),
      ),
    interval(alpha) {
      // Without spread there is nothing to read; and a quantile needs draws beyond it.
      if (error === 0 || (alpha / 2) * count < 1) return undefined
      const at = (q: number) => sorted[Math.round(q * (count - 1))]!
      return [at(alpha / 2), at(1 - alpha / 2)]
    },
    limit:
      error === 0
        ? 'no resample differs from another: a bootstrap says nothing here'
        : `${count} resamples do not resolve so high a level; take more, or compare fewer groups`,
    rowsToDecide(alpha, delta) {
      const distance = Math.abs(estimate - delta)
      const rows = n * ((normalQuantile(1 - alpha / 2) * error) / distance) ** 2
      return error > 0 && rows < MOST_ROWS ? Math.ceil(Math.max(rows, n)) : undefined
    },
  }
}

/** Beyond this no study helps. */
const MOST_ROWS = 1e9

function searchRows(n: number, decides: (scale: number) => boolean): number | undefined {
  let high = 1
  while (!decides(high)) {
    high *= 2
    if (high * n > MOST_ROWS) return undefined
  }
  let low = high / 2
  while ((high - low) * n > 1) {
    const middle = (low + high) / 2
    if (decides(middle)) high = middle
    else low = middle
  }
  return Math.ceil(high * n)
}

/** The margins as differences after minus before: one where only one direction is worse, else both. */
export function marginsOf(better: Metric['better'], margin: number): number[] {
  if (better === 'higher') return [-margin]
  return better === 'lower' ? [margin] : [-margin, margin]
}

/** The margin that a difference is tested at, where there are two: the one beyond which it lies, or the nearer one. */
function tested({ estimate, p }: Evidence, margins: readonly number[]): number {
  const [low, high] = [margins[0]!, margins.at(-1)!]
  if (estimate <= low) return low
  if (estimate >= high) return high
  return p(low) > p(high) ? low : high
}

/** A decided comparison. */
export interface Decision {
  verdict: Verdict
  /** Two-sided p at the margin, and adjusted for all comparisons. */
  p: number
  adjustedP: number
  /** Level of the corrected interval, 1 - alpha after correction. */
  level: number
  /** The corrected interval; undefined where the evidence cannot give one. */
  interval?: Interval
  reason?: string
  /** How many rows like these would decide; undefined where none would, or where it is decided. */
  rowsToDecide?: number
}

/** Decides comparisons together. `alpha` is the chance of any wrong decision among them (for BH: their expected share). */
export function decide(
  comparisons: readonly { evidence: Evidence; better: Metric['better']; margin: number }[],
  alpha: number,
  correction: Correction,
): Decision[] {
  const margins = comparisons.map(({ better, margin }) => marginsOf(better, margin))
  const at = comparisons.map(({ evidence }, i) => tested(evidence, margins[i]!))
  const ps = comparisons.map(({ evidence }, i) => evidence.p(at[i]!))
  const { adjusted, alphas } = correct(ps, alpha, correction)
  return comparisons.map(({ evidence, better }, i) => {
    const own = alphas[i]!
    const interval = evidence.interval(own)
    const decision = { p: ps[i]!, adjustedP: adjusted[i]!, level: 1 - own, interval }
    const verdict = interval ? judge(interval, margins[i]!, better) : 'insufficient evidence'
    if (verdict !== 'insufficient evidence') return { ...decision, verdict }
    const reason = interval ? 'the corrected interval reaches across the margin' : evidence.limit
    return { ...decision, verdict, reason, rowsToDecide: evidence.rowsToDecide(own, at[i]!) }
  })
}

function judge([low, high]: Interval, margins: readonly number[], better: Metric['better']): Verdict {
  const [down, up] = [margins[0]!, margins.at(-1)!]
  if (better !== 'lower' && high < down) return 'harm'
  if (better !== 'higher' && low > up) return 'harm'
  const within = (better === 'lower' || low > down) && (better === 'higher' || high < up)
  return within ? 'no harm' : 'insufficient evidence'
}

/** Adjusted p-values, and for each comparison the alpha of its interval. */
function correct(
  ps: readonly number[],
  alpha: number,
  correction: Correction,
): { adjusted: number[]; alphas: number[] } {
  const m = ps.length
  switch (correction) {
    case 'none':
      return { adjusted: [...ps], alphas: ps.map(() => alpha) }
    case 'bonferroni':
      return { adjusted: ps.map((p) => Math.min(1, m * p)), alphas: ps.map(() => alpha / m) }
    case 'benjaminiHochberg': {
      // Intervals of the selected at 1 - R alpha / m: Benjamini and Yekutieli, JASA 100 (2005), 71-81.
      const adjusted = benjaminiHochberg(ps)
      const selected = Math.max(1, adjusted.filter((p) => p <= alpha).length)
      return { adjusted, alphas: ps.map(() => (selected * alpha) / m) }
    }
    case 'holm': {
      const adjusted = holm(ps)
      const alphas = new Array<number>(m)
      const order = ps.map((_, i) => i).sort((i, j) => ps[i]! - ps[j]! || i - j)
      let rank = 0
      for (const i of order) {
        alphas[i] = alpha / (m - rank)
        // After the first that stays undecided, all others are held to its level.
        if (adjusted[i]! <= alpha) rank++
      }
      return { adjusted, alphas }
    }
    default:
      throw new ArgumentError(
        `correction is '${String(correction satisfies never)}'; expected holm, bonferroni, benjaminiHochberg or none`,
      )
  }
}

/** Of many: harm if one says so, no harm if all do. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes('harm')) return 'harm'
  if (verdicts.length === 0 || verdicts.includes('insufficient evidence')) return 'insufficient evidence'
  return 'no harm'
}
