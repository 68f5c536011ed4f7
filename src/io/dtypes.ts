// The number formats of safetensors files, and how their bytes become typed arrays and back. All are
// little-endian, as is every machine that runs WebGPU or Node, so plain formats are copied as they are.

import type { HostArray } from '../backend/types'
import { ArgumentError, DTypeError, FormatError } from '../errors'

/** Number formats that can be read. */
export type SafetensorsDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I8' | 'U8' | 'BOOL'
/** Number formats that can be written. */
export type StorageDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I32' | 'I8' | 'U8' | 'BOOL'

/** Bytes per element of every format that can be read. */
export const ITEM_SIZE: Readonly<Record<SafetensorsDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I8: 1,
  U8: 1,
  BOOL: 1,
}

/** Elements per slice when converting, so that writing never holds a whole tensor twice. */
const SLICE = 1 << 20

// --- 16-bit floats ------------------------------------------------------------------------------

interface HalfFormat {
  mantissaBits: number
  minExponent: number
  maxExponent: number
}
const F16: HalfFormat = { mantissaBits: 10, minExponent: -14, maxExponent: 15 }
const BF16: HalfFormat = { mantissaBits: 7, minExponent: -126, maxExponent: 127 }

const double = new Float64Array(1)
const doubleWords = new Uint32Array(double.buffer)
/** Adding and subtracting 2^52 rounds a smaller non-negative double to an integer, half to even. */
const TO_INTEGER = 2 ** 52

/** The bits of `x` in a 16-bit format: round half to even, straight from float64 (no double rounding). */
function encodeHalf(x: number, format: HalfFormat): number {
  const { mantissaBits, minExponent, maxExponent } = format
  double[0] = x
  const high = doubleWords[1]!
  const sign = (high >>> 16) & 0x8000
  const infinity = (maxExponent - minExponent + 2) << mantissaBits
  const exponent = ((high >>> 20) & 0x7ff) - 1023
  if (Number.isNaN(x)) return sign | infinity | (1 << (mantissaBits - 1))
  if (exponent > maxExponent) return sign | infinity
  const scale = Math.max(exponent, minExponent)
  const steps = Math.abs(x) * 2 ** (mantissaBits - scale) + TO_INTEGER - TO_INTEGER
  // A full mantissa carries into the exponent by itself, up to infinity.
  return sign | (((scale - minExponent) << mantissaBits) + steps)
}

function decodeHalf(bits: number, format: HalfFormat): number {
  const { mantissaBits, minExponent, maxExponent } = format
  const sign = bits & 0x8000 ? -1 : 1
  const biased = (bits & 0x7fff) >>> mantissaBits
  const mantissa = bits & ((1 << mantissaBits) - 1)
  if (biased === 0) return sign * mantissa * 2 ** (minExponent - mantissaBits)
  if (biased > maxExponent - minExponent + 1) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (mantissa + (1 << mantissaBits)) * 2 ** (biased - 1 + minExponent - mantissaBits)
}

/** The bits of the nearest IEEE half-precision number (half to even; above 65,519 infinity). */
export const float16Bits = (x: number): number => encodeHalf(x, F16)
/** The number that 16 bits stand for in IEEE half precision. */
export const float16FromBits = (bits: number): number => decodeHalf(bits, F16)
/** The bits of the nearest bfloat16 number (half to even). */
export const bfloat16Bits = (x: number): number => encodeHalf(x, BF16)
/** The number that 16 bits stand for in bfloat16. */
export const bfloat16FromBits = (bits: number): number => decodeHalf(bits, BF16)

let float16Table: Float32Array | null = null
function float16Values(): Float32Array {
  float16Table ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => float16FromBits(bits))
  return float16Table
}

// --- reading ------------------------------------------------------------------------------------

