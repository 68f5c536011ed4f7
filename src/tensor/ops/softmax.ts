// Softmax and its relatives, shifted by the largest value so that nothing overflows.

import { record } from '../../autograd/tape'
import { input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { noGrad, tidy } from '../scope'
import { normalizeDim, normalizeDims } from '../shape'
import type { Tensor } from '../tensor'
import { map, mapReduce, mapSum, requireFloat } from './apply'
import { add, log } from './elementwise'
import type { Dims, ReduceOptions } from './reduce'
import { copy, detach, reshape } from './views'

const EXP_SHIFTED = new Program([input(0).sub(input(1)).exp()], 2)
const NORMALIZED = new Program([input(0).sub(input(1)).exp().div(input(2))], 3)
const LOG_NORMALIZED = new Program([input(0).sub(input(1)).sub(input(2).log())], 3)
const IDENTITY = new Program([input(0)], 1)
const PRODUCT = new Program([input(0).mul(input(1))], 2)
const SOFTMAX_GRADIENT = new Program([input(1).mul(input(0).sub(input(2)))], 3)
const LOG_SOFTMAX_GRADIENT = new Program([input(0).sub(input(1).exp().mul(input(2)))], 3)
/** The largest value to subtract: 0 where it is infinite, so that inf - inf never appears. */
const FINITE_OR_ZERO = new Program([input(0).abs().eq(Number.POSITIVE_INFINITY).where(0, input(0))], 1)

function shifted(op: string, x: Tensor, dims: readonly number[]): [shift: Tensor, total: Tensor] {
  const shift = map(op, FINITE_OR_ZERO, [mapReduce('max', op, IDENTITY, [x], [], dims, true)])[0]
  return [shift, mapReduce('sum', op, EXP_SHIFTED, [x, shift], [], dims, true)]
}

/** exp(x) / sum(exp(x)) along `dim`. */
export function softmax(x: Tensor, dim: number): Tensor {
  requireFloat('softmax', x)
  const d = normalizeDim('softmax', dim, x.ndim)
  if (x.size === 0) return copy(x)
  const dims = x.ndim === 0 ? [] : [d]
  const out = noGrad(() => map('softmax', NORMALIZED, [x, ...shifted('softmax', x, dims)])[0])
  record('softmax', [x], [out], [out], ([g], [y]) => {
    if (!g) return [null]
    const dot = mapSum('softmax backward', PRODUCT, [g, y], [], dims, true)
    return [map('softmax backward', SOFTMAX_GRADIENT, [g, y, dot])[0]]
  })
  return out
}

/** log(softmax(x)) along `dim`, accurate where the probability underflows. */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  requireFloat('logSoftmax', x)
  const d = normalizeDim('logSoftmax', dim, x.ndim)
  if (x.size === 0) return copy(x)
  const dims = x.ndim === 0 ? [] : [d]
  const out = noGrad(() => map('logSoftmax', LOG_NORMALIZED, [x, ...shifted('logSoftmax', x, dims)])[0])
  record('logSoftmax', [x], [out], [out], ([g], [y]) => {
    if (!g) return [null]
    const total = mapSum('logSoftmax backward', IDENTITY, [g], [], dims, true)
    return [map('logSoftmax backward', LOG_SOFTMAX_GRADIENT, [g, y, total])[0]]
  })
  return out
}

/** log(sum(exp(x))) over `dims` (default: all). -Infinity where all are. */
export function logsumexp(x: Tensor, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  requireFloat('logsumexp', x)
  const axes = normalizeDims('logsumexp', dims, x.ndim)
  return tidy(() => {
    // The shift is a constant to the gradient: it cancels.
    const shift = noGrad(() => shifted('logsumexp', detach(x), axes)[0])
    const total = log(mapSum('logsumexp', EXP_SHIFTED, [x, shift], [], axes, true))
    const wide = add(total, shift)
    return keepdim
      ? wide
      : reshape(
          wide,
          x.shape.filter((_, i) => !axes.includes(i)),
        )
  })
}
