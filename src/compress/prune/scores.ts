// How much each weight matters: scores from gradients and activations, by the names of the parameters. The lowest go first.
//
//   taylor    |w g|                      first order (Molchanov et al. 2017); g accumulated over as many batches as wanted
//   snip      |w g| / sum |w g|          the sum over all of them (Lee et al. 2019)
//   movement  -w g                       weights that move away from 0 score high (Sanh et al. 2020)
//   wanda     |w_ij| norm(x_j)           x_j: feature j of the layer's inputs, over all tokens (Sun et al. 2024)

import { ArgumentError } from '../../errors'
import { Linear } from '../../nn/linear'
import type { Module } from '../../nn/module'
import { namedOriginals } from '../../nn/parametrize'
import type { Parameter } from '../../nn/parameter'
import { abs, add, div, mul, neg, sqrt, square } from '../../tensor/ops/elementwise'
import { sum } from '../../tensor/ops/reduce'
import { reshape } from '../../tensor/ops/views'
import { escapeScopes, noGrad } from '../../tensor/scope'
import type { Tensor } from '../../tensor/tensor'

/** A tensor of a parameter's shape for each parameter's name. */
export type Scores = Readonly<Record<string, Tensor>>

/** Parameters of two axes and more, biases and norms left out. */
export function weightsOf(model: Module): [name: string, weight: Parameter][] {
  return namedOriginals(model).filter(([, p]) => p.ndim >= 2)
}

function fromGradients(where: string, model: Module, score: (product: Tensor) => Tensor): Scores {
  const weights = weightsOf(model)
  const lacking = weights.filter(([, p]) => !p.grad).map(([name]) => name)
  if (lacking.length === weights.length) {
    throw new ArgumentError(
      `${where}: no parameter of ${model.constructor.name} has a gradient; call backward() on a loss first`,
    )
  }
  return noGrad(() =>
    Object.fromEntries(
      weights.flatMap(([name, p]) => (p.grad ? [[name, score(mul(p, p.grad))] as const] : [])),
    ),
  )
}

/** |w g| of every weight that has a gradient. Gradients of several batches may be accumulated before. */
export function taylorScores(model: Module): Scores {
  return fromGradients('taylorScores', model, abs)
}

/** |w g|, divided by the sum over all weights of the model. Published for one batch, before training. */
export function snipScores(model: Module): Scores {
  return noGrad(() => {
    const scores = fromGradients('snipScores', model, abs)
    const total = Object.values(scores)
      .map((t) => sum(t))
      .reduce((a, b) => add(a, b))
    return Object.fromEntries(Object.entries(scores).map(([name, t]) => [name, div(t, total)]))
  })
}

/** -w g: by how much a step of gradient descent moves a weight away from 0. Trained scores are those of `MovementMask`. */
export function movementScores(model: Module): Scores {
  return fromGradients('movementScores', model, neg)
}

/**
 * |w_ij| times the norm of input feature j, of the weight of every Linear that `run` makes the model compute with. `run`
 * feeds the calibration data; its gradients are not recorded. Prune with scope 'row', as published.
 */
export async function wandaScores(model: Module, run: () => unknown): Promise<Scores> {
  const squares = new Map<Linear, Tensor>()
  const removeHooks = model.modules().flatMap((layer) =>
    layer instanceof Linear
      ? [
          layer.registerForwardHook((_, [x]) => {
            const seen = noGrad(() => {
              const own = sum(square(reshape(x, [-1, x.shape[x.ndim - 1]])), 0)
              const before = squares.get(layer)
              return before ? add(before, own) : own
            })
            squares.get(layer)?.dispose()
            squares.set(layer, escapeScopes(seen))
            return undefined
          }),
        ]
      : [],
  )
  try {
    const result = noGrad(run)
    if (result instanceof Promise) await result
    if (squares.size === 0) {
      throw new ArgumentError(
        'wandaScores: no Linear of the model ran; feed calibration data to the model in `run`',
      )
    }
    const names = new Map(model.namedModules().map(([name, module]) => [module, name]))
    return noGrad(() =>
      Object.fromEntries(
        [...squares].map(([layer, total]) => {
          const path = names.get(layer) as string
          return [path === '' ? 'weight' : `${path}.weight`, mul(abs(layer.weight), sqrt(total))]
        }),
      ),
    )
  } finally {
    for (const remove of removeHooks) remove()
    for (const t of squares.values()) t.dispose()
  }
}
