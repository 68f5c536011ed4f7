// Learning-rate schedules: a factor of each group's initial rate as a function of the step.

import { ArgumentError } from '../errors'

/** What a schedule needs of an optimizer. */
export interface Schedulable {
  readonly groups: readonly { lr: number }[]
}

/** Sets each group's lr to its initial lr times `factor(step)`; steps count from 0 (torch.optim.lr_scheduler.LambdaLR). */
export class LambdaLR {
  readonly #optimizer: Schedulable
  readonly #factor: (step: number) => number
  #initial: number[]
  #step = 0

  constructor(optimizer: Schedulable, factor: (step: number) => number) {
    this.#optimizer = optimizer
    this.#factor = factor
    this.#initial = optimizer.groups.map((g) => g.lr)
    this.#apply()
  }

  /** Call once after each optimizer step. */
  step(): void {
    this.#step++
    this.#apply()
  }

  /** The current rate of each group. */
  get lr(): number[] {
    return this.#optimizer.groups.map((g) => g.lr)
  }

  #apply(): void {
    this.#optimizer.groups.forEach((g, i) => {
      g.lr = this.#initial[i] * this.#factor(this.#step)
    })
  }

  stateDict(): { step: number; initial: number[] } {
    return { step: this.#step, initial: [...this.#initial] }
  }

  loadStateDict({ step, initial }: { step: number; initial: number[] }): void {
    if (initial.length !== this.#optimizer.groups.length) {
      throw new ArgumentError(
        `loadStateDict: schedule of ${initial.length} groups for an optimizer with ${this.#optimizer.groups.length}`,
      )
    }
    this.#step = step
    this.#initial = [...initial]
    this.#apply()
  }
}

function checkSteps(name: string, warmupSteps: number, totalSteps: number): void {
  if (!(warmupSteps >= 0) || !(totalSteps >= warmupSteps)) {
    throw new ArgumentError(
      `${name}: warmupSteps ${warmupSteps} and totalSteps ${totalSteps} must satisfy 0 <= warmupSteps <= totalSteps`,
    )
  }
}

/** From 0 up to the initial rate over `warmupSteps`, then linearly down to 0 at `totalSteps`. */
export function linearScheduleWithWarmup(
  optimizer: Schedulable,
  warmupSteps: number,
  totalSteps: number,
): LambdaLR {
  checkSteps('linearScheduleWithWarmup', warmupSteps, totalSteps)
  return new LambdaLR(optimizer, (step) =>
    step < warmupSteps
      ? step / Math.max(1, warmupSteps)
      : Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps)),
  )
}

/** From 0 up over `warmupSteps`, then along `cycles` waves of a cosine (default half of one: down to 0 at `totalSteps`). */
export function cosineScheduleWithWarmup(
  optimizer: Schedulable,
  warmupSteps: number,
  totalSteps: number,
  { cycles = 0.5 }: { cycles?: number } = {},
): LambdaLR {
  checkSteps('cosineScheduleWithWarmup', warmupSteps, totalSteps)
  return new LambdaLR(optimizer, (step) => {
    if (step < warmupSteps) return step / Math.max(1, warmupSteps)
    const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps)
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)))
  })
}

/** Half a cosine from the initial rate to `etaMin` (Loshchilov and Hutter 2017), period 2 `tMax`, torch's CosineAnnealingLR. */
export function cosineAnnealing(
  optimizer: Schedulable,
  tMax: number,
  { etaMin = 0 }: { etaMin?: number } = {},
): LambdaLR {
  if (!(tMax > 0)) throw new ArgumentError(`cosineAnnealing: tMax is ${tMax}; expected a number above 0`)
  const base = optimizer.groups.map((g) => g.lr)
  if (base.some((lr) => lr !== base[0])) {
    throw new ArgumentError('cosineAnnealing: groups have different rates; use a LambdaLR of your own')
  }
  const floor = base[0] === 0 ? 0 : etaMin / base[0]
  return new LambdaLR(
    optimizer,
    (step) => floor + ((1 - floor) * (1 + Math.cos((Math.PI * step) / tMax))) / 2,
  )
}

/** The initial rate times `gamma` for every `stepSize` steps done (torch's StepLR). */
export function stepLR(
  optimizer: Schedulable,
  stepSize: number,
  { gamma = 0.1 }: { gamma?: number } = {},
): LambdaLR {
  if (!(Number.isSafeInteger(stepSize) && stepSize >= 1))
    throw new ArgumentError(`stepLR: stepSize is ${stepSize}; expected a positive integer`)
  return new LambdaLR(optimizer, (step) => gamma ** Math.floor(step / stepSize))
}

/** The initial rate times `gamma` for every milestone reached (torch's MultiStepLR); a repeated one counts twice. */
export function multiStepLR(
  optimizer: Schedulable,
  milestones: readonly number[],
  { gamma = 0.1 }: { gamma?: number } = {},
): LambdaLR {
  const bad = milestones.find((m) => !(Number.isSafeInteger(m) && m >= 0))
  if (bad !== undefined)
    throw new ArgumentError(`multiStepLR: a milestone is ${bad}; expected integers of at least 0`)
  const reached = [...milestones]
  return new LambdaLR(optimizer, (step) => gamma ** reached.filter((m) => m <= step).length)
}
