// Stable sorting of indices: see shaders/arg-sort.wgsl. As many passes as the length has binary digits.

import template from '../../../shaders/arg-sort.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'

/** See `Backend.argSort`. */
export function argSort(engine: Engine, descending: boolean, input: View, output: View): void {
  const total = count(output.shape)
  if (total === 0) return
  const length = output.shape[output.shape.length - 1]
  const passes = Math.max(1, Math.ceil(Math.log2(length)))
  engine.withScratch('int32', total, (scratch) => {
    for (let pass = 0; pass < passes; pass++) {
      // The last one writes the output.
      const [from, to] = (passes - pass) % 2 === 1 ? [scratch, output] : [output, scratch]
      merge(engine, descending, input, from, to, length, pass)
    }
  })
}

function merge(
  engine: Engine,
  descending: boolean,
  input: View,
  from: View,
  to: View,
  length: number,
  pass: number,
): void {
  const last = input.shape.length - 1
  const bindings = new Bindings()
  const INPUT = bindings.add(input)
  const FROM = bindings.add(from)
  const TO = bindings.add(to, true)
  const walk = collapse(input.shape.slice(0, last), [input.strides.slice(0, last)])
  engine.run({
    op: 'argSort',
    key: `${walk.shape.length}`,
    template,
    bindings,
    count: count(input.shape),
    extra: length,
    values: () => ({
      INPUT,
      FROM,
      TO,
      FLOAT: input.dtype === 'float32',
      OFFSETS: offsetsCode(walk.shape.length, ['o0'], 8, 'line'),
    }),
    fill: (params) => {
      params.int(2 ** pass, Number(pass === 0), input.strides[last], Number(descending))
      params.walk(walk, [input.offset])
    },
  })
}
