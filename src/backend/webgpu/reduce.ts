// Map-reduce: see shaders/reduce.wgsl and reduce-tree.wgsl. Which kernel, and into how many chunks a long reduction is cut,
// depends on shapes, layout and adapter class alone, so the same call always combines in the same order.

import serialTemplate from '../../../shaders/reduce.wgsl'
import treeTemplate from '../../../shaders/reduce-tree.wgsl'
import { collapse, count } from '../collapse'
import { input } from '../expr'
import { Program } from '../program'
import type { ReduceKind, View } from '../types'
import { Bindings } from './bindings'
import { pushScalars, withFewBuffers } from './elementwise'
import type { Engine } from './engine'
import { combineLanes, laneValues } from './lanes'
import { offsetsCode, walkLength, word } from './params'
import { convert, load, programCode, store, WGSL_TYPE } from './wgsl-program'

/** Accumulators are float or int; booleans are combined as 0 and 1. */
export type Accumulator = 'float' | 'int'

/** How a reduction is laid over invocations. */
interface Plan {
  readonly tree: boolean
  /** Parts into which each reduction is cut, combined by a second dispatch. */
  readonly chunks: number
}

const SINGLE: Plan = { tree: false, chunks: 1 }
/** The values themselves. */
export const PASS = {
  float: new Program([input(0, 'float')], 1),
  int: new Program([input(0, 'int')], 1),
} satisfies Record<Accumulator, Program>

/** See `Backend.reduce`. */
export function reduce(
  engine: Engine,
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
): void {
  const outer = count(output.shape)
  if (outer === 0) return
  const rank = output.shape.length
  const innerShape = inputs.length > 0 ? inputs[0].shape.slice(rank) : []
  withFewBuffers(engine, kind, program, inputs, [output], (operands) => {
    const job = { kind, program, inputs: operands, scalars, output, innerShape }
    const plan = planFor(engine, job, outer, count(innerShape))
    if (plan.chunks === 1) {
      dispatch(engine, job, plan, null)
      return
    }
    const type = accumulatorOf(program)
    engine.withScratch(type === 'int' ? 'int32' : 'float32', outer * plan.chunks, (parts) => {
      dispatch(engine, job, plan, parts)
      const strides: number[] = []
      output.shape.reduceRight((step, size) => {
        strides.unshift(step)
        return step * size
      }, 1)
      const rows = { ...parts, shape: [...output.shape, plan.chunks], strides: [...strides, outer] }
      const second = { kind, program: PASS[type], inputs: [rows], scalars: [], output }
      dispatch(engine, { ...second, innerShape: [plan.chunks] }, SINGLE, null)
    })
  })
}

interface Job {
  readonly kind: ReduceKind
  readonly program: Program
  readonly inputs: readonly View[]
  readonly scalars: readonly number[]
  readonly output: View
  readonly innerShape: readonly number[]
}

export function accumulatorOf(program: Program): Accumulator {
  return program.instructions[program.outputs[0]].type === 'float' ? 'float' : 'int'
}

function planFor(engine: Engine, job: Job, outer: number, inner: number): Plan {
  if (engine.fallback) {
    // A few hundred invocations keep all cores and SIMD lanes busy.
    return { tree: false, chunks: chunksFor(inner, 256, outer, 256) }
  }
  if (inner >= 32 && !acrossIsNearer(job)) {
    return { tree: true, chunks: chunksFor(inner, 4096, outer, 1024) }
  }
  return { tree: false, chunks: chunksFor(inner, 64, outer, 65_536) }
}

/** Chunks of at least `length` elements, as many as it takes to have `wanted` independent reductions. */
function chunksFor(inner: number, length: number, outer: number, wanted: number): number {
  return Math.max(1, Math.min(Math.floor(inner / length), Math.floor(wanted / outer)))
}

/** Whether neighbours along the kept axes lie closer together in memory than neighbours along the reduced ones. */
function acrossIsNearer({ program, inputs, output }: Job): boolean {
  const rank = output.shape.length
  let kept = 0
  let reduced = 0
  for (const i of program.usedInputs) {
    const { shape, strides } = inputs[i]
    const outer = collapse(shape.slice(0, rank), [strides.slice(0, rank)])
    const inner = collapse(shape.slice(rank), [strides.slice(rank)])
    const o = Math.abs(outer.strides[0].at(-1) ?? 0)
    const r = Math.abs(inner.strides[0].at(-1) ?? 0)
    // A broadcast axis costs nothing in either order.
    if (o === 0 || r === 0) continue
    kept += o
    reduced += r
  }
  return kept < reduced
}

