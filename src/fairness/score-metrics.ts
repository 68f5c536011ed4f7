// Measures of scores: do probabilities mean what they say (calibration), and do positives score higher than negatives (AUC)?

import { ArgumentError } from '../errors'
import type { Metric } from './metrics'
import { type Label, type Rows, checkLength, checkScores } from './rows'

/** Labels as 0 and 1 beside scores and weights, for one pass. */
function scored(name: string, { labels, scores, weights, positive }: Rows, probabilities = true) {
  if (!scores)
    throw new ArgumentError(
      `${name} needs scores: the model's probability of the positive class for each row`,
    )
  if (probabilities) checkScores('scores', scores, labels.length)
  const positives = Uint8Array.from({ length: labels.length }, (_, i) => (labels[i] === positive ? 1 : 0))
  return { positives, scores, weight: weights ? (i: number) => weights[i]! : () => 1 }
}

function mean(name: string, of: (y: number, score: number) => number): Metric {
  return {
    name,
    better: 'lower',
    needs: 'scores',
    measure(rows) {
      const { positives, scores, weight } = scored(name, rows)
      let sum = 0
      let n = 0
      positives.forEach((y, i) => {
        n += weight(i)
        if (weight(i) > 0) sum += weight(i) * of(y, scores[i]!)
      })
      return n === 0 ? { n, reason: `${name}: no rows` } : { value: sum / n, n }
    },
  }
}

/** Brier score: mean of (p - y)². G. W. Brier, Monthly Weather Review 78 (1950), 1-3. */
export const brierScore = mean('Brier score', (y, p) => (p - y) ** 2)

/** Mean of -log of the probability given to what was true, in nats; p is kept 1e-15 away from 0 and 1. */
export const logLoss = mean('log loss', (y, p) => -Math.log(Math.max(1e-15, y === 1 ? p : 1 - p)))

/** One bin of a reliability diagram. */
export interface ReliabilityBin {
  /** The scores that fall in: low <= p < high, the last bin with 1. */
  low: number
  high: number
  /** Rows in the bin (their weights). */
  n: number
  /** Mean score and share of positives; undefined where the bin is empty. */
  score?: number
  share?: number
}

/** How scores are binned. */
export interface BinOptions {
  /** Number of bins. Default 10. */
  bins?: number
  /** `width` (default): equal widths of [0, 1]. `mass`: equal numbers of rows (ties stay together). */
  binning?: 'width' | 'mass'
}

function checkBins({ bins = 10, binning = 'width' }: BinOptions): Required<BinOptions> {
  if (!(Number.isInteger(bins) && bins >= 1)) {
    throw new ArgumentError(`bins is ${bins}; expected an integer of at least 1`)
  }
  if (binning !== 'width' && binning !== 'mass') {
    throw new ArgumentError(`binning is '${String(binning)}'; expected 'width' or 'mass'`)
  }
  return { bins, binning }
}

/** Bins of {@link expectedCalibrationError}, for a reliability diagram. @throws ArgumentError without scores. */
export function reliability(
  rows: Pick<Rows, 'labels' | 'positive' | 'scores' | 'weights'>,
  options: BinOptions = {},
): ReliabilityBin[] {
  const { bins, binning } = checkBins(options)
  const { positives, scores, weight } = scored('reliability', { ...rows, predictions: [], classes: [] })
  const edges = binning === 'width' ? undefined : massEdges(scores, positives.length, weight, bins)
  const binOf = (p: number) => {
    if (!edges) return Math.min(bins - 1, Math.floor(p * bins))
    let bin = 0
    while (bin < edges.length - 2 && p >= edges[bin + 1]!) bin++
    return bin
  }
  const count = edges ? edges.length - 1 : bins
  const sums = Array.from({ length: count }, () => ({ n: 0, score: 0, hits: 0 }))
  positives.forEach((y, i) => {
    const bin = sums[binOf(scores[i]!)]!
    bin.n += weight(i)
    bin.score += weight(i) * scores[i]!
    bin.hits += weight(i) * y
  })
  return sums.map(({ n, score, hits }, i) => {
    const range = { low: edges ? edges[i]! : i / bins, high: edges ? edges[i + 1]! : (i + 1) / bins }
    return n === 0 ? { ...range, n } : { ...range, n, score: score / n, share: hits / n }
  })
}

