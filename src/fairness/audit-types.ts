// What an audit takes and gives.

import type { GroupColumn } from './groups'
import type { Measure } from './measure'
import type { Metric } from './metrics'
import type { Label } from './rows'
import type { ModalExemplar } from './exemplars'
import type { OddsRatio } from './statistics/odds-ratio'
import type { Interval } from './statistics/options'
import type { WelchTest } from './statistics/welch'
import type { Correction, Decision, Verdict } from './verdict'

/** A model's answers to the audit's rows, in their order. */
export interface Answers {
  predictions: ArrayLike<Label>
  /** Probabilities of the positive class; needed by metrics of scores alone. */
  scores?: ArrayLike<number>
}

/** Answers, or what computes them when the audit begins. */
export type AuditModel = Answers | (() => Answers | Promise<Answers>)

/** One model, or the same model trained from several seeds. */
export type AuditRuns = AuditModel | readonly AuditModel[]

/** The rows that both models answered. */
export interface AuditData {
  labels: ArrayLike<Label>
  weights?: ArrayLike<number>
}

/** How {@link auditCompression} judges. */
export interface AuditOptions<M extends string> {
  /**
   * How much worse a metric may become before it is harm, in the metric's own unit (0.01 is one point of accuracy); one for
   * all metrics, or one each. Choose it before looking.
   */
  margin: number | Record<NoInfer<M>, number>
  /** Sensitive columns; each is audited, and their intersection. Classes and all rows are always audited. */
  groups?: Record<string, GroupColumn>
  /** By name. Default: accuracy, and with two classes also true and false positive rate. */
  metrics?: Record<M, Metric>
  positive?: Label
  /** `regression`: labels are numbers, so there are no classes and no flips. Default `classification`. */
  task?: 'classification' | 'regression'
  /** Fewer supporting rows than this are no evidence. Default 30. */
  minSupport?: number
  /** 1 - the chance of any wrong decision among all comparisons. Default 0.95. */
  level?: number
  /** How verdicts allow for many comparisons. Default `holm`. */
  correction?: Correction
  /** For bootstrap intervals; 0 leaves them out where verdicts do not need them. Default 2000. */
  resamples?: number
  /** Equal seeds give equal audits. Default 0. */
  seed?: number
}

/** What became of one metric in one group. */
export interface Change {
  before: Measure
  after: Measure
  /** After minus before. */
  difference?: number
  /** The difference over the value before: 0.5 is half as much again. */
  relative?: number
  /** Paired bootstrap interval of the difference, uncorrected; for display. */
  interval?: Interval
  verdict: Verdict
  /** Why the evidence is insufficient. */
  reason?: string
  /** How it was decided: at the margin, corrected for all comparisons. Without support there is no test. */
  test?: Omit<Decision, 'verdict' | 'reason'> & { method: 'tango' | 'bootstrap'; margin: number }
  /** Several seeds: the metric of each model, and Welch's test between the two sets. */
  seeds?: { before: (number | undefined)[]; after: (number | undefined)[]; welch?: WelchTest }
}

/** How answers changed, row by row; over all pairs of seeds. */
export interface Flips {
  stayedRight: number
  rightToWrong: number
  wrongToRight: number
  stayedWrong: number
  /** From one wrong answer to another. */
  wrongToOtherWrong: number
  /** Share of rows with another answer. */
  churn: Measure
  /** McNemar's mid-p, of rightToWrong against wrongToRight, and adjusted by Holm over the audit; for one pair of models. */
  mcnemar?: { p: number; adjustedP: number }
}

/** One group before and after compression. */
export interface GroupAudit<M extends string> {
  /** 'all rows', a sensitive column, their intersection ('sex x age') or 'class'. */
  partition: string
  /** `sex=f, age=old`. */
  name: string
  levels: Record<string, string>
  n: number
  metrics: Partial<Record<M, Change>>
  flips?: Flips
  /** How many exemplars lie in the group, and whether they are commoner there than elsewhere. */
  exemplars?: { count: number; enrichment?: OddsRatio }
  verdict: Verdict
}

/** The largest difference between groups, before and after. */
export interface GapChange<M extends string> {
  partition: string
  metric: M
  before?: number
  after?: number
  /** After minus before: above 0 where groups moved apart. */
  difference?: number
  /** Paired bootstrap interval of that. */
  interval?: Interval
}

/** What compression changed. */
export interface Audit<M extends string> {
  rows: number
  models: { base: number; compressed: number }
  level: number
  correction: Correction
  /** How many comparisons the verdicts are corrected for; over a whole sweep. */
  comparisons: number
  groups: GroupAudit<M>[]
  gaps: GapChange<M>[]
  /** Rows whose (commonest) answer changed. They name rows, never a sensitive value. */
  exemplars: ModalExemplar[]
  /** Harm if any comparison says so; no harm if all do. */
  verdict: Verdict
}
