// Numbers to integers and back: the one rounding rule, and fake quantization.
//
//   q = clamp(round(x * (1 / scale)) + zeroPoint, low, high),   x' = (q - zeroPoint) * scale
//
// Halves round to even; the reciprocal, the product and x' are each rounded to float32. It is said once, as expressions
// that run on every device and in float64 too, and once more in plain numbers; so fake-quantized and really quantized
// tensors hold the same integers.

import { record } from '../../autograd/tape'
import { roundHalfEven } from '../../backend/cpu/math'
import { type Expr, input, scalar } from '../../backend/expr'
import { Program } from '../../backend/program'
import type { DeviceName } from '../../backend/types'
import { DTypeError, ShapeError } from '../../errors'
import { tensor } from '../../tensor/create'
import { map, requireFloat } from '../../tensor/ops/apply'
import { noGrad, tidy } from '../../tensor/scope'
import { formatShape, type Shape } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import type { QuantizationParams } from './scheme'

/** Parameters as float32 tensors that broadcast to what is quantized; the zero points are whole numbers. */
export interface ParamTensors {
  readonly scale: Tensor
  readonly reciprocal: Tensor
  readonly zeroPoint: Tensor
  readonly low: number
  readonly high: number
}

const [SCALE, RECIPROCAL, ZERO] = [1, 2, 3].map((i) => input(i))
const [LOW, HIGH] = [scalar(0), scalar(1)]

/** The integer of x before it is limited. */
export const unlimited = (x: Expr, reciprocal: Expr, zero: Expr): Expr =>
  x.single().mul(reciprocal).single().round().add(zero)
export const limited = (q: Expr): Expr => {
  const above = q.lt(LOW).where(LOW, q)
  return above.gt(HIGH).where(HIGH, above)
}
export const number = (q: Expr, scale: Expr, zero: Expr): Expr => q.sub(zero).mul(scale).single()

const TO_INTEGERS = new Program([limited(unlimited(input(0), input(1), input(2))).cast('int')], 3, 2)
const TO_NUMBERS = new Program([number(input(0, 'int').asFloat(), input(1), input(2))], 3)
const FAKE = new Program([number(limited(unlimited(input(0), RECIPROCAL, ZERO)), SCALE, ZERO)], 4, 2)
/** g where the integer is inside its range: g, x, reciprocal, zero point. */
const inside = unlimited(input(1), input(2), input(3))
const STRAIGHT_THROUGH = new Program([inside.ge(LOW).and(inside.le(HIGH)).where(input(0), 0)], 4, 2)

/** Parameters on a device, shaped to broadcast to a tensor of `shape`. @throws ShapeError if they do not fit its axis. */
export function paramTensors(params: QuantizationParams, shape: Shape, device: DeviceName): ParamTensors {
  const { scale, reciprocal, zeroPoint, low, high } = params
  const own = broadcastShape(params, shape)
  const put = (values: ArrayLike<number>): Tensor =>
    tensor(Float32Array.from(values), { shape: own, dtype: 'float32', device })
  return { scale: put(scale), reciprocal: put(reciprocal), zeroPoint: put(zeroPoint), low, high }
}

function broadcastShape({ scheme: { axis }, scale }: QuantizationParams, shape: Shape): number[] {
  if (axis === null) return []
  const at = axis < 0 ? axis + shape.length : axis
  if (!(at >= 0 && at < shape.length) || shape[at] !== scale.length) {
    throw new ShapeError(
      `quantization: ${scale.length} scales along axis ${axis} do not fit shape ${formatShape(shape)}`,
    )
  }
  return shape.map((size, i) => (i === at ? size : 1))
}

/**
 * The integers of a float tensor, int32, of the same shape; not differentiable.
 * @throws DTypeError for integers; ShapeError if the parameters do not fit the tensor's axis.
 */
export function quantizeTensor(x: Tensor, params: QuantizationParams): Tensor {
  requireFloat('quantizeTensor', x)
  return noGrad(() => {
    const { reciprocal, zeroPoint, low, high } = paramTensors(params, x.shape, x.device)
    return map('quantizeTensor', TO_INTEGERS, [x, reciprocal, zeroPoint], [low, high])[0]
  })
}

/** The float32 numbers that int32 integers stand for. @throws DTypeError for floats; ShapeError as `quantizeTensor`. */
export function dequantizeTensor(q: Tensor, params: QuantizationParams): Tensor {
  if (q.dtype !== 'int32')
    throw new DTypeError(`dequantizeTensor: expected the integers as int32, got ${q.dtype}`)
  return noGrad(() => {
    const { scale, zeroPoint } = paramTensors(params, q.shape, q.device)
    return map('dequantizeTensor', TO_NUMBERS, [q, scale, zeroPoint])[0]
  })
}

/**
 * `x` as it would come back from its integers, in its own dtype. The gradient passes straight through (Bengio et al. 2013)
 * where the integer is inside its range before it is limited, and is 0 elsewhere.
 * @throws DTypeError for integers; ShapeError if the parameters do not fit the tensor's axis.
 */
export function fakeQuantize(x: Tensor, params: QuantizationParams): Tensor {
  requireFloat('fakeQuantize', x)
  return tidy(() => fakeQuantizeBy(x, paramTensors(params, x.shape, x.device)))
}

/** The same with parameters that are tensors already. */
export function fakeQuantizeBy(x: Tensor, { scale, reciprocal, zeroPoint, low, high }: ParamTensors): Tensor {
  const range = [low, high]
  const [out] = noGrad(() => map('fakeQuantize', FAKE, [x, scale, reciprocal, zeroPoint], range, [x.dtype]))
  record('fakeQuantize', [x], [out], [x, reciprocal, zeroPoint], ([g], [at, r, z]) => [
    g && map('fakeQuantize backward', STRAIGHT_THROUGH, [g, at, r, z], range, [g.dtype])[0],
  ])
  return out
}

/** The rule in plain numbers: the integers of values in row-major order, each slice of `size` values with one scale in turn. */
export function integersOf(
  values: ArrayLike<number>,
  { reciprocal, zeroPoint, low, high }: QuantizationParams,
  size: number,
): Int32Array<ArrayBuffer> {
  return Int32Array.from(values, (x, i) => {
    const at = Math.floor(i / size) % reciprocal.length
    const q = roundHalfEven(Math.fround(Math.fround(x) * reciprocal[at])) + zeroPoint[at]
    return Math.min(high, Math.max(low, q))
  })
}
