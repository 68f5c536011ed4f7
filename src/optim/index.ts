// Optimizers, gradient clipping and learning-rate schedules.

export { Adam, type AdamOptions, AdamW } from './adam'
export { clipGradNorm, clipGradValue } from './clip'
export { EMA, type EMAState } from './ema'
export { OneCycleLR, type OneCycleOptions } from './one-cycle'
export { type Group, Optimizer, type OptimizerState, type ParameterGroup } from './optimizer'
export { type PlateauOptions, type PlateauState, ReduceLROnPlateau } from './plateau'
export { RMSprop, type RMSpropOptions } from './rmsprop'
export {
  cosineAnnealing,
  cosineScheduleWithWarmup,
  LambdaLR,
  linearScheduleWithWarmup,
  multiStepLR,
  type Schedulable,
  stepLR,
} from './schedule'
export { SGD, type SGDOptions } from './sgd'