/** One launch; with `parts`, each chunk's result goes there instead of into the output. */
function dispatch(engine: Engine, job: Job, { tree, chunks }: Plan, parts: View | null): void {
  const { kind, program, inputs, scalars, output, innerShape } = job
  const outer = count(output.shape)
  const inner = count(innerShape)
  const rank = output.shape.length
  const used = program.usedInputs.map((i) => inputs[i])
  const bindings = new Bindings()
  const arrays = used.map((view) => bindings.add(view))
  const target = bindings.add(parts ?? output, true)
  const kept = used.map((view) => view.strides.slice(0, rank))
  const outerWalk = collapse(output.shape, parts ? kept : [...kept, output.strides])
  const innerWalk = collapse(
    innerShape,
    used.map((view) => view.strides.slice(rank)),
  )
  const outerRank = outerWalk.shape.length
  const innerRank = innerWalk.shape.length
  const outerNames = used.map((_, v) => `o${v}`)
  if (!parts) outerNames.push('target_at')
  engine.run({
    op: kind,
    key: `${tree}|${parts !== null}|${outerRank}|${innerRank}|${output.dtype}|${program.key}`,
    template: tree ? treeTemplate : serialTemplate,
    bindings,
    count: outer * chunks,
    extra: outer,
    byGroup: tree,
    values: () => {
      const type = accumulatorOf(program)
      const step = program.outputs[0]
      const value = convert(`v${step}`, program.instructions[step].type, type)
      const outerFirst = 8
      const innerFirst = outerFirst + walkLength(outerRank, outerNames.length)
      const firstScalar = innerFirst + walkLength(innerRank, used.length)
      const at = (i: number): number => program.usedInputs.indexOf(i)
      return {
        TYPE: WGSL_TYPE[type],
        IDENTITY: identityCode(kind, type),
        OUTER: offsetsCode(outerRank, outerNames, outerFirst, 'i', 'c'),
        INNER: offsetsCode(
          innerRank,
          used.map((_, v) => `k${v}`),
          innerFirst,
          'k',
          'd',
        ),
        BODY: programCode(
          program,
          (i, scalarType) => load(arrays[at(i)], `o${at(i)} + k${at(i)}`, inputs[i].dtype, scalarType),
          (i) => word(firstScalar + i),
        ),
        COMBINE_PART: combineCode(kind, type, 'part', value),
        ...(tree
          ? {
              ...laneValues(engine.subgroups),
              COMBINE_LANES: combineLanes(
                engine.subgroups,
                'part',
                'parts',
                identityCode(kind, type),
                (a, b) => combineCode(kind, type, a, b),
              ),
            }
          : { COMBINE_TOTAL: combineCode(kind, type, 'total', 'part') }),
        STORE: parts
          ? `  ${target}[id] = total;`
          : `  ${store(target, 'target_at', output.dtype, 'total', type)}`,
      }
    },
    fill: (params) => {
      params.int(inner, Math.ceil(inner / chunks), 0, 0)
      const offsets = used.map((view) => view.offset)
      params.walk(outerWalk, parts ? offsets : [...offsets, output.offset])
      params.walk(
        innerWalk,
        used.map(() => 0),
      )
      pushScalars(params, program, scalars)
    },
  })
}

export function identityCode(kind: ReduceKind, type: Accumulator): string {
  switch (kind) {
    case 'sum':
      return type === 'float' ? '0.0' : '0i'
    case 'prod':
      return type === 'float' ? '1.0' : '1i'
    case 'max':
      return type === 'float' ? '-ef_inf()' : 'i32(-2147483648)'
    case 'min':
      return type === 'float' ? 'ef_inf()' : '2147483647i'
    default:
      return kind satisfies never
  }
}

export function combineCode(kind: ReduceKind, type: Accumulator, a: string, b: string): string {
  switch (kind) {
    case 'sum':
      return `${a} + ${b}`
    case 'prod':
      return `${a} * ${b}`
    case 'max':
    case 'min':
      return type === 'float' ? `ef_${kind}(${a}, ${b})` : `${kind}(${a}, ${b})`
    default:
      return kind satisfies never
  }
}
