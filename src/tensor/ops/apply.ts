// The two recorded primitives behind every expression: map (elementwise) and map-then-sum.
//
// Their derivatives need no rules of their own: the expression's adjoint is another expression, run by the same
// two primitives, so derivatives of any order come for free.

import { record } from '../../autograd/tape'
import { differentiate } from '../../backend/derivative'
import { Expr, input } from '../../backend/expr'
import { Program } from '../../backend/program'
import { type RowPlan, rowwise } from '../../backend/rows'
import type { DType, ReduceKind, View } from '../../backend/types'
import { DeviceError, DTypeError } from '../../errors'
import { inModule } from '../context'
import { broadcastShapes, broadcastStrides, reducedShape, sameShape, type Shape } from '../shape'
import { scalarType, Tensor } from '../tensor'

/** All operands must live on one device. */
export function sameDevice(op: string, inputs: readonly Tensor[]): Tensor['backend'] {
  const { backend } = inputs[0]
  for (const t of inputs) {
    if (t.backend !== backend) {
      throw new DeviceError(
        `${op}: operands are on ${[...new Set(inputs.map((x) => `'${x.device}'`))].join(' and ')}${inModule()}; move them to one device with to(device)`,
      )
    }
  }
  return backend
}

/** The dtype an expression of type float takes from its operands: float64 if any is, else float32. */
function floatOf(inputs: readonly Tensor[]): DType {
  return inputs.some((t) => t.dtype === 'float64') ? 'float64' : 'float32'
}

function outputDType(program: Program, k: number, inputs: readonly Tensor[]): DType {
  const { type } = program.instructions[program.outputs[k]]
  return type === 'int' ? 'int32' : type === 'bool' ? 'bool' : floatOf(inputs)
}

function expandedView(t: Tensor, shape: Shape): View {
  return { ...t.view(), shape, strides: broadcastStrides(t.shape, t.strides, shape) }
}

/**
 * Runs a program over broadcast tensors; one result per output, recorded. `dtypes` overrides the results' dtypes
 * (within the same scalar type).
 */
export function map(
  op: string,
  program: Program,
  inputs: readonly Tensor[],
  scalars: readonly number[] = [],
  dtypes?: readonly DType[],
): Tensor[] {
  const backend = sameDevice(op, inputs)
  const shape = broadcastShapes(op + inModule(), ...inputs.map((t) => t.shape))
  const views = inputs.map((t) => expandedView(t, shape))
  const outputs = program.outputs.map((_, k) =>
    Tensor.allocate(backend, dtypes?.[k] ?? outputDType(program, k, inputs), shape),
  )
  if (outputs[0].size > 0)
    backend.elementwise(
      program,
      views,
      scalars,
      outputs.map((t) => t.view()),
    )
  recordAdjoint(op, program, inputs, scalars, outputs, shape, (grads) => grads)
  return outputs
}

/** `sum over dims of program(inputs)`, fused and recorded. */
export function mapSum(
  op: string,
  program: Program,
  inputs: readonly Tensor[],
  scalars: readonly number[],
  dims: readonly number[],
  keepdim: boolean,
  dtype?: DType,
): Tensor {
  const shape = broadcastShapes(op + inModule(), ...inputs.map((t) => t.shape))
  const out = mapReduce('sum', op, program, inputs, scalars, dims, keepdim, dtype)
  const kept = reducedShape(shape, dims, true)
  recordAdjoint(op, program, inputs, scalars, [out], shape, ([g]) => {
    if (!g) return [null]
    const strides = broadcastStrides(kept, unreduced(g, dims, shape.length), shape)
    return [
      recordedWindow('expand', g, shape, strides, (gg) => mapSum('sum', IDENTITY, [gg], [], dims, keepdim)),
    ]
  })
  return out
}

/** Strides of a reduced tensor with the reduced axes put back (as any value: their size is 1). */
function unreduced(g: Tensor, dims: readonly number[], rank: number): number[] {
  if (g.ndim === rank) return [...g.strides]
  let next = 0
  return Array.from({ length: rank }, (_, i) => (dims.includes(i) ? 0 : g.strides[next++]))
}

