// Pruning: masks, and parts that leave the model.

export type { Amount } from './amount'
export type { Cut } from './cuts'
export { removeLayers, type RemoveLayersOptions } from './layers'
export { Mask } from './mask'
export { makePermanent, setMask, undoPruning } from './masks'
export { prune, type PrunedParameter, type PruneOptions } from './prune'
export {
  removeHeads,
  type RemoveHeadsOptions,
  removeUnits,
  type RemoveUnitsOptions,
  type RemoveOptions,
  type Removed,
} from './remove'
export { type Heads, type LayerRule, registerLayer } from './rules'
export { movementScores, type Scores, snipScores, taylorScores, wandaScores } from './scores'
export {
  cubicSparsity,
  type CubicSparsityOptions,
  gradualPruning,
  type GradualPruningOptions,
  type IterativePruningOptions,
  iterativePruning,
  lotteryTicket,
  type LotteryTicketOptions,
  rewind,
  snapshot,
} from './schedules'
export type { Port, TracedPort, Tracer } from './trace'
export {
  type MaskRule,
  type MaskTraining,
  TrainedMask,
  trainMasks,
  type TrainMasksOptions,
} from './trained-mask'
export {
  type TrimmedVocabulary,
  trimmedVocabulary,
  trimVocabulary,
  type TrimVocabularyOptions,
} from './vocabulary'
