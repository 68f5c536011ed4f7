// The tape: one node per recorded op, what each node saves, and what happens to results after backward.
//
// Nodes own what they save: they hold their own references on storages, whatever users do with their handles,
// and remember the version, so that a value changed in place is noticed. After a backward that does not retain
// the graph, results of the visited nodes are *spent*: readable until the next forward, then released. So plain
// PyTorch loops run unchanged and nothing leaks.

import { GraphError } from '../errors'
import { modulePath } from '../tensor/context'
import { gradEnabled } from '../tensor/scope'
import type { Shape } from '../tensor/shape'
import { Reference, releaseWhenDropped } from '../tensor/storage'
import { Tensor } from '../tensor/tensor'
import { observe, type Origin, origin } from './anomaly'

/** Where a gradient goes: output `index` of a node, or a leaf's `grad`. */
export interface Edge {
  readonly node: GraphNode | null
  readonly index: number
  readonly leaf: Tensor | null
}

/**
 * Gradients of the outputs (null: none arrived) to gradients of the inputs (null: no gradient). `saved` are the
 * tensors given to `record`; `needs[i]` tells whether input i wants a gradient. Written with recorded ops, so that
 * it can itself be differentiated.
 */
export type BackwardFn = (
  grads: readonly (Tensor | null)[],
  saved: readonly Tensor[],
  needs: readonly boolean[],
) => readonly (Tensor | null)[]

let sequence = 0
let backwardPasses = 0
/** Nodes freed so far. */
let freedNodes = 0
/** Spent tensors waiting for the next forward. */
let pending: Tensor[] = []

/** A tensor held by the tape. */
class SavedTensor {
  readonly #reference: Reference
  readonly #version: number
  readonly #offset: number
  readonly #shape: Shape
  readonly #strides: readonly number[]
  readonly #edge: Edge | null

