// One program over many tensors, as many to a launch as the device can bind: see shaders/elementwise-each.wgsl and
// reduce-each.wgsl. Buffers that tensors share (an optimizer's state) are bound once.

import elementwiseTemplate from '../../../shaders/elementwise-each.wgsl'
import reduceTemplate from '../../../shaders/reduce-each.wgsl'
import { collapse, count } from '../collapse'
import type { Program } from '../program'
import type { ElementwiseCall, ReduceKind, View } from '../types'
import { Bindings, blockOf } from './bindings'
import { elementwise, pushScalars } from './elementwise'
import type { Engine } from './engine'
import { eachOfFour, FOURS_FROM, fourOf, goesInFours } from './fours'
import { combineLanes, laneValues } from './lanes'
import { MAX_WORDS, word } from './params'
import type { Block } from './pool'
import { accumulatorOf, combineCode, identityCode, PASS, reduce } from './reduce'
import type { TemplateValues } from './template'
import { convert, load, programCode, store, WGSL_TYPE } from './wgsl-program'

/** Windows of one tensor of a launch: those the program reads, then those it writes. */
interface Part {
  readonly length: number
  readonly views: readonly View[]
  /** Whether a window moves with the element, rather than being one element repeated. */
  readonly moves: readonly boolean[]
}

/** The call as runs of memory, or null where a window is neither contiguous nor one element. */
function partOf(views: readonly View[]): Part | null {
  const { shape, strides } = collapse(
    views[0].shape,
    views.map((v) => v.strides),
  )
  if (shape.length > 1) return null
  const steps = strides.map(([s]) => s ?? 0)
  if (steps.some((s) => s !== 0 && s !== 1)) return null
  return { length: count(shape), views, moves: steps.map((s) => s === 1) }
}

/** Cuts `parts` into lists that fit one launch, in order; `own` bindings and parameter words are taken already. */
function launches(engine: Engine, parts: readonly Part[], own: number, words: number): Part[][] {
  const lists: Part[][] = []
  let blocks = new Set<Block>()
  for (const part of parts) {
    const last = lists.at(-1)
    const mine = part.views.map(blockOf)
    const together = new Set([...blocks, ...mine])
    const room = engine.maxBindings - own
    const wanted = words + ((last?.length ?? 0) + 1) * (2 + part.views.length)
    if (last && together.size <= room && wanted <= MAX_WORDS) {
      last.push(part)
      blocks = together
    } else {
      lists.push([part])
      blocks = new Set(mine)
    }
  }
  return lists
}

/** `if (position < end of part 0) { … } else if (…) … else { … }` */
function choose(
  parts: readonly Part[],
  position: string,
  end: (p: number) => string,
  code: string[],
): string {
  return parts
    .map((_, p) => {
      const head = p === parts.length - 1 ? '' : `if (${position} < ${end(p)}) `
      return `${p === 0 ? '  ' : ' else '}${head}{\n${code[p]}\n  }`
    })
    .join('')
}

/** See `elementwiseEach` in backend/each.ts. */
export function elementwiseEach(
  engine: Engine,
  program: Program,
  calls: readonly ElementwiseCall[],
  scalars: readonly number[],
): void {
  const parts: Part[] = []
  for (const { inputs, outputs } of calls) {
    if (count(outputs[0].shape) === 0) continue
    const part = partOf([...program.usedInputs.map((i) => inputs[i]), ...outputs])
    if (part) parts.push(part)
    else elementwise(engine, program, inputs, scalars, outputs)
  }
  for (const list of launches(engine, parts, 0, 4 + scalars.length)) {
    if (list.length > 1) launch(engine, program, list, scalars)
    else {
      const { views } = list[0]
      const used = program.usedInputs.length
      // Inputs that the program does not read need no place.
      const inputs: View[] = []
      program.usedInputs.forEach((i, v) => {
        inputs[i] = views[v]
      })
      elementwise(engine, program, inputs, scalars, views.slice(used))
    }
  }
}

