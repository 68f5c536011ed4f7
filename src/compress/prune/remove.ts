// Real removal: heads, feed-forward columns and hidden units leave the model, which becomes smaller and faster for it.

import { ArgumentError, NonFiniteError } from '../../errors'
import { Embedding } from '../../nn/embedding'
import type { Module } from '../../nn/module'
import { namedOriginals } from '../../nn/parametrize'
import type { Parameter } from '../../nn/parameter'
import { RecurrentLayer } from '../../nn/recurrent-layer'
import { contiguousStrides } from '../../tensor/shape'
import { onCpu, sameOutputs } from '../outputs'
import { recordPass } from '../passes'
import { type Amount, amountOf, checkAmount } from './amount'
import { type Cut, Cuts, maskCuts, removeCuts, withMasks } from './cuts'
import { ruleOf } from './rules'
import { countKept, pruneLowest } from './select'
import type { Scores } from './scores'
import { type Group, groupsOf, Tracer } from './trace'

export interface RemoveOptions {
  /** Of each layer's heads or units; of all layers' together with scope 'global'. */
  amount: Amount
  /** Paths of the layers. Default: all that have some which can go. */
  layers?: readonly string[]
  /** 'magnitude' (default), or a tensor for each parameter's name, such as `taylorScores` gives. */
  score?: 'magnitude' | Scores
  /** Where heads or units compete: in their layer (default), or in all, their scores divided by the layer's mean. */
  scope?: 'layer' | 'global'
  /** Masks instead of removing: the same outputs, nothing smaller, and `undoPruning` brings everything back. */
  mask?: boolean
}

export interface RemoveHeadsOptions extends RemoveOptions {
  /** What `forward` takes. If given, the model is compared with its masked self, and left as it was if they differ. */
  check?: readonly unknown[]
}

export interface RemoveUnitsOptions extends RemoveOptions {
  /** What `forward` takes: one small batch, by which dependencies are traced. */
  inputs: readonly unknown[]
  /** Whether to compare the model with its masked self on `inputs`, and leave it as it was if they differ. Default true. */
  check?: boolean
}

/** What went. */
export interface Removed {
  /** Path of the layer; several with commas where units of several layers are one. */
  layer: string
  /** Indices, ascending. */
  removed: number[]
  kept: number
}

/** Heads or units among which some are chosen. */
interface Pool {
  readonly layer: string
  readonly items: readonly (readonly Cut[])[]
}

/**
 * Removes attention heads: their rows of query, key and value and their columns of the output. A layer keeps its last head.
 * Optimizers made before hold parameters that are gone: make new ones.
 * @throws ArgumentError for an amount that leaves a layer without heads, a layer without any, weights that are not finite, and
 * where `check` finds a difference; the model is then as it was.
 */
export async function removeHeads(model: Module, options: RemoveHeadsOptions): Promise<Removed[]> {
  const found = model.namedModules().flatMap(([path, layer]) => {
    const heads = ruleOf(layer)?.heads?.(layer)
    return heads ? [{ path, heads }] : []
  })
  const pools = named('removeHeads', found, options.layers, 'attention heads').map(({ path, heads }) => ({
    layer: path,
    items: Array.from({ length: heads.count }, (_, h) => heads.cuts(h)),
  }))
  return remove('removeHeads', model, pools, options, options.check ?? null)
}

/**
 * Removes feed-forward columns and hidden units: the outputs of a Linear, the units of a GRU, LSTM or RNN, with everything in
 * other layers that reads them. What is coupled is found by tracing `forward` on `inputs`; by default every unit that can go
 * takes part. A layer keeps its last unit. Optimizers made before hold parameters that are gone: make new ones.
 * @throws ArgumentError for a layer of which no unit can go (it says why, and which layer is not known), an amount that
 * leaves nothing, weights that are not finite, and where the check finds a difference; the model is then as it was.
 */
