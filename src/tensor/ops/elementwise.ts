// Every elementwise op: one row each. Kernel, derivative and gradient check all come from the expression.

import { Expr, input, scalar, type ScalarType } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, DTypeError } from '../../errors'
import { inModule } from '../context'
import { scalarType, Tensor } from '../tensor'
import { map } from './apply'

/** An operand: a tensor, or a number (data, never part of a compiled kernel, and never promoting the tensor). */
export type Operand = Tensor | number

const families = new Map<string, Program>()

/** The program of a row for these operand types, built once. Tensors become inputs and numbers scalars, in order. */
function specialize(
  op: string,
  build: (...args: Expr[]) => Expr,
  kinds: readonly { tensor: boolean; type: ScalarType }[],
): Program {
  const key = `${op}:${kinds.map((k) => `${k.tensor ? 't' : 'n'}${k.type}`).join(',')}`
  let program = families.get(key)
  if (!program) {
    let inputs = 0
    let scalars = 0
    const args = kinds.map((k) => (k.tensor ? input(inputs++, k.type) : scalar(scalars++, k.type)))
    program = new Program([build(...args)], inputs, scalars)
    families.set(key, program)
  }
  return program
}

/** Applies a row to tensors and numbers. A number takes the tensors' scalar type. */
function apply(op: string, build: (...args: Expr[]) => Expr, operands: readonly Operand[]): Tensor {
  const tensors: Tensor[] = []
  const numbers: number[] = []
  let whole = true
  for (const x of operands) {
    if (x instanceof Tensor) {
      tensors.push(x)
      if (scalarType(x.dtype) === 'float') whole = false
    } else if (typeof x === 'number') numbers.push(x)
    else throw new ArgumentError(`${op}: operands must be tensors or numbers, got ${typeof x}${inModule()}`)
  }
  if (tensors.length === 0) throw new ArgumentError(`${op}: at least one operand must be a tensor`)
  const kinds = operands.map((x) =>
    x instanceof Tensor
      ? { tensor: true, type: scalarType(x.dtype) }
      : { tensor: false, type: whole && isInt32(x) ? ('int' as const) : ('float' as const) },
  )
  const program = specialize(op, build, kinds)
  const promoted = whole && program.instructions[program.outputs[0]].type === 'float'
  if (promoted && numbers.some((x) => !isInt32(x)) && !FLOAT_RESULT.has(op)) {
    throw new DTypeError(
      `${op}: the number ${numbers.find((x) => !isInt32(x))} does not fit ${tensors[0].dtype}, and numbers never ` +
        `promote a tensor; convert it with to('float32') first`,
    )
  }
  return map(op, program, tensors, numbers)[0]
}

function isInt32(x: Operand): boolean {
  return typeof x === 'number' && (x | 0) === x
}

/** Ops whose result is float whatever the operands are. */
const FLOAT_RESULT = new Set(['div', 'pow'])

/** An op of one operand, elementwise. */
export type Unary = (x: Tensor) => Tensor
/** An op of two operands, elementwise, which are broadcast together. */
export type Binary = (a: Operand, b: Operand) => Tensor

const unary =
  (op: string, build: (x: Expr) => Expr): Unary =>
  (x) =>
    apply(op, build as (...args: Expr[]) => Expr, [x])
const binary =
  (op: string, build: (a: Expr, b: Expr) => Expr): Binary =>
  (a, b) =>
    apply(op, build as (...args: Expr[]) => Expr, [a, b])

/** a + b. */
export const add = binary('add', (a, b) => a.add(b))
/** a - b. */
export const sub = binary('sub', (a, b) => a.sub(b))
/** a b. */
export const mul = binary('mul', (a, b) => a.mul(b))
/** True division: integers give float32. */
export const div = binary('div', (a, b) => a.div(b))
/** a to the power b. float. */
export const pow = binary('pow', (a, b) => a.pow(b))
/** Remainder with the sign of the divisor, as torch.remainder. */
export const remainder = binary('remainder', (a, b) => a.mod(b))
/** Elementwise; NaN wins; where equal the gradient is shared. */
export const maximum = binary('maximum', (a, b) => a.max(b))
/** Elementwise; NaN wins; where equal the gradient is shared. */
export const minimum = binary('minimum', (a, b) => a.min(b))

