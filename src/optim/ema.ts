// An exponential moving average of weights, kept on their device: often better to evaluate than the weights themselves.

import { input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, FormatError } from '../errors'
import { zeros } from '../tensor/create'
import { cpu, to } from '../tensor/ops/cast'
import { escapeScopes, noGrad } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'
import { beside } from './optimizer'

export interface EMAState {
  updates: number
  decay: number
  /** The averages by the parameters' order: '0', '1', … */
  tensors: Record<string, Tensor>
}

/** Scalar: the share of the new value; 1 copies it exactly. */
const BLEND = new Program(
  [
    scalar(0)
      .ge(1)
      .where(input(1), input(0).add(input(1).sub(input(0)).mul(scalar(0)))),
  ],
  2,
  1,
)
const SWAP = new Program([input(1), input(0)], 2)

/**
 * average = average + (1 - decay) (weight - average) after every step; the first `update` copies the weights
 * (torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn). Nothing is read back.
 *
 * ```ts
 * const ema = new EMA(model.parameters(), { decay: 0.999 })
 * // in the loop, after optimizer.step():
 * ema.update()
 * // evaluation with the averaged weights:
 * const accuracy = await ema.use(() => evaluate(model))
 * ```
 */
export class EMA {
  readonly decay: number
  readonly #params: Tensor[]
  readonly #averages: Tensor[]
  #updates = 0
  #swapped = false

  /** `decay`: the share of the old average kept at each update, in [0, 1]. Default 0.999. */
  constructor(params: Iterable<Tensor>, { decay = 0.999 }: { decay?: number } = {}) {
    if (!(decay >= 0 && decay <= 1))
      throw new ArgumentError(`EMA: decay is ${decay}; expected a number in [0, 1]`)
    this.decay = decay
    this.#params = [...params]
    if (this.#params.length === 0) throw new ArgumentError('EMA: got no parameters; pass model.parameters()')
    for (const p of this.#params) {
      if (!(p instanceof Tensor) || !p.isLeaf)
        throw new ArgumentError('EMA: parameters must be leaf tensors; pass model.parameters()')
    }
    this.#averages = noGrad(() =>
      this.#params.map((p) => {
        const average = escapeScopes(zeros(p.shape, { dtype: p.dtype, device: p.device }))
        average.copy_(p)
        return average
      }),
    )
  }

  /** How many times `update` has been called. */
  get updates(): number {
    return this.#updates
  }

  /** True while the model holds the averaged weights. */
  get swapped(): boolean {
    return this.#swapped
  }

  /**
   * Takes the weights in. Call after each optimizer step.
   * @throws ArgumentError while the averages are swapped in; DeviceError as Optimizer.step.
   */
  update(): void {
    if (this.#swapped) throw new ArgumentError('EMA.update: the averages are in the model; swap() back first')
    this.#follow()
    const share = this.#updates === 0 ? 1 : 1 - this.decay
    this.#updates++
    this.#params.forEach((p, i) => {
      const average = this.#averages[i]
      if (p.size > 0) p.backend.elementwise(BLEND, [average.view(), p.view()], [share], [average.view()])
      average.storage.version++
    })
  }

  /** Exchanges weights and averages, on the device; a second call brings the weights back, bit for bit. */
  swap(): void {
    this.#follow()
    this.#params.forEach((p, i) => {
      const pair = [p.view(), this.#averages[i].view()]
      if (p.size > 0) p.backend.elementwise(SWAP, pair, [], pair)
      p.storage.version++
      this.#averages[i].storage.version++
    })
    this.#swapped = !this.#swapped
  }

  /** Runs `fn` with the averaged weights in the model and brings the others back, also after an error. */
  async use<R>(fn: () => R | Promise<R>): Promise<R> {
    if (this.#swapped) return await fn()
    this.swap()
    try {
      return await fn()
    } finally {
      this.swap()
    }
  }

  /** Brings the averages of parameters that are on the cpu there; needed once, after `await model.cpu()`. */
  async cpu(): Promise<this> {
    for (const [i, p] of this.#params.entries()) {
      const average = this.#averages[i]
      if (p.device !== 'cpu' || average.device === 'cpu') continue
      this.#averages[i] = escapeScopes(await cpu(average))
      average.dispose()
    }
    return this
  }

  #follow(): void {
    noGrad(() => {
      this.#params.forEach((p, i) => {
        this.#averages[i] = beside('EMA', p, this.#averages[i], p.dtype)
      })
    })
  }

  /** Counter, decay and averages (the live ones, not copies). @throws ArgumentError while swapped in. */
  stateDict(): EMAState {
    if (this.#swapped)
      throw new ArgumentError('EMA.stateDict: the averages are in the model; swap() back first')
    const tensors = Object.fromEntries(this.#averages.map((t, i) => [String(i), t]))
    return { updates: this.#updates, decay: this.decay, tensors }
  }

  /**
   * Continues from a saved state (with this object's decay); nothing changes if it does not fit.
   * @throws FormatError for another number of parameters or other shapes.
   */
  loadStateDict(saved: EMAState): void {
    if (this.#swapped)
      throw new ArgumentError('EMA.loadStateDict: the averages are in the model; swap() back first')
    const count = Object.keys(saved?.tensors ?? {}).length
    const problems: string[] = []
    if (!Number.isSafeInteger(saved?.updates) || saved.updates < 0) problems.push('it has no updates')
    if (count !== this.#params.length) problems.push(`${count} tensors, expected ${this.#params.length}`)
    this.#params.forEach((p, i) => {
      const t = saved?.tensors?.[i]
      if (t && !sameShape(t.shape, p.shape))
        problems.push(`'${i}' has shape ${formatShape(t.shape)}, the parameter ${formatShape(p.shape)}`)
      else if (!t && count === this.#params.length) problems.push(`'${i}' is missing`)
    })
    if (problems.length > 0) throw new FormatError(`EMA: the state does not fit: ${problems.join('; ')}`)
    this.#follow()
    noGrad(() => {
      // All values are where they belong before the first is written, so that a failure changes nothing.
      const staged = this.#averages.map((t, i) => to(saved.tensors[i], t.device))
      this.#averages.forEach((t, i) => {
        t.copy_(staged[i])
      })
    })
    this.#updates = saved.updates
  }
}
