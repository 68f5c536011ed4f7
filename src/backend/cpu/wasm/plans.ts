// A row plan as one loop over rows: its reductions one after another over a row that stays in the cache, then the
// values of elements and rows.
//
// Where the last reduction sums something dear (a power, for softmax) that the elements are made of and that is all
// they read, it is not computed twice: the sum leaves it in the output, where the elements find it.

import { Expr, input, topological } from '../../expr'
import { type Instruction, Program } from '../../program'
import type { RowPlan } from '../../rows'
import { i32x4 } from './code'
import type { Body, Local } from './emitter'
import { type Folding, foldingOf, Kernel, type Operand, type Pointer } from './kernel'
import { isDear, type Source, Steps, type Width } from './steps'

/** A plan ready to be written. */
export interface Writable {
  readonly plan: RowPlan
  readonly foldings: readonly Folding[]
  /** The elements; input `kept` stands for what the last reduction left in the first of them. */
  readonly elements: Program | null
  readonly kept: number | null
}

/** What to write for a plan; null where the sequence of its programs has to serve. */
export function writableOf(plan: RowPlan): Writable | null {
  const foldings: Folding[] = []
  for (const { kind, program } of plan.reductions) {
    const folding = foldingOf(kind, program)
    if (!folding) return null
    foldings.push(folding)
  }
  const { operands, reductions, elements } = plan
  const last = reductions.at(-1)?.program.exprs[0]
  const kept = operands.length + 1 + reductions.length
  if (last && elements && topological([last]).some(isDear)) {
    const exprs = elements.exprs.map((e) => replaced(e, last, input(kept)))
    const program = new Program(exprs, kept + 1, elements.scalarCount)
    const reads = program.usedInputs
    if (reads.includes(kept) && reads.every((i) => i > operands.length)) {
      return { plan, foldings, elements: program, kept }
    }
  }
  return { plan, foldings, elements, kept: null }
}

/** An expression with another one in place of a part. */
function replaced(root: Expr, part: Expr, by: Expr): Expr {
  const made = new Map<Expr, Expr>()
  for (const e of topological([root])) {
    const args = e.args.map((a) => made.get(a) as Expr)
    made.set(e, e === part ? by : new Expr(e.kind, e.type, args, e.value))
  }
  return made.get(root) as Expr
}

/** Writes a plan. Operands: its inputs, the elements, the rows. */
export function planLoops(
  f: Body,
  block: Pointer,
  { plan, foldings, elements, kept }: Writable,
  operands: readonly Operand[],
): void {
  const kernel = new Kernel(f, block, operands)
  const inputs = plan.operands.length
  const firstElement = inputs
  const firstRow = inputs + (elements?.outputs.length ?? 0)
  const position = f.local('v128')
  const reduced: Local<'v128'>[] = []

  const sourceOf = ({ kind, value, ...step }: Instruction): Source => {
    if (kind === 'scalar') return kernel.scalar({ kind, value, ...step })
    if (value < inputs) return kernel.operand(value)
    if (value === inputs) return { level: 'element', read: () => position }
    if (value === kept) return kernel.operand(firstElement)
    return { level: 'row', read: () => reduced[value - inputs - 1] }
  }
  /** What a row's own values see: the row's first element, before the pointers move. */
  const firstOf = (step: Instruction): Source => {
    const source = sourceOf(step)
    if (source.level !== 'element') return source
    return { level: 'row', read: () => (step.value === inputs ? i32x4.const(0) : source.read(1, 0)) }
  }
  const begin = (steps: Steps): void => {
    kernel.beginRow()
    f.set(position, i32x4.lanes([0, 1, 2, 3]))
    steps.write('row')
  }
  const move = (width: Width): void => {
    if (plan.usesPosition) f.set(position, i32x4.add(position, i32x4.const(width)))
  }

  const folded = plan.reductions.map(({ program }) => new Steps(f, program, sourceOf))
  const ofElements = elements && new Steps(f, elements, sourceOf)
  const ofRows = plan.rows && new Steps(f, plan.rows, firstOf)
  for (const steps of [...folded, ofElements, ofRows]) steps?.write('call')
  kernel.eachRow(() => {
    folded.forEach((steps, r) => {
      begin(steps)
      const keeps = kept !== null && r === folded.length - 1
      reduced[r] = kernel.fold(foldings[r], steps, (width, ahead) => {
        if (keeps) kernel.store(firstElement, steps.output(0), width, ahead)
        move(width)
      })
    })
    if (ofRows) {
      begin(ofRows)
      plan.rows?.outputs.forEach((_, k) => {
        kernel.store(firstRow + k, ofRows.output(k), 1)
      })
    }
    if (!ofElements) return
    begin(ofElements)
    kernel.along(ofElements.vectorsPerTurn, (width, vectors) => {
      for (let v = 0; v < vectors; v++) {
        ofElements.write('element', width, v)
        elements.outputs.forEach((_, k) => {
          kernel.store(firstElement + k, ofElements.output(k), width, v)
        })
        move(width)
      }
    })
  })
}
