// The loops around an expression program: elementwise, and reduced along rows or across them.
//
// A kernel works on rows of n elements. It finds what it needs in a block of words in memory: n, the number of rows,
// then address and bytes from row to row of each operand (inputs, then outputs), then the scalars. An operand either
// moves along the row, element by element, or has one value for all of it.

import type { Instruction, Program } from '../../program'
import type { DType, ReduceKind } from '../../types'
import { type Code, f32, f32x4, f64, i32, i32x4, v128, type V128 } from './code'
import type { Target } from './compile'
import { type Body, type Local, Module } from './emitter'
import { max, min } from './functions'
import { CARRIER, load, Steps, store, type Width } from './steps'

/** An input that the program reads, or an output. */
export interface Operand {
  readonly dtype: DType
  /** Whether neighbours along a row are different elements. */
  readonly moves: boolean
}

export interface Operands {
  /** In the order of `program.usedInputs`. */
  readonly inputs: readonly Operand[]
  readonly outputs: readonly Operand[]
}

/** The reductions that are written; the others are left to the TypeScript kernels. */
export type Fold = Exclude<ReduceKind, 'prod'>

/** Byte positions in the block of words. */
export const BLOCK = {
  columns: 0,
  rows: 4,
  address: (operand: number): number => 8 + 8 * operand,
  step: (operand: number): number => 12 + 8 * operand,
  scalar: (operands: number, scalar: number): number => 8 + 8 * operands + 4 * scalar,
}

/** Elements of a row that are summed in float32 before they go on to a double. */
const RUN = 128
/** Rows that are summed in registers before they go on to the output; few enough to stay in the first-level cache. */
const ROWS = 64

type Pointer = Local<'i32'>

/** What the loops share: pointers to the operands and the steps of the program. */
class Kernel {
  readonly f: Body
  readonly program: Program
  readonly operands: readonly Operand[]
  /** Start of the current row, by operand; rows are counted down. */
  readonly starts: readonly Pointer[]
  /** Current element, by operand. */
  readonly at: readonly Pointer[]
  readonly columns: Pointer
  readonly rows: Pointer
  readonly #block: Pointer
  readonly #inputs: number

  constructor(f: Body, block: Pointer, program: Program, { inputs, outputs }: Operands) {
    this.f = f
    this.program = program
    this.operands = [...inputs, ...outputs]
    this.#block = block
    this.#inputs = inputs.length
    this.columns = f.local('i32', i32.load(block, BLOCK.columns))
    this.rows = f.local('i32', i32.load(block, BLOCK.rows))
    this.starts = this.operands.map((_, i) => f.local('i32', i32.load(block, BLOCK.address(i))))
    this.at = this.operands.map(() => f.local('i32'))
  }

