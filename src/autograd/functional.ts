// Functions in, derivative functions out.

import { ArgumentError } from '../errors'
import { zerosLike } from '../tensor/create'
import { recordedWindow } from '../tensor/ops/apply'
import { detach } from '../tensor/ops/views'
import { enableGrad, gradEnabled, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { gradients } from './backward'

interface Entries {
  readonly xs: Tensor[]
  /** Whether an outer graph reaches the inputs: then the derivative must be recorded too. */
  readonly nested: boolean
}

/**
 * Where differentiation starts: fresh leaves with the inputs' values; or, for inputs that are being recorded themselves,
 * an identity of each, so that the walk ends there and the result still depends on them.
 */
function entries(inputs: readonly Tensor[]): Entries {
  const recording = gradEnabled()
  const xs = inputs.map((x) => {
    if (recording && x.requiresGrad)
      return enableGrad(() => recordedWindow('identity', x, x.shape, x.strides, (g) => g))
    const leaf = detach(x)
    leaf.requiresGrad = true
    return leaf
  })
  return { xs, nested: recording && inputs.some((x) => x.requiresGrad) }
}

/** Gradients of one value, zeros where it does not depend on an argument. */
function pullBack(
  value: Tensor,
  { xs, nested }: Entries,
  gradOutput: Tensor | undefined,
  retainGraph: boolean,
): Tensor[] {
  const found = value.requiresGrad
    ? gradients([value], xs, {
        gradOutputs: [gradOutput],
        createGraph: nested,
        retainGraph: nested || retainGraph,
      })
    : xs.map(() => null)
  return found.map((g, i) => g ?? zerosLike(xs[i]))
}

/**
 * The gradient of a function of tensors that returns one scalar tensor, with respect to all its arguments:
 * `const [dx, dy] = grad((x, y) => x.mul(y).sum())(x, y)`. For arguments that require a gradient (those of an enclosing
 * `grad`, or leaves) the result is differentiable in turn: `grad((x) => grad(f)(x)[0].sum())`.
 */
export function grad(fn: (...inputs: Tensor[]) => Tensor): (...inputs: Tensor[]) => Tensor[] {
  const both = valueAndGrad(fn)
  return (...inputs) => tidy(() => both(...inputs).gradients)
}

/** As `grad`, and the function's value. */
export function valueAndGrad(
  fn: (...inputs: Tensor[]) => Tensor,
): (...inputs: Tensor[]) => { value: Tensor; gradients: Tensor[] } {
  return (...inputs) =>
    tidy(() => {
      const start = entries(inputs)
      return enableGrad(() => {
        const value = fn(...start.xs)
        if (value.size !== 1) {
          throw new ArgumentError(
            `grad: the function must return one element, got shape [${value.shape.join(', ')}]; reduce it, or use vjp`,
          )
        }
        const found = pullBack(value, start, undefined, false)
        return { value: start.nested ? value : detach(value), gradients: found }
      })
    })
}

/**
 * The function's value, and `back(v)`: the vector-Jacobian product of `v` (the value's shape) for every argument.
 * `back` may be called again. Differentiable in turn as `grad` is.
 */
export function vjp(
  fn: (...inputs: Tensor[]) => Tensor,
  ...inputs: Tensor[]
): { value: Tensor; back: (v: Tensor) => Tensor[] } {
  const start = entries(inputs)
  const value = enableGrad(() => fn(...start.xs))
  return {
    value: start.nested ? value : detach(value),
    back: (v) => tidy(() => pullBack(value, start, v, true)),
  }
}
