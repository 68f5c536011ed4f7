// One tight loop per expression kind, over the registers of scratch.ts.
//
// An operand is the position of its register and a step: 1 reads element after element, 0 reads the first one
// again and again, which is how constants, scalars and broadcast values take part without being spread over a
// register. Integers and booleans are held as float64 too; integer results are brought back to int32 (`| 0`,
// `Math.imul`), so they wrap as int32 does. The commonest loops are unrolled by four, which V8 does not do. Truth
// values are used as numbers (to choose between two positions, say) because V8 then makes no branch, which unsorted
// data would mispredict half of the time.

import type { BinaryKind, ScalarType, UnaryKind } from '../expr'
import { erf } from './erf'
import { exp, expm1, tanh } from './exponential'
import { floorMod, power, roundHalfEven } from './math'
import { REGISTERS } from './scratch'

/** `R[o + i] = kind(R[a + i])` for i < n. */
export type UnaryLoop = (o: number, a: number, n: number) => void
/**
 * `R[o + i] = kind(R[a + i * sa], R[b + i * sb])` for i < n. It may go on to the next multiple of four, and writes a
 * register while it still reads the operands, so only an operand with step 1 may be the result's register.
 */
export type BinaryLoop = (o: number, a: number, sa: number, b: number, sb: number, n: number) => void

const steps = makeSteps(REGISTERS)

/** The loop of a unary kind on operands of the given type. */
export function unaryLoop(kind: UnaryKind, type: ScalarType): UnaryLoop {
  return (type === 'int' ? steps.unaryInt[kind] : undefined) ?? steps.unary[kind]
}

/** The loop of a binary kind whose result has the given type. */
export function binaryLoop(kind: BinaryKind, type: ScalarType): BinaryLoop {
  return (type === 'int' ? steps.binaryInt[kind] : undefined) ?? steps.binary[kind]
}

/** The loop of a cast; to float, values are held as they are already. */
export function castLoop(type: 'int' | 'bool'): UnaryLoop {
  return type === 'int' ? steps.toInt : steps.toBool
}

/** `R[o + i] = R[c + i * sc] ? R[a + i * sa] : R[b + i * sb]` for i < n. */
export const { where } = steps

