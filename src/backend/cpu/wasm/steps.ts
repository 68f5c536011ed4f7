// Expression programs as WASM code: each step of a program becomes a vector of four values in a local variable.
//
// Floats are float32, ints int32, and truth values masks: all bits of a lane 1 or 0. A step belongs to a level: it is
// computed once a call (constants and scalars), once a row (operands that have one value per row), or for each element.
// What is missing here (sin, cos, remainders, general powers, float to int) is left to the interpreter.

import type { ScalarType } from '../../expr'
import type { Instruction, Program } from '../../program'
import { BYTES_PER_ELEMENT, type DType } from '../../types'
import { f32, f32x4, i32, i32x4, type Statement, v128, type V128 } from './code'
import type { Body, Local } from './emitter'
import { erf, exp, expm1, log, log1p, max, min, sigmoid, sign, tanh } from './functions'

/** Elements that a load or store takes: a vector, or one at the end of a row (in all lanes). */
export type Width = 4 | 1
export type Level = 'call' | 'row' | 'element'

/** The dtype that carries each scalar type. */
export const CARRIER = { float: 'float32', int: 'int32', bool: 'bool' } as const satisfies Record<
  ScalarType,
  DType
>

type Vector = Local<'v128'>

/** Steps per element that cost no more than a turn of a loop. */
const CHEAP = 8

/** Where a value comes from that no step computes: an input or a scalar. */
export interface Source {
  readonly level: Level
  /** With `ahead`, so many vectors after the current one. */
  read(width: Width, ahead: number): V128
}

/** The steps of a program, written level by level into the body of a function. */
export class Steps {
  readonly #f: Body
  readonly #program: Program
  readonly #sources: readonly (Source | null)[]
  readonly #levels: readonly Level[]
  readonly #values: Vector[] = []

  /** `source` gives what a step of kind 'input' or 'scalar' reads. */
  constructor(f: Body, program: Program, source: (step: Instruction) => Source) {
    this.#f = f
    this.#program = program
    this.#sources = program.instructions.map((step) =>
      step.kind === 'input' || step.kind === 'scalar' ? source(step) : null,
    )
    const levels: Level[] = []
    program.instructions.forEach(({ args }, i) => {
      const own = args.map((a) => levels[a])
      const computed = own.includes('element') ? 'element' : own.includes('row') ? 'row' : 'call'
      levels.push(this.#sources[i]?.level ?? computed)
      this.#values.push(f.local('v128'))
    })
    this.#levels = levels
  }

  /** Vectors that a loop takes in one turn: several where there is so little to do that the turn itself would cost. */
  get vectorsPerTurn(): number {
    const steps = this.#program.instructions.filter((_, i) => this.#levels[i] === 'element')
    return steps.length <= CHEAP && !steps.some(isDear) ? 4 : 1
  }

