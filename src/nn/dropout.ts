// Dropout (Srivastava et al. 2014), scaled in training so that evaluation needs no change.

import { input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { map, requireFloat } from '../tensor/ops/apply'
import { bernoulli } from '../tensor/random'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Module } from './module'
import { checkProbability } from './options'

const KEEP_AND_SCALE = new Program([input(1, 'bool').where(input(0).mul(scalar(0)), 0)], 2, 1)

/**
 * Each element is 0 with probability `p` (default 0.5), else divided by 1 - p. Without `training`, or for p = 0, the
 * input itself.
 */
export function dropout(
  x: Tensor,
  { p = 0.5, training = true }: { p?: number; training?: boolean } = {},
): Tensor {
  requireFloat('dropout', x)
  checkProbability('dropout', 'p', p)
  if (!training || p === 0) return x
  return tidy(() => {
    const kept = bernoulli(1 - p, x.shape, { device: x.device })
    return map('dropout', KEEP_AND_SCALE, [x, kept], [p === 1 ? 0 : 1 / (1 - p)])[0]
  })
}

/** torch.nn.Dropout: drops in training mode, passes on in evaluation mode. */
export class Dropout extends Module {
  constructor(readonly p = 0.5) {
    super()
    checkProbability('Dropout', 'p', p)
  }

  forward(x: Tensor): Tensor {
    return dropout(x, { p: this.p, training: this.training })
  }
}
