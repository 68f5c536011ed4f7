// Row plans as one kernel: see shaders/rows.wgsl. Whether a row is worked off by one invocation or by a workgroup depends
// on shapes, layout and adapter class alone.

import template from '../../../shaders/rows.wgsl'
import { collapse, count } from '../collapse'
import type { Program } from '../program'
import type { RowCall, RowPlan } from '../rows'
import type { View } from '../types'
import { Bindings } from './bindings'
import { pushTyped } from './elementwise'
import type { Engine } from './engine'
import { offsetsCode, signedWord, walkLength, word } from './params'
import { accumulatorOf, combineCode, identityCode } from './reduce'
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
  const bindings = new Bindings()
  const arrays = outerViews.map((v, i) => bindings.add(v, i >= inputs.length))
  if (bindings.blocks.length > engine.maxBindings) return false
  const rank = walk.shape.length
  const firstStep = 4 + walkLength(rank, outerViews.length)
  engine.run({
    op: 'rows',
    key: `${tree}|${rank}|${plan.key}`,
    template,
    bindings,
    count: count(outerShape),
    extra: length,
    byGroup: tree,
    values: () =>
      new RowCode(plan, operands, inputs, call, arrays, tree, firstStep + wide.length).values(
        rank,
        firstStep,
      ),
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
    readonly firstScalar: number,
  ) {}

  values(rank: number, firstStep: number): Record<string, string | boolean> {
    const { plan, call, arrays, inputs } = this
    const wide = inputs.length + call.elements.length
    const types = new Set(plan.reductions.map(({ program }) => WGSL_TYPE[accumulatorOf(program)]))
    return {
      TREE: this.tree,
      LANES: [...types].map((type) => `var<workgroup> lanes_${type}: array<${type}, 64>;`).join('\n'),
      OUTER: offsetsCode(
        rank,
        arrays.map((_, v) => `o${v}`),
        4,
        'i',
      ),
      STEPS: Array.from({ length: wide }, (_, v) => `  let s${v} = ${signedWord(firstStep + v)};`).join('\n'),
      REDUCTIONS: plan.reductions.map((_, j) => this.#reduction(j)).join('\n'),
      ELEMENTS: this.#results(plan.elements, call.elements, (k) => inputs.length + k, true),
      ROWS: this.#results(plan.rows, call.rows, (k) => wide + k, false),
    }
  }

  #body(program: Program): string {
    const { plan, operands, inputs, arrays } = this
    const position = plan.operands.length
    return programCode(
      program,
      (i, type) => {
        if (i === position) return 'i32(k)'
        if (i > position) {
          const j = i - position - 1
          return convert(`r${j}`, accumulatorOf(plan.reductions[j].program), type)
        }
        const v = operands.indexOf(i)
        return load(arrays[v], `o${v} + i32(k) * s${v}`, inputs[v].dtype, type)
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
    const lanes = `lanes_${WGSL_TYPE[type]}`
    return [
      `  var r${j} = ${identity};`,
      '  for (var k = lane; k < length; k += 64u) {',
      this.#body(program),
      `    r${j} = ${combineCode(kind, type, `r${j}`, value)};`,
      '  }',
      `  ${lanes}[lane] = r${j};`,
      '  workgroupBarrier();',
      '  for (var half = 32u; half > 0u; half >>= 1u) {',
      '    if (lane < half) {',
      `      let own = ${lanes}[lane];`,
      `      let other = ${lanes}[lane + half];`,
      `      ${lanes}[lane] = ${combineCode(kind, type, 'own', 'other')};`,
      '    }',
      '    workgroupBarrier();',
      '  }',
      `  r${j} = ${lanes}[0];`,
      '  workgroupBarrier();',
    ].join('\n')
  }

  #results(
    program: Program | null,
    views: readonly View[],
    at: (k: number) => number,
    moving: boolean,
  ): string {
    if (!program) return ''
    const stores = views.map((view, k) => {
      const v = at(k)
      const step = program.outputs[k]
      const { type } = program.instructions[step]
      const place = moving ? `o${v} + i32(k) * s${v}` : `o${v}`
      return `    ${store(this.arrays[v], place, view.dtype, `v${step}`, type)}`
    })
    return [this.#body(program), ...stores].join('\n')
  }
}