function launch(engine: Engine, program: Program, parts: readonly Part[], scalars: readonly number[]): void {
  const used = program.usedInputs.length
  const width = parts[0].views.length
  const bindings = new Bindings()
  const lanes = engine.fallback && inFours(parts, used) ? 4 : 1
  const arrays = parts.map(({ views }) => views.map((view, v) => bindings.add(view, v >= used, lanes)))
  const moves = parts.map((part) => part.moves.map(Number).join('')).join()
  const first = (p: number): number => 4 + p * (1 + width)
  const end = (p: number): string => word(first(p))
  const at = (p: number, v: number): string =>
    `i32(${word(first(p) + 1 + v)}${parts[p].moves[v] ? ` + i${p > 0 ? ` - ${end(p - 1)}` : ''}` : ''})`
  engine.run({
    op: 'elementwise',
    key: `each|${lanes}|${moves}|${program.key}`,
    template: elementwiseTemplate,
    bindings,
    count: parts.reduce((n, part) => n + part.length / lanes, 0),
    extra: 0,
    values: () => {
      if (lanes === 4) return fourValues(program, parts, arrays, end, at, first(parts.length))
      const inputs = program.instructions.filter((s) => s.kind === 'input')
      const name = (index: number): string => `x${index}`
      const loads = parts.map(({ views }, p) =>
        inputs
          .map(({ value, type }) => {
            const v = program.usedInputs.indexOf(value)
            return `    ${name(value)} = ${load(arrays[p][v], at(p, v), views[v].dtype, type)};`
          })
          .join('\n'),
      )
      const stores = parts.map(({ views }, p) =>
        program.outputs
          .map((step, k) => {
            const { type } = program.instructions[step]
            const v = used + k
            return `    ${store(arrays[p][v], at(p, v), views[v].dtype, `v${step}`, type)}`
          })
          .join('\n'),
      )
      return {
        LOADS: [
          ...inputs.map(({ value, type }) => `  var ${name(value)}: ${WGSL_TYPE[type]};`),
          choose(parts, 'i', end, loads),
        ].join('\n'),
        BODY: programCode(program, name, (i) => word(first(parts.length) + i)),
        STORES: choose(parts, 'i', end, stores),
      }
    },
    fill: (params) => {
      let total = 0
      for (const { length, views, moves } of parts) {
        total += length / lanes
        params.int(total, ...views.map((view, v) => (moves[v] ? view.offset / lanes : view.offset)))
      }
      pushScalars(params, program, scalars)
    },
  })
}

/** Whether all parts go in fours, and what they have in common is the same in all of them. */
function inFours(parts: readonly Part[], used: number): boolean {
  const total = parts.reduce((n, { length }) => n + length, 0)
  return (
    total >= FOURS_FROM &&
    parts.every(
      ({ length, views, moves }) =>
        length % 4 === 0 &&
        views.every(
          (view, v) =>
            view.dtype === parts[0].views[v].dtype && goesInFours(view, Number(moves[v]), [], v >= used),
        ),
    )
  )
}

/** The kernel's text for four elements at a time: one element repeated is read into all of a vector. */
function fourValues(
  program: Program,
  parts: readonly Part[],
  arrays: readonly (readonly string[])[],
  end: (p: number) => string,
  at: (p: number, v: number) => string,
  firstScalar: number,
): TemplateValues {
  const used = program.usedInputs
  const { views } = parts[0]
  const written = program.outputs.map((_, k) => used.length + k)
  const read = (p: number, v: number): string =>
    parts[p].moves[v]
      ? `${arrays[p][v]}[${at(p, v)}]`
      : `${fourOf(views[v])}(${arrays[p][v]}[${at(p, v)} >> 2u][${at(p, v)} & 3])`
  const element = (c: number): string =>
    [
      programCode(
        program,
        (i, type) => load(`x${used.indexOf(i)}`, `${c}`, views[used.indexOf(i)].dtype, type),
        (i) => word(firstScalar + i),
        '    ',
      ),
      ...written.map((v, k) => {
        const step = program.outputs[k]
        return `    ${store(`x${v}`, `${c}`, views[v].dtype, `v${step}`, program.instructions[step].type)}`
      }),
    ].join('\n')
  return {
    LOADS: [
      ...views.map((view, v) => `  var x${v}: ${fourOf(view)};`),
      choose(
        parts,
        'i',
        end,
        parts.map((_, p) => used.map((_, v) => `    x${v} = ${read(p, v)};`).join('\n')),
      ),
    ].join('\n'),
    BODY: eachOfFour('  ', element),
    STORES: choose(
      parts,
      'i',
      end,
      parts.map((_, p) => written.map((v) => `    ${arrays[p][v]}[${at(p, v)}] = x${v};`).join('\n')),
    ),
  }
}

/** Elements of a chunk, so that there are about as many chunks as the adapter can work on at once. */
function chunkLength(engine: Engine, total: number): number {
  return engine.fallback ? Math.max(256, Math.ceil(total / 256)) : Math.max(4096, Math.ceil(total / 1024))
}

