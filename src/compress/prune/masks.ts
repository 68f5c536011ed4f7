// The masks of a model: set, undone, made permanent; all of a call or none.

import { ArgumentError, ShapeError } from '../../errors'
import type { Module } from '../../nn/module'
import {
  bakeParametrization,
  namedOriginals,
  parametrizationsOf,
  parametrize,
  removeParametrization,
} from '../../nn/parametrize'
import type { Parameter } from '../../nn/parameter'
import { formatShape } from '../../tensor/shape'
import { Mask, maskOf } from './mask'

/** Takes the masks away: every parameter has its original values again. */
export function undoPruning(model: Module): void {
  for (const { parameter, mask } of masked(model)) dropMask(model, parameter, mask)
}

/** Writes the zeros into the parameters and takes the masks away. */
export function makePermanent(model: Module): void {
  for (const { parameter, mask } of masked(model)) {
    bakeParametrization(model, parameter, mask)
    mask.mask.dispose()
  }
}

/** Sets which elements of a parameter stay (not 0 in `keep`, row by row); replaces a mask that it has. */
export function setMask(model: Module, parameter: string | Parameter, keep: Uint8Array): void {
  const [name, original] = findParameter(model, parameter)
  if (keep.length !== original.size)
    throw new ShapeError(
      `setMask: ${keep.length} elements for '${name}' of shape ${formatShape(original.shape)}; expected ${original.size}`,
    )
  setMasks(model, [[original, keep]])
}

/** Sets several masks, all or none. */
export function setMasks(model: Module, masks: readonly (readonly [Parameter, Uint8Array])[]): void {
  const before = masked(model).filter((m) => masks.some(([parameter]) => parameter === m.parameter))
  const added: [Parameter, Mask][] = []
  try {
    for (const [parameter, keep] of masks) {
      const mask = new Mask(keep, { device: parameter.device })
      parametrize(model, parameter, mask)
      added.push([parameter, mask])
    }
  } catch (error) {
    for (const [parameter, mask] of added) dropMask(model, parameter, mask)
    throw error
  }
  for (const { parameter, mask } of before) dropMask(model, parameter, mask)
}

/** Takes the masks of some parameters away. */
export function undoMasks(model: Module, parameters: readonly Parameter[]): void {
  for (const { parameter, mask } of masked(model))
    if (parameters.includes(parameter)) dropMask(model, parameter, mask)
}

function dropMask(model: Module, parameter: Parameter, mask: Mask): void {
  removeParametrization(model, parameter, mask)
  mask.mask.dispose()
}

/** Every masked parameter, once. */
export function masked(model: Module): { name: string; parameter: Parameter; mask: Mask }[] {
  const seen = new Set<Parameter>()
  return parametrizationsOf(model).flatMap((entry) => {
    const mask = maskOf(entry)
    const parameter = entry.parametrized.original
    if (!mask || seen.has(parameter)) return []
    seen.add(parameter)
    return [{ name: entry.name, parameter, mask }]
  })
}

/** A parameter of a model by its key, or itself, with its key. */
export function findParameter(model: Module, parameter: string | Parameter): [string, Parameter] {
  const found = namedOriginals(model).find(([name, p]) => name === parameter || p === parameter)
  if (found) return found
  const names = namedOriginals(model).map(([name]) => name)
  throw new ArgumentError(
    `${model.constructor.name} has no parameter ${typeof parameter === 'string' ? `'${parameter}'` : 'like this'}; it has ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`,
  )
}
