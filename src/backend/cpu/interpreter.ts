// Runs expression programs block by block.
//
// A program is compiled once per key: every step gets a scratch register (reused as soon as nobody reads it any
// more), casts to float become aliases. A call then evaluates 1,024 elements at a time, one loop per step,
// on float64 registers that stay in the first-level cache. Steps whose operands are the same for all elements
// (constants, scalars, broadcast scalars) are evaluated once per block instead of once per element.

import type { BinaryKind, ScalarType, UnaryKind } from '../expr'
import type { Instruction, Program } from '../program'
import type { View } from '../types'
import { Reader } from './stream'
import { type BinaryLoop, binaryLoop, castLoop, type UnaryLoop, unaryLoop, where } from './steps'

/** Elements evaluated at a time; a register takes 8 KiB. */
export const BLOCK = 1024

type Action =
  | { readonly run: 'const'; readonly value: number }
  | { readonly run: 'scalar'; readonly index: number; readonly type: ScalarType }
  | { readonly run: 'input'; readonly index: number }
  | { readonly run: 'unary'; readonly loop: UnaryLoop; readonly a: number }
  | { readonly run: 'binary'; readonly loop: BinaryLoop; readonly a: number; readonly b: number }
  | { readonly run: 'where'; readonly c: number; readonly a: number; readonly b: number }

/** What to do, on which registers, and the register of the result. */
type Step = Action & { readonly to: number }

interface Plan {
  readonly steps: readonly Step[]
  readonly registers: number
  /** Register of each output. */
  readonly outputs: readonly number[]
}

const plans = new Map<string, Plan>()
/** Registers are shared by all calls: evaluation is synchronous and never nested. */
const registers: Float64Array[] = []
/** Mask of each register in the current evaluation: 0 for a uniform value, else -1 (see steps.ts). */
const masks: number[] = []

/** The evaluation of a program over views of one shape, in row-major order, `BLOCK` elements or fewer at a time. */
export class Evaluation {
  readonly #plan: Plan
  readonly #readers: (Reader | null)[]
  readonly #scalars: readonly number[]

  /** `strides`, given with `shape`, replaces those of the inputs, to walk them in another order. */
  constructor(
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    shape: readonly number[],
    strides: readonly (readonly number[])[] = inputs.map((v) => v.strides),
  ) {
    this.#plan = planOf(program)
    this.#scalars = scalars
    this.#readers = new Array<Reader | null>(inputs.length).fill(null)
    for (const i of program.usedInputs) this.#readers[i] = new Reader(inputs[i], shape, strides[i])
    while (registers.length < this.#plan.registers) {
      registers.push(new Float64Array(BLOCK))
      masks.push(-1)
    }
  }

  /** Evaluates the next n elements. The results stay valid until the next evaluation of any program. */
  next(n: number): void {
    for (const step of this.#plan.steps) {
      const out = registers[step.to]
      let mask = 0
      switch (step.run) {
        case 'const':
          out[0] = step.value
          break
        case 'scalar':
          out[0] = convert(this.#scalars[step.index], step.type)
          break
        case 'input': {
          const reader = this.#readers[step.index] as Reader
          reader.read(out, n)
          if (!reader.uniform) mask = -1
          break
        }
        case 'unary':
          mask = masks[step.a]
          step.loop(out, registers[step.a], mask === 0 ? 1 : n)
          break
        case 'binary': {
          const { a, b } = step
          mask = masks[a] | masks[b]
          step.loop(out, registers[a], masks[a], registers[b], masks[b], mask === 0 ? 1 : n)
          break
        }
        case 'where': {
          const { c, a, b } = step
          mask = masks[c] | masks[a] | masks[b]
          const size = mask === 0 ? 1 : n
          where(out, registers[c], masks[c], registers[a], masks[a], registers[b], masks[b], size)
          break
        }
        default:
          step satisfies never
      }
      masks[step.to] = mask
    }
  }

  /** The block that holds output k. */
  block(k: number): Float64Array {
    return registers[this.#plan.outputs[k]]
  }

  /** Whether output k has one value for all elements, held in element 0 of its block. */
  uniform(k: number): boolean {
    return masks[this.#plan.outputs[k]] === 0
  }
}

function convert(value: number, type: ScalarType): number {
  return type === 'float' ? value : type === 'int' ? value | 0 : value !== 0 ? 1 : 0
}

function planOf(program: Program): Plan {
  let plan = plans.get(program.key)
  if (!plan) {
    plan = compile(program)
    plans.set(program.key, plan)
  }
  return plan
}

/** Assigns registers, which are free again after the step that reads them last. */
function compile(program: Program): Plan {
  const { instructions } = program
  // Bools and ints are held as floats, so a cast up to a wider type is the value itself.
  const source = instructions.map((_, i) => i)
  instructions.forEach((s, i) => {
    if (s.kind === 'cast' && widens(instructions[s.args[0]].type, s.type)) source[i] = source[s.args[0]]
  })
  const outputs = program.outputs.map((i) => source[i])
  const lastUse = new Array<number>(instructions.length).fill(-1)
  instructions.forEach((s, i) => {
    if (source[i] === i) for (const a of s.args) lastUse[source[a]] = i
  })
  for (const i of outputs) lastUse[i] = Number.POSITIVE_INFINITY

  const register = new Array<number>(instructions.length)
  const spare: number[] = []
  let count = 0
  const steps: Step[] = []
  instructions.forEach((s, i) => {
    if (source[i] !== i) return
    const operands = s.args.map((a) => source[a])
    const ended = [...new Set(operands)].filter((a) => lastUse[a] === i)
    // With several operands, one may be uniform: its element 0 has to outlive the loop over the others.
    if (operands.length === 1) spare.push(...ended.map((a) => register[a]))
    register[i] = spare.pop() ?? count++
    if (operands.length > 1) spare.push(...ended.map((a) => register[a]))
    const action = actionOf(
      s,
      operands.map((a) => register[a]),
    )
    steps.push({ ...action, to: register[i] })
  })
  return { steps, registers: count, outputs: outputs.map((i) => register[i]) }
}

function widens(from: ScalarType, to: ScalarType): boolean {
  return to === 'float' || from === to || (from === 'bool' && to === 'int')
}

function actionOf(s: Instruction, [a, b, c]: readonly number[]): Action {
  switch (s.kind) {
    case 'const':
      return { run: 'const', value: convert(s.value, s.type) }
    case 'scalar':
      return { run: 'scalar', index: s.value, type: s.type }
    case 'input':
      return { run: 'input', index: s.value }
    case 'where':
      return { run: 'where', c: a, a: b, b: c }
    case 'cast':
      return { run: 'unary', loop: castLoop(s.type as 'int' | 'bool'), a }
    default:
      if (s.args.length === 1) return { run: 'unary', loop: unaryLoop(s.kind as UnaryKind, s.type), a }
      return { run: 'binary', loop: binaryLoop(s.kind as BinaryKind, s.type), a, b }
  }
}
