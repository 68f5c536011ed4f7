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
import { observe } from './anomaly'

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
  readonly edges: readonly (Edge | null)[]
  readonly outputCount: number
  #saved: SavedTensor[] | null
  #backward: BackwardFn | null
  #outputs: Tensor[]
  /** Set once the graph behind this node is freed. */
  freed: string | null = null

  constructor(
    readonly op: string,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    saved: readonly Tensor[],
    backward: BackwardFn,
  ) {
    this.edges = inputs.map((t) => t.edge)
    this.outputCount = outputs.length
    this.#outputs = [...outputs]
    // Before saving: a saved output must remember that this node made it.
    outputs.forEach((t, index) => {
      t.edge = { node: this, index, leaf: null }
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

  /** Frees what the node saved and marks its results spent. */
  free(pass: number, roots: readonly Tensor[]): void {
    for (const s of this.#saved ?? []) s.release()
    this.#saved = null
    this.#backward = null
    const why = `the graph of ${this.label} was freed by backward() number ${pass}`
    this.freed = why
    for (const t of this.#outputs) {
      if (t.isDisposed) continue
      const released = !roots.includes(t) && !t.isKept
      markSpent(t, `${why}, and its result was released by the forward pass after it; use keep(t) or t.detach() before, or read it earlier`, released)
    }
    this.#outputs = []
  }
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
  if (!gradEnabled()) return
  let wanted = false
  let stale: Tensor | null = null
  for (const t of inputs) {
    if (t.spent) stale ??= t
    else if (t.edge) wanted = true
    if (t.spent?.released) stale = t
  }
  if (stale?.spent) {
    for (const t of outputs) markSpent(t, stale.spent.why, stale.spent.released)
    return
  }
  if (!wanted) return
  releaseSpent()
  new GraphNode(op, inputs, outputs, saved, backward)
}
