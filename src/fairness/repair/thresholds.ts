// Thresholds by group, chosen after training so that a rate is equal in all groups and as much accuracy as possible stays.
// The objective is concave and piecewise linear in the common rate, so that its maximum lies on a hull's vertex (or, for
// equalized odds, where two hulls cross): it is found there exactly, not on a grid.

import { HostRandom } from '../../backend/threefry'
import { ArgumentError } from '../../errors'
import { type GroupColumn, partitionsOf } from '../groups'
import { checkLength, checkScores, classesOf, type Label, positiveOf } from '../rows'
import {
  hullAt,
  type Mixture,
  type RuleRate,
  type ScoredGroup,
  type ThresholdRule,
  type TradeoffPoint,
  tradeoffPoints,
  upperHull,
} from './tradeoff'

/** What is to be equal in all groups. */
export type ThresholdConstraint =
  | 'demographicParity'
  | 'truePositiveRate'
  | 'falsePositiveRate'
  | 'trueNegativeRate'
  | 'falseNegativeRate'
  | 'equalizedOdds'

/** What {@link fitThresholds} works on. */
export interface ThresholdOptions {
  labels: ArrayLike<Label>
  /** Scores, or a binary predictor's answers as 0 and 1: then, with `flip`, this is Hardt's derived predictor. */
  scores: ArrayLike<number>
  groups: Record<string, GroupColumn>
  /** The class that "positive" means; by default the larger of two. */
  positive?: Label
  /** Default `equalizedOdds`. */
  constraint?: ThresholdConstraint
  /** Default `accuracy`; `balancedAccuracy` is the mean of true positive and true negative rate. */
  objective?: 'accuracy' | 'balancedAccuracy'
  /** Also consider answering 1 *below* a threshold. Default false. */
  flip?: boolean
  /**
   * One threshold for each group and no chance in the answers: rates then agree within `tolerance` only (default 0.05).
   * Not for equalized odds, which few pairs of thresholds meet.
   */
  deterministic?: { tolerance?: number }
  /** fairlearn's numbers: the best of 1,001 grid points, near the optimum. */
  compat?: 'fairlearn'
}

/** How one group is answered. */
export interface GroupRule {
  /** With chance `ignore` the answer is 1 with chance `constant`, whatever the score. */
  ignore: number
  constant: number
  /** Else `rule0` answers with chance p0, and `rule1` with chance p1. */
  p0: number
  rule0: ThresholdRule
  p1: number
  rule1: ThresholdRule
}

const selected: RuleRate = (c) => (c.truePositives + c.falsePositives) / (c.positives + c.negatives)
const tpr: RuleRate = (c) => c.truePositives / c.positives
const fpr: RuleRate = (c) => c.falsePositives / c.negatives
const RATES: Record<Exclude<ThresholdConstraint, 'equalizedOdds'>, RuleRate> = {
  demographicParity: selected,
  truePositiveRate: tpr,
  falsePositiveRate: fpr,
  trueNegativeRate: (c) => 1 - fpr(c),
  falseNegativeRate: (c) => 1 - tpr(c),
}
const OBJECTIVES: Record<NonNullable<ThresholdOptions['objective']>, RuleRate> = {
  accuracy: (c) => (c.truePositives + c.negatives - c.falsePositives) / (c.positives + c.negatives),
  balancedAccuracy: (c) => (tpr(c) + 1 - fpr(c)) / 2,
}

/** Fitted thresholds; see {@link fitThresholds}. */
export class GroupThresholds {
  constructor(
    /** By group name, such as `sex=f`. */
    readonly rules: Readonly<Record<string, GroupRule>>,
    /** The common value of the constrained rate; for equalized odds the false positive rate. */
    readonly rate: number,
    /** The objective on the rows of the fit; other rows will do a little worse. */
    readonly objective: number,
    /** False where `deterministic` thresholds cannot come within the tolerance: these come nearest. */
    readonly feasible: boolean,
    /** Largest difference of the constrained rate between groups, on the rows of the fit. */
    readonly gap: number,
  ) {}

  #ruleOf(name: string): GroupRule {
    const rule = this.rules[name]
    if (rule) return rule
    throw new ArgumentError(
      `groups: no rows of '${name}' in the fit, so it has no threshold; fitted: ${Object.keys(this.rules).join('; ')}`,
    )
  }

  /** For each row the chance of a positive answer. @throws ArgumentError for a group that the fit has not seen. */
  probabilities(scores: ArrayLike<number>, groups: Record<string, GroupColumn>): Float64Array {
    checkScores('scores', scores, scores.length, false)
    const chances = new Float64Array(scores.length)
    for (const { name, rows } of partitionsOf(groups, scores.length)[0]!.groups) {
      if (rows.length === 0) continue
      const { ignore, constant, p0, rule0, p1, rule1 } = this.#ruleOf(name)
      for (const row of rows) {
        const mixed = p0 * answer(rule0, scores[row]!) + p1 * answer(rule1, scores[row]!)
        chances[row] = ignore * constant + (1 - ignore) * mixed
      }
    }
    return chances
  }

  /** Answers, 0 or 1; where chance decides, by the seed (default 0). @throws as probabilities. */
  predict(
    scores: ArrayLike<number>,
    groups: Record<string, GroupColumn>,
    options: { seed?: number } = {},
  ): Uint8Array {
    const random = new HostRandom(options.seed)
    return Uint8Array.from(this.probabilities(scores, groups), (chance) =>
      random.uniform() < chance ? 1 : 0,
    )
  }
}

