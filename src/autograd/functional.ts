// Functions in, derivative functions out.

import { ArgumentError, ShapeError } from '../errors'
import { eye, zeros, zerosLike } from '../tensor/create'
import { recordedWindow } from '../tensor/ops/apply'
import { add, mul } from '../tensor/ops/elementwise'
import { stack } from '../tensor/ops/join'
import { sum } from '../tensor/ops/reduce'
import { detach, reshape, select } from '../tensor/ops/views'
import { enableGrad, gradEnabled, tidy } from '../tensor/scope'
import { checkShape, formatShape, sameShape } from '../tensor/shape'
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

/**
 * All derivatives of a function of tensors: for each argument a tensor of shape `[...value, ...argument]`, by one backward
 * pass per element of the value. Differentiable in turn as `grad` is.
 */
export function jacobian(fn: (...inputs: Tensor[]) => Tensor): (...inputs: Tensor[]) => Tensor[] {
  return (...inputs) =>
    tidy(() => {
      const start = entries(inputs)
      const value = enableGrad(() => fn(...start.xs))
      const shapes = inputs.map((x) => [...value.shape, ...x.shape])
      for (const shape of shapes) checkShape('jacobian', shape)
      const { size, dtype, device } = value
      if (size === 0) return shapes.map((shape) => zeros(shape, { dtype, device }))
      const units = reshape(eye(size, size, { dtype, device }), [size, ...value.shape])
      const rows = Array.from({ length: size }, (_, i) =>
        pullBack(value, start, select(units, 0, i), i < size - 1),
      )
      return shapes.map((shape, k) => reshape(stack(rows.map((row) => row[k])), shape))
    })
}

/**
 * The product of the second derivatives of a function that returns one scalar tensor with `vectors` (one per argument, of its
 * shape), without ever forming them (Pearlmutter 1994): `hvp(f)([x], [v])` is `[H v]`.
 */
export function hvp(
  fn: (...inputs: Tensor[]) => Tensor,
): (inputs: readonly Tensor[], vectors: readonly Tensor[]) => Tensor[] {
  return (inputs, vectors) => {
    if (vectors.length !== inputs.length) {
      throw new ArgumentError(
        `hvp: ${inputs.length} inputs and ${vectors.length} vectors; expected one for each`,
      )
    }
    vectors.forEach((v, i) => {
      if (!sameShape(v.shape, inputs[i].shape)) {
        throw new ShapeError(
          `hvp: vectors[${i}] has shape ${formatShape(v.shape)}, its input ${formatShape(inputs[i].shape)}; they must be equal`,
        )
      }
    })
    return grad((...xs) =>
      grad(fn)(...xs)
        .map((g, i) => sum(mul(g, vectors[i])))
        .reduce((a, b) => add(a, b)),
    )(...inputs)
  }
}