  /** Computes the steps of a level. */
  write(level: Level, width: Width = 4, ahead = 0): void {
    this.#program.instructions.forEach((step, i) => {
      if (this.#levels[i] !== level) return
      this.#f.set(this.#values[i], this.#sources[i]?.read(width, ahead) ?? this.#code(step))
    })
  }

  /** The value of output k. */
  output(k: number): Vector {
    return this.#values[this.#program.outputs[k]]
  }

  #code(step: Instruction): V128 {
    const args = step.args.map((a) => this.#values[a])
    const from = step.args.length > 0 ? this.#program.instructions[step.args[0]].type : step.type
    if (step.kind === 'cast') return cast(args[0], from, step.type)
    if (step.kind === 'pow') return power(args[0], this.#program.instructions[step.args[1]].value)
    if (step.kind === 'const') return constant(step)
    const code = (from === 'int' ? INT[step.kind] : undefined) ?? GENERAL[step.kind]
    return (code as Code)(this.#f, args)
  }
}

type Code = (f: Body, args: readonly Vector[]) => V128
const unary =
  (write: (x: V128) => V128): Code =>
  (_, [x]) =>
    write(x)
const binary =
  (write: (a: V128, b: V128) => V128): Code =>
  (_, [a, b]) =>
    write(a, b)
const call =
  (write: (f: Body, x: Vector) => V128): Code =>
  (f, [x]) =>
    write(f, x)

const GENERAL: Partial<Record<Instruction['kind'], Code>> = {
  neg: unary(f32x4.neg),
  abs: unary(f32x4.abs),
  sign: call((_, x) => sign(x)),
  exp: call(exp),
  log: call(log),
  log1p: call(log1p),
  expm1: call(expm1),
  sqrt: unary(f32x4.sqrt),
  tanh: call(tanh),
  sigmoid: call(sigmoid),
  erf: call(erf),
  floor: unary(f32x4.floor),
  ceil: unary(f32x4.ceil),
  round: unary(f32x4.nearest),
  single: unary((x) => x),
  isNaN: unary((x) => f32x4.ne(x, x)),
  not: unary(v128.not),
  add: binary(f32x4.add),
  sub: binary(f32x4.sub),
  mul: binary(f32x4.mul),
  div: binary(f32x4.div),
  max: (_, [a, b]) => max(a, b),
  min: (_, [a, b]) => min(a, b),
  eq: binary(f32x4.eq),
  lt: binary(f32x4.lt),
  le: binary(f32x4.le),
  and: binary(v128.and),
  or: binary(v128.or),
  where: (_, [condition, a, b]) => v128.select(a, b, condition),
}

const INT: Partial<Record<Instruction['kind'], Code>> = {
  neg: unary(i32x4.neg),
  abs: unary(i32x4.abs),
  add: binary(i32x4.add),
  sub: binary(i32x4.sub),
  mul: binary(i32x4.mul),
  max: binary(i32x4.max),
  min: binary(i32x4.min),
  eq: binary(i32x4.eq),
  lt: binary(i32x4.lt),
  le: binary(i32x4.le),
}

/** Whether every step of a program can be written. */
export function isWritable({ instructions }: Program): boolean {
  return instructions.every(({ kind, type, args, value }) => {
    if (kind === 'input' || kind === 'scalar' || kind === 'const') return true
    const from = instructions[args[0]].type
    if (kind === 'cast') return type !== 'int' || from !== 'float'
    if (kind === 'pow') {
      const exponent = instructions[args[1]]
      return exponent.kind === 'const' && EXPONENTS.has(exponent.value) && value === 0
    }
    if (from === 'int') return kind in INT
    // Masks are compared and chosen from only by logic.
    if (from === 'bool') return kind === 'and' || kind === 'or' || kind === 'not' || kind === 'where'
    return kind in GENERAL
  })
}

const EXPONENTS = new Set([-1, 1, 2])

function power(x: Vector, exponent: number): V128 {
  return exponent === 2 ? f32x4.mul(x, x) : exponent === 1 ? x : f32x4.div(f32x4.const(1), x)
}

function constant({ type, value }: Instruction): V128 {
  if (type === 'float') return f32x4.const(value)
  return i32x4.const(type === 'int' ? value : value === 0 ? 0 : -1)
}

function cast(x: Vector, from: ScalarType, to: ScalarType): V128 {
  if (to === 'bool') return from === 'float' ? f32x4.ne(x, f32x4.const(0)) : i32x4.ne(x, i32x4.const(0))
  if (from === 'bool') return v128.and(x, to === 'float' ? f32x4.const(1) : i32x4.const(1))
  return from === 'int' && to === 'float' ? i32x4.toFloat(x) : x
}

/** Reads elements of a dtype, or spreads a single one over all lanes; with `ahead`, so many vectors further on. */
export function load(dtype: DType, at: Local<'i32'>, width: Width, ahead = 0): V128 {
  const offset = 4 * ahead * BYTES_PER_ELEMENT[dtype]
  if (dtype !== 'bool') return width === 4 ? v128.load(at, offset) : v128.load32Splat(at, offset)
  const bytes =
    width === 4 ? v128.widenBytes(v128.load32Zero(at, offset)) : i32x4.splat(i32.load8U(at, offset))
  return i32x4.ne(bytes, i32x4.const(0))
}

/** Writes four elements, or the first; with `ahead`, so many vectors further on. */
export function store(
  f: Body,
  dtype: DType,
  at: Local<'i32'>,
  value: V128,
  width: Width,
  ahead = 0,
): Statement {
  const offset = 4 * ahead * BYTES_PER_ELEMENT[dtype]
  if (dtype !== 'bool') {
    return width === 4 ? v128.store(at, value, offset) : f32.store(at, f32x4.lane(value, 0), offset)
  }
  const bits = f.local('v128', v128.and(value, i32x4.const(1)))
  if (width === 1) return i32.store8(at, i32x4.lane(bits, 0), offset)
  const halves = f.local('v128', v128.narrowToHalves(bits))
  return i32.store(at, i32x4.lane(v128.narrowToBytes(halves), 0), offset)
}

/** Kinds that take many instructions: dearer than a store and a load that save them, or than a turn of a loop. */
const DEAR = new Set(['exp', 'expm1', 'log', 'log1p', 'tanh', 'sigmoid', 'erf'])

export function isDear({ kind }: { readonly kind: string }): boolean {
  return DEAR.has(kind)
}
