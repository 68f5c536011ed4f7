// Gradient clipping on the device: no value is read back.

import { constant, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError } from '../errors'
import { noGrad } from '../tensor/scope'
import { Tensor } from '../tensor/tensor'

const SQUARE = new Program([input(0).mul(input(0))], 1)
const IDENTITY = new Program([input(0)], 1)
const ROOT = new Program([input(0).sqrt()], 1)
const SCALE = new Program([input(0).mul(scalar(0).div(input(1).add(1e-6)).min(constant(1)))], 2, 1)
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

/**
 * Scales all gradients by min(1, maxNorm / (norm + 1e-6)), norm being the 2-norm of all of them together
 * (torch.nn.utils.clip_grad_norm_). Returns the norm before clipping, a scalar tensor on the device.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number): Tensor {
  if (!(maxNorm > 0))
    throw new ArgumentError(`clipGradNorm: maxNorm is ${maxNorm}; expected a number above 0`)
  return noGrad(() => {
    const grads = gradientsOf(params)
    if (grads.length === 0)
      throw new ArgumentError('clipGradNorm: no parameter has a gradient; call backward() first')
    const { backend, dtype } = grads[0]
    const partial = Tensor.allocate(backend, dtype, [grads.length])
    grads.forEach((g, i) => {
      backend.reduce('sum', SQUARE, [g.view()], [], { ...partial.view(), offset: i, shape: [], strides: [] })
    })
    const norm = Tensor.allocate(backend, dtype, [])
    backend.reduce('sum', IDENTITY, [partial.view()], [], norm.view())
    backend.elementwise(ROOT, [norm.view()], [], [norm.view()])
    for (const g of grads) {
      if (g.size > 0)
        backend.elementwise(SCALE, [g.view(), norm.expand(g.shape).view()], [maxNorm], [g.view()])
      g.storage.version++
    }
    return norm
  })
}

/** Limits every gradient element to [-limit, limit] (torch.nn.utils.clip_grad_value_). */
export function clipGradValue(params: Iterable<Tensor>, limit: number): void {
  if (!(limit >= 0)) throw new ArgumentError(`clipGradValue: limit is ${limit}; expected a number at least 0`)
  for (const g of gradientsOf(params)) {
    if (g.size > 0) g.backend.elementwise(LIMIT, [g.view()], [limit], [g.view()])
    g.storage.version++
  }
}
