// Typed pieces of WebAssembly code: an expression is a value type and the bytes that leave one such value on the
// stack. TypeScript checks what a validator would: `f32x4.add(i32.const(1), x)` does not compile.
//
// Opcodes are those of the core specification (https://webassembly.github.io/spec/core/binary/instructions.html) and
// of the relaxed SIMD proposal. Only what the kernels use is here; a missing instruction is one more line.

export type ValueType = 'i32' | 'f32' | 'f64' | 'v128'

/** Code that leaves one value of type T, or nothing with 'none'. */
export class Code<T extends ValueType | 'none' = ValueType | 'none'> {
  constructor(
    readonly type: T,
    readonly bytes: readonly number[],
  ) {}
}

/** An int32 or an address; a number stands for a constant. */
export type I32 = Code<'i32'> | number
export type F32 = Code<'f32'> | number
export type V128 = Code<'v128'>
export type Statement = Code<'none'>

/** Unsigned LEB128: seven bits a byte, low ones first, the top bit set on all but the last. */
export function unsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return [...bytes, rest]
}

/** Signed LEB128 of an int32; it ends where bit 6 of the last byte is the sign of all that would follow. */
export function signed(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value | 0; ; rest >>= 7) {
    const low = rest & 127
    if (rest >> 6 === 0 || rest >> 6 === -1) return [...bytes, low]
    bytes.push(low | 128)
  }
}

function build<T extends ValueType | 'none'>(
  type: T,
  args: readonly Code[],
  opcode: readonly number[],
): Code<T> {
  return new Code(type, [...args.flatMap((a) => a.bytes), ...opcode])
}

const int = (x: I32): Code<'i32'> => (typeof x === 'number' ? i32.const(x) : x)
const float = (x: F32): Code<'f32'> => (typeof x === 'number' ? f32.const(x) : x)
/** The opcode of a SIMD instruction. */
const simd = (code: number): number[] => [0xfd, ...unsigned(code)]
/** Alignment (a hint, as a power of two) and constant offset of a memory access. */
const access = (align: number, offset: number): number[] => [align, ...unsigned(offset)]

const intOp =
  (opcode: number) =>
  (a: I32, b: I32): Code<'i32'> =>
    build('i32', [int(a), int(b)], [opcode])
const floatOp =
  (opcode: number) =>
  (a: F32, b: F32): Code<'f32'> =>
    build('f32', [float(a), float(b)], [opcode])
const vectorOp =
  (opcode: number) =>
  (a: V128, b: V128): V128 =>
    build('v128', [a, b], simd(opcode))
const vectorUnary =
  (opcode: number) =>
  (a: V128): V128 =>
    build('v128', [a], simd(opcode))
const shift =
  (opcode: number) =>
  (a: V128, by: number): V128 =>
    build('v128', [a, i32.const(by)], simd(opcode))
const vectorTernary =
  (opcode: number) =>
  (a: V128, b: V128, c: V128): V128 =>
    build('v128', [a, b, c], simd(opcode))
const vectorLoad =
  (opcode: number, align: number) =>
  (ptr: I32, offset = 0): V128 =>
    build('v128', [int(ptr)], [...simd(opcode), ...access(align, offset)])

export const i32 = {
  store: (ptr: I32, value: I32, offset = 0): Statement =>
    build('none', [int(ptr), int(value)], [0x36, ...access(2, offset)]),
  const: (value: number): Code<'i32'> => new Code('i32', [0x41, ...signed(value)]),
  eqz: (a: I32): Code<'i32'> => build('i32', [int(a)], [0x45]),
  eq: intOp(0x46),
  ne: intOp(0x47),
  load: (ptr: I32, offset = 0): Code<'i32'> => build('i32', [int(ptr)], [0x28, ...access(2, offset)]),
  load8U: (ptr: I32, offset = 0): Code<'i32'> => build('i32', [int(ptr)], [0x2d, ...access(0, offset)]),
  store8: (ptr: I32, value: I32, offset = 0): Statement =>
    build('none', [int(ptr), int(value)], [0x3a, ...access(0, offset)]),
  ltU: intOp(0x49),
  gtU: intOp(0x4b),
  leU: intOp(0x4d),
  geU: intOp(0x4f),
  add: intOp(0x6a),
  sub: intOp(0x6b),
  mul: intOp(0x6c),
  and: intOp(0x71),
  shl: intOp(0x74),
  /** `condition ? a : b`; both are computed. */
  select: (a: I32, b: I32, condition: I32): Code<'i32'> =>
    build('i32', [int(a), int(b), int(condition)], [0x1b]),
}

export const f32 = {
  const: (value: number): Code<'f32'> =>
    new Code('f32', [0x43, ...new Uint8Array(new Float32Array([value]).buffer)]),
  load: (ptr: I32, offset = 0): Code<'f32'> => build('f32', [int(ptr)], [0x2a, ...access(2, offset)]),
  store: (ptr: I32, value: F32, offset = 0): Statement =>
    build('none', [int(ptr), float(value)], [0x38, ...access(2, offset)]),
  add: floatOp(0x92),
  mul: floatOp(0x94),
}

/** A double; sums of many float32 are kept in one. */
export const f64 = {
  const: (value: number): Code<'f64'> =>
    new Code('f64', [0x44, ...new Uint8Array(new Float64Array([value]).buffer)]),
  add: (a: Code<'f64'>, b: Code<'f64'>): Code<'f64'> => build('f64', [a, b], [0xa0]),
  promote: (a: Code<'f32'>): Code<'f64'> => build('f64', [a], [0xbb]),
  demote: (a: Code<'f64'>): Code<'f32'> => build('f32', [a], [0xb6]),
}

