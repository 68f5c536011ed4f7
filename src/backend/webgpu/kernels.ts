// The hand-written kernels of shaders/: their words filled in, and their templates.
//
// A template step is plain text: names in capitals are replaced (ELEMENT by a WGSL type, and so on); each file's header
// says which.

import argReduceSource from '../../../shaders/argreduce.wgsl'
import gatherSource from '../../../shaders/gather.wgsl'
import matmulSource from '../../../shaders/matmul.wgsl'
import matmulTiledSource from '../../../shaders/matmul-tiled.wgsl'
import prelude from '../../../shaders/prelude.wgsl'
import randomSource from '../../../shaders/random.wgsl'
import scatterAddSource from '../../../shaders/scatter-add.wgsl'
import scatterLinksSource from '../../../shaders/scatter-links.wgsl'
import { collapse } from '../collapse'
import type { RandomKind, View } from '../types'
import { header, WORKGROUP } from './elementwise'
import type { GpuBuffer, Pool } from './pool'
import { floatBits, storageType } from './print'
import type { Binding, Queue } from './queue'

const MAX_AXES = 8

interface Bound {
  readonly buffer: GpuBuffer
  readonly type: string
  readonly writable: boolean
}

function read(view: View): Bound {
  return { buffer: view.buffer as GpuBuffer, type: storageType(view.dtype), writable: false }
}

function write(view: View): Bound {
  return { ...read(view), writable: true }
}

/** Runs a shader whose storage bindings are b0, b1, … of the given types. */
function run(
  queue: Queue,
  name: string,
  source: string,
  bound: readonly Bound[],
  words: readonly number[],
  groups: number,
  replace: Readonly<Record<string, string>> = {},
): void {
  const pattern = bound.map((b) => (b.writable ? 'w' : 'r')).join('')
  const types = bound.map((b) => b.type)
  const key = `${name}|${pattern}|${types.join(',')}|${Object.values(replace).join('|')}`
  const kernel = queue.kernel(key, pattern, () => {
    let text = source
    for (const [name, value] of Object.entries(replace)) text = text.replaceAll(name, value)
    const declarations = bound.map(
      (b, i) => `@group(0) @binding(${i + 1}) var<storage, ${b.writable ? 'read_write' : 'read'}> b${i}: array<${b.type}>;`,
    )
    return `${prelude}\n${declarations.join('\n')}\n${text}`
  })
  queue.dispatch(kernel, bound as readonly Binding[], words, groups)
}

/** A list filled up with zeros, for the fixed places of per-axis words. */
function axes(values: readonly number[], places = MAX_AXES): number[] {
  return [...values, ...new Array<number>(places - values.length).fill(0)]
}

