// How a quantized layer turns what it is given into integers: by a range found in each call, or by one fixed before.

import { ArgumentError } from '../../errors'
import { Module } from '../../nn/module'
import type { LayerOptions } from '../../nn/options'
import { Buffer } from '../../nn/parameter'
import { tensor } from '../../tensor/create'
import { noGrad, tidy } from '../../tensor/scope'
import type { Tensor } from '../../tensor/tensor'
import { dynamicParams, type RowParams } from './int8'
import { type FullScheme, fullScheme, type QuantizationParams, rangeOf } from './scheme'

/** What activations become. */
export interface ActivationScheme {
  /**
   * 'int8' (default), or 'uint7': integers of 0 to 127 lose a bit of precision, and relaxed SIMD multiplies them faster.
   */
  readonly type?: 'int8' | 'uint7'
  /** Default false: the zero point moves. */
  readonly symmetric?: boolean
  /**
   * Whose range counts: of each row, that is of each token (default), of all that a call is given ('tensor'), or the one
   * fixed by calibration ('static').
   */
  readonly range?: 'token' | 'tensor' | 'static'
}

/** An activation scheme with nothing left open. */
export type FullActivationScheme = Required<ActivationScheme>

/** @throws ArgumentError for unknown names. */
export function fullActivationScheme(scheme: ActivationScheme): FullActivationScheme {
  const { type = 'int8', symmetric = false, range = 'token' } = scheme
  if (type !== 'int8' && type !== 'uint7')
    throw new ArgumentError(`quantization: activations as '${String(type)}'; expected 'int8' or 'uint7'`)
  if (range !== 'token' && range !== 'tensor' && range !== 'static') {
    throw new ArgumentError(
      `quantization: a range of activations '${String(range)}'; expected 'token', 'tensor' or 'static'`,
    )
  }
  return { type, symmetric, range }
}

/** Gives the parameters for rows of activations. With 'static' they are buffers, 1 and 0 until they are set. */
export class ActivationQuantizer extends Module {
  readonly scheme: FullActivationScheme
  readonly #full: FullScheme
  /** float32 []; static ranges only, as the next three. */
  scale: Buffer | null = null
  /** 1 / scale, rounded to float32 once and for every device. */
  reciprocal: Buffer | null = null
  /** float32 and int32 []. */
  zeroPoint: Buffer | null = null
  wholeZeroPoint: Buffer | null = null

  constructor(scheme: ActivationScheme = {}, { device }: Pick<LayerOptions, 'device'> = {}) {
    super()
    this.scheme = fullActivationScheme(scheme)
    const { type, symmetric, range } = this.scheme
    this.#full = fullScheme({ type, symmetric })
    if (range !== 'static') return
    const make = (value: number, dtype: 'float32' | 'int32' = 'float32'): Buffer =>
      tidy(() => new Buffer(tensor(value, { dtype, ...(device && { device }) })))
    this.scale = make(1)
    this.reciprocal = make(1)
    this.zeroPoint = make(0)
    this.wholeZeroPoint = make(0, 'int32')
  }

  /** Fixes a static range. @throws ArgumentError for another integer type, or if the range is not static. */
  setParams({ scheme: { type }, scale, reciprocal, zeroPoint }: QuantizationParams): void {
    if (!this.scale || type !== this.scheme.type) {
      throw new ArgumentError(
        `ActivationQuantizer: parameters of ${type} do not fit a ${this.scheme.range} range of ${this.scheme.type}`,
      )
    }
    const values = [scale[0], reciprocal[0], zeroPoint[0], zeroPoint[0]]
    const own = [this.scale, this.reciprocal, this.zeroPoint, this.wholeZeroPoint] as Buffer[]
    noGrad(() => {
      for (const [i, buffer] of own.entries()) {
        const { device, dtype } = buffer
        tidy(() => buffer.copy_(tensor(values[i], { dtype, device })))
      }
    })
  }

  /** Parameters of rows [M, K]. */
  forward(rows: Tensor): RowParams {
    const [low, high] = rangeOf(this.#full)
    const { scale, reciprocal, zeroPoint, wholeZeroPoint } = this
    if (scale && reciprocal && zeroPoint && wholeZeroPoint)
      return { scale, reciprocal, zeroPoint, wholeZeroPoint, low, high }
    return dynamicParams(rows, this.scheme.range === 'token', this.#full, [low, high])
  }
}
