// RMSprop (Hinton's lecture 6e, 2012), with the centered form of Graves (2013) and momentum, as torch.optim.RMSprop.

import { constant, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import type { Tensor } from '../tensor/tensor'
import { checkRange, type Group, Optimizer, type ParameterGroup, unless, updateInputs } from './optimizer'

export interface RMSpropOptions {
  /** Learning rate. Default 0.01. */
  lr: number
  /** Decay rate of the mean square. Default 0.99. */
  alpha: number
  /** Added to the root of the mean square. Default 1e-8. */
  eps: number
  /** L2 penalty added to the gradient. Default 0. */
  weightDecay: number
  /** Default 0. */
  momentum: number
  /** Divides by the standard deviation instead of the root mean square. Default false. */
  centered: boolean
}

/** Scalars: lr, alpha, eps, weightDecay, momentum. State: the mean square, then the mean and the buffer where kept. */
function build(centered: boolean, withMomentum: boolean): Program {
  const { p, g, bad, state } = updateInputs(1 + Number(centered) + Number(withMomentum))
  const [lr, alpha, eps, decay, momentum] = Array.from({ length: 5 }, (_, i) => scalar(i))
  const rest = constant(1).sub(alpha)
  const grad = g.add(p.mul(decay))
  const square = state[0].mul(alpha).add(grad.mul(grad).mul(rest))
  const next = [square]
  let spread = square
  if (centered) {
    const mean = state[1].add(grad.sub(state[1]).mul(rest))
    next.push(mean)
    // Rounding can take the variance of a steady gradient below 0.
    spread = square.sub(mean.mul(mean)).max(0)
  }
  let direction = grad.div(spread.sqrt().add(eps))
  if (withMomentum) {
    direction = state[next.length].mul(momentum).add(direction)
    next.push(direction)
  }
  const outputs = [unless(bad, p.sub(lr.mul(direction)), p), ...next.map((n, i) => unless(bad, n, state[i]))]
  return new Program(outputs, 3 + state.length, 5)
}

const PROGRAMS = [false, true].map((centered) => [build(centered, false), build(centered, true)])

/** torch.optim.RMSprop. */
export class RMSprop extends Optimizer<RMSpropOptions> {
  constructor(
    params: Iterable<Tensor> | Iterable<ParameterGroup<RMSpropOptions>>,
    options: Partial<RMSpropOptions> = {},
  ) {
    const defaults = { lr: 0.01, alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: 0, centered: false }
    super(params, { ...defaults, ...options })
  }

  protected check({ lr, alpha, eps, weightDecay, momentum }: Group<RMSpropOptions>): void {
    checkRange('RMSprop', 'lr', lr, lr >= 0, 'a number at least 0')
    checkRange('RMSprop', 'alpha', alpha, alpha >= 0 && alpha <= 1, 'a number in [0, 1]')
    checkRange('RMSprop', 'eps', eps, eps >= 0, 'a number at least 0')
    checkRange('RMSprop', 'weightDecay', weightDecay, weightDecay >= 0, 'a number at least 0')
    checkRange('RMSprop', 'momentum', momentum, momentum >= 0, 'a number at least 0')
  }

  protected stateNames({ centered, momentum }: Group<RMSpropOptions>): readonly string[] {
    return ['squareAvg', ...(centered ? ['gradAvg'] : []), ...(momentum > 0 ? ['momentumBuffer'] : [])]
  }

  protected update({ lr, alpha, eps, weightDecay, momentum, centered }: Group<RMSpropOptions>): {
    program: Program
    scalars: number[]
  } {
    return {
      program: PROGRAMS[Number(centered)][Number(momentum > 0)],
      scalars: [lr, alpha, eps, weightDecay, momentum],
    }
  }
}
