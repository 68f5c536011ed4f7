// The WASM kernels of the int8 matrix product: the register tile of gemm.ts over operands that lie as ../../int8.ts
// says, with sums in int32, which are exact and do not depend on the order of anything.
//
// With relaxed SIMD a tile multiplies words as they lie, four bytes of a row with four bytes of each of four columns; the
// left operand has to be in 0 to 127. Processors that do this in one instruction take `dot`; for others V8 makes five of
// it, and `pairs`, which adds in two steps, is faster (measured: by a third). Without relaxed SIMD, or where the left
// operand is any int8, bytes become int16 first: the left operand's once a call (`widen`), the right one's in registers
// by shifts, which leave the odd bytes of each word and the even ones.

import { INT8_PANEL } from '../../int8'
import { i16x8, i32, i32x4, v128, type V128 } from './code'
import { type Func, Module, type Target } from './emitter'
import { each, range } from './gemm'

const VECTORS = INT8_PANEL / 4

/** What the module exports; all arguments are byte addresses, byte strides, sizes and flags. */
export interface Int8Kernels {
  /**
   * Writes each of the `quads` words of `rows` rows, `row` bytes apart, as two words of int16: bytes 0 and 2, then 1 and
   * 3. Up to 8 bytes after a row of the result are written.
   */
  widen(from: number, row: number, rows: number, quads: number, to: number, toRow: number): void
  /**
   * `c = a @ b`, or `+=` with `add`: m rows of a, widened, `aRow` bytes apart, and the panels of n columns of b, `bPanel`
   * bytes apart; quads at least 1. The columns of c lie side by side. `spill` is room for a tile, 256 bytes.
   */
  strict(...args: TilesArguments): void
  /** The same for rows of a as they are, with bytes in 0 to 127 only; these with relaxed SIMD alone. */
  pairs?(...args: TilesArguments): void
  dot?(...args: TilesArguments): void
  /** Puts what `dot` would make of the three vectors from `at` on, a, b and c, in the place of the first. */
  probe?(at: number): void
}

type TilesArguments = [
  a: number,
  aRow: number,
  b: number,
  bPanel: number,
  c: number,
  cRow: number,
  m: number,
  n: number,
  quads: number,
  add: number,
  spill: number,
]

/** The bytes of the module that exports `Int8Kernels`. */
export function gemmInt8(target: Target): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  exportWiden(module)
  const place = placeOf(module)
  exportTiles(module, 'strict', place)
  // The flag stands for relaxed SIMD as a whole.
  if (target.fma) {
    exportTiles(module, 'pairs', place)
    exportTiles(module, 'dot', place)
    exportProbe(module)
  }
  return module.bytes()
}

function exportWiden(module: Module): void {
  const parameters = ['from', 'row', 'rows', 'quads', 'to', 'toRow'] as const
  module.export('widen', parameters, (f, { from, row, rows, quads, to, toRow }) => {
    const source = f.local('i32')
    const target = f.local('i32')
    const left = f.local('i32')
    const words = f.local('v128')
    const even = f.local('v128')
    const odd = f.local('v128')
    const take = (count: 4 | 1): void => {
      f.set(words, count === 4 ? v128.load(source) : v128.load32Splat(source))
      f.set(even, evenBytes(words))
      f.set(odd, oddBytes(words))
      f.run(v128.store(target, v128.shuffle(even, odd, [0, 4, 1, 5])))
      if (count === 4) f.run(v128.store(target, v128.shuffle(even, odd, [2, 6, 3, 7]), 16))
      f.step(source, 4 * count)
      f.step(target, 8 * count)
      f.step(left, -count)
    }
    f.while(rows, () => {
      f.set(source, from)
      f.set(target, to)
      f.set(left, quads)
      f.while(i32.geU(left, 4), () => take(4))
      f.while(left, () => take(1))
      f.step(from, row)
      f.step(to, toRow)
      f.step(rows, -1)
    })
  })
}

/** Bytes 0 and 2 of each word as int16; `oddBytes` gives 1 and 3. */
const evenBytes = (words: V128): V128 => i16x8.shr(i16x8.shl(words, 8), 8)
const oddBytes = (words: V128): V128 => i16x8.shr(words, 8)

/** One form of the inner step: what it reads of the left operand, and the products of a quad. */
interface Form {
  /** Rows of the tiles in the order they are tried: as many as the vector registers hold. */
  readonly sizes: readonly number[]
  /** Bytes of the left operand for each quad. */
  readonly bytes: number
  /** What a word of the right operand is made into; each part meets four bytes of the left operand. */
  parts(words: V128): V128[]
  /** `ones`: int16 in all lanes. */
  multiply(sum: V128, part: V128, left: V128, ones: V128): V128
}

