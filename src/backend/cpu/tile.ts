// The inner loop of the matrix product: a 4x4 tile of C in local variables, which V8 keeps in registers.

// The panels it reads and the sums it writes are parts of one array that never changes, because V8 then compiles its
// address and length in as constants (see scratch.ts).

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

const W = WORK

/**
 * Sums a tile over k steps of a panel of A (at `pa` in `WORK`) and one of B (at `pb`), both four wide, and stores it
 * at `pc`, rows `width` apart; with `add` it starts from the values there.
 */
export function tile(pa: number, pb: number, k: number, pc: number, width: number, add: boolean): void {
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
    c00 = W[r0]
    c01 = W[r0 + 1]
    c02 = W[r0 + 2]
    c03 = W[r0 + 3]
    c10 = W[r1]
    c11 = W[r1 + 1]
    c12 = W[r1 + 2]
    c13 = W[r1 + 3]
    c20 = W[r2]
    c21 = W[r2 + 1]
    c22 = W[r2 + 2]
    c23 = W[r2 + 3]
    c30 = W[r3]
    c31 = W[r3 + 1]
    c32 = W[r3 + 2]
    c33 = W[r3 + 3]
  }
  for (let p = 0; p < k; p++, pa += TILE, pb += TILE) {
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
