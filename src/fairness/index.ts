// Fairness: measures of groups, the statistics that say how sure they are, audits and repairs: `evenfold/fairness`.

export { auditCompression, auditSweep, type DefaultMetric } from './audit'
export type {
  Answers,
  Audit,
  AuditData,
  AuditModel,
  AuditOptions,
  AuditRuns,
  Change,
  Flips,
  GapChange,
  GroupAudit,
} from './audit-types'
export {
  type ClassShift,
  classShifts,
  type ModalExemplar,
  modalExemplars,
  type Population,
  type TaxicabExemplar,
  taxicabExemplars,
} from './exemplars'
export { type GroupColumn, MISSING } from './groups'
export {
  consistency,
  type ConsistencyOptions,
  type CounterfactualFlips,
  counterfactualFlips,
} from './individual'
export {
  benefits,
  betweenGroupEntropy,
  coefficientOfVariation,
  type EntropyOptions,
  generalizedEntropy,
  theil,
} from './inequality'
export type { CompareOptions, Comparison, Compat, Excluded, Measure } from './measure'
export {
  type Estimate,
  type FrameIntervals,
  type FrameQuery,
  type GroupMeasures,
  MetricFrame,
  type MetricFrameOptions,
  type ReferenceComparison,
  type ReferenceQuery,
} from './metric-frame'
export {
  accuracy,
  baseRate,
  customMetric,
  errorRate,
  f1,
  falseDiscoveryRate,
  falseNegativeRate,
  falseOmissionRate,
  falsePositiveRate,
  macro,
  type Metric,
  type MetricFunction,
  negativePredictiveValue,
  oneVsRest,
  precision,
  type Rate,
  selectionRate,
  trueNegativeRate,
  truePositiveRate,
} from './metrics'
export {
  accuracyParity,
  type AverageOdds,
  averageOdds,
  demographicParity,
  type EqualizedOdds,
  equalizedOdds,
  equalOpportunity,
  errorRateParity,
  type Parity,
  type ParityOptions,
  type ParityValue,
  predictiveParity,
} from './parity'
export {
  meanAbsoluteError,
  meanError,
  meanPrediction,
  meanSquaredError,
  rootMeanSquaredError,
} from './regression-metrics'
export {
  fitThresholds,
  type GroupRule,
  GroupThresholds,
  type ThresholdConstraint,
  type ThresholdOptions,
} from './repair/thresholds'
export type { ThresholdRule } from './repair/tradeoff'
export type { Label, Rows } from './rows'
export {
  type BinOptions,
  brierScore,
  expectedCalibrationError,
  logLoss,
  reliability,
  type ReliabilityBin,
  rocAuc,
  type SubgroupAuc,
  subgroupAuc,
} from './score-metrics'
export * from './statistics'
export type { Correction, Decision, Verdict } from './verdict'
