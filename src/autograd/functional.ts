// Functions in, derivative functions out.

import { ArgumentError } from '../errors'
import { zerosLike } from '../tensor/create'
import { detach } from '../tensor/ops/views'
import { enableGrad, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { gradients } from './backward'

/** Fresh leaves with the inputs' values, outside any earlier graph; or the inputs themselves where a graph is wanted. */
function leaves(inputs: readonly Tensor[]): Tensor[] {
  return inputs.map((x) => {
    const leaf = detach(x)
    leaf.requiresGrad = true
    return leaf
  })
}

/**
 * The gradient of a function of tensors that returns one scalar tensor, with respect to all its arguments:
 * `const [dx, dy] = grad((x, y) => x.mul(y).sum())(x, y)`.
 */
export function grad(fn: (...inputs: Tensor[]) => Tensor): (...inputs: Tensor[]) => Tensor[] {
  const both = valueAndGrad(fn)
  return (...inputs) => tidy(() => both(...inputs).gradients)
}

/** As `grad`, and the function's value. */
export function valueAndGrad(fn: (...inputs: Tensor[]) => Tensor): (...inputs: Tensor[]) => { value: Tensor; gradients: Tensor[] } {
  return (...inputs) =>
    tidy(() =>
      enableGrad(() => {
        const xs = leaves(inputs)
        const value = fn(...xs)
        if (value.size !== 1) {
          throw new ArgumentError(`grad: the function must return one element, got shape [${value.shape.join(', ')}]; reduce it, or use vjp`)
        }
        const found = value.requiresGrad ? gradients([value], xs) : xs.map(() => null)
        return { value: detach(value), gradients: found.map((g, i) => g ?? zerosLike(xs[i])) }
      }),
    )
}

/**
 * The function's value, and `back(v)`: the vector-Jacobian product of `v` (the value's shape) for every argument.
 * `back` may be called again.
 */
export function vjp(fn: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): { value: Tensor; back: (v: Tensor) => Tensor[] } {
  return enableGrad(() => {
    const xs = leaves(inputs)
    const value = fn(...xs)
    return {
      value: detach(value),
      back: (v) =>
        tidy(() => {
          const found = value.requiresGrad ? gradients([value], xs, { gradOutputs: [v], retainGraph: true }) : xs.map(() => null)
          return found.map((g, i) => g ?? zerosLike(xs[i]))
        }),
    }
  })
}