/** Ends of bins with about equal weight; equal scores share a bin. */
function massEdges(
  scores: ArrayLike<number>,
  size: number,
  weight: (i: number) => number,
  bins: number,
): number[] {
  const order = Array.from({ length: size }, (_, i) => i).sort((i, j) => scores[i]! - scores[j]!)
  const total = order.reduce((sum, i) => sum + weight(i), 0)
  const edges = [0]
  let seen = 0
  for (const i of order) {
    if (seen >= (edges.length * total) / bins && scores[i]! > edges.at(-1)! && edges.length < bins)
      edges.push(scores[i]!)
    seen += weight(i)
  }
  return [...edges, 1]
}

/**
 * Expected calibration error: over bins of the score, the mean distance of mean score and share of positives, weighted by
 * the rows of each. Pakdaman Naeini, Cooper and Hauskrecht, AAAI 2015. It is biased upwards where bins hold few rows: beside
 * a group's value belong its interval and its n.
 * @throws ArgumentError for bins that are no positive integer, or rows without scores.
 */
export function expectedCalibrationError(options: BinOptions = {}): Metric {
  const settings = checkBins(options)
  const name = 'expected calibration error'
  return {
    name,
    better: 'lower',
    needs: 'scores',
    measure(rows) {
      const filled = reliability(rows, settings).filter(({ n }) => n > 0)
      const n = filled.reduce((sum, bin) => sum + bin.n, 0)
      if (n === 0) return { n, reason: `${name}: no rows` }
      return {
        value: filled.reduce((sum, bin) => sum + (bin.n / n) * Math.abs(bin.score! - bin.share!), 0),
        n,
      }
    },
  }
}

/** The chance that a random positive scores above a random negative, ties counting half; undefined without either. */
function areaUnder(
  size: number,
  isPositive: (i: number) => boolean,
  scores: ArrayLike<number>,
  weight: (i: number) => number,
): { value?: number; positives: number; negatives: number } {
  const order = Array.from({ length: size }, (_, i) => i).sort((i, j) => scores[i]! - scores[j]!)
  let positives = 0
  let negatives = 0
  let won = 0
  for (let at = 0; at < order.length; ) {
    const score = scores[order[at]!]!
    let up = 0
    let down = 0
    for (; at < order.length && scores[order[at]!] === score; at++) {
      if (isPositive(order[at]!)) up += weight(order[at]!)
      else down += weight(order[at]!)
    }
    won += up * (negatives + down / 2)
    positives += up
    negatives += down
  }
  const pairs = positives * negatives
  return pairs > 0 ? { value: won / pairs, positives, negatives } : { positives, negatives }
}

/** Area under the ROC curve: the chance that a random positive scores above a random negative (ties half). */
export const rocAuc: Metric = {
  name: 'ROC AUC',
  better: 'higher',
  needs: 'scores',
  measure(rows) {
    const { positives, scores, weight } = scored('ROC AUC', rows, false)
    const area = areaUnder(positives.length, (i) => positives[i] === 1, scores, weight)
    const n = area.positives + area.negatives
    if (area.value !== undefined) return { value: area.value, n }
    return {
      n,
      reason: `ROC AUC: ${area.positives} positive and ${area.negatives} negative rows; it needs both`,
    }
  },
}

/** AUCs of one group against the rest; each is undefined where it lacks positives or negatives. */
export interface SubgroupAuc {
  /** Within the group. */
  subgroup?: number
  /** Background positives, subgroup negatives: low where the group's harmless rows score like others' positives. */
  bpsn?: number
  /** Background negatives, subgroup positives: low where the group's positives score like others' harmless rows. */
  bnsp?: number
}

/**
 * The three AUCs by which unintended bias of a score for one group shows, whatever the threshold.
 * Borkan, Dixon, Sorensen, Thain and Vasserman, "Nuanced metrics for measuring unintended bias", WWW 2019 companion.
 * @param options `member[i]`: whether row i belongs to the group.
 * @throws ArgumentError, NonFiniteError or ShapeError for columns that do not fit.
 */
export function subgroupAuc(options: {
  labels: ArrayLike<Label>
  scores: ArrayLike<number>
  member: ArrayLike<boolean>
  positive: Label
  weights?: ArrayLike<number>
}): SubgroupAuc {
  const { labels, scores, member, positive, weights } = options
  checkScores('scores', scores, labels.length, false)
  checkLength('member', member, labels.length)
  if (weights) checkLength('weights', weights, labels.length)
  const area = (keep: (y: boolean, inside: boolean) => boolean) => {
    const weight = (i: number) => (keep(labels[i] === positive, member[i]!) ? (weights ? weights[i]! : 1) : 0)
    return areaUnder(labels.length, (i) => labels[i] === positive, scores, weight).value
  }
  return {
    subgroup: area((_, inside) => inside),
    bpsn: area((y, inside) => y !== inside),
    bnsp: area((y, inside) => y === inside),
  }
}
