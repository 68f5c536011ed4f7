// The inner loops of the matrix product: packing, and a 4x4 tile of C in local variables, which V8 keeps in
// registers. The panels it reads and the sums are parts of one array that never changes (see scratch.ts).

import type { HostArray } from '../types'

/** Rows and columns of the tile. */
export const TILE = 4

/** Elements of packed A (1 MiB), of packed B (4 MiB) and of sums (1 MiB), and where they begin in `WORK`. */
export const SIZE_A = 131_072
export const SIZE_B = 524_288
export const SIZE_C = 131_072
export const BEGIN_A = 0
export const BEGIN_B = BEGIN_A + SIZE_A
export const BEGIN_C = BEGIN_B + SIZE_B
export const WORK = new Float64Array(BEGIN_C + SIZE_C)

/** `tile` adds the product of two packed panels onto 4x4 sums; `pack` and `unload` fill the panels and store the sums. */
export const { tile, pack, clear, unload } = makeTile(WORK)

// See scratch.ts for why the loops are inside a function.
function makeTile(work: Float64Array) {
  const W = work

  /**
   * Adds k products of a panel of A (at `pa`) and one of B (at `pb`), both four wide, onto the tile of sums at `pc`,
   * rows `width` apart.
   */
  function tile(pa: number, pb: number, k: number, pc: number, width: number): void {
    const r0 = pc
    const r1 = r0 + width
    const r2 = r1 + width
    const r3 = r2 + width
    let c00 = W[r0]
    let c01 = W[r0 + 1]
    let c02 = W[r0 + 2]
    let c03 = W[r0 + 3]
    let c10 = W[r1]
    let c11 = W[r1 + 1]
    let c12 = W[r1 + 2]
    let c13 = W[r1 + 3]
    let c20 = W[r2]
    let c21 = W[r2 + 1]
    let c22 = W[r2 + 2]
    let c23 = W[r2 + 3]
    let c30 = W[r3]
    let c31 = W[r3 + 1]
    let c32 = W[r3 + 2]
    let c33 = W[r3 + 3]
    for (let p = 0; p < k; p++, pa += 4, pb += 4) {
      const b0 = W[pb]
      const b1 = W[pb + 1]
      const b2 = W[pb + 2]
      const b3 = W[pb + 3]
      const a0 = W[pa]
      c00 += a0 * b0
      c01 += a0 * b1
      c02 += a0 * b2
      c03 += a0 * b3
      const a1 = W[pa + 1]
      c10 += a1 * b0
      c11 += a1 * b1
      c12 += a1 * b2
      c13 += a1 * b3
      const a2 = W[pa + 2]
      c20 += a2 * b0
      c21 += a2 * b1
      c22 += a2 * b2
      c23 += a2 * b3
      const a3 = W[pa + 3]
      c30 += a3 * b0
      c31 += a3 * b1
      c32 += a3 * b2
      c33 += a3 * b3
    }
    W[r0] = c00
    W[r0 + 1] = c01
    W[r0 + 2] = c02
    W[r0 + 3] = c03
    W[r1] = c10
    W[r1 + 1] = c11
    W[r1 + 2] = c12
    W[r1 + 3] = c13
    W[r2] = c20
    W[r2 + 1] = c21
    W[r2 + 2] = c22
    W[r2 + 3] = c23
    W[r3] = c30
    W[r3 + 1] = c31
    W[r3 + 2] = c32
    W[r3 + 3] = c33
  }

  /** Sets n sums to 0. */
  function clear(n: number): void {
    W.fill(0, BEGIN_C, BEGIN_C + n)
  }

  /**
   * Packs `lines` lines of length k (rows of A, columns of B) in panels of four: the four elements at each p side by
   * side. Missing lines of the last panel are zero. `line` and `step` are the strides from line to line and along it.
   */
  function pack(
    to: number,
    x: HostArray,
    offset: number,
    line: number,
    step: number,
    lines: number,
    k: number,
  ): void {
    let i = 0
    for (; i + TILE <= lines; i += TILE) {
      let o0 = offset + i * line
      let o1 = o0 + line
      let o2 = o1 + line
      let o3 = o2 + line
      for (const end = to + 4 * k; to < end; to += 4) {
        W[to] = x[o0]
        W[to + 1] = x[o1]
        W[to + 2] = x[o2]
        W[to + 3] = x[o3]
        o0 += step
        o1 += step
        o2 += step
        o3 += step
      }
    }
    if (i === lines) return
    W.fill(0, to, to + TILE * k)
    for (let r = to; i < lines; i++, r++) {
      for (let p = 0, o = offset + i * line; p < k; p++, o += step) W[r + p * TILE] = x[o]
    }
  }

  /** Stores (or adds) n sums as a row of the output. */
  function unload(
    from: number,
    out: HostArray,
    o: number,
    step: number,
    n: number,
    accumulate: boolean,
  ): void {
    const end = from + n
    if (accumulate) for (; from < end; from++, o += step) out[o] += W[from]
    else for (; from < end; from++, o += step) out[o] = W[from]
  }

  return { tile, pack, clear, unload }
}
