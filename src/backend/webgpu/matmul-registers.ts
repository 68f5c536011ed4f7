// The register tiles of shaders/matmul-registers.wgsl: which products they serve, and their unrolled code.

import template from '../../../shaders/matmul-registers.wgsl'
import { collapse, count } from '../collapse'
import type { View } from '../types'
import { Bindings, elementOf } from './bindings'
import type { Engine } from './engine'
import { offsetsCode } from './params'

/** What one invocation computes, in rows and columns. Four of them, one below the other, make a workgroup. */
const ROWS = 8
const COLUMNS = 16
const LANES = 4
/** How many times the wanted products may be computed where tiles reach over the edge; the simple kernel takes so long. */
const MOST_WASTE = 3

/** Runs the product; false where tiles do not pay, or memory does not go in fours. See `Backend.matmul`. */
export function matmulRegisters(engine: Engine, a: View, b: View, out: View, accumulate: boolean): boolean {
  const rank = out.shape.length
  const [m, n] = out.shape.slice(rank - 2)
  const k = a.shape[rank - 1]
  const [aM, aK] = a.strides.slice(rank - 2)
  const [bK, bN] = b.strides.slice(rank - 2)
  const [outM, outN] = out.strides.slice(rank - 2)
  const aAlongK = aK === 1
  const bAlongK = bN !== 1
  const near = [aAlongK ? aK : aM, bAlongK ? bK : bN, outN]
  const far = [aAlongK ? aM : aK, bAlongK ? bN : bK, outM]
  const views = [a, b, out]
  const batches = views.map((view) => view.strides.slice(0, rank - 2))
  const tilesM = Math.ceil(m / (LANES * ROWS))
  const tilesN = Math.ceil(n / COLUMNS)
  if (tilesM * tilesN * LANES * ROWS * COLUMNS > MOST_WASTE * m * n) return false
  const fours = [n, k, ...far, ...views.map((view) => view.offset), ...batches.flat()]
  if (near.some((s) => s !== 1) || fours.some((s) => s % 4 !== 0)) return false
  const bindings = new Bindings()
  const A = bindings.add(a, false, 4)
  const B = bindings.add(b, false, 4)
  const OUT = bindings.add(out, true, 4)
  const batchShape = out.shape.slice(0, rank - 2)
  const walk = collapse(batchShape, batches)
  engine.run({
    op: 'matmul',
    key: `registers|${accumulate}|${walk.shape.length}|${aAlongK}|${bAlongK}`,
    template,
    bindings,
    count: tilesM * tilesN * count(batchShape),
    extra: tilesN,
    byGroup: true,
    values: () => {
      const tile = new TileCode(`vec4<${elementOf(out.dtype)}>`, A, B, aAlongK, bAlongK, engine.subgroups)
      return {
        ROWS,
        COLUMNS,
        QUADS: engine.subgroups,
        OFFSETS: offsetsCode(walk.shape.length, ['o0', 'o1', 'o2'], 16, 'i'),
        STARTS: tile.starts().join('\n'),
        STEPS: tile.steps().join('\n'),
        STORES: tile.stores(OUT, accumulate).join('\n'),
      }
    },
    fill: (params) => {
      params.int(tilesM, m, n, k, aM, aK, bK, bN, outM, outN, 0, 0)
      params.walk(
        walk,
        views.map((view) => view.offset),
      )
    },
  })
  return true
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i)

/** Statements of one tile. Vectors are `x` of a, `w` and `y` of b, `z` a quarter of them, `r` the results. */
class TileCode {
  constructor(
    readonly four: string,
    readonly a: string,
    readonly b: string,
    readonly aAlongK: boolean,
    readonly bAlongK: boolean,
    readonly quads: boolean,
  ) {}

  /** Where vectors start, those past the edge at the last one, and the results so far: none. */
  starts(): string[] {
    const { aAlongK, bAlongK, quads, four } = this
    const column = (c: number): string => (quads ? `i32(lane) * ${COLUMNS / LANES} + ${c}` : `${c}`)
    return [
      ...(aAlongK
        ? range(ROWS).map((r) => `let at${r} = (o0 + min(m0 + ${r}, size.x - 1) * steps.x) >> 2u;`)
        : range(ROWS / 4).map((v) => `let at${v} = (o0 + min(m0 + ${4 * v}, (size.x - 1) & -4)) >> 2u;`)),
      ...(bAlongK
        ? range(quads ? COLUMNS / LANES : COLUMNS).map(
            (c) => `let bt${c} = (o1 + min(n0 + ${column(c)}, size.y - 1) * steps.w) >> 2u;`,
          )
        : range(COLUMNS / 4).map((v) => `let bt${v} = (o1 + min(n0 + ${4 * v}, size.y - 4)) >> 2u;`)),
      ...range(ROWS).flatMap((r) => range(COLUMNS / 4).map((v) => `var r${r}_${v} = ${four}();`)),
    ]
  }

  /** The products of steps 4 k to 4 k + 3. */
  steps(): string[] {
    const { a, aAlongK } = this
    const x = (r: number, q: number): string => (aAlongK ? `x${r}[${q}]` : `x${r >> 2}_${q}[${r & 3}]`)
    return [
      ...(aAlongK
        ? range(ROWS).map((r) => `let x${r} = ${a}[at${r} + k];`)
        : range(4).flatMap((q) =>
            range(ROWS / 4).map((v) => `let x${v}_${q} = ${a}[at${v} + (4 * k + ${q}) * pitches.x];`),
          )),
      ...this.#columns(),
      ...range(4).flatMap((q) =>
        range(ROWS).flatMap((r) => range(COLUMNS / 4).map((v) => `r${r}_${v} += ${x(r, q)} * y${v}_${q};`)),
      ),
    ]
  }

  /** Defines y[v, q], four columns of b in step 4 k + q. */
  #columns(): string[] {
    const { b, bAlongK, quads, four } = this
    const own = COLUMNS / LANES
    if (!bAlongK) {
      const read = (v: number, step: string): string => `${b}[bt${v} + (4 * k + ${step}) * pitches.y]`
      return range(COLUMNS / 4).flatMap((v) => [
        ...(quads ? [`let z${v} = ${read(v, 'i32(lane)')};`] : []),
        ...range(4).map(
          (q) => `let y${v}_${q} = ${quads ? `quadBroadcast(z${v}, ${q}u)` : read(v, `${q}`)};`,
        ),
      ])
    }
    const read = (c: number): string => `${b}[bt${c} + k]`
    return [
      ...(quads ? range(own).map((c) => `let z${c} = ${read(c)};`) : []),
      ...range(COLUMNS).map(
        (c) => `let w${c} = ${quads ? `quadBroadcast(z${c % own}, ${Math.floor(c / own)}u)` : read(c)};`,
      ),
      ...range(COLUMNS / 4).flatMap((v) =>
        range(4).map((q) => `let y${v}_${q} = ${four}(${range(4).map((c) => `w${4 * v + c}[${q}]`)});`),
      ),
    ]
  }

  stores(out: string, accumulate: boolean): string[] {
    return range(ROWS).flatMap((r) => [
      `if (m0 + ${r} < size.x) {`,
      `  let o = (o2 + (m0 + ${r}) * out_step + n0) >> 2u;`,
      ...range(COLUMNS / 4).map((v) => {
        const at = `${out}[o + ${v}]`
        return `  if (n0 + ${4 * v} < size.y) { ${at} = ${accumulate ? `${at} + ` : ''}r${r}_${v}; }`
      }),
      '}',
    ])
  }
}
