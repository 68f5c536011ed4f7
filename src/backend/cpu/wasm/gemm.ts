// The WASM kernels of the float32 matrix product: a register tile over operands that are read in place where they
// lie well, and a copy for those that do not.
//
// A tile of C is summed in registers, four rows by eight columns (six rows with fused multiply-add). A is read along K,
// four elements of a row at a time, each spread over a vector by a shuffle; B is read eight columns at a time, from
// packed panels or in place. Each element of C is the sum of its products in the order of K, whatever tile computes
// it: an output may be divided between callers at any row and at any multiple of eight columns without changing a bit.

import { type Code, f32, f32x4, i32, memory, v128, type V128 } from './code'
import { type Body, type Func, type Local, Module, type Target } from './emitter'

/** Columns of a tile and of a packed panel. */
export const PANEL = 8
const VECTORS = PANEL / 4

/** What the module exports; all arguments are byte addresses, byte strides, sizes and flags. */
export interface GemmKernels {
  /** Copies `rows` x `columns` float32 from any strides to rows of `toRow` bytes. */
  copy(
    from: number,
    row: number,
    column: number,
    rows: number,
    columns: number,
    to: number,
    toRow: number,
  ): void
  /** Packs k x n of B in panels: `PANEL` columns of all k rows after one another, the last panel filled up with 0. */
  pack(b: number, row: number, column: number, k: number, n: number, to: number): void
  /**
   * `c = a @ b` (or `+=` with `add`) for m x k and k x n, k at least 1. The columns of a lie side by side. Rows of a
   * panel of b are `bRow` bytes apart, panels `bPanel`. A last panel of fewer columns is read in full. `spill` is room
   * for a tile, 256 bytes.
   */
  tiles(
    ...args: [
      a: number,
      aRow: number,
      b: number,
      bRow: number,
      bPanel: number,
      c: number,
      cRow: number,
      cColumn: number,
      m: number,
      n: number,
      k: number,
      add: number,
      spill: number,
    ]
  ): void
  /** `c = a @ b` for one column b; along K, the elements of b and those of a row of a lie side by side. */
  dots(a: number, aRow: number, b: number, c: number, cRow: number, m: number, k: number, add: number): void
}

/** The bytes of the module that exports `GemmKernels`. */
export function gemm(target: Target): Uint8Array<ArrayBuffer> {
  const module = new Module(target)
  const copy = exportCopy(module)
  exportPack(module, copy)
  exportTiles(module, target.fma ? [6, 4, 3, 1] : [4, 2, 1])
  exportDots(module, [4, 1])
  return module.bytes()
}

/** `forEach` for callbacks that return something. */
export function each<T>(items: readonly T[], write: (item: T, index: number) => void): void {
  for (const [i, item] of items.entries()) write(item, i)
}

/** 0 to n - 1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const locals = (f: Body, n: number): Local<'v128'>[] => range(n).map(() => f.local('v128'))

/** The transpose of four vectors as a 4 x 4 matrix. */
function transpose(f: Body, [a, b, c, d]: readonly V128[]): V128[] {
  const keep = (x: V128): V128 => f.local('v128', x)
  const ab = keep(v128.shuffle(a, b, [0, 4, 1, 5]))
  const cd = keep(v128.shuffle(c, d, [0, 4, 1, 5]))
  const ab2 = keep(v128.shuffle(a, b, [2, 6, 3, 7]))
  const cd2 = keep(v128.shuffle(c, d, [2, 6, 3, 7]))
  return [
    v128.shuffle(ab, cd, [0, 1, 4, 5]),
    v128.shuffle(ab, cd, [2, 3, 6, 7]),
    v128.shuffle(ab2, cd2, [0, 1, 4, 5]),
    v128.shuffle(ab2, cd2, [2, 3, 6, 7]),
  ]
}

function exportCopy(module: Module): Func {
  const parameters = ['from', 'row', 'column', 'rows', 'columns', 'to', 'toRow'] as const
  return module.export('copy', parameters, (f, { from, row, column, rows, columns, to, toRow }) => {
    const source = f.local('i32')
    const target = f.local('i32')
    const left = f.local('i32')
    const begin = (): void => {
      f.set(source, from)
      f.set(target, to)
      f.set(left, rows)
    }
    const next = (count: number): void => {
      f.step(source, i32.mul(row, count))
      f.step(target, i32.mul(toRow, count))
      f.step(left, -count)
    }
    /** Pointers to four elements after one another, `stride` bytes apart. */
    const four = (start: Local<'i32'>, stride: Local<'i32'>): Local<'i32'>[] => {
      const pointers = [start]
      for (let i = 1; i < 4; i++) pointers.push(f.local('i32', i32.add(pointers[i - 1], stride)))
      return pointers
    }
    // Strips of four columns, then the columns left over.
    f.while(i32.geU(columns, 4), () => {
      begin()
      f.if(
        i32.eq(column, 4),
        () =>
          f.while(left, () => {
            f.run(v128.store(target, v128.load(source)))
            next(1)
          }),
        () =>
          f.if(i32.eq(row, 4), () =>
            f.while(i32.geU(left, 4), () => {
              const lines = four(source, column).map((p) => f.local('v128', v128.load(p)))
              const turned = transpose(f, lines)
              each(four(target, toRow), (p, i) => f.run(v128.store(p, turned[i])))
              next(4)
            }),
          ),
      )
      f.while(left, () => {
        each(four(source, column), (p, i) => f.run(f32.store(target, f32.load(p), 4 * i)))
        next(1)
      })
      f.step(from, i32.mul(column, 4))
      f.step(to, 16)
      f.step(columns, -4)
    })
    f.while(columns, () => {
      begin()
      f.while(left, () => {
        f.run(f32.store(target, f32.load(source)))
        next(1)
      })
      f.step(from, column)
      f.step(to, 4)
      f.step(columns, -1)
    })
  })
}

