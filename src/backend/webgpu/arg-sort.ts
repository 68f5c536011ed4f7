// Stable sorting of indices: blocks, on hardware in workgroup memory (shaders/arg-sort.wgsl), on software adapters short
// ones by counting (arg-sort-count.wgsl); then as many merging passes as it takes (arg-sort-merge.wgsl).

import sortTemplate from '../../../shaders/arg-sort.wgsl'
import countTemplate from '../../../shaders/arg-sort-count.wgsl'
import mergeTemplate from '../../../shaders/arg-sort-merge.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'

/** Elements that a workgroup sorts, and its invocations. */
const BLOCK = 1024
const LANES = 256
/** Results of an invocation that merges, and elements of a block that is sorted by counting. */
const STRETCH = 16

/** See `Backend.argSort`. */
export function argSort(engine: Engine, descending: boolean, input: View, output: View): void {
  const total = count(output.shape)
  if (total === 0) return
  const length = output.shape[output.shape.length - 1]
  const block = engine.fallback ? STRETCH : BLOCK
  const passes = Math.max(0, Math.ceil(Math.log2(length / block)))
  if (passes === 0) {
    sortBlocks(engine, descending, input, output, false)
    return
  }
  engine.withScratch('int32', 2 * total, (pairs) => {
    sortBlocks(engine, descending, input, pairs, true)
    if (passes === 1) {
      merge(engine, pairs, output, total, length, block, false)
      return
    }
    engine.withScratch('int32', 2 * total, (others) => {
      for (let pass = 0; pass < passes; pass++) {
        const [from, to] = pass % 2 === 0 ? [pairs, others] : [others, pairs]
        const last = pass === passes - 1
        merge(engine, from, last ? output : to, total, length, block * 2 ** pass, !last)
      }
    })
  })
}

function sortBlocks(engine: Engine, descending: boolean, input: View, to: View, pairs: boolean): void {
  const last = input.shape.length - 1
  const length = input.shape[last]
  const shared = !engine.fallback
  const width = shared ? Math.min(BLOCK, 2 ** Math.ceil(Math.log2(length))) : STRETCH
  const perLine = Math.ceil(length / width)
  const blocks = (count(input.shape) / length) * perLine
  const bindings = new Bindings()
  const INPUT = bindings.add(input)
  const TO = bindings.add(to, true)
  const walk = collapse(input.shape.slice(0, last), [input.strides.slice(0, last)])
  engine.run({
    op: 'argSort',
    key: `blocks|${pairs}|${walk.shape.length}`,
    template: shared ? sortTemplate : countTemplate,
    bindings,
    count: shared ? Math.ceil((blocks * width) / BLOCK) : count(input.shape),
    extra: length,
    byGroup: shared,
    values: () => ({
      INPUT,
      TO,
      BLOCK,
      LANES,
      PAIRS: pairs,
      KEY:
        input.dtype === 'float32'
          ? 'ef_order(x, params[1].w == 1u)'
          : 'select(i32(x), ~i32(x), params[1].w == 1u)',
      OFFSETS: offsetsCode(walk.shape.length, ['o0'], 12, 'line'),
    }),
    fill: (params) => {
      params.int(blocks, width, input.strides[last], Number(descending), perLine, 0, 0, 0)
      params.walk(walk, [input.offset])
    },
  })
}

/** Merges runs of `width` elements two by two. */
function merge(
  engine: Engine,
  from: View,
  to: View,
  total: number,
  length: number,
  width: number,
  pairs: boolean,
): void {
  const bindings = new Bindings()
  const FROM = bindings.add(from)
  const TO = bindings.add(to, true)
  const perLine = Math.ceil(length / STRETCH)
  engine.run({
    op: 'argSort',
    key: `merge|${pairs}`,
    template: mergeTemplate,
    bindings,
    count: (total / length) * perLine,
    extra: length,
    values: () => ({ FROM, TO, STRETCH, PAIRS: pairs }),
    fill: (params) => {
      params.int(width, perLine, 0, 0)
    },
  })
}
