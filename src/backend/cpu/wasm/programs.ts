// Expression programs on WASM kernels (loops.ts): which layouts they serve, and the kernels made so far.
//
// A kernel belongs to a program, to the walk (elementwise, or a reduction along or across rows) and to which operands
// move along a row; sizes, strides, addresses and scalars are data. What lies otherwise, and what is so small that
// making a kernel would not pay, is left to the interpreter. The choice depends on program, shapes and strides alone.

import { collapse, count, walk } from '../../collapse'
import type { Program } from '../../program'
import type { DType, ReduceKind, View } from '../../types'
import { bufferOf } from '../buffer'
import type { Heap } from '../heap'
import { instantiate, type Target } from './compile'
import { acrossModule, alongModule, BLOCK, elementwiseModule, type Operand } from './loops'
import { CARRIER, isWritable } from './steps'

/** Elements below which the interpreter serves. */
const SMALLEST = 512
/** Bytes for a kernel's block of words; programs that need more are interpreted. */
const BLOCK_BYTES = 4096
const BYTES = { float32: 4, float64: 8, int32: 4, bool: 1 } as const

interface Kernel {
  run(block: number): void
}

/** The kernels on one heap. */
interface Engine {
  readonly memory: WebAssembly.Memory
  /** Address of the block of words, and views on it, which are stale after a growth. */
  readonly block: number
  words: Int32Array
  numbers: Float32Array
  generation: number
  readonly byProgram: WeakMap<Program, Map<string, Kernel | null>>
  readonly byKey: Map<string, Kernel | null>
}

const engines = new WeakMap<Heap, Engine | null>()

/** See `Backend.elementwise`. False, with nothing done, where the interpreter has to serve. */
export function wasmElementwise(
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  outputs: readonly View[],
): boolean {
  const { shape } = outputs[0]
  const used = program.usedInputs.map((i) => inputs[i])
  const views = [...used, ...outputs]
  if (count(shape) < SMALLEST || !fits(program, used, outputs)) return false
  const { shape: axes, strides } = collapse(
    shape,
    views.map((v) => v.strides),
  )
  const last = axes.length - 1
  const along = strides.map((s) => s[last])
  if (!moveByOne(along.slice(0, used.length)) || along.slice(used.length).some((s) => s !== 1)) return false
  return launch('elementwise', program, views, used.length, scalars, {
    columns: axes[last],
    rows: last > 0 ? axes[last - 1] : 1,
    along,
    steps: strides.map((s) => (last > 0 ? s[last - 1] : 0)),
    outer: axes.slice(0, Math.max(0, last - 1)),
    strides,
  })
}

/** See `Backend.reduce`. False, with nothing done, where the interpreter has to serve. */
export function wasmReduce(
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
): boolean {
  const used = program.usedInputs.map((i) => inputs[i])
  if (kind === 'prod' || used.length === 0) return false
  const { shape } = used[0]
  const rank = output.shape.length
  if (count(shape) < SMALLEST || !fits(program, used, [output])) return false
  const { type } = program.instructions[program.outputs[0]]
  if (type === 'int' || (type === 'bool' && kind === 'sum')) return false
  const reduced = collapse(
    shape.slice(rank),
    used.map((v) => v.strides.slice(rank)),
  )
  if (reduced.shape.length === 0) {
    // Reducing an axis of size 1 leaves the values.
    const kept = inputs.map((v) => ({ ...v, shape: output.shape, strides: v.strides.slice(0, rank) }))
    return wasmElementwise(program, kept, scalars, [output])
  }
  if (reduced.shape.length !== 1) return false
  const [size] = reduced.shape
  const step = reduced.strides.map((s) => s[0])
  const views = [...used, output]
  const { shape: kept, strides } = collapse(
    output.shape,
    views.map((v) => v.strides.slice(0, rank)),
  )
  const last = kept.length - 1
  const near = strides.map((s) => (last >= 0 ? s[last] : 0))
  const walked = { outer: kept.slice(0, Math.max(0, last)), strides }
  const rows = last >= 0 ? kept[last] : 1
  if (moveByOne(step)) {
    const walk = { columns: size, rows, along: [...step, 0], steps: near, ...walked }
    return launch(`${kind} along`, program, views, used.length, scalars, walk)
  }
  if (last >= 0 && moveByOne(near) && near[used.length] === 1) {
    const walk = { columns: rows, rows: size, along: near, steps: [...step, 0], ...walked }
    return launch(`${kind} across`, program, views, used.length, scalars, walk)
  }
  return false
}

/** Whether a kernel can be written at all: steps, dtypes, and the size of its block. */
function fits(program: Program, used: readonly View[], outputs: readonly View[]): boolean {
  if (bufferOf(outputs[0]).heap.memory === null) return false
  let carried = needs.get(program)
  if (!carried) {
    carried = needsOf(program)
    needs.set(program, carried)
  }
  const { inputs, results, writable } = carried
  return (
    writable && used.every((v, i) => v.dtype === inputs[i]) && outputs.every((v, k) => v.dtype === results[k])
  )
}

