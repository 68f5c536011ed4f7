// When how much goes: gradual sparsity, and rounds of pruning and training with or without going back to earlier weights.

import { ArgumentError, FormatError } from '../../errors'
import type { Module, StateDict } from '../../nn/module'
import { namedOriginals } from '../../nn/parametrize'
import { copyInto } from '../../tensor/mutate'
import { cast } from '../../tensor/ops/cast'
import { copy } from '../../tensor/ops/views'
import { escapeScopes, noGrad } from '../../tensor/scope'
import { sameShape } from '../../tensor/shape'
import { recordPass } from '../passes'
import { prune, type PruneOptions } from './prune'

export interface CubicSparsityOptions {
  /** Sparsity up to `begin`. Default 0. */
  initial?: number
  /** Sparsity from `begin + steps` on. */
  final: number
  /** Default 0. */
  begin?: number
  steps: number
}

/**
 * Sparsity by step, fast at first and slow at the end (Zhu and Gupta 2017):
 * final + (initial - final) (1 - (step - begin) / steps)³, and the ends before and after.
 * @throws ArgumentError for sparsities outside [0, 1] and for fewer than one step.
 */
export function cubicSparsity({
  initial = 0,
  final,
  begin = 0,
  steps,
}: CubicSparsityOptions): (step: number) => number {
  for (const [name, s] of Object.entries({ initial, final })) {
    if (!(s >= 0 && s <= 1))
      throw new ArgumentError(`cubicSparsity: ${name} is ${s}; expected a share from 0 to 1`)
  }
  if (!(steps >= 1)) throw new ArgumentError(`cubicSparsity: steps is ${steps}; expected at least 1`)
  return (step) => {
    const done = Math.min(1, Math.max(0, (step - begin) / steps))
    return final + (initial - final) * (1 - done) ** 3
  }
}

export interface GradualPruningOptions extends CubicSparsityOptions, Omit<PruneOptions, 'amount' | 'score'> {
  /** Steps between two prunings. Default 100. */
  every?: number
}

/**
 * Gradual magnitude pruning (AGP): call the function returned after each optimizer step, with its number from 0; at every
 * `every`-th step from `begin` to `begin + steps` it prunes to the sparsity of that step. It resolves to that sparsity, null
 * where it pruned nothing.
 */
export function gradualPruning(
  model: Module,
  { every = 100, initial, final, begin = 0, steps, ...options }: GradualPruningOptions,
): (step: number) => Promise<number | null> {
  if (!(Number.isInteger(every) && every >= 1))
    throw new ArgumentError(`gradualPruning: every is ${every}; expected a positive integer`)
  const sparsityAt = cubicSparsity({ initial, final, begin, steps })
  return async (step) => {
    const since = step - begin
    if (since < 0 || since > steps || (since % every !== 0 && since !== steps)) return null
    const sparsity = sparsityAt(step)
    await prune(model, { ...options, amount: { sparsity } })
    return sparsity
  }
}

/** Copies of all parameters and buffers, under the keys that they have without masks; for `rewind`. */
export function snapshot(model: Module): StateDict {
  return noGrad(() => {
    const buffers = model.namedBuffers().filter(([name]) => !isPartOfParametrization(name))
    return Object.fromEntries(
      [...namedOriginals(model), ...buffers].map(([name, t]) => [name, escapeScopes(copy(t))]),
    )
  })
}

/**
 * Sets a model's values to those of a snapshot, or of a state dict saved before it was masked. Masks stay.
 * @throws FormatError for missing parameters and other shapes; nothing is changed then.
 */
export function rewind(model: Module, state: Readonly<StateDict>): void {
  const buffers = model.namedBuffers().filter(([name, b]) => b.persistent && !isPartOfParametrization(name))
  const targets = [...namedOriginals(model), ...buffers]
  const wrong = targets.filter(([name, t]) => !state[name] || !sameShape(state[name].shape, t.shape))
  if (wrong.length > 0) {
    throw new FormatError(
      `rewind: the state lacks, or has in another shape: ${wrong.map(([name]) => name).join(', ')}; nothing was changed`,
    )
  }
  noGrad(() => {
    for (const [name, t] of targets) copyInto(t, cast(state[name], t.dtype))
  })
}

