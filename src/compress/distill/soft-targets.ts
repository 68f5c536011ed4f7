// Soft targets: a student learns the probabilities that its teacher gives to every class, softened by a temperature
// (Hinton, Vinyals and Dean 2015).

import { input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, ShapeError } from '../../errors'
import { crossEntropy, type CrossEntropyOptions } from '../../nn/loss'
import { inModule } from '../../tensor/context'
import { mapSum } from '../../tensor/ops/apply'
import { add, div, mul, where } from '../../tensor/ops/elementwise'
import { logSoftmax } from '../../tensor/ops/softmax'
import { reshape } from '../../tensor/ops/views'
import { noGrad, tidy } from '../../tensor/scope'
import { formatShape, sameShape, sizeOf } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import { checkFinite, checkMask, checkStates, counted, type MaskOption, reducePositions } from './rows'

/** Logarithms of the teacher's and the student's probabilities. A probability of 0 counts 0. */
const [TEACHER, STUDENT] = [input(0), input(1)]
const P = TEACHER.exp()
const CROSS_ENTROPY = new Program([P.eq(0).where(0, P.mul(STUDENT).neg())], 2)
const KL = new Program([P.eq(0).where(0, P.mul(TEACHER.sub(STUDENT)))], 2)

export interface SoftTargetOptions extends MaskOption {
  /** T, above 0: both sides' logits are divided by it. */
  temperature: number
  /**
   * H(p, q) = -sum p log q, or KL(p || q), which is less by the teacher's entropy and has the same gradient. Default
   * 'crossEntropy'.
   */
  divergence?: 'crossEntropy' | 'kl'
  /**
   * Multiply by T squared, which keeps the gradients' size whatever T is: DistilBERT does, TextBrewer does not. Default
   * false.
   */
  temperatureSquared?: boolean
  /**
   * `batchmean`: the sum over the classes, its mean over the positions that count (default). `mean` divides by the classes
   * too, as torch's does; `sum`; `none`: one for each position.
   */
  reduction?: 'batchmean' | 'mean' | 'sum' | 'none'
}

/**
 * How far the student's probabilities softmax(zs / T) are from the teacher's softmax(zt / T), for logits `[..., C]` of one
 * shape. The teacher gets no gradient; with KL and T squared the student's is T (softmax(zs / T) - softmax(zt / T)) / N.
 * @throws ArgumentError for T that is not above 0; ShapeError where the two have other classes or positions; DTypeError.
 */
export function softTargetLoss(student: Tensor, teacher: Tensor, options: SoftTargetOptions): Tensor {
  const { temperature, mask, temperatureSquared = false } = options
  const { divergence = 'crossEntropy', reduction = 'batchmean' } = options
  checkFinite('softTargetLoss', 'temperature', temperature, { above: 0 })
  checkLogits('softTargetLoss', student, teacher)
  if (!['crossEntropy', 'kl'].includes(divergence)) {
    throw new ArgumentError(
      `softTargetLoss: unknown divergence '${String(divergence)}'; expected 'crossEntropy' or 'kl'`,
    )
  }
  if (!['batchmean', 'mean', 'sum', 'none'].includes(reduction)) {
    throw new ArgumentError(
      `softTargetLoss: unknown reduction '${String(reduction)}'; expected 'batchmean', 'mean', 'sum' or 'none'`,
    )
  }
  checkMask('softTargetLoss', mask, student.shape.slice(0, -1))
  const scale =
    (temperatureSquared ? temperature ** 2 : 1) / (reduction === 'mean' ? student.shape.at(-1)! : 1)
  const program = divergence === 'kl' ? KL : CROSS_ENTROPY
  return tidy(() => {
    const logs = [noGrad(() => soften(teacher, temperature)), soften(student, temperature)]
    const each = mapSum('softTargetLoss', program, logs, [], [student.ndim - 1], false)
    const total = reducePositions(each, mask, reduction === 'batchmean' ? 'mean' : reduction)
    return scale === 1 ? total : mul(total, scale)
  })
}

function soften(logits: Tensor, temperature: number): Tensor {
  return logSoftmax(temperature === 1 ? logits : div(logits, temperature), -1)
}

/** Both of one vocabulary. */
export function checkLogits(op: string, student: Tensor, teacher: Tensor): void {
  checkStates(op, student, teacher)
  const [own, its] = [student.shape.at(-1), teacher.shape.at(-1)]
  if (own !== its) {
    throw new ShapeError(
      `${op}: the student has ${own} classes and the teacher ${its}${inModule()}; soft targets need one vocabulary for both`,
    )
  }
}

export interface DistillationLossOptions
  extends Omit<SoftTargetOptions, 'reduction'>,
    Omit<CrossEntropyOptions, 'reduction'> {
  /** Weight of the targets; 0 leaves them out. */
  alpha: number
  /** Weight of the teacher; the two need not sum to 1. */
  beta: number
}

/** What was added up, and its parts before they were weighted. */
export interface DistillationLoss {
  loss: Tensor
  /** H(y, softmax(zs)); null where alpha is 0. */
  hard: Tensor | null
  soft: Tensor
}

/**
 * alpha H(y, softmax(zs)) + beta H(softmax(zt / T), softmax(zs / T)), each a mean over the positions that count: logits
 * `[..., C]`, int32 targets `[...]`. Temperature squared and KL as in {@link softTargetLoss}; weights, smoothing and
 * `ignoreIndex` of the targets as in `crossEntropy`.
 *
 * ```ts
 * const { loss } = distillationLoss(student.forward(ids), teacherLogits, labels, { alpha: 0.5, beta: 0.5, temperature: 2 })
 * ```
 * @throws ArgumentError for weights that are not finite or a T that is not above 0; ShapeError, DTypeError, IndexError.
 */
export function distillationLoss(
  student: Tensor,
  teacher: Tensor,
  target: Tensor,
  options: DistillationLossOptions,
): DistillationLoss {
  const { alpha, beta, mask, temperature, divergence, temperatureSquared, ...hardOptions } = options
  checkFinite('distillationLoss', 'alpha', alpha)
  checkFinite('distillationLoss', 'beta', beta)
  checkFinite('distillationLoss', 'temperature', temperature, { above: 0 })
  checkLogits('distillationLoss', student, teacher)
  const shape = student.shape.slice(0, -1)
  if (!sameShape(target.shape, shape)) {
    throw new ShapeError(
      `distillationLoss: target has shape ${formatShape(target.shape)}${inModule()}; logits of shape ` +
        `${formatShape(student.shape)} need one id for each of ${formatShape(shape)}`,
    )
  }
  checkMask('distillationLoss', mask, shape)
  return tidy(() => {
    const { ignoreIndex = -100 } = hardOptions
    const classes = student.shape.at(-1)!
    const targets = mask && alpha !== 0 ? where(counted(mask), target, ignoreIndex) : target
    const hard =
      alpha === 0
        ? null
        : crossEntropy(
            reshape(student, [sizeOf(shape), classes]),
            reshape(targets, [sizeOf(shape)]),
            hardOptions,
          )
    const soft = softTargetLoss(student, teacher, { temperature, divergence, temperatureSquared, mask })
    const weighted = mul(soft, beta)
    return { loss: hard ? add(mul(hard, alpha), weighted) : weighted, hard, soft }
  })
}
