// Expression programs as WGSL statements: one `let` per instruction.

import { EvenfoldError } from '../../errors'
import type { ScalarType } from '../expr'
import type { Instruction, Program } from '../program'
import type { DType } from '../types'

/** WGSL types of values inside an expression. */
export const WGSL_TYPE: Record<ScalarType, string> = { float: 'f32', int: 'i32', bool: 'bool' }

/** How an expression sees the elements of a dtype. */
export function scalarTypeOf(dtype: DType): ScalarType {
  return dtype === 'bool' ? 'bool' : dtype === 'int32' ? 'int' : 'float'
}

/** A value converted between scalar types; see `cast` in expr.ts. */
export function convert(code: string, from: ScalarType, to: ScalarType): string {
  if (from === to) return code
  switch (to) {
    case 'float':
      return from === 'bool' ? `select(0.0, 1.0, ${code})` : `f32(${code})`
    case 'int':
      return from === 'bool' ? `select(0i, 1i, ${code})` : `ef_to_int(${code})`
    case 'bool':
      // By bits, so that NaN counts as true whatever the compiler assumes.
      return from === 'int' ? `(${code} != 0i)` : `((bitcast<u32>(${code}) & 0x7fffffffu) != 0u)`
    default:
      return to satisfies never
  }
}

/** An element of an array as the program's type. */
export function load(array: string, at: string, dtype: DType, type: ScalarType): string {
  const element = `${array}[${at}]`
  return convert(dtype === 'bool' ? `(${element} != 0u)` : element, scalarTypeOf(dtype), type)
}

/** A statement that stores a value of a scalar type as an element of a dtype. */
export function store(array: string, at: string, dtype: DType, code: string, type: ScalarType): string {
  const value = convert(code, type, scalarTypeOf(dtype))
  return `${array}[${at}] = ${dtype === 'bool' ? `select(0u, 1u, ${value})` : value};`
}

/**
 * Statements that define `v0`, `v1`, … for the instructions of a program. `inputCode` gives the value of input i as a scalar
 * type; scalars are the words from `firstScalar` on.
 */
export function programCode(
  program: Program,
  inputCode: (index: number, type: ScalarType) => string,
  scalarWord: (index: number) => string,
  indent = '  ',
): string {
  return program.instructions
    .map((instruction, i) => {
      const { kind, type, value } = instruction
      const code =
        kind === 'input'
          ? inputCode(value, type)
          : kind === 'scalar'
            ? scalarCode(scalarWord(value), type)
            : kind === 'const'
              ? constantCode(value, type)
              : operation(instruction, program.instructions)
      return `${indent}let v${i}: ${WGSL_TYPE[type]} = ${code};`
    })
    .join('\n')
}

function scalarCode(word: string, type: ScalarType): string {
  return type === 'bool' ? `(${word} != 0u)` : `bitcast<${WGSL_TYPE[type]}>(${word})`
}

function constantCode(value: number, type: ScalarType): string {
  if (type === 'bool') return value !== 0 ? 'true' : 'false'
  if (type === 'int') return `i32(${value | 0})`
  const single = Math.fround(value)
  // A literal zero would let the driver fold NaN * 0 to 0; as data it keeps its meaning.
  if (Number.isFinite(single) && single !== 0) return `${single}f`
  const bits = new Uint32Array(Float32Array.of(single).buffer)[0]
  return `ef_bits(${bits}u)`
}

function operation({ kind, type, args }: Instruction, steps: readonly Instruction[]): string {
  const [a, b, c] = args.map((i) => `v${i}`)
  const of = steps[args[0]].type
  const float = of === 'float'
  switch (kind) {
    case 'neg':
      return `-${a}`
    case 'abs':
    case 'floor':
    case 'ceil':
    case 'round':
      return `${kind}(${a})`
    case 'sign':
      return float ? `ef_sign(${a})` : `sign(${a})`
    case 'exp':
    case 'log':
    case 'log1p':
    case 'expm1':
    case 'sqrt':
    case 'sin':
    case 'cos':
    case 'tanh':
    case 'sigmoid':
    case 'erf':
      return `ef_${kind}(${a})`
    case 'single':
      return a
    case 'isNaN':
      return `ef_is_nan(${a})`
    case 'not':
      return `!${a}`
    case 'add':
      return `${a} + ${b}`
    case 'sub':
      return `${a} - ${b}`
    case 'mul':
      return `${a} * ${b}`
    case 'div':
      return `${a} / ${b}`
    case 'pow':
      return power(a, b, steps[args[1]])
    case 'mod':
      return float ? `ef_mod(${a}, ${b})` : `ef_mod_int(${a}, ${b})`
    case 'max':
    case 'min':
      return float ? `ef_${kind}(${a}, ${b})` : `${kind}(${a}, ${b})`
    case 'eq':
    case 'lt':
    case 'le':
      return comparison(kind, a, b, of)
    case 'and':
      return `${a} && ${b}`
    case 'or':
      return `${a} || ${b}`
    case 'where':
      return `select(${c}, ${b}, ${a})`
    case 'cast':
      return convert(a, of, type)
    case 'input':
    case 'scalar':
    case 'const':
      throw new EvenfoldError(`${kind} is no operation`)
    default:
      return kind satisfies never
  }
}

/** The exponents that derivatives and norms are made of need no general power. */
function power(a: string, b: string, exponent: Instruction): string {
  if (exponent.kind === 'const') {
    if (exponent.value === 1) return a
    if (exponent.value === 2) return `${a} * ${a}`
    if (exponent.value === 3) return `${a} * ${a} * ${a}`
    if (exponent.value === -1) return `1.0 / ${a}`
  }
  return `ef_pow(${a}, ${b})`
}

function comparison(kind: 'eq' | 'lt' | 'le', a: string, b: string, type: ScalarType): string {
  if (type === 'float') return `ef_${kind}(${a}, ${b})`
  if (kind === 'eq') return `${a} == ${b}`
  const [x, y] = type === 'bool' ? [`u32(${a})`, `u32(${b})`] : [a, b]
  return `${x} ${kind === 'lt' ? '<' : '<='} ${y}`
}
