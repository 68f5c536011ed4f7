// The loops around an expression program: elementwise, and reduced along rows or across them.

import type { Instruction, Program } from '../../program'
import { i32 } from './code'
import { type Body, Module, type Target } from './emitter'
import { type Folding, Kernel, type Operand, type Pointer } from './kernel'
import { load, type Source, Steps, store, type Width } from './steps'

/** Rows that are summed in registers before they go on to the output; few enough to stay in the first-level cache. */
const ROWS = 64

/** The bytes of a module with the one function `run(block)`. */
export function moduleOf(target: Target, write: (f: Body, block: Pointer) => void): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  module.export('run', ['block'], (f, { block }) => write(f, block))
  return module.bytes()
}

/** The steps of a program whose used inputs are the first operands. */
function stepsOf(kernel: Kernel, program: Program): Steps {
  return new Steps(kernel.f, program, (step) => sourceOf(kernel, program, step))
}

function sourceOf(kernel: Kernel, program: Program, step: Instruction): Source {
  if (step.kind === 'scalar') return kernel.scalar(step)
  return kernel.operand(program.usedInputs.indexOf(step.value))
}

/** Evaluates a program over rows. Operands: the used inputs, then the outputs. */
export function elementwiseLoops(
  f: Body,
  block: Pointer,
  program: Program,
  operands: readonly Operand[],
): void {
  const kernel = new Kernel(f, block, operands)
  const steps = stepsOf(kernel, program)
  steps.write('call')
  kernel.eachRow(() => {
    steps.write('row')
    kernel.along(steps.vectorsPerTurn, (width, vectors) => {
      for (let v = 0; v < vectors; v++) {
        steps.write('element', width, v)
        program.outputs.forEach((_, k) => {
          kernel.store(program.usedInputs.length + k, steps.output(k), width, v)
        })
      }
    })
  })
}

/** Reduces each row to one element. Operands: the used inputs, then the output, which does not move. */
export function alongLoops(
  f: Body,
  block: Pointer,
  folding: Folding,
  program: Program,
  operands: readonly Operand[],
): void {
  const kernel = new Kernel(f, block, operands)
  const steps = stepsOf(kernel, program)
  steps.write('call')
  kernel.eachRow(() => {
    steps.write('row')
    kernel.store(operands.length - 1, kernel.fold(folding, steps), 1)
  })
}

/** Reduces rows of n elements to one row of n elements. Operands: the used inputs, then the output. */
export function acrossLoops(
  f: Body,
  block: Pointer,
  { identity, combine, dtype }: Folding,
  program: Program,
  operands: readonly Operand[],
): void {
  const kernel = new Kernel(f, block, operands)
  const { starts, at, rows } = kernel
  const steps = stepsOf(kernel, program)
  const out = operands.length - 1
  const inputs = starts.slice(0, out)
  const columns = starts.map(() => f.local('i32'))
  const [chunk, count, later] = [f.local('i32'), f.local('i32'), f.local('i32')]
  const lanes = Array.from({ length: steps.vectorsPerTurn }, () => f.local('v128'))
  const all = (to: readonly Pointer[], from: readonly Pointer[]): void =>
    to.forEach((pointer, i) => {
      f.set(pointer, from[i])
    })
  steps.write('call')
  f.while(rows, () => {
    f.set(chunk, i32.select(i32.const(ROWS), rows, i32.gtU(rows, ROWS)))
    all(columns, starts)
    const strip = (width: Width, many: number): void => {
      const sums = lanes.slice(0, many)
      for (const lane of sums) f.set(lane, identity)
      f.set(count, chunk)
      all(at, columns)
      f.loop((again) => {
        steps.write('row')
        for (const [v, lane] of sums.entries()) {
          steps.write('element', width, v)
          f.set(lane, combine(lane, steps.output(0)))
        }
        inputs.forEach((_, i) => {
          f.step(at[i], kernel.step(i))
        })
        f.step(count, -1)
        again(count)
      })
      f.if(later, () => {
        for (const [v, lane] of sums.entries()) {
          f.set(lane, combine(load(dtype, at[out], width, v), lane))
        }
      })
      for (const [v, lane] of sums.entries()) f.run(store(f, dtype, at[out], lane, width, v))
    }
    kernel.along(lanes.length, strip, columns)
    inputs.forEach((start, i) => {
      f.step(start, i32.mul(kernel.step(i), chunk))
    })
    f.set(rows, i32.sub(rows, chunk))
    f.set(later, i32.const(1))
  })
}