function count(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

const BATCH_AXES = 6

/** `tiled` chooses the variant with workgroup memory. */
export function matmul(queue: Queue, tiled: boolean, a: View, b: View, out: View, accumulate: boolean): void {
  const rank = out.shape.length
  const batch = collapse(out.shape.slice(0, -2), [a, b, out].map((v) => v.strides.slice(0, -2)))
  const [m, n] = out.shape.slice(-2)
  const k = a.shape[rank - 1]
  const size = tiled ? 32 : 4
  const tilesN = Math.ceil(n / size)
  const tiles = tilesN * Math.ceil(m / size)
  const jobs = tiles * count(batch.shape)
  if (jobs === 0) return
  const place = (v: View): number[] => [v.offset, v.strides[rank - 2], v.strides[rank - 1]]
  const words = [
    ...header(jobs), m, n, k, tilesN, tiles, batch.shape.length, accumulate ? 1 : 0, 0, 0,
    ...place(a), ...place(b), ...place(out),
    ...axes(batch.shape, BATCH_AXES),
    ...batch.strides.flatMap((s) => axes(s, BATCH_AXES)),
  ]
  const source = tiled ? matmulTiledSource : matmulSource
  run(queue, tiled ? 'matmul tiled' : 'matmul', source, [read(a), read(b), write(out)], words, tiled ? jobs : Math.ceil(jobs / WORKGROUP))
}

export function argReduce(queue: Queue, kind: 'max' | 'min', input: View, output: View): void {
  const rank = output.shape.length
  const outer = collapse(output.shape, [input.strides.slice(0, rank), output.strides])
  const jobs = count(output.shape)
  const words = [
    ...header(jobs), input.shape[rank], input.strides[rank], outer.shape.length, input.offset, output.offset,
    ...axes(outer.shape), ...axes(outer.strides[0]), ...axes(outer.strides[1]),
  ]
  run(queue, 'argReduce', argReduceSource, [read(input), write(output)], words, Math.ceil(jobs / WORKGROUP), {
    BETTER: kind === 'max' ? '>' : '<',
    IS_NAN: input.dtype === 'float32' ? 'is_nan(x)' : 'false',
  })
}

export function gather(queue: Queue, status: GpuBuffer, x: View, dim: number, index: View, out: View): void {
  const jobs = count(out.shape)
  const words = [
    ...header(jobs), out.shape.length, dim, x.shape[dim] ?? 1, x.offset, index.offset, out.offset,
    ...axes(out.shape), ...axes(x.strides), ...axes(index.strides), ...axes(out.strides),
  ]
  const bound = [read(x), read(index), write(out), { buffer: status, type: 'i32', writable: true }]
  run(queue, 'gather', gatherSource, bound, words, Math.ceil(jobs / WORKGROUP), { ELEMENT: storageType(out.dtype) })
}

/** Positions that are linked at once; the search for equals is quadratic in it. */
const BLOCK = 8192

export function scatterAdd(queue: Queue, pool: Pool, status: GpuBuffer, out: View, dim: number, index: View, src: View): void {
  const rank = src.shape.length
  const others = [...src.shape.keys()].filter((d) => d !== dim)
  const pick = (values: readonly number[]): number[] => others.map((d) => values[d])
  const shape = pick(src.shape)
  const rows = count(shape)
  const length = src.shape[dim] ?? 1
  // An index that is the same for all other axes (an embedding's) is linked once.
  const shared = others.every((d) => index.strides[d] === 0 || src.shape[d] === 1)
  const lines = shared ? 1 : rows
  const along = (v: View): number => (rank === 0 ? 0 : v.strides[dim])
  const links = pool.allocate(2 * lines * Math.min(length, BLOCK) * 4)
  const linksBound: Bound = { buffer: links, type: 'i32', writable: true }
  for (let start = 0; start < length; start += BLOCK) {
    const block = Math.min(BLOCK, length - start)
    const linkWords = [
      ...header(lines * block), block, start, along(index), index.offset, shared ? 0 : shape.length,
      ...axes(shape), ...axes(pick(index.strides)), out.shape[dim] ?? 1,
    ]
    const statusBound = { buffer: status, type: 'i32', writable: true }
    run(queue, 'scatter links', scatterLinksSource, [read(index), linksBound, statusBound], linkWords, Math.ceil((lines * block) / WORKGROUP))
    const words = [
      ...header(rows * block), block, start, along(src), src.offset, shape.length,
      ...axes(shape), ...axes(pick(src.strides)), ...axes(pick(out.strides)), out.offset, along(out),
      index.offset, along(index), ...axes(pick(index.strides)), shared ? 0 : 1,
    ]
    run(
      queue,
      'scatterAdd',
      scatterAddSource,
      [read(src), read(index), { ...linksBound, writable: false }, write(out)],
      words,
      Math.ceil((rows * block) / WORKGROUP),
    )
  }
  pool.release(links)
}

const BODY: Record<RandomKind['kind'], string> = {
  uniform: 'b0[at] = uniform_(i);',
  normal: 'b0[at] = normal_(i);',
  int: 'b0[at] = word(6) + bitcast<i32>(mul_high(draw(i), bitcast<u32>(word(7))));',
  bernoulli: 'b0[at] = select(0u, 1u, uniform_(i) < bitcast<f32>(word(6)));',
}

export function random(queue: Queue, kind: RandomKind, seed: number, stream: number, output: View): void {
  const jobs = count(output.shape)
  const numbers = kind.kind === 'int' ? [kind.low, kind.high - kind.low] : kind.kind === 'bernoulli' ? [floatBits(kind.p), 0] : [0, 0]
  const words = [...header(jobs), seed, stream, output.offset, ...numbers]
  run(queue, `random ${kind.kind}`, randomSource, [write(output)], words, Math.ceil(jobs / WORKGROUP), { BODY: BODY[kind.kind] })
}
