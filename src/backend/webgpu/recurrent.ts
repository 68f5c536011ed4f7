// Recurrent layers, all steps in one launch: see shaders/recurrent.wgsl and recurrent-backward.wgsl. The cell is an
// expression program, so that GRU, LSTM and RNN, with and without mask, are one kernel with different bodies. Software
// adapters read the weights in fours where the hidden size allows it.

import backwardTemplate from '../../../shaders/recurrent-backward.wgsl'
import forwardTemplate from '../../../shaders/recurrent.wgsl'
import type { RecurrentBackward, RecurrentForward, RecurrentKernels, RecurrentSizes, View } from '../types'
import { Bindings, blockOf } from './bindings'
import type { Engine } from './engine'
import { programCode } from './wgsl-program'

/** Rows of the batch that stay together: the components of a vec4. */
const ROWS = 4
/** Invocations that share a block of rows on hardware, at most. */
const LANES = 256
/** Without workgroup memory: invocations of a workgroup, the most units one can keep to itself, sums side by side. */
const SOFTWARE = { size: 4, units: 512, sums: 16 } as const

export class Recurrent implements RecurrentKernels {
  constructor(
    readonly engine: Engine,
    readonly check: () => void,
  ) {}

  fits({ H, G, T, B }: RecurrentSizes): boolean {
    const { fallback, device } = this.engine
    if (T === 0 || B === 0) return false
    if (fallback) return H <= SOFTWARE.units
    // Backward keeps the gradients of all gates of a block there.
    return 4 * ROWS * G * H <= device.gpu.limits.maxComputeWorkgroupStorageSize
  }

