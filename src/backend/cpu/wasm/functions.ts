// exp, log and their kin in float32, four at a time: the same names as in steps.ts, without branches.
//
// exp is x = k ln2 + t with |t| <= ln2/2 and e^x = 2^k e^t, where e^t = 1 + t + t^2 q(t); tanh, sigmoid and expm1 follow
// from the same parts, log from the mantissa's distance from 1 (both as in W. J. Cody and W. Waite, "Software Manual
// for the Elementary Functions", 1980). The coefficients are minimax polynomials found by scripts/minimax.ts. NaN, the
// infinities, signed zeros and subnormal numbers come out as in the TypeScript kernels; test/wasm-functions.test.ts
// prints the largest errors.

import { f32x4, i32x4, v128, type V128 } from './code'
import type { Body, Local } from './emitter'

type Vector = Local<'v128'>

/** Ascending powers. */
const EXP = [0.4999999345, 0.1666652069, 0.04166838736, 0.008368709826, 0.001381461322]
const LOG = [
  0.333333126, -0.250000096, 0.2000211866, -0.1666799586, 0.142195524, -0.124055888, 0.1188816188,
  -0.1167565245, 0.06746642089,
]
/** Of -log(1 - erf(x)) / x, from 0 to 4. */
const ERF = [
  1.128379171, 0.6366193955, 0.1027777277, -0.01915272371, -0.0001609748075, 0.001667569512, -0.0006331178378,
  0.00011771647, -0.000009264337841,
]
/** ln2 in two parts; the first has so few bits that its products with exponents are exact. */
const LN2_HIGH = 0.693359375
const LN2_LOW = -2.1219444005469057e-4
/** 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits. */
const ROUND = 12_582_912
const ROUND_BITS = 0x4b40_0000

const { add, sub, mul, div, const: c } = f32x4

/** Horner's rule. */
function polynomial(f: Body, x: Vector, coefficients: readonly number[]): Vector {
  const sum = f.local('v128', c(coefficients[coefficients.length - 1]))
  for (const a of coefficients.slice(0, -1).reverse()) f.set(sum, f.madd(sum, x, c(a)))
  return sum
}

/** k and p of e^x = 2^k (1 + p), k an int32, in the low bits of `rounded` too; for x in [-104, 89] or NaN. */
function parts(f: Body, x: V128): { k: V128; rounded: Vector; p: Vector } {
  const at = f.local('v128', x)
  const rounded = f.local('v128', f.madd(at, c(Math.LOG2E), c(ROUND)))
  const k = f.local('v128', sub(rounded, c(ROUND)))
  const t = f.local('v128', f.madd(k, c(-LN2_LOW), f.madd(k, c(-LN2_HIGH), at)))
  const q = polynomial(f, t, EXP)
  const p = f.local('v128', f.madd(mul(t, t), q, t))
  return { k: i32x4.sub(rounded, i32x4.const(ROUND_BITS)), rounded, p }
}

/** 2^k for k in [-126, 127]. */
function powerOfTwo(k: V128): V128 {
  return i32x4.shl(i32x4.add(k, i32x4.const(127)), 23)
}

/** e^x for x <= 89; the power of two goes in two steps, so that the result may be subnormal or infinite. */
function expBelow(f: Body, x: V128): V128 {
  const { k, p } = parts(f, f32x4.pmax(x, c(-104)))
  const all = f.local('v128', k)
  const first = f.local('v128', i32x4.shr(all, 1))
  const product = mul(add(p, c(1)), powerOfTwo(first))
  return mul(product, powerOfTwo(i32x4.sub(all, first)))
}

/** The power of two goes straight into the exponent, but where that would not be a normal number. */
export function exp(f: Body, x: V128): V128 {
  const at = f.local('v128', x)
  const { rounded, p } = parts(f, at)
  const power = f.local('v128', i32x4.add(add(p, c(1)), i32x4.shl(rounded, 23)))
  // As integers, so that NaN counts as large.
  const far = i32x4.lt(c(87), f32x4.abs(at))
  f.if(v128.anyTrue(far), () => f.set(power, expBelow(f, f32x4.pmin(at, c(89)))))
  return power
}