/** a = b, bool; NaN equals nothing. */
export const eq = binary('eq', (a, b) => a.eq(b))
/** Not a = b, bool. */
export const ne = binary('ne', (a, b) => a.ne(b))
/** a < b, bool. */
export const lt = binary('lt', (a, b) => a.lt(b))
/** a <= b, bool. */
export const le = binary('le', (a, b) => a.le(b))
/** a > b, bool. */
export const gt = binary('gt', (a, b) => a.gt(b))
/** a >= b, bool. */
export const ge = binary('ge', (a, b) => a.ge(b))
/** Both are other than 0, bool. */
export const logicalAnd = binary('logicalAnd', (a, b) => a.and(b))
/** One or both are other than 0, bool. */
export const logicalOr = binary('logicalOr', (a, b) => a.or(b))
/** Exactly one is other than 0, bool. */
export const logicalXor = binary('logicalXor', (a, b) => a.asBool().ne(b.asBool()))
/** x is 0, bool. */
export const logicalNot = unary('logicalNot', (x) => x.not())

/** -x. */
export const neg = unary('neg', (x) => x.neg())
/** |x|; gradient 0 at 0. */
export const abs = unary('abs', (x) => x.abs())
/** -1, 0 or 1. */
export const sign = unary('sign', (x) => x.sign())
/** e to the power x. */
export const exp = unary('exp', (x) => x.exp())
/** exp(x) - 1, exact near 0. */
export const expm1 = unary('expm1', (x) => x.expm1())
/** Natural logarithm. */
export const log = unary('log', (x) => x.log())
/** log(1 + x), exact near 0. */
export const log1p = unary('log1p', (x) => x.log1p())
/** Square root; NaN below 0. */
export const sqrt = unary('sqrt', (x) => x.sqrt())
/** 1 / sqrt(x). */
export const rsqrt = unary('rsqrt', (x) => new Expr('const', 'float', [], 1).div(x.sqrt()))
/** x x. */
export const square = unary('square', (x) => x.mul(x))
/** 1 / x. */
export const reciprocal = unary('reciprocal', (x) => new Expr('const', 'float', [], 1).div(x))
/** Sine; x in radians. */
export const sin = unary('sin', (x) => x.sin())
/** Cosine; x in radians. */
export const cos = unary('cos', (x) => x.cos())
/** Hyperbolic tangent. */
export const tanh = unary('tanh', (x) => x.tanh())
/** 1 / (1 + exp(-x)). */
export const sigmoid = unary('sigmoid', (x) => x.sigmoid())
/** Error function. */
export const erf = unary('erf', (x) => x.erf())
/** The next integer below. */
export const floor = unary('floor', (x) => x.floor())
/** The next integer above. */
export const ceil = unary('ceil', (x) => x.ceil())
/** To nearest, halves to even, as torch.round. */
export const round = unary('round', (x) => x.round())
/** Whether x is NaN, bool. */
export const isnan = unary('isnan', (x) => x.isNaN())
/** Neither NaN nor infinite. */
export const isfinite = unary('isfinite', (x) => x.isFinite())

/** max(x, 0); gradient 0 at 0; NaN stays. */
export const relu = unary('relu', (x) => x.le(0).where(0, x))
/** x sigmoid(x), the swish of Ramachandran et al. 2017. */
export const silu = unary('silu', (x) => x.asFloat().mul(x.sigmoid()))
/** -|x|, smooth as softplus needs it: at 0 it is the branch x, so that all derivatives there are right. */
const minusAbs = (x: Expr): Expr => x.gt(0).where(x.neg(), x)
/** log(1 + exp(x)), in a form that overflows nowhere; x itself above 20, as in torch. */
export const softplus = unary('softplus', (n) => {
  const x = n.asFloat()
  return x.gt(20).where(x, x.gt(0).where(x, 0).add(minusAbs(x).exp().log1p()))
})
/** log(sigmoid(x)). */
export const logSigmoid = unary('logSigmoid', (n) => {
  const x = n.asFloat()
  return x.gt(0).where(0, x).sub(minusAbs(x).exp().log1p())
})

