// Lookups along one axis: see shaders/gather.wgsl.

import template from '../../../shaders/gather.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings, elementOf } from './bindings'
import type { Engine } from './engine'
import type { Failures } from './failures'
import { offsetsCode } from './params'

/** See `Backend.gather`. */
export function gather(
  engine: Engine,
  failures: Failures,
  x: View,
  dim: number,
  index: View,
  out: View,
): void {
  const bindings = new Bindings()
  const X = bindings.add(x)
  const INDEX = bindings.add(index)
  const OUT = bindings.add(out, true)
  bindings.addCell(engine.queue.cell)
  const walk = collapse(out.shape, [x.strides.with(dim, 0), index.strides, out.strides])
  engine.run({
    op: 'gather',
    key: `${walk.shape.length}`,
    template,
    bindings,
    count: count(out.shape),
    extra: x.shape[dim],
    values: () => ({
      X,
      INDEX,
      OUT,
      TYPE: elementOf(out.dtype),
      OFFSETS: offsetsCode(walk.shape.length, ['o0', 'o1', 'o2'], 8, 'i'),
    }),
    fill: (params) => {
      params.int(x.strides[dim], failures.token('gather', dim, x.shape[dim]), 0, 0)
      params.walk(walk, [x.offset, index.offset, out.offset])
    },
  })
}
