// prune: masks for the weights that matter least. Nothing gets smaller or faster by a mask; see remove and save for that.

import { ArgumentError, NonFiniteError, ShapeError } from '../../errors'
import type { Module } from '../../nn/module'
import type { Parameter } from '../../nn/parameter'
import { rand } from '../../tensor/random'
import { noGrad } from '../../tensor/scope'
import { formatShape, sameShape, type Shape } from '../../tensor/shape'
import { recordPass } from '../passes'
import { type Amount, amountOf, checkAmount } from './amount'
import { findParameter, masked, setMasks } from './masks'
import { type Candidates, countKept, pruneLowest } from './select'
import { type Scores, weightsOf } from './scores'

export interface PruneOptions {
  /** Of what remains; of slices where `dim` is given. */
  amount: Amount
  /** Names of the parameters. Default: those that `score` names, else every parameter of two axes or more. */
  parameters?: readonly string[]
  /** 'magnitude' (default), 'random' (seeded by `manualSeed`), or a tensor for each name. */
  score?: 'magnitude' | 'random' | Scores
  /**
   * Where scores compete: within each tensor (default), over all of them, or within each row of a tensor (Wanda's, which
   * prunes floor(fraction * columns) of every row).
   */
  scope?: 'tensor' | 'global' | 'row'
  /** Removes whole slices along this axis, by the norm of their scores. */
  dim?: number
  /** n of the Ln norm of a slice: 1, 2, … or Infinity. Default 1. */
  norm?: number
}

export interface PrunedParameter {
  name: string
  size: number
  /** Elements that are not pruned. */
  kept: number
}

interface Target {
  readonly name: string
  readonly parameter: Parameter
  readonly keep: Uint8Array
  readonly scores: ArrayLike<number>
}

/**
 * Masks the weights with the lowest scores. What is masked already stays so and does not count. Ties go by the lowest
 * index. The originals stay as they are: `undoPruning` brings them back, `makePermanent` writes the zeros.
 * @throws ArgumentError for an amount, name, axis or norm out of range; NonFiniteError for weights or scores that are NaN
 * or infinite; before anything is changed.
 */
export async function prune(model: Module, options: PruneOptions): Promise<PrunedParameter[]> {
  const { amount, score = 'magnitude', scope = 'tensor', dim, norm = 1 } = options
  checkAmount('prune', amount)
  if (scope !== 'tensor' && scope !== 'global' && scope !== 'row')
    throw new ArgumentError(
      `prune: unknown scope '${String(scope satisfies never)}'; expected 'tensor', 'global' or 'row'`,
    )
  if (dim !== undefined && scope !== 'tensor')
    throw new ArgumentError(
      `prune: dim is ${dim} with scope '${scope}'; slices compete within their tensor only`,
    )
  if (!(norm > 0)) throw new ArgumentError(`prune: norm is ${norm}; expected a positive number or Infinity`)
  if (score !== 'magnitude' && score !== 'random' && typeof score !== 'object')
    throw new ArgumentError(
      `prune: unknown score '${String(score satisfies never)}'; expected 'magnitude', 'random' or tensors by name`,
    )
  const parameters = chosen(model, options)
  if (dim !== undefined) for (const [name, p] of parameters) checkDim(name, p.shape, dim)

  const targets: Target[] = []
  for (const [name, parameter] of parameters) {
    const keep = await keptOf(model, parameter)
    targets.push({ name, parameter, keep, scores: await scoresOf(name, parameter, score) })
  }
  const masks =
    dim !== undefined
      ? targets.map((t) => pruneSlices(t, amount, dim, norm))
      : scope === 'global'
        ? pruneLowest(targets, amountOf('prune', amount, ...countAll(targets)))
        : targets.map((t) => (scope === 'row' ? pruneRows(t, amount) : pruneOne(t, amount)))

  setMasks(
    model,
    targets.map(({ parameter }, i) => [parameter, masks[i]]),
  )
  const named = typeof score === 'object' ? 'given' : score
  recordPass(model, 'prune', { ...options, score: named, parameters: targets.map((t) => t.name) })
  return targets.map(({ name, parameter }, i) => ({ name, size: parameter.size, kept: countKept(masks[i]) }))
}

