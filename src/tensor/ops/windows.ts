// Larger and overlapping arrangements of one tensor: borders, tiles, sliding windows.

import { record } from '../../autograd/tape'
import { input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { checkShape, contiguousStrides, formatShape, normalizeDim, type Shape } from '../shape'
import { copyProgram, scalarType, Tensor } from '../tensor'
import { recordedWindow } from './apply'
import { copy, expand, fillStorage, reshape, slice, type SliceArgument } from './views'

export interface PadOptions {
  /** What the border is filled with. Default 0. */
  value?: number
}

/**
 * `x` with a constant border. `pads` are pairs (before, after), the last axis first, as in torch.nn.functional.pad:
 * `[1, 2]` pads the last axis, `[1, 2, 3, 4]` also the one before it. Negative numbers cut off.
 */
export function pad(x: Tensor, pads: readonly number[], { value = 0 }: PadOptions = {}): Tensor {
  if (pads.length % 2 !== 0 || pads.length > 2 * x.ndim || !pads.every(Number.isInteger)) {
    throw new ArgumentError(
      `pad: pads [${String(pads)}] do not fit shape ${formatShape(x.shape)}${inModule()}; ` +
        'expected whole numbers, two for each axis from the last one on',
    )
  }
  if (scalarType(x.dtype) !== 'float' && !Number.isInteger(value)) {
    throw new ArgumentError(`pad: value ${value} does not fit ${x.dtype}; pass a whole number`)
  }
  const shape = [...x.shape]
  // What is kept of x, and where it lies in the result.
  const kept = x.shape.map((n): [number, number] => [0, n])
  const placed = x.shape.map((n): [number, number] => [0, n])
  for (let i = 0; i < pads.length / 2; i++) {
    const d = x.ndim - 1 - i
    const [before, after] = [pads[2 * i], pads[2 * i + 1]]
    shape[d] += before + after
    kept[d] = [Math.max(0, -before), x.shape[d] - Math.max(0, -after)]
    const start = Math.max(0, before)
    placed[d] = [start, start + kept[d][1] - kept[d][0]]
    if (shape[d] < 0 || kept[d][1] < kept[d][0]) {
      throw new ShapeError(
        `pad: pads [${String(pads)}] cut more off axis ${d} of shape ${formatShape(x.shape)} than it has${inModule()}`,
      )
    }
  }
  checkShape('pad', shape)
  const cuts = kept.some(([from, to], d) => to - from < x.shape[d])
  return tidy(() => embed(cuts ? slice(x, ...kept) : x, shape, placed, value))
}

/** A tensor of `shape` full of `value`, with `x` at a place in it. */
function embed(x: Tensor, shape: Shape, place: readonly SliceArgument[], value: number): Tensor {
  const out = Tensor.allocate(x.backend, x.dtype, shape)
  fillStorage(out, value)
  if (x.size > 0) {
    const offset = place.reduce<number>((sum, p, d) => sum + (p as [number, number])[0] * out.strides[d], 0)
    x.backend.elementwise(copyProgram(x.dtype), [x.view()], [], [{ ...out.view(), offset, shape: x.shape }])
  }
  record('pad', [x], [out], [], ([g]) => [g && slice(g, ...place)])
  return out
}

/**
 * Tiles: axis i of the result is axis i of x `sizes[i]` times over (torch.Tensor.repeat). More sizes than axes add
 * leading axes. Always a copy.
 */
export function repeat(x: Tensor, sizes: readonly number[]): Tensor {
  if (sizes.length < x.ndim || !sizes.every((n) => Number.isInteger(n) && n >= 0)) {
    throw new ArgumentError(
      `repeat: sizes [${String(sizes)}] do not fit shape ${formatShape(x.shape)}${inModule()}; ` +
        'expected a whole number, 0 or more, for each axis',
    )
  }
  const shape = [...new Array<number>(sizes.length - x.ndim).fill(1), ...x.shape]
  checkShape(
    'repeat',
    shape.map((n, d) => n * sizes[d]),
  )
  return tidy(() => {
    let out = reshape(x, shape)
    // One axis at a time, so that no rank is too high. The last one first: it makes the shortest runs longer.
    for (let d = sizes.length - 1; d >= 0; d--) {
      if (sizes[d] === 1) continue
      const before = shape.slice(0, d).reduce((a, b) => a * b, 1)
      const rest = shape.slice(d).reduce((a, b) => a * b, 1)
      shape[d] *= sizes[d]
      out = reshape(expand(reshape(out, [before, 1, rest]), [before, sizes[d], rest]), shape)
    }
    return out.storage === x.storage ? copy(out) : out
  })
}

/**
 * Every window of `size` entries along `dim`, `step` apart, as a view: axis `dim` counts the windows, a new last axis
 * holds their entries (torch.Tensor.unfold). Gradients of entries in several windows add up.
 */
export function unfold(x: Tensor, dim: number, size: number, step: number): Tensor {
  if (x.ndim === 0) throw new ShapeError('unfold: a tensor without axes has no windows; reshape it to [1]')
  const d = normalizeDim('unfold', dim, x.ndim)
  if (!Number.isInteger(size) || size < 0 || size > x.shape[d]) {
    throw new ArgumentError(
      `unfold: size ${size} must be a whole number from 0 to ${x.shape[d]}, the size of axis ${d}${inModule()}`,
    )
  }
  if (!Number.isInteger(step) || step < 1) {
    throw new ArgumentError(`unfold: step ${step} must be a positive integer`)
  }
  const shape = [...x.shape.with(d, Math.floor((x.shape[d] - size) / step) + 1), size]
  checkShape('unfold', shape)
  const strides = [...x.strides.with(d, x.strides[d] * step), x.strides[d]]
  return recordedWindow('unfold', x, shape, strides, (g) => fold(g, x.shape, d, size, step))
}

const ADD = new Program([input(0).add(input(1))], 2)

/** Zeros of `shape` with every window of `g` added at its place: the gradient of `unfold`. */
function fold(g: Tensor, shape: Shape, d: number, size: number, step: number): Tensor {
  const out = Tensor.allocate(g.backend, g.dtype, shape)
  fillStorage(out, 0)
  const dense = contiguousStrides(shape)
  const windows = g.shape[d]
  // Every apart-th window overlaps none of the others: they are added at once.
  const apart = Math.min(windows, Math.max(1, Math.ceil(size / step)))
  for (let first = 0; g.size > 0 && first < apart; first++) {
    const part = g.shape.with(d, Math.ceil((windows - first) / apart))
    const from = {
      ...g.view(),
      offset: g.offset + first * g.strides[d],
      shape: part,
      strides: g.strides.with(d, g.strides[d] * apart),
    }
    const to = {
      ...out.view(),
      offset: first * step * dense[d],
      shape: part,
      strides: [...dense.with(d, dense[d] * step * apart), dense[d]],
    }
    g.backend.elementwise(ADD, [to, from], [], [to])
  }
  record('unfold backward', [g], [out], [], ([gg]) => [gg && unfold(gg, d, size, step)])
  return out
}