const geluExact = unary('gelu', (x) => x.asFloat().mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1)))
const geluTanh = unary('geluTanh', (x) =>
  x
    .asFloat()
    .mul(0.5)
    .mul(
      x
        .mul(x)
        .mul(x)
        .mul(0.044715)
        .add(x)
        .mul(Math.sqrt(2 / Math.PI))
        .tanh()
        .add(1),
    ),
)

/**
 * Gaussian error linear unit (Hendrycks and Gimpel 2016), x Phi(x).
 * `approximate`: 'none' (erf, default) or 'tanh' (0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))).
 */
export function gelu(x: Tensor, { approximate = 'none' }: { approximate?: 'none' | 'tanh' } = {}): Tensor {
  return approximate === 'tanh' ? geluTanh(x) : geluExact(x)
}

/** `condition ? a : b`, elementwise and broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const chosen = condition.dtype === 'bool' ? condition : ne(condition, 0)
  const model = a instanceof Tensor ? a : b instanceof Tensor ? b : null
  // The condition takes no part in the choice of a number's type; two numbers give float32.
  const type = model ? scalarType(model.dtype) : 'float'
  for (const x of [a, b]) {
    if (typeof x === 'number' && type !== 'float' && !isInt32(x)) {
      throw new DTypeError(
        `where: the number ${x} does not fit ${model?.dtype}; convert the tensor with to('float32') first`,
      )
    }
  }
  const operands = [chosen, a, b]
  const kinds = operands.map((x) =>
    x instanceof Tensor ? { tensor: true, type: scalarType(x.dtype) } : { tensor: false, type },
  )
  const program = specialize('where', (c, x, y) => c.where(x, y), kinds)
  const tensors = operands.filter((x): x is Tensor => x instanceof Tensor)
  return map(
    'where',
    program,
    tensors,
    operands.filter((x): x is number => typeof x === 'number'),
  )[0]
}

/** `x` with `value` where `mask` (bool, broadcast to x) is true. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  return where(mask, value, x)
}

/** Limits values to [min, max]; either may be left out. The gradient is 1 on the bounds, as in torch. */
export function clamp(x: Tensor, { min, max }: { min?: number; max?: number }): Tensor {
  if (min === undefined && max === undefined) throw new ArgumentError('clamp: give min, max or both')
  const low = (v: Expr, bound: Expr): Expr => v.lt(bound).where(bound, v)
  const high = (v: Expr, bound: Expr): Expr => v.gt(bound).where(bound, v)
  if (max === undefined) return apply('clampMin', low as (...args: Expr[]) => Expr, [x, min as number])
  if (min === undefined) return apply('clampMax', high as (...args: Expr[]) => Expr, [x, max])
  return apply('clamp', (v, a, b) => high(low(v, a), b), [x, min, max])
}

/** A kernel touches at most 8 tensors, and backward reads a gradient and writes another beside the operands. */
const MAX_FUSED = 6

/**
 * Fuses an expression of up to six tensors into one kernel, forward and backward:
 * `const f = fuse((a, b) => a.mul(b).tanh()); f(x, y)`. Operands broadcast; integer operands are converted.
 */
export function fuse(build: (...args: Expr[]) => Expr): (...inputs: Tensor[]) => Tensor {
  const programs = new Map<string, Program>()
  return (...inputs) => {
    if (inputs.length > MAX_FUSED) {
      throw new ArgumentError(
        `fuse: got ${inputs.length} tensors; one kernel takes at most ${MAX_FUSED}, fuse in parts`,
      )
    }
    if (inputs.length === 0) throw new ArgumentError('fuse: call the fused function with at least one tensor')
    const types = inputs.map((t) => scalarType(t.dtype))
    const key = types.join(',')
    let program = programs.get(key)
    if (!program) {
      program = new Program([build(...types.map((type, i) => input(i, type)))], inputs.length)
      programs.set(key, program)
    }
    return map(build.name || 'fused', program, inputs)[0]
  }
}
