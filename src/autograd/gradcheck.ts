// gradcheck: analytic derivatives against central differences, in float64.

import { ArgumentError, DTypeError, GraphError } from '../errors'
import { tensor, zerosLike } from '../tensor/create'
import { add, mul } from '../tensor/ops/elementwise'
import { sum } from '../tensor/ops/reduce'
import { detach } from '../tensor/ops/views'
import { enableGrad, noGrad, tidy } from '../tensor/scope'
import { Tensor } from '../tensor/tensor'
import { gradients } from './backward'

export interface GradcheckOptions {
  /** Step of the central difference. Default 1e-6. */
  eps?: number
  /** Allowed |a - n| <= atol + rtol |n|. Defaults 1e-5 and 1e-3, torch's. */
  atol?: number
  rtol?: number
}

type Fn = (...inputs: Tensor[]) => Tensor | readonly Tensor[]

/** A fixed vector of weights, so that one scalar depends on every output element in its own way. */
function weights(n: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + 0.7) + 0.25)
}

function outputsOf(value: Tensor | readonly Tensor[]): Tensor[] {
  return (value instanceof Tensor ? [value] : [...value]).filter((t) => t.dtype === 'float64')
}

/** The weighted sum of all float64 outputs: a scalar tensor. */
function project(outputs: readonly Tensor[]): Tensor {
  let total: Tensor | null = null
  for (const y of outputs) {
    const w = tensor(weights(y.size), { shape: y.shape, device: y.device })
    const part = sum(mul(y, w))
    total = total ? add(total, part) : part
  }
  if (!total) throw new GraphError('gradcheck: the function returned no float64 tensor')
  return total
}

/**
 * Compares the gradient of every float64 input that requires one with central differences of a fixed weighted sum of
 * the outputs. Resolves to true.
 * @throws GraphError naming the input, the element and both values where they differ.
 */
export async function gradcheck(
  fn: Fn,
  inputs: readonly Tensor[],
  { eps = 1e-6, atol = 1e-5, rtol = 1e-3 }: GradcheckOptions = {},
): Promise<true> {
  const checked = inputs.flatMap((t, i) => (t.requiresGrad ? [i] : []))
  if (checked.length === 0)
    throw new ArgumentError(
      'gradcheck: no input requires a gradient; create them with { requiresGrad: true }',
    )
  for (const i of checked) {
    if (inputs[i].dtype !== 'float64') {
      throw new DTypeError(`gradcheck: input ${i} is ${inputs[i].dtype}; central differences need float64`)
    }
  }
  const analytic = tidy(() =>
    enableGrad(() => {
      const leaves = inputs.map((t) => leafOf(t, t.requiresGrad))
      const total = project(outputsOf(fn(...leaves)))
      const wanted = checked.map((i) => leaves[i])
      const found = total.requiresGrad ? gradients([total], wanted) : wanted.map(() => null)
      return found.map((g, k) => (g ? valuesOf(g) : new Float64Array(wanted[k].size)))
    }),
  )
  const value = (replaced: number, data: Float64Array): number =>
    noGrad(() => {
      const args = inputs.map((t, i) =>
        i === replaced ? tensor(data, { shape: t.shape, device: t.device }) : leafOf(t, false),
      )
      return project(outputsOf(fn(...args))).dataSync()?.[0] as number
    })
  for (const [k, i] of checked.entries()) {
    const data = valuesOf(inputs[i])
    for (let e = 0; e < data.length; e++) {
      const x = data[e]
      data[e] = x + eps
      const above = value(i, data)
      data[e] = x - eps
      const below = value(i, data)
      data[e] = x
      const numeric = (above - below) / (2 * eps)
      const exact = analytic[k][e]
      if (!(Math.abs(exact - numeric) <= atol + rtol * Math.abs(numeric))) {
        throw new GraphError(
          `gradcheck: input ${i}, element ${e} (value ${x}): the gradient is ${exact}, central differences give ${numeric}`,
        )
      }
    }
  }
  return true
}

/**
 * `gradcheck` of the gradient itself, through `createGraph`: second derivatives with respect to the inputs, and the
 * derivative with respect to the gradients that come in.
 */
export async function gradgradcheck(
  fn: Fn,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<true> {
  const count = inputs.length
  const seeds = noGrad(() =>
    outputsOf(fn(...inputs)).map((y) =>
      tensor(weights(y.size), { shape: y.shape, device: y.device, requiresGrad: true }),
    ),
  )
  const first = (...all: Tensor[]): Tensor[] =>
    enableGrad(() => {
      const leaves = all.map((x, i) =>
        i < count && inputs[i].requiresGrad && !x.requiresGrad ? leafOf(x, true) : x,
      )
      const wanted = leaves.slice(0, count).filter((t) => t.requiresGrad)
      const outputs = outputsOf(fn(...leaves.slice(0, count)))
      const reached = [...outputs.keys()].filter((k) => outputs[k].requiresGrad)
      const found = gradients(
        reached.map((k) => outputs[k]),
        wanted,
        { gradOutputs: reached.map((k) => leaves[count + k]), createGraph: true },
      )
      // No gradient at all, as of sign, is a constant 0.
      return found.map((g, i) => g ?? zerosLike(wanted[i]))
    })
  try {
    return await gradcheck(first, [...inputs, ...seeds], options)
  } finally {
    for (const t of seeds) t.dispose()
  }
}

function leafOf(t: Tensor, requiresGrad: boolean): Tensor {
  const leaf = detach(t)
  if (requiresGrad) leaf.requiresGrad = true
  return leaf
}

function valuesOf(t: Tensor): Float64Array {
  const data = t.dataSync()
  if (!data) throw new ArgumentError('gradcheck: inputs must be on the cpu, where float64 exists')
  return Float64Array.from(data)
}
