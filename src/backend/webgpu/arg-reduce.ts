// Index of the largest or smallest element: see shaders/arg-reduce.wgsl.

import template from '../../../shaders/arg-reduce.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'

/** Rows are cut into chunks of this many elements or more, while there are few rows. */
const CHUNK = 256
const WANTED = 4096

/** See `Backend.argReduce`. */
export function argReduce(engine: Engine, kind: 'max' | 'min', input: View, output: View): void {
  const rows = count(output.shape)
  const length = input.shape[input.shape.length - 1]
  if (rows === 0 || length === 0) return
  const most = Math.max(1, Math.min(Math.floor(length / CHUNK), Math.floor(WANTED / rows)))
  const step = Math.ceil(length / most)
  const chunks = Math.ceil(length / step)
  if (chunks === 1) {
    dispatch(engine, kind, input, output, length, 1, length, null, 'output')
    return
  }
  engine.withScratch('int32', rows * chunks, (candidates) => {
    dispatch(engine, kind, input, output, length, chunks, step, candidates, 'candidates')
    dispatch(engine, kind, input, output, chunks, 1, chunks, candidates, 'output')
  })
}

/** One launch over `length` elements or candidates of each row, cut into chunks of `step`. */
function dispatch(
  engine: Engine,
  kind: 'max' | 'min',
  input: View,
  output: View,
  length: number,
  chunks: number,
  step: number,
  candidates: View | null,
  into: 'candidates' | 'output',
): void {
  const rows = count(output.shape)
  const rank = output.shape.length
  const bindings = new Bindings()
  const array = bindings.add(input)
  const list = candidates ? bindings.add(candidates, into === 'candidates') : ''
  const target = into === 'output' ? bindings.add(output, true) : ''
  const kept = input.strides.slice(0, rank)
  const walk = collapse(output.shape, into === 'output' ? [kept, output.strides] : [kept])
  const among = into === 'output' && candidates !== null
  engine.run({
    op: `arg${kind}`,
    key: `${walk.shape.length}|${into}|${among}`,
    template,
    bindings,
    count: rows * chunks,
    extra: rows,
    values: () => ({
      INPUT: array,
      OFFSETS: offsetsCode(walk.shape.length, into === 'output' ? ['o0', 'o1'] : ['o0'], 8, 'i'),
      FIRST: among ? `${list}[begin * params[0].w + i]` : 'begin',
      CANDIDATE: among ? `${list}[k * params[0].w + i]` : 'k',
      BETTER: betterCode(kind, input.dtype === 'float32'),
      STORE: into === 'output' ? `  ${target}[o1] = best;` : `  ${list}[id] = best;`,
    }),
    fill: (params) => {
      params.int(length, step, input.strides[rank], 0)
      params.walk(walk, into === 'output' ? [input.offset, output.offset] : [input.offset])
    },
  })
}

function betterCode(kind: 'max' | 'min', float: boolean): string {
  const [small, large] = kind === 'max' ? ['value', 'other'] : ['other', 'value']
  if (!float) return `${small} < ${large}`
  return `ef_lt(${small}, ${large}) || (ef_is_nan(other) && !ef_is_nan(value))`
}
