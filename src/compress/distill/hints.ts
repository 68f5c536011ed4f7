// Hints: what a teacher's layers hold, as targets for a student's. Each is a mean, so that its weight means the same for
// every batch; the teacher gets no gradient.

import { input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, DTypeError, ShapeError } from '../../errors'
import { cosineEmbedding, mse } from '../../nn/pair-loss'
import { checkPair } from '../../nn/reduction'
import { ones } from '../../tensor/create'
import { inModule } from '../../tensor/context'
import { mapSum, requireFloat } from '../../tensor/ops/apply'
import { abs, div, mul, pow, square, sub } from '../../tensor/ops/elementwise'
import { matmul } from '../../tensor/ops/matmul'
import { mean, sum } from '../../tensor/ops/reduce'
import { detach, flatten, reshape, select, transpose, unsqueeze } from '../../tensor/ops/views'
import { tidy } from '../../tensor/scope'
import { formatShape, sameShape, sizeOf } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import {
  checkFinite,
  checkMask,
  counted,
  checkSameWidth,
  type MaskOption,
  normalize,
  reducePositions,
} from './rows'

const SQUARED_DIFFERENCE = new Program(
  [
    input(0)
      .sub(input(1))
      .mul(input(0).sub(input(1))),
  ],
  2,
)

/** For hints over positions: those of `[..., E]` are the axes before the last. */
export type HintOptions = MaskOption

/**
 * Mean squared error of hidden states `[..., E]` over the positions that count: the L2 hint. With a {@link Regressor} on
 * the student's it is that of FitNets (Romero et al. 2015).
 * @throws ShapeError for other positions, widths or a mask of another shape; DTypeError.
 */
export function hiddenMse(student: Tensor, teacher: Tensor, { mask }: HintOptions = {}): Tensor {
  checkSameWidth('hiddenMse', student, teacher)
  checkMask('hiddenMse', mask, student.shape.slice(0, -1))
  return tidy(() => {
    const pair = [student, detach(teacher)]
    const each = mapSum('hiddenMse', SQUARED_DIFFERENCE, pair, [], [student.ndim - 1], false)
    return div(reducePositions(each, mask), student.shape.at(-1)!)
  })
}

/**
 * 1 - cos of hidden states `[..., E]`, its mean over the positions that count: the third part of DistilBERT's loss.
 * @throws as {@link hiddenMse}.
 */
export function hiddenCosine(student: Tensor, teacher: Tensor, { mask }: HintOptions = {}): Tensor {
  checkSameWidth('hiddenCosine', student, teacher)
  const shape = student.shape.slice(0, -1)
  checkMask('hiddenCosine', mask, shape)
  return tidy(() => {
    const rows = [sizeOf(shape), student.shape.at(-1)!]
    const [own, its] = [student, detach(teacher)].map((states) => reshape(states, rows)) as [Tensor, Tensor]
    const together = ones([rows[0]!], { dtype: student.dtype, device: student.device })
    const each = cosineEmbedding(own, its, together, { reduction: 'none' })
    return reducePositions(reshape(each, shape), mask)
  })
}

export interface AttentionTransferOptions extends MaskOption {
  /** Where the channels are: 1 for `[N, C, H, W]` (default), -1 for `[N, T, E]`. The axes after 0 but this are positions. */
  channelDim?: number
  /** p of the activations' |a|^p; default 2. */
  power?: number
}

/**
 * Mean squared difference of attention maps: the mean over the channels of |a|^p at each position, scaled to length 1 for
 * each example (Zagoruyko and Komodakis 2017, activation-based). The channels may differ, the positions may not.
 * @throws ShapeError, DTypeError; ArgumentError for an axis or a power that cannot be.
 */
export function attentionTransfer(
  student: Tensor,
  teacher: Tensor,
  { channelDim = 1, power = 2, mask }: AttentionTransferOptions = {},
): Tensor {
  const op = 'attentionTransfer'
  checkFinite(op, 'power', power, { above: 0 })
  checkDTypes(op, student, teacher)
  const axis = channelDim < 0 ? channelDim + student.ndim : channelDim
  if (!(Number.isInteger(axis) && axis >= 1 && axis < student.ndim)) {
    throw new ArgumentError(
      `${op}: channelDim is ${channelDim}; expected an axis after the first of ${formatShape(student.shape)}`,
    )
  }
  const [own, its] = [student, teacher].map(({ shape }) => shape.filter((_, i) => i !== axis)) as [
    number[],
    number[],
  ]
  if (student.ndim < 3 || !sameShape(own, its)) {
    throw new ShapeError(
      `${op}: the student's have shape ${formatShape(student.shape)} and the teacher's ${formatShape(teacher.shape)}${inModule()}; ` +
        `all axes but ${axis}, the channels, must be equal, and there must be positions`,
    )
  }
  checkMask(op, mask, own)
  return tidy(() => {
    const share = mask && counted(mask).to(student.dtype)
    const map = (x: Tensor): Tensor => {
      const strength = mean(power === 2 ? square(x) : pow(abs(x), power), axis)
      return normalize(flatten(share ? mul(strength, share) : strength, 1), 1)
    }
    return mse(map(student), map(detach(teacher)))
  })
}