function isPartOfParametrization(name: string): boolean {
  return /(^|\.)parametrizations\./.test(name)
}

export interface IterativePruningOptions extends Omit<PruneOptions, 'amount' | 'score'> {
  /** Rounds of pruning and training. Default 9. */
  rounds?: number
  /**
   * Sparsity after the pruning of a round (from 0). Default (round + 1) / (rounds + 1): 0.1, 0.2 … 0.9 in nine rounds, each of
   * them 1 / (10 - round) of what remains.
   */
  sparsity?: (round: number) => number
  /**
   * Trains the model after the pruning of a round; before the first pruning, with -1, if `trainFirst`. Makes its optimizer
   * and schedule anew, since what they had gathered belongs to other weights, and disposes the optimizer at the end.
   */
  train: (round: number) => unknown
  /** Whether to train before the first pruning, for weights that are not trained yet. Default false. */
  trainFirst?: boolean
  /**
   * What the weights go back to after each pruning: a `snapshot` of any step, or a function that gives it, for a step of the
   * first training. Default: they stay as trained.
   */
  rewindTo?: Readonly<StateDict> | (() => Readonly<StateDict>)
  /** Whether the weights go back after the last training too, so that what is left is a mask on them. Default false. */
  rewindAtEnd?: boolean
}

/**
 * Iterative magnitude pruning: prune the smallest weights, train, and again. With `rewindTo` the weights return to earlier values
 * after each pruning (IMP-rw). By default weights compete over the whole model.
 * @throws ArgumentError for rounds and sparsities out of range.
 */
export async function iterativePruning(model: Module, options: IterativePruningOptions): Promise<void> {
  const { rounds = 9, train, trainFirst = false, rewindTo, rewindAtEnd = false, ...rest } = options
  const { sparsity = (round: number) => (round + 1) / (rounds + 1), scope = 'global', ...pruning } = rest
  if (!(Number.isInteger(rounds) && rounds >= 1))
    throw new ArgumentError(`iterativePruning: rounds is ${rounds}; expected a positive integer`)
  if (rewindAtEnd && !rewindTo)
    throw new ArgumentError('iterativePruning: rewindAtEnd needs rewindTo, the weights to go back to')
  const goBack = (): void => {
    if (rewindTo) rewind(model, typeof rewindTo === 'function' ? rewindTo() : rewindTo)
  }
  if (trainFirst) await train(-1)
  for (let round = 0; round < rounds; round++) {
    const where = pruning.dim === undefined ? { scope } : {}
    await prune(model, { ...pruning, ...where, amount: { sparsity: sparsity(round) } })
    goBack()
    await train(round)
  }
  if (rewindAtEnd) goBack()
  recordPass(model, 'iterativePruning', { rounds, trainFirst, rewinds: rewindTo !== undefined, rewindAtEnd })
}

export interface LotteryTicketOptions extends Omit<IterativePruningOptions, 'sparsity' | 'trainFirst'> {
  /** Share of what remains that each round prunes. Default 0.2. */
  fraction?: number
}

/**
 * Finds a lottery ticket (Frankle and Carbin 2019): train, prune the smallest weights, put the rest back to where they started,
 * again. `rewindTo` says where that is: by default the weights as they are now; a step of the first training for late
 * rewinding (Frankle et al. 2020). The ticket is left trained, or with `rewindAtEnd` as it was drawn.
 */
export async function lotteryTicket(
  model: Module,
  { fraction = 0.2, rewindTo, ...options }: LotteryTicketOptions,
): Promise<void> {
  if (!(fraction > 0 && fraction < 1))
    throw new ArgumentError(`lotteryTicket: fraction is ${fraction}; expected a share between 0 and 1`)
  const start = rewindTo ?? snapshot(model)
  try {
    await iterativePruning(model, {
      ...options,
      sparsity: (round) => 1 - (1 - fraction) ** (round + 1),
      trainFirst: true,
      rewindTo: start,
    })
  } finally {
    if (!rewindTo) for (const t of Object.values(start)) t.dispose()
  }
}
