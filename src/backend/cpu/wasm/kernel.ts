// What the kernels of expression programs share: operands in rows, the pointers that walk them, and folding.
//
// A kernel works on rows of n elements. It finds what it needs in a block of words in memory: n, the number of rows,
// then address and bytes from row to row of each operand (inputs, then outputs), then the scalars. An operand either
// moves along the row, element by element, or has one value for all of it.

import type { Instruction, Program } from '../../program'
import type { DType, ReduceKind } from '../../types'
import { type Code, f32, f32x4, f64, i32, i32x4, v128, type V128 } from './code'
import type { Body, Local } from './emitter'
import { max, min } from './functions'
import { CARRIER, load, type Source, type Steps, store, type Width } from './steps'

export interface Operand {
  readonly dtype: DType
  /** Whether neighbours along a row are different elements. */
  readonly moves: boolean
}

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

export type Pointer = Local<'i32'>

/** The operands of a kernel and the pointers to them. */
export class Kernel {
  readonly f: Body
  readonly operands: readonly Operand[]
  readonly columns: Pointer
  /** Rows left. */
  readonly rows: Pointer
  /** Start of the current row, by operand. */
  readonly starts: readonly Pointer[]
  /** Current element, by operand. */
  readonly at: readonly Pointer[]
  /** Elements left of a row. */
  readonly left: Pointer
  readonly #block: Pointer

  constructor(f: Body, block: Pointer, operands: readonly Operand[]) {
    this.f = f
    this.operands = operands
    this.#block = block
    this.columns = f.local('i32', i32.load(block, BLOCK.columns))
    this.rows = f.local('i32', i32.load(block, BLOCK.rows))
    this.starts = operands.map((_, i) => f.local('i32', i32.load(block, BLOCK.address(i))))
    this.at = operands.map(() => f.local('i32'))
    this.left = f.local('i32')
  }

  /** Bytes from row to row of an operand. */
  step(operand: number): Code<'i32'> {
    return i32.load(this.#block, BLOCK.step(operand))
  }

  scalar({ type, value }: Instruction): Source {
    const word = v128.load32Splat(this.#block, BLOCK.scalar(this.operands.length, value))
    return { level: 'call', read: () => (type === 'bool' ? i32x4.ne(word, i32x4.const(0)) : word) }
  }

  /** The current element of an operand. */
  operand(i: number): Source {
    const { dtype, moves } = this.operands[i]
    return {
      level: moves ? 'element' : 'row',
      read: (width) => load(dtype, this.at[i], moves ? width : 1),
    }
  }

  /** Writes the current element of an operand. */
  store(i: number, value: Local<'v128'>, width: Width): void {
    this.f.run(store(this.f, this.operands[i].dtype, this.at[i], value, width))
  }

  /** Calls `body` for four elements at a time and then for single ones. */
  along(body: (width: Width) => void): void {
    const { f, left } = this
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

  /** Puts the pointers at the start of the row. */
  beginRow(): void {
    this.at.forEach((at, i) => {
      this.f.set(at, this.starts[i])
    })
  }

  /** Calls `body` for each row, with the pointers at its start. */
  eachRow(body: () => void): void {
    const { f } = this
    f.while(this.rows, () => {
      this.beginRow()
      body()
      this.starts.forEach((start, i) => {
        f.step(start, this.step(i))
      })
      f.step(this.rows, -1)
    })
  }

  /**
   * Reduces the only output of a program over the row, from the pointers on, into all lanes of `lanes`; `then` runs at
   * each element.
   */
  fold(
    { kind, identity, combine }: Folding,
    steps: Steps,
    lanes: Local<'v128'>,
    then: (width: Width) => void,
  ): void {
    const { f } = this
    const each = (width: Width, take: () => void): void => {
      steps.write('element', width)
      take()
      then(width)
      this.advance(width)
    }
    if (kind === 'sum') {
      this.#sum(steps, lanes, each)
      return
    }
    const other = f.local('v128')
    f.set(lanes, identity)
    this.along((width) => each(width, () => f.set(lanes, combine(lanes, steps.output(0)))))
    for (const order of [
      [2, 3, 0, 1],
      [1, 0, 3, 2],
    ] as const) {
      f.set(other, v128.shuffle(lanes, lanes, order))
      f.set(lanes, combine(lanes, other))
    }
  }

  /** Runs of elements in the four lanes, the runs and what is left over in a double. */
  #sum(steps: Steps, lanes: Local<'v128'>, each: (width: Width, take: () => void) => void): void {
    const { f, left } = this
    const total = f.local('f64')
    const stop = f.local('i32')
    const lane = (i: number): Code<'f32'> => f32x4.lane(lanes, i)
    f.set(total, f64.const(0))
    f.set(left, this.columns)
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
}

/** What a reduction does with values of a type. */
export interface Folding {
  readonly kind: ReduceKind
  readonly dtype: DType
  readonly identity: V128
  readonly combine: (a: V128, b: Local<'v128'>) => V128
}

/** How to reduce the values of a program; null where that is left to the TypeScript kernels. */
export function foldingOf(kind: ReduceKind, program: Program): Folding | null {
  const { type } = program.instructions[program.outputs[0]]
  const of = (identity: V128, combine: Folding['combine']): Folding => ({
    ...{ kind, identity, combine },
    dtype: CARRIER[type],
  })
  if (kind === 'sum') return type === 'float' ? of(f32x4.const(0), f32x4.add) : null
  if (kind === 'prod') return null
  const largest = kind === 'max'
  switch (type) {
    case 'float':
      return of(
        f32x4.const(largest ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY),
        largest ? max : min,
      )
    case 'int':
      return of(i32x4.const(largest ? -(2 ** 31) : 2 ** 31 - 1), largest ? i32x4.max : i32x4.min)
    case 'bool':
      // any and all
      return of(i32x4.const(largest ? 0 : -1), largest ? v128.or : v128.and)
    default:
      return type satisfies never
  }
}
