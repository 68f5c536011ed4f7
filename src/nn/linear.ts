// Linear: y = x W' + b.

import { ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { add } from '../tensor/ops/elementwise'
import { matmul } from '../tensor/ops/matmul'
import { transpose } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { kaimingUniform_, uniform_ } from './init'
import { Module } from './module'
import { checkSizes, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

/**
 * `input` [..., in] times the transpose of `weight` [out, in], plus `bias` [out], gives [..., out].
 * @throws ShapeError if the last axis is not `in`.
 */
export function linear(input: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  if (input.ndim === 0 || input.shape[input.ndim - 1] !== weight.shape[1]) {
    throw new ShapeError(
      `linear: input of shape ${formatShape(input.shape)} does not fit weight ${formatShape(weight.shape)}${inModule()}; ` +
        `the last axis of the input must have ${weight.shape[1]} elements`,
    )
  }
  return tidy(() => {
    const product = matmul(input, transpose(weight, 0, 1))
    return bias ? add(product, bias) : product
  })
}

/**
 * Fully connected layer, torch.nn.Linear: [..., inFeatures] to [..., outFeatures]. Weight and bias start uniform on
 * ±1/sqrt(inFeatures).
 */
export class Linear extends Module {
  readonly inFeatures: number
  readonly outFeatures: number
  /** [outFeatures, inFeatures] */
  weight: Parameter
  /** [outFeatures] */
  bias: Parameter | null

  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true, ...options }: LayerOptions & { bias?: boolean } = {},
  ) {
    super()
    checkSizes('Linear', { inFeatures, outFeatures })
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    this.weight = kaimingUniform_(newParameter('Linear', [outFeatures, inFeatures], options), {
      a: Math.sqrt(5),
    })
    const bound = 1 / Math.sqrt(inFeatures)
    this.bias = bias ? uniform_(newParameter('Linear', [outFeatures], options), -bound, bound) : null
  }

  forward(input: Tensor): Tensor {
    return linear(input, this.weight, this.bias)
  }
}
