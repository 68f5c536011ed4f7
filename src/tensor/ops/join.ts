// Joining and cutting tensors.

import { record } from '../../autograd/tape'
import { ArgumentError, DTypeError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { formatShape, normalizeDim } from '../shape'
import { copyProgram, Tensor } from '../tensor'
import { sameDevice } from './apply'
import { fillStorage, narrow, unsqueeze } from './views'

/** Joins tensors along an axis they already have; all other sizes must agree. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ArgumentError('cat: expected at least one tensor')
  const [first] = tensors
  const backend = sameDevice('cat', tensors)
  if (first.ndim === 0) throw new ShapeError('cat: tensors without axes cannot be joined; use stack')
  const d = normalizeDim('cat', dim, first.ndim)
  for (const t of tensors) {
    if (t.ndim !== first.ndim || t.shape.some((n, i) => i !== d && n !== first.shape[i])) {
      throw new ShapeError(
        `cat: shapes ${formatShape(first.shape)} and ${formatShape(t.shape)} differ in more than dim ${d}${inModule()}`,
      )
    }
    if (t.dtype !== first.dtype) {
      throw new DTypeError(
        `cat: dtypes ${first.dtype} and ${t.dtype} differ${inModule()}; convert them to one with to()`,
      )
    }
  }
  const shape = [...first.shape]
  shape[d] = tensors.reduce((n, t) => n + t.shape[d], 0)
  const out = Tensor.allocate(backend, first.dtype, shape)
  const starts: number[] = []
  let at = 0
  for (const t of tensors) {
    starts.push(at)
    const window = { ...out.view(), offset: at * out.strides[d], shape: t.shape }
    if (t.size > 0) backend.elementwise(copyProgram(t.dtype), [t.view()], [], [window])
    at += t.shape[d]
  }
  const sizes = tensors.map((t) => t.shape[d])
  record('cat', tensors, [out], [], ([g], _, needs) =>
    needs.map((need, i) => (g && need ? narrow(g, d, starts[i], sizes[i]) : null)),
  )
  return out
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return tidy(() =>
    cat(
      tensors.map((t) => unsqueeze(t, dim)),
      dim,
    ),
  )
}

/** Cuts an axis into parts of `size` (the last may be shorter), or of the listed sizes. Views. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const d = normalizeDim('split', dim, x.ndim)
  const total = x.shape[d]
  let sizes: number[]
  if (typeof size === 'number') {
    if (!Number.isInteger(size) || size < 1)
      throw new ArgumentError(`split: size ${size} must be a positive integer`)
    sizes = Array.from({ length: Math.max(1, Math.ceil(total / size)) }, (_, i) =>
      Math.min(size, total - i * size),
    )
  } else {
    sizes = [...size]
    if (sizes.some((n) => !Number.isInteger(n) || n < 0) || sizes.reduce((a, b) => a + b, 0) !== total) {
      throw new ArgumentError(
        `split: sizes [${String(sizes)}] must be whole numbers that add up to ${total}, the size of axis ${d}`,
      )
    }
  }
  let at = 0
  return sizes.map((n) => {
    at += n
    return narrow(x, d, at - n, n)
  })
}

/** Cuts an axis into at most `count` parts of equal size (the last may be shorter). Views. */
export function chunk(x: Tensor, count: number, dim = 0): Tensor[] {
  if (!Number.isInteger(count) || count < 1)
    throw new ArgumentError(`chunk: count ${count} must be a positive integer`)
  return split(x, Math.max(1, Math.ceil(x.shape[normalizeDim('chunk', dim, x.ndim)] / count)), dim)
}

/**
 * `count` equal parts of the last axis. Views, as of `chunk`, but one node of the graph: the gradient is put together
 * once, not added up from tensors of mostly zeros. So all parts must be used by one backward pass.
 */
export function unpack(x: Tensor, count: number): Tensor[] {
  const { backend, dtype } = x
  const last = x.ndim - 1
  const shape = [...x.shape.slice(0, last), x.shape[last] / count]
  const parts = Array.from({ length: count }, (_, i) =>
    x.window(x.offset + i * shape[last] * x.strides[last], shape, x.strides),
  )
  const zeros = (): Tensor => {
    const out = Tensor.allocate(backend, dtype, shape)
    fillStorage(out, 0)
    return out
  }
  record('unpack', [x], parts, [], (grads) => [
    tidy(() =>
      cat(
        grads.map((g) => g ?? zeros()),
        last,
      ),
    ),
  ])
  return parts
}
