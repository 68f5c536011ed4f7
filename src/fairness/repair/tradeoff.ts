// What thresholds on one group's scores can reach: points (x, y) of two rates, and the upper hull that mixing two of them
// reaches. Hardt, Price and Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016.

/** Answer 1 where the score lies above the threshold (or below it, where `above` is false). */
export interface ThresholdRule {
  above: boolean
  threshold: number
}

/** A threshold and the two rates that it gives. */
export interface TradeoffPoint {
  x: number
  y: number
  rule: ThresholdRule
}

/** How often a rule answers 1, among positives and among negatives. */
export interface RuleCounts {
  truePositives: number
  falsePositives: number
  positives: number
  negatives: number
}

/** A rate of a rule. */
export type RuleRate = (counts: RuleCounts) => number

/** One group's rows for fitting: scores and whether they are positive. */
export interface ScoredGroup {
  scores: Float64Array
  positive: Uint8Array
}

/** The counts of every threshold between two scores, from the one above all scores down. */
export function ruleCounts(
  { scores, positive }: ScoredGroup,
  flip: boolean,
): { rule: ThresholdRule; counts: RuleCounts }[] {
  const order = Array.from(scores, (_, i) => i).sort((i, j) => scores[j]! - scores[i]!)
  const positives = positive.reduce((sum, one) => sum + one, 0)
  const negatives = scores.length - positives
  const found: { rule: ThresholdRule; counts: RuleCounts }[] = []
  let truePositives = 0
  let falsePositives = 0
  const push = (threshold: number) => {
    const counts = { truePositives, falsePositives, positives, negatives }
    found.push({ rule: { above: true, threshold }, counts })
    if (!flip) return
    const flipped = {
      ...counts,
      truePositives: positives - truePositives,
      falsePositives: negatives - falsePositives,
    }
    found.push({ rule: { above: false, threshold }, counts: flipped })
  }
  push(Infinity)
  for (let at = 0; at < order.length; ) {
    const score = scores[order[at]!]!
    for (; at < order.length && scores[order[at]!] === score; at++) {
      if (positive[order[at]!]) truePositives++
      else falsePositives++
    }
    push(at < order.length ? (score + scores[order[at]!]!) / 2 : -Infinity)
  }
  return found
}

/** All points of a group. */
export function tradeoffPoints(group: ScoredGroup, x: RuleRate, y: RuleRate, flip: boolean): TradeoffPoint[] {
  return ruleCounts(group, flip).map(({ rule, counts }) => ({ x: x(counts), y: y(counts), rule }))
}

/** The upper convex hull of points, by ascending x (Andrew's monotone chain). */
export function upperHull(points: readonly TradeoffPoint[]): TradeoffPoint[] {
  const hull: TradeoffPoint[] = []
  for (const next of points.toSorted((a, b) => a.x - b.x || a.y - b.y)) {
    while (hull.length >= 2) {
      const [from, middle] = [hull.at(-2)!, hull.at(-1)!]
      if ((middle.y - from.y) * (next.x - from.x) > (next.y - from.y) * (middle.x - from.x)) break
      hull.pop()
    }
    // Of points above each other only the highest counts.
    if (hull.at(-1)?.x === next.x) hull.pop()
    hull.push(next)
  }
  return hull
}

/** A point of a hull: a mixture of its two neighbouring vertices. */
export interface Mixture {
  y: number
  p0: number
  rule0: ThresholdRule
  p1: number
  rule1: ThresholdRule
}

/** The hull at x, which lies between the first and the last vertex. A vertex itself is its segment's right end. */
export function hullAt(hull: readonly TradeoffPoint[], x: number): Mixture {
  let right = 1
  while (right < hull.length - 1 && hull[right]!.x < x) right++
  const one = hull[right] ?? hull[0]!
  const zero = hull[right - 1]!
  const p0 = one.x === zero.x ? 0 : Math.min(1, Math.max(0, (one.x - x) / (one.x - zero.x)))
  return { y: p0 * zero.y + (1 - p0) * one.y, p0, rule0: zero.rule, p1: 1 - p0, rule1: one.rule }
}