function answer({ above, threshold }: ThresholdRule, score: number): number {
  return (above ? score > threshold : score < threshold) ? 1 : 0
}

/** A group in the fit. */
interface Fitted extends ScoredGroup {
  name: string
}

/**
 * Chooses thresholds for each group so that the constrained rate is equal in all of them and the objective is largest:
 * exactly, on the vertices of the hulls. Where no single threshold reaches the common rate, answers mix two by chance; use
 * `deterministic` where like cases must be answered alike. Fit on rows that the model was not trained on, and audit on others.
 * Hardt, Price and Srebro, NeurIPS 2016.
 * @throws ArgumentError where a group lacks positives or negatives that a rate needs, or options do not fit; ShapeError;
 * NonFiniteError for scores that are not finite.
 */
export function fitThresholds(options: ThresholdOptions): GroupThresholds {
  const {
    labels,
    scores,
    constraint = 'equalizedOdds',
    objective = 'accuracy',
    flip = false,
    deterministic,
  } = options
  if (constraint !== 'equalizedOdds' && !(constraint in RATES)) {
    throw new ArgumentError(
      `constraint is '${String(constraint)}'; expected equalizedOdds or one of ${Object.keys(RATES).join(', ')}`,
    )
  }
  if (!(objective in OBJECTIVES)) {
    throw new ArgumentError(`objective is '${String(objective)}'; expected accuracy or balancedAccuracy`)
  }
  checkLength('labels', labels, scores.length, 'scores')
  checkScores('scores', scores, labels.length, false)
  const classes = classesOf(labels)
  const positive = positiveOf(classes, options.positive)
  if (classes.length > 2)
    throw new ArgumentError(`labels have ${classes.length} classes; thresholds answer two`)
  const partition = partitionsOf(options.groups, labels.length)[0]
  if (!partition) throw new ArgumentError('groups: expected at least one sensitive column')
  const groups = partition.groups
    .filter(({ rows }) => rows.length > 0)
    .map(({ name, rows }) => ({
      name,
      scores: Float64Array.from(rows, (row) => scores[row]!),
      positive: Uint8Array.from(rows, (row) => Number(labels[row] === positive)),
    }))
  const needsBoth = constraint !== 'demographicParity' || objective === 'balancedAccuracy'
  for (const group of groups) {
    const hits = group.positive.reduce((sum, one) => sum + one, 0)
    if (needsBoth && (hits === 0 || hits === group.positive.length)) {
      throw new ArgumentError(
        `${group.name} has ${hits} positives among ${group.positive.length} rows; ${constraint} with ${objective} needs both labels in every group`,
      )
    }
  }
  if (constraint === 'equalizedOdds') {
    if (deterministic)
      throw new ArgumentError('deterministic: equalized odds needs mixing; constrain one rate instead')
    return equalOdds(groups, objective, flip, options.compat)
  }
  const curves = groups.map((group) => tradeoffPoints(group, RATES[constraint], OBJECTIVES[objective], flip))
  const shares = groups.map((group) => group.scores.length / labels.length)
  if (deterministic) return oneThresholdEach(groups, curves, shares, deterministic.tolerance ?? 0.05)
  return equalRate(groups, curves, shares, options.compat)
}

/** 1,001 points of [0, 1], as fairlearn's. */
function grid(): number[] {
  return Array.from({ length: 1001 }, (_, i) => i / 1000)
}

/** The first x with the largest value. */
function best(xs: readonly number[], value: (x: number) => number): { x: number; value: number } {
  let found = { x: xs[0]!, value: value(xs[0]!) }
  for (const x of xs) {
    const here = value(x)
    if (here > found.value + 1e-15) found = { x, value: here }
  }
  return found
}

function ascending(values: Iterable<number>): number[] {
  return [...new Set(values)].sort((a, b) => a - b)
}

function equalRate(
  groups: Fitted[],
  curves: TradeoffPoint[][],
  shares: number[],
  compat?: 'fairlearn',
): GroupThresholds {
  const hulls = curves.map(upperHull)
  const xs = compat ? grid() : ascending(hulls.flatMap((hull) => hull.map(({ x }) => x)))
  const { x, value } = best(xs, (at) =>
    hulls.reduce((sum, hull, g) => sum + shares[g]! * hullAt(hull, at).y, 0),
  )
  return fitted(
    groups,
    hulls.map((hull) => ({ ...ruleOf(hullAt(hull, x)), ignore: 0, constant: 0 })),
    x,
    value,
  )
}

