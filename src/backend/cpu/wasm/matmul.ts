// The float32 matrix product on WASM kernels (gemm.ts): which operand plays which part, and the blocks it is cut in.
//
// The kernels read one operand in place along K and the other in panels of columns. Operands that lie otherwise are
// copied, a block at a time, to scratch memory that the caches hold; where C' = B' A' needs the smaller copies, that
// is computed instead. All choices follow from the shapes and strides alone, and K is summed in blocks of fixed
// length, so equal calls give equal bits.

import type { View } from '../../types'
import { bufferOf } from '../buffer'
import { eachProduct } from '../matmul'
import { type GemmKernels, gemm, PANEL } from './gemm'
import { type Threads, threadsOf } from './threads'

/** K is summed in blocks of this length, which bounds the growth of rounding errors and keeps panels in the cache. */
const DEPTH = 256
/** Columns of B packed at a time, and rows of A copied at a time. */
const WIDTH = 512
const HEIGHT = 256
/** Bytes between rows of the copy of A: not a power of two, or they would share a few lines of the cache. */
const COPY_ROW = 4 * DEPTH + 64
/** With at most this many rows, B is read in place: packing would cost more than it saves. */
const FEW_ROWS = 32
/** With at most this many columns, the product is a series of dot products. */
const FEW_COLUMNS = 3
/** K is summed in blocks of this length there: each of the four lanes has its own sum. */
const DOT_DEPTH = 4 * DEPTH

/** Threads divide a product by multiples of so many columns, or rows (which all heights of tiles divide). */
const FEWEST_COLUMNS = 4 * PANEL
const FEWEST_ROWS = 12
/** About how long a multiplication and its addition take. */
const PRODUCT_NS = 0.04

/** A matrix on the heap: element (i, j) is at byte `ptr + i * row + j * column`. */
interface Matrix {
  readonly ptr: number
  readonly row: number
  readonly column: number
}

/** `c = a @ b`, or `c += a @ b` with `accumulate`, for M x K and K x N. */
interface Product {
  readonly a: Matrix
  readonly b: Matrix
  readonly c: Matrix
  readonly m: number
  readonly n: number
  readonly k: number
  readonly accumulate: boolean
}

/** Columns of B, from `first` on, as the tiles read them: panels `step` bytes apart, their rows `row` bytes apart. */
interface Panels {
  readonly ptr: number
  readonly row: number
  readonly step: number
  readonly first: number
  readonly columns: number
}

/** The kernels of some threads, and where their scratch memory is. */
interface Engine {
  readonly kernels: GemmKernels
  readonly spill: number
  readonly copyOfA: number
  readonly packedB: number
}

/** null where WASM may not be compiled. */
const engines = new WeakMap<Threads, Engine | null>()

/** Multiplies float32 views; see `Backend.matmul`. False, with nothing done, where the TypeScript kernels have to serve. */
export function wasmMatmul(a: View, b: View, out: View, accumulate: boolean): boolean {
  const rank = out.shape.length
  const k = a.shape[rank - 1]
  const n = out.shape[rank - 1]
  if (out.dtype !== 'float32' || k === 0) return false
  const threads = threadsOf(bufferOf(out).heap)
  const engine = threads && engineOf(threads)
  if (!engine) return false
  const products: Product[] = []
  eachProduct(a, b, out, (at, m) => {
    const straight = {
      a: matrixOf(a, at[0], m, k),
      b: matrixOf(b, at[1], k, n),
      c: matrixOf(out, at[2], m, n),
      ...{ m, n, k, accumulate },
    }
    const other = turned(straight)
    // The other way round, the tiles of C are put in their places element by element.
    products.push(copied(other) + m * n < copied(straight) ? other : straight)
  })
  if (products.length === 0) return true
  const work = products[0].m * products[0].n * k * PRODUCT_NS
  if (products.length < 2 * threads.count && threads.pieces(work) > 1) {
    for (const product of products) divided(threads, engine, product, work)
  } else {
    threads.split(products.length, 1, work * products.length, (first, size) => {
      for (let i = first; i < first + size; i++) multiply(engine, products[i], isFewDots(products[i]))
    })
  }
  return true
}

/** One product shared by threads: by columns or by rows, whichever has less to be copied more than once. */
function divided(threads: Threads, engine: Engine, product: Product, work: number): void {
  const { a, b, c, m, n } = product
  const few = isFewDots(product)
  const byColumns = { units: few ? 0 : Math.floor(n / FEWEST_COLUMNS), copied: a.column === 4 ? 0 : m }
  const byRows = { units: Math.floor(m / FEWEST_ROWS), copied: readsInPlace(product) ? 0 : n }
  const pieces = threads.pieces(work)
  const [columns, rows] = [byColumns, byRows].map(({ units }) => Math.min(units, pieces))
  if (columns > rows || (columns === rows && byColumns.copied <= byRows.copied)) {
    threads.split(n, FEWEST_COLUMNS, work, (first, size) => {
      const [right, out] = [moved(b, 0, first), moved(c, 0, first)]
      multiply(engine, { ...product, b: right, c: out, n: size }, few)
    })
  } else {
    threads.split(m, FEWEST_ROWS, work, (first, size) => {
      const [left, out] = [moved(a, first, 0), moved(c, first, 0)]
      multiply(engine, { ...product, a: left, c: out, m: size }, few)
    })
  }
}

