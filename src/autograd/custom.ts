// Custom ops: a forward of any kind with a gradient of the author's.

import { GraphError } from '../errors'
import { noGrad } from '../tensor/scope'
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
  return (...inputs) => {
    const { output, saved = [] } = noGrad(() => forward(...inputs))
    // The output must be a handle of its own: an input returned as it is would be re-wired in the graph.
    const out = inputs.includes(output) ? output.window(output.offset, output.shape, output.strides) : output
    const back: BackwardFn = ([g], values, needs) => {
      if (!g) return inputs.map(() => null)
      const found = backward(g, values, needs)
      if (found.length !== inputs.length) {
        throw new GraphError(`backward of ${name}: returned ${found.length} gradients for ${inputs.length} inputs; return null where there is none`)
      }
      found.forEach((t, i) => {
        if (t && (t.shape.length !== inputs[i].shape.length || t.shape.some((n, d) => n !== inputs[i].shape[d]))) {
          throw new GraphError(`backward of ${name}: gradient ${i} has shape [${t.shape.join(', ')}], its input [${inputs[i].shape.join(', ')}]`)
        }
      })
      return found
    }
    record(name, inputs, [out], saved.map((t) => (t === output ? out : t)), back)
    return out
  }
}