export const memory = {
  /** Sets `bytes` bytes from `to` on. */
  fill: (to: I32, value: I32, bytes: I32): Statement =>
    build('none', [int(to), int(value), int(bytes)], [0xfc, 11, 0]),
}

export const v128 = {
  load: vectorLoad(0x00, 4),
  /** One 32-bit element in all four lanes. */
  load32Splat: vectorLoad(0x09, 2),
  store: (ptr: I32, value: V128, offset = 0): Statement =>
    build('none', [int(ptr), value], [...simd(0x0b), ...access(4, offset)]),
  /** Four bytes in the first lane, 0 in the others. */
  load32Zero: vectorLoad(0x5c, 2),
  not: vectorUnary(0x4d),
  /** Whether any bit is 1. */
  anyTrue: (a: V128): Code<'i32'> => build('i32', [a], simd(0x53)),
  and: vectorOp(0x4e),
  /** a & ~b. */
  andNot: vectorOp(0x4f),
  or: vectorOp(0x50),
  xor: vectorOp(0x51),
  /** Bits of a where those of `mask` are 1, of b elsewhere. */
  select: vectorTernary(0x52),
  /** Four bytes, the low ones of a vector, as four int32. */
  widenBytes: (a: V128): V128 => build('v128', [a], [...simd(0x89), ...simd(0xa9)]),
  /** Int32 of 0 to 255 as int16, and those as bytes: the low half of the result. */
  narrowToHalves: (a: V128): V128 => build('v128', [a, a], simd(0x86)),
  /** Eight int32 of 0 to 65,535 as int16. */
  narrowTwo: vectorOp(0x86),
  narrowToBytes: (a: V128): V128 => build('v128', [a, a], simd(0x66)),
  /** The four 32-bit lanes named by `lanes`: 0 to 3 are those of a, 4 to 7 those of b. */
  shuffle: (a: V128, b: V128, lanes: readonly [number, number, number, number]): V128 =>
    build('v128', [a, b], [...simd(0x0d), ...lanes.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3])]),
}

export const i32x4 = {
  lanes: (values: readonly [number, number, number, number]): V128 =>
    new Code('v128', [...simd(0x0c), ...new Uint8Array(new Int32Array(values).buffer)]),
  const: (value: number): V128 => build('v128', [i32.const(value)], simd(0x11)),
  splat: (value: I32): V128 => build('v128', [int(value)], simd(0x11)),
  lane: (a: V128, lane: number): Code<'i32'> => build('i32', [a], [...simd(0x1b), lane]),
  eq: vectorOp(0x37),
  ne: vectorOp(0x38),
  lt: vectorOp(0x39),
  le: vectorOp(0x3d),
  abs: vectorUnary(0xa0),
  neg: vectorUnary(0xa1),
  shl: shift(0xab),
  /** Keeps the sign. */
  shr: shift(0xac),
  /** Moves zeros in. */
  shrU: shift(0xad),
  add: vectorOp(0xae),
  sub: vectorOp(0xb1),
  mul: vectorOp(0xb5),
  min: vectorOp(0xb6),
  max: vectorOp(0xb8),
  /** Float lanes without their fractions; NaN is 0, and what int32 cannot hold its nearest end. */
  fromFloat: vectorUnary(0xf8),
  /** The low four int16 with their signs. */
  widen: vectorUnary(0xa7),
  /** Each lane to the nearest float32. */
  toFloat: vectorUnary(0xfa),
  /** Lane i: the products of int16 lanes 2i and 2i + 1, added. */
  dotHalves: vectorOp(0xba),
  /** Lane i: the four products of bytes 4i to 4i + 3, added to c; for bytes of b in 0 to 127. Needs relaxed SIMD. */
  relaxedDotBytes: vectorTernary(0x113),
}

/** Eight int16. */
export const i16x8 = {
  const: (value: number): V128 => build('v128', [i32.const(value)], simd(0x10)),
  shl: shift(0x8b),
  /** Keeps the sign. */
  shr: shift(0x8c),
  /** Int32 lanes of a, then of b, each at its nearest end where it is none of int16. */
  narrow: vectorOp(0x85),
  /** The low eight bytes as int16, with their signs. */
  widen: vectorUnary(0x87),
  /** Lane i: the products of bytes 2i and 2i + 1, added; for bytes of b in 0 to 127. Needs relaxed SIMD. */
  relaxedDotBytes: vectorOp(0x112),
}

/** Sixteen bytes. */
export const i8x16 = {
  /** Int16 lanes of a, then of b, each at its nearest end where it is no int8. */
  narrow: vectorOp(0x65),
}

export const f32x4 = {
  const: (value: number): V128 => build('v128', [f32.const(value)], simd(0x13)),
  splat: (value: F32): V128 => build('v128', [float(value)], simd(0x13)),
  lane: (a: V128, lane: number): Code<'f32'> => build('f32', [a], [...simd(0x1f), lane]),
  eq: vectorOp(0x41),
  ne: vectorOp(0x42),
  lt: vectorOp(0x43),
  le: vectorOp(0x45),
  abs: vectorUnary(0xe0),
  sqrt: vectorUnary(0xe3),
  ceil: vectorUnary(0x67),
  floor: vectorUnary(0x68),
  /** To the nearest integer, halves to even. */
  nearest: vectorUnary(0x6a),
  add: vectorOp(0xe4),
  sub: vectorOp(0xe5),
  mul: vectorOp(0xe6),
  div: vectorOp(0xe7),
  neg: vectorUnary(0xe1),
  /** `b < a ? b : a` and `a < b ? b : a`: one instruction, and a NaN in a stays. */
  pmin: vectorOp(0xea),
  pmax: vectorOp(0xeb),
  /** a * b + c, rounded once or twice as the machine likes; needs relaxed SIMD. */
  relaxedMadd: vectorTernary(0x105),
}
