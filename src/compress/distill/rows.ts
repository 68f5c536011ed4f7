// What the distillation losses share: the teacher held fixed, positions that count and those that do not, and how the
// losses of the positions become one.

import { ArgumentError, DTypeError, ShapeError } from '../../errors'
import type { Reduction } from '../../nn/reduction'
import { inModule } from '../../tensor/context'
import { requireFloat } from '../../tensor/ops/apply'
import { div, maximum, ne, sqrt, square, where } from '../../tensor/ops/elementwise'
import { mean, sum } from '../../tensor/ops/reduce'
import { formatShape, sameShape, type Shape } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'

export interface MaskOption {
  /** Of the positions' shape, e.g. `[N, T]`: true or not 0 at tokens; padding counts nothing. Default: all count. */
  mask?: Tensor | null
}

/** Both of one kind of float on axes other than the last; the last one is the caller's. */
export function checkStates(op: string, student: Tensor, teacher: Tensor): void {
  requireFloat(op, student)
  requireFloat(op, teacher)
  if (student.dtype !== teacher.dtype) {
    throw new DTypeError(
      `${op}: the student's are ${student.dtype} and the teacher's ${teacher.dtype}${inModule()}; convert one with to(dtype)`,
    )
  }
  const [own, its] = [student.shape.slice(0, -1), teacher.shape.slice(0, -1)]
  if (student.ndim === 0 || teacher.ndim === 0 || !sameShape(own, its)) {
    throw new ShapeError(
      `${op}: the student's have shape ${formatShape(student.shape)} and the teacher's ${formatShape(teacher.shape)}${inModule()}; ` +
        'all axes but the last must be equal: give both the same texts, padded alike',
    )
  }
}

/** As {@link checkStates}, and one width. */
export function checkSameWidth(op: string, student: Tensor, teacher: Tensor): void {
  checkStates(op, student, teacher)
  const [own, its] = [student.shape.at(-1), teacher.shape.at(-1)]
  if (own !== its) {
    throw new ShapeError(
      `${op}: the student's width is ${own} and the teacher's ${its}${inModule()}; put a Regressor(${own}, ${its}) on the student's`,
    )
  }
}

/** Checks a mask's shape. */
export function checkMask(op: string, mask: Tensor | null | undefined, shape: Shape): void {
  if (!mask || sameShape(mask.shape, shape)) return
  throw new ShapeError(
    `${op}: mask has shape ${formatShape(mask.shape)}${inModule()}; expected ${formatShape(shape)}, one for each position`,
  )
}

/** A mask as bool. */
export function counted(mask: Tensor): Tensor {
  return mask.dtype === 'bool' ? mask : ne(mask, 0)
}

/** Mean over the positions that count (NaN if none does), their sum, or each by itself with 0 elsewhere. */
export function reducePositions(
  losses: Tensor,
  mask: Tensor | null | undefined,
  reduction: Reduction = 'mean',
): Tensor {
  if (!mask) return reduction === 'none' ? losses : reduction === 'sum' ? sum(losses) : mean(losses)
  const kept = where(counted(mask), losses, 0)
  if (reduction === 'none') return kept
  return reduction === 'sum' ? sum(kept) : div(sum(kept), sum(counted(mask)).to(losses.dtype))
}

/** A number that a user gives: finite, and at least `least` (or above it). */
export function checkFinite(
  op: string,
  name: string,
  value: number,
  { above }: { above?: number } = {},
): void {
  if (Number.isFinite(value) && (above === undefined || value > above)) return
  const expected = above === undefined ? 'a finite number' : `a finite number above ${above}`
  throw new ArgumentError(`${op}: ${name} is ${value}; expected ${expected}`)
}

/** Squared lengths below this count as it: torch's eps of 1e-12. */
const TINY_SQUARED = 1e-24

/** Vectors of length 1 along `dim` (torch.nn.functional.normalize); a vector of zeros stays zeros. */
export function normalize(x: Tensor, dim: number): Tensor {
  return div(x, sqrt(maximum(sum(square(x), dim, { keepdim: true }), TINY_SQUARED)))
}
