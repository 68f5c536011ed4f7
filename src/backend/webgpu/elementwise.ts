// Elementwise programs and fused map-reductions: WGSL printed from the program.
//
// Static (part of the pipeline's key): the program, dtypes, collapsed rank, how each view is laid out, which views share
// a buffer. Data (uniform words): sizes, offsets, strides, scalars.

import { collapse } from '../collapse'
import { input } from '../expr'
import { Program } from '../program'
import type { ReduceKind, View } from '../types'
import prelude from '../../../shaders/prelude.wgsl'
import type { Pool } from './pool'
import { floatBits, fromStorage, planBindings, printProgram, toStorage, valueType, wordAt } from './print'
import type { Queue } from './queue'

export const WORKGROUP = 64
export const HEADER_WORDS = 3
const NAN_BITS = 0x7fc00000
const INF_BITS = 0x7f800000

/** The three words every kernel starts with. */
export function header(count: number): number[] {
  return [count, NAN_BITS, INF_BITS]
}

/** How a view is addressed: `c` element i at offset + i, `s` one element, `g` by strides. */
type Layout = 'c' | 's' | 'g'

function layoutOf(shape: readonly number[], strides: readonly number[]): Layout {
  if (strides.every((s) => s === 0)) return 's'
  return shape.length === 1 && strides[0] === 1 ? 'c' : 'g'
}

/** WGSL for the axis indices x0, x1, … of linear index `i`. */
function decode(rank: number, shapeAt: number, indent = '  '): string {
  const lines = [`${indent}var rest = i;`]
  for (let d = rank - 1; d >= 0; d--) {
    if (d === 0) lines.push(`${indent}let x0 = rest;`)
    else {
      lines.push(`${indent}let x${d} = rest % ${wordAt(shapeAt + d)};`)
      lines.push(`${indent}rest = rest / ${wordAt(shapeAt + d)};`)
    }
  }
  return rank === 0 ? '' : lines.join('\n')
}

/** WGSL for the address of a view whose words (offset, strides) start at `at`. */
function address(layout: Layout, rank: number, at: number, index = 'i'): string {
  if (layout === 'c') return `${wordAt(at)} + ${index}`
  if (layout === 's' || rank === 0) return wordAt(at)
  return [wordAt(at), ...Array.from({ length: rank }, (_, d) => `x${d} * ${wordAt(at + 1 + d)}`)].join(' + ')
}

function scalarWords(program: Program, scalars: readonly number[]): number[] {
  const types = new Map(program.instructions.filter((s) => s.kind === 'scalar').map((s) => [s.value, s.type]))
  return scalars.map((x, i) => (types.get(i) === 'int' ? x | 0 : types.get(i) === 'bool' ? Number(x !== 0) : floatBits(x)))
}

/** Words: header, shape[rank], then per view offset and strides[rank], then scalars. */
export function elementwise(
  queue: Queue,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  outputs: readonly View[],
): void {
  const views = [...inputs, ...outputs]
  const { shape, strides } = collapse(outputs[0].shape, views.map((v) => v.strides))
  const rank = shape.length
  const count = shape.reduce((a, b) => a * b, 1)
  if (count === 0) return
  const layouts = strides.map((s) => layoutOf(shape, s))
  const plan = planBindings(inputs, outputs)
  const viewAt = (v: number): number => HEADER_WORDS + rank + v * (rank + 1)
  const scalarsAt = viewAt(views.length)
  const words = [...header(count), ...shape, ...views.flatMap((v, i) => [v.offset, ...strides[i]]), ...scalarWords(program, scalars)]
  const key = `map|${program.key}|${rank}|${layouts.join('')}|${plan.slots.join(',')}|${plan.pattern}|${views.map((v) => v.dtype[0]).join('')}`
  const kernel = queue.kernel(key, plan.pattern, () => {
    const at = (v: number): string => `b${plan.slots[v]}[${address(layouts[v], rank, viewAt(v))}]`
    const stores = outputs.map(
      (view, k) => `  ${at(inputs.length + k)} = ${toStorage(view.dtype, `v${program.outputs[k]}`)};`,
    )
    return `${prelude}
${plan.declarations}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = linear(group, groups, local, ${WORKGROUP}u);
  if (i >= ${wordAt(0)}) { return; }
${layouts.includes('g') ? decode(rank, HEADER_WORDS) : ''}
${printProgram(program, (i) => fromStorage(inputs[i].dtype, at(i)), scalarsAt)}
${stores.join('\n')}
}
`
  })
  queue.dispatch(kernel, plan.buffers, words, Math.ceil(count / WORKGROUP))
}

