// Starting kernels of expression programs: how their work is shared by threads, the block of words they read, and the
// kernels made so far.

import { count, walk } from '../../collapse'
import type { ScalarType } from '../../expr'
import { BYTES_PER_ELEMENT, type View } from '../../types'
import { bufferOf } from '../buffer'
import type { Body, Target } from './emitter'
import { BLOCK, type Operand, type Pointer } from './kernel'
import { moduleOf } from './loops'
import { PARAMETERS, type Threads, threadsOf } from './threads'

/** Columns are divided by multiples of this: a line of the cache belongs to one thread. */
const LINE = 16

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

/** The axes that the work of a kernel may be divided by: of a sum not those it runs over. */
export type Cuts = 'all' | 'rows' | 'columns'

/** What a kernel is made of: `write` may be called when there is none of this `name` and `key` yet. */
export interface Recipe {
  /** Kernels of one owner are found without its key. */
  readonly owner: object
  readonly key: string
  /** Tells the owner's kernels apart. */
  readonly name: string
  readonly cuts: Cuts
  /** About how long one element takes. */
  readonly ns: number
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

/** The kernels made for some threads. */
interface Engine {
  readonly byOwner: WeakMap<object, Map<string, Instance | null>>
  readonly byKey: Map<string, Instance | null>
}

const engines = new WeakMap<Threads, Engine>()

/** Whether a kernel's block has room for so many operands and scalars. */
export function hasRoom(operands: number, scalars: number): boolean {
  return BLOCK.scalar(operands, scalars) <= PARAMETERS
}

/** Runs a kernel over views on one heap; false, with nothing done, where it may not be compiled. */
export function launch(
  recipe: Recipe,
  views: readonly View[],
  scalars: readonly Scalar[],
  way: Walk,
): boolean {
  const threads = threadsOf(bufferOf(views[views.length - 1]).heap)
  const kernel = threads && kernelOf(threads, recipe, views, way.along)
  if (!kernel) return false
  const bytes = views.map((v) => BYTES_PER_ELEMENT[v.dtype])
  const starts = views.map((v) => bufferOf(v).ptr)
  const run = ({ columns, rows, steps, outer, strides }: Walk, first: readonly number[]): void => {
    let block = -1
    const at = (offsets: readonly number[]): void => {
      const parameters = threads.parameters(BLOCK.scalar(views.length, scalars.length))
      const { words, numbers } = threads
      const word = parameters >>> 2
      for (let i = 0; i < starts.length; i++)
        words[word + BLOCK.address(i) / 4] = starts[i] + offsets[i] * bytes[i]
      if (parameters !== block) {
        block = parameters
        words[word + BLOCK.columns / 4] = columns
        words[word + BLOCK.rows / 4] = rows
        for (let i = 0; i < views.length; i++) words[word + BLOCK.step(i) / 4] = steps[i] * bytes[i]
        for (const { index, type, value } of scalars) {
          const place = word + BLOCK.scalar(views.length, index) / 4
          if (type === 'float') numbers[place] = value
          else words[place] = type === 'int' ? value : Number(value !== 0)
        }
      }
      kernel.run(block)
    }
    if (outer.length === 0) at(first)
    else walk(outer, first, strides, at)
  }
  const offsets = views.map((v) => v.offset)
  const work = recipe.ns * way.columns * way.rows * count(way.outer)
  const cut = cutOf(recipe.cuts, way, threads.pieces(work))
  threads.split(cut.size, cut.step, work, (first, size) => {
    if (size === cut.size) run(way, offsets)
    else
      run(
        cut.part(size),
        offsets.map((offset, i) => offset + first * cut.strides[i]),
      )
  })
  return true
}

/** An axis to divide the work by. */
interface Cut {
  readonly size: number
  readonly step: number
  /** By operand. */
  readonly strides: readonly number[]
  part(size: number): Walk
}

/** The outermost axis that is long enough for so many pieces, else the longest. */
function cutOf(cuts: Cuts, way: Walk, pieces: number): Cut {
  const { columns, rows, along, steps, outer, strides } = way
  const all: Cut[] = []
  if (outer.length > 0) {
    const part = (size: number): Walk => ({ ...way, outer: [size, ...outer.slice(1)] })
    all.push({ size: outer[0], step: 1, strides: strides.map((s) => s[0]), part })
  }
  if (cuts !== 'columns')
    all.push({ size: rows, step: 1, strides: steps, part: (size) => ({ ...way, rows: size }) })
  if (cuts !== 'rows')
    all.push({ size: columns, step: LINE, strides: along, part: (size) => ({ ...way, columns: size }) })
  const units = (cut: Cut): number => cut.size / cut.step
  return all.find((cut) => units(cut) >= pieces) ?? all.reduce((a, b) => (units(b) > units(a) ? b : a))
}

function kernelOf(
  threads: Threads,
  recipe: Recipe,
  views: readonly View[],
  along: readonly number[],
): Instance | null {
  let engine = engines.get(threads)
  if (!engine) {
    engine = { byOwner: new WeakMap(), byKey: new Map() }
    engines.set(threads, engine)
  }
  const { byOwner, byKey } = engine
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
    kernel = threads.instantiate<Instance>(emit)
    byKey.set(key, kernel)
  }
  own.set(name, kernel)
  return kernel
}
