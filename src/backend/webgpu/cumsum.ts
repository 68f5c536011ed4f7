// Running sums: see shaders/cumsum.wgsl. Long lines are cut into chunks, whose sums are summed up the same way.

import template from '../../../shaders/cumsum.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'

/** Elements that one invocation adds up. */
const CHUNK = 64

/** See `Backend.cumsum`. */
export function cumsum(engine: Engine, input: View, output: View): void {
  if (count(output.shape) === 0) return
  const last = output.shape.length - 1
  const lines = count(output.shape.slice(0, last))
  const chunks = Math.ceil(output.shape[last] / CHUNK)
  if (chunks === 1) {
    dispatch(engine, input, output, 1, null, false)
    return
  }
  const { dtype } = output
  engine.withScratch(dtype, lines * chunks, (totals) => {
    engine.withScratch(dtype, lines * chunks, (sums) => {
      dispatch(engine, input, output, chunks, totals, true)
      const grid = { shape: [lines, chunks], strides: [chunks, 1] }
      cumsum(engine, { ...totals, ...grid }, { ...sums, ...grid })
      dispatch(engine, input, output, chunks, sums, false)
    })
  })
}

/** One launch: the chunks' totals into `sums`, or the result on top of `sums`. */
function dispatch(
  engine: Engine,
  input: View,
  output: View,
  chunks: number,
  sums: View | null,
  totals: boolean,
): void {
  const last = output.shape.length - 1
  const bindings = new Bindings()
  const INPUT = bindings.add(input)
  const SUMS = sums ? bindings.add(sums, totals) : ''
  const OUTPUT = totals ? '' : bindings.add(output, true)
  const outer = (v: View): number[] => v.strides.slice(0, last)
  const views = totals ? [input] : [input, output]
  const walk = collapse(output.shape.slice(0, last), views.map(outer))
  const TYPE = output.dtype === 'float32' ? 'f32' : 'i32'
  engine.run({
    op: 'cumsum',
    key: `${walk.shape.length}|${totals}|${sums !== null}`,
    template,
    bindings,
    count: count(output.shape.slice(0, last)) * chunks,
    extra: chunks,
    values: () => ({
      INPUT,
      OUTPUT,
      TYPE,
      TOTALS: totals,
      TOTAL: SUMS,
      START: sums
        ? `  var before = ${TYPE}(0);\n  if (chunk > 0u) { before = ${SUMS}[flat - 1u]; }`
        : `  let before = ${TYPE}(0);`,
      OFFSETS: offsetsCode(walk.shape.length, ['o0', 'o1'].slice(0, views.length), 8, 'line'),
    }),
    fill: (params) => {
      params.int(output.shape[last], CHUNK, input.strides[last], output.strides[last])
      params.walk(
        walk,
        views.map((v) => v.offset),
      )
    },
  })
}
