// The int8 matrix product in plain TypeScript: what the WASM kernels are held to, and what serves where they may not be
// compiled.

import { INT8_PANEL, QUAD } from '../int8'
import type { View } from '../types'
import { bufferOf } from './buffer'

/** See `Backend.matmulInt8`. */
export function matmulInt8(a: View, b: View, out: View): void {
  const [m, n] = out.shape
  const quads = a.shape[1]
  const sums = bufferOf(out).i32
  const [left, right] = [a, b].map((view) => new Int8Array(bufferOf(view).heap.buffer, bufferOf(view).ptr))
  for (let i = 0; i < m; i++) {
    const row = QUAD * (a.offset + i * a.strides[0])
    for (let j = 0; j < n; j++) {
      const panel = Math.floor(j / INT8_PANEL)
      const column = QUAD * (b.offset + INT8_PANEL * quads * panel + (j % INT8_PANEL))
      let sum = 0
      for (let q = 0; q < quads; q++) {
        const x = row + QUAD * q
        const y = column + QUAD * INT8_PANEL * q
        for (let u = 0; u < QUAD; u++) sum = (sum + left[x + u] * right[y + u]) | 0
      }
      sums[out.offset + i * out.strides[0] + j] = sum
    }
  }
}
