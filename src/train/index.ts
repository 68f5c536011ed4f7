// The training loop and what it reports: `evenfold/train`. None of the library needs it.

export { wilson } from '../fairness/statistics/proportion'
export { type Classification, ClassificationMetrics, RocAuc } from './counts'
export { type Evaluation, evaluateClassifier } from './metrics'
export type {
  BatchOf,
  CheckpointOptions,
  EvaluationEvent,
  MetricScheduler,
  MonitorOptions,
  Progress,
  Scheduler,
  StepEvent,
  TrainCallback,
  TrainLoader,
  TrainOptions,
  TrainResult,
} from './options'
export { type ClassScores, classScores, rocAuc } from './scores'
export { TensorBoard } from './tensorboard'
export { train } from './train'
