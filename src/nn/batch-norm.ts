// BatchNorm (Ioffe and Szegedy 2015): each channel is shifted and scaled to mean 0 and variance 1 over the batch, and
// over the positions if there are any.
//
//   y = (x - mean) / sqrt(var + eps) * w + b,   var biased (divided by n)
//
// In evaluation mean and var are running averages of those seen in training, of the unbiased variance as in torch.

import { type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { full, ones, zeros } from '../tensor/create'
import { copyInto } from '../tensor/mutate'
import { map, requireFloat } from '../tensor/ops/apply'
import { cast } from '../tensor/ops/cast'
import { add, mul, reciprocal, sub } from '../tensor/ops/elementwise'
import { mean, variance } from '../tensor/ops/reduce'
import { reshape } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { ones_, zeros_ } from './init'
import { Module } from './module'
import { checkEps, checkSizes, type LayerOptions, newParameter } from './options'
import { Buffer, type Parameter } from './parameter'

// Operands: 0 x, 1 mean, 2 var, then w and b where present. Scalar: eps.
const NORMALIZED = input(0)
  .sub(input(1))
  .div(input(2).add(scalar(0)).sqrt())
const program = (inputs: number, expr: Expr): Program => new Program([expr], inputs, 1)
const PLAIN = program(3, NORMALIZED)
const SCALED = program(4, NORMALIZED.mul(input(3)))
const SHIFTED = program(4, NORMALIZED.add(input(3)))
const AFFINE = program(5, NORMALIZED.mul(input(3)).add(input(4)))

export interface BatchNormFunctionOptions {
  /** [C] */
  weight?: Tensor | null
  bias?: Tensor | null
  /** Normalizes by the batch and updates the running statistics; else by these. Default false. */
  training?: boolean
  /** Share of the batch in the new running statistics: a number, or a tensor of one. Default 0.1. */
  momentum?: number | Tensor
  /** Added to the variance. Default 1e-5. */
  eps?: number
}

/**
 * Normalizes the channels of `x` [N, C] or [N, C, ...]. `runningMean` and `runningVar` [C] are changed in place in
 * training; without them the batch's own statistics are used always.
 * @throws ShapeError for another number of channels, or, in training, a single value per channel.
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 }: BatchNormFunctionOptions = {},
): Tensor {
  requireFloat('batchNorm', x)
  check(x, { runningMean, runningVar, weight, bias })
  const channels = x.shape[1]
  const wide = [channels, ...new Array<number>(x.ndim - 2).fill(1)]
  const dims = [...x.shape.keys()].filter((d) => d !== 1)
  const running = runningMean && runningVar ? [runningMean, runningVar] : null
  const byBatch = training || !running
  const n = x.size / channels
  if (training && n === 1) {
    throw new ShapeError(
      `batchNorm: input of shape ${formatShape(x.shape)} has one value per channel${inModule()}; in training there must be more, as its variance is 0`,
    )
  }
  return tidy(() => {
    const statistics = byBatch
      ? [mean(x, dims, { keepdim: true }), variance(x, dims, { keepdim: true, correction: 0 })]
      : running.map((t) => reshape(t, wide))
    if (training && running && n > 0) {
      noGrad(() => {
        const [center, spread] = statistics.map((t) => reshape(t, [channels]))
        moveTowards(running[0], center, momentum)
        moveTowards(running[1], mul(spread, n / (n - 1)), momentum)
      })
    }
    const affine = [weight, bias].flatMap((t) => (t ? [reshape(t, wide)] : []))
    const formula = weight ? (bias ? AFFINE : SCALED) : bias ? SHIFTED : PLAIN
    return map('batchNorm', formula, [x, ...statistics, ...affine], [eps])[0]
  })
}

function moveTowards(average: Tensor, value: Tensor, share: number | Tensor): void {
  copyInto(average, add(average, mul(sub(value, average), share)))
}

function check(x: Tensor, perChannel: Readonly<Record<string, Tensor | null>>): void {
  if (x.ndim < 2) {
    throw new ShapeError(
      `batchNorm: input has shape ${formatShape(x.shape)}${inModule()}; expected [batch, channels, ...]`,
    )
  }
  for (const [name, t] of Object.entries(perChannel)) {
    if (t && !sameShape(t.shape, [x.shape[1]])) {
      throw new ShapeError(
        `batchNorm: input of shape ${formatShape(x.shape)} has ${x.shape[1]} channels and ${name} shape ${formatShape(t.shape)}${inModule()}; expected [${x.shape[1]}]`,
      )
    }
    if (t && t.dtype !== x.dtype) {
      throw new DTypeError(
        `batchNorm: input is ${x.dtype} and ${name} ${t.dtype}${inModule()}; they must be equal`,
      )
    }
  }
}

export interface BatchNormOptions extends LayerOptions {
  /** Default 1e-5. */
  eps?: number
  /** Share of each batch in the running statistics; null: their plain average over all batches. Default 0.1. */
  momentum?: number | null
  /** Whether there are weight and bias. Default true. */
  affine?: boolean
  /** Whether there are running statistics; without, evaluation too goes by the batch. Default true. */
  trackRunningStats?: boolean
}

