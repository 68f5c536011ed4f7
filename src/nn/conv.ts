// Convolution (as everywhere in deep learning, cross-correlation): one matrix product with the windows as columns.
//
//   out[n, o, p] = sum over c, k of weight[o, c, k] x[n, c, p stride + k dilation - padding]
//
// With C(x) the windows laid out as [c k, n p], per group: out = W C(x), dW = g C(x)', dx = C'(W' g). C' adds the
// windows up where they overlap. Kept for backward are x and W alone; C(x), as many times larger than x as the kernel
// has entries, is made again.

import { record } from '../autograd/tape'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { requireFloat, sameDevice } from '../tensor/ops/apply'
import { add } from '../tensor/ops/elementwise'
import { cat, chunk } from '../tensor/ops/join'
import { matmul } from '../tensor/ops/matmul'
import { permute, reshape, slice, squeeze, transpose, unsqueeze } from '../tensor/ops/views'
import { pad } from '../tensor/ops/windows'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape, type Shape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { calculateFanInAndFanOut, kaimingUniform_, uniform_ } from './init'
import { Module } from './module'
import { checkSizes, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'
import { borders, overlapAdd, type PerAxis, perAxis, type Sliding, slidings, windows } from './windows'

/** Most entries of windows laid out at once: 64 MiB in float32. */
const MOST_AT_ONCE = 2 ** 24

export interface ConvFunctionOptions<Axes extends PerAxis = PerAxis> {
  /** By how much the kernel moves. Default 1. */
  stride?: Axes
  /** Zeros on both sides; 'valid' is none, 'same' as many as keep the size (for stride 1). Default 0. */
  padding?: Axes | 'same' | 'valid'
  /** Distance between the kernel's entries. Default 1. */
  dilation?: Axes
  /** Input and output channels are cut into so many groups, each convolved by itself. Default 1. */
  groups?: number
}

/** One number for both axes, or [height, width]. */
export type Pair = number | readonly [height: number, width: number]

/**
 * `input` [N, C, L] (or [C, L]) with `weight` [O, C / groups, K], plus `bias` [O], gives [N, O, places of the kernel].
 * @throws ShapeError if channels do not agree or the kernel is longer than the padded input.
 */
export function conv1d(
  input: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvFunctionOptions<number> = {},
): Tensor {
  return convolve('conv1d', 1, input, weight, bias, options)
}

/**
 * `input` [N, C, H, W] (or [C, H, W]) with `weight` [O, C / groups, KH, KW], plus `bias` [O], gives [N, O, places down,
 * places across].
 * @throws ShapeError if channels do not agree or the kernel is larger than the padded input.
 */
export function conv2d(
  input: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvFunctionOptions<Pair> = {},
): Tensor {
  return convolve('conv2d', 2, input, weight, bias, options)
}

function convolve(
  op: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvFunctionOptions,
): Tensor {
  check(op, axes, x, weight, bias, groups)
  const moves = slidings(op, x.shape.slice(-axes), {
    kernel: weight.shape.slice(2),
    stride,
    padding,
    dilation,
  })
  return tidy(() => {
    const single = x.ndim === axes + 1
    const product = inParts(op, single ? unsqueeze(x, 0) : x, weight, moves, groups)
    const out = bias ? add(product, reshape(bias, [bias.size, ...moves.map(() => 1)])) : product
    return single ? squeeze(out, 0) : out
  })
}

/** The product without bias, of as many examples at a time as have that many entries of windows. */
function inParts(op: string, x: Tensor, weight: Tensor, moves: readonly Sliding[], groups: number): Tensor {
  const entries = x.shape[0] * x.shape[1] * moves.reduce((n, m) => n * m.size * m.count, 1)
  const parts = Math.ceil(entries / MOST_AT_ONCE)
  if (parts <= 1) return correlate(op, x, weight, moves, groups)
  return cat(chunk(x, parts).map((part) => correlate(op, part, weight, moves, groups)))
}

/** The recorded product; x has a batch axis. */
function correlate(op: string, x: Tensor, weight: Tensor, moves: readonly Sliding[], groups: number): Tensor {
  const places = moves.map((m) => m.count)
  const split = [groups, weight.shape[0] / groups]
  const field = sizeOf(weight.shape.slice(1))
  const filters = (w: Tensor): Tensor => reshape(w, [...split, field])
  const swapped = [1, 0, ...moves.map((_, i) => 2 + i)]
  const out = noGrad(() => {
    const product = matmul(filters(weight), columns(x, moves, groups))
    return permute(reshape(product, [weight.shape[0], x.shape[0], ...places]), swapped)
  })
  record(op, [x, weight], [out], [x, weight], ([g], [input, w], [needX, needW]) => {
    if (!g) return [null, null]
    const rows = reshape(permute(g, swapped), [...split, x.shape[0] * sizeOf(places)])
    return [
      needX ? fromColumns(matmul(transpose(filters(w), 1, 2), rows), x.shape, moves, groups) : null,
      needW ? reshape(matmul(rows, transpose(columns(input, moves, groups), 1, 2)), w.shape) : null,
    ]
  })
  return out
}

/** [N, C, ...] to [groups, C / groups x kernel, N x places]. */
function columns(x: Tensor, moves: readonly Sliding[], groups: number): Tensor {
  const [n, channels, ...lengths] = x.shape
  return tidy(() => {
    const padded = moves.some((m) => m.before + m.after > 0) ? pad(x, borders(moves)) : x
    const grouped = reshape(padded, [n, groups, channels / groups, ...padded.shape.slice(-lengths.length)])
    const sorted = permute(windows(grouped, moves), order(moves.length).columns)
    const { field, places } = extents(moves)
    return reshape(sorted, [groups, (channels / groups) * sizeOf(field), n * sizeOf(places)])
  })
}

/** The adjoint of `columns`. */
function fromColumns(g: Tensor, shape: Shape, moves: readonly Sliding[], groups: number): Tensor {
  const [n, channels, ...lengths] = shape
  return tidy(() => {
    const { field, places } = extents(moves)
    const sorted = reshape(g, [groups, channels / groups, ...field, n, ...places])
    const long = lengths.map((length, i) => length + moves[i].before + moves[i].after)
    const padded = overlapAdd(permute(sorted, order(moves.length).windows), moves, long)
    const inside = lengths.map((length, i) => [moves[i].before, moves[i].before + length] as const)
    return slice(reshape(padded, [n, channels, ...long]), null, null, ...inside)
  })
}

function extents(moves: readonly Sliding[]): { field: number[]; places: number[] } {
  return { field: moves.map((m) => m.size), places: moves.map((m) => m.count) }
}

/** From windows' axes [N, G, C, k0, p0, k1, p1] to columns' [G, C, k0, k1, N, p0, p1], and back. */
function order(axes: number): { columns: number[]; windows: number[] } {
  const each = Array.from({ length: axes }, (_, i) => 3 + 2 * i)
  const columns = [1, 2, ...each, 0, ...each.map((i) => i + 1)]
  return { columns, windows: columns.map((_, i) => columns.indexOf(i)) }
}

function check(
  op: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  groups: number,
): void {
  requireFloat(op, x)
  if (weight.ndim !== axes + 2) {
    throw new ShapeError(
      `${op}: weight has shape ${formatShape(weight.shape)}${inModule()}; expected [out, in / groups, ...kernel], ${axes + 2} axes`,
    )
  }
  const [out, perGroup] = weight.shape
  if (!Number.isInteger(groups) || groups < 1 || out % groups !== 0) {
    throw new ArgumentError(`${op}: groups is ${groups}; expected a divisor of the ${out} output channels`)
  }
  const channels = perGroup * groups
  if ((x.ndim !== axes + 1 && x.ndim !== axes + 2) || x.shape[x.ndim - axes - 1] !== channels) {
    const rest = axes === 1 ? 'length' : 'height, width'
    throw new ShapeError(
      `${op}: input of shape ${formatShape(x.shape)} does not fit weight ${formatShape(weight.shape)}` +
        `${groups > 1 ? ` in ${groups} groups` : ''}${inModule()}; expected [batch, ${channels}, ${rest}] or [${channels}, ${rest}]`,
    )
  }
  if (bias && !sameShape(bias.shape, [out])) {
    throw new ShapeError(`${op}: bias has shape ${formatShape(bias.shape)}${inModule()}; expected [${out}]`)
  }
  for (const [name, t] of Object.entries({ weight, bias })) {
    if (t && t.dtype !== x.dtype) {
      throw new DTypeError(
        `${op}: input is ${x.dtype} and ${name} ${t.dtype}${inModule()}; they must be equal`,
      )
    }
  }
  sameDevice(op, bias ? [x, weight, bias] : [x, weight])
}

export interface ConvOptions<Axes extends PerAxis = PerAxis> extends LayerOptions, ConvFunctionOptions<Axes> {
  /** Whether there is a bias. Default true. */
  bias?: boolean
}

/** What Conv1d and Conv2d share: parameters and their start. */
abstract class Convolution extends Module {
  readonly inChannels: number
  readonly outChannels: number
  readonly kernelSize: readonly number[]
  readonly groups: number
  /** [outChannels, inChannels / groups, ...kernelSize] */
  weight: Parameter
  /** [outChannels] */
  bias: Parameter | null

  constructor(
    layer: string,
    axes: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    { bias = true, groups = 1, stride = 1, padding = 0, dilation = 1, ...options }: ConvOptions,
  ) {
    super()
    checkSizes(layer, { inChannels, outChannels, groups })
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ArgumentError(
        `${layer}: groups is ${groups}; expected a divisor of inChannels (${inChannels}) and outChannels (${outChannels})`,
      )
    }
    this.inChannels = inChannels
    this.outChannels = outChannels
    this.groups = groups
    this.kernelSize = perAxis(layer, 'kernelSize', kernelSize, axes, 1)
    // Bad options show here rather than at the first forward: over an input that is long enough for any kernel.
    const anyLength = this.kernelSize.map(() => Number.MAX_SAFE_INTEGER)
    slidings(layer, anyLength, { kernel: this.kernelSize, stride, padding, dilation })
    const shape = [outChannels, inChannels / groups, ...this.kernelSize]
    this.weight = kaimingUniform_(newParameter(layer, shape, options), { a: Math.sqrt(5) })
    const bound = 1 / Math.sqrt(calculateFanInAndFanOut(this.weight).fanIn)
    this.bias = bias ? uniform_(newParameter(layer, [outChannels], options), -bound, bound) : null
  }
}

/**
 * torch.nn.Conv1d: [N, inChannels, L] to [N, outChannels, places of the kernel]. Weight and bias start uniform on
 * ±1/sqrt(inChannels / groups x kernelSize).
 */
export class Conv1d extends Convolution {
  readonly #options: ConvFunctionOptions<number>

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: ConvOptions<number> = {},
  ) {
    super('Conv1d', 1, inChannels, outChannels, kernelSize, options)
    this.#options = options
  }

  forward(input: Tensor): Tensor {
    return conv1d(input, this.weight, this.bias, this.#options)
  }
}

/**
 * torch.nn.Conv2d: [N, inChannels, H, W] to [N, outChannels, places down, places across]. Weight and bias start uniform
 * on ±1/sqrt(inChannels / groups x entries of the kernel).
 */
export class Conv2d extends Convolution {
  readonly #options: ConvFunctionOptions<Pair>

  constructor(inChannels: number, outChannels: number, kernelSize: Pair, options: ConvOptions<Pair> = {}) {
    super('Conv2d', 2, inChannels, outChannels, kernelSize, options)
    this.#options = options
  }

  forward(input: Tensor): Tensor {
    return conv2d(input, this.weight, this.bias, this.#options)
  }
}