/** Any reduction of a mapped value; not recorded. */
export function mapReduce(
  kind: ReduceKind,
  op: string,
  program: Program,
  inputs: readonly Tensor[],
  scalars: readonly number[],
  dims: readonly number[],
  keepdim: boolean,
  dtype?: DType,
): Tensor {
  const backend = sameDevice(op, inputs)
  const shape = broadcastShapes(op + inModule(), ...inputs.map((t) => t.shape))
  const order = [...shape.keys()].filter((i) => !dims.includes(i)).concat(dims)
  const views = inputs.map((t) => {
    const v = expandedView(t, shape)
    return { ...v, shape: order.map((i) => v.shape[i]), strides: order.map((i) => v.strides[i]) }
  })
  const out = Tensor.allocate(
    backend,
    dtype ?? outputDType(program, 0, inputs),
    reducedShape(shape, dims, keepdim),
  )
  if (out.size > 0) {
    const outer = reducedShape(shape, dims, false)
    const bare = keepdim ? out.strides.filter((_, i) => !dims.includes(i)) : out.strides
    backend.reduce(kind, program, views, scalars, { ...out.view(), shape: outer, strides: bare })
  }
  return out
}

/**
 * Runs a row plan over broadcast tensors, a row being the axes `dims`; not recorded. Returns the values per element, then
 * those per row (with size 1 in place of `dims`), all of the operands' float dtype.
 */
export function mapRows(
  op: string,
  plan: RowPlan,
  inputs: readonly Tensor[],
  scalars: readonly number[],
  dims: readonly number[],
): Tensor[] {
  const backend = sameDevice(op, inputs)
  const shape = broadcastShapes(op + inModule(), ...inputs.map((t) => t.shape))
  const outer = [...shape.keys()].filter((i) => !dims.includes(i))
  const ordered = (v: View, order: readonly number[]): View => ({
    ...v,
    shape: order.map((i) => v.shape[i]),
    strides: order.map((i) => v.strides[i]),
  })
  const make = (program: Program | null, of: Shape): Tensor[] =>
    (program?.outputs ?? []).map(() => Tensor.allocate(backend, floatOf(inputs), of))
  const elements = make(plan.elements, shape)
  const rows = make(plan.rows, reducedShape(shape, dims, true))
  rowwise(backend, plan, {
    inputs: inputs.map((t) => ordered(expandedView(t, shape), [...outer, ...dims])),
    outer: outer.length,
    scalars,
    elements: elements.map((t) => ordered(t.view(), [...outer, ...dims])),
    rows: rows.map((t) => ordered(t.view(), outer)),
  })
  return [...elements, ...rows]
}

/** A recorded view of `x`. `back` takes the gradient of the view to the gradient of x. */
export function recordedWindow(
  op: string,
  x: Tensor,
  shape: Shape,
  strides: readonly number[],
  back: (g: Tensor) => Tensor,
  offset = x.offset,
): Tensor {
  const out = x.window(offset, shape, strides)
  record(op, [x], [out], [], ([g]) => [g && back(g)])
  return out
}

export const IDENTITY = new Program([input(0)], 1)

/** The sum of `g` over the axes along which `shape` was broadcast to it. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g
  const lead = g.ndim - shape.length
  const dims: number[] = []
  for (let i = 0; i < g.ndim; i++) if (i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1)) dims.push(i)
  return dropLeading(mapSum('sum', IDENTITY, [g], [], dims, true), shape)
}

/** Removes leading axes of size 1 until the shape is `shape`. */
function dropLeading(t: Tensor, shape: Shape): Tensor {
  const lead = t.ndim - shape.length
  if (lead === 0) return t
  return recordedWindow('squeeze', t, shape, t.strides.slice(lead), (g) =>
    recordedWindow('unsqueeze', g, t.shape, [...new Array<number>(lead).fill(0), ...g.strides], (gg) =>
      dropLeading(gg, shape),
    ),
  )
}

interface Adjoint {
  /** Per input: its gradient in terms of inputs (first) and output gradients (after them), or null. */
  readonly exprs: readonly (Expr | null)[]
  /** Which inputs any of them reads. */
  readonly uses: readonly number[]
  readonly programs: Map<string, Packed>
}

/** A program over a subset of operands. */
interface Packed {
  readonly program: Program
  readonly operands: readonly number[]
}

const adjoints = new WeakMap<Program, Map<string, Adjoint>>()

function adjointOf(program: Program, present: readonly boolean[], needs: readonly boolean[]): Adjoint {
  const key = `${present.map(Number).join('')}/${needs.map(Number).join('')}`
  let cache = adjoints.get(program)
  if (!cache) {
    cache = new Map()
    adjoints.set(program, cache)
  }
  let adjoint = cache.get(key)
  if (!adjoint) {
    const n = program.inputCount
    const wrt = needs.flatMap((need, i) => (need ? [i] : []))
    const gs = present.map((p, k) => (p ? input(n + k) : null))
    const found = differentiate(program.exprs, gs, wrt)
    const exprs = needs.map((need, i) => (need ? found[wrt.indexOf(i)] : null))
    const uses = new Program(
      exprs.filter((e): e is Expr => e !== null),
      n + gs.length,
    ).usedInputs.filter((i) => i < n)
    adjoint = { exprs, uses, programs: new Map() }
    cache.set(key, adjoint)
  }
  return adjoint
}

