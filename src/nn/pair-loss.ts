// Losses between pairs of tensors, as functions and as modules, after torch.nn.functional: distances of values, of
// distributions, of directions and of ranks.

import { type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { mapSum, sameDevice } from '../tensor/ops/apply'
import { div } from '../tensor/ops/elementwise'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { Module } from './module'
import { checkPair, checkReduction, reduceProgram, type Reduction, type ReductionOptions } from './reduction'

const [A, B, SIGN] = [input(0), input(1), input(2)]
const DIFFERENCE = A.sub(B)
const DISTANCE = DIFFERENCE.abs()
const clampedAtZero = (x: Expr): Expr => x.lt(0).where(0, x)

const SQUARED_ERROR = new Program([DIFFERENCE.mul(DIFFERENCE)], 2)
const ABSOLUTE_ERROR = new Program([DISTANCE], 2)
/** Scalar: beta. */
const SMOOTH_L1 = new Program(
  [
    DISTANCE.lt(scalar(0)).where(
      DIFFERENCE.mul(DIFFERENCE).div(scalar(0)).mul(0.5),
      DISTANCE.sub(scalar(0).mul(0.5)),
    ),
  ],
  2,
  1,
)
/** Scalar: delta. */
const HUBER = new Program(
  [
    DISTANCE.lt(scalar(0)).where(
      DIFFERENCE.mul(DIFFERENCE).mul(0.5),
      DISTANCE.sub(scalar(0).mul(0.5)).mul(scalar(0)),
    ),
  ],
  2,
  1,
)
/** A probability of 0 counts 0, not 0 times the logarithm of 0. */
const KL = new Program([B.eq(0).where(0, B.mul(B.log().sub(A)))], 2)
const KL_LOG_TARGET = new Program([B.exp().mul(B.sub(A))], 2)
/** Scalar: margin. */
const RANKING = new Program([clampedAtZero(SIGN.neg().mul(DIFFERENCE).add(scalar(0)))], 3, 1)
const PRODUCTS = new Program([A.mul(B)], 2)
const SQUARES = new Program([A.mul(A)], 1)
/** Operands: dot product, squared lengths, sign. Scalar: margin. A length of 0 counts as tiny, as in torch. */
const TINY = 1e-12
const COSINE = A.div(input(1).add(TINY).mul(input(2).add(TINY)).sqrt())
const COSINE_EMBEDDING = new Program(
  [
    input(3)
      .eq(1)
      .where(
        COSINE.neg().add(1),
        input(3)
          .eq(-1)
          .where(clampedAtZero(COSINE.sub(scalar(0))), 0),
      ),
  ],
  4,
  1,
)

/** Squared error of two tensors of one shape (torch.nn.functional.mse_loss). */
export function mse(input: Tensor, target: Tensor, { reduction = 'mean' }: ReductionOptions = {}): Tensor {
  checkPair('mse', input, target)
  checkReduction('mse', reduction)
  return reduceProgram('mse', SQUARED_ERROR, [input, target], reduction)
}

/** Absolute error of two tensors of one shape (torch.nn.functional.l1_loss). Its gradient at 0 is 0. */
export function l1(input: Tensor, target: Tensor, { reduction = 'mean' }: ReductionOptions = {}): Tensor {
  checkPair('l1', input, target)
  checkReduction('l1', reduction)
  return reduceProgram('l1', ABSOLUTE_ERROR, [input, target], reduction)
}

export interface SmoothL1Options extends ReductionOptions {
  /** Below this error the loss is quadratic; 0 is l1. Default 1. */
  beta?: number
}

/** d² / (2 beta) for errors d below `beta`, |d| - beta / 2 above (torch.nn.functional.smooth_l1_loss). */
export function smoothL1(
  input: Tensor,
  target: Tensor,
  { beta = 1, reduction = 'mean' }: SmoothL1Options = {},
): Tensor {
  checkPair('smoothL1', input, target)
  checkReduction('smoothL1', reduction)
  if (!(beta >= 0)) throw new ArgumentError(`smoothL1: beta is ${beta}; expected a number of at least 0`)
  if (beta === 0) return l1(input, target, { reduction })
  return reduceProgram('smoothL1', SMOOTH_L1, [input, target], reduction, [beta])
}

export interface HuberOptions extends ReductionOptions {
  /** Below this error the loss is quadratic. Default 1. */
  delta?: number
}

/** d² / 2 for errors d below `delta`, delta (|d| - delta / 2) above (torch.nn.functional.huber_loss). */
export function huber(
  input: Tensor,
  target: Tensor,
  { delta = 1, reduction = 'mean' }: HuberOptions = {},
): Tensor {
  checkPair('huber', input, target)
  checkReduction('huber', reduction)
  if (!(delta > 0)) throw new ArgumentError(`huber: delta is ${delta}; expected a number above 0`)
  return reduceProgram('huber', HUBER, [input, target], reduction, [delta])
}

export interface KlDivOptions {
  /** `batchmean` divides the sum by the first axis: the divergence per example. Default 'mean', per element, as in torch. */
  reduction?: Reduction | 'batchmean'
  /** Whether the target holds logarithms too. Default false. */
  logTarget?: boolean
}

/**
 * Kullback-Leibler divergence of the probabilities `target` from the logarithms of probabilities `input`, elementwise
 * target (log target - input) (torch.nn.functional.kl_div).
 */
export function klDiv(
  input: Tensor,
  target: Tensor,
  { reduction = 'mean', logTarget = false }: KlDivOptions = {},
): Tensor {
  checkPair('klDiv', input, target)
  const program = logTarget ? KL_LOG_TARGET : KL
  if (reduction !== 'batchmean') {
    if (!['mean', 'sum', 'none'].includes(reduction)) {
      throw new ArgumentError(
        `klDiv: unknown reduction '${String(reduction)}'; expected 'mean', 'batchmean', 'sum' or 'none'`,
      )
    }
    return reduceProgram('klDiv', program, [input, target], reduction)
  }
  if (input.ndim === 0)
    throw new ShapeError(`klDiv: 'batchmean' needs an axis of examples, got shape []${inModule()}`)
  return tidy(() => div(reduceProgram('klDiv', program, [input, target], 'sum'), input.shape[0]))
}

export interface MarginOptions extends ReductionOptions {
  /** Default 0. */
  margin?: number
}

/**
 * max(0, -y (a - b) + margin) for tensors a, b of one shape and `target` y of that shape: 1 where a should be the
 * larger, -1 where b should (torch.nn.functional.margin_ranking_loss).
 */
export function marginRanking(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  { margin = 0, reduction = 'mean' }: MarginOptions = {},
): Tensor {
  checkPair('marginRanking', a, b)
  checkReduction('marginRanking', reduction)
  checkSigns('marginRanking', target, a.shape)
  return reduceProgram('marginRanking', RANKING, [a, b, target], reduction, [margin])
}

/**
 * For rows a, b [N, D] (or [D]) and `target` [N] (or []): 1 - cos(a, b) where it is 1, max(0, cos(a, b) - margin) where
 * it is -1 (torch.nn.functional.cosine_embedding_loss).
 */
export function cosineEmbedding(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  { margin = 0, reduction = 'mean' }: MarginOptions = {},
): Tensor {
  checkPair('cosineEmbedding', a, b)
  checkReduction('cosineEmbedding', reduction)
  if (a.ndim !== 1 && a.ndim !== 2) {
    throw new ShapeError(
      `cosineEmbedding: inputs have shape ${formatShape(a.shape)}${inModule()}; expected [batch, features] or [features]`,
    )
  }
  checkSigns('cosineEmbedding', target, a.shape.slice(0, -1))
  sameDevice('cosineEmbedding', [a, b, target])
  return tidy(() => {
    const over = (program: Program, inputs: readonly Tensor[]): Tensor =>
      mapSum('cosineEmbedding', program, inputs, [], [a.ndim - 1], false)
    const parts = [over(PRODUCTS, [a, b]), over(SQUARES, [a]), over(SQUARES, [b])]
    return reduceProgram('cosineEmbedding', COSINE_EMBEDDING, [...parts, target], reduction, [margin])
  })
}

function checkSigns(op: string, target: Tensor, shape: readonly number[]): void {
  if (sameShape(target.shape, shape)) return
  throw new ShapeError(
    `${op}: target has shape ${formatShape(target.shape)}${inModule()}; expected ${formatShape(shape)}, 1 or -1 each`,
  )
}

/** A loss function with its options, as a module without parameters. */
abstract class PairLoss<Options extends object> extends Module {
  protected readonly options: Partial<Options>

  constructor(options: Partial<Options> = {}) {
    super()
    this.options = options
  }
}

/** `mse` as a module. */
export class MSELoss extends PairLoss<ReductionOptions> {
  forward(input: Tensor, target: Tensor): Tensor {
    return mse(input, target, this.options)
  }
}

/** `l1` as a module. */
export class L1Loss extends PairLoss<ReductionOptions> {
  forward(input: Tensor, target: Tensor): Tensor {
    return l1(input, target, this.options)
  }
}

/** `smoothL1` as a module. */
export class SmoothL1Loss extends PairLoss<SmoothL1Options> {
  forward(input: Tensor, target: Tensor): Tensor {
    return smoothL1(input, target, this.options)
  }
}

/** `huber` as a module. */
export class HuberLoss extends PairLoss<HuberOptions> {
  forward(input: Tensor, target: Tensor): Tensor {
    return huber(input, target, this.options)
  }
}

/** `klDiv` as a module. */
export class KLDivLoss extends PairLoss<KlDivOptions> {
  forward(input: Tensor, target: Tensor): Tensor {
    return klDiv(input, target, this.options)
  }
}

/** `marginRanking` as a module. */
export class MarginRankingLoss extends PairLoss<MarginOptions> {
  forward(a: Tensor, b: Tensor, target: Tensor): Tensor {
    return marginRanking(a, b, target, this.options)
  }
}

/** `cosineEmbedding` as a module. */
export class CosineEmbeddingLoss extends PairLoss<MarginOptions> {
  forward(a: Tensor, b: Tensor, target: Tensor): Tensor {
    return cosineEmbedding(a, b, target, this.options)
  }
}
