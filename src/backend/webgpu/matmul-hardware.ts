// Matrix products on GPUs: tiles in workgroup memory, a kernel for few rows or columns, and a long K cut into parts that
// are computed side by side and added up by a second dispatch.

import partsTemplate from '../../../shaders/matmul-parts.wgsl'
import thinTemplate from '../../../shaders/matmul-thin.wgsl'
import tiledTemplate from '../../../shaders/matmul-tiled.wgsl'
import { collapse, count } from '../collapse'
import { input } from '../expr'
import { Program } from '../program'
import type { View } from '../types'
import { Bindings, elementOf } from './bindings'
import type { Engine } from './engine'
import { launchProduct, type Product, type ProductKernel } from './matmul-launch'
import { offsetsCode } from './params'
import { reduce } from './reduce'

/** Which shape takes which kernel. Provisional: the figures were set without a GPU to time them on. */
const CHOICE = {
  /** At most so many rows (or columns) are thin, if K is at least so long. */
  thin: { rows: 8, depth: 32 },
  /** Tiles of 64 x 64 where they make at least so many workgroups and are not mostly edge, else of 32 x 32. */
  large: { groups: 256, side: 33 },
  /** K is cut to have so many workgroups, into so many parts at most, each of them at least so long. */
  cut: { groups: 128, parts: 32, length: 256 },
} as const
/** Invocations of a thin product's workgroup that go along the near axis of the long operand, and along the other. */
const NEAR = 32
const FAR = 4
/** Steps along K that are staged at a time. */
const DEPTH = 16
const PRODUCT = new Program([input(0).mul(input(1))], 2)

export function matmulHardware(engine: Engine, product: Product): void {
  const { a, b, out, accumulate } = product
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const k = a.shape[rank - 1]
  const deep = k >= CHOICE.thin.depth
  // A single result each is a reduction of the products.
  if (deep && m * n === 1 && !accumulate && out.dtype === 'float32') reduceProducts(engine, a, b, out)
  else if (deep && m <= CHOICE.thin.rows && m <= n) inParts(engine, product, thin(product))
  else if (deep && n <= CHOICE.thin.rows) {
    const turned = { a: transposed(b), b: transposed(a), out: transposed(out), accumulate }
    inParts(engine, turned, thin(turned))
  } else inParts(engine, product, tiled(product))
}

function transposed(view: View): View {
  const swap = (list: readonly number[]): number[] => [
    ...list.slice(0, -2),
    list[list.length - 1],
    list[list.length - 2],
  ]
  return { ...view, shape: swap(view.shape), strides: swap(view.strides) }
}

/** Runs a kernel, over parts of K if there would be too few workgroups. */
function inParts(engine: Engine, product: Product, kernel: ProductKernel): void {
  const { a, b, out, accumulate } = product
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const k = a.shape[rank - 1]
  const results = count(out.shape)
  const groups = (Math.ceil(m / kernel.rows) * Math.ceil(n / kernel.columns) * results) / (m * n)
  const { cut } = CHOICE
  const wanted = Math.min(Math.floor(cut.groups / groups), Math.floor(k / cut.length), cut.parts)
  if (wanted < 2) {
    launchProduct(engine, product, kernel)
    return
  }
  const length = DEPTH * Math.ceil(k / wanted / DEPTH)
  const parts = Math.ceil(k / length)
  engine.withScratch(out.dtype, parts * results, (scratch) => {
    const lead = (view: View, step: number): View => ({
      ...view,
      shape: [parts, ...view.shape],
      strides: [step, ...view.strides],
    })
    const strides = out.shape.map((_, d) => count(out.shape.slice(d + 1)))
    const cutProduct = {
      a: lead(a, length * a.strides[rank - 1]),
      b: lead(b, length * b.strides[rank - 2]),
      out: lead({ ...scratch, shape: out.shape, strides }, results),
      accumulate: false,
      cut: { length, parts },
    }
    launchProduct(engine, cutProduct, kernel)
    addParts(engine, scratch, parts, out, accumulate)
  })
}

