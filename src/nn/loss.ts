// Losses over classes and probabilities, as functions and as modules, after torch.nn.functional.

import { input } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, DTypeError, IndexError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { map, requireFloat } from '../tensor/ops/apply'
import { add, div, mul, ne, where } from '../tensor/ops/elementwise'
import { gather, indexSelect } from '../tensor/ops/indexing'
import { sum } from '../tensor/ops/reduce'
import { logSoftmax } from '../tensor/ops/softmax'
import { reshape, squeeze, unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { broadcastShapes, formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { fusedCrossEntropy } from './cross-entropy'
import { Module } from './module'
import { Buffer } from './parameter'
import { checkPair, checkReduction, reduceProgram, type Reduction } from './reduction'

export interface NllOptions {
  /** `[C]`: how much each class counts; the mean divides by the weights of the targets. Default 1 each. */
  weight?: Tensor | null
  /** Targets with this id count nothing. Default -100. */
  ignoreIndex?: number
  /** Default 'mean'; of nothing but ignored targets that is NaN, as in torch. */
  reduction?: Reduction
}

export interface CrossEntropyOptions extends NllOptions {
  /** Share of the target probability spread evenly over all classes. Default 0. */
  labelSmoothing?: number
}

const NEGATIVE_WHERE_KEPT = new Program([input(1, 'bool').where(input(0).neg(), 0)], 2)
const NEGATIVE_WEIGHTED = new Program([input(1, 'bool').where(input(0).mul(input(2)).neg(), 0)], 3)
const WEIGHT_WHERE_KEPT = new Program([input(0, 'bool').where(input(1), 0)], 2)

/**
 * Cross-entropy of `logits` [N, C], [N, C, ...] or [C] with int32 class ids `target` [N], [N, ...] or []:
 * -log softmax(logits)[target] per target (torch.nn.functional.cross_entropy).
 * @throws IndexError for ids outside 0 … C - 1 other than `ignoreIndex` (on webgpu, where they were computed on the
 * device, at the next read); ShapeError, DTypeError.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { weight = null, labelSmoothing = 0, ignoreIndex = -100, reduction = 'mean' }: CrossEntropyOptions = {},
): Tensor {
  const dim = checkClasses('crossEntropy', logits, target, weight, ignoreIndex, reduction)
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError(
      `crossEntropy: labelSmoothing is ${labelSmoothing}; expected a number from 0 to 1`,
    )
  }
  const options = { weight, labelSmoothing, ignoreIndex, reduction }
  const reference = (x: Tensor, ids: Tensor): Tensor => crossEntropyReference(x, ids, dim, options)
  return tidy(() =>
    weight || logits.size === 0
      ? reference(logits, target)
      : fusedCrossEntropy(logits, target, dim, options, reference),
  )
}

/** Cross-entropy in ordinary ops, with classes along `dim`. */
function crossEntropyReference(
  logits: Tensor,
  target: Tensor,
  dim: number,
  { weight, labelSmoothing, ignoreIndex, reduction }: Required<CrossEntropyOptions>,
): Tensor {
  const logs = logSoftmax(logits, dim)
  const picked = pick('crossEntropy', logs, target, dim, weight, ignoreIndex)
  if (labelSmoothing === 0) return reducePicked(picked, reduction)
  const classes = logits.shape[dim]
  const wide = weight && reshape(weight, [classes, ...new Array<number>(logits.ndim - dim - 1).fill(1)])
  const all = sum(wide ? mul(logs, wide) : logs, dim)
  const even = map('crossEntropy', NEGATIVE_WHERE_KEPT, [all, picked.kept])[0]
  const losses = add(mul(picked.losses, 1 - labelSmoothing), mul(even, labelSmoothing / classes))
  return reducePicked({ ...picked, losses }, reduction)
}

/**
 * Negative log-likelihood of `input` [N, C], [N, C, ...] or [C], which holds logarithms of probabilities (logSoftmax),
 * with int32 class ids `target` [N], [N, ...] or []: -input[target] per target (torch.nn.functional.nll_loss).
 * @throws as crossEntropy.
 */
export function nll(
  input: Tensor,
  target: Tensor,
  { weight = null, ignoreIndex = -100, reduction = 'mean' }: NllOptions = {},
): Tensor {
  const dim = checkClasses('nll', input, target, weight, ignoreIndex, reduction)
  return tidy(() => reducePicked(pick('nll', input, target, dim, weight, ignoreIndex), reduction))
}

interface Picked {
  /** Per target, 0 where ignored. */
  readonly losses: Tensor
  /** Which targets count, and how much. */
  readonly kept: Tensor
  readonly weights: Tensor | null
}

/** -logs[target], weighted. */
function pick(
  op: string,
  logs: Tensor,
  target: Tensor,
  dim: number,
  weight: Tensor | null,
  ignoreIndex: number,
): Picked {
  const kept = ne(target, ignoreIndex)
  const ids = where(kept, target, 0)
  const picked = squeeze(gather(logs, dim, unsqueeze(ids, dim)), dim)
  const weights = weight && indexSelect(weight, 0, ids)
  const losses = weights
    ? map(op, NEGATIVE_WEIGHTED, [picked, kept, weights])[0]
    : map(op, NEGATIVE_WHERE_KEPT, [picked, kept])[0]
  return { losses, kept, weights }
}

function reducePicked({ losses, kept, weights }: Picked, reduction: Reduction): Tensor {
  if (reduction === 'none') return losses
  const total = sum(losses)
  if (reduction === 'sum') return total
  const counted = weights ? sum(map('nll', WEIGHT_WHERE_KEPT, [kept, weights])[0]) : sum(kept)
  return div(total, counted)
}

/** Returns the axis of the classes. */
function checkClasses(
  op: string,
  logits: Tensor,
  target: Tensor,
  weight: Tensor | null,
  ignoreIndex: number,
  reduction: Reduction,
): number {
  requireFloat(op, logits)
  checkReduction(op, reduction)
  const dim = logits.ndim === 1 ? 0 : 1
  checkTarget(op, logits, target, dim, ignoreIndex)
  const classes = logits.shape[dim]
  if (weight && !sameShape(weight.shape, [classes])) {
    throw new ShapeError(
      `${op}: weight has shape ${formatShape(weight.shape)}${inModule()}; expected ${formatShape([classes])}, one per class`,
    )
  }
  return dim
}

function checkTarget(op: string, logits: Tensor, target: Tensor, dim: number, ignoreIndex: number): void {
  if (logits.ndim === 0)
    throw new ShapeError(`${op}: logits need an axis of classes, got shape []${inModule()}`)
  if (target.dtype !== 'int32') {
    throw new DTypeError(`${op}: target must hold int32 class ids, got ${target.dtype}${inModule()}`)
  }
  const expected = logits.shape.filter((_, i) => i !== dim)
  if (!sameShape(target.shape, expected)) {
    throw new ShapeError(
      `${op}: target has shape ${formatShape(target.shape)}${inModule()}; logits of shape ` +
        `${formatShape(logits.shape)} need one id for each of ${formatShape(expected)}`,
    )
  }
  const { range, length } = target.storage
  if (!range || length !== target.size) return
  const classes = logits.shape[dim]
  const bad = [range.min, range.max].find((id) => id !== ignoreIndex && (id < 0 || id >= classes))
  if (bad !== undefined) {
    throw new IndexError(
      `${op}: target ${bad} is out of range${inModule()}; expected class ids 0 to ${classes - 1}, or ignoreIndex ${ignoreIndex}`,
    )
  }
}

export interface BceWithLogitsOptions {
  /** Weight of each element, broadcast to the input. */
  weight?: Tensor | null
  /** Weight of the positive answers, broadcast to the input: above 1 for recall, below for precision. */
  posWeight?: Tensor | null
  /** Default 'mean': divided by the number of elements, whatever the weights. */
  reduction?: Reduction
}

const bcePrograms = [false, true].map((hasWeight) =>
  [false, true].map((hasPos) => bceProgram(hasWeight, hasPos)),
)

/** (1 - y) x + (1 + (p - 1) y) log(1 + exp(-x)), in a form that overflows nowhere; times w. */
function bceProgram(hasWeight: boolean, hasPos: boolean): Program {
  const [x, y] = [input(0), input(1)]
  const softplus = x.abs().neg().exp().log1p().add(x.neg().max(0))
  const positive = hasPos
    ? softplus.mul(
        input(hasWeight ? 3 : 2)
          .sub(1)
          .mul(y)
          .add(1),
      )
    : softplus
  const loss = x.sub(x.mul(y)).add(positive)
  return new Program([hasWeight ? loss.mul(input(2)) : loss], 2 + Number(hasWeight) + Number(hasPos))
}

/**
 * Binary cross-entropy of sigmoid(`input`) with probabilities `target` of the same shape and dtype
 * (torch.nn.functional.binary_cross_entropy_with_logits).
 */
export function bceWithLogits(
  input: Tensor,
  target: Tensor,
  { weight = null, posWeight = null, reduction = 'mean' }: BceWithLogitsOptions = {},
): Tensor {
  checkPair('bceWithLogits', input, target)
  checkReduction('bceWithLogits', reduction)
  for (const [name, t] of Object.entries({ weight, posWeight })) {
    if (t && !sameShape(broadcastShapes(`bceWithLogits: ${name}`, t.shape, input.shape), input.shape)) {
      throw new ShapeError(
        `bceWithLogits: ${name} of shape ${formatShape(t.shape)} does not broadcast to the input's ${formatShape(input.shape)}${inModule()}`,
      )
    }
  }
  const operands = [input, target, weight, posWeight].filter((t) => t !== null)
  return reduceProgram(
    'bceWithLogits',
    bcePrograms[Number(weight !== null)][Number(posWeight !== null)],
    operands,
    reduction,
  )
}

/** `crossEntropy` as a module. A class weight is a buffer, so that it moves and is saved with the model. */
export class CrossEntropyLoss extends Module {
  weight: Buffer | null
  readonly #options: Omit<CrossEntropyOptions, 'weight'>

  constructor({ weight = null, ...options }: CrossEntropyOptions = {}) {
    super()
    this.weight = weight && new Buffer(weight)
    this.#options = options
  }

  forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, { ...this.#options, weight: this.weight })
  }
}

/** `nll` as a module. A class weight is a buffer. */
export class NLLLoss extends Module {
  weight: Buffer | null
  readonly #options: Omit<NllOptions, 'weight'>

  constructor({ weight = null, ...options }: NllOptions = {}) {
    super()
    this.weight = weight && new Buffer(weight)
    this.#options = options
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return nll(input, target, { ...this.#options, weight: this.weight })
  }
}

/** `bceWithLogits` as a module. Weights are buffers. */
export class BCEWithLogitsLoss extends Module {
  weight: Buffer | null
  posWeight: Buffer | null
  readonly #reduction: Reduction

  constructor({ weight = null, posWeight = null, reduction = 'mean' }: BceWithLogitsOptions = {}) {
    super()
    this.weight = weight && new Buffer(weight)
    this.posWeight = posWeight && new Buffer(posWeight)
    this.#reduction = reduction
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return bceWithLogits(input, target, {
      weight: this.weight,
      posWeight: this.posWeight,
      reduction: this.#reduction,
    })
  }
}
