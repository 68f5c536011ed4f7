// Cuts: which slices of which parameters go together. They are masked, to look at what a removal would do, or really
// taken out, whereby parameters become smaller ones.

import { ArgumentError, ShapeError } from '../../errors'
import { type Module, type Slot, slotsOf } from '../../nn/module'
import { parametrizationsOf } from '../../nn/parametrize'
import { Parameter } from '../../nn/parameter'
import { tensor } from '../../tensor/create'
import { indexSelect } from '../../tensor/ops/indexing'
import { noGrad } from '../../tensor/scope'
import { contiguousStrides } from '../../tensor/shape'
import { Mask } from './mask'
import { masked, setMasks, undoMasks } from './masks'
import { fitLayers } from './rules'

/** The slice of a parameter at an index along an axis. */
export interface Cut {
  readonly parameter: Parameter
  readonly axis: number
  readonly index: number
}

/** A set of cuts, by parameter and axis. */
export class Cuts {
  readonly #cuts = new Map<Parameter, Map<number, Set<number>>>()

  constructor(cuts: Iterable<Cut> = []) {
    for (const { parameter, axis, index } of cuts) {
      const axes = this.#cuts.get(parameter) ?? new Map<number, Set<number>>()
      this.#cuts.set(parameter, axes.set(axis, (axes.get(axis) ?? new Set()).add(index)))
    }
  }

  get parameters(): Parameter[] {
    return [...this.#cuts.keys()]
  }

  /** What remains of an axis, ascending. */
  kept(parameter: Parameter, axis: number): Int32Array {
    const gone = this.#cuts.get(parameter)?.get(axis)
    const all = Int32Array.from({ length: parameter.shape[axis] }, (_, i) => i)
    return gone ? all.filter((i) => !gone.has(i)) : all
  }

  /** 1 where an element stays. */
  keep(parameter: Parameter): Uint8Array {
    const keep = new Uint8Array(parameter.size).fill(1)
    const strides = contiguousStrides(parameter.shape)
    for (const [axis, gone] of this.#cuts.get(parameter) ?? []) {
      const size = parameter.shape[axis]
      for (let i = 0; i < keep.length; i++) if (gone.has(Math.floor(i / strides[axis]) % size)) keep[i] = 0
    }
    return keep
  }

  /** Axes that lose something. */
  axes(parameter: Parameter): number[] {
    return [...(this.#cuts.get(parameter)?.keys() ?? [])]
  }
}

/** Masks what the cuts would remove, beside what is masked already. */
export async function maskCuts(model: Module, cuts: Cuts): Promise<void> {
  const masks: [Parameter, Uint8Array][] = []
  for (const parameter of cuts.parameters) {
    const keep = cuts.keep(parameter)
    const before = await masked(model)
      .find((m) => m.parameter === parameter)
      ?.mask.keep()
    masks.push([parameter, before ? keep.map((k, i) => k & before[i]) : keep])
  }
  setMasks(model, masks)
}

/** Puts masks back as they were before `maskCuts`. */
export async function withMasks<R>(model: Module, cuts: Cuts, run: () => Promise<R>): Promise<R> {
  const before: [Parameter, Uint8Array][] = []
  for (const { parameter, mask } of masked(model)) before.push([parameter, await mask.keep()])
  await maskCuts(model, cuts)
  try {
    return await run()
  } finally {
    undoMasks(model, cuts.parameters)
    setMasks(
      model,
      before.filter(([parameter]) => cuts.parameters.includes(parameter)),
    )
  }
}

/** A change of a model that can be taken back until it is settled. */
export interface Change {
  undo(): void
  /** Releases what is no longer needed. */
  settle(): void
}

/**
 * Takes the slices out: parameters become new, smaller ones, and layers take their sizes from them. Masks shrink too.
 * @throws ArgumentError where nothing of an axis would be left or a parameter is computed by more than a mask, ShapeError where
 * the parameters of a layer no longer fit each other; the model is then as it was.
 */
export async function removeCuts(model: Module, cuts: Cuts): Promise<Change> {
  checkParametrizations(model, cuts)
  const keeps = new Map<Parameter, Uint8Array>()
  for (const { parameter, mask } of masked(model)) keeps.set(parameter, await mask.keep())
  const swaps = cuts.parameters.map((parameter) => {
    const smaller = noGrad(() => shrunk(parameter, cuts))
    const keep = keeps.get(parameter)
    return { parameter, smaller, keep, kept: keep && select(keep, parameter, cuts) }
  })
  const slots = new Map<Parameter, Slot[]>()
  const exchange = (from: (s: (typeof swaps)[number]) => Parameter, to: typeof from): void => {
    undoMasks(model, swaps.map(from))
    for (const swap of swaps) {
      const places = slots.get(swap.parameter) ?? slotsHolding(model, from(swap))
      slots.set(swap.parameter, places)
      for (const { owner, property } of places) Object.assign(owner, { [property]: to(swap) })
    }
    fitLayers(model)
    setMasks(
      model,
      swaps.flatMap((s) => {
        const keep = to(s) === s.smaller ? s.kept : s.keep
        return keep ? [[to(s), keep] as const] : []
      }),
    )
  }
  const original = (s: (typeof swaps)[number]): Parameter => s.parameter
  const smaller = (s: (typeof swaps)[number]): Parameter => s.smaller
  const undo = (): void => {
    exchange(smaller, original)
    for (const s of swaps) s.smaller.dispose()
  }
  try {
    exchange(original, smaller)
  } catch (error) {
    undo()
    throw error
  }
  return {
    undo,
    settle: () => {
      for (const { parameter } of swaps) {
        parameter.grad?.dispose()
        parameter.dispose(
          'a parameter that a smaller one replaced; make a new optimizer after removing parts',
        )
      }
    },
  }
}

function checkParametrizations(model: Module, cuts: Cuts): void {
  for (const { name, parametrized } of parametrizationsOf(model)) {
    if (!cuts.parameters.includes(parametrized.original)) continue
    const other = parametrized.steps.find((step) => !(step instanceof Mask))
    if (other) {
      throw new ArgumentError(
        `'${name}' is computed by ${other.constructor.name}, which does not get smaller; bake or remove that parametrization first`,
      )
    }
  }
}

function shrunk(parameter: Parameter, cuts: Cuts): Parameter {
  let values = parameter.detach()
  for (const axis of cuts.axes(parameter)) {
    const kept = cuts.kept(parameter, axis)
    if (kept.length === 0)
      throw new ArgumentError(
        `nothing would be left of axis ${axis} of a parameter of shape [${parameter.shape.join(', ')}]`,
      )
    values = indexSelect(values, axis, tensor(kept, { dtype: 'int32', device: parameter.device }))
  }
  return new Parameter(values, { requiresGrad: parameter.requiresGrad })
}

/** The elements of a mask that stay, row by row. */
function select(keep: Uint8Array, parameter: Parameter, cuts: Cuts): Uint8Array {
  const stays = cuts.keep(parameter)
  return keep.filter((_, i) => stays[i])
}

function slotsHolding(model: Module, parameter: Parameter): Slot[] {
  const slots = model
    .modules()
    .flatMap((layer) => slotsOf(layer).filter(({ member }) => member === parameter))
  if (slots.length === 0)
    throw new ShapeError(`a parameter to be cut is not part of ${model.constructor.name}`)
  return slots
}