export async function removeUnits(model: Module, options: RemoveUnitsOptions): Promise<Removed[]> {
  const { inputs, layers, check = true } = options
  const groups = await onCpu(model, inputs, (own) => traced(model, own, layers))
  const pools = new Map<string, { layer: string; items: Cut[][]; units: number[] }>()
  for (const { cuts, units } of groups) {
    const ports = [...new Set(units.map(({ port }) => port.split('/')[0]))]
    const key = [...new Set(units.map(({ port }) => port))].sort().join(',')
    const pool = pools.get(key) ?? { layer: ports.join(', '), items: [], units: [] }
    pools.set(key, pool)
    pool.items.push(cuts)
  }
  return remove('removeUnits', model, [...pools.values()], options, check ? inputs : null)
}

/** Groups that can go, of the layers asked for or of all. */
function traced(model: Module, inputs: readonly unknown[], layers: readonly string[] | undefined): Group[] {
  const tracer = new Tracer(model, inputs)
  const ports = [...tracer.ports].flatMap(([key, port]) =>
    ruleOf(port.layer)?.heads || port.layer instanceof Embedding ? [] : [{ key, path: port.path, port }],
  )
  const wanted = named('removeUnits', ports, layers, 'units that were traced')
  const groups = groupsOf(
    tracer,
    wanted.map(({ key }) => key),
  )
  if (layers) {
    const stuck = groups.find(({ reason }) => reason !== null)
    if (stuck) {
      const path = stuck.units[0].port.split('/')[0]
      throw new ArgumentError(`removeUnits: units of '${path}' cannot go: ${stuck.reason}`)
    }
    return groups
  }
  // A port goes whole or not at all, and so do the ports of one recurrent layer.
  const free = new Set(wanted.map(({ key }) => key))
  const blocked = (key: string): boolean => !free.has(key)
  for (let before = -1; before !== free.size; ) {
    before = free.size
    for (const { reason, units } of groups) {
      if (reason !== null || units.some(({ port }) => blocked(port)))
        for (const { port } of units) free.delete(port)
    }
    for (const { key, port } of wanted) {
      if (!blocked(key) || !(port.layer instanceof RecurrentLayer)) continue
      for (const other of wanted) if (other.port.layer === port.layer) free.delete(other.key)
    }
  }
  const able = groups.filter(({ units }) => units.every(({ port }) => free.has(port)))
  if (able.length > 0) return able
  const reasons = [...new Set(groups.map(({ reason }) => reason))].filter((reason) => reason !== null)
  throw new ArgumentError(
    `removeUnits: ${model.constructor.name} has no units that could go: ${reasons.slice(0, 5).join('; ')}`,
  )
}

function named<T extends { path: string }>(
  where: string,
  found: readonly T[],
  layers: readonly string[] | undefined,
  what: string,
): T[] {
  for (const path of layers ?? []) {
    if (!found.some((f) => f.path === path)) {
      const paths = [...new Set(found.map((f) => f.path))].slice(0, 20).join(', ')
      throw new ArgumentError(`${where}: '${path}' has no ${what}; those that have: ${paths || 'none'}`)
    }
  }
  if (found.length === 0) throw new ArgumentError(`${where}: the model has no ${what}`)
  return found.filter(({ path }) => !layers || layers.includes(path))
}

async function remove(
  where: string,
  model: Module,
  pools: readonly Pool[],
  options: RemoveOptions,
  check: readonly unknown[] | null,
): Promise<Removed[]> {
  const { amount, scope = 'layer', score = 'magnitude', layers, mask } = options
  checkAmount(where, amount)
  if (scope !== 'layer' && scope !== 'global')
    throw new ArgumentError(
      `${where}: unknown scope '${String(scope satisfies never)}'; expected 'layer' or 'global'`,
    )
  const values = await sliceScores(where, model, pools, score)
  const scored = pools.map((pool) => ({ ...pool, scores: pool.items.map((cuts) => scoreOf(cuts, values)) }))
  const keeps = choose(where, scored, amount, scope)
  const cuts = new Cuts(scored.flatMap(({ items }, p) => items.flatMap((own, i) => (keeps[p][i] ? [] : own))))
  await applyCuts(where, model, cuts, { mask, check })
  const given = typeof score === 'object' ? 'given' : score
  recordPass(model, where, { amount, scope, score: given, layers, mask })
  return scored.map(({ layer }, p) => ({
    layer,
    removed: [...keeps[p].keys()].filter((i) => !keeps[p][i]),
    kept: countKept(keeps[p]),
  }))
}

