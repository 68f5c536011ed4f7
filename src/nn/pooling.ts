// Pooling: one number for each window of an image, its largest or its mean.

import { ArgumentError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { requireFloat } from '../tensor/ops/apply'
import { max, mean } from '../tensor/ops/reduce'
import { permute, reshape } from '../tensor/ops/views'
import { pad } from '../tensor/ops/windows'
import { tidy } from '../tensor/scope'
import { formatShape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import type { Pair } from './conv'
import { Module } from './module'
import { borders, perAxis, type Sliding, slidings, type SlidingOptions, windows } from './windows'

export interface AvgPool2dOptions {
  /** By how much the window moves. Default: its size. */
  stride?: Pair
  /** Added on both sides, at most half the window: zeros, which count, for a mean; never chosen as the largest. Default 0. */
  padding?: Pair
}

export interface MaxPool2dOptions extends AvgPool2dOptions {
  /** Distance between the window's entries. Default 1. */
  dilation?: Pair
  /** Whether a last window may leave the input on the far side. Default false. */
  ceilMode?: boolean
}

/**
 * The largest entry of each window of `x` [N, C, H, W] (or [C, H, W]): [N, C, places down, places across]. Of equal ones
 * the first, row by row, gets the gradient.
 */
export function maxPool2d(
  x: Tensor,
  kernelSize: Pair,
  { stride = kernelSize, padding = 0, dilation = 1, ceilMode = false }: MaxPool2dOptions = {},
): Tensor {
  const kernel = perAxis('maxPool2d', 'kernelSize', kernelSize, 2, 1)
  const moves = movesOver('maxPool2d', x, { kernel, stride, padding, dilation, ceilMode })
  return tidy(() => {
    const found = windows(bordered(x, moves, Number.NEGATIVE_INFINITY), moves)
    const [k0, p0, k1, p1] = Array.from({ length: 4 }, (_, i) => x.ndim - 2 + i)
    const outer = [...x.shape.keys()].slice(0, -2)
    const shape = [...x.shape.slice(0, -2), ...moves.map((m) => m.count)]
    const entries = reshape(permute(found, [k0, k1, ...outer, p0, p1]), [sizeOf(kernel), ...shape])
    return max(entries, 0).values
  })
}

/** The mean of each window of `x` [N, C, H, W] (or [C, H, W]): [N, C, places down, places across]. */
export function avgPool2d(
  x: Tensor,
  kernelSize: Pair,
  { stride = kernelSize, padding = 0 }: AvgPool2dOptions = {},
): Tensor {
  const kernel = perAxis('avgPool2d', 'kernelSize', kernelSize, 2, 1)
  const moves = movesOver('avgPool2d', x, { kernel, stride, padding, dilation: 1 })
  return tidy(() => mean(windows(bordered(x, moves, 0), moves), [-4, -2]))
}

function movesOver(op: string, x: Tensor, options: SlidingOptions): Sliding[] {
  requireFloat(op, x)
  if (x.ndim !== 3 && x.ndim !== 4) {
    throw new ShapeError(
      `${op}: input has shape ${formatShape(x.shape)}${inModule()}; expected [batch, channels, height, width] or [channels, height, width]`,
    )
  }
  const moves = slidings(op, x.shape.slice(-2), options)
  for (const { before, size, dilation } of moves) {
    const reach = dilation * (size - 1) + 1
    if (before > reach / 2) {
      throw new ArgumentError(
        `${op}: padding ${before} is more than half of what the window covers (${reach})${inModule()}; a window would lie in it alone`,
      )
    }
  }
  return moves
}

function bordered(x: Tensor, moves: readonly Sliding[], value: number): Tensor {
  return moves.some((m) => m.before + m.after > 0) ? pad(x, borders(moves), { value }) : x
}

/** torch.nn.MaxPool2d: see `maxPool2d`. */
export class MaxPool2d extends Module {
  readonly #options: MaxPool2dOptions

  constructor(
    readonly kernelSize: Pair,
    options: MaxPool2dOptions = {},
  ) {
    super()
    perAxis('MaxPool2d', 'kernelSize', kernelSize, 2, 1)
    this.#options = options
  }

  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernelSize, this.#options)
  }
}

/** torch.nn.AvgPool2d with its defaults (padding counts, no ceilMode): see `avgPool2d`. */
export class AvgPool2d extends Module {
  readonly #options: AvgPool2dOptions

  constructor(
    readonly kernelSize: Pair,
    options: AvgPool2dOptions = {},
  ) {
    super()
    perAxis('AvgPool2d', 'kernelSize', kernelSize, 2, 1)
    this.#options = options
  }

  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.#options)
  }
}
