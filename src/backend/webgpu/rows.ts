// Row plans as one kernel: see shaders/rows.wgsl. Whether a row is worked off by one invocation or by a workgroup depends
// on shapes, layout and adapter class alone; so does whether an invocation goes through its row in fours.

import template from '../../../shaders/rows.wgsl'
import { collapse, count } from '../collapse'
import type { Program } from '../program'
import type { RowCall, RowPlan } from '../rows'
import type { View } from '../types'
import { Bindings, blockOf } from './bindings'
import { pushTyped } from './elementwise'
import type { Engine } from './engine'
import { eachOfFour, FOURS_FROM, fourOf, goesInFours, placeInFour } from './fours'
import { combineLanes, laneValues } from './lanes'
import { offsetsCode, signedWord, walkLength, word } from './params'
import { accumulatorOf, combineCode, identityCode } from './reduce'
import type { TemplateValues } from './template'
import { convert, load, programCode, store, WGSL_TYPE } from './wgsl-program'

/** Longest rows: for an invocation on software, on hardware, and for a workgroup. Longer ones are reduced in chunks. */
const LONGEST = { software: 4096, invocation: 1024, workgroup: 65_536 } as const
/** From here on a row is worth a workgroup. */
const SHARED_FROM = 32

/** Runs a plan; false where it is not for one kernel. See `rowwise`. */
export function rows(engine: Engine, plan: RowPlan, call: RowCall): boolean {
  const { outer, scalars } = call
  const { shape } = call.inputs[0]
  const operands = plan.operands
    .map((_, i) => i)
    .filter((i) => plan.programs.some((p) => p.usedInputs.includes(i)))
  const inputs = operands.map((i) => call.inputs[i])
  const wide = [...inputs, ...call.elements]
  const inner = collapse(
    shape.slice(outer),
    wide.map((v) => v.strides.slice(outer)),
  )
  if (inner.shape.length > 1) return false
  const length = count(inner.shape)
  const along = wide.map((_, v) => inner.strides[v]?.[0] ?? 0)
  const outerShape = shape.slice(0, outer)
  const outerViews = [...wide, ...call.rows]
  const walk = collapse(
    outerShape,
    outerViews.map((v) => v.strides.slice(0, outer)),
  )
  const tree =
    !engine.fallback && length >= SHARED_FROM && !acrossIsNearer(walk.strides, along, inputs.length)
  const longest = tree ? LONGEST.workgroup : engine.fallback ? LONGEST.software : LONGEST.invocation
  if (length > longest) return false
  // Results per row lie elsewhere, since their neighbours belong to other invocations.
  const fours =
    engine.fallback &&
    length % 4 === 0 &&
    count(shape) >= FOURS_FROM &&
    wide.every((view, v) => goesInFours(view, along[v], walk.strides[v], v >= inputs.length)) &&
    call.rows.every((row) => wide.every((view) => blockOf(view) !== blockOf(row)))
  const bindings = new Bindings()
  const arrays = outerViews.map((v, i) =>
    bindings.add(v, i >= inputs.length, fours && i < wide.length ? 4 : 1),
  )
  if (bindings.blocks.length > engine.maxBindings) return false
  const rank = walk.shape.length
  const firstStep = 4 + walkLength(rank, outerViews.length)
  engine.run({
    op: 'rows',
    key: `${tree}|${fours ? along.join('') : ''}|${rank}|${plan.key}`,
    template,
    bindings,
    count: count(outerShape),
    extra: length,
    byGroup: tree,
    values: () =>
      new RowCode(
        plan,
        operands,
        inputs,
        call,
        arrays,
        tree,
        engine.subgroups,
        fours ? along : null,
        firstStep + wide.length,
      ).values(rank, firstStep),
    fill: (params) => {
      params.walk(
        walk,
        outerViews.map((v) => v.offset),
      )
      params.int(...along)
      pushTyped(params, plan.scalarTypes, scalars)
    },
  })
  return true
}

/** Whether neighbouring rows lie closer together in memory than neighbours in a row. */
function acrossIsNearer(
  outer: readonly (readonly number[])[],
  along: readonly number[],
  operands: number,
): boolean {
  let kept = 0
  let reduced = 0
  for (let v = 0; v < operands; v++) {
    const across = Math.abs(outer[v].at(-1) ?? 0)
    const step = Math.abs(along[v])
    if (across === 0 || step === 0) continue
    kept += across
    reduced += step
  }
  return kept < reduced
}

/** The template values of one kernel. */
class RowCode {
  constructor(
    readonly plan: RowPlan,
    readonly operands: readonly number[],
    readonly inputs: readonly View[],
    readonly call: RowCall,
    readonly arrays: readonly string[],
    readonly tree: boolean,
    readonly subgroups: boolean,
    /** The steps along the row, where that goes in fours. */
    readonly fours: readonly number[] | null,
    readonly firstScalar: number,
  ) {}

