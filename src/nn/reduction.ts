// What losses share: how the losses of the elements become one, and checks of pairs.

import type { Program } from '../backend/program'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { map, mapSum, requireFloat } from '../tensor/ops/apply'
import { div } from '../tensor/ops/elementwise'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

/** How the losses of the elements become one: their mean (default), their sum, or each by itself. */
export type Reduction = 'mean' | 'sum' | 'none'

export interface ReductionOptions {
  /** Default 'mean'. */
  reduction?: Reduction
}

export function checkReduction(op: string, reduction: Reduction): void {
  if (!['mean', 'sum', 'none'].includes(reduction)) {
    throw new ArgumentError(
      `${op}: unknown reduction '${String(reduction)}'; expected 'mean', 'sum' or 'none'`,
    )
  }
}

/** Runs a loss's program over inputs of one shape and reduces. */
export function reduceProgram(
  op: string,
  program: Program,
  inputs: readonly Tensor[],
  reduction: Reduction,
  scalars: readonly number[] = [],
): Tensor {
  if (reduction === 'none') return map(op, program, inputs, scalars)[0]
  const { shape } = inputs[0]
  return tidy(() => {
    const total = mapSum(op, program, inputs, scalars, [...shape.keys()], false)
    return reduction === 'sum' ? total : div(total, sizeOf(shape))
  })
}

export function checkPair(op: string, input: Tensor, target: Tensor): void {
  requireFloat(op, input)
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${op}: input has shape ${formatShape(input.shape)} and target ${formatShape(target.shape)}${inModule()}; they must be equal`,
    )
  }
  if (input.dtype !== target.dtype) {
    throw new DTypeError(
      `${op}: input is ${input.dtype} and target ${target.dtype}${inModule()}; convert one with to(dtype)`,
    )
  }
}
