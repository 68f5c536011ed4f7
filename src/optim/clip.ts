// Gradient clipping on the device: no value is read back.

import { elementwiseEach, reduceEach } from '../backend/each'
import { constant, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError } from '../errors'
import { zeros } from '../tensor/create'
import { noGrad } from '../tensor/scope'
import { Tensor } from '../tensor/tensor'

const ABSOLUTE = new Program([input(0).abs()], 1)
const SQUARE = new Program([input(0).mul(input(0))], 1)
const ROOT = new Program([input(0).sqrt()], 1)
const POWER = new Program([input(0).abs().pow(scalar(0))], 1, 1)
const SCALE = new Program([input(0).mul(scalar(0).div(input(1).add(1e-6)).min(constant(1)))], 2, 1)
const TIMES = new Program([input(0).mul(scalar(0))], 1, 1)
const LIMIT = new Program(
  [
    input(0)
      .lt(scalar(0).neg())
      .where(scalar(0).neg(), input(0).gt(scalar(0)).where(scalar(0), input(0))),
  ],
  1,
  1,
)

function gradientsOf(params: Iterable<Tensor>): Tensor[] {
  return [...params].flatMap((p) => (p.grad ? [p.grad] : []))
}

/** What is summed (or maximized) over the elements, and what is done to the total. */
function normPrograms(p: number): {
  kind: 'sum' | 'max'
  term: Program
  root: Program | null
  power: boolean
} {
  if (p === Number.POSITIVE_INFINITY) return { kind: 'max', term: ABSOLUTE, root: null, power: false }
  if (p === 1) return { kind: 'sum', term: ABSOLUTE, root: null, power: false }
  if (p === 2) return { kind: 'sum', term: SQUARE, root: ROOT, power: false }
  return { kind: 'sum', term: POWER, root: POWER, power: true }
}

/**
 * Scales all gradients by min(1, maxNorm / (norm + 1e-6)), norm being the p-norm of all of them together, by default the
 * Euclidean one; `Infinity` is the largest absolute value (torch.nn.utils.clip_grad_norm_). Returns the norm before
 * clipping, a scalar tensor on the device.
 * @throws ArgumentError unless maxNorm and normType are above 0, and where no parameter has a gradient.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number, normType = 2): Tensor {
  if (!(maxNorm > 0))
    throw new ArgumentError(`clipGradNorm: maxNorm is ${maxNorm}; expected a number above 0`)
  if (!(normType > 0))
    throw new ArgumentError(`clipGradNorm: normType is ${normType}; expected a number above 0, or Infinity`)
  return noGrad(() => {
    const all = gradientsOf(params)
    if (all.length === 0)
      throw new ArgumentError('clipGradNorm: no parameter has a gradient; call backward() first')
    const { backend, dtype } = all[0]
    const grads = all.filter((g) => g.size > 0)
    const { kind, term, root, power } = normPrograms(normType)
    if (grads.length === 0) return zeros([], { dtype, device: backend.name })
    const norm = Tensor.allocate(backend, dtype, [])
    const operands = grads.map((g) => [g.view()])
    reduceEach(backend, kind, term, operands, power ? [normType] : [], norm.view())
    if (root) backend.elementwise(root, [norm.view()], power ? [1 / normType] : [], [norm.view()])
    change(grads, SCALE, [maxNorm], norm)
    return norm
  })
}

/** Runs a program over each gradient, in place; `factor` is a further operand, the same for all elements. */
function change(
  grads: readonly Tensor[],
  program: Program,
  scalars: readonly number[],
  factor?: Tensor,
): void {
  const calls = grads
    .filter((g) => g.size > 0)
    .map((g) => {
      const own = g.view()
      const wide = factor && { ...factor.view(), shape: g.shape, strides: g.shape.map(() => 0) }
      return { inputs: wide ? [own, wide] : [own], outputs: [own] }
    })
  if (calls.length > 0) elementwiseEach(grads[0].backend, program, calls, scalars)
  for (const g of grads) g.storage.version++
}

/** Multiplies every gradient by a number, in place. */
export function scaleGradients(params: Iterable<Tensor>, factor: number): void {
  change(gradientsOf(params), TIMES, [factor])
}

/** Limits every gradient element to [-limit, limit] (torch.nn.utils.clip_grad_value_). */
export function clipGradValue(params: Iterable<Tensor>, limit: number): void {
  if (!(limit >= 0)) throw new ArgumentError(`clipGradValue: limit is ${limit}; expected a number at least 0`)
  change(gradientsOf(params), LIMIT, [limit])
}
