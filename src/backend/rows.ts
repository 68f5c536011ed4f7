// Row kernels: a few reductions over the last axes and then values per element or per row, as one plan. Softmax, layer
// normalization and cross-entropy are such plans, forward and backward.
//
// The definition, here, is a sequence of `reduce` and `elementwise`; a device may run a whole plan as one kernel, and
// says so by returning true from its own `rows`.

import { count } from './collapse'
import { type Expr, input, type ScalarType } from './expr'
import { Program } from './program'
import type { Backend, DeviceBuffer, DType, ReduceKind, View } from './types'

/** What a plan computes from its reductions: values for every element, and values for every row. */
export interface RowValues {
  readonly elements?: readonly Expr[]
  readonly rows?: readonly Expr[]
}

/**
 * Describes a row kernel. `define` gets the operands, a function that reduces an expression over the row, and the position
 * within the row (an int). An expression for rows sees the operands at the row's first element.
 */
export class RowPlan {
  /** Equal keys mean equal plans. */
  readonly key: string
  /** Inputs of the programs: the operands, the position, then the reductions before. */
  readonly reductions: readonly { readonly kind: ReduceKind; readonly program: Program }[]
  readonly elements: Program | null
  readonly rows: Program | null
  readonly usesPosition: boolean
  /** Of each scalar; those never used count as floats. */
  readonly scalarTypes: readonly ScalarType[]

  constructor(
    readonly operands: readonly ScalarType[],
    define: (
      operands: readonly Expr[],
      reduce: (kind: ReduceKind, value: Expr) => Expr,
      position: Expr,
    ) => RowValues,
    scalarCount = 0,
  ) {
    const found: { kind: ReduceKind; value: Expr }[] = []
    const leaves = operands.map((type, i) => input(i, type))
    const reduce = (kind: ReduceKind, value: Expr): Expr => {
      found.push({ kind, value })
      return input(operands.length + found.length, value.type)
    }
    const { elements = [], rows = [] } = define(leaves, reduce, input(operands.length, 'int'))
    const program = (values: readonly Expr[]): Program =>
      new Program(values, operands.length + 1 + found.length, scalarCount)
    this.reductions = found.map(({ kind, value }) => ({ kind, program: program([value]) }))
    this.elements = elements.length > 0 ? program(elements) : null
    this.rows = rows.length > 0 ? program(rows) : null
    this.usesPosition = this.programs.some((p) => p.usedInputs.includes(operands.length))
    const used = this.programs.flatMap((p) => p.instructions.filter((s) => s.kind === 'scalar'))
    this.scalarTypes = Array.from(
      { length: scalarCount },
      (_, i) => used.find((s) => s.value === i)?.type ?? 'float',
    )
    this.key = [
      operands.join(),
      ...this.reductions.map(({ kind, program: p }) => `${kind} ${p.key}`),
      this.elements?.key ?? '',
      this.rows?.key ?? '',
    ].join('|')
  }

  get programs(): Program[] {
    return [...this.reductions.map((r) => r.program), this.elements, this.rows].filter((p) => p !== null)
  }
}

/** Operands and results of one call. */
export interface RowCall {
  /** All of one shape, [...outer, ...inner]; the inner axes make a row. */
  readonly inputs: readonly View[]
  /** How many axes are outer. */
  readonly outer: number
  readonly scalars: readonly number[]
  /** Of the shape of the inputs, and of the outer axes. */
  readonly elements: readonly View[]
  readonly rows: readonly View[]
}

/** Runs a plan. No result may overlap an input, except that one of `elements` may be the very window of one. */
export function rowwise(backend: Backend, plan: RowPlan, call: RowCall): void {
  const { inputs, outer, scalars } = call
  const { shape } = inputs[0]
  if (count(shape) === 0 && call.rows.length === 0) return
  if (count(shape) > 0 && backend.rows?.(plan, call)) return
  const outerShape = shape.slice(0, outer)
  const innerShape = shape.slice(outer)
  const float = inputs.find((v) => v.dtype === 'float64')?.dtype ?? 'float32'
  const buffers: DeviceBuffer[] = []
  const make = (dtype: DType, length: number): DeviceBuffer => {
    const buffer = backend.allocate(dtype, length)
    buffers.push(buffer)
    return buffer
  }
  try {
    const wide: View[] = [...inputs, inputs[0]]
    if (plan.usesPosition) {
      const length = count(innerShape)
      const buffer = make('int32', length)
      backend.write(
        buffer,
        'int32',
        Int32Array.from({ length }, (_, i) => i),
        0,
      )
      const strides = [...outerShape.map(() => 0), ...steps(innerShape)]
      wide[inputs.length] = { buffer, dtype: 'int32', offset: 0, shape, strides }
    }
    const values: View[] = []
    for (const { kind, program } of plan.reductions) {
      const { type } = program.instructions[program.outputs[0]]
      const dtype = type === 'float' ? float : type === 'int' ? 'int32' : 'bool'
      const buffer = make(dtype, count(outerShape))
      const value = { buffer, dtype, offset: 0, shape: outerShape, strides: steps(outerShape) }
      if (count(outerShape) > 0) backend.reduce(kind, program, wide, scalars, value)
      values.push(value)
      wide.push({ ...value, shape, strides: [...value.strides, ...innerShape.map(() => 0)] })
    }
    if (plan.elements && count(shape) > 0) backend.elementwise(plan.elements, wide, scalars, call.elements)
    if (plan.rows && count(outerShape) > 0) {
      const first = wide.map((v) => ({ ...v, shape: outerShape, strides: v.strides.slice(0, outer) }))
      backend.elementwise(plan.rows, first, scalars, call.rows)
    }
  } finally {
    for (const buffer of buffers) backend.free(buffer)
  }
}

function steps(shape: readonly number[]): number[] {
  return shape.map((_, i) => count(shape.slice(i + 1)))
}
