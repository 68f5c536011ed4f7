// Lookups by integer ids and their scatter-add gradients; masks built from positions.

import { record } from '../../autograd/tape'
import { DTypeError, IndexError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { formatShape, normalizeDim, type Shape } from '../shape'
import { copyProgram, scalarType, Tensor } from '../tensor'
import { sameDevice } from './apply'
import { cast } from './cast'
import { add, eq, ge, where } from './elementwise'
import { fillStorage, reshape, unsqueeze } from './views'

function checkIndex(op: string, index: Tensor): void {
  if (index.dtype !== 'int32') {
    throw new DTypeError(
      `${op}: index must be int32, got ${index.dtype}${inModule()}; convert it with to('int32')`,
    )
  }
}

/** Ids known from the host are checked before anything runs, when the whole storage takes part. */
export function checkRange(op: string, index: Tensor, size: number, what = 'index'): void {
  const range = index.idRange
  if (!range || index.size === 0) return
  if (range.min < 0 || range.max >= size) {
    const bad = range.min < 0 ? range.min : range.max
    throw new IndexError(`${op}: ${what} ${bad} is out of range${inModule()}; expected 0 to ${size - 1}`)
  }
}

function checkLines(op: string, x: Shape, d: number, index: Shape): void {
  if (x.length !== index.length || x.some((n, i) => i !== d && index[i] > n)) {
    throw new ShapeError(
      `${op}: index of shape ${formatShape(index)} does not fit ${formatShape(x)} along dim ${d}${inModule()}; ` +
        'it needs as many axes, none longer except that one',
    )
  }
}

/** `out[i][j] = x[index[i][j]][j]` for dim 0, and so on (torch.gather). */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  checkIndex('gather', index)
  const d = normalizeDim('gather', dim, x.ndim)
  checkLines('gather', x.shape, d, index.shape)
  checkRange('gather', index, x.shape[d] ?? 1)
  const backend = sameDevice('gather', [x, index])
  const out = Tensor.allocate(backend, x.dtype, index.shape)
  if (out.size > 0) backend.gather(crop(x, d, index.shape), d, index.view(), out.view())
  record('gather', [x], [out], [index], ([g], [ids]) => [g && scatterAddZeros(x.shape, d, ids, g)])
  return out
}

/** The part of x that an index of this shape can reach. */
function crop(x: Tensor, d: number, shape: Shape): ReturnType<Tensor['view']> {
  return { ...x.view(), shape: x.shape.map((n, i) => (i === d ? n : shape[i])) }
}

/** Zeros of `shape` with `src` added at `index` along `dim`: the gradient of gather. */
function scatterAddZeros(shape: Shape, dim: number, index: Tensor, src: Tensor): Tensor {
  const out = Tensor.allocate(src.backend, src.dtype, shape)
  fillStorage(out, 0)
  scatterInto(out, dim, index, src)
  record('scatterAdd', [src], [out], [index], ([g], [ids]) => [g && gather(g, dim, ids)])
  return out
}

function scatterInto(out: Tensor, dim: number, index: Tensor, src: Tensor): void {
  if (src.size > 0) src.backend.scatterAdd(crop(out, dim, index.shape), dim, index.view(), src.view())
}

/**
 * A copy of `x` with `src[i][j]` added at `[index[i][j]][j]` for dim 0, and so on (torch.scatter_add). Equal ids add
 * in ascending order, so the bits are always the same.
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  checkIndex('scatterAdd', index)
  const d = normalizeDim('scatterAdd', dim, x.ndim)
  checkLines('scatterAdd', x.shape, d, index.shape)
  if (formatShape(src.shape) !== formatShape(index.shape)) {
    throw new ShapeError(
      `scatterAdd: src has shape ${formatShape(src.shape)}, index ${formatShape(index.shape)}; they must be equal`,
    )
  }
  if (scalarType(x.dtype) !== 'float' || src.dtype !== x.dtype) {
    throw new DTypeError(
      `scatterAdd: expected two tensors of one float dtype, got ${x.dtype} and ${src.dtype}`,
    )
  }
  checkRange('scatterAdd', index, x.shape[d] ?? 1)
  sameDevice('scatterAdd', [x, index, src])
  const out = Tensor.allocate(x.backend, x.dtype, x.shape)
  if (x.size > 0) x.backend.elementwise(copyProgram(x.dtype), [x.view()], [], [out.view()])
  scatterInto(out, d, index, src)
  record('scatterAdd', [x, src], [out], [index], ([g], [ids]) => [g, g && gather(g, d, ids)])
  return out
}

/** Rows (entries along `dim`) of x in the order of a list of ids; the ids' axes take the place of `dim`. */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  checkIndex('indexSelect', index)
  const d = normalizeDim('indexSelect', dim, x.ndim)
  checkRange('indexSelect', index, x.shape[d] ?? 1)
  return tidy(() => {
    const flat = reshape(index, [index.size])
    const lines = x.shape.map((n, i) => (i === d ? index.size : n))
    const spread = flat.window(
      flat.offset,
      lines,
      lines.map((_, i) => (i === d ? flat.strides[0] : 0)),
    )
    const rows = gather(x, d, spread)
    return reshape(rows, [...x.shape.slice(0, d), ...index.shape, ...x.shape.slice(d + 1)])
  })
}

/** Values below the `diagonal`-th diagonal (inclusive) of the last two axes; zero above. */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return band('tril', x, (row, col) => ge(add(row, diagonal), col))
}

/** Values above the `diagonal`-th diagonal (inclusive) of the last two axes; zero below. */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return band('triu', x, (row, col) => ge(col, add(row, diagonal)))
}

function band(op: string, x: Tensor, keepWhere: (row: Tensor, col: Tensor) => Tensor): Tensor {
  if (x.ndim < 2) throw new ShapeError(`${op}: expected at least 2 axes, got shape ${formatShape(x.shape)}`)
  const [rows, cols] = x.shape.slice(-2)
  return tidy(() => {
    const row = reshape(positions(x, rows), [rows, 1])
    return where(keepWhere(row, positions(x, cols)), x, 0)
  })
}

/** `[..., classes]` with 1 at each id and 0 elsewhere, int32 as in torch. `classes` may be left out for ids made on the host. */
export function oneHot(index: Tensor, classes?: number): Tensor {
  checkIndex('oneHot', index)
  const count = classes ?? (index.idRange ? index.idRange.max + 1 : 0)
  if (count < 1) {
    throw new ShapeError(
      'oneHot: pass the number of classes; it is only known by itself for ids made on the host',
    )
  }
  checkRange('oneHot', index, count)
  return tidy(() => cast(eq(unsqueeze(index, -1), positions(index, count)), 'int32'))
}

/** 0, 1, …, n - 1 on x's device. int32. */
export function positions(x: Tensor, n: number): Tensor {
  const out = Tensor.allocate(x.backend, 'int32', [n])
  if (n > 0)
    x.backend.write(
      out.storage.buffer,
      'int32',
      Int32Array.from({ length: n }, (_, i) => i),
      0,
    )
  return out
}
