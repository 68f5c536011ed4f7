// Custom ops: a forward of any kind with a gradient of the author's.

import { GraphError } from '../errors'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { type BackwardFn, record } from './tape'

export interface CustomOp {
  /** Shown in errors. */
  name: string
  /** Computes the output; what it does is not recorded. `saved` are the tensors that `backward` will want. */
  forward: (...inputs: Tensor[]) => { output: Tensor; saved?: readonly Tensor[] }
  /**
   * Takes the output's gradient, the saved tensors and the tensor inputs' wishes to one gradient per input (null:
   * none). Written with the library's ops it can itself be differentiated, as long as what it reads are inputs or the output.
   */
  backward: (grad: Tensor, saved: readonly Tensor[], needs: readonly boolean[]) => readonly (Tensor | null)[]
}

/**
 * Makes a differentiable function of a forward and a backward:
 * `const square = customOp({ name: 'square', forward: (x) => ({ output: x.mul(x), saved: [x] }), backward: (g, [x]) => [g.mul(x).mul(2)] })`.
 * Check it with `gradcheck`.
 */
export function customOp({ name, forward, backward }: CustomOp): (...inputs: Tensor[]) => Tensor {
  return (...inputs) =>
    // The tape holds its own references to what was computed only to be saved.
    tidy(() => {
      const { output, saved = [] } = noGrad(() => forward(...inputs))
      // The output must be a handle of its own: an input returned as it is would be re-wired in the graph.
      const out = inputs.includes(output)
        ? output.window(output.offset, output.shape, output.strides)
        : output
      const shapes = inputs.map((t) => t.shape)
      const back: BackwardFn = ([g], values, needs) => {
        if (!g) return shapes.map(() => null)
        const found = backward(g, values, needs)
        if (found.length !== shapes.length) {
          throw new GraphError(
            `backward of ${name}: returned ${found.length} gradients for ${shapes.length} inputs; return null where there is none`,
          )
        }
        found.forEach((t, i) => {
          if (t && !sameShape(t.shape, shapes[i])) {
            throw new GraphError(
              `backward of ${name}: gradient ${i} has shape ${formatShape(t.shape)}, its input ${formatShape(shapes[i])}`,
            )
          }
        })
        // Handles of the pass's own: it consumes gradients, and the author may have returned a tensor he keeps.
        return found.map((t) => t?.alias() ?? null)
      }
      record(
        name,
        inputs,
        [out],
        saved.map((t) => (t === output ? out : t)),
        back,
      )
      return out
    })
}
