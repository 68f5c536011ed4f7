// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), in torch's form.

import { constant, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import type { Tensor } from '../tensor/tensor'
import { checkRange, type Group, Optimizer, type ParameterGroup, unless, updateInputs } from './optimizer'

export interface AdamOptions {
  /** Learning rate. Default 1e-3. */
  lr: number
  /** Decay rates of the moments. Defaults 0.9 and 0.999. */
  beta1: number
  beta2: number
  /** Added to the root of the second moment. Default 1e-8. */
  eps: number
  /** Adam: L2 penalty added to the gradient, default 0. AdamW: decoupled decay, default 0.01. */
  weightDecay: number
}

/** Scalars: lr, beta1, beta2, eps, weightDecay, 1 - beta1^t, sqrt(1 - beta2^t). */
function build(decoupled: boolean): Program {
  const { p, g, bad, state } = updateInputs(2)
  const [m, v] = state
  const [lr, beta1, beta2, eps, decay, correction1, correction2] = Array.from({ length: 7 }, (_, i) =>
    scalar(i),
  )
  const one = constant(1)
  const grad = decoupled ? g : g.add(p.mul(decay))
  const start = decoupled ? p.mul(one.sub(lr.mul(decay))) : p
  const nextM = m.add(grad.sub(m).mul(one.sub(beta1)))
  const nextV = v.mul(beta2).add(grad.mul(grad).mul(one.sub(beta2)))
  const nextP = start.sub(lr.div(correction1).mul(nextM).div(nextV.sqrt().div(correction2).add(eps)))
  return new Program([unless(bad, nextP, p), unless(bad, nextM, m), unless(bad, nextV, v)], 5, 7)
}

const ADAM = build(false)
const ADAMW = build(true)

abstract class AdamFamily extends Optimizer<AdamOptions> {
  protected abstract readonly program: Program

  protected check({ lr, beta1, beta2, eps, weightDecay }: Group<AdamOptions>): void {
    const name = this.constructor.name
    checkRange(name, 'lr', lr, lr >= 0, 'a number at least 0')
    checkRange(name, 'beta1', beta1, beta1 >= 0 && beta1 < 1, 'a number in [0, 1)')
    checkRange(name, 'beta2', beta2, beta2 >= 0 && beta2 < 1, 'a number in [0, 1)')
    checkRange(name, 'eps', eps, eps >= 0, 'a number at least 0')
    checkRange(name, 'weightDecay', weightDecay, weightDecay >= 0, 'a number at least 0')
  }

  protected stateNames(): readonly string[] {
    return ['expAvg', 'expAvgSq']
  }

  protected update(
    { lr, beta1, beta2, eps, weightDecay }: Group<AdamOptions>,
    t: number,
  ): { program: Program; scalars: number[] } {
    const scalars = [lr, beta1, beta2, eps, weightDecay, 1 - beta1 ** t, Math.sqrt(1 - beta2 ** t)]
    return { program: this.program, scalars }
  }
}

const DEFAULTS = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8 }

/** Adam with an L2 penalty in the gradient (torch.optim.Adam). */
export class Adam extends AdamFamily {
  protected get program(): Program {
    return ADAM
  }
  constructor(
    params: Iterable<Tensor> | Iterable<ParameterGroup<AdamOptions>>,
    options: Partial<AdamOptions> = {},
  ) {
    super(params, { ...DEFAULTS, weightDecay: 0, ...options })
  }
}

/** Adam with decoupled weight decay (torch.optim.AdamW). */
export class AdamW extends AdamFamily {
  protected get program(): Program {
    return ADAMW
  }
  constructor(
    params: Iterable<Tensor> | Iterable<ParameterGroup<AdamOptions>>,
    options: Partial<AdamOptions> = {},
  ) {
    super(params, { ...DEFAULTS, weightDecay: 0.01, ...options })
  }
}