/** The elements in `bytes`; copies, so that the result stands alone whatever `bytes` is a view of. */
export function decodeElements(bytes: Uint8Array, dtype: SafetensorsDType, where: string): HostArray {
  const count = bytes.byteLength / ITEM_SIZE[dtype]
  const copy = (target: ArrayBufferLike) => new Uint8Array(target).set(bytes)
  switch (dtype) {
    case 'F64': {
      const out = new Float64Array(count)
      copy(out.buffer)
      return out
    }
    case 'F32': {
      const out = new Float32Array(count)
      copy(out.buffer)
      return out
    }
    case 'I32': {
      const out = new Int32Array(count)
      copy(out.buffer)
      return out
    }
    case 'U8':
      return new Uint8Array(bytes)
    case 'BOOL':
      return Uint8Array.from(bytes, (byte) => (byte === 0 ? 0 : 1))
    case 'I8':
      return Int32Array.from(bytes, (byte) => (byte << 24) >> 24)
    case 'F16': {
      const table = float16Values()
      const out = new Float32Array(count)
      for (let i = 0; i < count; i++) out[i] = table[bytes[2 * i]! | (bytes[2 * i + 1]! << 8)]!
      return out
    }
    case 'BF16': {
      const words = new Uint32Array(count)
      for (let i = 0; i < count; i++) words[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24)
      return new Float32Array(words.buffer)
    }
    case 'I64':
      return decodeInt64(bytes, count, where)
    default:
      return dtype satisfies never
  }
}

function decodeInt64(bytes: Uint8Array, count: number, where: string): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const out = new Int32Array(count)
  for (let i = 0; i < count; i++) {
    const low = view.getInt32(8 * i, true)
    if (view.getInt32(8 * i + 4, true) !== low >> 31) {
      throw new FormatError(
        `${where}: element ${i} is ${view.getBigInt64(8 * i, true)}; int64 is read as int32, whose range is ` +
          '[-2147483648, 2147483647]. Store it as F64 if the exact value matters.',
      )
    }
    out[i] = low
  }
  return out
}

// --- writing ------------------------------------------------------------------------------------

/** The format in which an array is stored when none is asked for. */
export function naturalDType(data: HostArray): StorageDType {
  if (data instanceof Float64Array) return 'F64'
  if (data instanceof Float32Array) return 'F32'
  return data instanceof Int32Array ? 'I32' : 'U8'
}

/** Whether a format stores floating-point numbers. */
export function isFloatFormat(dtype: StorageDType): boolean {
  return dtype === 'F64' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16'
}

/** Throws DTypeError unless floats are to be stored as floats and integers as integers. */
export function checkStorable(natural: StorageDType, dtype: StorageDType, name: string): void {
  if (isFloatFormat(natural) === isFloatFormat(dtype)) return
  const [kind, fitting] = isFloatFormat(natural)
    ? ['floats', 'F64, F32, F16, BF16']
    : ['integers', 'I32, I8, U8, BOOL']
  throw new DTypeError(`tensor '${name}': ${kind} cannot be stored as ${dtype}; choose one of ${fitting}`)
}

/** The stored bytes of an array, in slices of at most 8 MiB; checks the range of I8, U8 and BOOL. */
export function* encodeElements(data: HostArray, dtype: StorageDType, name: string): Generator<Uint8Array> {
  if (dtype === naturalDType(data)) {
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    return
  }
  for (let start = 0; start < data.length; start += SLICE) {
    const part = data.subarray(start, start + SLICE)
    const converted = convert(part, dtype, (i) => `tensor '${name}', element ${start + i}`)
    yield new Uint8Array(converted.buffer, converted.byteOffset, converted.byteLength)
  }
}

function convert(part: HostArray, dtype: StorageDType, where: (i: number) => string) {
  switch (dtype) {
    case 'F64':
      return Float64Array.from(part)
    case 'F32':
      return Float32Array.from(part)
    case 'F16':
      return Uint16Array.from(part, float16Bits)
    case 'BF16':
      return Uint16Array.from(part, bfloat16Bits)
    case 'I32':
      return Int32Array.from(part)
    case 'I8':
    case 'U8':
    case 'BOOL': {
      const [min, max] = dtype === 'I8' ? [-128, 127] : [0, dtype === 'U8' ? 255 : 1]
      return Uint8Array.from(part, (value, i) => {
        if (value >= min! && value <= max!) return value
        throw new ArgumentError(
          `${where(i)}: ${value} does not fit ${dtype}, whose range is [${min}, ${max}]`,
        )
      })
    }
    default:
      return dtype satisfies never
  }
}