/** Masks or removes, and compares the two if there are inputs to do it with. */
export async function applyCuts(
  where: string,
  model: Module,
  cuts: Cuts,
  { mask = false, check }: { mask?: boolean; check: readonly unknown[] | null },
): Promise<void> {
  if (cuts.parameters.length === 0) return
  if (mask) {
    await maskCuts(model, cuts)
    return
  }
  const expected = check && (await withMasks(model, cuts, () => sameOutputs(model, check)))
  const change = await removeCuts(model, cuts)
  if (expected) {
    try {
      await expected(where)
    } catch (error) {
      change.undo()
      throw error
    }
  }
  change.settle()
}

/** 1 where an item stays. */
function choose(
  where: string,
  pools: readonly (Pool & { scores: readonly number[] })[],
  amount: Amount,
  scope: 'layer' | 'global',
): Uint8Array[] {
  if (scope === 'layer') {
    return pools.map(({ layer, scores }) => {
      const n = amountOf(`${where} '${layer}'`, amount, scores.length)
      if (n === scores.length) throw lastOne(where, layer, n)
      return pruneLowest([{ scores, keep: new Uint8Array(scores.length).fill(1) }], n)[0]
    })
  }
  // The best of each layer stays, whatever the others are.
  const lists = pools.map(({ scores }) => {
    const mean = scores.reduce((a, b) => a + b, 0) / scores.length
    const keep = new Uint8Array(scores.length).fill(1)
    const best = scores.reduce((at, s, i) => (s >= scores[at] ? i : at), 0)
    return { scores: scores.map((s, i) => (i === best ? Infinity : mean > 0 ? s / mean : s)), keep }
  })
  const total = lists.reduce((n, { keep }) => n + keep.length, 0)
  const n = amountOf(where, amount, total)
  if (n > total - pools.length) throw lastOne(where, 'some layer', n)
  return pruneLowest(lists, n)
}

function lastOne(where: string, layer: string, n: number): ArgumentError {
  return new ArgumentError(
    `${where}: removing ${n} would take the last one of '${layer}'; choose a smaller amount`,
  )
}

/** For each parameter and axis, the sum of the scores of each slice. */
type SliceScores = Map<Parameter, Float64Array[]>

async function sliceScores(
  where: string,
  model: Module,
  pools: readonly Pool[],
  score: 'magnitude' | Scores,
): Promise<SliceScores> {
  const wanted = new Set(pools.flatMap(({ items }) => items.flatMap((cuts) => cuts.map((c) => c.parameter))))
  const found: SliceScores = new Map()
  for (const [name, parameter] of namedOriginals(model)) {
    // Biases do not count, as published.
    if (!wanted.has(parameter) || parameter.ndim < 2) continue
    const values = await parameter.data()
    const own = score === 'magnitude' ? values : await score[name]?.data()
    if (!own) throw new ArgumentError(`${where}: there are no scores for parameter '${name}'`)
    if (own.length !== values.length)
      throw new ArgumentError(
        `${where}: ${own.length} scores for parameter '${name}' of ${values.length} elements`,
      )
    const strides = contiguousStrides(parameter.shape)
    const sums = parameter.shape.map((size) => new Float64Array(size))
    for (let i = 0; i < values.length; i++) {
      const s = Math.abs(own[i])
      if (!Number.isFinite(s) || !Number.isFinite(values[i]))
        throw new NonFiniteError(
          `${where}: element ${i} of '${name}' or its score is not finite; nothing was removed`,
        )
      for (let d = 0; d < sums.length; d++) sums[d][Math.floor(i / strides[d]) % parameter.shape[d]] += s
    }
    found.set(parameter, sums)
  }
  return found
}

/** The mean over a unit's slices of the sum of their elements' scores. */
function scoreOf(cuts: readonly Cut[], values: SliceScores): number {
  const sums = cuts.flatMap(({ parameter, axis, index }) => values.get(parameter)?.[axis][index] ?? [])
  return sums.reduce((a, b) => a + b, 0) / Math.max(1, sums.length)
}
