// Runs expression programs block by block.
//
// A program is compiled once per key: every step gets a scratch register (reused as soon as nobody reads it any
// more), casts to float become aliases. A call then evaluates 1,024 elements at a time, one loop per step,
// on float64 registers that stay in the first-level cache. Steps whose operands are the same for all elements
// (constants, scalars, broadcast scalars) are evaluated once per block instead of once per element.

import type { BinaryKind, ScalarType, UnaryKind } from '../expr'
import type { Instruction, Program } from '../program'
import type { View } from '../types'
import { ArgumentError } from '../../errors'
import { BLOCK, REGISTER_COUNT, REGISTERS } from './scratch'
import { type BinaryLoop, binaryLoop, castLoop, type UnaryLoop, unaryLoop, where } from './steps'
import { Reader } from './stream'

const R = REGISTERS

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
  /** Elements evaluated at a time: `BLOCK`, or fewer when there are many registers. */
  readonly block: number
  /** Register of each output. */
  readonly outputs: readonly number[]
}

const plans = new Map<string, Plan>()
/** By register: 0 for a value that is the same for all elements, else 1 (see steps.ts). Evaluations never nest. */
const strides: number[] = []

/** The evaluation of a program over views of one shape, in row-major order, a block at a time. */
export class Evaluation {
  /** The most elements to evaluate at a time. */
  readonly block: number
  readonly #plan: Plan
  readonly #readers: (Reader | null)[]
  readonly #scalars: readonly number[]

  /** `turned` replaces the strides of the inputs, to walk them with their axes in another order. */
  constructor(
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    shape: readonly number[],
    turned: readonly (readonly number[])[] = inputs.map((v) => v.strides),
  ) {
    this.#plan = planOf(program)
    this.block = this.#plan.block
    this.#scalars = scalars
    this.#readers = new Array<Reader | null>(inputs.length).fill(null)
    for (const i of program.usedInputs) this.#readers[i] = new Reader(inputs[i], shape, turned[i])
  }

  /** Evaluates the next n elements. The results stay valid until the next evaluation of any program. */
  next(n: number): void {
    const { block } = this
    for (const step of this.#plan.steps) {
      const o = step.to * block
      let stride = 0
      switch (step.run) {
        case 'const':
          R[o] = step.value
          break
        case 'scalar':
          R[o] = convert(this.#scalars[step.index], step.type)
          break
        case 'input': {
          const reader = this.#readers[step.index] as Reader
          reader.read(o, n)
          if (!reader.uniform) stride = 1
          break
        }
        case 'unary':
          stride = strides[step.a]
          step.loop(o, step.a * block, stride === 0 ? 1 : n)
          break
        case 'binary': {
          const { a, b } = step
          stride = strides[a] | strides[b]
          step.loop(o, a * block, strides[a], b * block, strides[b], stride === 0 ? 1 : n)
          break
        }
        case 'where': {
          const { c, a, b } = step
          stride = strides[c] | strides[a] | strides[b]
          const size = stride === 0 ? 1 : n
          where(o, c * block, strides[c], a * block, strides[a], b * block, strides[b], size)
          break
        }
        default:
          step satisfies never
      }
      strides[step.to] = stride
    }
  }

  /** Where the values of output k are in the scratch memory. */
  position(k: number): number {
    return this.#plan.outputs[k] * this.block
  }

  /** Whether output k has one value for all elements, held in the first element of its register. */
  uniform(k: number): boolean {
    return strides[this.#plan.outputs[k]] === 0
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
  // Loops are unrolled by four, so a block is a multiple of four.
  const block = Math.min(BLOCK, Math.floor((REGISTER_COUNT * BLOCK) / Math.max(1, count) / 4) * 4)
  if (block === 0)
    throw new ArgumentError(`program: ${count} values are alive at once, the cpu holds up to 16384`)
  return { steps, block, outputs: outputs.map((i) => register[i]) }
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
