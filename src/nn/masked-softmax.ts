// Softmax over the kept positions only.

import { ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { where } from '../tensor/ops/elementwise'
import { softmax } from '../tensor/ops/softmax'
import { tidy } from '../tensor/scope'
import { broadcastShapes, formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

/** Far below any score, yet finite in float32: a row of nothing else gives no NaN. */
const FAR_BELOW = -3e38

/**
 * softmax(x) along `dim` over the positions where `mask` (bool, broadcast to x) is true; exactly 0 elsewhere. Where
 * none is kept all weights are 0, and so are the gradients.
 */
export function maskedSoftmax(x: Tensor, mask: Tensor, dim: number): Tensor {
  if (!sameShape(broadcastShapes('maskedSoftmax', mask.shape, x.shape), x.shape)) {
    throw new ShapeError(
      `maskedSoftmax: mask of shape ${formatShape(mask.shape)} does not broadcast to ${formatShape(x.shape)}${inModule()}`,
    )
  }
  return tidy(() => where(mask, softmax(where(mask, x, FAR_BELOW), dim), 0))
}