function ruleOf({ y: _, ...rule }: Mixture): Omit<Mixture, 'y'> {
  return rule
}

function fitted(groups: Fitted[], rules: GroupRule[], rate: number, objective: number): GroupThresholds {
  return new GroupThresholds(
    Object.fromEntries(groups.map(({ name }, g) => [name, rules[g]!])),
    rate,
    objective,
    true,
    0,
  )
}

function equalOdds(
  groups: Fitted[],
  objective: NonNullable<ThresholdOptions['objective']>,
  flip: boolean,
  compat?: 'fairlearn',
): GroupThresholds {
  const hulls = groups.map((group) => upperHull(tradeoffPoints(group, fpr, tpr, flip)))
  const lowest = (x: number) => Math.min(...hulls.map((hull) => hullAt(hull, x).y))
  const rows = groups.reduce((sum, group) => sum + group.scores.length, 0)
  const hits = groups.reduce((sum, group) => sum + group.positive.reduce((n, one) => n + one, 0), 0)
  const share = objective === 'accuracy' ? hits / rows : 0.5
  const value = (x: number) => share * lowest(x) + (1 - share) * (1 - x)
  const vertices = ascending(hulls.flatMap((hull) => hull.map(({ x }) => x)))
  const found = best(compat ? grid() : ascending([...vertices, ...crossings(hulls, vertices)]), value)
  const y = lowest(found.x)
  const rules = hulls.map((hull) => {
    const own = hullAt(hull, found.x)
    // Above the common point: mixed with a coin of chance x, which lies on the diagonal below it.
    const ignore = own.y > found.x ? Math.max(0, (own.y - y) / (own.y - found.x)) : 0
    return { ...ruleOf(own), ignore, constant: found.x }
  })
  return fitted(groups, rules, found.x, found.value)
}

/** Where two hulls cross between neighbouring vertices: both are straight there. */
function crossings(hulls: readonly TradeoffPoint[][], vertices: readonly number[]): number[] {
  const found: number[] = []
  for (let i = 1; i < vertices.length; i++) {
    const [from, to] = [vertices[i - 1]!, vertices[i]!]
    const starts = hulls.map((hull) => hullAt(hull, from).y)
    const ends = hulls.map((hull) => hullAt(hull, to).y)
    for (let a = 0; a < hulls.length; a++) {
      for (let b = 0; b < a; b++) {
        const [left, right] = [starts[a]! - starts[b]!, ends[a]! - ends[b]!]
        if (left * right < 0) found.push(from + ((to - from) * left) / (left - right))
      }
    }
  }
  return found
}

/** One threshold each: the best choice whose rates all lie in a window as wide as the tolerance, or in the narrowest one. */
function oneThresholdEach(
  groups: Fitted[],
  curves: TradeoffPoint[][],
  shares: number[],
  tolerance: number,
): GroupThresholds {
  if (!(tolerance >= 0 && tolerance <= 1)) {
    throw new ArgumentError(`deterministic: tolerance is ${tolerance}; expected a number in [0, 1]`)
  }
  const lows = ascending(curves.flatMap((points) => points.map(({ x }) => x)))
  // From each low end, the narrowest window that holds a point of every group.
  const widths = lows.map((low) =>
    Math.max(
      ...curves.map((points) => Math.min(...points.filter(({ x }) => x >= low).map(({ x }) => x - low))),
    ),
  )
  const narrowest = Math.min(...widths)
  const width = Math.max(tolerance, narrowest)
  let chosen: TradeoffPoint[] = []
  let objective = -Infinity
  lows.forEach((low, i) => {
    if (widths[i]! > width + 1e-12) return
    const picks = curves.map((points) =>
      points
        .filter(({ x }) => x >= low - 1e-12 && x <= low + width + 1e-12)
        .reduce((top, point) => (point.y > top.y ? point : top)),
    )
    const value = picks.reduce((sum, { y }, g) => sum + shares[g]! * y, 0)
    if (value > objective + 1e-15) {
      objective = value
      chosen = picks
    }
  })
  const rules = chosen.map(({ rule }) => ({ ignore: 0, constant: 0, p0: 0, rule0: rule, p1: 1, rule1: rule }))
  const xs = chosen.map(({ x }) => x)
  const gap = Math.max(...xs) - Math.min(...xs)
  const rate = xs.reduce((sum, x, g) => sum + shares[g]! * x, 0)
  const named = Object.fromEntries(groups.map(({ name }, g) => [name, rules[g]!]))
  return new GroupThresholds(named, rate, objective, gap <= tolerance + 1e-12, gap)
}