/** What BatchNorm1d and BatchNorm2d share: all but the shapes they take. */
abstract class BatchNorm extends Module {
  readonly eps: number
  readonly momentum: number | null
  /** [numFeatures], 1 at the start */
  weight: Parameter | null
  /** [numFeatures], 0 at the start */
  bias: Parameter | null
  runningMean: Buffer | null
  runningVar: Buffer | null
  /** Batches seen in training, int32. */
  numBatchesTracked: Buffer | null

  constructor(
    readonly numFeatures: number,
    {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats = true,
      ...options
    }: BatchNormOptions = {},
  ) {
    super()
    const layer = this.constructor.name
    checkSizes(layer, { numFeatures })
    checkEps(layer, 'eps', eps)
    if (momentum !== null && !(momentum >= 0 && momentum <= 1)) {
      throw new ArgumentError(`${layer}: momentum is ${momentum}; expected a number from 0 to 1, or null`)
    }
    this.eps = eps
    this.momentum = momentum
    this.weight = affine ? ones_(newParameter(layer, [numFeatures], options)) : null
    this.bias = affine ? zeros_(newParameter(layer, [numFeatures], options)) : null
    const buffer = (make: () => Tensor): Buffer | null =>
      trackRunningStats ? tidy(() => new Buffer(make())) : null
    this.runningMean = buffer(() => zeros([numFeatures], options))
    this.runningVar = buffer(() => ones([numFeatures], options))
    this.numBatchesTracked = buffer(() => full([], 0, { device: options.device, dtype: 'int32' }))
  }

  /** Which numbers of axes the input may have, and how it is described. */
  protected abstract readonly accepts: { readonly ranks: readonly number[]; readonly shape: string }

  forward(x: Tensor): Tensor {
    const { runningMean, runningVar, numBatchesTracked, weight, bias, eps, training, accepts } = this
    if (!accepts.ranks.includes(x.ndim) || x.shape[1] !== this.numFeatures) {
      throw new ShapeError(
        `${this.constructor.name}: input has shape ${formatShape(x.shape)}${inModule()}; expected ${accepts.shape} with ${this.numFeatures} channels`,
      )
    }
    return tidy(() => {
      const seen = training && numBatchesTracked ? add(numBatchesTracked, 1) : null
      const momentum = this.momentum ?? (seen ? reciprocal(cast(seen, x.dtype)) : 0)
      const out = batchNorm(x, runningMean, runningVar, { weight, bias, training, momentum, eps })
      if (seen && numBatchesTracked) copyInto(numBatchesTracked, seen)
      return out
    })
  }
}

/** torch.nn.BatchNorm1d: [N, numFeatures] or [N, numFeatures, L]. */
export class BatchNorm1d extends BatchNorm {
  protected readonly accepts = { ranks: [2, 3], shape: '[batch, channels] or [batch, channels, length]' }
}

/** torch.nn.BatchNorm2d: [N, numFeatures, H, W]. */
export class BatchNorm2d extends BatchNorm {
  protected readonly accepts = { ranks: [4], shape: '[batch, channels, height, width]' }
}