/** What a kernel of a program needs, whatever it is applied to. */
interface Needs {
  readonly writable: boolean
  /** Dtypes of the inputs it reads, and of the outputs. */
  readonly inputs: readonly DType[]
  readonly results: readonly DType[]
}

const needs = new WeakMap<Program, Needs>()

function needsOf(program: Program): Needs {
  const { instructions, usedInputs, outputs, scalarCount } = program
  const types = usedInputs.map((i) => [
    ...new Set(instructions.filter((s) => s.kind === 'input' && s.value === i).map((s) => s.type)),
  ])
  const bytes = BLOCK.scalar(usedInputs.length + outputs.length, scalarCount)
  return {
    writable: bytes <= BLOCK_BYTES && types.every((t) => t.length === 1) && isWritable(program),
    inputs: types.map(([type]) => CARRIER[type]),
    results: outputs.map((i) => CARRIER[instructions[i].type]),
  }
}

function moveByOne(strides: readonly number[]): boolean {
  return strides.every((s) => s === 0 || s === 1)
}

/** How a kernel walks its operands; strides count elements. */
interface Walk {
  readonly columns: number
  readonly rows: number
  /** Per operand, from element to element of a row (0 or 1), and from row to row. */
  readonly along: readonly number[]
  readonly steps: readonly number[]
  /** The axes around the rows, and each operand's strides, which begin with those along them. */
  readonly outer: readonly number[]
  readonly strides: readonly (readonly number[])[]
}

type Loops = 'elementwise' | `${Exclude<ReduceKind, 'prod'>} ${'along' | 'across'}`

function launch(
  loops: Loops,
  program: Program,
  views: readonly View[],
  inputs: number,
  scalars: readonly number[],
  { columns, rows, along, steps, outer, strides }: Walk,
): boolean {
  const { heap } = bufferOf(views[views.length - 1])
  const engine = engineOf(heap)
  const kernel = engine && kernelOf(engine, loops, program, views, inputs, along)
  if (!kernel) return false
  const { block } = engine
  if (engine.generation !== heap.generation) {
    engine.words = heap.i32(block, BLOCK_BYTES / 4)
    engine.numbers = heap.f32(block, BLOCK_BYTES / 4)
    engine.generation = heap.generation
  }
  const { words, numbers } = engine
  words[BLOCK.columns / 4] = columns
  words[BLOCK.rows / 4] = rows
  const bytes = views.map((v) => BYTES[v.dtype])
  steps.forEach((step, i) => {
    words[BLOCK.step(i) / 4] = step * bytes[i]
  })
  for (const { kind, type, value } of program.instructions) {
    if (kind !== 'scalar') continue
    const at = BLOCK.scalar(views.length, value) / 4
    if (type === 'float') numbers[at] = scalars[value]
    else words[at] = type === 'int' ? scalars[value] : Number(scalars[value] !== 0)
  }
  const starts = views.map((v) => bufferOf(v).ptr)
  const run = (offsets: readonly number[]): void => {
    for (let i = 0; i < starts.length; i++) words[BLOCK.address(i) / 4] = starts[i] + offsets[i] * bytes[i]
    kernel.run(block)
  }
  const offsets = views.map((v) => v.offset)
  if (outer.length === 0) run(offsets)
  else walk(outer, offsets, strides, run)
  return true
}

function engineOf(heap: Heap): Engine | null {
  let engine = engines.get(heap)
  if (engine === undefined) {
    engine = heap.memory && {
      memory: heap.memory,
      block: heap.allocate(BLOCK_BYTES).ptr,
      words: new Int32Array(0),
      numbers: new Float32Array(0),
      generation: -1,
      byProgram: new WeakMap(),
      byKey: new Map(),
    }
    engines.set(heap, engine)
  }
  return engine
}

function kernelOf(
  engine: Engine,
  loops: Loops,
  program: Program,
  views: readonly View[],
  inputs: number,
  along: readonly number[],
): Kernel | null {
  let own = engine.byProgram.get(program)
  if (!own) {
    own = new Map()
    engine.byProgram.set(program, own)
  }
  const variant = `${loops} ${along.join('')}`
  let kernel = own.get(variant)
  if (kernel === undefined) {
    // Another program may say the same.
    const key = `${variant} ${program.key}`
    kernel = engine.byKey.get(key)
    if (kernel === undefined) {
      const operands = views.map((v, i) => ({ dtype: v.dtype, moves: along[i] !== 0 }))
      kernel = instantiate<Kernel>(emitterOf(loops, program, operands, inputs), engine.memory)
      engine.byKey.set(key, kernel)
    }
    own.set(variant, kernel)
  }
  return kernel
}

function emitterOf(
  loops: Loops,
  program: Program,
  all: readonly Operand[],
  count: number,
): (target: Target) => Uint8Array<ArrayBuffer> {
  const operands = { inputs: all.slice(0, count), outputs: all.slice(count) }
  if (loops === 'elementwise') return (target) => elementwiseModule(program, operands, target)
  const [kind, way] = loops.split(' ') as [Exclude<ReduceKind, 'prod'>, 'along' | 'across']
  return (target) => (way === 'along' ? alongModule : acrossModule)(kind, program, operands, target)
}
