// Lowers the rate when a metric stops getting better, as torch's ReduceLROnPlateau.

import { ArgumentError } from '../errors'
import type { Schedulable } from './schedule'

export interface PlateauOptions {
  /** Which values are better. Default 'min'. */
  mode?: 'min' | 'max'
  /** What the rate is multiplied by, in [0, 1). Default 0.1. */
  factor?: number
  /** So many values without progress are borne; the next one lowers the rate. Default 10. */
  patience?: number
  /** Smaller progress counts as none. Default 1e-4. */
  threshold?: number
  /** Whether `threshold` is a share of the best value or a difference. Default 'rel'. */
  thresholdMode?: 'rel' | 'abs'
  /** After a reduction so many values are not counted. Default 0. */
  cooldown?: number
  /** No rate goes below. Default 0. */
  minLr?: number
  /** A change of the rate not above this is left out. Default 1e-8. */
  eps?: number
}

export interface PlateauState {
  /** Null before the first value. */
  best: number | null
  bad: number
  cooldown: number
}

/** torch.optim.lr_scheduler.ReduceLROnPlateau: `step(value)` after each evaluation. */
export class ReduceLROnPlateau {
  readonly #optimizer: Schedulable
  readonly #options: Required<PlateauOptions>
  #state: PlateauState = { best: null, bad: 0, cooldown: 0 }

  /** @throws ArgumentError for options out of range. */
  constructor(optimizer: Schedulable, options: PlateauOptions = {}) {
    const all = {
      mode: 'min' as const,
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: 'rel' as const,
      cooldown: 0,
      minLr: 0,
      eps: 1e-8,
      ...options,
    }
    const check = (name: keyof PlateauOptions, ok: boolean, expected: string): void => {
      if (!ok) throw new ArgumentError(`ReduceLROnPlateau: ${name} is ${all[name]}; expected ${expected}`)
    }
    check('mode', all.mode === 'min' || all.mode === 'max', "'min' or 'max'")
    check('thresholdMode', all.thresholdMode === 'rel' || all.thresholdMode === 'abs', "'rel' or 'abs'")
    check('factor', all.factor >= 0 && all.factor < 1, 'a number in [0, 1)')
    for (const name of ['patience', 'cooldown'] as const)
      check(name, Number.isSafeInteger(all[name]) && all[name] >= 0, 'an integer of at least 0')
    for (const name of ['threshold', 'minLr', 'eps'] as const)
      check(name, all[name] >= 0, 'a number of at least 0')
    this.#optimizer = optimizer
    this.#options = all
  }

  /** Takes the next value of the metric in; NaN is never better. */
  step(value: number): void {
    const { patience, cooldown, factor, minLr, eps } = this.#options
    const state = this.#state
    if (this.#isBetter(value)) {
      state.best = value
      state.bad = 0
    } else state.bad++
    if (state.cooldown > 0) {
      state.cooldown--
      state.bad = 0
    }
    if (state.bad <= patience) return
    for (const group of this.#optimizer.groups) {
      const next = Math.max(group.lr * factor, minLr)
      if (group.lr - next > eps) group.lr = next
    }
    state.cooldown = cooldown
    state.bad = 0
  }

  #isBetter(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.#options
    const sign = mode === 'min' ? -1 : 1
    const best = this.#state.best ?? Number.NEGATIVE_INFINITY * sign
    return thresholdMode === 'rel'
      ? sign * value > sign * best * (1 + sign * threshold)
      : sign * value > sign * best + threshold
  }

  /** The current rate of each group. */
  get lr(): number[] {
    return this.#optimizer.groups.map((g) => g.lr)
  }

  /** What it remembers; the rates are part of the optimizer's state. */
  stateDict(): PlateauState {
    return { ...this.#state }
  }

  loadStateDict({ best, bad, cooldown }: PlateauState): void {
    const counts = [bad, cooldown].every((n) => Number.isSafeInteger(n) && n >= 0)
    if (!counts || !(best === null || typeof best === 'number'))
      throw new ArgumentError('ReduceLROnPlateau: the state needs best, bad and cooldown')
    this.#state = { best, bad, cooldown }
  }
}
