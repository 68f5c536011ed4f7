// Checkpointing (Chen et al. 2016): a part of the graph keeps only its inputs and is computed again for backward.

import { GraphError } from '../errors'
import { detach } from '../tensor/ops/views'
import { getRandomState, setRandomState } from '../tensor/random-state'
import { enableGrad, gradEnabled, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { gradients } from './backward'
import { differentiateReference } from './reference'
import { type GraphNode, nodesSoFar, record } from './tape'

/**
 * `fn(...inputs)`, of which backward keeps no more than the inputs: it calls `fn` again, with the same random numbers
 * (dropout drops the same). Gradients, also those of parameters that `fn` uses, are the same as without; time is up to a
 * third longer. `fn` must be repeatable: what it does besides its result is done twice.
 * @throws GraphError if `fn` uses a tensor that was computed outside from something with a gradient: pass it as an input.
 */
export function checkpoint<R extends Tensor | readonly Tensor[]>(
  fn: (...inputs: Tensor[]) => R,
  ...inputs: Tensor[]
): R {
  if (!gradEnabled()) return tidy(() => fn(...inputs))
  return tidy(() => {
    const random = getRandomState()
    // Recorded once on entries of its own, to see which parameters take part; the graph is dropped at once.
    const entries = inputs.map(entry)
    const before = nodesSoFar()
    const result = fn(...entries)
    const made = listOf(result)
    const { nodes, leaves } = graphOf(made, before)
    const captured = [...leaves].filter((t) => !entries.includes(t))
    const outputs = made.map(detach)
    for (const node of nodes) node.abandon('checkpoint keeps no graph')

    const again = (...xs: Tensor[]): readonly Tensor[] => {
      const now = getRandomState()
      setRandomState(random)
      try {
        return listOf(fn(...xs.slice(0, inputs.length)))
      } finally {
        setRandomState(now)
      }
    }
    // Parameters are saved too: backward then notices if they were changed in between.
    const all = [...inputs, ...captured]
    record('checkpoint', all, outputs, all, (grads, saved, needs) =>
      gradEnabled()
        ? differentiateReference(again, saved.slice(0, inputs.length), grads, needs, captured)
        : plainGradients(again, saved.slice(0, inputs.length), captured, grads, needs),
    )
    return (Array.isArray(result) ? outputs : outputs[0]) as Tensor | readonly Tensor[] as R
  })
}

function listOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor]
}

/** A leaf with the values of x, if x takes part in differentiation. */
function entry(x: Tensor): Tensor {
  const leaf = detach(x)
  if (x.requiresGrad) leaf.requiresGrad = true
  return leaf
}

/** The nodes behind some tensors that were made after the first `before`, and the leaves they lead to. */
function graphOf(roots: readonly Tensor[], before: number): { nodes: Set<GraphNode>; leaves: Set<Tensor> } {
  const nodes = new Set<GraphNode>()
  const leaves = new Set<Tensor>()
  const edges = roots.map((t) => t.edge)
  for (let edge = edges.pop(); edge !== undefined; edge = edges.pop()) {
    if (edge === null) continue
    if (edge.leaf) leaves.add(edge.leaf)
    if (!edge.node || nodes.has(edge.node)) continue
    if (edge.node.sequence < before) {
      throw new GraphError(
        `checkpoint: fn uses the result of ${edge.node.label}, computed outside of it; pass that tensor as an input`,
      )
    }
    nodes.add(edge.node)
    edges.push(...edge.node.edges)
  }
  return { nodes, leaves }
}

type Again = (...inputs: Tensor[]) => readonly Tensor[]

/** As `differentiateReference`, not recorded: the graph made again is freed on the way. */
function plainGradients(
  again: Again,
  inputs: readonly Tensor[],
  captured: readonly Tensor[],
  grads: readonly (Tensor | null)[],
  needs: readonly boolean[],
): (Tensor | null)[] {
  return enableGrad(() => {
    const entries = inputs.map((x, i) => {
      const leaf = detach(x)
      if (needs[i]) leaf.requiresGrad = true
      return leaf
    })
    const outputs = again(...entries)
    const used = outputs.flatMap((y, k) => (grads[k] && y.requiresGrad ? [k] : []))
    const all = [...entries, ...captured]
    const wanted = all.flatMap((_, i) => (needs[i] ? [i] : []))
    const found = gradients(
      used.map((k) => outputs[k]),
      wanted.map((i) => all[i]),
      { gradOutputs: used.map((k) => grads[k] as Tensor) },
    )
    return all.map((_, i) => found[wanted.indexOf(i)] ?? null)
  })
}