export function expm1(f: Body, x: Vector): V128 {
  const { k, p } = parts(f, f32x4.pmax(f32x4.pmin(x, c(89)), c(-80)))
  // Half of it, so that 2^128 needs no exception.
  const power = f.local('v128', powerOfTwo(i32x4.sub(k, i32x4.const(1))))
  const half = f.local('v128', f.madd(power, p, sub(power, c(0.5))))
  return v128.select(x, add(half, half), f32x4.lt(f32x4.abs(x), c(1e-30)))
}

/** Of y's size, with the sign of x. */
function withSign(x: V128, y: V128): V128 {
  return v128.select(x, y, i32x4.const(-0x8000_0000))
}

/** (e^2|x| - 1) / (e^2|x| + 1). */
export function tanh(f: Body, x: Vector): V128 {
  const size = f32x4.abs(x)
  const { k, p } = parts(f, f32x4.pmin(add(size, size), c(30)))
  const power = f.local('v128', powerOfTwo(k))
  const m = f.local('v128', f.madd(power, p, sub(power, c(1))))
  return withSign(x, div(m, add(m, c(2))))
}

/** 1 / (1 + e^-x), through e^-|x|, which is never infinite. */
export function sigmoid(f: Body, x: Vector): V128 {
  const z = f.local('v128', exp(f, f32x4.neg(f32x4.abs(x))))
  const y = f.local('v128', div(c(1), add(z, c(1))))
  return v128.select(mul(z, y), y, f32x4.lt(x, c(0)))
}

export function log(f: Body, x: Vector): V128 {
  const subnormal = f.local('v128', f32x4.lt(x, c(2 ** -126)))
  const bits = f.local('v128', v128.select(mul(x, c(2 ** 23)), x, subnormal))
  // The exponent that leaves a mantissa in [sqrt(1/2), sqrt(2)).
  const exponent = f.local('v128', i32x4.shr(i32x4.sub(bits, i32x4.const(0x3f35_04f3)), 23))
  const g = f.local('v128', sub(i32x4.sub(bits, i32x4.shl(exponent, 23)), c(1)))
  const e = f.local('v128', sub(i32x4.toFloat(exponent), v128.and(subnormal, c(23))))
  const tail = mul(mul(g, g), f.madd(g, polynomial(f, g, LOG), c(-0.5)))
  const finite = f.madd(e, c(LN2_HIGH), add(g, f.madd(e, c(LN2_LOW), tail)))
  const result = f.local('v128', finite)
  // Zero, negative numbers, infinity and NaN.
  const special = v128.select(c(Number.NEGATIVE_INFINITY), mul(x, f32x4.sqrt(x)), f32x4.eq(x, c(0)))
  const ordinary = v128.and(f32x4.lt(c(0), x), f32x4.lt(x, c(Number.POSITIVE_INFINITY)))
  return v128.select(result, special, ordinary)
}

/** log(u) for u = 1 + x rounded, and what the rounding lost. */
export function log1p(f: Body, x: Vector): V128 {
  const u = f.local('v128', add(x, c(1)))
  const lost = f.local('v128', div(sub(x, sub(u, c(1))), u))
  // Infinity and -1 lose nothing; tiny x are their own logarithm.
  const correction = v128.and(lost, f32x4.eq(lost, lost))
  const result = f.local('v128', add(log(f, u), correction))
  return v128.select(x, result, f32x4.eq(u, c(1)))
}

/** 1 - e^(-x p(x)), as the negative of expm1, so that it is exact near 0 too. */
export function erf(f: Body, x: Vector): V128 {
  const size = f.local('v128', f32x4.pmin(f32x4.abs(x), c(4)))
  const { k, p } = parts(f, f32x4.neg(mul(size, polynomial(f, size, ERF))))
  const power = f.local('v128', powerOfTwo(k))
  return withSign(x, f.madd(power, p, sub(power, c(1))))
}

/** -1, 0 or 1; zeros and NaN stay. */
export function sign(x: Vector): V128 {
  return v128.select(withSign(x, c(1)), x, f32x4.lt(c(0), f32x4.abs(x)))
}

/** The larger; NaN where either is NaN. (The machine's own maximum of this meaning takes twice as many instructions.) */
export function max(a: V128, b: Vector): V128 {
  return v128.or(f32x4.pmax(a, b), f32x4.ne(b, b))
}

/** The smaller; NaN where either is NaN. */
export function min(a: V128, b: Vector): V128 {
  return v128.or(f32x4.pmin(a, b), f32x4.ne(b, b))
}