function chosen(model: Module, { parameters, score }: PruneOptions): [string, Parameter][] {
  const names = parameters ?? (typeof score === 'object' ? Object.keys(score) : null)
  const found = names ? names.map((name) => findParameter(model, name)) : weightsOf(model)
  if (found.length === 0) throw new ArgumentError(`prune: ${model.constructor.name} has no weights to prune`)
  const twice = found.find(([, p], i) => found.findIndex(([, q]) => q === p) !== i)
  if (twice) throw new ArgumentError(`prune: parameter '${twice[0]}' is named twice`)
  return found
}

async function keptOf(model: Module, parameter: Parameter): Promise<Uint8Array> {
  const known = masked(model).find((m) => m.parameter === parameter)
  return known ? known.mask.keep() : new Uint8Array(parameter.size).fill(1)
}

async function scoresOf(
  name: string,
  parameter: Parameter,
  score: NonNullable<PruneOptions['score']>,
): Promise<ArrayLike<number>> {
  const values = await parameter.data()
  checkFinite(`parameter '${name}'`, values)
  if (score === 'magnitude') return values.map(Math.abs)
  if (score === 'random') {
    const drawn = noGrad(() => rand(parameter.shape, { device: parameter.device }))
    const numbers = await drawn.data()
    drawn.dispose()
    return numbers
  }
  const given = score[name]
  if (!given) throw new ArgumentError(`prune: there are no scores for parameter '${name}'`)
  if (!sameShape(given.shape, parameter.shape)) {
    throw new ShapeError(
      `prune: the scores of '${name}' have shape ${formatShape(given.shape)}; expected ${formatShape(parameter.shape)}`,
    )
  }
  const numbers = await given.data()
  checkFinite(`the scores of '${name}'`, numbers)
  return numbers
}

function checkFinite(what: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue
    throw new NonFiniteError(`prune: element ${i} of ${what} is ${values[i]}; nothing was pruned`)
  }
}

/** How many remain, of how many. */
function countAll(targets: readonly Candidates[]): [remaining: number, total: number] {
  const sum = (of: (keep: Uint8Array) => number): number => targets.reduce((n, { keep }) => n + of(keep), 0)
  return [sum(countKept), sum((keep) => keep.length)]
}

function pruneOne(target: Target, amount: Amount): Uint8Array {
  const n = amountOf(`prune '${target.name}'`, amount, ...countAll([target]))
  return pruneLowest([target], n)[0]
}

/** Wanda's: as many of each row, rounded down. */
function pruneRows({ name, parameter, keep, scores }: Target, amount: Amount): Uint8Array {
  const cols = parameter.size / parameter.shape[0]
  const pruned = keep.slice()
  for (let row = 0; row < parameter.shape[0]; row++) {
    const [from, to] = [row * cols, (row + 1) * cols]
    const own = { scores: Array.prototype.slice.call(scores, from, to), keep: keep.subarray(from, to) }
    const left = countKept(own.keep)
    const fraction = typeof amount === 'number' ? amount : 'fraction' in amount ? amount.fraction : 1
    const n = fraction < 1 ? Math.floor(fraction * left) : amountOf(`prune '${name}'`, amount, left, cols)
    pruned.set(pruneLowest([own], n)[0], from)
  }
  return pruned
}

function checkDim(name: string, shape: Shape, dim: number): void {
  if (!Number.isInteger(dim) || dim < -shape.length || dim >= shape.length) {
    throw new ArgumentError(
      `prune: dim is ${dim}, and '${name}' has shape ${formatShape(shape)}; expected an axis from ${-shape.length} to ${shape.length - 1}`,
    )
  }
}

/** Slices along `dim` with the lowest norms; those that are pruned wholly do not count. */
function pruneSlices(
  { name, parameter: { shape }, keep, scores }: Target,
  amount: Amount,
  dim: number,
  norm: number,
): Uint8Array {
  const axis = dim < 0 ? dim + shape.length : dim
  const size = shape[axis]
  const inner = shape.slice(axis + 1).reduce((n, s) => n * s, 1)
  const sliceOf = (i: number): number => Math.floor(i / inner) % size
  const norms = new Float64Array(size)
  const live = new Uint8Array(size)
  for (let i = 0; i < keep.length; i++) {
    if (!keep[i]) continue
    const s = sliceOf(i)
    const x = Math.abs(scores[i])
    live[s] = 1
    norms[s] = norm === Infinity ? Math.max(norms[s], x) : norms[s] + x ** norm
  }
  // The root does not change the order.
  const n = amountOf(`prune '${name}'`, amount, countKept(live), size)
  const [kept] = pruneLowest([{ scores: norms, keep: live }], n)
  return keep.map((k, i) => k & kept[sliceOf(i)])
}
