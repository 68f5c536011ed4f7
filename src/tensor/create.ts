// Making tensors from host values, constants and ranges.

import { getBackend, getDefaultDevice } from '../backend/registry'
import type { DeviceName, DType, HostArray } from '../backend/types'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { TensorWithMethods } from './methods'
import { checkDType } from './ops/cast'
import { fillStorage } from './ops/views'
import { checkShape, formatShape, type Shape, sizeOf } from './shape'
import type { Tensor } from './tensor'

export interface TensorOptions {
  /** Default float32 (for `tensor`: by the values given). */
  dtype?: DType
  /** Default: the device chosen by `init`, or cpu. */
  device?: DeviceName
  /** Record ops on this tensor for backward. Default false. */
  requiresGrad?: boolean
}

/** Numbers or booleans, nested as deep as the tensor has axes; or a typed array. */
export type TensorValues =
  | number
  | boolean
  | readonly TensorValues[]
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Int8Array
  | Int16Array
  | Uint16Array

const ARRAY = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array }

/** An uninitialised tensor after its options have been checked. */
export function allocate(
  op: string,
  shape: Shape,
  dtype: DType,
  device: DeviceName = getDefaultDevice(),
): Tensor {
  checkShape(op, shape)
  const backend = getBackend(device)
  checkDType(op, dtype, backend)
  return TensorWithMethods.allocate(backend, dtype, [...shape])
}

function finish(t: Tensor, requiresGrad: boolean | undefined): Tensor {
  if (requiresGrad) t.requiresGrad = true
  return t
}

/**
 * A tensor from host values, copied. Numbers give float32 and booleans bool; Float64Array, Int32Array and Uint8Array
 * give float64, int32 and int32. Typed arrays are flat: pass `shape`.
 * @throws ShapeError for ragged nesting or a shape of another size; DTypeError for values that do not fit the dtype.
 */
export function tensor(
  values: TensorValues,
  { shape, dtype, device, requiresGrad }: TensorOptions & { shape?: Shape } = {},
): Tensor {
  const { data, found, kind } = flattenValues(values)
  const type = dtype ?? kind
  const to = shape ?? found
  checkShape('tensor', to)
  if (sizeOf(to) !== data.length) {
    throw new ShapeError(
      `tensor: ${data.length} values do not fill shape ${formatShape(to)}, which has ${sizeOf(to)} elements`,
    )
  }
  const host = convert(data, type)
  const out = allocate('tensor', to, type, device)
  if (host.length > 0) out.backend.write(out.storage.buffer, type, host, 0)
  if (type === 'int32' && host.length > 0) out.storage.range = rangeOf(host)
  return finish(out, requiresGrad)
}

function rangeOf(values: HostArray): { min: number; max: number } {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (const v of values) {
    if (v < min) min = v
    if (v > max) max = v
  }
  return { min, max }
}

function flattenValues(values: TensorValues): { data: ArrayLike<number>; found: number[]; kind: DType } {
  if (typeof values === 'number') return { data: [values], found: [], kind: 'float32' }
  if (typeof values === 'boolean') return { data: [Number(values)], found: [], kind: 'bool' }
  if (ArrayBuffer.isView(values)) {
    const odd: ArrayBufferView = values
    if (odd instanceof DataView || odd instanceof BigInt64Array || odd instanceof BigUint64Array) {
      throw new ArgumentError(
        `tensor: a ${odd.constructor.name} holds no numbers; convert it with Int32Array.from(values, Number)`,
      )
    }
    const kind =
      values instanceof Float32Array ? 'float32' : values instanceof Float64Array ? 'float64' : 'int32'
    return { data: values, found: [values.length], kind }
  }
  const found: number[] = []
  for (
    let level: TensorValues = values;
    Array.isArray(level) || ArrayBuffer.isView(level);
    level = level[0] as TensorValues
  ) {
    found.push(level.length)
    if (level.length === 0) break
  }
  const data: number[] = []
  let booleans = 0
  const visit = (v: TensorValues, axis: number): void => {
    if (Array.isArray(v) || ArrayBuffer.isView(v)) {
      const list = v as ArrayLike<TensorValues>
      if (axis >= found.length || list.length !== found[axis]) {
        throw new ShapeError(
          `tensor: nested arrays are ragged; at depth ${axis} one has ${list.length} entries, expected ${found[axis] ?? 'a number'}`,
        )
      }
      for (let i = 0; i < list.length; i++) visit(list[i], axis + 1)
      return
    }
    if (axis !== found.length)
      throw new ShapeError(
        `tensor: nested arrays are ragged; found a value at depth ${axis}, expected depth ${found.length}`,
      )
    if (typeof v === 'boolean') booleans++
    else if (typeof v !== 'number')
      throw new ArgumentError(
        `tensor: values must be numbers or booleans, got ${v === null ? 'null' : typeof v}`,
      )
    data.push(Number(v))
  }
  visit(values as TensorValues, 0)
  return { data, found, kind: booleans > 0 && booleans === data.length ? 'bool' : 'float32' }
}

