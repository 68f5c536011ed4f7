// The training loop and what it reports: `evenfold/train`. None of the library needs it.

import '../tensor/methods'

export { type Evaluation, evaluateClassifier, wilson } from './metrics'
export type {
  BatchOf,
  CheckpointOptions,
  MonitorOptions,
  Progress,
  Scheduler,
  TrainLoader,
  TrainOptions,
  TrainResult,
} from './options'
export { train } from './train'