  /** Bytes from row to row of an operand. */
  step(operand: number): Code<'i32'> {
    return i32.load(this.#block, BLOCK.step(operand))
  }

  /** Reads a scalar or an input of the current element. */
  leaf(width: Width): (step: Instruction) => V128 {
    return ({ kind, type, value }) => {
      if (kind === 'scalar') {
        const word = v128.load32Splat(this.#block, BLOCK.scalar(this.operands.length, value))
        return type === 'bool' ? i32x4.ne(word, i32x4.const(0)) : word
      }
      const i = this.operandOf(value)
      return load(this.operands[i].dtype, this.at[i], this.operands[i].moves ? width : 1)
    }
  }

  /** The operand that is input i of the program. */
  operandOf(input: number): number {
    return this.program.usedInputs.indexOf(input)
  }

  /** Calls `body` for four elements at a time and then for single ones. */
  along(left: Pointer, body: (width: Width) => void): void {
    const { f } = this
    f.set(left, this.columns)
    f.while(i32.geU(left, 4), () => {
      body(4)
      f.step(left, -4)
    })
    f.while(left, () => {
      body(1)
      f.step(left, -1)
    })
  }

  /** To the next elements of a row. */
  advance(width: Width, pointers: readonly Pointer[] = this.at): void {
    this.operands.forEach(({ dtype, moves }, i) => {
      if (moves) this.f.step(pointers[i], width * (dtype === 'bool' ? 1 : 4))
    })
  }

  /** To the next row. */
  nextRow(): void {
    this.starts.forEach((start, i) => {
      this.f.step(start, this.step(i))
    })
    this.f.step(this.rows, -1)
  }

  /** Puts the pointers at the start of the row. */
  beginRow(): void {
    this.at.forEach((at, i) => {
      this.f.set(at, this.starts[i])
    })
  }

  /** Index among the operands of output k. */
  output(k: number): number {
    return this.#inputs + k
  }
}

/** The bytes of a module whose `run(block)` evaluates a program over rows. */
export function elementwiseModule(
  program: Program,
  operands: Operands,
  { shared }: Target,
): Uint8Array<ArrayBuffer> {
  const module = new Module(shared)
  module.export('run', ['block'], (f, { block }) => {
    const kernel = new Kernel(f, block, program, operands)
    const steps = rowSteps(kernel)
    const left = f.local('i32')
    steps.write('call', kernel.leaf(4))
    f.while(kernel.rows, () => {
      kernel.beginRow()
      steps.write('row', kernel.leaf(4))
      kernel.along(left, (width) => {
        steps.write('element', kernel.leaf(width))
        program.outputs.forEach((_, k) => {
          const i = kernel.output(k)
          f.run(store(f, kernel.operands[i].dtype, kernel.at[i], steps.output(k), width))
        })
        kernel.advance(width)
      })
      kernel.nextRow()
    })
  })
  return module.bytes()
}

/** The steps of a program in a loop over rows. */
function rowSteps(kernel: Kernel): Steps {
  return new Steps(kernel.f, kernel.program, (input) =>
    kernel.operands[kernel.operandOf(input)].moves ? 'element' : 'row',
  )
}

/** What a reduction does with values of the program's type. */
interface Folding {
  readonly identity: V128
  readonly combine: (a: V128, b: Local<'v128'>) => V128
  readonly dtype: DType
}

function foldingOf(kind: Fold, program: Program): Folding {
  const { type } = program.instructions[program.outputs[0]]
  if (type === 'bool') {
    // any and all
    return kind === 'max'
      ? { identity: i32x4.const(0), combine: v128.or, dtype: 'bool' }
      : { identity: i32x4.const(-1), combine: v128.and, dtype: 'bool' }
  }
  const dtype = CARRIER[type]
  if (kind === 'sum') return { identity: f32x4.const(0), combine: f32x4.add, dtype }
  const identity = f32x4.const(kind === 'max' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY)
  return { identity, combine: kind === 'max' ? max : min, dtype }
}

/** The bytes of a module whose `run(block)` reduces each row to one element of the output. */
export function alongModule(
  kind: Fold,
  program: Program,
  operands: Operands,
  { shared }: Target,
): Uint8Array<ArrayBuffer> {
  const module = new Module(shared)
  const folding = foldingOf(kind, program)
  module.export('run', ['block'], (f, { block }) => {
    const kernel = new Kernel(f, block, program, operands)
    const steps = rowSteps(kernel)
    const left = f.local('i32')
    const lanes = f.local('v128')
    const other = f.local('v128')
    const fold = (): void => f.set(lanes, folding.combine(lanes, steps.output(0)))
    steps.write('call', kernel.leaf(4))
    f.while(kernel.rows, () => {
      kernel.beginRow()
      steps.write('row', kernel.leaf(4))
      const each = (width: Width, then: () => void): void => {
        steps.write('element', kernel.leaf(width))
        then()
        kernel.advance(width)
      }
      if (kind === 'sum') sumRow(kernel, left, lanes, steps, each)
      else {
        f.set(lanes, folding.identity)
        kernel.along(left, (width) => each(width, fold))
        for (const lanesApart of [
          [2, 3, 0, 1],
          [1, 0, 3, 2],
        ] as const) {
          f.set(other, v128.shuffle(lanes, lanes, lanesApart))
          f.set(lanes, folding.combine(lanes, other))
        }
      }
      f.run(store(f, folding.dtype, kernel.at[kernel.output(0)], lanes, 1))
      kernel.nextRow()
    })
  })
  return module.bytes()
}

/** Sums a row: runs of elements in the four lanes, the runs and what is left over in a double. */
function sumRow(
  { f, columns }: Kernel,
  left: Pointer,
  lanes: Local<'v128'>,
  steps: Steps,
  each: (width: Width, then: () => void) => void,
): void {
  const total = f.local('f64')
  const stop = f.local('i32')
  const lane = (i: number): Code<'f32'> => f32x4.lane(lanes, i)
  f.set(total, f64.const(0))
  f.set(left, columns)
  f.while(i32.geU(left, 4), () => {
    f.set(stop, i32.select(i32.sub(left, RUN), i32.and(left, 3), i32.geU(left, RUN)))
    f.set(lanes, f32x4.const(0))
    f.loop((again) => {
      each(4, () => f.set(lanes, f32x4.add(lanes, steps.output(0))))
      f.step(left, -4)
      again(i32.gtU(left, stop))
    })
    const sum = f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)))
    f.set(total, f64.add(total, f64.promote(sum)))
  })
  f.while(left, () => {
    each(1, () => f.set(total, f64.add(total, f64.promote(f32x4.lane(steps.output(0), 0)))))
    f.step(left, -1)
  })
  f.set(lanes, f32x4.splat(f64.demote(total)))
}

