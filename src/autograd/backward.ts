// The backward pass: iterative, newest node first.
//
// A node's number is larger than that of everything it depends on, so popping the largest number first means all
// gradients of a node have arrived when its turn comes. That also fixes the order of accumulation, hence the bits.

import { input } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, DTypeError, GraphError, ShapeError } from '../errors'
import { PriorityQueue } from '../priority-queue'
import { add } from '../tensor/ops/elementwise'
import { copy, fillStorage } from '../tensor/ops/views'
import { escapeScopes, tidy, withGradMode } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'
import { observe, undo } from './anomaly'
import { type Edge, type GraphNode, nextBackwardPass } from './tape'

export interface BackwardOptions {
  /** Gradient of the result with respect to the tensor; needed unless the tensor has one element. */
  gradient?: Tensor
  /** Keep the graph for another backward. Default: `createGraph`. */
  retainGraph?: boolean
  /** Record the backward pass itself, for higher derivatives. Default false. */
  createGraph?: boolean
}

const ADD = new Program([input(0).add(input(1))], 2)

/** `sum + g`; in place where nothing else can see `sum` and no graph is wanted. Consumes both handles unless recorded. */
function accumulate(sum: Tensor, g: Tensor, createGraph: boolean): Tensor {
  if (createGraph) return add(sum, g)
  let out = sum
  if (
    sum.storage.references === 1 &&
    sum.isContiguous &&
    sum.size === sum.storage.length &&
    sum.dtype === g.dtype
  ) {
    sum.backend.elementwise(ADD, [sum.view(), g.view()], [], [sum.view()])
    sum.storage.version++
  } else {
    out = add(sum, g)
    sum.dispose()
  }
  g.dispose()
  return out
}

function addToLeaf(leaf: Tensor, g: Tensor, createGraph: boolean): void {
  const old = leaf.grad
  let next: Tensor
  if (old && !createGraph && !old.isKept) next = accumulate(old, g, false)
  else if (old) {
    next = add(old, g)
    if (!createGraph) g.dispose()
  } else if (g.isContiguous && g.size === g.storage.length && (createGraph || g.storage.references === 1))
    next = g
  else {
    next = copy(g)
    if (!createGraph) g.dispose()
  }
  leaf.grad = escapeScopes(next)
}

interface PassOptions {
  readonly retainGraph: boolean
  readonly createGraph: boolean
}

/** Places in the graph whose gradients are asked for. */
class Targets {
  readonly #leaves = new Map<Tensor, number>()
  readonly #results = new Map<GraphNode, Map<number, number>>()
  readonly #oldest: number

  constructor(edges: readonly Edge[]) {
    edges.forEach(({ node, index, leaf }, at) => {
      if (leaf) this.#leaves.set(leaf, at)
      else if (node)
        this.#results.set(node, (this.#results.get(node) ?? new Map<number, number>()).set(index, at))
    })
    this.#oldest = edges.reduce((min, e) => Math.min(min, e.node?.sequence ?? -1), Number.POSITIVE_INFINITY)
  }

