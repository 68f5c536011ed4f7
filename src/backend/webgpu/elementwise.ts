// Elementwise programs: see shaders/elementwise.wgsl.

import template from '../../../shaders/elementwise.wgsl'
import { DeviceError } from '../../errors'
import { input, type ScalarType } from '../expr'
import { Program } from '../program'
import type { DType, View } from '../types'
import { type Collapsed, collapse, count } from '../collapse'
import { Bindings, blockOf } from './bindings'
import type { Engine } from './engine'
import { eachOfFour, FOURS_FROM, fourOf, goesInFours, placeInFour } from './fours'
import { offsetsCode, type Params, walkLength, word } from './params'
import type { Block } from './pool'
import { load, programCode, scalarTypeOf, store } from './wgsl-program'

/** See `Backend.elementwise`. */
export function elementwise(
  engine: Engine,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  outputs: readonly View[],
): void {
  if (outputs.length === 0 || count(outputs[0].shape) === 0) return
  const { shape } = outputs[0]
  withFewBuffers(engine, 'elementwise', program, inputs, outputs, (operands) => {
    const used = program.usedInputs.map((i) => operands[i])
    const views = [...used, ...outputs]
    const whole = collapse(
      shape,
      views.map((view) => view.strides),
    )
    const lanes = engine.fallback ? lanesOf(whole, views, used.length) : 1
    const walk = lanes === 4 ? inFours(whole) : whole
    const rank = walk.shape.length
    const moves = walk.strides.map((strides) => (strides.at(-1) ?? 0) !== 0)
    const bindings = new Bindings()
    const arrays = views.map((view, v) => bindings.add(view, v >= used.length, lanes))
    engine.run({
      op: 'elementwise',
      key: `${rank}|${lanes === 4 ? moves.map(Number).join('') : ''}|${program.key}`,
      template,
      bindings,
      count: count(walk.shape),
      extra: 0,
      values: () => {
        const firstScalar = 4 + walkLength(rank, views.length)
        const names = views.map((_, v) => `o${v}`)
        return {
          OFFSETS: offsetsCode(rank, names, 4, 'i'),
          BODY: (lanes === 4 ? fourElements : oneElement)({ program, views, arrays, moves, firstScalar }),
        }
      },
      fill: (params) => {
        params.walk(
          walk,
          views.map((view) => view.offset),
        )
        pushScalars(params, program, scalars)
      },
    })
  })
}

/** How many elements an invocation takes: 4 where all that moves along the last axis does so in aligned fours. */
function lanesOf({ shape, strides }: Collapsed, views: readonly View[], inputs: number): 1 | 4 {
  if (count(shape) < FOURS_FROM || (shape.at(-1) ?? 1) % 4 !== 0) return 1
  const fits = (view: View, v: number): boolean =>
    goesInFours(view, strides[v].at(-1) ?? 0, strides[v].slice(0, -1), v >= inputs)
  return views.every(fits) ? 4 : 1
}

/** The same walk, a step of its last axis being four elements. */
function inFours({ shape, strides }: Collapsed): Collapsed {
  return {
    shape: shape.map((size, d) => (d === shape.length - 1 ? size / 4 : size)),
    strides: strides.map((list) => list.map((step, d) => (d === shape.length - 1 ? 4 * step : step))),
  }
}

interface Element {
  readonly program: Program
  /** Windows read, then those written: window v lies in arrays[v] at o<v>. */
  readonly views: readonly View[]
  readonly arrays: readonly string[]
  /** Which windows go along the last axis. */
  readonly moves: readonly boolean[]
  readonly firstScalar: number
}

function oneElement({ program, views, arrays, firstScalar }: Element): string {
  const used = program.usedInputs
  return [
    programCode(
      program,
      (i, type) => load(arrays[used.indexOf(i)], `o${used.indexOf(i)}`, views[used.indexOf(i)].dtype, type),
      (i) => word(firstScalar + i),
    ),
    ...program.outputs.map((step, k) => {
      const v = used.length + k
      return `  ${store(arrays[v], `o${v}`, views[v].dtype, `v${step}`, program.instructions[step].type)}`
    }),
  ].join('\n')
}

