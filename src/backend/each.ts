// One program over many tensors of different shapes: what optimizers and clipping do to all parameters at once.
//
// On the cpu that is a loop. A device where every launch costs something brings methods of its own, which put as many
// tensors into a launch as it can bind.

import { input } from './expr'
import { Program } from './program'
import type { Backend, ElementwiseCall, ReduceKind, View } from './types'

/** `backend.elementwise` for each of the calls, which share program and numbers and do not depend on one another. */
export function elementwiseEach(
  backend: Backend,
  program: Program,
  calls: readonly ElementwiseCall[],
  scalars: readonly number[],
): void {
  if (backend.elementwiseEach) {
    backend.elementwiseEach(program, calls, scalars)
    return
  }
  for (const { inputs, outputs } of calls) backend.elementwise(program, inputs, scalars, outputs)
}

const IDENTITY = {
  float: new Program([input(0)], 1),
  int: new Program([input(0, 'int')], 1),
  bool: new Program([input(0, 'bool')], 1),
}

/**
 * Reduces the values of a program over all elements of all `operands` (each the inputs of one call, at least one call,
 * none of them empty) to the one element of `output`, whose dtype is that of the program's values.
 */
export function reduceEach(
  backend: Backend,
  kind: ReduceKind,
  program: Program,
  operands: readonly (readonly View[])[],
  scalars: readonly number[],
  output: View,
): void {
  if (backend.reduceEach) {
    backend.reduceEach(kind, program, operands, scalars, output)
    return
  }
  const { dtype } = output
  const buffer = backend.allocate(dtype, operands.length)
  const parts = { buffer, dtype, offset: 0, shape: [operands.length], strides: [1] }
  operands.forEach((inputs, i) => {
    backend.reduce(kind, program, inputs, scalars, { ...parts, offset: i, shape: [], strides: [] })
  })
  const { type } = program.instructions[program.outputs[0]]
  backend.reduce(kind, IDENTITY[type], [parts], [], output)
  backend.free(buffer)
}
