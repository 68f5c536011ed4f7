// Matrix products: see shaders/matmul.wgsl, matmul-tiled.wgsl and, from matmul-registers.ts, matmul-registers.wgsl.

import plainTemplate from '../../../shaders/matmul.wgsl'
import tiledTemplate from '../../../shaders/matmul-tiled.wgsl'
import { collapse, count } from '../collapse'
import { input } from '../expr'
import { Program } from '../program'
import type { View } from '../types'
import { Bindings, elementOf } from './bindings'
import type { Engine } from './engine'
import { matmulRegisters } from './matmul-registers'
import { offsetsCode } from './params'
import { reduce } from './reduce'

/** Rows and columns of a register tile. */
const REGISTER_TILE = 4
/** With fewer workgroups than this, smaller tiles give more of them. Provisional: not yet timed on a GPU. */
const FEW_GROUPS = 256
const PRODUCT = new Program([input(0).mul(input(1))], 2)

/** See `Backend.matmul`. */
export function matmul(engine: Engine, a: View, b: View, out: View, accumulate: boolean): void {
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const k = a.shape[rank - 1]
  const batchShape = out.shape.slice(0, rank - 2)
  const batches = count(batchShape)
  if (m * n * batches === 0) return
  // One row or column is a reduction, and there parts of a long K can run side by side.
  if (!engine.fallback && !accumulate && out.dtype === 'float32' && Math.min(m, n) === 1 && k >= 256) {
    reduceProducts(engine, a, b, out)
    return
  }
  if (engine.fallback && matmulRegisters(engine, a, b, out, accumulate)) return
  const tile = engine.fallback ? REGISTER_TILE : tileFor(m, n, batches)
  const bindings = new Bindings()
  const A = bindings.add(a)
  const B = bindings.add(b)
  const OUT = bindings.add(out, true)
  const views = [a, b, out]
  const walk = collapse(
    batchShape,
    views.map((view) => view.strides.slice(0, rank - 2)),
  )
  const tilesM = Math.ceil(m / tile)
  const tilesN = Math.ceil(n / tile)
  const [aM, aK] = a.strides.slice(rank - 2)
  const [bK, bN] = b.strides.slice(rank - 2)
  const [outM, outN] = out.strides.slice(rank - 2)
  const tiled = !engine.fallback
  // Which of an operand's axes is the near one in memory decides how the tiles are loaded.
  const aAlongK = Math.abs(aK) <= Math.abs(aM)
  const bAlongK = Math.abs(bK) < Math.abs(bN)
  engine.run({
    op: 'matmul',
    key: `${accumulate}|${walk.shape.length}${tiled ? `|${tile}|${aAlongK}|${bAlongK}` : ''}`,
    template: tiled ? tiledTemplate : plainTemplate,
    bindings,
    count: tilesM * tilesN * batches,
    extra: tilesN,
    byGroup: tiled,
    values: () => ({
      A,
      B,
      OUT,
      TYPE: elementOf(out.dtype),
      OLD: accumulate ? `${OUT}[o] + ` : '',
      OFFSETS: offsetsCode(walk.shape.length, ['o0', 'o1', 'o2'], 16, 'i'),
      TILE: tile,
      SIDE: tile / REGISTER_TILE,
      A_ALONG_K: aAlongK,
      B_ALONG_K: bAlongK,
      REGISTERS: registers(elementOf(out.dtype)),
      MULTIPLY: multiply(elementOf(out.dtype)),
    }),
    fill: (params) => {
      params.int(tilesM, m, n, k, aM, aK, bK, bN, outM, outN, 0, 0)
      params.walk(
        walk,
        views.map((view) => view.offset),
      )
    },
  })
}

function tileFor(m: number, n: number, batches: number): number {
  const groups = Math.ceil(m / 64) * Math.ceil(n / 64) * batches
  return groups >= FEW_GROUPS && Math.min(m, n) > 32 ? 64 : 32
}

function reduceProducts(engine: Engine, a: View, b: View, out: View): void {
  const rank = out.shape.length
  const k = a.shape[rank - 1]
  const [m, n] = out.shape.slice(rank - 2)
  const shape = [...out.shape.slice(0, rank - 2), m, n, k]
  const [aM, aK] = a.strides.slice(rank - 2)
  const [bK, bN] = b.strides.slice(rank - 2)
  const rows = { ...a, shape, strides: [...a.strides.slice(0, rank - 2), aM, 0, aK] }
  const columns = { ...b, shape, strides: [...b.strides.slice(0, rank - 2), 0, bN, bK] }
  reduce(engine, 'sum', PRODUCT, [rows, columns], [], out)
}

function registers(type: string): string {
  return [0, 1, 2, 3].map((r) => `  var r${r} = vec4<${type}>();`).join('\n')
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
