// One tight loop per expression kind, over float64 scratch blocks.
//
// An operand is a block and a mask: -1 reads element i, 0 reads element 0 whatever i is, which is how constants,
// scalars and broadcast values take part without being spread over a block. Integers and booleans are held as
// float64 too; integer results are brought back to int32 (`| 0`, `Math.imul`), so they wrap as int32 does.

import { erf, floorMod, power, roundHalfEven } from './math'
import type { BinaryKind, ScalarType, UnaryKind } from '../expr'

type Block = Float64Array

/** `out[i] = kind(a[i])` for i < n. */
export type UnaryLoop = (out: Block, a: Block, n: number) => void
/** `out[i] = kind(a[i & ma], b[i & mb])` for i < n. */
export type BinaryLoop = (out: Block, a: Block, ma: number, b: Block, mb: number, n: number) => void

/** The loop of a unary kind on operands of the given type. */
export function unaryLoop(kind: UnaryKind, type: ScalarType): UnaryLoop {
  return (type === 'int' ? UNARY_INT[kind] : undefined) ?? UNARY[kind]
}

/** The loop of a binary kind whose result has the given type. */
export function binaryLoop(kind: BinaryKind, type: ScalarType): BinaryLoop {
  return (type === 'int' ? BINARY_INT[kind] : undefined) ?? BINARY[kind]
}

function neg(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = -a[i]
}
function negInt(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = -a[i] | 0
}
function abs(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.abs(a[i])
}
function absInt(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.abs(a[i]) | 0
}
function sign(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.sign(a[i])
}
function exp(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.exp(a[i])
}
function log(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.log(a[i])
}
function log1p(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.log1p(a[i])
}
function expm1(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.expm1(a[i])
}
function sqrt(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.sqrt(a[i])
}
function sin(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.sin(a[i])
}
function cos(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.cos(a[i])
}
function tanh(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.tanh(a[i])
}
function sigmoid(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = 1 / (1 + Math.exp(-a[i]))
}
function erfs(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = erf(a[i])
}
function floor(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.floor(a[i])
}
function ceil(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.ceil(a[i])
}
function round(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = roundHalfEven(a[i])
}
function isNaNs(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Number.isNaN(a[i]) ? 1 : 0
}
function not(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i] === 0 ? 1 : 0
}

function add(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] + b[i & mb]
}
function sub(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] - b[i & mb]
}
function mul(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] * b[i & mb]
}
function div(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] / b[i & mb]
}
function addInt(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = (a[i & ma] + b[i & mb]) | 0
}
function subInt(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = (a[i & ma] - b[i & mb]) | 0
}
function mulInt(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.imul(a[i & ma], b[i & mb])
}
function pow(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  const e = b[0]
  // The exponents that derivatives and norms are made of need no general power.
  if (mb === 0 && e === 2) mul(out, a, ma, a, ma, n)
  else if (mb === 0 && e === 1) for (let i = 0; i < n; i++) out[i] = a[i & ma]
  else if (mb === 0 && e === -1) for (let i = 0; i < n; i++) out[i] = 1 / a[i & ma]
  else for (let i = 0; i < n; i++) out[i] = power(a[i & ma], b[i & mb])
}
function mod(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = floorMod(a[i & ma], b[i & mb])
}
/** Integers have no NaN: the remainder by 0 is 0. */
function modInt(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = floorMod(a[i & ma], b[i & mb]) | 0
}
function max(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const x = a[i & ma]
    const y = b[i & mb]
    out[i] = x > y || Number.isNaN(x) ? x : y
  }
}
function min(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const x = a[i & ma]
    const y = b[i & mb]
    out[i] = x < y || Number.isNaN(x) ? x : y
  }
}
function eq(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] === b[i & mb] ? 1 : 0
}
function lt(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] < b[i & mb] ? 1 : 0
}
function le(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] <= b[i & mb] ? 1 : 0
}
function and(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] !== 0 && b[i & mb] !== 0 ? 1 : 0
}
function or(out: Block, a: Block, ma: number, b: Block, mb: number, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i & ma] !== 0 || b[i & mb] !== 0 ? 1 : 0
}

/** `out[i] = c[i & mc] ? a[i & ma] : b[i & mb]` for i < n. */
export function where(
  out: Block,
  c: Block,
  mc: number,
  a: Block,
  ma: number,
  b: Block,
  mb: number,
  n: number,
): void {
  for (let i = 0; i < n; i++) out[i] = c[i & mc] !== 0 ? a[i & ma] : b[i & mb]
}

/** Truncates toward zero; NaN and infinities give 0, values beyond int32 wrap. */
function toInt(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i] | 0
}
function toBool(out: Block, a: Block, n: number): void {
  for (let i = 0; i < n; i++) out[i] = a[i] !== 0 ? 1 : 0
}

/** The loop of a cast; to float, values are held as they are already. */
export function castLoop(type: 'int' | 'bool'): UnaryLoop {
  return type === 'int' ? toInt : toBool
}

const UNARY: Record<UnaryKind, UnaryLoop> = {
  neg,
  abs,
  sign,
  exp,
  log,
  log1p,
  expm1,
  sqrt,
  sin,
  cos,
  tanh,
  sigmoid,
  erf: erfs,
  floor,
  ceil,
  round,
  isNaN: isNaNs,
  not,
}
const UNARY_INT: Partial<Record<UnaryKind, UnaryLoop>> = { neg: negInt, abs: absInt }

const BINARY: Record<BinaryKind, BinaryLoop> = { add, sub, mul, div, pow, mod, max, min, eq, lt, le, and, or }
const BINARY_INT: Partial<Record<BinaryKind, BinaryLoop>> = {
  add: addInt,
  sub: subInt,
  mul: mulInt,
  mod: modInt,
}
