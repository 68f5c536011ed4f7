// Matrix products: which kernel serves which. Software adapters have shaders/matmul.wgsl and, from matmul-registers.ts,
// matmul-registers.wgsl; hardware those of matmul-hardware.ts. The choice follows from shape, layout and adapter class alone.

import plainTemplate from '../../../shaders/matmul.wgsl'
import type { View } from '../types'
import type { Engine } from './engine'
import { matmulHardware } from './matmul-hardware'
import { launchProduct } from './matmul-launch'
import { matmulRegisters } from './matmul-registers'

/** See `Backend.matmul`. */
export function matmul(engine: Engine, a: View, b: View, out: View, accumulate: boolean): void {
  if (out.shape.includes(0)) return
  const product = { a, b, out, accumulate }
  if (!engine.fallback) matmulHardware(engine, product)
  else if (!matmulRegisters(engine, a, b, out, accumulate))
    launchProduct(engine, product, {
      key: '',
      template: plainTemplate,
      rows: 4,
      columns: 4,
      byGroup: false,
      values: () => ({}),
    })
}