/** See `reduceEach` in backend/each.ts. */
export function reduceEach(
  engine: Engine,
  kind: ReduceKind,
  program: Program,
  operands: readonly (readonly View[])[],
  scalars: readonly number[],
  output: View,
): void {
  const total = operands.reduce((n, inputs) => n + count(inputs[0].shape), 0)
  const length = chunkLength(engine, total)
  const parts: Part[] = []
  const others: (readonly View[])[] = []
  for (const inputs of operands) {
    const part = partOf(program.usedInputs.map((i) => inputs[i]))
    if (part) parts.push(part)
    else others.push(inputs)
  }
  const chunks = parts.reduce((n, part) => n + Math.ceil(part.length / length), 0)
  const type = accumulatorOf(program)
  engine.withScratch(type === 'int' ? 'int32' : 'float32', chunks + others.length, (scratch) => {
    let first = 0
    for (const list of launches(engine, parts, 1, 8 + scalars.length))
      first += reduceList(engine, kind, program, list, scalars, scratch, first, length)
    for (const inputs of others) {
      const place = { ...scratch, offset: first++, shape: [], strides: [] }
      reduce(engine, kind, program, inputs, scalars, place)
    }
    reduce(engine, kind, PASS[type], [scratch], [], { ...output, shape: [], strides: [] })
  })
}

/** Leaves a value per chunk in `scratch` from `first` on; returns how many. */
function reduceList(
  engine: Engine,
  kind: ReduceKind,
  program: Program,
  parts: readonly Part[],
  scalars: readonly number[],
  scratch: View,
  first: number,
  length: number,
): number {
  const tree = !engine.fallback
  const width = parts[0].views.length
  const bindings = new Bindings()
  const arrays = parts.map(({ views }) => views.map((view) => bindings.add(view)))
  const PARTS = bindings.add(scratch, true)
  const moves = parts.map((part) => part.moves.map(Number).join('')).join()
  const place = (p: number): number => 8 + p * (2 + width)
  const end = (p: number): string => word(place(p))
  const chunks = parts.reduce((n, part) => n + Math.ceil(part.length / length), 0)
  engine.run({
    op: kind,
    key: `each|${tree}|${moves}|${program.key}`,
    template: reduceTemplate,
    bindings,
    count: chunks,
    extra: first,
    byGroup: tree,
    values: () => {
      const type = accumulatorOf(program)
      const step = program.outputs[0]
      const value = convert(`v${step}`, program.instructions[step].type, type)
      const body = (p: number): string =>
        programCode(
          program,
          (i, scalarType) => {
            const v = program.usedInputs.indexOf(i)
            const moving = parts[p].moves[v] ? ' + k' : ''
            const at = `i32(${word(place(p) + 2 + v)}${moving})`
            return load(arrays[p][v], at, parts[p].views[v].dtype, scalarType)
          },
          (i) => word(place(parts.length) + i),
          '        ',
        )
      const code = parts.map((_, p) => {
        const before = p > 0 ? ` - ${end(p - 1)}` : ''
        const range = [
          `    let begin = (c${before}) * params[1].x;`,
          `    let stop = min(begin + params[1].x, ${word(place(p) + 1)});`,
        ]
        const loop = tree
          ? [
              `    for (var k = begin + lane; k < stop; k += 64u) {`,
              body(p),
              `      total = ${combineCode(kind, type, 'total', value)};`,
              '    }',
            ]
          : [
              `    for (var first = begin; first < stop; first += 32u) {`,
              `      var part = ${identityCode(kind, type)};`,
              `      for (var k = first; k < min(first + 32u, stop); k++) {`,
              body(p),
              `        part = ${combineCode(kind, type, 'part', value)};`,
              '      }',
              `      total = ${combineCode(kind, type, 'total', 'part')};`,
              '    }',
            ]
        return [...range, ...loop].join('\n')
      })
      return {
        TREE: tree,
        TYPE: WGSL_TYPE[type],
        IDENTITY: identityCode(kind, type),
        CHUNKS: choose(parts, 'c', end, code),
        ...laneValues(tree && engine.subgroups),
        COMBINE_LANES: combineLanes(engine.subgroups, 'total', 'lanes', identityCode(kind, type), (a, b) =>
          combineCode(kind, type, a, b),
        ),
        PARTS,
      }
    },
    fill: (params) => {
      params.int(length, 0, 0, 0)
      let upTo = 0
      for (const part of parts) {
        upTo += Math.ceil(part.length / length)
        params.int(upTo, part.length, ...part.views.map((view) => view.offset))
      }
      pushScalars(params, program, scalars)
    },
  })
  return chunks
}