/** Four elements of arrays of vectors: read, computed one after the other, written. */
function fourElements({ program, views, arrays, moves, firstScalar }: Element): string {
  const used = program.usedInputs
  const element = (c: number): string =>
    [
      programCode(
        program,
        (i, type) => {
          const v = used.indexOf(i)
          return load(`x${v}`, placeInFour(c, moves[v], `o${v}`), views[v].dtype, type)
        },
        (i) => word(firstScalar + i),
        '    ',
      ),
      ...program.outputs.map((step, k) => {
        const v = used.length + k
        return `    ${store(`x${v}`, `${c}`, views[v].dtype, `v${step}`, program.instructions[step].type)}`
      }),
    ].join('\n')
  const at = (v: number): string => `${arrays[v]}[o${v} >> 2u]`
  const written = program.outputs.map((_, k) => used.length + k)
  return [
    ...used.map((_, v) => `  let x${v} = ${at(v)};`),
    ...written.map((v) => `  var x${v}: ${fourOf(views[v])};`),
    eachOfFour('  ', element),
    ...written.map((v) => `  ${at(v)} = x${v};`),
  ].join('\n')
}

const scalarTypes = new WeakMap<Program, ScalarType[]>()

/** Writes the call-time numbers of a program, each as the type it is used with. */
export function pushScalars(params: Params, program: Program, scalars: readonly number[]): void {
  let types = scalarTypes.get(program)
  if (!types) {
    types = scalars.map(
      (_, i) => program.instructions.find((s) => s.kind === 'scalar' && s.value === i)?.type ?? 'float',
    )
    scalarTypes.set(program, types)
  }
  pushTyped(params, types, scalars)
}

/** Numbers, each as a type of its own. */
export function pushTyped(params: Params, types: readonly ScalarType[], scalars: readonly number[]): void {
  for (let i = 0; i < scalars.length; i++) {
    if (types[i] === 'float') params.float(scalars[i])
    else params.int(types[i] === 'bool' ? Number(scalars[i] !== 0) : scalars[i])
  }
}

const COPY: Record<ScalarType, Program> = {
  float: new Program([input(0, 'float')], 1),
  int: new Program([input(0, 'int')], 1),
  bool: new Program([input(0, 'bool')], 1),
}

/**
 * Calls `fn` with inputs on no more buffers than a kernel can bind together with the outputs: where there are more, some
 * inputs are first copied side by side into one scratch buffer.
 */
export function withFewBuffers(
  engine: Engine,
  op: string,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  fn: (inputs: readonly View[]) => void,
): void {
  const written = new Set(outputs.map(blockOf))
  const read = new Map<Block, View[]>()
  for (const i of program.usedInputs) {
    const block = blockOf(inputs[i])
    if (!written.has(block)) read.set(block, [...(read.get(block) ?? []), inputs[i]])
  }
  const excess = written.size + read.size - engine.maxBindings
  if (excess <= 0) {
    fn(inputs)
    return
  }
  // Buffers of one dtype share a scratch buffer; the smallest windows are the cheapest to move.
  const byType = new Map<DType, View[][]>()
  for (const views of read.values()) {
    byType.set(views[0].dtype, [...(byType.get(views[0].dtype) ?? []), views])
  }
  const most = [...byType.values()].sort((a, b) => b.length - a.length)[0] ?? []
  if (most.length <= excess) {
    throw new DeviceError(
      `webgpu: ${op} uses ${written.size + read.size} buffers, this device binds at most ${engine.maxBindings} to one kernel. Split the expression`,
    )
  }
  const sizeOf = (views: readonly View[]): number => views.reduce((n, v) => n + count(v.shape), 0)
  const moved = most
    .sort((a, b) => sizeOf(a) - sizeOf(b))
    .slice(0, excess + 1)
    .flat()
  engine.withScratch(moved[0].dtype, sizeOf(moved), (scratch) => {
    const places = new Map<View, View>()
    let offset = 0
    for (const view of moved) {
      const place = { ...scratch, offset, shape: view.shape, strides: contiguousStrides(view.shape) }
      elementwise(engine, COPY[scalarTypeOf(view.dtype)], [view], [], [place])
      places.set(view, place)
      offset += count(view.shape)
    }
    fn(inputs.map((view) => places.get(view) ?? view))
  })
}

function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step
    step *= shape[d]
  }
  return strides
}
