// What the kernels of expression programs share: operands in rows, the pointers that walk them, and folding.
//
// A kernel works on rows of n elements. It finds what it needs in a block of words in memory: n, the number of rows,
// then address and bytes from row to row of each operand (inputs, then outputs), then the scalars. An operand either
// moves along the row, element by element, or has one value for all of it.

import type { Instruction, Program } from '../../program'
import { BYTES_PER_ELEMENT, type DType, type ReduceKind } from '../../types'
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
      read: (width, ahead) => (moves ? load(dtype, this.at[i], width, ahead) : load(dtype, this.at[i], 1)),
    }
  }

  /** Writes the current element of an operand, or the one `ahead` vectors after it. */
  store(i: number, value: Local<'v128'>, width: Width, ahead = 0): void {
    this.f.run(store(this.f, this.operands[i].dtype, this.at[i], value, width, ahead))
  }

  /**
   * Calls `body` along a row for so many `vectors` of four elements at a time, for single vectors and for single
   * elements, and moves the pointers on.
   */
  along(
    vectors: number,
    body: (width: Width, vectors: number) => void,
    pointers: readonly Pointer[] = this.at,
  ): void {
    this.f.set(this.left, this.columns)
    for (const many of vectors === 1 ? [1] : [vectors, 1]) {
      this.f.while(i32.geU(this.left, 4 * many), () => {
        body(4, many)
        this.#advance(4 * many, pointers)
      })
    }
    this.f.while(this.left, () => {
      body(1, 1)
      this.#advance(1, pointers)
    })
  }

  /** To later elements of a row. */
  #advance(elements: number, pointers: readonly Pointer[] = this.at): void {
    this.operands.forEach(({ dtype, moves }, i) => {
      if (moves) this.f.step(pointers[i], elements * BYTES_PER_ELEMENT[dtype])
    })
    this.f.step(this.left, -elements)
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
   * Reduces the only output of a program over the row, from the pointers on, into all lanes of the result; `then` runs
   * at each element.
   */
  fold(
    folding: Folding,
    steps: Steps,
    then: (width: Width, ahead: number) => void = () => {},
  ): Local<'v128'> {
    const lanes = Array.from({ length: steps.vectorsPerTurn }, () => this.f.local('v128'))
    const take = (combine: (lane: Local<'v128'>) => void, width: Width, many: number): void => {
      for (const [ahead, lane] of lanes.slice(0, many).entries()) {
        steps.write('element', width, ahead)
        combine(lane)
        then(width, ahead)
      }
    }
    if (folding.kind === 'sum') this.#sum(steps, lanes, take)
    else this.#extreme(folding, steps, lanes, take)
    return lanes[0]
  }

  #extreme({ identity, combine }: Folding, steps: Steps, lanes: readonly Local<'v128'>[], take: Take): void {
    const { f } = this
    const [first, ...others] = lanes
    for (const lane of lanes) f.set(lane, identity)
    const value = steps.output(0)
    this.along(lanes.length, (width, many) => take((lane) => f.set(lane, combine(lane, value)), width, many))
    for (const lane of others) f.set(first, combine(first, lane))
    const other = f.local('v128')
    for (const order of [
      [2, 3, 0, 1],
      [1, 0, 3, 2],
    ] as const) {
      f.set(other, v128.shuffle(first, first, order))
      f.set(first, combine(first, other))
    }
  }

  /** Runs of elements in the lanes, the runs and what is left over in a double. */
  #sum(steps: Steps, lanes: readonly Local<'v128'>[], take: Take): void {
    const { f, left } = this
    const [first, ...others] = lanes
    const total = f.local('f64')
    const stop = f.local('i32')
    const lane = (i: number): Code<'f32'> => f32x4.lane(first, i)
    const value = steps.output(0)
    f.set(total, f64.const(0))
    f.set(left, this.columns)
    f.while(i32.geU(left, 4), () => {
      f.set(stop, i32.select(i32.sub(left, RUN), i32.and(left, 3), i32.geU(left, RUN)))
      for (const sum of lanes) f.set(sum, f32x4.const(0))
      for (const many of others.length > 0 ? [lanes.length, 1] : [1]) {
        f.while(i32.geU(i32.sub(left, stop), 4 * many), () => {
          take((sum) => f.set(sum, f32x4.add(sum, value)), 4, many)
          this.#advance(4 * many)
        })
      }
      for (const sum of others) f.set(first, f32x4.add(first, sum))
      const sum = f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)))
      f.set(total, f64.add(total, f64.promote(sum)))
    })
    f.while(left, () => {
      take(() => f.set(total, f64.add(total, f64.promote(f32x4.lane(value, 0)))), 1, 1)
      this.#advance(1)
    })
    f.set(first, f32x4.splat(f64.demote(total)))
  }
}

/** Computes some vectors of a program's values and combines each with its own lanes. */
type Take = (combine: (lane: Local<'v128'>) => void, width: Width, vectors: number) => void

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