/** The bytes of a module whose `run(block)` reduces rows of n elements to one row of n elements. */
export function acrossModule(
  kind: Fold,
  program: Program,
  operands: Operands,
  { shared }: Target,
): Uint8Array<ArrayBuffer> {
  const module = new Module(shared)
  const folding = foldingOf(kind, program)
  module.export('run', ['block'], (f, { block }) => {
    const kernel = new Kernel(f, block, program, operands)
    const steps = new Steps(f, program, () => 'element')
    const out = kernel.output(0)
    const left = f.local('i32')
    const chunk = f.local('i32')
    const count = f.local('i32')
    const later = f.local('i32')
    const columns = kernel.operands.map(() => f.local('i32'))
    const lanes = f.local('v128')
    steps.write('call', kernel.leaf(4))
    f.while(kernel.rows, () => {
      f.set(chunk, i32.select(i32.const(ROWS), kernel.rows, i32.gtU(kernel.rows, ROWS)))
      columns.forEach((column, i) => {
        f.set(column, kernel.starts[i])
      })
      kernel.along(left, (width) => {
        f.set(lanes, folding.identity)
        f.set(count, chunk)
        kernel.at.forEach((at, i) => {
          f.set(at, columns[i])
        })
        f.loop((again) => {
          steps.write('element', kernel.leaf(width))
          f.set(lanes, folding.combine(lanes, steps.output(0)))
          kernel.at.forEach((at, i) => {
            if (i !== out) f.step(at, kernel.step(i))
          })
          f.step(count, -1)
          again(count)
        })
        f.if(later, () => {
          f.set(lanes, folding.combine(load(folding.dtype, kernel.at[out], width), lanes))
        })
        f.run(store(f, folding.dtype, kernel.at[out], lanes, width))
        kernel.advance(width, columns)
      })
      kernel.starts.forEach((start, i) => {
        if (i !== out) f.step(start, i32.mul(kernel.step(i), chunk))
      })
      f.set(kernel.rows, i32.sub(kernel.rows, chunk))
      f.set(later, i32.const(1))
    })
  })
  return module.bytes()
}
