// Expression programs on WASM kernels: which calls they serve.
//
// A kernel belongs to a program (or plan), to the loops around it and to which operands move along a row; sizes, strides,
// addresses and scalars are data. What lies otherwise, and what is so small that making a kernel would not pay, is
// left to the TypeScript kernels. The choice depends on program, shapes and strides alone.

import { type Collapsed, collapse, count } from '../../collapse'
import type { ScalarType } from '../../expr'
import type { Program } from '../../program'
import type { RowCall, RowPlan } from '../../rows'
import type { DType, ReduceKind, View } from '../../types'
import { type Folding, foldingOf } from './kernel'
import { hasRoom, launch, type Recipe, type Scalar, type Walk } from './launch'
import { acrossLoops, alongLoops, elementwiseLoops } from './loops'
import { planLoops, type Writable, writableOf } from './plans'
import { CARRIER, isDear, isWritable } from './steps'

/** Elements below which the TypeScript kernels serve. */
const SMALLEST = 512

/** See `Backend.elementwise`. False, with nothing done, where the interpreter has to serve. */
export function wasmElementwise(
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  outputs: readonly View[],
): boolean {
  const { shape } = outputs[0]
  const needs = needsOf(program)
  const used = program.usedInputs.map((i) => inputs[i])
  if (count(shape) < SMALLEST || !needs.writable) return false
  if (!carries(needs.inputs, used) || !carries(needs.outputs, outputs)) return false
  const views = [...used, ...outputs]
  const axes = collapse(
    shape,
    views.map((v) => v.strides),
  )
  const last = axes.shape.length - 1
  const along = axes.strides.map((s) => s[last])
  if (!moveByOne(along) || along.slice(used.length).includes(0)) return false
  const recipe: Recipe = {
    owner: program,
    key: program.key,
    name: 'elementwise',
    cuts: 'all',
    ns: needs.ns,
    write: (f, block, operands) => elementwiseLoops(f, block, program, operands),
  }
  const outer = { shape: axes.shape.slice(0, last), strides: axes.strides }
  return launch(recipe, views, needs.scalars(scalars), rowsOf(outer, axes.shape[last], along))
}

/** See `Backend.reduce`. False, with nothing done, where the TypeScript kernels have to serve. */
export function wasmReduce(
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
): boolean {
  const needs = needsOf(program)
  const used = program.usedInputs.map((i) => inputs[i])
  if (used.length === 0 || !needs.writable) return false
  const { shape } = used[0]
  if (count(shape) < SMALLEST || !carries([...needs.inputs, ...needs.outputs], [...used, output]))
    return false
  const folding = foldingOf(kind, program)
  if (!folding) return false
  const rank = output.shape.length
  const reduced = collapse(
    shape.slice(rank),
    used.map((v) => v.strides.slice(rank)),
  )
  if (reduced.shape.length === 0) {
    // Reducing an axis of size 1 leaves the values.
    const kept = inputs.map((v) => ({ ...v, shape: output.shape, strides: v.strides.slice(0, rank) }))
    return wasmElementwise(program, kept, scalars, [output])
  }
  if (reduced.shape.length > 1) return false
  const views = [...used, output]
  const kept = collapse(
    output.shape,
    views.map((v) => v.strides.slice(0, rank)),
  )
  const [size] = reduced.shape
  const numbers = needs.scalars(scalars)
  const inner = [...reduced.strides.map((s) => s[0]), 0]
  if (moveByOne(inner)) {
    return launch(reduction('along', folding, program), views, numbers, rowsOf(kept, size, inner))
  }
  const last = kept.shape.length - 1
  const along = kept.strides.map((s) => s[last])
  if (last < 0 || !moveByOne(along) || along[used.length] === 0) return false
  return launch(reduction('across', folding, program), views, numbers, {
    columns: kept.shape[last],
    rows: size,
    along,
    steps: inner,
    outer: kept.shape.slice(0, last),
    strides: kept.strides,
  })
}