/** Panels written at once from columns that lie side by side: what is read of a row should fill lines of the cache. */
const STRIP = 4

function packStrips(
  f: Body,
  { b, row, k, n, to }: Record<'b' | 'row' | 'k' | 'n' | 'to', Local<'i32'>>,
  bytes: Local<'i32'>,
): void {
  const source = f.local('i32')
  const left = f.local('i32')
  const targets = range(STRIP).map(() => f.local('i32'))
  f.while(i32.geU(n, STRIP * PANEL), () => {
    f.set(source, b)
    f.set(left, k)
    each(targets, (target) => {
      f.set(target, to)
      f.step(to, bytes)
    })
    f.while(left, () => {
      each(targets, (target, t) => {
        for (const v of range(VECTORS)) {
          f.run(v128.store(target, v128.load(source, 4 * (PANEL * t + 4 * v)), 16 * v))
        }
        f.step(target, 4 * PANEL)
      })
      f.step(source, row)
      f.step(left, -1)
    })
    f.step(b, 4 * STRIP * PANEL)
    f.step(n, -STRIP * PANEL)
  })
}

function exportPack(module: Module, copy: Func): void {
  module.export('pack', ['b', 'row', 'column', 'k', 'n', 'to'], (f, { b, row, column, k, n, to }) => {
    const bytes = f.local('i32', i32.mul(k, 4 * PANEL))
    f.if(i32.eq(column, 4), () => packStrips(f, { b, row, k, n, to }, bytes))
    f.while(i32.geU(n, PANEL), () => {
      f.call(copy, b, row, column, k, i32.const(PANEL), to, i32.const(4 * PANEL))
      f.step(b, i32.mul(column, PANEL))
      f.step(to, bytes)
      f.step(n, -PANEL)
    })
    f.if(n, () => {
      f.run(memory.fill(to, 0, bytes))
      f.call(copy, b, row, column, k, n, to, i32.const(4 * PANEL))
    })
  })
}

/** The function that computes one tile of `rows` rows. */
function tileOf(module: Module, rows: number): Func {
  const parameters = ['a', 'aRow', 'b', 'bRow', 'c', 'cRow', 'k', 'add'] as const
  return module.func(parameters, (f, { a, aRow, b, bRow, c, cRow, k, add }) => {
    const sums = range(rows).map(() => locals(f, VECTORS))
    const as = [a]
    for (let i = 1; i < rows; i++) as.push(f.local('i32', i32.add(as[i - 1], aRow)))
    const lines = locals(f, rows)
    const columns = locals(f, VECTORS)
    const spread = f.local('v128')
    /** Adds the products at one p, with row i of A spread by `value`. */
    const products = (value: (i: number) => V128): void => {
      each(columns, (column, v) => f.set(column, v128.load(b, 16 * v)))
      f.step(b, bRow)
      each(sums, (row, i) => {
        f.set(spread, value(i))
        each(row, (sum, v) => f.set(sum, f.madd(spread, columns[v], sum)))
      })
    }
    const forward = (bytes: number): void => each(as, (p) => f.step(p, bytes))

    f.while(i32.geU(k, 4), () => {
      each(lines, (line, i) => f.set(line, v128.load(as[i])))
      for (let u = 0; u < 4; u++) products((i) => v128.shuffle(lines[i], lines[i], [u, u, u, u]))
      forward(16)
      f.step(k, -4)
    })
    f.while(k, () => {
      products((i) => v128.load32Splat(as[i]))
      forward(4)
      f.step(k, -1)
    })
    const old = f.local('i32', c)
    f.if(add, () =>
      each(sums, (row) => {
        each(row, (sum, v) => f.set(sum, f32x4.add(v128.load(old, 16 * v), sum)))
        f.step(old, cRow)
      }),
    )
    each(sums, (row) => {
      each(row, (sum, v) => f.run(v128.store(c, sum, 16 * v)))
      f.step(c, cRow)
    })
  })
}

