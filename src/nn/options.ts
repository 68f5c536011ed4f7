// What constructors of layers share: where and in which dtype their parameters are made.

import type { DeviceName } from '../backend/types'
import { ArgumentError, DTypeError } from '../errors'
import { allocate } from '../tensor/create'
import type { Shape } from '../tensor/shape'
import { tidy } from '../tensor/scope'
import { Parameter } from './parameter'

export interface LayerOptions {
  /** Default: the device chosen by `init`, or cpu. */
  device?: DeviceName
  /** Default float32. */
  dtype?: 'float32' | 'float64'
}

/** A parameter without values yet; its layer initialises it at once. */
export function newParameter(
  layer: string,
  shape: Shape,
  { device, dtype = 'float32' }: LayerOptions,
): Parameter {
  if (dtype !== 'float32' && dtype !== 'float64') {
    throw new DTypeError(
      `${layer}: dtype is ${String(dtype satisfies never)}; parameters are 'float32' or 'float64'`,
    )
  }
  return tidy(() => new Parameter(allocate(layer, shape, dtype, device)))
}

/** Checks sizes given to a constructor. */
export function checkSizes(layer: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(sizes)) {
    if (!Number.isInteger(n) || n < 1)
      throw new ArgumentError(`${layer}: ${name} is ${n}; expected a positive integer`)
  }
}

/** Checks that `embedDim` splits evenly into `numHeads`. */
export function checkHeads(layer: string, embedDim: number, numHeads: number, hint = ''): void {
  if (embedDim % numHeads === 0) return
  throw new ArgumentError(
    `${layer}: ${numHeads} heads do not divide embedDim ${embedDim}; choose another numHeads${hint}`,
  )
}

/** Checks what is added to a variance. */
export function checkEps(layer: string, name: string, eps: number): void {
  if (!(eps >= 0)) throw new ArgumentError(`${layer}: ${name} is ${eps}; expected a number of at least 0`)
}

/** Checks a probability given to a constructor or function. */
export function checkProbability(where: string, name: string, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`${where}: ${name} is ${p}; expected a number from 0 to 1`)
}
