// Elementwise programs over views, and the plain copies among them.

import type { Program } from '../program'
import type { View } from '../types'
import { count } from '../collapse'
import { copy } from './copy'
import { Evaluation } from './interpreter'
import { Writer } from './stream'
import { wasmElementwise } from './wasm/programs'

/** See `Backend.elementwise`. */
export function elementwise(
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  outputs: readonly View[],
): void {
  if (outputs.length === 0) return
  const { shape } = outputs[0]
  const n = count(shape)
  if (n === 0) return
  const { instructions } = program
  if (wasmElementwise(program, inputs, scalars, outputs)) return
  if (instructions.length === 1 && outputs.length === 1 && instructions[0].kind === 'input') {
    const from = inputs[instructions[0].value]
    if (from.dtype === outputs[0].dtype) {
      copy(from, outputs[0])
      return
    }
  }
  const evaluation = new Evaluation(program, inputs, scalars, shape)
  const writers = outputs.map((v) => new Writer(v))
  const { block } = evaluation
  for (let done = 0; done < n; done += block) {
    const size = Math.min(block, n - done)
    evaluation.next(size)
    for (let k = 0; k < writers.length; k++)
      writers[k].write(evaluation.position(k), size, evaluation.uniform(k))
  }
}