export interface AttentionMseOptions extends MaskOption {
  /** Compare `each` head (default), or the `mean` of the heads, whose numbers may then differ. */
  heads?: 'each' | 'mean'
}

/**
 * Mean squared error of attention weights `[N, heads, T, T]` over the pairs of tokens that count, `mask` being `[N, T]`.
 * @throws ShapeError, DTypeError.
 */
export function attentionMse(
  student: Tensor,
  teacher: Tensor,
  { heads = 'each', mask }: AttentionMseOptions = {},
): Tensor {
  const op = 'attentionMse'
  if (heads !== 'each' && heads !== 'mean') {
    throw new ArgumentError(`${op}: heads is '${String(heads satisfies never)}'; expected 'each' or 'mean'`)
  }
  checkDTypes(op, student, teacher)
  const same = (i: number) => student.shape[i] === teacher.shape[i]
  if (student.ndim !== 4 || teacher.ndim !== 4 || ![0, 2, 3].every(same) || (heads === 'each' && !same(1))) {
    throw new ShapeError(
      `${op}: the student's weights have shape ${formatShape(student.shape)} and the teacher's ${formatShape(teacher.shape)}${inModule()}; ` +
        "expected [N, heads, T, T] of one shape; other numbers of heads need heads: 'mean'",
    )
  }
  const [N, , T, S] = student.shape
  checkMask(op, mask, [N!, T!])
  if (mask && S !== T)
    throw new ShapeError(`${op}: a mask needs as many queries as keys, got ${T} and ${S}${inModule()}`)
  return tidy(() => {
    const [own, its] = [student, detach(teacher)].map((x) => (heads === 'mean' ? mean(x, 1) : x)) as [
      Tensor,
      Tensor,
    ]
    const squares = square(sub(own, its))
    const each = heads === 'mean' ? squares : mean(squares, 1)
    if (!mask) return mean(each)
    const share = counted(mask).to(student.dtype)
    const pairs = mul(unsqueeze(share, 1), unsqueeze(share, 2))
    return div(sum(mul(each, pairs)), sum(pairs))
  })
}

/**
 * The flow of solution procedure: mean squared error of the matrices transpose(a) b / T between two layers' states a `[N, T, A]`
 * and b `[N, T, B]` (Yim et al. 2017). With a mask, T is the number of tokens that count.
 * @throws ShapeError for states of other positions or widths; DTypeError.
 */
export function fsp(
  student: readonly [Tensor, Tensor],
  teacher: readonly [Tensor, Tensor],
  { mask }: HintOptions = {},
): Tensor {
  for (const [i, states] of student.entries()) {
    checkSameWidth('fsp', states, teacher[i]!)
    if (states.ndim === 3 && sameShape(states.shape.slice(0, 2), student[0].shape.slice(0, 2))) continue
    throw new ShapeError(
      `fsp: states have shapes ${student.map(({ shape }) => formatShape(shape)).join(' and ')}${inModule()}; expected [N, T, A] and [N, T, B]`,
    )
  }
  const [N, T] = student[0].shape
  checkMask('fsp', mask, [N!, T!])
  return tidy(() => {
    const share = mask && counted(mask).to(student[0].dtype)
    const matrix = ([a, b]: readonly [Tensor, Tensor]): Tensor => {
      const products = matmul(transpose(share ? mul(a, unsqueeze(share, 2)) : a, 1, 2), b)
      return div(products, share ? reshape(sum(share, 1), [N!, 1, 1]) : T!)
    }
    return mse(matrix(student), matrix([detach(teacher[0]), detach(teacher[1])]))
  })
}

/**
 * Squared distance of the first token's states, each scaled to length 1, its mean over the examples: patient distillation
 * (Sun et al. 2019). States `[N, T, E]`, or `[N, E]` of the tokens themselves.
 * @throws ShapeError, DTypeError.
 */
export function pkd(student: Tensor, teacher: Tensor): Tensor {
  checkSameWidth('pkd', student, teacher)
  if (student.ndim !== 2 && student.ndim !== 3) {
    throw new ShapeError(
      `pkd: states have shape ${formatShape(student.shape)}${inModule()}; expected [N, T, E] or [N, E]`,
    )
  }
  return tidy(() => {
    const [own, its] = [student, detach(teacher)].map((states) =>
      normalize(states.ndim === 3 ? select(states, 1, 0) : states, 1),
    ) as [Tensor, Tensor]
    return div(mse(own, its, { reduction: 'sum' }), student.shape[0]!)
  })
}

/**
 * Mean squared error of vectors `[..., D]` that are scaled to length 1 first, 2 (1 - cos) / D each. Both sides get
 * gradients, since they may be two languages of one model; detach what is to stay fixed.
 * @throws ShapeError, DTypeError.
 */
export function embeddingMse(a: Tensor, b: Tensor): Tensor {
  checkPair('embeddingMse', a, b)
  return tidy(() => mse(normalize(a, a.ndim - 1), normalize(b, b.ndim - 1)))
}

function checkDTypes(op: string, student: Tensor, teacher: Tensor): void {
  requireFloat(op, student)
  if (student.dtype !== teacher.dtype) {
    throw new DTypeError(
      `${op}: the student's are ${student.dtype} and the teacher's ${teacher.dtype}${inModule()}; convert one with to(dtype)`,
    )
  }
}