function packed(adjoint: Adjoint, which: readonly number[], scalarCount: number): Packed {
  const key = which.join(',')
  let entry = adjoint.programs.get(key)
  if (!entry) {
    const exprs = which.map((i) => adjoint.exprs[i] as Expr)
    const operands = new Program(exprs, 0).usedInputs
    const renumbered = renumberInputs(exprs, new Map(operands.map((o, i) => [o, i])))
    entry = { program: new Program(renumbered, operands.length, scalarCount), operands }
    adjoint.programs.set(key, entry)
  }
  return entry
}

function renumberInputs(exprs: readonly Expr[], to: ReadonlyMap<number, number>): Expr[] {
  const done = new Map<Expr, Expr>()
  const visit = (e: Expr): Expr => {
    let copy = done.get(e)
    if (!copy) {
      copy =
        e.kind === 'input'
          ? new Expr('input', e.type, [], to.get(e.value))
          : e.args.length === 0
            ? e
            : new Expr(e.kind, e.type, e.args.map(visit), e.value)
      done.set(e, copy)
    }
    return copy
  }
  return exprs.map(visit)
}

/** Most tensors one kernel may touch on every device. */
const MAX_BINDINGS = 8

function recordAdjoint(
  op: string,
  program: Program,
  inputs: readonly Tensor[],
  scalars: readonly number[],
  outputs: readonly Tensor[],
  shape: Shape,
  spread: (grads: readonly (Tensor | null)[]) => readonly (Tensor | null)[],
): void {
  const needs = inputs.map((t) => t.requiresGrad)
  const { uses } = needs.includes(true)
    ? adjointOf(
        program,
        outputs.map(() => true),
        needs,
      )
    : { uses: [] as readonly number[] }
  const shapes = inputs.map((t) => t.shape)
  const dtypes = inputs.map((t) => t.dtype)
  record(
    op,
    inputs,
    outputs,
    uses.map((i) => inputs[i]),
    (outputGrads, saved) => {
      const grads = spread(outputGrads)
      const adjoint = adjointOf(
        program,
        grads.map((g) => g !== null),
        needs,
      )
      const operand = (i: number): Tensor =>
        i < inputs.length ? saved[uses.indexOf(i)] : (grads[i - inputs.length] as Tensor)
      const result: (Tensor | null)[] = shapes.map(() => null)
      const together: number[] = []
      adjoint.exprs.forEach((e, i) => {
        if (!e) return
        // Every adjoint reads a gradient, and gradients have the full shape.
        if (e.kind === 'input' && dtypes[i] === operand(e.value).dtype)
          result[i] = sumTo(operand(e.value), shapes[i])
        else if (sameShape(shapes[i], shape)) together.push(i)
        else {
          const { program: p, operands } = packed(adjoint, [i], scalars.length)
          const lead = shape.length - shapes[i].length
          const dims = [...shape.keys()].filter(
            (d) => d < lead || (shapes[i][d - lead] === 1 && shape[d] !== 1),
          )
          result[i] = dropLeading(
            mapSum(`${op} backward`, p, operands.map(operand), scalars, dims, true, dtypes[i]),
            shapes[i],
          )
        }
      })
      const groups = fits(adjoint, together, scalars.length) ? [together] : together.map((i) => [i])
      for (const group of groups) {
        if (group.length === 0) continue
        const { program: p, operands } = packed(adjoint, group, scalars.length)
        const outs = map(
          `${op} backward`,
          p,
          operands.map(operand),
          scalars,
          group.map((i) => dtypes[i]),
        )
        group.forEach((i, k) => {
          result[i] = outs[k]
        })
      }
      return result
    },
  )
}

function fits(adjoint: Adjoint, group: readonly number[], scalarCount: number): boolean {
  return (
    group.length === 0 || packed(adjoint, group, scalarCount).operands.length + group.length <= MAX_BINDINGS
  )
}

/** Refuses dtypes an op is not defined for. */
export function requireFloat(op: string, x: Tensor): void {
  if (scalarType(x.dtype) !== 'float') {
    throw new DTypeError(
      `${op}: expected a float tensor, got ${x.dtype}${inModule()}; convert it with to('float32')`,
    )
  }
}
