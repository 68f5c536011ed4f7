// Losses and gradient norms, read some steps late, so that no step waits for the device.

import { NonFiniteError } from '../errors'
import type { Optimizer } from '../optim/optimizer'
import { stack } from '../tensor/ops/join'
import { noGrad } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'

/** A step whose numbers are still on the device. */
export interface OpenStep {
  step: number
  lr: number
  examples: number
  /** One element. */
  loss: Tensor
  gradNorm: Tensor | null
}

/** A step whose numbers have arrived. */
export interface ReadStep extends Omit<OpenStep, 'loss' | 'gradNorm'> {
  loss: number
  gradNorm: number | null
}

export class Watch {
  readonly #optimizer: Optimizer<{ lr: number }>
  /** What to take from the optimizer's step numbers to get ours. */
  readonly #offset: number
  #open: OpenStep[] = []
  #reading: Promise<ReadStep[]> | null = null

  constructor(optimizer: Optimizer<{ lr: number }>, step: number) {
    this.#optimizer = optimizer
    this.#offset = optimizer.stepCount - step
    optimizer.clearBadStep()
  }

  /** Takes over the tensors of a step. */
  add(step: OpenStep): void {
    this.#open.push(step)
  }

  /** Steps that no read has been started for. */
  get open(): number {
    return this.#open.length
  }

  /**
   * Starts to read the steps added since the last call, and resolves to those of the call before.
   * @throws NonFiniteError naming the first step whose loss, gradient or norm is not finite.
   */
  async turn(): Promise<ReadStep[]> {
    const arrived = this.#reading
    this.#reading = this.#open.length > 0 ? this.#read(this.#open) : null
    this.#reading?.catch(() => {}) // thrown when it is awaited
    this.#open = []
    return (await arrived) ?? []
  }

  /** Reads everything. */
  async drain(): Promise<ReadStep[]> {
    return [...(await this.turn()), ...(await this.turn())]
  }

  async #read(steps: readonly OpenStep[]): Promise<ReadStep[]> {
    // All reads start before the first is awaited: they see the device as it is now.
    const [losses, norms, badStep] = await Promise.all([
      together(steps.map(({ loss }) => loss)),
      together(steps.flatMap(({ gradNorm }) => gradNorm ?? [])),
      this.#optimizer.firstBadStep(),
    ])
    const bad = badStep === null ? Number.POSITIVE_INFINITY : badStep - this.#offset
    const read = steps.map((step, i) => ({ ...step, loss: losses[i], gradNorm: norms[i] ?? null }))
    for (const { step, loss, gradNorm } of read) {
      if (!Number.isFinite(loss)) throw notFinite(`the loss of step ${step} is ${loss}`)
      if (step >= bad) throw notFinite(`a gradient of step ${bad} is not finite (the loss is ${loss})`)
      if (gradNorm !== null && !Number.isFinite(gradNorm)) {
        throw notFinite(`the gradient norm of step ${step} is ${gradNorm}`)
      }
    }
    return read
  }
}

async function together(scalars: readonly Tensor[]): Promise<ArrayLike<number>> {
  if (scalars.length === 0) return []
  const all = noGrad(() => stack(scalars.map((t) => t.reshape([]))))
  for (const t of scalars) t.dispose()
  try {
    return await all.data()
  } finally {
    all.dispose()
  }
}

function notFinite(what: string): NonFiniteError {
  return new NonFiniteError(
    `train: ${what}. Updates with such gradients were left out, so the weights are finite, and the last checkpoint ` +
      'is untouched. Lower the learning rate, clip gradients (clipNorm), or find the op with ef.detectAnomaly.',
  )
}