/** Above this many values per output, a reduction with few outputs is cut into chunks that are combined afterwards. */
const CHUNK_ABOVE = 512
const CHUNK_LENGTH = 128
const MAX_CHUNKS = 256
const MANY_OUTPUTS = 4096

const IDENTITY = { float: new Program([input(0)], 1), int: new Program([input(0, 'int')], 1), bool: new Program([input(0, 'bool')], 1) }

/** Chunk counts depend on the shape alone, so the order of additions, and the bits, never change. */
export function chunksFor(outer: number, inner: number): number {
  if (inner <= CHUNK_ABOVE || outer >= MANY_OUTPUTS) return 1
  return Math.min(MAX_CHUNKS, Math.ceil(inner / CHUNK_LENGTH))
}

export function reduce(
  queue: Queue,
  pool: Pool,
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
): void {
  const rank = output.shape.length
  const shape = inputs[0]?.shape ?? output.shape
  const outer = output.shape.reduce((a, b) => a * b, 1)
  const inner = shape.slice(rank).reduce((a, b) => a * b, 1)
  const chunks = chunksFor(outer, inner)
  if (chunks === 1) {
    reducePass(queue, kind, program, inputs, scalars, output, 1)
    return
  }
  const buffer = pool.allocate(outer * chunks * 4)
  const partial: View = { buffer, dtype: output.dtype, offset: 0, shape: [outer, chunks], strides: [chunks, 1] }
  reducePass(queue, kind, program, inputs, scalars, { ...output, ...spread(partial, output.shape, chunks) }, chunks)
  const type = program.instructions[program.outputs[0]].type
  const flatOutput = collapse(output.shape, [output.strides])
  const rows: View = { ...partial, shape: [...flatOutput.shape, chunks], strides: [...rowStrides(flatOutput.shape, chunks), 1] }
  reducePass(queue, kind, IDENTITY[type], [rows], [], { ...output, shape: flatOutput.shape, strides: flatOutput.strides[0] }, 1)
  pool.release(buffer)
}

function rowStrides(shape: readonly number[], step: number): number[] {
  const strides: number[] = []
  let at = step
  for (let d = shape.length - 1; d >= 0; d--) {
    strides.unshift(at)
    at *= shape[d]
  }
  return strides
}

/** The partial results as an output of the original outer shape. */
function spread(partial: View, shape: readonly number[], chunks: number): Pick<View, 'buffer' | 'offset' | 'strides'> {
  return { buffer: partial.buffer, offset: 0, strides: rowStrides(shape, chunks) }
}

const START: Record<ReduceKind, Record<string, string>> = {
  sum: { f32: '0.0', i32: '0' },
  prod: { f32: '1.0', i32: '1' },
  max: { f32: '-inf()', i32: 'i32(-2147483647 - 1)', bool: 'false' },
  min: { f32: 'inf()', i32: '2147483647', bool: 'true' },
}

function combine(kind: ReduceKind, type: string): string {
  if (kind === 'sum') return 'acc + value'
  if (kind === 'prod') return 'acc * value'
  if (type === 'bool') return kind === 'max' ? 'acc || value' : 'acc && value'
  return type === 'f32' ? `${kind}_(acc, value)` : `${kind}(acc, value)`
}