function moved({ ptr, row, column }: Matrix, i: number, j: number): Matrix {
  return { ptr: ptr + i * row + j * column, row, column }
}

function multiply(engine: Engine, product: Product, few: boolean): void {
  if (few) dots(engine, product)
  else blocks(engine, product)
}

function engineOf(threads: Threads): Engine | null {
  let engine = engines.get(threads)
  if (engine === undefined) {
    const kernels = threads.instantiate<GemmKernels>(gemm, { copy: [5], pack: [5], tiles: [0, 2, 12] })
    engine = kernels && {
      kernels,
      spill: threads.scratch(4 * PANEL * PANEL),
      copyOfA: threads.scratch(HEIGHT * COPY_ROW),
      packedB: threads.scratch(4 * DEPTH * WIDTH),
    }
    engines.set(threads, engine)
  }
  return engine
}

function matrixOf(view: View, offset: number, rows: number, columns: number): Matrix {
  const rank = view.shape.length
  // The stride of an axis of size 1 means nothing: let it be that of neighbours.
  return {
    ptr: bufferOf(view).ptr + 4 * offset,
    row: rows === 1 ? 4 : 4 * view.strides[rank - 2],
    column: columns === 1 ? 4 : 4 * view.strides[rank - 1],
  }
}

/** C' = B' A'. */
function turned({ a, b, c, m, n, k, accumulate }: Product): Product {
  return { a: transposed(b), b: transposed(a), c: transposed(c), m: n, n: m, k, accumulate }
}

function transposed({ ptr, row, column }: Matrix): Matrix {
  return { ptr, row: column, column: row }
}

/** Whether the tiles read B where it lies. */
function readsInPlace({ b, m }: Product): boolean {
  return b.column === 4 && m <= FEW_ROWS
}

/** How many elements are copied before they can be multiplied. */
function copied(product: Product): number {
  const { a, m, n, k } = product
  return (a.column === 4 ? 0 : m * k) + (readsInPlace(product) ? 0 : n * k)
}

/** Few columns, and elements that lie side by side along K in both operands. */
function isFewDots({ a, b, n }: Product): boolean {
  return n <= FEW_COLUMNS && a.column === 4 && b.row === 4
}

function dots({ kernels }: Engine, { a, b, c, m, n, k, accumulate }: Product): void {
  for (let j = 0; j < n; j++) {
    for (let p = 0; p < k; p += DOT_DEPTH) {
      const depth = Math.min(DOT_DEPTH, k - p)
      const x = b.ptr + j * b.column + p * 4
      const to = c.ptr + j * c.column
      kernels.dots(a.ptr + p * 4, a.row, x, to, c.row, m, depth, Number(accumulate || p > 0))
    }
  }
}

function blocks(engine: Engine, product: Product): void {
  const { a, c, m, n, k, accumulate } = product
  const { kernels, copyOfA, spill } = engine
  const inPlace = a.column === 4
  const height = inPlace ? m : HEIGHT
  for (let j = 0; j < n; j += WIDTH) {
    const columns = Math.min(WIDTH, n - j)
    for (let p = 0; p < k; p += DEPTH) {
      const depth = Math.min(DEPTH, k - p)
      const add = Number(accumulate || p > 0)
      const parts = panels(engine, product, p, depth, j, columns)
      for (let i = 0; i < m; i += height) {
        const rows = Math.min(height, m - i)
        const from = a.ptr + i * a.row + p * a.column
        if (!inPlace) kernels.copy(from, a.row, a.column, rows, depth, copyOfA, COPY_ROW)
        const [at, row] = inPlace ? [from, a.row] : [copyOfA, COPY_ROW]
        for (const q of parts) {
          const to = c.ptr + i * c.row + q.first * c.column
          const width = q.columns
          kernels.tiles(at, row, q.ptr, q.row, q.step, to, c.row, c.column, rows, width, depth, add, spill)
        }
      }
    }
  }
}

/** A block of B for the tiles: as it lies, but for a last panel that is not full; or packed. */
function panels(
  { kernels, packedB }: Engine,
  product: Product,
  p: number,
  depth: number,
  j: number,
  columns: number,
): Panels[] {
  const { b } = product
  const full = readsInPlace(product) ? columns - (columns % PANEL) : 0
  const rest = columns - full
  const ptr = b.ptr + p * b.row + j * b.column
  const parts: Panels[] = []
  if (full > 0) parts.push({ ptr, row: b.row, step: 4 * PANEL, first: j, columns: full })
  if (rest > 0) {
    kernels.pack(ptr + full * b.column, b.row, b.column, depth, rest, packedB)
    parts.push({ ptr: packedB, row: 4 * PANEL, step: 4 * PANEL * depth, first: j + full, columns: rest })
  }
  return parts
}
