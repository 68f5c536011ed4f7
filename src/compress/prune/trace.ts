// The tracer: which slices of which parameters belong to one unit, for any module whose layers have rules.
//
// The model runs as it is written, but layers with a rule are stood in for: what a layer emits is harmless everywhere except
// at some of its units, where it is NaN. NaN survives whatever is done to a unit by itself (activations, masks, sums with
// others, reshapes) and spreads where units are mixed. So two runs for each bit of a unit's number tell, for every position
// that enters a layer, which unit it is: NaN in one run of each pair, where it is that unit's alone; in both where it is not.
// What is not understood is thus never taken for independent. The tiny cost is that of the ops between layers.

import { ArgumentError } from '../../errors'
import type { Module } from '../../nn/module'
import { full, tensor } from '../../tensor/create'
import { stack } from '../../tensor/ops/join'
import { add } from '../../tensor/ops/elementwise'
import { eachTensor, noGrad } from '../../tensor/scope'
import { scalarType, type Tensor } from '../../tensor/tensor'
import type { Cut } from './cuts'
import { ownsParameters, ruleOf } from './rules'

/** Units that leave a layer together: the features of a Linear, one direction of a GRU. */
export interface Port {
  /** '' for a layer that has one only. */
  readonly name: string
  readonly units: number
  /** The slices of the layer's own parameters that belong to a unit. */
  cuts(unit: number): Cut[]
}

/** A port of a layer of the model. */
export interface TracedPort extends Port {
  readonly layer: Module
  readonly path: string
}

/** A place where positions enter something. */
interface Entry {
  readonly path: string
  readonly width: number
  /** Slices that go with a position; null where it cannot go. */
  readonly cuts: ((position: number) => Cut[]) | null
  /** Why not. */
  readonly reason: string
  /** In this run: 1 where the position is NaN. */
  readonly seen: Uint8Array
}

/** Values where no unit is marked: not 0, which some ops divide by. */
const HARMLESS = 0.5

/** Given to the rules of layers: they tell it what enters and let it make what leaves. */
export class Tracer {
  readonly #model: Module
  readonly #inputs: readonly unknown[]
  readonly #paths: Map<Module, string>
  readonly #ports = new Map<string, TracedPort>()
  readonly #dtype: 'float32' | 'float64'
  #entries: Entry[] = []
  #marked: { key: string; isMarked: (unit: number) => boolean } | null = null

  constructor(model: Module, inputs: readonly unknown[]) {
    this.#model = model
    this.#inputs = inputs
    this.#paths = new Map(model.namedModules().map(([path, module]) => [module, path]))
    this.#dtype = model.parameters().some((p) => p.dtype === 'float64') ? 'float64' : 'float32'
  }

  /** Position j of the last axis of `x` enters a layer, and would take `cuts(j)` with it. */
  enter(layer: Module, x: Tensor, cuts: (position: number) => Cut[]): void {
    this.#note(layer, x, cuts, '')
  }

  /** The last axis of `x` enters a layer that cannot do without any of it; `reason` completes "… <reason>". */
  refuse(layer: Module, x: Tensor, reason: string): void {
    this.#note(layer, x, null, `${layer.constructor.name} '${this.#pathOf(layer)}' ${reason}`)
  }