function convert(data: ArrayLike<number>, dtype: DType): HostArray {
  if (dtype === 'bool') return Uint8Array.from(data, (v) => (v === 0 ? 0 : 1))
  const Type = ARRAY[dtype]
  if (!Type)
    throw new DTypeError(
      `tensor: unknown dtype '${String(dtype)}'; expected 'float32', 'float64', 'int32' or 'bool'`,
    )
  if (dtype === 'int32' && !(data instanceof Int32Array)) {
    for (let i = 0; i < data.length; i++) {
      if ((data[i] | 0) !== data[i]) {
        throw new DTypeError(
          `tensor: ${data[i]} at position ${i} is not a 32-bit integer; use dtype 'float32'`,
        )
      }
    }
  }
  return data instanceof Type ? (data as HostArray) : Type.from(data)
}

/** `value` everywhere. The dtype defaults to float32. */
export function full(
  shape: Shape,
  value: number,
  { dtype = 'float32', device, requiresGrad }: TensorOptions = {},
): Tensor {
  if (dtype === 'int32' && (value | 0) !== value)
    throw new DTypeError(`full: ${value} is not a 32-bit integer`)
  const out = allocate('full', shape, dtype, device)
  fillStorage(out, value)
  return finish(out, requiresGrad)
}

/** Zeros. The dtype defaults to float32. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options)
}

/** Ones. The dtype defaults to float32. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options)
}

function like(x: Tensor, value: number, options: TensorOptions): Tensor {
  return full(x.shape, value, { dtype: x.dtype, device: x.device, ...options })
}

/** Zeros of x's shape, dtype and device. */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return like(x, 0, options)
}

/** Ones of x's shape, dtype and device. */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return like(x, 1, options)
}

/** 0, 1, …, end - 1, or start, start + step, … below (above) `end`. int32 where all arguments are integers. */
export function arange(end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, step?: number, options?: TensorOptions): Tensor
export function arange(a: number, b?: number | TensorOptions, step = 1, options: TensorOptions = {}): Tensor {
  const [start, end] = typeof b === 'number' ? [a, b] : [0, a]
  const { dtype, ...rest } = typeof b === 'object' ? b : options
  if (![start, end, step].every(Number.isFinite) || step === 0) {
    throw new ArgumentError(
      `arange: start ${start}, end ${end} and step ${step} must be finite, and the step not 0`,
    )
  }
  const whole = [start, end, step].every(Number.isInteger)
  const n = Math.max(0, Math.ceil((end - start) / step))
  checkShape('arange', [n])
  const values = Float64Array.from({ length: n }, (_, i) => start + i * step)
  return tensor(values, { dtype: dtype ?? (whole ? 'int32' : 'float32'), ...rest })
}

/** `steps` evenly spaced numbers from `start` to `end`, both included. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkShape('linspace', [steps])
  const gap = steps > 1 ? (end - start) / (steps - 1) : 0
  // The second half is counted from the end, so that the end is exact.
  const values = Float64Array.from({ length: steps }, (_, i) =>
    2 * i < steps ? start + i * gap : end - (steps - 1 - i) * gap,
  )
  return tensor(values, { dtype: 'float32', ...options })
}

/** The identity matrix, or a rectangle with ones on its diagonal. */
export function eye(rows: number, cols: number = rows, options: TensorOptions = {}): Tensor {
  checkShape('eye', [rows, cols])
  const values = new Float32Array(rows * cols)
  for (let i = 0; i < Math.min(rows, cols); i++) values[i * cols + i] = 1
  return tensor(values, { shape: [rows, cols], dtype: 'float32', ...options })
}
