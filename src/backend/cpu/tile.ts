// The inner loop of the matrix product: a 4x4 tile of C in local variables, which V8 keeps in registers.

/** Rows and columns of the tile. */
export const TILE = 4

/**
 * Sums a tile of C over k steps of a panel of A (at `pa`) and one of B (at `pb`), both four wide, and stores it
 * at `c[pc]`, rows `width` apart; with `add` it starts from the values there.
 */
export function tile(
  a: Float64Array,
  pa: number,
  b: Float64Array,
  pb: number,
  k: number,
  c: Float64Array,
  pc: number,
  width: number,
  add: boolean,
): void {
  const r0 = pc
  const r1 = r0 + width
  const r2 = r1 + width
  const r3 = r2 + width
  let c00 = 0
  let c01 = 0
  let c02 = 0
  let c03 = 0
  let c10 = 0
  let c11 = 0
  let c12 = 0
  let c13 = 0
  let c20 = 0
  let c21 = 0
  let c22 = 0
  let c23 = 0
  let c30 = 0
  let c31 = 0
  let c32 = 0
  let c33 = 0
  if (add) {
    c00 = c[r0]
    c01 = c[r0 + 1]
    c02 = c[r0 + 2]
    c03 = c[r0 + 3]
    c10 = c[r1]
    c11 = c[r1 + 1]
    c12 = c[r1 + 2]
    c13 = c[r1 + 3]
    c20 = c[r2]
    c21 = c[r2 + 1]
    c22 = c[r2 + 2]
    c23 = c[r2 + 3]
    c30 = c[r3]
    c31 = c[r3 + 1]
    c32 = c[r3 + 2]
    c33 = c[r3 + 3]
  }
  for (let p = 0; p < k; p++, pa += TILE, pb += TILE) {
    const b0 = b[pb]
    const b1 = b[pb + 1]
    const b2 = b[pb + 2]
    const b3 = b[pb + 3]
    const a0 = a[pa]
    c00 += a0 * b0
    c01 += a0 * b1
    c02 += a0 * b2
    c03 += a0 * b3
    const a1 = a[pa + 1]
    c10 += a1 * b0
    c11 += a1 * b1
    c12 += a1 * b2
    c13 += a1 * b3
    const a2 = a[pa + 2]
    c20 += a2 * b0
    c21 += a2 * b1
    c22 += a2 * b2
    c23 += a2 * b3
    const a3 = a[pa + 3]
    c30 += a3 * b0
    c31 += a3 * b1
    c32 += a3 * b2
    c33 += a3 * b3
  }
  c[r0] = c00
  c[r0 + 1] = c01
  c[r0 + 2] = c02
  c[r0 + 3] = c03
  c[r1] = c10
  c[r1 + 1] = c11
  c[r1 + 2] = c12
  c[r1 + 3] = c13
  c[r2] = c20
  c[r2 + 1] = c21
  c[r2 + 2] = c22
  c[r2 + 3] = c23
  c[r3] = c30
  c[r3 + 1] = c31
  c[r3 + 2] = c32
  c[r3 + 3] = c33
}