  /** What leaves a layer: the ports' units side by side along the last axis of `shape`; no ports: nothing to trace. */
  emit(layer: Module, shape: readonly number[], ports: readonly Port[]): Tensor {
    const path = this.#pathOf(layer)
    const options = { dtype: this.#dtype, device: 'cpu' } as const
    const out = full(shape, HARMLESS, options)
    let start = 0
    for (const port of ports) {
      const key = `${path}/${port.name}`
      if (!this.#ports.has(key)) this.#ports.set(key, { ...port, layer, path })
      if (this.#marked?.key === key) {
        const row = new Float64Array(shape[shape.length - 1])
        for (let u = 0; u < port.units; u++) if (this.#marked.isMarked(u)) row[start + u] = Number.NaN
        return add(out, tensor(row, options))
      }
      start += port.units
    }
    return out
  }

  /** [.., H] of each layer and direction to states [layers, .., H]. */
  stack(states: readonly Tensor[]): Tensor {
    return stack([...states], 0)
  }

  /** Ports by key, once the model has run. */
  get ports(): ReadonlyMap<string, TracedPort> {
    if (this.#ports.size === 0) this.run(null)
    return this.#ports
  }

  /** Runs the model with the marked units of a port as NaN; what entered where. */
  run(marked: { key: string; isMarked: (unit: number) => boolean } | null): readonly Entry[] {
    this.#marked = marked
    this.#entries = []
    const stand = this.#standIn()
    try {
      noGrad(() => {
        const output: unknown = (this.#model.forward as (...args: unknown[]) => unknown)(...this.#inputs)
        eachTensor(output, (t) => {
          if (scalarType(t.dtype) === 'float')
            this.#note(this.#model, t, null, `they are part of what ${this.#model.constructor.name} returns`)
        })
      })
    } finally {
      for (const restore of stand) restore()
    }
    if (!marked && this.#entries.some(({ seen }) => seen.includes(1)))
      throw new ArgumentError('the tracer met NaN in a run without any; give other inputs')
    return this.#entries
  }

  #pathOf(layer: Module): string {
    return this.#paths.get(layer) ?? layer.constructor.name
  }

  #note(layer: Module, x: Tensor, cuts: Entry['cuts'], reason: string): void {
    const width = x.shape[x.ndim - 1] ?? 1
    const values = x.dataSync() ?? []
    const seen = new Uint8Array(width)
    for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) seen[i % width] = 1
    this.#entries.push({ path: this.#pathOf(layer), width, cuts, reason, seen })
  }

  /** Puts the rules in place of `forward`, and watches layers that have parameters and no rule. */
  #standIn(): (() => void)[] {
    return this.#model.modules().flatMap((layer) => {
      const rule = ruleOf(layer)
      const before = Object.getOwnPropertyDescriptor(layer, 'forward') as PropertyDescriptor
      const forward = before.value as (...args: unknown[]) => unknown
      let stand: ((...args: unknown[]) => unknown) | null = null
      if (rule?.trace) stand = (...args) => rule.trace?.(layer, args as never, this)
      else if (!rule && layer !== this.#model && ownsParameters(layer)) {
        const reason = `enters ${layer.constructor.name} '${this.#pathOf(layer)}', which is not known; describe it with registerLayer(${layer.constructor.name}, …)`
        stand = (...args) => {
          eachTensor(args, (t) => {
            if (scalarType(t.dtype) === 'float') this.#note(layer, t, null, reason)
          })
          return forward(...args)
        }
      }
      if (!stand) return []
      Object.defineProperty(layer, 'forward', { ...before, value: stand })
      return [() => Object.defineProperty(layer, 'forward', before)]
    })
  }
}

/** What goes together: slices of several layers, and the units that they are. */
export interface Group {
  readonly cuts: Cut[]
  /** Keys of the ports, and the unit of each. */
  readonly units: { readonly port: string; readonly unit: number }[]
  /** Why it cannot go, or null. */
  reason: string | null
}