function addParts(engine: Engine, scratch: View, parts: number, out: View, accumulate: boolean): void {
  const bindings = new Bindings()
  const PARTS = bindings.add(scratch)
  const OUT = bindings.add(out, true)
  const walk = collapse(out.shape, [out.strides])
  engine.run({
    op: 'matmul',
    key: `parts|${accumulate}|${walk.shape.length}`,
    template: partsTemplate,
    bindings,
    count: count(out.shape),
    extra: parts,
    values: () => ({
      PARTS,
      OUT,
      OLD: accumulate ? `${OUT}[o0] + ` : '',
      OFFSETS: offsetsCode(walk.shape.length, ['o0'], 4, 'i'),
    }),
    fill: (params) => {
      params.walk(walk, [out.offset])
    },
  })
}

function reduceProducts(engine: Engine, a: View, b: View, out: View): void {
  const rank = out.shape.length
  const k = a.shape[rank - 1]
  const shape = [...out.shape, k]
  const [bK, bN] = b.strides.slice(rank - 2)
  const rows = { ...a, shape, strides: [...a.strides.slice(0, rank - 1), 0, a.strides[rank - 1]] }
  const columns = { ...b, shape, strides: [...b.strides.slice(0, rank - 2), 0, bN, bK] }
  reduce(engine, 'sum', PRODUCT, [rows, columns], [], out)
}

/** The kernel for a few rows; `product` has at most eight. */
function thin({ b, out }: Product): ProductKernel {
  const rank = out.shape.length
  const [bK, bN] = b.strides.slice(rank - 2)
  const alongK = Math.abs(bK) < Math.abs(bN)
  // A power of two, so that there are few kernels.
  const rows = 2 ** Math.ceil(Math.log2(out.shape[rank - 2]))
  const columns = alongK ? FAR : NEAR
  const slots = alongK ? NEAR : FAR
  const each = (line: (r: number) => string): string =>
    Array.from({ length: rows }, (_, r) => line(r)).join('\n')
  return {
    key: `thin|${rows}|${alongK}`,
    template: thinTemplate,
    rows,
    columns,
    byGroup: true,
    values: ({ A }) => ({
      ROWS: rows,
      COLUMNS: columns,
      SLOTS: slots,
      ALONG_K: alongK,
      STARTS: each((r) =>
        [
          `  let at${r} = o0 + i32(min(${r}u, size.x - 1u)) * steps.x;`,
          `  var r${r} = ${elementOf(out.dtype)}();`,
        ].join('\n'),
      ),
      STEPS: each((r) => `    r${r} += ${A}[at${r} + i32(k) * steps.y] * x;`),
      SHARE: each((r) => `  sums[${r}u * LANES + lane] = r${r};`),
      ADD: each((r) => `      sums[${r}u * LANES + lane] += sums[${r}u * LANES + lane + half * NEXT];`),
    }),
  }
}

function tiled({ a, b, out }: Product): ProductKernel {
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const [aM, aK] = a.strides.slice(rank - 2)
  const [bK, bN] = b.strides.slice(rank - 2)
  // Which of an operand's axes is the near one in memory decides how the tiles are loaded.
  const aAlongK = Math.abs(aK) <= Math.abs(aM)
  const bAlongK = Math.abs(bK) < Math.abs(bN)
  const { groups, side } = CHOICE.large
  const many = (Math.ceil(m / 64) * Math.ceil(n / 64) * count(out.shape)) / (m * n) >= groups
  const tile = many && Math.min(m, n) >= side ? 64 : 32
  const type = elementOf(out.dtype)
  return {
    key: `${tile}|${aAlongK}|${bAlongK}`,
    template: tiledTemplate,
    rows: tile,
    columns: tile,
    byGroup: true,
    values: () => ({
      TILE: tile,
      SIDE: tile / 4,
      A_ALONG_K: aAlongK,
      B_ALONG_K: bAlongK,
      REGISTERS: [0, 1, 2, 3].map((r) => `  var r${r} = vec4<${type}>();`).join('\n'),
      MULTIPLY: multiply(type),
    }),
  }
}

/** One step along K of a workgroup's tile: 4 words of each operand, 16 products. */
function multiply(type: string): string {
  const read = (side: string, at: string): string =>
    `vec4<${type}>(${[0, 1, 2, 3].map((r) => `${side}[k * PITCH + ${at} + ${r}u * SIDE]`).join(', ')})`
  return [
    `      let a = ${read('ta', 'local.y')};`,
    `      let b = ${read('tb', 'local.x')};`,
    ...[0, 1, 2, 3].map((r) => `      r${r} += a[${r}] * b;`),
  ].join('\n')
}
