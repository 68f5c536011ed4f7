// The int8 matrix product on WASM kernels (gemm-int8.ts): which form serves, and the blocks it is cut in.
//
// int32 sums are exact, so neither form nor blocks nor a division of the output changes a bit.

import { INT8_PANEL } from '../../int8'
import type { View } from '../../types'
import { bufferOf } from '../buffer'
import type { Heap } from '../heap'
import { gemmInt8, type Int8Kernels } from './gemm-int8'
import { type Threads, threadsOf } from './threads'

/** Words of K at a time: a panel of them and the rows of a tile stay in the first cache. */
const DEPTH = 256
/** Columns at a time: their panels stay in the second cache. */
const WIDTH = 512
/** Rows of the left operand made int16 at a time, and the bytes between them: not a power of two (see matmul.ts). */
const HEIGHT = 96
const WIDE_ROW = 8 * DEPTH + 64
const SPILL_BYTES = 256

/** The kernels of some threads, and where their scratch memory is. */
interface Engine extends Pick<Int8Kernels, 'strict' | 'widen'> {
  /** The form for left operands in 0 to 127, where there is one. */
  readonly relaxed: Int8Kernels['dot']
  readonly spill: number
  readonly widened: number
}

/** null where WASM may not be compiled. */
const engines = new WeakMap<Threads, Engine | null>()

/** See `Backend.matmulInt8`. False, with nothing done, where the TypeScript kernel has to serve. */
export function wasmMatmulInt8(a: View, b: View, out: View, sevenBits: boolean): boolean {
  const quads = a.shape[1]
  if (quads === 0) return false
  const engine = engineOf(bufferOf(out).heap)
  if (!engine) return false
  const { strict, widen, relaxed, spill, widened } = engine
  const tiles = sevenBits && relaxed ? relaxed : strict
  const [m, n] = out.shape
  const [aRow, cRow] = [4 * a.strides[0], 4 * out.strides[0]]
  const [aPtr, bPtr, cPtr] = [a, b, out].map((view) => bufferOf(view).ptr + 4 * view.offset)
  const panel = 4 * INT8_PANEL * quads
  for (let q = 0; q < quads; q += DEPTH) {
    const depth = Math.min(DEPTH, quads - q)
    const add = Number(q > 0)
    for (let i = 0; i < m; i += HEIGHT) {
      const rows = Math.min(HEIGHT, m - i)
      const from = aPtr + i * aRow + 4 * q
      if (tiles === strict) widen(from, aRow, rows, depth, widened, WIDE_ROW)
      const [left, leftRow] = tiles === strict ? [widened, WIDE_ROW] : [from, aRow]
      for (let j = 0; j < n; j += WIDTH) {
        const columns = Math.min(WIDTH, n - j)
        const right = bPtr + (j / INT8_PANEL) * panel + 4 * INT8_PANEL * q
        const to = cPtr + i * cRow + 4 * j
        tiles(left, leftRow, right, panel, to, cRow, rows, columns, depth, add, spill)
      }
    }
  }
  return true
}

function engineOf(heap: Heap): Engine | null {
  const threads = threadsOf(heap)
  if (!threads) return null
  let engine = engines.get(threads)
  if (engine === undefined) {
    const kernels = threads.instantiate<Int8Kernels>(gemmInt8)
    engine = kernels && prepare(kernels, threads, heap)
    engines.set(threads, engine)
  }
  return engine
}

function prepare(kernels: Int8Kernels, threads: Threads, heap: Heap): Engine {
  const { strict, widen, pairs, dot } = kernels
  const spill = threads.scratch(SPILL_BYTES)
  const widened = threads.scratch(HEIGHT * WIDE_ROW)
  return { strict, widen, relaxed: multipliesBytes(kernels, heap, spill) ? dot : pairs, spill, widened }
}

/**
 * Whether the processor multiplies and adds four pairs of bytes in one instruction. What comes of bytes above 127 tells:
 * 255 is itself (AVX-VNNI) or -1 (ARM). Other processors add two pairs at a time, and saturate; and the V8 of Node 20
 * forgets the sum that it should add to.
 */
function multipliesBytes({ probe }: Int8Kernels, heap: Heap, at: number): boolean {
  if (!probe) return false
  heap.u8(at, 32).fill(128, 0, 16).fill(255, 16)
  heap.i32(at + 32, 4).fill(1)
  probe(at)
  const [sum] = heap.i32(at, 1)
  return sum === 1 - 4 * 128 * 255 || sum === 1 + 4 * 128
}