// See scratch.ts for why the loops are inside a function.
function makeSteps(registers: Float64Array) {
  const R = registers

  function neg(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = -R[a]
  }
  function abs(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.abs(R[a])
  }
  function sign(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.sign(R[a])
  }
  function exps(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = exp(R[a])
  }
  function log(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.log(R[a])
  }
  function log1p(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.log1p(R[a])
  }
  function expm1s(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = expm1(R[a])
  }
  function sqrt(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.sqrt(R[a])
  }
  function sin(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.sin(R[a])
  }
  function cos(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.cos(R[a])
  }
  function tanhs(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = tanh(R[a])
  }
  function sigmoid(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = 1 / (1 + exp(-R[a]))
  }
  function erfs(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = erf(R[a])
  }
  function floor(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.floor(R[a])
  }
  function ceil(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.ceil(R[a])
  }
  function round(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = roundHalfEven(R[a])
  }
  function single(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.fround(R[a])
  }
  function isNaNs(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Number(Number.isNaN(R[a]))
  }
  function not(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Number(R[a] === 0)
  }
  function negInt(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = -R[a] | 0
  }
  function absInt(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Math.abs(R[a]) | 0
  }
  /** Truncates toward zero; NaN and infinities give 0, values beyond int32 wrap. */
  function toInt(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = R[a] | 0
  }
  function toBool(o: number, a: number, n: number): void {
    for (const end = o + n; o < end; o++, a++) R[o] = Number(R[a] !== 0)
  }

  function add(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o += 4, a += sa, b += sb) {
      R[o] = R[a] + R[b]
      a += sa
      b += sb
      R[o + 1] = R[a] + R[b]
      a += sa
      b += sb
      R[o + 2] = R[a] + R[b]
      a += sa
      b += sb
      R[o + 3] = R[a] + R[b]
    }
  }
  function sub(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o += 4, a += sa, b += sb) {
      R[o] = R[a] - R[b]
      a += sa
      b += sb
      R[o + 1] = R[a] - R[b]
      a += sa
      b += sb
      R[o + 2] = R[a] - R[b]
      a += sa
      b += sb
      R[o + 3] = R[a] - R[b]
    }
  }
  function mul(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o += 4, a += sa, b += sb) {
      R[o] = R[a] * R[b]
      a += sa
      b += sb
      R[o + 1] = R[a] * R[b]
      a += sa
      b += sb
      R[o + 2] = R[a] * R[b]
      a += sa
      b += sb
      R[o + 3] = R[a] * R[b]
    }
  }
  function div(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o += 4, a += sa, b += sb) {
      R[o] = R[a] / R[b]
      a += sa
      b += sb
      R[o + 1] = R[a] / R[b]
      a += sa
      b += sb
      R[o + 2] = R[a] / R[b]
      a += sa
      b += sb
      R[o + 3] = R[a] / R[b]
    }
  }
  function addInt(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = (R[a] + R[b]) | 0
  }
  function subInt(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = (R[a] - R[b]) | 0
  }
  function mulInt(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Math.imul(R[a], R[b])
  }
  function pow(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    const e = R[b]
    // The exponents that derivatives and norms are made of need no general power.
    if (sb === 0 && e === 2) mul(o, a, sa, a, sa, n)
    else if (sb === 0 && e === 1) for (const end = o + n; o < end; o++, a += sa) R[o] = R[a]
    else if (sb === 0 && e === -1) for (const end = o + n; o < end; o++, a += sa) R[o] = 1 / R[a]
    else for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = power(R[a], R[b])
  }
  function mod(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = floorMod(R[a], R[b])
  }
  /** Integers have no NaN: the remainder by 0 is 0. */
  function modInt(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = floorMod(R[a], R[b]) | 0
  }
  function max(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) {
      const x = R[a]
      const y = R[b]
      R[o] = R[b + ((a - b) & -(Number(x > y) | Number(Number.isNaN(x))))]
    }
  }
  function min(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) {
      const x = R[a]
      const y = R[b]
      R[o] = R[b + ((a - b) & -(Number(x < y) | Number(Number.isNaN(x))))]
    }
  }
  function eq(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Number(R[a] === R[b])
  }
  function lt(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Number(R[a] < R[b])
  }
  function le(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Number(R[a] <= R[b])
  }
  function and(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Number(R[a] !== 0) & Number(R[b] !== 0)
  }
  function or(o: number, a: number, sa: number, b: number, sb: number, n: number): void {
    for (const end = o + n; o < end; o++, a += sa, b += sb) R[o] = Number(R[a] !== 0) | Number(R[b] !== 0)
  }

  function where(
    o: number,
    c: number,
    sc: number,
    a: number,
    sa: number,
    b: number,
    sb: number,
    n: number,
  ): void {
    for (const end = o + n; o < end; o++, c += sc, a += sa, b += sb)
      R[o] = R[b + ((a - b) & -Number(R[c] !== 0))]
  }

  const unary: Record<UnaryKind, UnaryLoop> = {
    neg,
    abs,
    sign,
    exp: exps,
    log,
    log1p,
    expm1: expm1s,
    sqrt,
    sin,
    cos,
    tanh: tanhs,
    sigmoid,
    erf: erfs,
    floor,
    ceil,
    round,
    single,
    isNaN: isNaNs,
    not,
  }
  const unaryInt: Partial<Record<UnaryKind, UnaryLoop>> = { neg: negInt, abs: absInt }
  const binary: Record<BinaryKind, BinaryLoop> = {
    add,
    sub,
    mul,
    div,
    pow,
    mod,
    max,
    min,
    eq,
    lt,
    le,
    and,
    or,
  }
  const binaryInt: Partial<Record<BinaryKind, BinaryLoop>> = {
    add: addInt,
    sub: subInt,
    mul: mulInt,
    mod: modInt,
  }
  return { unary, unaryInt, binary, binaryInt, where, toInt, toBool }
}
