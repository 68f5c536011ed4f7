// Parametrizations: a parameter that is computed from an original whenever a layer reads it, torch.nn.utils.parametrize.
//
// The layer's property becomes a getter; the original, a parameter like any other, moves into a child module beside the
// steps that are applied to it, so that optimizers, `to`, ties and state dicts go on working. Keys are torch's:
// `parametrizations.weight.original`, `parametrizations.weight.0.…`. Within a forward the value is computed once.

import { ArgumentError } from '../errors'
import { copyInto } from '../tensor/mutate'
import { gradEnabled, noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { keepDuringForward, keyOf, Module, type Slot, slotsOf } from './module'
import { Parameter } from './parameter'

/** What a parametrization is called in a file, and what it takes to make it again. */
export type ParametrizationConfig = Readonly<Record<string, unknown>> & { readonly kind: string }

/** One step from an original to the tensor that a layer computes with; its own parameters and buffers belong to the model. */
export abstract class Parametrization extends Module {
  /** The tensor in place of `original`, of the same shape. */
  abstract override forward(original: Tensor): Tensor
  /** JSON that describes this step without its tensors, for files and copies. */
  abstract config(): ParametrizationConfig
}

/** An original and the steps that follow it. */
export class Parametrized extends Module {
  static override readonly keys = { steps: '' }
  readonly original: Parameter
  readonly steps: Parametrization[] = []
  #cached: Tensor | null = null
  #cachedWithGrad = false

  constructor(original: Parameter) {
    super()
    this.original = original
  }

  forward(): Tensor {
    return tidy(() => this.steps.reduce((value: Tensor, step) => step.forward(value), this.original))
  }

  /** What the layer reads. */
  read(): Tensor {
    const grad = gradEnabled()
    const known = this.#cached
    if (known && !known.isDisposed && !known.spent && this.#cachedWithGrad === grad) return known
    const value = this.forward()
    if (value === this.original || !keepDuringForward(value)) return value
    this.#cachedWithGrad = grad
    this.#cached = value
    return value
  }
}

/** The child module of a layer that holds its parametrized parameters by their names. */
class Parametrizations extends Module {
  forward(): never {
    throw new ArgumentError('parametrizations are not a layer; read the parameter they stand for')
  }

  at(name: string): Parametrized | undefined {
    return this.#own[name]
  }

  put(name: string, entry: Parametrized): void {
    this.#own[name] = entry
  }

  drop(name: string): void {
    delete this.#own[name]
  }

  names(): string[] {
    return slotsOf(this).map(({ property }) => property)
  }

  get #own(): Record<string, Parametrized> {
    return this as unknown as Record<string, Parametrized>
  }
}

type Host = Module & { parametrizations?: Parametrizations }

/** A parametrized parameter of a model. */
export interface ParametrizedEntry {
  /** The state-dict key that the parameter would have by itself. */
  readonly name: string
  readonly parametrized: Parametrized
}

/** Slots of the parameters of a layer that are computed: they are getters, so a state dict does not see them. */
const places = new WeakMap<Parametrized, { layer: Host; slot: Slot<Parameter> }[]>()

/** All parametrized parameters of a model; a tied one under each name. */
export function parametrizationsOf(model: Module): ParametrizedEntry[] {
  return model.namedModules().flatMap(([path, layer]) => {
    const container = (layer as Host).parametrizations
    if (!(container instanceof Parametrizations)) return []
    return container.names().map((name) => ({
      name: path === '' ? name : `${path}.${name}`,
      parametrized: container.at(name) as Parametrized,
    }))
  })
}

/**
 * Every parameter under the key that it has without parametrizations, each once and in the order of a model without any: its
 * original where it has some.
 */
export function namedOriginals(model: Module): [name: string, original: Parameter][] {
  const seen = new Set<Parameter>()
  return model.namedModules().flatMap(([path, layer]): [string, Parameter][] => {
    if (layer instanceof Parametrized || layer instanceof Parametrization) return []
    const order = Object.getOwnPropertyNames(layer).map((property) => keyOf(layer, property))
    const rank = ([name]: [string, Parameter]): number =>
      order.findIndex((key) => name === key || name.startsWith(`${key}.`))
    const own = slotsOf(layer).flatMap(({ name, member }): [string, Parameter][] =>
      member instanceof Parameter ? [[name, member]] : [],
    )
    const container = (layer as Host).parametrizations
    if (container instanceof Parametrizations)
      for (const name of container.names()) own.push([name, (container.at(name) as Parametrized).original])
    return own
      .sort((a, b) => rank(a) - rank(b))
      .filter(([, parameter]) => !seen.has(parameter) && seen.add(parameter))
      .map(([name, parameter]) => [path === '' ? name : `${path}.${name}`, parameter])
  })
}

/**
 * Adds a step to a parameter, given by key or itself; wherever the model holds it, the layers compute with the result from
 * now on. The parameter stays the same tensor, under `parametrizations.<name>.original`.
 * @throws ArgumentError if the model has no such parameter or the step changes its shape or dtype; nothing is changed then.
 */
export function parametrize(model: Module, parameter: string | Parameter, step: Parametrization): void {
  const original = findOriginal(model, parameter)
  noGrad(() => {
    const value = step.forward(original)
    if (!sameShape(value.shape, original.shape) || value.dtype !== original.dtype) {
      throw new ArgumentError(
        `parametrize: ${step.constructor.name} makes ${value.dtype} ${formatShape(value.shape)} of a parameter ${original.dtype} ${formatShape(original.shape)}; expected the same`,
      )
    }
  })
  const known = parametrizationsOf(model).find(({ parametrized }) => parametrized.original === original)
  const entry = known?.parametrized ?? hide(model, original)
  entry.steps.push(step)
}

/** Takes a step away, or all; the parameter is then as it was, with the values that its original has. */
export function removeParametrization(
  model: Module,
  parameter: string | Parameter,
  step?: Parametrization,
): void {
  const entry = findEntry(model, parameter, step)
  if (step) entry.steps.splice(entry.steps.indexOf(step), 1)
  else entry.steps.length = 0
  if (entry.steps.length === 0) show(entry)
}

/** Writes what the step makes of the original into it, and takes the step away. */
export function bakeParametrization(
  model: Module,
  parameter: string | Parameter,
  step: Parametrization,
): void {
  const entry = findEntry(model, parameter, step)
  noGrad(() => {
    copyInto(entry.original, step.forward(entry.original))
  })
  removeParametrization(model, entry.original, step)
}

function findOriginal(model: Module, parameter: string | Parameter): Parameter {
  const found = namedOriginals(model).find(([name, p]) => name === parameter || p === parameter)
  if (found) return found[1]
  // A tied parameter has further names.
  const tied = typeof parameter === 'string' ? model.stateDict()[parameter] : undefined
  if (tied instanceof Parameter) return tied
  throw new ArgumentError(
    `${model.constructor.name} has no parameter ${typeof parameter === 'string' ? `'${parameter}'` : `of shape ${formatShape(parameter.shape)}`}; see namedParameters()`,
  )
}

function findEntry(model: Module, parameter: string | Parameter, step?: Parametrization): Parametrized {
  const original = findOriginal(model, parameter)
  const entry = parametrizationsOf(model).find((e) => e.parametrized.original === original)?.parametrized
  if (entry && (!step || entry.steps.includes(step))) return entry
  throw new ArgumentError(
    `${typeof parameter === 'string' ? `'${parameter}'` : 'the parameter'} of ${model.constructor.name} has no such parametrization`,
  )
}

/** Puts getters in the place of a parameter. */
function hide(model: Module, original: Parameter): Parametrized {
  const entry = new Parametrized(original)
  const found = model.modules().flatMap((layer) =>
    slotsOf(layer)
      .filter((slot): slot is Slot<Parameter> => slot.member === original)
      .map((slot) => ({ layer: layer as Host, slot })),
  )
  places.set(entry, found)
  for (const { layer, slot } of found) {
    layer.parametrizations ??= new Parametrizations()
    layer.parametrizations.put(slot.name, entry)
    Object.defineProperty(slot.owner, slot.property, {
      configurable: true,
      enumerable: false,
      get: () => entry.read(),
      set: () => {
        throw new ArgumentError(
          `${slot.name} of ${layer.constructor.name} is computed by a parametrization; remove that first`,
        )
      },
    })
  }
  return entry
}

/** Puts the parameter back. */
function show(entry: Parametrized): void {
  for (const { layer, slot } of places.get(entry) ?? []) {
    Object.defineProperty(slot.owner, slot.property, {
      configurable: true,
      enumerable: true,
      writable: true,
      value: entry.original,
    })
    layer.parametrizations?.drop(slot.name)
    if (layer.parametrizations?.names().length === 0) delete layer.parametrizations
  }
  places.delete(entry)
}

/** The parameter behind a property of a layer: the original where a parametrization computes it; null if there is none. */
export function originalOf(layer: Module, property: string): Parameter | null {
  const value = Object.getOwnPropertyDescriptor(layer, property)?.value as unknown
  if (value instanceof Parameter) return value
  const container = (layer as Host).parametrizations
  if (!(container instanceof Parametrizations)) return null
  const entry = container.names().map((name) => container.at(name) as Parametrized)
  const held = entry.find((e) =>
    places.get(e)?.some(({ slot }) => slot.owner === layer && slot.property === property),
  )
  return held?.original ?? null
}