/** Groups of everything that is coupled to the units of some ports. */
export function groupsOf(tracer: Tracer, wanted: readonly string[]): Group[] {
  const union = new Union()
  const reach = reachOf(tracer)
  const ids = new Map<Cut['parameter'], number>()
  const slices = new Map<string, Cut>()
  const nodeOf = (cut: Cut): string => {
    if (!ids.has(cut.parameter)) ids.set(cut.parameter, ids.size)
    const node = `${ids.get(cut.parameter)}/${cut.axis}/${cut.index}`
    slices.set(node, cut)
    return node
  }
  const unitNodes = new Map<string, { port: string; unit: number }>()
  const reasons = new Map<string, string>()
  const queue = new Set(wanted)
  for (const key of queue) {
    const port = tracer.ports.get(key) as TracedPort
    const nodes = Array.from({ length: port.units }, (_, unit) => {
      const node = `unit ${key} ${unit}`
      unitNodes.set(node, { port: key, unit })
      for (const cut of port.cuts(unit)) union.join(node, nodeOf(cut))
      return node
    })
    decode(tracer, key, port.units).forEach(({ entry, units, mixed }, e) => {
      if (mixed) {
        const reason = entry.reason || `units are mixed before they enter '${entry.path}'`
        for (const node of nodes) reasons.set(node, reason)
      }
      let met = mixed
      units.forEach((unit, j) => {
        if (unit < 0) return
        met = true
        if (!entry.cuts) reasons.set(nodes[unit], entry.reason)
        else for (const cut of entry.cuts(j)) union.join(nodes[unit], nodeOf(cut))
      })
      // Whoever else enters this layer is coupled through its columns.
      if (met && entry.cuts)
        for (const other of reach.get(e)?.filter((k) => !queue.has(k)) ?? []) queue.add(other)
    })
  }
  const groups = new Map<string, Group>()
  for (const node of [...unitNodes.keys(), ...slices.keys()]) {
    const root = union.find(node)
    const group = groups.get(root) ?? { cuts: [], units: [], reason: null }
    groups.set(root, group)
    const [unit, cut, reason] = [unitNodes.get(node), slices.get(node), reasons.get(node)]
    if (unit) group.units.push(unit)
    if (cut) group.cuts.push(cut)
    group.reason ??= reason ?? null
  }
  return [...groups.values()].filter(({ units }) => units.some(({ port }) => wanted.includes(port)))
}

/** Which ports reach each entry. */
function reachOf(tracer: Tracer): Map<number, string[]> {
  const reach = new Map<number, string[]>()
  for (const key of tracer.ports.keys()) {
    tracer.run({ key, isMarked: () => true }).forEach(({ seen }, e) => {
      if (seen.includes(1)) reach.set(e, [...(reach.get(e) ?? []), key])
    })
  }
  return reach
}

/** For each entry, the unit at each position (-1: none of the port's), and whether a position holds several. */
function decode(
  tracer: Tracer,
  key: string,
  size: number,
): { entry: Entry; units: Int32Array; mixed: boolean }[] {
  const bits = Math.max(1, Math.ceil(Math.log2(size)))
  const found: { entry: Entry; units: Int32Array; mixed: boolean; none: Uint8Array }[] = []
  for (let bit = 0; bit < bits; bit++) {
    const ones = tracer.run({ key, isMarked: (u) => (u >>> bit) % 2 === 1 })
    const zeros = tracer.run({ key, isMarked: (u) => (u >>> bit) % 2 === 0 })
    ones.forEach((entry, e) => {
      found[e] ??= {
        entry,
        units: new Int32Array(entry.width),
        mixed: false,
        none: new Uint8Array(entry.width),
      }
      const known = found[e]
      for (let j = 0; j < entry.width; j++) {
        const [one, zero] = [entry.seen[j], zeros[e].seen[j]]
        if (one && zero) known.mixed = true
        if (one) known.units[j] |= 1 << bit
        if (!one && !zero) known.none[j] = 1
      }
    })
  }
  for (const { units, none } of found) for (let j = 0; j < units.length; j++) if (none[j]) units[j] = -1
  return found
}

/** Disjoint sets of named nodes. */
class Union {
  readonly #parents = new Map<string, string>()

  find(node: string): string {
    let root = node
    for (let up = this.#parents.get(root); up !== undefined; up = this.#parents.get(root)) root = up
    for (let at = node; at !== root; ) {
      const next = this.#parents.get(at) as string
      this.#parents.set(at, root)
      at = next
    }
    return root
  }

  join(a: string, b: string): void {
    const [x, y] = [this.find(a), this.find(b)]
    if (x !== y) this.#parents.set(x, y)
  }
}