const FORMS: Record<'strict' | 'pairs' | 'dot', Form> = {
  strict: {
    sizes: [4, 2, 1],
    bytes: 8,
    parts: (words) => [evenBytes(words), oddBytes(words)],
    multiply: (sum, part, left) => i32x4.add(sum, i32x4.dotHalves(part, left)),
  },
  pairs: {
    sizes: [5, 2, 1],
    bytes: 4,
    parts: (words) => [words],
    multiply: (sum, part, left, ones) =>
      i32x4.add(sum, i32x4.dotHalves(i16x8.relaxedDotBytes(part, left), ones)),
  },
  dot: {
    sizes: [6, 3, 1],
    bytes: 4,
    parts: (words) => [words],
    multiply: (sum, part, left) => i32x4.relaxedDotBytes(part, left, sum),
  },
}

/** Stores at `at` what `relaxedDotBytes` makes of the three vectors from there on. */
function exportProbe(module: Module): void {
  module.export('probe', ['at'], (f, { at }) => {
    f.run(v128.store(at, i32x4.relaxedDotBytes(v128.load(at), v128.load(at, 16), v128.load(at, 32))))
  })
}

/** The function that computes one tile of `rows` rows. */
function tileOf(module: Module, rows: number, { bytes, parts, multiply }: Form): Func {
  const parameters = ['a', 'aRow', 'b', 'c', 'cRow', 'quads', 'add'] as const
  return module.func(parameters, (f, { a, aRow, b, c, cRow, quads, add }) => {
    const sums = range(rows).map(() => range(VECTORS).map(() => f.local('v128')))
    const as = [a]
    for (let i = 1; i < rows; i++) as.push(f.local('i32', i32.add(as[i - 1], aRow)))
    const words = f.local('v128')
    const columns = range(VECTORS).map(() => parts(words).map(() => f.local('v128')))
    const left = f.local('v128')
    const ones = f.local('v128', i16x8.const(1))
    f.while(quads, () => {
      each(columns, (column, v) => {
        f.set(words, v128.load(b, 16 * v))
        each(parts(words), (part, u) => f.set(column[u], part))
      })
      each(sums, (row, i) => {
        for (let u = 0; u < bytes / 4; u++) {
          f.set(left, v128.load32Splat(as[i], 4 * u))
          each(row, (sum, v) => f.set(sum, multiply(sum, columns[v][u], left, ones)))
        }
        f.step(as[i], bytes)
      })
      f.step(b, 4 * INT8_PANEL)
      f.step(quads, -1)
    })
    const to = f.local('i32', c)
    f.if(add, () =>
      each(sums, (row) => {
        each(row, (sum, v) => f.set(sum, i32x4.add(v128.load(to, 16 * v), sum)))
        f.step(to, cRow)
      }),
    )
    each(sums, (row) => {
      each(row, (sum, v) => f.run(v128.store(c, sum, 16 * v)))
      f.step(c, cRow)
    })
  })
}

/** Moves the first columns of a tile from the spill to C. */
function placeOf(module: Module): Func {
  const parameters = ['tile', 'c', 'cRow', 'rows', 'columns', 'add'] as const
  return module.func(parameters, (f, { tile, c, cRow, rows, columns, add }) => {
    const from = f.local('i32')
    const to = f.local('i32')
    const left = f.local('i32')
    const old = (): ReturnType<typeof i32.load> => i32.select(i32.load(to), i32.const(0), add)
    f.while(rows, () => {
      f.set(from, tile)
      f.set(to, c)
      f.set(left, columns)
      f.while(left, () => {
        f.run(i32.store(to, i32.add(old(), i32.load(from))))
        f.step(from, 4)
        f.step(to, 4)
        f.step(left, -1)
      })
      f.step(tile, 4 * INT8_PANEL)
      f.step(c, cRow)
      f.step(rows, -1)
    })
  })
}

/** Rows are taken in tiles of the largest size, the rest in smaller ones. */
function exportTiles(module: Module, name: keyof typeof FORMS, place: Func): void {
  const parameters = ['a', 'aRow', 'b', 'bPanel', 'c', 'cRow', 'm', 'n', 'quads', 'add', 'spill'] as const
  const form = FORMS[name]
  const tiles = form.sizes.map((rows) => tileOf(module, rows, form))
  module.export(name, parameters, (f, p) => {
    const b = f.local('i32')
    const c = f.local('i32')
    const left = f.local('i32')
    each(form.sizes, (rows, t) => {
      f.while(i32.geU(p.m, rows), () => {
        f.set(b, p.b)
        f.set(c, p.c)
        f.set(left, p.n)
        f.while(i32.geU(left, INT8_PANEL), () => {
          f.call(tiles[t], p.a, p.aRow, b, c, p.cRow, p.quads, p.add)
          f.step(b, p.bPanel)
          f.step(c, 4 * INT8_PANEL)
          f.step(left, -INT8_PANEL)
        })
        f.if(left, () => {
          f.call(tiles[t], p.a, p.aRow, b, p.spill, i32.const(4 * INT8_PANEL), p.quads, i32.const(0))
          f.call(place, p.spill, c, p.cRow, i32.const(rows), left, p.add)
        })
        f.step(p.a, i32.mul(p.aRow, rows))
        f.step(p.c, i32.mul(p.cRow, rows))
        f.step(p.m, -rows)
      })
    })
  })
}
