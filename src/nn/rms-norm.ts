// RMSNorm (Zhang and Sennrich 2019): each example is scaled to mean square 1 over its last axes; no shift.
//
//   y = x / sqrt(mean(x²) + eps) * w

import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { requireFloat } from '../tensor/ops/apply'
import { add, mul, rsqrt, square } from '../tensor/ops/elementwise'
import { mean } from '../tensor/ops/reduce'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape, type Shape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { ones_ } from './init'
import { Module } from './module'
import { checkEps, checkSizes, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

export interface RmsNormFunctionOptions {
  /** Of the normalized shape. */
  weight?: Tensor | null
  /** Added to the mean square. Default: the smallest step above 1 in x's dtype, as in torch. */
  eps?: number | null
}

/**
 * Divides `x` by its root mean square over the last axes, whose sizes are `normalizedShape`; then scales by `weight`.
 * @throws ShapeError if x does not end in `normalizedShape`.
 */
export function rmsNorm(
  x: Tensor,
  normalizedShape: Shape,
  { weight = null, eps = null }: RmsNormFunctionOptions = {},
): Tensor {
  requireFloat('rmsNorm', x)
  const lead = x.ndim - normalizedShape.length
  if (normalizedShape.length === 0 || lead < 0 || !sameShape(x.shape.slice(lead), normalizedShape)) {
    throw new ShapeError(
      `rmsNorm: input of shape ${formatShape(x.shape)} does not end in the normalized shape ${formatShape(normalizedShape)}${inModule()}`,
    )
  }
  if (weight && !sameShape(weight.shape, normalizedShape)) {
    throw new ShapeError(
      `rmsNorm: weight has shape ${formatShape(weight.shape)}${inModule()}; expected ${formatShape(normalizedShape)}`,
    )
  }
  if (weight && weight.dtype !== x.dtype) {
    throw new DTypeError(
      `rmsNorm: input is ${x.dtype} and weight ${weight.dtype}${inModule()}; they must be equal`,
    )
  }
  const dims = normalizedShape.map((_, i) => lead + i)
  const floor = eps ?? (x.dtype === 'float64' ? Number.EPSILON : 2 ** -23)
  return tidy(() => {
    const scaled = mul(x, rsqrt(add(mean(square(x), dims, { keepdim: true }), floor)))
    return weight ? mul(scaled, weight) : scaled
  })
}

export interface RMSNormOptions extends LayerOptions {
  /** Default: the smallest step above 1 in the input's dtype, as in torch. */
  eps?: number | null
  /** Whether there is a weight. Default true. */
  elementwiseAffine?: boolean
}

/** torch.nn.RMSNorm over the last axes, of sizes `normalizedShape`. The weight starts at 1. */
export class RMSNorm extends Module {
  readonly normalizedShape: readonly number[]
  readonly eps: number | null
  weight: Parameter | null

  constructor(
    normalizedShape: number | Shape,
    { eps = null, elementwiseAffine = true, ...options }: RMSNormOptions = {},
  ) {
    super()
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape]
    if (shape.length === 0)
      throw new ArgumentError('RMSNorm: normalizedShape is empty; expected at least one axis')
    checkSizes('RMSNorm', Object.fromEntries(shape.map((n, i) => [`normalizedShape[${i}]`, n])))
    if (eps !== null) checkEps('RMSNorm', 'eps', eps)
    this.normalizedShape = shape
    this.eps = eps
    this.weight = elementwiseAffine ? ones_(newParameter('RMSNorm', shape, options)) : null
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps })
  }
}