  values(rank: number, firstStep: number): TemplateValues {
    const { plan, call, arrays, inputs } = this
    const wide = inputs.length + call.elements.length
    const types = new Set(plan.reductions.map(({ program }) => WGSL_TYPE[accumulatorOf(program)]))
    return {
      TREE: this.tree,
      ...laneValues(this.tree && this.subgroups),
      STEP: this.fours ? 4 : 1,
      LANES: [...types].map((type) => `var<workgroup> lanes_${type}: array<${type}, 64>;`).join('\n'),
      OUTER: offsetsCode(
        rank,
        arrays.map((_, v) => `o${v}`),
        4,
        'i',
      ),
      STEPS: Array.from({ length: wide }, (_, v) => `  let s${v} = ${signedWord(firstStep + v)};`).join('\n'),
      REDUCTIONS: plan.reductions.map((_, j) => this.#reduction(j)).join('\n'),
      ELEMENTS: plan.elements ? this.#elements(plan.elements) : '',
      ROWS: plan.rows ? this.#rows(plan.rows) : '',
    }
  }

  /** The place in memory of window v at position k of the row. */
  #at(v: number): string {
    return `${this.arrays[v]}[(o${v} + i32(k) * s${v})${this.fours ? ' >> 2u' : ''}]`
  }

  /** Reads the vectors of a program's operands; single elements are read where they are used. */
  #vectors(program: Program): string {
    if (!this.fours) return ''
    return this.operands
      .map((i, v) => (program.usedInputs.includes(i) ? `    let x${v} = ${this.#at(v)};` : ''))
      .join('\n')
  }

  /** The program at position k, or k + c. */
  #body(program: Program, c = 0): string {
    const { plan, operands, inputs, arrays, fours } = this
    const position = plan.operands.length
    return programCode(
      program,
      (i, type) => {
        if (i === position) return `i32(k + ${c}u)`
        if (i > position) {
          const j = i - position - 1
          return convert(`r${j}`, accumulatorOf(plan.reductions[j].program), type)
        }
        const v = operands.indexOf(i)
        const { dtype } = inputs[v]
        return fours
          ? load(`x${v}`, placeInFour(c, fours[v] !== 0, `o${v}`), dtype, type)
          : load(arrays[v], `o${v} + i32(k) * s${v}`, dtype, type)
      },
      (i) => word(this.firstScalar + i),
      '    ',
    )
  }

  #reduction(j: number): string {
    const { kind, program } = this.plan.reductions[j]
    const type = accumulatorOf(program)
    const step = program.outputs[0]
    const value = convert(`v${step}`, program.instructions[step].type, type)
    const identity = identityCode(kind, type)
    if (this.fours) {
      const part = (c: number): string => `part${c}`
      return [
        `  var r${j} = ${identity};`,
        '  for (var first = 0u; first < length; first += 128u) {',
        ...[0, 1, 2, 3].map((c) => `    var ${part(c)} = ${identity};`),
        '    for (var k = first; k < min(first + 128u, length); k += 4u) {',
        this.#vectors(program),
        eachOfFour(
          '      ',
          (c) =>
            `${this.#body(program, c)}\n        ${part(c)} = ${combineCode(kind, type, part(c), value)};`,
        ),
        '    }',
        ...[0, 1, 2, 3].map((c) => `    r${j} = ${combineCode(kind, type, `r${j}`, part(c))};`),
        '  }',
      ].join('\n')
    }
    if (!this.tree) {
      return [
        `  var r${j} = ${identity};`,
        '  for (var first = 0u; first < length; first += 32u) {',
        `    var part = ${identity};`,
        '    for (var k = first; k < min(first + 32u, length); k++) {',
        this.#body(program),
        `      part = ${combineCode(kind, type, 'part', value)};`,
        '    }',
        `    r${j} = ${combineCode(kind, type, `r${j}`, 'part')};`,
        '  }',
      ].join('\n')
    }
    return [
      `  var r${j} = ${identity};`,
      '  for (var k = lane; k < length; k += 64u) {',
      this.#body(program),
      `    r${j} = ${combineCode(kind, type, `r${j}`, value)};`,
      '  }',
      combineLanes(this.subgroups, `r${j}`, `lanes_${WGSL_TYPE[type]}`, identity, (a, b) =>
        combineCode(kind, type, a, b),
      ),
    ].join('\n')
  }

  #elements(program: Program): string {
    const { call, inputs, arrays, fours } = this
    const first = inputs.length
    const stores = (array: (v: number) => string, at: (v: number) => string): string =>
      call.elements
        .map(({ dtype }, k) => {
          const step = program.outputs[k]
          const { type } = program.instructions[step]
          return `    ${store(array(first + k), at(first + k), dtype, `v${step}`, type)}`
        })
        .join('\n')
    if (!fours) {
      return [
        this.#body(program),
        stores(
          (v) => arrays[v],
          (v) => `o${v} + i32(k) * s${v}`,
        ),
      ].join('\n')
    }
    return [
      this.#vectors(program),
      ...call.elements.map((view, k) => `    var x${first + k}: ${fourOf(view)};`),
      eachOfFour(
        '    ',
        (c) =>
          `${this.#body(program, c)}\n${stores(
            (v) => `x${v}`,
            () => `${c}`,
          )}`,
      ),
      ...call.elements.map((_, k) => `    ${this.#at(first + k)} = x${first + k};`),
    ].join('\n')
  }

  #rows(program: Program): string {
    const { call, inputs, arrays } = this
    const first = inputs.length + call.elements.length
    const stores = call.rows.map(({ dtype }, k) => {
      const step = program.outputs[k]
      const { type } = program.instructions[step]
      return `    ${store(arrays[first + k], `o${first + k}`, dtype, `v${step}`, type)}`
    })
    return [this.#vectors(program), this.#body(program), ...stores].join('\n')
  }
}
