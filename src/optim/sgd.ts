// Stochastic gradient descent with momentum and Nesterov's form, as torch.optim.SGD.

import { scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError } from '../errors'
import type { Tensor } from '../tensor/tensor'
import { checkRange, type Group, Optimizer, type ParameterGroup, unless, updateInputs } from './optimizer'

export interface SGDOptions {
  /** Learning rate. Default 1e-3. */
  lr: number
  /** Default 0. */
  momentum: number
  /** Share of the gradient kept out of the momentum buffer. Default 0. */
  dampening: number
  /** L2 penalty added to the gradient. Default 0. */
  weightDecay: number
  /** Default false. Needs momentum and no dampening. */
  nesterov: boolean
}

const [LR, DECAY, MOMENTUM, TAKE] = Array.from({ length: 4 }, (_, i) => scalar(i))

function plain(): Program {
  const { p, g, bad } = updateInputs(0)
  return new Program([unless(bad, p.sub(LR.mul(g.add(p.mul(DECAY)))), p)], 3, 4)
}

/** `TAKE` is 1 - dampening, and 1 at a parameter's first step, where the buffer is the gradient itself. */
function withMomentum(nesterov: boolean): Program {
  const { p, g, bad, state } = updateInputs(1)
  const [buffer] = state
  const grad = g.add(p.mul(DECAY))
  const next = buffer.mul(MOMENTUM).add(grad.mul(TAKE))
  const direction = nesterov ? grad.add(next.mul(MOMENTUM)) : next
  return new Program([unless(bad, p.sub(LR.mul(direction)), p), unless(bad, next, buffer)], 4, 4)
}

const PLAIN = plain()
const CLASSIC = withMomentum(false)
const NESTEROV = withMomentum(true)

/** torch.optim.SGD. */
export class SGD extends Optimizer<SGDOptions> {
  constructor(
    params: Iterable<Tensor> | Iterable<ParameterGroup<SGDOptions>>,
    options: Partial<SGDOptions> = {},
  ) {
    super(params, { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, ...options })
  }

  protected check({ lr, momentum, dampening, weightDecay, nesterov }: Group<SGDOptions>): void {
    checkRange('SGD', 'lr', lr, lr >= 0, 'a number at least 0')
    checkRange('SGD', 'momentum', momentum, momentum >= 0, 'a number at least 0')
    checkRange('SGD', 'weightDecay', weightDecay, weightDecay >= 0, 'a number at least 0')
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new ArgumentError(
        `SGD: nesterov needs momentum above 0 and dampening 0, got ${momentum} and ${dampening}`,
      )
    }
  }

  protected stateNames({ momentum }: Group<SGDOptions>): readonly string[] {
    return momentum === 0 ? [] : ['momentumBuffer']
  }

  protected update(
    { lr, momentum, dampening, weightDecay, nesterov }: Group<SGDOptions>,
    t: number,
  ): { program: Program; scalars: number[] } {
    const scalars = [lr, weightDecay, momentum, t === 1 ? 1 : 1 - dampening]
    return { program: momentum === 0 ? PLAIN : nesterov ? NESTEROV : CLASSIC, scalars }
  }
}