  constructor(tensor: Tensor) {
    const { storage } = tensor
    storage.retain()
    this.#reference = new Reference(storage)
    releaseWhenDropped(this, this.#reference)
    this.#version = storage.version
    this.#offset = tensor.offset
    this.#shape = tensor.shape
    this.#strides = tensor.strides
    this.#edge = tensor.edge
  }

  unpack(op: string): Tensor {
    const { storage } = this.#reference
    if (storage.version !== this.#version) {
      throw new GraphError(
        `backward of ${op}: a tensor it needs, of shape [${this.#shape.join(', ')}], was changed in place after the forward pass ` +
          `(version ${storage.version}, expected ${this.#version}); call backward() before copy_, fill_, zero_ or optimizer steps`,
      )
    }
    storage.retain()
    const tensor = new Tensor(storage, this.#offset, this.#shape, this.#strides)
    tensor.edge = this.#edge
    return tensor
  }

  release(): void {
    this.#reference.release()
  }
}

export class GraphNode {
  readonly sequence = sequence++
  readonly module = modulePath()
  /** Known while `detectAnomaly` watches. */
  readonly origin: Origin | null
  edges: readonly (Edge | null)[]
  readonly outputCount: number
  #saved: SavedTensor[] | null
  #backward: BackwardFn | null
  #outputs: Tensor[]
  /** Why this node can no longer be run, once it cannot. */
  freed: string | null = null
  /** The count of freed nodes at which everything behind this node was last known to be there. */
  wholeAt = freedNodes

  constructor(
    readonly op: string,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    saved: readonly Tensor[],
    backward: BackwardFn,
  ) {
    this.origin = origin(this.label)
    this.edges = inputs.map((t) => t.edge)
    this.outputCount = outputs.length
    this.#outputs = [...outputs]
    // Before saving: a saved output must remember that this node made it.
    outputs.forEach((t, index) => {
      if (isFloat(t)) t.edge = { node: this, index, leaf: null }
    })
    this.#saved = saved.map((t) => new SavedTensor(t))
    this.#backward = backward
  }

  /** `matmul`, or `matmul in encoder.layers.0`. */
  get label(): string {
    return this.module === '' ? this.op : `${this.op} in ${this.module}`
  }

  run(grads: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
    if (!this.#backward || !this.#saved) {
      throw new GraphError(
        `backward through ${this.label}: its graph was freed by an earlier backward(); pass { retainGraph: true } to that call to run a second one`,
      )
    }
    return this.#backward(
      grads,
      this.#saved.map((s) => s.unpack(this.label)),
      this.edges.map((e) => e !== null),
    )
  }

  /** After a backward pass: frees what the node saved and marks its results spent. */
  free(pass: number, roots: readonly Tensor[]): void {
    const why = `the graph of ${this.label} was freed by backward() number ${pass}`
    this.#drop(why, (t) => !roots.includes(t) && !t.isKept)
  }

  /** When a node behind this one is gone: backward could not run to its end, so there is nothing to hold on for. */
  abandon(why: string): void {
    this.#drop(why, () => false)
  }

  #drop(why: string, releases: (t: Tensor) => boolean): void {
    for (const s of this.#saved ?? []) s.release()
    this.#saved = null
    this.#backward = null
    // Whoever holds this node must not hold the whole graph behind it.
    this.edges = []
    this.freed = why
    freedNodes++
    for (const t of this.#outputs) {
      if (t.isDisposed || !isFloat(t)) continue
      const released = releases(t)
      const after =
        'and its result was released by the forward pass after it; use keep(t) or t.detach() before, or read it earlier'
      markSpent(t, released ? `${why}, ${after}` : why, released)
    }
    this.#outputs = []
  }
}

function isFloat(t: Tensor): boolean {
  return t.dtype === 'float32' || t.dtype === 'float64'
}

/**
 * Null if everything behind a node is still there, else what was freed. A sum of losses over several steps leads
 * through the graphs of the earlier ones: recording it on and on would only make a chain that never ends.
 */
function whyStale(node: GraphNode): string | null {
  if (node.freed || node.wholeAt === freedNodes) return node.freed
  const behind = new Set<GraphNode>([node])
  for (const n of behind) {
    for (const e of n.edges) if (e?.node && !e.node.freed && e.node.wholeAt !== freedNodes) behind.add(e.node)
  }
  const now = freedNodes
  const whole: GraphNode[] = []
  for (const n of [...behind].sort((a, b) => a.sequence - b.sequence)) {
    const gone = n.edges.find((e) => e?.node?.freed)?.node?.freed
    if (gone) n.abandon(gone)
    else whole.push(n)
  }
  // Abandoning nodes adds to the count, and takes nothing from those found whole or known to be.
  if (freedNodes === now) for (const n of whole) n.wholeAt = now
  return node.freed
}

function markSpent(tensor: Tensor, why: string, released: boolean): void {
  tensor.spent = { why, released }
  if (released) pending.push(tensor)
}

/** Releases the results of graphs that backward has freed. The next forward does this by itself. */
export function releaseSpent(): void {
  const list = pending
  pending = []
  for (const t of list) if (!t.isKept) t.dispose(t.spent?.why)
}

/** How many nodes were made; the next one gets this number. */
export function nodesSoFar(): number {
  return sequence
}

/** Counts backward passes, for messages. */
export function nextBackwardPass(): number {
  return ++backwardPasses
}

/**
 * Puts an op on the tape if gradients are enabled and an input requires one. Outputs are fresh tensors that the op
 * has computed already. Inputs whose graph is spent make the result spent too: it is computed, not recorded.
 */
export function record(
  op: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  saved: readonly Tensor[],
  backward: BackwardFn,
): void {
  observe(op, outputs)
  if (!gradEnabled() || !outputs.some(isFloat)) return
  let wanted = false
  let stale: Tensor['spent'] = null
  for (const t of inputs) {
    const gone = t.spent ? null : t.edge?.node ? whyStale(t.edge.node) : null
    const spent = t.spent ?? (gone === null ? null : { why: gone, released: false })
    if (!spent) wanted ||= t.edge !== null
    else if (!stale || spent.released) stale = spent
  }
  if (stale) {
    for (const t of outputs) if (isFloat(t)) markSpent(t, stale.why, stale.released)
    return
  }
  if (!wanted) return
  releaseSpent()
  new GraphNode(op, inputs, outputs, saved, backward)
}
