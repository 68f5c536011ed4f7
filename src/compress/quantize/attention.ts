// The input projections of attention from int8 weights.

import type { Linear } from '../../nn/linear'
import { InputProjection, type MultiheadAttention } from '../../nn/multihead-attention'
import type { Parameter } from '../../nn/parameter'
import type { Tensor } from '../../tensor/tensor'
import type { QuantizedLinear } from './linear'

/** Queries, keys and values of one `QuantizedLinear`, in this order, as MultiheadAttention's packed projection. */
export class QuantizedProjection extends InputProjection {
  static override readonly keys = { layer: '' }
  readonly layer: QuantizedLinear

  constructor(layer: QuantizedLinear) {
    super()
    this.layer = layer
  }

  get reference(): Tensor {
    return this.layer.weightScale
  }

  forward(x: Tensor, first: number, count: number): Tensor {
    const inner = this.layer.outFeatures / 3
    return this.layer.rows(x, first * inner, count * inner)
  }
}

/** What `QuantizedLinear.from` reads of a layer. */
export type LinearLike = Pick<Linear, 'inFeatures' | 'outFeatures' | 'weight' | 'bias' | 'training'>

/** The packed projection of an attention layer as a linear one. */
export function packedProjection({ inProjWeight, inProjBias, training }: MultiheadAttention): LinearLike {
  const weight = inProjWeight as Parameter
  const [outFeatures, inFeatures] = weight.shape
  return { inFeatures, outFeatures, weight, bias: inProjBias, training }
}
