// Scatter-add without atomics: see shaders/scatter-links.wgsl and scatter-add.wgsl.
//
// Positions are processed in blocks, one after another, so that the quadratic search stays small and every sum is added
// up in ascending order of position, whatever the block. Where an id stands for a whole row (an embedding's
// gradient), equal ids are linked once for all columns.

import addTemplate from '../../../shaders/scatter-add.wgsl'
import linksTemplate from '../../../shaders/scatter-links.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import type { Failures } from './failures'
import { offsetsCode } from './params'

const BLOCK = 8192
/** In lines shorter than this a search costs less than a second dispatch. */
const SHORT_LINE = 64

/** See `Backend.scatterAdd`. */
export function scatterAdd(
  engine: Engine,
  failures: Failures,
  out: View,
  dim: number,
  index: View,
  src: View,
): void {
  const length = index.shape[dim]
  const others = index.shape.filter((_, d) => d !== dim)
  if (length === 0 || count(others) === 0) return
  const without = (strides: readonly number[]): number[] => strides.filter((_, d) => d !== dim)
  const idStrides = without(index.strides)
  // Lines that differ in their ids; along the remaining axes the ids repeat.
  const lineShape = others.map((size, d) => (idStrides[d] === 0 ? 1 : size))
  const lines = count(lineShape)
  const linked = length >= SHORT_LINE && lines < count(others)
  const job = { out, dim, index, src, others, without, lineShape, lines }
  for (let begin = 0; begin < length; begin += BLOCK) {
    const block = Math.min(BLOCK, length - begin)
    if (!linked) {
      add(engine, failures, job, begin, block, null)
      continue
    }
    engine.withScratch('int32', lines * block, (links) => {
      link(engine, job, begin, block, links)
      add(engine, failures, job, begin, block, links)
    })
  }
}

interface Job {
  readonly out: View
  readonly dim: number
  readonly index: View
  readonly src: View
  /** Sizes of the axes other than `dim`. */
  readonly others: readonly number[]
  without(strides: readonly number[]): number[]
  /** The same with 1 where ids repeat. */
  readonly lineShape: readonly number[]
  readonly lines: number
}

function link(engine: Engine, job: Job, begin: number, block: number, links: View): void {
  const { index, dim, lineShape, lines, without } = job
  const bindings = new Bindings()
  const INDEX = bindings.add(index)
  const LINKS = bindings.add(links, true)
  const walk = collapse(lineShape, [without(index.strides)])
  engine.run({
    op: 'scatterAdd links',
    key: `${walk.shape.length}`,
    template: linksTemplate,
    bindings,
    count: lines * block,
    extra: block,
    values: () => ({ INDEX, LINKS, OFFSETS: offsetsCode(walk.shape.length, ['o0'], 8, 'i') }),
    fill: (params) => {
      params.int(begin, index.strides[dim], 0, 0)
      params.walk(walk, [index.offset])
    },
  })
}

function add(
  engine: Engine,
  failures: Failures,
  job: Job,
  begin: number,
  block: number,
  links: View | null,
): void {
  const { out, index, src, dim, others, without, lineShape } = job
  const bindings = new Bindings()
  const OUT = bindings.add(out, true)
  const INDEX = bindings.add(index)
  const SRC = bindings.add(src)
  const LINKS = links ? bindings.add(links) : ''
  bindings.addCell(engine.queue.cell)
  const strides = [out, index, src].map((view) => without(view.strides))
  if (links) strides.push(linkStrides(others, lineShape, block))
  const walk = collapse(others, strides)
  const names = ['o0', 'o1', 'o2', 'o3'].slice(0, strides.length)
  engine.run({
    op: 'scatterAdd',
    key: `${links !== null}|${walk.shape.length}`,
    template: addTemplate,
    bindings,
    count: count(others) * block,
    extra: out.shape[dim],
    values: () => ({
      OUT,
      INDEX,
      SRC,
      LINKS,
      LINKED: links !== null,
      OFFSETS: offsetsCode(walk.shape.length, names, 12, 'i'),
    }),
    fill: (params) => {
      params.int(block, begin, out.strides[dim], index.strides[dim])
      params.int(src.strides[dim], failures.token('scatterAdd', dim, out.shape[dim]), 0, 0)
      params.walk(walk, [out.offset, index.offset, src.offset, 0].slice(0, strides.length))
    },
  })
}

/** Where each line's links are: lines follow one another, and repeat along the axes of size 1 in `lineShape`. */
function linkStrides(others: readonly number[], lineShape: readonly number[], block: number): number[] {
  const strides = new Array<number>(others.length).fill(0)
  let step = block
  for (let d = others.length - 1; d >= 0; d--) {
    if (lineShape[d] !== others[d]) continue
    strides[d] = step
    step *= lineShape[d]
  }
  return strides
}
