// Products of int8 matrices: see shaders/matmul-int8.wgsl.

import template from '../../../shaders/matmul-int8.wgsl'
import { INT8_PANEL } from '../int8'
import type { View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'

/** Rows that an invocation computes. */
const ROWS = 4

/** See `Backend.matmulInt8`; `packed`: whether WGSL has dot4I8Packed. */
export function matmulInt8(engine: Engine, packed: boolean, a: View, b: View, out: View): void {
  const [m, n] = out.shape
  const quads = a.shape[1]
  const panels = Math.ceil(n / INT8_PANEL)
  const bindings = new Bindings()
  const A = bindings.add(a)
  const B = bindings.add(b, false, 4)
  const OUT = bindings.add(out, true)
  engine.run({
    op: 'matmulInt8',
    key: `${packed}`,
    template,
    bindings,
    count: panels * Math.ceil(m / ROWS),
    extra: panels,
    values: () => ({ A, B, OUT, PACKED: packed }),
    fill: (params) => {
      params.int(m, n, quads, a.strides[0], out.strides[0], a.offset, b.offset / 4, out.offset)
    },
  })
}
