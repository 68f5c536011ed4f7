// Second derivatives of fused ops: differentiate the composite they are equal to.
//
// A fused op has a hand-written backward that is fast and not itself recorded. When a graph of the backward pass is
// wanted, the op's reference, written with ordinary ops, is recomputed from the saved inputs and differentiated
// instead. So a derivative through a fused op is never silently zero.

import { recordedWindow } from '../tensor/ops/apply'
import type { Tensor } from '../tensor/tensor'
import { gradients } from './backward'

/**
 * Recorded gradients of `reference(...inputs)` for the output gradients given (null: none). `inputs` are the values
 * the op saved; entries whose `needs` is false get null. `captured` are leaves that the reference uses by itself; their
 * gradients (and `needs`) follow those of the inputs.
 */
export function differentiateReference(
  reference: (...inputs: Tensor[]) => readonly Tensor[],
  inputs: readonly Tensor[],
  outputGrads: readonly (Tensor | null)[],
  needs: readonly boolean[],
  captured: readonly Tensor[] = [],
): (Tensor | null)[] {
  // Through an identity each, so that the walk ends at this op's inputs.
  const entries = inputs.map((x, i) =>
    needs[i] ? recordedWindow('identity', x, x.shape, x.strides, (g) => g) : x,
  )
  const outputs = reference(...entries)
  const used = outputs.flatMap((y, k) => (outputGrads[k] && y.requiresGrad ? [k] : []))
  const all = [...entries, ...captured]
  const wanted = all.flatMap((_, i) => (needs[i] ? [i] : []))
  const found = gradients(
    used.map((k) => outputs[k]),
    wanted.map((i) => all[i]),
    { gradOutputs: used.map((k) => outputGrads[k] as Tensor), createGraph: true },
  )
  return all.map((_, i) => found[wanted.indexOf(i)] ?? null)
}
