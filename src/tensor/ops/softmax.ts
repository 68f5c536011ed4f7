// Softmax and its relatives, shifted by the largest value so that nothing overflows.

import { record } from '../../autograd/tape'
import { constant, type Expr, input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { RowPlan } from '../../backend/rows'
import { gradEnabled, noGrad, tidy } from '../scope'
import { normalizeDim, normalizeDims } from '../shape'
import type { Tensor } from '../tensor'
import { map, mapReduce, mapRows, mapSum, requireFloat } from './apply'
import { add, log } from './elementwise'
import type { Dims, ReduceOptions } from './reduce'
import { copy, detach, reshape } from './views'

const EXP_SHIFTED = new Program([input(0).sub(input(1)).exp()], 2)
const IDENTITY = new Program([input(0)], 1)
const PRODUCT = new Program([input(0).mul(input(1))], 2)
const SOFTMAX_GRADIENT = new Program([input(1).mul(input(0).sub(input(2)))], 3)
const LOG_SOFTMAX_GRADIENT = new Program([input(0).sub(input(1).exp().mul(input(2)))], 3)
/** The largest value to subtract: 0 where it is infinite, so that inf - inf never appears. */
const finiteOrZero = (x: Expr): Expr => x.abs().eq(Number.POSITIVE_INFINITY).where(0, x)
const FINITE_OR_ZERO = new Program([finiteOrZero(input(0))], 1)

const SOFTMAX = new RowPlan(['float'], ([x], reduce) => {
  const power = x.sub(finiteOrZero(reduce('max', x))).exp()
  return { elements: [power.mul(constant(1).div(reduce('sum', power)))] }
})
const LOG_SOFTMAX = new RowPlan(['float'], ([x], reduce) => {
  const shifted = x.sub(finiteOrZero(reduce('max', x)))
  return { elements: [shifted.sub(reduce('sum', shifted.exp()).log())] }
})
const SOFTMAX_BACKWARD = new RowPlan(['float', 'float'], ([g, y], reduce) => ({
  elements: [y.mul(g.sub(reduce('sum', g.mul(y))))],
}))
const LOG_SOFTMAX_BACKWARD = new RowPlan(['float', 'float'], ([g, y], reduce) => ({
  elements: [g.sub(y.exp().mul(reduce('sum', g)))],
}))

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
  const [out] = mapRows('softmax', SOFTMAX, [x], [], dims)
  record('softmax', [x], [out], [out], ([g], [y]) => {
    if (!g) return [null]
    if (!gradEnabled()) return mapRows('softmax backward', SOFTMAX_BACKWARD, [g, y], [], dims)
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
  const [out] = mapRows('logSoftmax', LOG_SOFTMAX, [x], [], dims)
  record('logSoftmax', [x], [out], [out], ([g], [y]) => {
    if (!g) return [null]
    if (!gradEnabled()) return mapRows('logSoftmax backward', LOG_SOFTMAX_BACKWARD, [g, y], [], dims)
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
