// A smaller model that learns from a larger one.

export {
  distilBertLoss,
  type DistilBertLoss,
  type DistilBertLossOptions,
  type MaskedLMStates,
} from './distilbert-loss'
export {
  type HintMatch,
  Hints,
  type HintsOptions,
  pkdMatches,
  Regressor,
  type RegressorOptions,
} from './hint-layers'
export {
  attentionMse,
  type AttentionMseOptions,
  attentionTransfer,
  type AttentionTransferOptions,
  embeddingMse,
  fsp,
  hiddenCosine,
  hiddenMse,
  type HintOptions,
  pkd,
} from './hints'
export {
  type DistillationLoss,
  distillationLoss,
  type DistillationLossOptions,
  softTargetLoss,
  type SoftTargetOptions,
} from './soft-targets'
export {
  type DistillBatch,
  Distiller,
  type DistillerOptions,
  type PrepareOptions,
  runTeacher,
  type TeacherCacheOptions,
  type TeacherOutputs,
} from './distiller'
export { DISTILBERT_LAYERS, keepLayers, studentConfig, studentFrom, type StudentOptions } from './student'