  forward(call: RecurrentForward): void {
    this.check()
    const { sizes, program, gi, weights, states, output, bias, mask, kept } = call
    const { H, G, N, K } = sizes
    const way = this.#way(H, G, sizes, weights, [gi, states, output, bias, mask, kept])
    const bindings = new Bindings()
    const GI = bindings.add(gi)
    const WEIGHTS = bindings.add(weights, false, way.vectors ? 4 : 1)
    const STATE = bindings.add(states, true)
    const OUTPUT = bindings.add(output, true)
    const BIAS = bias ? bindings.add(bias) : ''
    const MASK = mask ? bindings.add(mask) : ''
    const KEPT = kept ? bindings.add(kept, true) : ''
    const gates = Array.from({ length: G }, (_, g) => g)
    const inputs = [
      ...gates.map((g) => `${GI}[gi + ${g * H}u]`),
      ...gates.map((g) => `sum${g}[c][r]`),
      ...Array.from({ length: N }, (_, n) => `now[${n}u * UNITS + u][r]`),
      ...(bias ? gates.map((g) => `${BIAS}[params[4].x + d * GATES * H + ${g * H}u + j]`) : []),
      ...(mask ? [maskCode(MASK)] : []),
    ]
    const value = (k: number): string => `v${program.outputs[k]}`
    const next = [
      ...Array.from({ length: N }, (_, n) => [
        `now[${n}u * UNITS + u][r] = ${value(n)};`,
        `${STATE}[params[3].z + (((${n}u * D + d) * (T + 1u) + s + 1u) * B + b) * H + j] = ${value(n)};`,
      ]).flat(),
      `${OUTPUT}[params[3].w + ((t * B + b) * D + d) * H + j] = ${value(N)};`,
      ...(kept
        ? Array.from(
            { length: K },
            (_, k) =>
              `${KEPT}[params[4].y + ((d * T + s) * B + b) * KEPT * H + ${k * H}u + j] = ${value(N + 1 + k)};`,
          )
        : []),
    ]
    this.#run(
      'recurrent',
      forwardTemplate,
      call,
      bindings,
      `${program.key}|${bias !== null}|${kept !== null}`,
      {
        way,
        offsets: [gi, weights, states, output, bias, kept],
        values: {
          STATE,
          SUMS: sumsCode(way, WEIGHTS, 'params[3].y', 'h'),
          BODY: programCode(program, (i) => inputs[i], noScalars, '          '),
          NEXT: next.map((line) => `          ${line}`).join('\n'),
        },
      },
    )
  }

  backward(call: RecurrentBackward): void {
    this.check()
    const { sizes, program, weights, carry, dOutput, kept, states, mask, dgi, dgh } = call
    const { H, G, N, K } = sizes
    const way = this.#way(G * H, 1, sizes, weights, [carry, dOutput, kept, states, mask, dgi, dgh])
    const bindings = new Bindings()
    const WEIGHTS = bindings.add(weights, false, way.vectors ? 4 : 1)
    const CARRY = bindings.add(carry, true)
    const GRADIENT = bindings.add(dOutput)
    const KEPT = bindings.add(kept)
    const STATE = bindings.add(states)
    const MASK = mask ? bindings.add(mask) : ''
    const DGI = bindings.add(dgi, true)
    const DGH = bindings.add(dgh, true)
    const inputs = [
      ...Array.from({ length: N }, (_, n) => `carry[${n}u * UNITS + u][r]`),
      `${GRADIENT}[params[3].z + ((t * B + b) * D + d) * H + j]`,
      ...Array.from({ length: K }, (_, k) => `${KEPT}[params[3].w + step * KEPT * H + ${k * H}u + j]`),
      ...Array.from(
        { length: N },
        (_, n) => `${STATE}[params[4].x + (((${n}u * D + d) * (T + 1u) + s) * B + b) * H + j]`,
      ),
      ...(mask ? [maskCode(MASK)] : []),
    ]
    const value = (k: number): string => `v${program.outputs[k]}`
    const next = [
      ...Array.from({ length: N }, (_, n) => `carry[${n}u * UNITS + u][r] = ${value(n)};`),
      ...Array.from({ length: G }, (_, g) => [
        `${DGI}[params[4].y + ((d * T + t) * B + b) * GATES * H + ${g * H}u + j] = ${value(N + g)};`,
        `${DGH}[params[4].z + step * GATES * H + ${g * H}u + j] = ${value(N + G + g)};`,
        `through[${g * H}u + j][r] = ${value(N + G + g)};`,
      ]).flat(),
    ]
    this.#run('recurrent backward', backwardTemplate, call, bindings, program.key, {
      way,
      offsets: [weights, carry, dOutput, kept, states, dgi, dgh],
      values: {
        CARRY,
        SUMS: sumsCode(way, WEIGHTS, 'params[3].x', 'through'),
        BODY: programCode(program, (i) => inputs[i], noScalars, '        '),
        NEXT: next.map((line) => `        ${line}`).join('\n'),
      },
    })
  }

  /** How a call's products are computed: units of the product side by side, weights in vectors, values shared by quads. */
  #way(depth: number, products: number, { H }: RecurrentSizes, weights: View, others: (View | null)[]): Way {
    const alone = others.every((view) => !view || blockOf(view) !== blockOf(weights))
    const vectors = this.engine.fallback && H % 4 === 0 && weights.offset % 4 === 0 && alone
    let atOnce = 1
    while (vectors && H % (2 * atOnce) === 0 && 2 * atOnce * products <= SOFTWARE.sums) atOnce *= 2
    return {
      depth,
      products,
      pitch: products * H,
      H,
      atOnce,
      vectors,
      quads: vectors && this.engine.subgroups,
    }
  }

  #run(
    op: string,
    template: string,
    { sizes, mask }: RecurrentForward | RecurrentBackward,
    bindings: Bindings,
    key: string,
    { way, offsets, values }: { way: Way; offsets: readonly (View | null)[]; values: Record<string, string> },
  ): void {
    const { T, B, D, H, G, N, K } = sizes
    const shared = !this.engine.fallback
    const lanes = shared ? Math.min(LANES, Math.ceil(H / 64) * 64) : 1
    // Blocks of rows, of which software takes one for each invocation of a workgroup.
    const perDirection = Math.ceil(B / (shared ? ROWS : ROWS * SOFTWARE.size))
    this.engine.run({
      op,
      key: `${H}|${G}|${N}|${K}|${way.vectors}|${key}`,
      template,
      bindings,
      count: D * perDirection,
      extra: T,
      byGroup: true,
      values: () => ({
        ...values,
        H,
        G,
        N,
        K,
        AT_ONCE: way.atOnce,
        QUADS: way.quads,
        LANES: lanes,
        UNITS: Math.ceil(H / lanes),
        SHARED: shared,
        SIZE: shared ? lanes : SOFTWARE.size,
        SPACE: shared ? 'var<workgroup>' : 'var<private>',
      }),
      fill: (params) => {
        params.int(B, D, perDirection, 0)
        const [time = 0, batch = 0] = mask?.strides ?? []
        params.int(mask?.offset ?? 0, time, batch, 0)
        for (const view of offsets) params.int(view?.offset ?? 0)
      },
    })
  }
}

