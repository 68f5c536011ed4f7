// A Program is an expression made ready to run: common subexpressions shared, nodes in execution order.
//
// Backends compile programs (the cpu interprets them, webgpu prints WGSL) and cache by `key`, which holds
// the structure and constants but never call-time scalars or shapes.

import { type Expr, topological, type ExprKind, type ScalarType } from './expr'

/** One step: `args` are indices of earlier steps; `value` is the leaf's index or constant. */
export interface Instruction {
  readonly kind: ExprKind
  readonly type: ScalarType
  readonly args: readonly number[]
  readonly value: number
}

export class Program {
  /** Steps in execution order; step i defines value i. */
  readonly instructions: readonly Instruction[]
  /** For each output, the step that computes it. */
  readonly outputs: readonly number[]
  /** Equal keys mean equal programs. */
  readonly key: string
  /** Which input indices the program really reads, ascending. */
  readonly usedInputs: readonly number[]

  constructor(
    /** The expressions it was made from, for differentiation. */
    readonly exprs: readonly Expr[],
    /** How many tensor operands a call passes (some may be unread). */
    readonly inputCount: number,
    readonly scalarCount: number = 0,
  ) {
    const instructions: Instruction[] = []
    const parts: string[] = []
    const byKey = new Map<string, number>()
    const step = new Map<Expr, number>()
    for (const e of topological(exprs)) {
      const args = e.args.map((a) => step.get(a) as number)
      const value = Object.is(e.value, -0) ? '-0' : String(e.value)
      const key = `${e.kind}.${e.type}(${args.join(',')})${value}`
      let index = byKey.get(key)
      if (index === undefined) {
        index = instructions.length
        instructions.push({ kind: e.kind, type: e.type, args, value: e.value })
        parts.push(key)
        byKey.set(key, index)
      }
      step.set(e, index)
    }
    this.instructions = instructions
    this.outputs = exprs.map((e) => step.get(e) as number)
    this.key = `${parts.join(';')}>${this.outputs.join(',')}`
    this.usedInputs = [...new Set(instructions.filter((s) => s.kind === 'input').map((s) => s.value))].sort(
      (a, b) => a - b,
    )
  }
}
