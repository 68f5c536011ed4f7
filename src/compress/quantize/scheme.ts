// How numbers become integers: which integers there are, and the scale and zero point that a range of numbers gets.
//
// Formulas are those of torch.ao.quantization's observers, in float32 step by step: q = round(x / scale) + zeroPoint.

import { roundHalfEven } from '../../backend/cpu/math'
import { ArgumentError, NonFiniteError } from '../../errors'

/** Integers by their range: -128 to 127, 0 to 255, 0 to 127, -8 to 7, 0 to 15. */
export type IntegerType = 'int8' | 'uint8' | 'uint7' | 'int4' | 'uint4'

const RANGES: Readonly<Record<IntegerType, readonly [low: number, high: number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  uint7: [0, 127],
  int4: [-8, 7],
  uint4: [0, 15],
}

/** How a tensor is quantized. */
export interface QuantizationScheme {
  /** Default 'int8'. */
  readonly type?: IntegerType
  /** Symmetric (default): the zero point is fixed in the middle. Affine (false): it moves, so that no integer is wasted. */
  readonly symmetric?: boolean
  /** The axis along which each slice has a scale of its own; null (default): one for the whole tensor. */
  readonly axis?: number | null
  /**
   * The lowest integer is left out, so that the largest number has an integer of its own: absmax / 127 for int8, as in
   * ONNX Runtime. Default false: absmax / 127.5, as in PyTorch. Symmetric only.
   */
  readonly narrow?: boolean
}

/** No scale is smaller, so that a constant 0 has one: float32's epsilon, as in PyTorch. */
const SMALLEST_SCALE = 2 ** -23
const f = Math.fround

/** A scheme with nothing left open. */
export type FullScheme = Required<QuantizationScheme>

/** @throws ArgumentError for an unknown integer type, an axis that is no integer, or `narrow` without `symmetric`. */
export function fullScheme(scheme: QuantizationScheme): FullScheme {
  const { type = 'int8', symmetric = true, axis = null, narrow = false } = scheme
  if (!Object.hasOwn(RANGES, type)) {
    throw new ArgumentError(
      `quantization: there is no integer type '${String(type)}'; expected ${Object.keys(RANGES).join(', ')}`,
    )
  }
  if (axis !== null && !Number.isInteger(axis)) {
    throw new ArgumentError(`quantization: axis is ${axis}; expected an integer, or null for one scale`)
  }
  if (narrow && !symmetric)
    throw new ArgumentError('quantization: narrow needs symmetric; an affine scheme uses every integer')
  return { type, symmetric, axis, narrow }
}

/** The scales and zero points of one quantized tensor. */
export class QuantizationParams {
  readonly scheme: FullScheme
  /** float32, one or one for each slice of the scheme's axis. */
  readonly scale: Float32Array
  /** As many integers of the type. */
  readonly zeroPoint: Int32Array
  /** The smallest and the largest integer. */
  readonly low: number
  readonly high: number

  /**
   * @throws ArgumentError for a scale that is 0, negative or no finite number, for a zero point that is no integer of the
   * type, and for another number of zero points than of scales.
   */
  constructor(scheme: QuantizationScheme, scale: ArrayLike<number>, zeroPoint: ArrayLike<number>) {
    this.scheme = fullScheme(scheme)
    const { axis } = this.scheme
    const [low, high] = rangeOf(this.scheme)
    this.low = low
    this.high = high
    this.scale = Float32Array.from(scale)
    this.zeroPoint = Int32Array.from(zeroPoint)
    if (scale.length !== zeroPoint.length || scale.length === 0 || (axis === null && scale.length !== 1)) {
      throw new ArgumentError(
        `quantization: ${scale.length} scales and ${zeroPoint.length} zero points; expected one of each${axis === null ? '' : ' for each slice of the axis'}`,
      )
    }
    for (const [i, s] of this.scale.entries()) {
      if (s > 0 && Number.isFinite(f(1 / s))) continue
      throw new ArgumentError(
        `quantization: scale ${i} is ${s}; expected a positive number whose reciprocal is finite`,
      )
    }
    for (const [i, z] of this.zeroPoint.entries()) {
      if (z === zeroPoint[i] && z >= low && z <= high) continue
      throw new ArgumentError(
        `quantization: zero point ${i} is ${zeroPoint[i]}; expected an integer from ${low} to ${high}`,
      )
    }
  }

  /** 1 / scale in float32: what numbers are multiplied by. */
  get reciprocal(): Float32Array {
    return this.scale.map((s) => 1 / s)
  }
}

/**
 * The parameters for numbers from `min` to `max` (both of one, or of one for each slice), with 0 taken in. As integers all
 * of them are inside the range, but for the rounding of the symmetric scheme at its positive end.
 * @throws NonFiniteError if a bound is not finite; ArgumentError for max < min.
 */
export function chooseParams(
  min: ArrayLike<number>,
  max: ArrayLike<number>,
  scheme: QuantizationScheme = {},
): QuantizationParams {
  const full = fullScheme(scheme)
  const [low, high] = rangeOf(full)
  const scales: number[] = []
  const zeroPoints: number[] = []
  for (let i = 0; i < min.length; i++) {
    if (!Number.isFinite(min[i]) || !Number.isFinite(max[i])) {
      throw new NonFiniteError(
        `quantization: numbers from ${min[i]} to ${max[i]} cannot be quantized; find out where they stop being finite`,
      )
    }
    if (max[i] < min[i])
      throw new ArgumentError(`quantization: the range from ${min[i]} to ${max[i]} is empty`)
    const below = f(Math.min(0, min[i]))
    const above = f(Math.max(0, max[i]))
    const scale = full.symmetric
      ? f(Math.max(-below, above) / ((high - low) / 2))
      : f(f(above - below) / (high - low))
    const usable = Math.max(scale, SMALLEST_SCALE)
    const zero = full.symmetric ? Math.floor((low + high + 1) / 2) : low - roundHalfEven(f(below / usable))
    scales.push(usable)
    zeroPoints.push(Math.min(high, Math.max(low, zero)))
  }
  return new QuantizationParams(full, scales, zeroPoints)
}

/** The smallest and the largest integer of a scheme. */
export function rangeOf({ type, narrow }: FullScheme): readonly [low: number, high: number] {
  const [low, high] = RANGES[type]
  return [narrow ? low + 1 : low, high]
}