/** The products of a step: for `products` windows of H columns each, a vector of `depth` times weights [depth, pitch]. */
interface Way {
  readonly depth: number
  readonly products: number
  readonly pitch: number
  readonly H: number
  /** Units whose sums are computed side by side. */
  readonly atOnce: number
  readonly vectors: boolean
  /** Whether four invocations share what they read of the weights. */
  readonly quads: boolean
}

/** Defines sum0, sum1, …: for the units from j0 on, each a vector over four rows. */
function sumsCode(way: Way, weights: string, first: string, vector: string): string {
  const { depth, products, pitch, H, atOnce, vectors, quads } = way
  const range = (length: number): number[] => Array.from({ length }, (_, i) => i)
  const all = range(products)
  const start = `${first} + d * ${depth * pitch}u + j0`
  const lines = vectors
    ? [
        `let at = (${start}) >> 2u;`,
        ...all.flatMap((g) => range(atOnce).map((c) => `var s${g}_${c} = vec4<f32>();`)),
        `for (var k = 0u; k < ${depth}u; k += 4u) {`,
        ...all.flatMap((g) =>
          range(atOnce / 4).flatMap((v) => {
            const read = (row: string): string =>
              `${weights}[at + (k + ${row}) * ${pitch / 4}u + ${(g * H) / 4 + v}u]`
            return [
              ...(quads ? [`  let z${g}_${v} = ${read('lane')};`] : []),
              ...range(4).map(
                (q) =>
                  `  let w${g}_${v}_${q} = ${quads ? `quadBroadcast(z${g}_${v}, ${q}u)` : read(`${q}u`)};`,
              ),
            ]
          }),
        ),
        ...range(4).flatMap((q) => [
          `  let x${q} = ${vector}[k + ${q}u];`,
          ...all.flatMap((g) =>
            range(atOnce).map((c) => `  s${g}_${c} += w${g}_${c >> 2}_${q}[${c & 3}] * x${q};`),
          ),
        ]),
        '}',
        ...all.map((g) => `var sum${g} = array(${range(atOnce).map((c) => `s${g}_${c}`)});`),
      ]
    : [
        ...all.map((g) => `var sum${g} = array<vec4<f32>, 1>();`),
        `for (var k = 0u; k < ${depth}u; k++) {`,
        `  let at = ${start} + k * ${pitch}u;`,
        `  let x = ${vector}[k];`,
        ...all.map((g) => `  sum${g}[0] += ${weights}[at + ${g * H}u] * x;`),
        '}',
      ]
  return lines.map((line) => `      ${line}`).join('\n')
}

function maskCode(array: string): string {
  const at = ['x', 'y', 'z'].map((c) => `bitcast<i32>(params[2].${c})`)
  return `(${array}[${at[0]} + i32(t) * ${at[1]} + i32(b) * ${at[2]}] != 0u)`
}

/** Cells have no numbers that change from call to call. */
function noScalars(): string {
  return ''
}