/** Moves a tile from the spill to strided elements of C. */
function placeOf(module: Module): Func {
  const parameters = ['tile', 'c', 'cRow', 'cColumn', 'rows', 'columns', 'add'] as const
  return module.func(parameters, (f, { tile, c, cRow, cColumn, rows, columns, add }) => {
    const from = f.local('i32')
    const to = f.local('i32')
    const left = f.local('i32')
    f.while(rows, () => {
      f.set(from, tile)
      f.set(to, c)
      f.set(left, columns)
      f.while(left, () => {
        f.if(
          add,
          () => f.run(f32.store(to, f32.add(f32.load(to), f32.load(from)))),
          () => f.run(f32.store(to, f32.load(from))),
        )
        f.step(from, 4)
        f.step(to, cColumn)
        f.step(left, -1)
      })
      f.step(tile, 4 * PANEL)
      f.step(c, cRow)
      f.step(rows, -1)
    })
  })
}

/** Rows that tiles of six leave to those of four and three: six would leave single rows, which are slow. */
const LEFT_TO_SMALLER = [7, 8, 11]

/** Rows are taken in tiles of the largest size, the rest in smaller ones. */
function exportTiles(module: Module, sizes: readonly number[]): void {
  const place = placeOf(module)
  const tiles = sizes.map((rows) => tileOf(module, rows))
  const parameters = [
    ...(['a', 'aRow', 'b', 'bRow', 'bPanel', 'c', 'cRow', 'cColumn'] as const),
    ...(['m', 'n', 'k', 'add', 'spill'] as const),
  ]
  module.export('tiles', parameters, (f, p) => {
    const b = f.local('i32')
    const c = f.local('i32')
    const left = f.local('i32')
    const step = f.local('i32', i32.mul(p.cColumn, PANEL))
    const whole = f.local('i32')
    /** Whether the next tile has so many rows. */
    const takes = (rows: number): Code<'i32'> =>
      (rows === 6 ? LEFT_TO_SMALLER : []).reduce(
        (condition, count) => i32.and(condition, i32.ne(p.m, count)),
        i32.geU(p.m, rows),
      )
    each(sizes, (rows, t) => {
      f.while(takes(rows), () => {
        f.set(b, p.b)
        f.set(c, p.c)
        f.set(left, p.n)
        f.while(left, () => {
          f.set(whole, i32.geU(left, PANEL))
          f.if(
            i32.and(whole, i32.eq(p.cColumn, 4)),
            () => f.call(tiles[t], p.a, p.aRow, b, p.bRow, c, p.cRow, p.k, p.add),
            () => {
              f.call(tiles[t], p.a, p.aRow, b, p.bRow, p.spill, 4 * PANEL, p.k, 0)
              const columns = i32.select(i32.const(PANEL), left, whole)
              f.call(place, p.spill, c, p.cRow, p.cColumn, rows, columns, p.add)
            },
          )
          f.step(b, p.bPanel)
          f.step(c, step)
          f.set(left, i32.select(i32.sub(left, PANEL), i32.const(0), whole))
        })
        f.step(p.a, i32.mul(p.aRow, rows))
        f.step(p.c, i32.mul(p.cRow, rows))
        f.step(p.m, -rows)
      })
    })
  })
}

function exportDots(module: Module, sizes: readonly number[]): void {
  const parameters = ['a', 'aRow', 'b', 'c', 'cRow', 'm', 'k', 'add'] as const
  module.export('dots', parameters, (f, { a, aRow, b, c, cRow, m, k, add }) => {
    const x = f.local('i32')
    const left = f.local('i32')
    const column = f.local('v128')
    const tail = f.local('f32')
    for (const rows of sizes) {
      const sums = locals(f, rows)
      const rest = range(rows).map(() => f.local('f32'))
      const as = [a]
      for (let i = 1; i < rows; i++) as.push(f.local('i32'))
      f.while(i32.geU(m, rows), () => {
        for (let i = 1; i < rows; i++) f.set(as[i], i32.add(as[i - 1], aRow))
        const next = f.local('i32', i32.add(as[rows - 1], aRow))
        for (const sum of sums) f.set(sum, f32x4.const(0))
        for (const sum of rest) f.set(sum, f32.const(0))
        f.set(x, b)
        f.set(left, k)
        f.while(i32.geU(left, 4), () => {
          f.set(column, v128.load(x))
          each(sums, (sum, i) => f.set(sum, f.madd(v128.load(as[i]), column, sum)))
          for (const p of [...as, x]) f.step(p, 16)
          f.step(left, -4)
        })
        f.while(left, () => {
          f.set(tail, f32.load(x))
          each(rest, (sum, i) => f.set(sum, f32.add(sum, f32.mul(f32.load(as[i]), tail))))
          for (const p of [...as, x]) f.step(p, 4)
          f.step(left, -1)
        })
        each(sums, (sum, i) => {
          const lane = (l: number) => f32x4.lane(sum, l)
          const total = f32.add(f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3))), rest[i])
          f.if(
            add,
            () => f.run(f32.store(c, f32.add(f32.load(c), total))),
            () => f.run(f32.store(c, total)),
          )
          f.step(c, cRow)
        })
        f.set(a, next)
        f.step(m, -rows)
      })
    }
  })
}
