// Matrix products.

import { record } from '../../autograd/tape'
import type { View } from '../../backend/types'
import { DTypeError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { broadcastShapes, broadcastStrides, formatShape, sizeOf } from '../shape'
import { scalarType, Tensor } from '../tensor'
import { sameDevice, sumTo } from './apply'
import { fillStorage, reshape, squeeze, transpose, unsqueeze } from './views'

/**
 * `a @ b` with PyTorch's rules: vectors count as a row on the left and a column on the right, leading axes broadcast.
 * Float dtypes only, equal on both sides.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const shapes = `${formatShape(a.shape)} and ${formatShape(b.shape)}`
  if (a.ndim === 0 || b.ndim === 0)
    throw new ShapeError(`matmul: operands need at least one axis, got ${shapes}${inModule()}`)
  if (a.dtype !== b.dtype || scalarType(a.dtype) !== 'float') {
    throw new DTypeError(
      `matmul: expected two tensors of one float dtype, got ${a.dtype} and ${b.dtype}${inModule()}`,
    )
  }
  if (a.shape[a.ndim - 1] !== b.shape[Math.max(0, b.ndim - 2)]) {
    throw new ShapeError(
      `matmul: shapes ${shapes} do not fit${inModule()}; the last axis of the first (${a.shape[a.ndim - 1]}) ` +
        `must equal the ${b.ndim === 1 ? 'only' : 'second to last'} axis of the second (${b.shape[Math.max(0, b.ndim - 2)]})`,
    )
  }
  if (a.ndim === 1) return tidy(() => squeeze(matmul(unsqueeze(a, 0), b), -(b.ndim === 1 ? 1 : 2)))
  if (b.ndim === 1) return tidy(() => squeeze(matmul(a, unsqueeze(b, 1)), -1))
  if (b.ndim === 2 && a.ndim > 2) {
    // One large product instead of a batch of small ones; its weight gradient is one product too.
    const outer = a.shape.slice(0, -1)
    return tidy(() =>
      reshape(product(reshape(a, [sizeOf(outer), a.shape[a.ndim - 1]]), b), [...outer, b.shape[1]]),
    )
  }
  return product(a, b)
}

/** Batched product of operands with at least two axes; recorded. */
function product(a: Tensor, b: Tensor): Tensor {
  const backend = sameDevice('matmul', [a, b])
  const batch = broadcastShapes(`matmul${inModule()}`, a.shape.slice(0, -2), b.shape.slice(0, -2))
  const [m, k] = a.shape.slice(-2)
  const n = b.shape[b.ndim - 1]
  const out = Tensor.allocate(backend, a.dtype, [...batch, m, n])
  if (k === 0) fillStorage(out, 0)
  else if (out.size > 0)
    backend.matmul(spread(a, [...batch, m, k]), spread(b, [...batch, k, n]), out.view(), false)
  record('matmul', [a, b], [out], [a, b], ([g], [x, y], [needA, needB]) => {
    if (!g) return [null, null]
    return [
      needA ? sumTo(productLike(x, g, transpose(y, -1, -2)), x.shape) : null,
      needB ? sumTo(productLike(y, transpose(x, -1, -2), g), y.shape) : null,
    ]
  })
  return out
}

/** The product, in memory the way `like` is: a weight that is read transposed gets its gradient without a copy. */
function productLike(like: Tensor, a: Tensor, b: Tensor): Tensor {
  const [row, column] = like.strides.slice(-2)
  if (row !== 1 || column === 1) return product(a, b)
  return transpose(product(transpose(b, -1, -2), transpose(a, -1, -2)), -1, -2)
}

function spread(t: Tensor, shape: readonly number[]): View {
  return { ...t.view(), shape, strides: broadcastStrides(t.shape, t.strides, shape) }
}