/** See `Backend.rows`: a plan as one kernel. */
export function wasmRows(plan: RowPlan, { inputs, outer, scalars, elements, rows }: RowCall): boolean {
  const { shape } = inputs[0]
  const writable = writablePlan(plan)
  const views = [...inputs, ...elements, ...rows]
  if (count(shape) < SMALLEST || !writable) return false
  if (!hasRoom(views.length, plan.scalarTypes.length)) return false
  const results = [plan.elements, plan.rows].map((p) => (p ? needsOf(p).outputs : []))
  if (
    !carries(
      plan.operands.map((type) => CARRIER[type]),
      inputs,
    )
  )
    return false
  if (!carries(results[0], elements) || !carries(results[1], rows)) return false
  // The value of a row has no place along it.
  const none = shape.slice(outer).map(() => 0)
  const inner = collapse(
    shape.slice(outer),
    views.map((v, i) => (i < views.length - rows.length ? v.strides.slice(outer) : none)),
  )
  if (inner.shape.length !== 1) return false
  const along = inner.strides.map((s) => s[0])
  if (!moveByOne(along) || along.slice(inputs.length, inputs.length + elements.length).includes(0))
    return false
  const around = collapse(
    shape.slice(0, outer),
    views.map((v) => v.strides.slice(0, outer)),
  )
  const recipe: Recipe = {
    owner: plan,
    key: plan.key,
    name: 'plan',
    cuts: 'rows',
    ns: plan.programs.reduce((sum, p) => sum + needsOf(p).ns, 0),
    write: (f, block, operands) => planLoops(f, block, writable, operands),
  }
  const numbers = plan.scalarTypes.map((type, index) => ({ index, type, value: scalars[index] }))
  return launch(recipe, views, numbers, rowsOf(around, inner.shape[0], along))
}

const REDUCTIONS = { along: alongLoops, across: acrossLoops }

function reduction(way: keyof typeof REDUCTIONS, folding: Folding, program: Program): Recipe {
  return {
    owner: program,
    key: program.key,
    name: `${folding.kind} ${way}`,
    cuts: way === 'along' ? 'rows' : 'columns',
    ns: needsOf(program).ns,
    write: (f, block, operands) => REDUCTIONS[way](f, block, folding, program, operands),
  }
}

/** Rows of `columns` elements, one for each place of the axes around. */
function rowsOf({ shape, strides }: Collapsed, columns: number, along: readonly number[]): Walk {
  const last = shape.length - 1
  return {
    columns,
    rows: last >= 0 ? shape[last] : 1,
    along,
    steps: strides.map((s) => (last >= 0 ? s[last] : 0)),
    outer: shape.slice(0, Math.max(0, last)),
    strides,
  }
}

function moveByOne(strides: readonly number[]): boolean {
  return strides.every((s) => s === 0 || s === 1)
}

function carries(dtypes: readonly DType[], views: readonly View[]): boolean {
  return views.every((v, i) => v.dtype === dtypes[i])
}

/** What a kernel of a program needs, whatever it is applied to. */
interface Needs {
  readonly writable: boolean
  /** Dtypes of the inputs it reads, and of the outputs. */
  readonly inputs: readonly DType[]
  readonly outputs: readonly DType[]
  readonly scalars: (values: readonly number[]) => Scalar[]
  /** About how long one element takes. */
  readonly ns: number
}

/** About how long a step takes for one element: most of them next to nothing beside reading and writing. */
const STEP_NS = 0.1
const DEAR_NS = 1

const known = new WeakMap<Program, Needs>()

function needsOf(program: Program): Needs {
  let needs = known.get(program)
  if (needs) return needs
  const { instructions, usedInputs, outputs, scalarCount } = program
  const typesOf = (kind: 'input' | 'scalar', i: number): ScalarType[] => [
    ...new Set(instructions.filter((s) => s.kind === kind && s.value === i).map((s) => s.type)),
  ]
  const inputs = usedInputs.map((i) => typesOf('input', i))
  const numbers = Array.from({ length: scalarCount }, (_, i) => typesOf('scalar', i))
  const plain = inputs.every((t) => t.length === 1) && numbers.every((t) => t.length < 2)
  needs = {
    writable: plain && hasRoom(usedInputs.length + outputs.length, scalarCount) && isWritable(program),
    inputs: inputs.map(([type]) => CARRIER[type]),
    outputs: outputs.map((i) => CARRIER[instructions[i].type]),
    scalars: (values) =>
      numbers.flatMap(([type], index) => (type ? [{ index, type, value: values[index] }] : [])),
    ns: instructions.reduce((sum, step) => sum + (isDear(step) ? DEAR_NS : STEP_NS), 0),
  }
  known.set(program, needs)
  return needs
}

const plans = new WeakMap<RowPlan, Writable | null>()

function writablePlan(plan: RowPlan): Writable | null {
  let writable = plans.get(plan)
  if (writable === undefined) {
    writable = plan.programs.every((p) => needsOf(p).writable) ? writableOf(plan) : null
    plans.set(plan, writable)
  }
  return writable
}