  /** Which target an edge is, or -1. */
  at(edge: Edge): number {
    return (
      (edge.leaf
        ? this.#leaves.get(edge.leaf)
        : this.#results.get(edge.node as GraphNode)?.get(edge.index)) ?? -1
    )
  }

  /** The nodes on a path from a root to a target; only these are run. */
  paths(roots: readonly Tensor[]): Set<GraphNode> {
    const reachable = new Set<GraphNode>()
    const stack = roots.flatMap((r) => r.edge?.node ?? [])
    for (let node = stack.pop(); node; node = stack.pop()) {
      // Nothing older than all targets leads to one.
      if (reachable.has(node) || node.sequence < this.#oldest) continue
      reachable.add(node)
      for (const e of node.edges) if (e?.node) stack.push(e.node)
    }
    const leading = new Set<GraphNode>()
    for (const node of [...reachable].sort((a, b) => a.sequence - b.sequence)) {
      if (node.freed || node.edges.some((e) => e && (this.at(e) >= 0 || (e.node && leading.has(e.node)))))
        leading.add(node)
    }
    return leading
  }
}

/**
 * Sends gradients from `roots` back. With `targets` the gradients arriving there are returned instead of being
 * added to leaves.
 */
function run(
  roots: readonly Tensor[],
  gradients: readonly Tensor[],
  targets: readonly Edge[] | null,
  { retainGraph, createGraph }: PassOptions,
): (Tensor | null)[] {
  const pass = nextBackwardPass()
  const heap = new PriorityQueue<GraphNode>((a, b) => a.sequence > b.sequence)
  const arrived = new Map<GraphNode, (Tensor | null)[]>()
  const wanted = targets && new Targets(targets)
  const paths = wanted?.paths(roots)
  const captured: (Tensor | null)[] = (targets ?? []).map(() => null)

  const send = (edge: Edge, g: Tensor): void => {
    const goesOn = edge.leaf ? !wanted : !paths || paths.has(edge.node as GraphNode)
    const at = wanted ? wanted.at(edge) : -1
    if (at >= 0) {
      const old = captured[at]
      const own = goesOn ? g.alias() : g
      captured[at] = old ? accumulate(old, own, createGraph) : own
    }
    if (!goesOn) {
      if (at < 0 && !createGraph) g.dispose()
      return
    }
    if (edge.leaf) {
      addToLeaf(edge.leaf, g, createGraph)
      return
    }
    const node = edge.node as GraphNode
    let slots = arrived.get(node)
    if (!slots) {
      slots = new Array<Tensor | null>(node.outputCount).fill(null)
      arrived.set(node, slots)
      heap.push(node)
    }
    const old = slots[edge.index]
    slots[edge.index] = old ? accumulate(old, g, createGraph) : g
  }

  const visited: GraphNode[] = []
  roots.forEach((root, i) => {
    send(root.edge as Edge, gradients[i])
  })
  for (let node = heap.pop(); node; node = heap.pop()) {
    const current = node
    const grads = arrived.get(current) as (Tensor | null)[]
    arrived.delete(current)
    const results = undo(current.origin, () => {
      const found = tidy(() => current.run(grads))
      observe(current.op, found)
      return found
    })
    visited.push(current)
    // One tensor may be the gradient of several inputs, or be an incoming gradient passed through: each receiver
    // gets a handle of its own, made before any of them is consumed.
    const sent = new Set<Tensor>()
    const parcels: [Edge, Tensor][] = []
    current.edges.forEach((edge, i) => {
      const g = results[i]
      if (!edge || !g) return
      parcels.push([edge, sent.has(g) ? g.alias() : g])
      sent.add(g)
    })
    if (!createGraph) for (const g of [...results, ...grads]) if (g && !sent.has(g)) g.dispose()
    for (const [edge, g] of parcels) send(edge, g)
  }
  if (!retainGraph) for (const node of visited) node.free(pass, roots)
  // One target may be asked for twice.
  return (targets ?? []).map((edge, i) => {
    const at = wanted?.at(edge) ?? i
    return at === i ? captured[i] : (captured[at]?.alias() ?? null)
  })
}

function checkRoot(op: string, root: Tensor, gradient: Tensor | undefined): Tensor {
  if (root.spent) throw new GraphError(`${op}: ${root.spent.why}; call backward() on a fresh forward pass`)
  if (!root.edge) {
    throw new GraphError(
      `${op}: the tensor does not require a gradient; no input of its ops has requiresGrad, or it was computed under noGrad`,
    )
  }
  if (!gradient) {
    if (root.size !== 1) {
      throw new ArgumentError(
        `${op}: the tensor has shape ${formatShape(root.shape)}; only a one-element tensor has an implicit gradient, pass { gradient } or reduce it first`,
      )
    }
    const one = Tensor.allocate(root.backend, root.dtype, root.shape)
    fillStorage(one, 1)
    return one
  }
  if (!sameShape(gradient.shape, root.shape)) {
    throw new ShapeError(
      `${op}: gradient has shape ${formatShape(gradient.shape)}, the tensor ${formatShape(root.shape)}; they must be equal`,
    )
  }
  if (gradient.dtype !== root.dtype)
    throw new DTypeError(`${op}: gradient is ${gradient.dtype}, the tensor ${root.dtype}`)
  return gradient.alias()
}

/**
 * Adds the gradient of `root` with respect to every leaf that requires one to the leaf's `grad`.
 * @throws GraphError if there is no graph (left), or a saved value was changed in place.
 */
export function backward(
  root: Tensor,
  { gradient, createGraph = false, retainGraph = createGraph }: BackwardOptions = {},
): void {
  withGradMode(createGraph, () =>
    // Gradients of leaves escape; on an error, those on their way are released.
    tidy(() => {
      run([root], [checkRoot('backward', root, gradient)], null, { retainGraph, createGraph })
    }),
  )
}

/**
 * Gradients of the outputs' (weighted) sum with respect to `inputs`, returned rather than accumulated; null where an
 * output does not depend on an input.
 */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  {
    gradOutputs,
    createGraph = false,
    retainGraph = createGraph,
  }: { gradOutputs?: readonly (Tensor | undefined)[]; createGraph?: boolean; retainGraph?: boolean } = {},
): (Tensor | null)[] {
  const targets = inputs.map((t, i) => {
    if (!t.edge)
      throw new GraphError(
        `gradients: inputs[${i}] does not require a gradient; set requiresGrad before the forward pass`,
      )
    return t.edge
  })
  return withGradMode(createGraph, () =>
    tidy(() => {
      const starts = outputs.map((t, i) => checkRoot('gradients', t, gradOutputs?.[i]))
      return run(outputs, starts, targets, { retainGraph, createGraph })
    }),
  )
}
