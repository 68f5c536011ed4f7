// The one-cycle schedule (Smith and Topin 2018): up to a high rate and down to a very low one, as torch's OneCycleLR.

import { ArgumentError } from '../errors'

export interface OneCycleOptions {
  /** The highest rate, for all groups or for each. */
  maxLr: number | readonly number[]
  totalSteps: number
  /** Share of the steps in which the rate rises. Default 0.3. */
  pctStart?: number
  /** Default 'cos'. */
  annealStrategy?: 'cos' | 'linear'
  /** The first rate is maxLr / divFactor. Default 25. */
  divFactor?: number
  /** The last rate is maxLr / divFactor / finalDivFactor. Default 1e4. */
  finalDivFactor?: number
  /** A third phase, from the first rate to the last one, after a fall as long as the rise. Default false. */
  threePhase?: boolean
  /** Moves momentum (SGD, RMSprop) or beta1 (Adam) against the rate. Default false, unlike torch. */
  cycleMomentum?: boolean
  /** Momentum at the highest rate. Default 0.85. */
  baseMomentum?: number
  /** Momentum at the lowest rates. Default 0.95. */
  maxMomentum?: number
}

type CyclableGroup = { lr: number; momentum?: number; beta1?: number }
type Level = 'initial' | 'max' | 'min'

interface Phase {
  end: number
  lr: readonly [Level, Level]
  /** From and to: 0 is maxMomentum, 1 is baseMomentum. */
  momentum: readonly [number, number]
}

const ANNEAL = {
  cos: (from: number, to: number, share: number) => to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1),
  linear: (from: number, to: number, share: number) => (to - from) * share + from,
}

/** torch.optim.lr_scheduler.OneCycleLR: `step()` after each optimizer step; beyond `totalSteps` the last rate stays. */
export class OneCycleLR {
  readonly #groups: readonly CyclableGroup[]
  readonly #options: Required<OneCycleOptions>
  readonly #rates: Record<Level, number>[]
  readonly #phases: Phase[]
  #step = 0

  /** @throws ArgumentError for options out of range, and for cycleMomentum with an optimizer that has none. */
  constructor(optimizer: { readonly groups: readonly CyclableGroup[] }, options: OneCycleOptions) {
    const all = {
      pctStart: 0.3,
      annealStrategy: 'cos' as const,
      divFactor: 25,
      finalDivFactor: 1e4,
      threePhase: false,
      cycleMomentum: false,
      baseMomentum: 0.85,
      maxMomentum: 0.95,
      ...options,
    }
    this.#groups = optimizer.groups
    this.#options = all
    const { totalSteps, pctStart, divFactor, finalDivFactor, annealStrategy } = all
    const maxLr = typeof all.maxLr === 'number' ? this.#groups.map(() => all.maxLr as number) : [...all.maxLr]
    const check = (name: string, value: unknown, ok: boolean, expected: string): void => {
      if (!ok) throw new ArgumentError(`OneCycleLR: ${name} is ${value}; expected ${expected}`)
    }
    const fits = maxLr.length === this.#groups.length && maxLr.every((lr) => lr >= 0)
    check('maxLr', maxLr.join(', '), fits, `one rate for each of ${this.#groups.length} groups, at least 0`)
    check(
      'totalSteps',
      totalSteps,
      Number.isSafeInteger(totalSteps) && totalSteps >= 2,
      'an integer of at least 2',
    )
    check('pctStart', pctStart, pctStart >= 0 && pctStart <= 1, 'a number in [0, 1]')
    check('divFactor', divFactor, divFactor > 0, 'a number above 0')
    check('finalDivFactor', finalDivFactor, finalDivFactor > 0, 'a number above 0')
    check('annealStrategy', annealStrategy, annealStrategy in ANNEAL, "'cos' or 'linear'")
    for (const name of ['baseMomentum', 'maxMomentum'] as const)
      check(name, all[name], all[name] >= 0 && all[name] < 1, 'a number in [0, 1)')
    if (all.cycleMomentum && this.#groups.some((g) => g.momentum === undefined && g.beta1 === undefined))
      throw new ArgumentError('OneCycleLR: cycleMomentum needs an optimizer with momentum or beta1')
    this.#rates = maxLr.map((max) => {
      const initial = max / divFactor
      return { initial, max, min: initial / finalDivFactor }
    })
    const rise: Phase = { end: pctStart * totalSteps - 1, lr: ['initial', 'max'], momentum: [0, 1] }
    const last = totalSteps - 1
    this.#phases = all.threePhase
      ? [
          rise,
          { end: 2 * pctStart * totalSteps - 2, lr: ['max', 'initial'], momentum: [1, 0] },
          { end: last, lr: ['initial', 'min'], momentum: [0, 0] },
        ]
      : [rise, { end: last, lr: ['max', 'min'], momentum: [1, 0] }]
    this.#apply()
  }

  /** Call once after each optimizer step. */
  step(): void {
    this.#step++
    this.#apply()
  }

  /** The current rate of each group. */
  get lr(): number[] {
    return this.#groups.map((g) => g.lr)
  }

  #apply(): void {
    const { totalSteps, cycleMomentum, baseMomentum, maxMomentum, annealStrategy } = this.#options
    const anneal = ANNEAL[annealStrategy]
    const at = Math.min(this.#step, totalSteps - 1)
    const index = this.#phases.findIndex(({ end }) => at <= end)
    const phase = this.#phases[index]
    const start = index === 0 ? 0 : this.#phases[index - 1].end
    const share = phase.end === start ? 1 : (at - start) / (phase.end - start)
    const momentum = (level: number): number => (level === 1 ? baseMomentum : maxMomentum)
    this.#groups.forEach((group, i) => {
      group.lr = anneal(this.#rates[i][phase.lr[0]], this.#rates[i][phase.lr[1]], share)
      if (!cycleMomentum) return
      const value = anneal(momentum(phase.momentum[0]), momentum(phase.momentum[1]), share)
      if (group.beta1 === undefined) group.momentum = value
      else group.beta1 = value
    })
  }

  /** The step alone: rates follow from the options. */
  stateDict(): { step: number } {
    return { step: this.#step }
  }

  loadStateDict({ step }: { step: number }): void {
    if (!(Number.isSafeInteger(step) && step >= 0))
      throw new ArgumentError(`OneCycleLR: step is ${step}; expected an integer of at least 0`)
    this.#step = step
    this.#apply()
  }
}
