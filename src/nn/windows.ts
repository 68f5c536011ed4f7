// Sliding windows: what convolution and pooling have in common. A kernel of some size moves over the last axes of a
// padded input; its windows are a view of that input, and their gradient adds up what overlaps.

import { record } from '../autograd/tape'
import { input } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { recordedWindow } from '../tensor/ops/apply'
import { fillStorage } from '../tensor/ops/views'
import { contiguousStrides, formatShape, type Shape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'

/** A number for every axis, or one per axis. */
export type PerAxis = number | readonly number[]

/** How a kernel moves along one axis. */
export interface Sliding {
  /** Entries of the kernel, `dilation` apart; it moves on by `stride`. */
  readonly size: number
  readonly stride: number
  readonly dilation: number
  /** Entries added before the first and after the last. */
  readonly before: number
  readonly after: number
  /** How many places it takes. */
  readonly count: number
}

export interface SlidingOptions {
  readonly kernel: readonly number[]
  readonly stride: PerAxis
  readonly padding: PerAxis | 'same' | 'valid'
  readonly dilation: PerAxis
  /** A last window may leave the padded input on the far side. */
  readonly ceilMode?: boolean
}

/** `value` as one whole number of at least `least` per axis. */
export function perAxis(op: string, name: string, value: PerAxis, axes: number, least: number): number[] {
  const list = typeof value === 'number' ? new Array<number>(axes).fill(value) : [...value]
  if (list.length !== axes || !list.every((n) => Number.isInteger(n) && n >= least)) {
    throw new ArgumentError(
      `${op}: ${name} is ${typeof value === 'number' ? value : `[${list.join(', ')}]`}${inModule()}; ` +
        `expected a whole number of at least ${least}${axes > 1 ? `, or ${axes} of them` : ''}`,
    )
  }
  return list
}

/** Checks options and works out how a kernel moves over axes of these lengths. */
export function slidings(
  op: string,
  lengths: Shape,
  { kernel, padding, ceilMode = false, ...options }: SlidingOptions,
): Sliding[] {
  const axes = kernel.length
  const strides = perAxis(op, 'stride', options.stride, axes, 1)
  const dilations = perAxis(op, 'dilation', options.dilation, axes, 1)
  const named = typeof padding === 'string'
  if (named && padding !== 'same' && padding !== 'valid') {
    throw new ArgumentError(`${op}: padding is '${String(padding)}'; expected 'same', 'valid' or numbers`)
  }
  if (padding === 'same' && strides.some((s) => s !== 1)) {
    throw new ArgumentError(
      `${op}: padding 'same' needs stride 1, got [${strides.join(', ')}]; pass numbers as padding`,
    )
  }
  const pads = perAxis(op, 'padding', named ? 0 : padding, axes, 0)
  return kernel.map((size, i) => {
    const [length, stride, dilation] = [lengths[i], strides[i], dilations[i]]
    const reach = dilation * (size - 1)
    const before = padding === 'same' ? Math.floor(reach / 2) : pads[i]
    const after = padding === 'same' ? reach - before : pads[i]
    const room = length + before + after - reach - 1
    if (room < 0) {
      throw new ShapeError(
        `${op}: the kernel covers ${reach + 1} entries and the input, padded, has ${length + before + after} along ` +
          `axis ${i - axes} (input ${formatShape(lengths)}, kernel ${formatShape(kernel)})${inModule()}; use a smaller kernel or more padding`,
      )
    }
    let count = (ceilMode ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1
    // No window lies in the far border alone.
    if (ceilMode && (count - 1) * stride >= length + before) count--
    const beyond = Math.max(0, (count - 1) * stride - room)
    return { size, stride, dilation, before, after: after + beyond, count }
  })
}

/** Both borders of each axis as `pad` takes them: the last axis first. */
export function borders(axes: readonly Sliding[]): number[] {
  return axes.toReversed().flatMap(({ before, after }) => [before, after])
}

/** Windows over the last axes of a padded `x`, as a view: each of these axes becomes two, `[size, count]`. */
export function windows(x: Tensor, axes: readonly Sliding[]): Tensor {
  const lead = x.ndim - axes.length
  return axes.reduceRight((t, axis, i) => slide(t, lead + i, axis), x)
}

/** The adjoint of `windows`: every window added at its place, in zeros with these lengths of the last axes. */
export function overlapAdd(g: Tensor, axes: readonly Sliding[], lengths: Shape): Tensor {
  const lead = g.ndim - 2 * axes.length
  return axes.reduce((t, axis, i) => slideBack(t, lead + i, axis, lengths[i]), g)
}

function slide(x: Tensor, d: number, axis: Sliding): Tensor {
  const split = (sizes: readonly number[], size: number, count: number): number[] =>
    sizes.toSpliced(d, 1, size, count)
  return recordedWindow(
    'windows',
    x,
    split(x.shape, axis.size, axis.count),
    split(x.strides, x.strides[d] * axis.dilation, x.strides[d] * axis.stride),
    (g) => slideBack(g, d, axis, x.shape[d]),
  )
}

const ADD = new Program([input(0).add(input(1))], 2)

function slideBack(g: Tensor, d: number, axis: Sliding, length: number): Tensor {
  const shape = g.shape.toSpliced(d, 2, length)
  const out = Tensor.allocate(g.backend, g.dtype, shape)
  fillStorage(out, 0)
  const dense = contiguousStrides(shape)
  const part = g.shape.toSpliced(d, 1)
  // Entry k of one window is never entry k of another: all windows are added at once.
  for (let k = 0; g.size > 0 && k < axis.size; k++) {
    const from = {
      ...g.view(),
      offset: g.offset + k * g.strides[d],
      shape: part,
      strides: g.strides.toSpliced(d, 1),
    }
    const to = {
      ...out.view(),
      offset: k * axis.dilation * dense[d],
      shape: part,
      strides: dense.with(d, dense[d] * axis.stride),
    }
    g.backend.elementwise(ADD, [to, from], [], [to])
  }
  record('windows backward', [g], [out], [], ([gg]) => [gg && slide(gg, d, axis)])
  return out
}
