// Which layers of a model can be computed from integers, where they stand, and how others take their places.

import { ArgumentError } from '../../errors'
import { Embedding } from '../../nn/embedding'
import { Linear } from '../../nn/linear'
import { Module, type Slot, slotsOf } from '../../nn/module'
import { MultiheadAttention } from '../../nn/multihead-attention'
import { parametrizationsOf, removeParametrization } from '../../nn/parametrize'
import type { Parameter } from '../../nn/parameter'
import { QuantizedProjection } from './attention'
import type { QuantizedEmbedding } from './embedding'
import type { QuantizedLinear } from './linear'

/** The layers that take the place of one: attention has two. */
export type Replacement =
  | { readonly kind: 'linear'; readonly layer: QuantizedLinear }
  | { readonly kind: 'embedding'; readonly layer: QuantizedEmbedding }
  | { readonly kind: 'attention'; readonly inputs: QuantizedLinear; readonly output: QuantizedLinear }

/** A layer that can be quantized, and all slots that hold it. */
export interface Place {
  readonly path: string
  readonly layer: Linear | Embedding | MultiheadAttention
  readonly slots: readonly Slot[]
}

/** A layer that is left as it is. */
export interface LeftAlone {
  readonly path: string
  readonly why: string
}

/** All layers that could be quantized, in the order of the model, and those of their kind that cannot. */
export function placesOf(model: Module): { places: Place[]; left: LeftAlone[] } {
  const places = new Map<Module, Place & { slots: Slot[] }>()
  const left: LeftAlone[] = []
  const owners = ownersOf(model)
  const seen = new Set<Module>()
  const visit = (module: Module, path: string): void => {
    if (seen.has(module)) return
    seen.add(module)
    for (const slot of slotsOf(module)) {
      const { member } = slot
      if (!(member instanceof Module)) continue
      const own = path === '' ? slot.name : slot.name === '' ? path : `${path}.${slot.name}`
      const known = places.get(member)
      if (known) known.slots.push(slot)
      else if (isQuantizable(member)) {
        const why = reasonAgainst(member, owners)
        if (why === null) places.set(member, { path: own, layer: member, slots: [slot] })
        else left.push({ path: own, why })
      } else visit(member, own)
    }
  }
  visit(model, '')
  return { places: [...places.values()], left }
}

function isQuantizable(layer: Module): layer is Place['layer'] {
  return layer instanceof Linear || layer instanceof Embedding || layer instanceof MultiheadAttention
}

/** How many layers hold each parameter. */
function ownersOf(model: Module): Map<Parameter, number> {
  const owners = new Map<Parameter, number>()
  const add = (parameter: Parameter): void => {
    owners.set(parameter, (owners.get(parameter) ?? 0) + 1)
  }
  for (const layer of model.modules()) {
    for (const { member } of slotsOf(layer)) if (!(member instanceof Module)) add(member as Parameter)
  }
  return owners
}

function reasonAgainst(layer: Place['layer'], owners: ReadonlyMap<Parameter, number>): string | null {
  if (layer instanceof MultiheadAttention) {
    if (layer.inProj) return 'it is quantized already'
    const parametrized = parametrizationsOf(layer).some(({ name }) => name === 'in_proj_weight')
    return layer.inProjWeight || parametrized ? null : 'its keys or values have a width of their own'
  }
  return (owners.get(layer.weight) ?? 0) > 1 ? 'its weight is tied to that of another layer' : null
}

/** Puts layers in the places of others. */
export function replaceLayers(replacements: readonly (readonly [Place, Replacement])[]): void {
  for (const [{ layer, slots }, replacement] of replacements) {
    if (replacement.kind === 'attention') {
      const attention = layer as MultiheadAttention
      for (const { name } of parametrizationsOf(attention))
        if (/^in_proj_(weight|bias)$/.test(name)) removeParametrization(attention, name)
      attention.inProj = new QuantizedProjection(replacement.inputs)
      attention.inProjWeight = null
      attention.inProjBias = null
      attention.outProj = replacement.output as unknown as Linear
    } else {
      for (const { owner, property } of slots) Object.assign(owner, { [property]: replacement.layer })
    }
  }
}

/** @throws ArgumentError naming paths that are no layers to quantize. */
export function choosePlaces(
  model: Module,
  layers: readonly string[] | ((path: string, layer: Module) => boolean) | undefined,
): { places: Place[]; left: LeftAlone[] } {
  const all = placesOf(model)
  if (layers === undefined) return all
  if (typeof layers === 'function') {
    return { ...all, places: all.places.filter(({ path, layer }) => layers(path, layer)) }
  }
  for (const path of layers) {
    if (all.places.some((place) => place.path === path)) continue
    const why = all.left.find((one) => one.path === path)?.why
    throw new ArgumentError(
      `quantize: '${path}' of ${model.constructor.name} ${why ? `cannot be quantized: ${why}` : 'is no layer that can be quantized'}; those that can: ${all.places.map((place) => `'${place.path}'`).join(', ')}`,
    )
  }
  return { ...all, places: all.places.filter(({ path }) => layers.includes(path)) }
}
