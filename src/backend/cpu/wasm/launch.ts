// Starting kernels of expression programs: the block of words they read, and the kernels made so far, by heap.

import { walk } from '../../collapse'
import type { ScalarType } from '../../expr'
import { BYTES_PER_ELEMENT, type View } from '../../types'
import { bufferOf } from '../buffer'
import type { Heap } from '../heap'
import { instantiate } from './compile'
import type { Body, Target } from './emitter'
import { BLOCK, type Operand, type Pointer } from './kernel'
import { moduleOf } from './loops'

/** Bytes for a kernel's block of words. */
const BLOCK_BYTES = 4096

/** How a kernel walks its operands; strides count elements. */
export interface Walk {
  readonly columns: number
  readonly rows: number
  /** Per operand, from element to element of a row (0 or 1), and from row to row. */
  readonly along: readonly number[]
  readonly steps: readonly number[]
  /** The axes around the rows, and each operand's strides, which begin with those along them. */
  readonly outer: readonly number[]
  readonly strides: readonly (readonly number[])[]
}

/** What a kernel is made of: `write` may be called when there is none of this `name` and `key` yet. */
export interface Recipe {
  /** Kernels of one owner are found without its key. */
  readonly owner: object
  readonly key: string
  /** Tells the owner's kernels apart. */
  readonly name: string
  write(f: Body, block: Pointer, operands: readonly Operand[]): void
}

/** A number for a kernel and the type it has there. */
export interface Scalar {
  readonly index: number
  readonly type: ScalarType
  readonly value: number
}

interface Instance {
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
  readonly byOwner: WeakMap<object, Map<string, Instance | null>>
  readonly byKey: Map<string, Instance | null>
}

const engines = new WeakMap<Heap, Engine>()

/** Whether a kernel's block has room for so many operands and scalars. */
export function hasRoom(operands: number, scalars: number): boolean {
  return BLOCK.scalar(operands, scalars) <= BLOCK_BYTES
}

/** Runs a kernel over views on one heap; false, with nothing done, where it may not be compiled. */
export function launch(
  recipe: Recipe,
  views: readonly View[],
  scalars: readonly Scalar[],
  { columns, rows, along, steps, outer, strides }: Walk,
): boolean {
  const engine = engineOf(bufferOf(views[views.length - 1]).heap)
  const kernel = engine && kernelOf(engine, recipe, views, along)
  if (!kernel) return false
  const { block, words, numbers } = engine
  const bytes = views.map((v) => BYTES_PER_ELEMENT[v.dtype])
  words[BLOCK.columns / 4] = columns
  words[BLOCK.rows / 4] = rows
  for (let i = 0; i < views.length; i++) words[BLOCK.step(i) / 4] = steps[i] * bytes[i]
  for (const { index, type, value } of scalars) {
    const at = BLOCK.scalar(views.length, index) / 4
    if (type === 'float') numbers[at] = value
    else words[at] = type === 'int' ? value : Number(value !== 0)
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
  if (!heap.memory) return null
  let engine = engines.get(heap)
  if (!engine) {
    engine = {
      memory: heap.memory,
      block: heap.allocate(BLOCK_BYTES).ptr,
      words: new Int32Array(0),
      numbers: new Float32Array(0),
      generation: -1,
      byOwner: new WeakMap(),
      byKey: new Map(),
    }
    engines.set(heap, engine)
  }
  if (engine.generation !== heap.generation) {
    engine.words = heap.i32(engine.block, BLOCK_BYTES / 4)
    engine.numbers = heap.f32(engine.block, BLOCK_BYTES / 4)
    engine.generation = heap.generation
  }
  return engine
}

function kernelOf(
  { memory, byOwner, byKey }: Engine,
  recipe: Recipe,
  views: readonly View[],
  along: readonly number[],
): Instance | null {
  let own = byOwner.get(recipe.owner)
  if (!own) {
    own = new Map()
    byOwner.set(recipe.owner, own)
  }
  const name = `${recipe.name} ${along.join('')}`
  let kernel = own.get(name)
  if (kernel !== undefined) return kernel
  // Another owner may say the same.
  const key = `${name} ${recipe.key}`
  kernel = byKey.get(key)
  if (kernel === undefined) {
    const operands = views.map((v, i) => ({ dtype: v.dtype, moves: along[i] !== 0 }))
    const emit = (target: Target) => moduleOf(target, (f, block) => recipe.write(f, block, operands))
    kernel = instantiate<Instance>(emit, memory)
    byKey.set(key, kernel)
  }
  own.set(name, kernel)
  return kernel
}