/**
 * One invocation per output and chunk, each walking its part of the inner axes.
 * Words: header (count = outputs * chunks), chunks, inner size, outer shape, output offset and strides, inner shape, then
 * per input offset, outer strides, inner strides; then scalars.
 */
function reducePass(
  queue: Queue,
  kind: ReduceKind,
  program: Program,
  inputs: readonly View[],
  scalars: readonly number[],
  output: View,
  chunks: number,
): void {
  const rank = output.shape.length
  const full = inputs[0].shape
  const outer = collapse(output.shape, [output.strides, ...inputs.map((v) => v.strides.slice(0, rank))])
  const inner = collapse(full.slice(rank), inputs.map((v) => v.strides.slice(rank)))
  const count = outer.shape.reduce((a, b) => a * b, 1)
  const length = inner.shape.reduce((a, b) => a * b, 1)
  if (count === 0) return
  const [ro, ri] = [outer.shape.length, inner.shape.length]
  const plan = planBindings(inputs, [output])
  const outerAt = HEADER_WORDS + 2
  const outputAt = outerAt + ro
  const innerAt = outputAt + 1 + ro
  const viewAt = (v: number): number => innerAt + ri + v * (1 + ro + ri)
  const scalarsAt = viewAt(inputs.length)
  const words = [
    ...header(count * chunks), chunks, length,
    ...outer.shape, output.offset, ...outer.strides[0],
    ...inner.shape,
    ...inputs.flatMap((v, i) => [v.offset, ...outer.strides[i + 1], ...inner.strides[i]]),
    ...scalarWords(program, scalars),
  ]
  const type = valueType(program.instructions[program.outputs[0]].type)
  const key = `reduce ${kind}|${program.key}|${ro},${ri}|${plan.slots.join(',')}|${plan.pattern}|${inputs.map((v) => v.dtype[0]).join('')}${output.dtype[0]}`
  const kernel = queue.kernel(key, plan.pattern, () => {
    const sum = (at: number, rankHere: number, name: string): string =>
      Array.from({ length: rankHere }, (_, d) => ` + ${name}${d} * ${wordAt(at + d)}`).join('')
    const bases = inputs.map((_, v) => `  let base${v} = ${wordAt(viewAt(v))}${sum(viewAt(v) + 1, ro, 'x')};`)
    const load = (v: number): string =>
      fromStorage(inputs[v].dtype, `b${plan.slots[v]}[base${v}${sum(viewAt(v) + 1 + ro, ri, 'y')}]`)
    return `${prelude}
${plan.declarations}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let job = linear(group, groups, local, ${WORKGROUP}u);
  if (job >= ${wordAt(0)}) { return; }
  let chunks = ${wordAt(HEADER_WORDS)};
  let chunk = job % chunks;
  let i = job / chunks;
${decode(ro, outerAt)}
${bases.join('\n')}
  let step = (${wordAt(HEADER_WORDS + 1)} + chunks - 1) / chunks;
  let end = min((chunk + 1) * step, ${wordAt(HEADER_WORDS + 1)});
  var acc: ${type} = ${START[kind][type]};
  for (var j = chunk * step; j < end; j++) {
${decodeInner(ri, innerAt)}
${printProgram(program, load, scalarsAt)}
    let value = v${program.outputs[0]};
    acc = ${combine(kind, type)};
  }
  b${plan.slots[inputs.length]}[${wordAt(outputAt)}${sum(outputAt + 1, ro, 'x')} + chunk] = ${toStorage(output.dtype, 'acc')};
}
`
  })
  queue.dispatch(kernel, plan.buffers, words, Math.ceil((count * chunks) / WORKGROUP))
}

function decodeInner(rank: number, shapeAt: number): string {
  return decode(rank, shapeAt, '    ').replaceAll('var rest = i', 'var left = j').replaceAll('rest', 'left').replaceAll('let x', 'let y')
}

