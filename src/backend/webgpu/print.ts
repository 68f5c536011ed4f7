// Programs as WGSL: one `let` per instruction.

import type { ScalarType } from '../expr'
import type { Instruction, Program } from '../program'
import type { DType, View } from '../types'
import type { GpuBuffer } from './pool'

/** WGSL type of an element in a storage buffer. */
export function storageType(dtype: DType): string {
  return dtype === 'int32' ? 'i32' : dtype === 'bool' ? 'u32' : 'f32'
}

export function valueType(type: ScalarType): string {
  return type === 'int' ? 'i32' : type === 'bool' ? 'bool' : 'f32'
}

/** A loaded element as a value, and back. */
export function fromStorage(dtype: DType, expression: string): string {
  return dtype === 'bool' ? `(${expression} != 0u)` : expression
}

export function toStorage(dtype: DType, expression: string): string {
  return dtype === 'bool' ? `select(0u, 1u, ${expression})` : expression
}

const WORDS = new Int32Array(1)
const FLOATS = new Float32Array(WORDS.buffer)

/** The bits of a float32, for uniform words. */
export function floatBits(x: number): number {
  FLOATS[0] = x
  return WORDS[0]
}

function literal(value: number, type: ScalarType): string {
  if (type === 'bool') return value !== 0 ? 'true' : 'false'
  if (type === 'int') return `i32(${value | 0})`
  if (Number.isNaN(value)) return 'nan()'
  if (!Number.isFinite(Math.fround(value))) return value > 0 ? 'inf()' : '(-inf())'
  return `bitcast<f32>(0x${(floatBits(value) >>> 0).toString(16).padStart(8, '0')}u)`
}

/** Reads word `i` of the uniform slot. */
export function wordAt(i: number): string {
  return `u[${i >> 2}][${i & 3}]`
}

/**
 * Lines that compute a program's values v0, v1, …; `load(i)` is the expression of input i, and scalars stand from
 * uniform word `scalarsAt` on.
 */
export function printProgram(program: Program, load: (index: number) => string, scalarsAt: number): string {
  return program.instructions
    .map((step, i) => `  let v${i}: ${valueType(step.type)} = ${printStep(step, program, load, scalarsAt)};`)
    .join('\n')
}

function printStep(step: Instruction, program: Program, load: (index: number) => string, scalarsAt: number): string {
  const [a, b, c] = step.args.map((i) => `v${i}`)
  const argType = step.args.length > 0 ? program.instructions[step.args[0]].type : step.type
  const float = argType === 'float'
  switch (step.kind) {
    case 'input': return load(step.value)
    case 'scalar': {
      const word = wordAt(scalarsAt + step.value)
      return step.type === 'float' ? `bitcast<f32>(${word})` : step.type === 'int' ? word : `(${word} != 0)`
    }
    case 'const': return literal(step.value, step.type)
    case 'neg': return `-${a}`
    case 'abs': return `abs(${a})`
    case 'sign': return float ? `sign_(${a})` : `sign(${a})`
    case 'exp': return `exp_(${a})`
    case 'log': return `log_(${a})`
    case 'log1p': return `log1p_(${a})`
    case 'expm1': return `expm1_(${a})`
    case 'sqrt': return `sqrt_(${a})`
    case 'sin': return `sin(${a})`
    case 'cos': return `cos(${a})`
    case 'tanh': return `tanh_(${a})`
    case 'sigmoid': return `sigmoid_(${a})`
    case 'erf': return `erf_(${a})`
    case 'floor': return `floor(${a})`
    case 'ceil': return `ceil(${a})`
    case 'round': return `round(${a})`
    case 'isNaN': return `is_nan(${a})`
    case 'not': return `!${a}`
    case 'add': return `${a} + ${b}`
    case 'sub': return `${a} - ${b}`
    case 'mul': return `${a} * ${b}`
    case 'div': return `${a} / ${b}`
    case 'pow': return `pow_(${a}, ${b})`
    case 'mod': return float ? `mod_(${a}, ${b})` : `imod_(${a}, ${b})`
    case 'max': return float ? `max_(${a}, ${b})` : `max(${a}, ${b})`
    case 'min': return float ? `min_(${a}, ${b})` : `min(${a}, ${b})`
    case 'eq': return `${a} == ${b}`
    case 'lt': return argType === 'bool' ? `(!${a} && ${b})` : `${a} < ${b}`
    case 'le': return argType === 'bool' ? `(!${a} || ${b})` : `${a} <= ${b}`
    case 'and': return `(${a} && ${b})`
    case 'or': return `(${a} || ${b})`
    case 'where': return `select(${c}, ${b}, ${a})`
    case 'cast': return printCast(a, argType, step.type)
    default: return step.kind satisfies never
  }
}

function printCast(a: string, from: ScalarType, to: ScalarType): string {
  if (to === 'bool') return from === 'float' ? `(${a} != 0.0)` : `(${a} != 0)`
  if (to === 'float') return from === 'bool' ? `select(0.0, 1.0, ${a})` : `f32(${a})`
  return from === 'bool' ? `select(0, 1, ${a})` : `to_int(${a})`
}

/** The storage bindings of a call: views that share a buffer share a binding, writable if any of them is an output. */
export interface BindingPlan {
  readonly buffers: readonly { readonly buffer: GpuBuffer; readonly writable: boolean }[]
  /** For each view, inputs first, its binding. */
  readonly slots: readonly number[]
  /** `r` and `w` per binding. */
  readonly pattern: string
  /** Declarations of the bindings, named b0, b1, …. */
  readonly declarations: string
}

/** WebGPU checks aliasing per buffer, not per range: a buffer that is read and written is bound once, read_write. */
export function planBindings(inputs: readonly View[], outputs: readonly View[]): BindingPlan {
  const order: GpuBuffer[] = []
  const writable: boolean[] = []
  const dtypes: DType[] = []
  const slots = [...inputs, ...outputs].map((view, i) => {
    const buffer = view.buffer as GpuBuffer
    let at = order.indexOf(buffer)
    if (at < 0) {
      at = order.push(buffer) - 1
      writable.push(false)
      dtypes.push(view.dtype)
    }
    if (i >= inputs.length) writable[at] = true
    return at
  })
  const declarations = order
    .map(
      (_, i) =>
        `@group(0) @binding(${i + 1}) var<storage, ${writable[i] ? 'read_write' : 'read'}> b${i}: array<${storageType(dtypes[i])}>;`,
    )
    .join('\n')
  return {
    buffers: order.map((buffer, i) => ({ buffer, writable: writable[i] })),
    slots,
    pattern: writable.map((w) => (w ? 'w' : 'r')).join(''),
    declarations,
  }
}
