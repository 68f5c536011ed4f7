// Statistics on plain numbers; nothing here knows of groups or models.

export {
  bootstrap,
  type BootstrapOptions,
  type BootstrapResult,
  pairedBootstrap,
  type ResampleOptions,
  type Statistic,
} from './bootstrap'
export { benjaminiHochberg, holm } from './multiple'
export { oddsRatio, type OddsRatio } from './odds-ratio'
export type { Interval, LevelOptions } from './options'
export { mcnemar, type McNemarOptions, tangoInterval, tangoTest } from './paired'
export { permutationTest, type PermutationOptions, type PermutationTest } from './permutation'
export { clopperPearson, wilsonInterval } from './proportion'
export { welch, type WelchTest } from './welch'
