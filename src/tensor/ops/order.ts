// Order and running sums along an axis.
//
// sort and topk are a sort of the indices and a lookup, whose gradient is that of the lookup. topk sorts the whole line: a
// selection of its own would have to keep the same order of ties on both devices, and a sort of n elements is log2(n)
// cheap passes.

import { record } from '../../autograd/tape'
import { ArgumentError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { normalizeDim } from '../shape'
import { scalarType, Tensor } from '../tensor'
import { gather } from './indexing'
import type { Extrema } from './reduce'
import { copy, fillStorage, flip, narrow, permute, reshape } from './views'

export interface SortOptions {
  /** From the largest to the smallest. Default false. */
  descending?: boolean
}

/**
 * Indices that sort `x` along `dim` (default: the last). Stable: equal elements keep their order, also when descending. NaN
 * comes last in either direction. int32.
 */
export function argsort(x: Tensor, dim = -1, { descending = false }: SortOptions = {}): Tensor {
  const d = normalizeDim('argsort', dim, x.ndim)
  if (x.ndim === 0) {
    const out = Tensor.allocate(x.backend, 'int32', [])
    fillStorage(out, 0)
    return out
  }
  return tidy(() => {
    const order = [...x.shape.keys()].filter((i) => i !== d)
    const lines = permute(x, [...order, d])
    const out = Tensor.allocate(x.backend, 'int32', lines.shape)
    if (out.size > 0) x.backend.argSort(descending, lines.view(), out.view())
    const back = [...order.keys()]
    back.splice(d, 0, order.length)
    return permute(out, back)
  })
}

/** `{ values, indices }` of `x` sorted along `dim` (default: the last), in the order of `argsort`. */
export function sort(x: Tensor, dim = -1, options: SortOptions = {}): Extrema {
  return tidy(() => {
    const indices = argsort(x, dim, options)
    return { values: x.ndim === 0 ? copy(x) : gather(x, dim, indices), indices }
  })
}

/**
 * The `k` largest elements along `dim` (default: the last), or with `largest: false` the smallest, best first, and where
 * they are; ties to the lowest index. NaN is taken only where there are fewer than `k` numbers.
 */
export function topk(
  x: Tensor,
  k: number,
  dim = -1,
  { largest = true }: { largest?: boolean } = {},
): Extrema {
  const d = normalizeDim('topk', dim, x.ndim)
  const size = x.ndim === 0 ? 1 : x.shape[d]
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ArgumentError(
      `topk: k is ${k}; expected a whole number from 0 to ${size}, the size of dim ${d}${inModule()}`,
    )
  }
  return tidy(() => {
    const line = x.ndim === 0 ? reshape(x, [1]) : x
    // A copy: the view would hold on to the whole order.
    const indices = copy(narrow(argsort(line, d, { descending: largest }), d, 0, k))
    const values = gather(line, d, indices)
    return x.ndim === 0 && k === 1
      ? { values: reshape(values, []), indices: reshape(indices, []) }
      : { values, indices }
  })
}

/** Running sum along `dim`: element i is the sum of the elements up to and with i. int32 and bool give int32. */
export function cumsum(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('cumsum', dim, x.ndim)
  const out = Tensor.allocate(x.backend, scalarType(x.dtype) === 'float' ? x.dtype : 'int32', x.shape)
  if (out.size > 0) {
    const lines = (t: Tensor): ReturnType<Tensor['view']> => {
      const last = (list: readonly number[]): number[] => [...list.slice(0, d), ...list.slice(d + 1), list[d]]
      return t.ndim === 0
        ? { ...t.view(), shape: [1], strides: [1] }
        : { ...t.view(), shape: last(t.shape), strides: last(t.strides) }
    }
    x.backend.cumsum(lines(x), lines(out))
  }
  record('cumsum', [x], [out], [], ([g]) => [g && flip(cumsum(flip(g, d), d), d)])
  return out
}
