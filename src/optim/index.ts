// Optimizers, gradient clipping and learning-rate schedules.

import '../tensor/methods'

export { Adam, type AdamOptions, AdamW } from './adam'
export { clipGradNorm, clipGradValue } from './clip'
export { type Group, Optimizer, type OptimizerState, type ParameterGroup } from './optimizer'
export {
  cosineAnnealing,
  cosineScheduleWithWarmup,
  LambdaLR,
  linearScheduleWithWarmup,
  type Schedulable,
} from './schedule'
export { SGD, type SGDOptions } from './sgd'
