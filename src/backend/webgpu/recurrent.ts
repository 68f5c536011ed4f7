// Recurrent layers, all steps in one launch: see shaders/recurrent.wgsl and recurrent-backward.wgsl. The cell is an
// expression program, so that GRU, LSTM and RNN, with and without mask, are one kernel with different bodies.

import backwardTemplate from '../../../shaders/recurrent-backward.wgsl'
import forwardTemplate from '../../../shaders/recurrent.wgsl'
import type { RecurrentBackward, RecurrentForward, RecurrentKernels, RecurrentSizes, View } from '../types'
import { Bindings } from './bindings'
import type { Engine } from './engine'
import { programCode } from './wgsl-program'

/** Rows of the batch that stay together: the components of a vec4. */
const ROWS = 4
/** Invocations that share a block of rows on hardware, at most. */
const LANES = 256
/** Without workgroup memory: invocations of a workgroup, and the most units one can keep to itself. */
const SOFTWARE = { size: 4, units: 512 } as const

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
    const bindings = new Bindings()
    const GI = bindings.add(gi)
    const WEIGHTS = bindings.add(weights)
    const STATE = bindings.add(states, true)
    const OUTPUT = bindings.add(output, true)
    const BIAS = bias ? bindings.add(bias) : ''
    const MASK = mask ? bindings.add(mask) : ''
    const KEPT = kept ? bindings.add(kept, true) : ''
    const gates = Array.from({ length: G }, (_, g) => g)
    const inputs = [
      ...gates.map((g) => `${GI}[gi + ${g * H}u]`),
      ...gates.map((g) => `gh${g}[r]`),
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
        offsets: [gi, weights, states, output, bias, kept],
        values: {
          STATE,
          SUMS: gates.map((g) => `      var gh${g} = vec4<f32>();`).join('\n'),
          PRODUCTS: gates.map((g) => `        gh${g} += ${WEIGHTS}[at + ${g * H}u] * state;`).join('\n'),
          BODY: programCode(program, (i) => inputs[i], noScalars, '        '),
          NEXT: next.map((line) => `        ${line}`).join('\n'),
        },
      },
    )
  }

  backward(call: RecurrentBackward): void {
    this.check()
    const { sizes, program, weights, carry, dOutput, kept, states, mask, dgi, dgh } = call
    const { H, G, N, K } = sizes
    const bindings = new Bindings()
    const WEIGHTS = bindings.add(weights)
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
      offsets: [weights, carry, dOutput, kept, states, dgi, dgh],
      values: {
        WEIGHTS,
        CARRY,
        BODY: programCode(program, (i) => inputs[i], noScalars, '        '),
        NEXT: next.map((line) => `        ${line}`).join('\n'),
      },
    })
  }

  #run(
    op: string,
    template: string,
    { sizes, mask }: RecurrentForward | RecurrentBackward,
    bindings: Bindings,
    key: string,
    { offsets, values }: { offsets: readonly (View | null)[]; values: Record<string, string> },
  ): void {
    const { T, B, D, H, G, N, K } = sizes
    const shared = !this.engine.fallback
    const lanes = shared ? Math.min(LANES, Math.ceil(H / 64) * 64) : 1
    const perDirection = Math.ceil(B / ROWS)
    const blocks = D * perDirection
    this.engine.run({
      op,
      key: `${H}|${G}|${N}|${K}|${key}`,
      template,
      bindings,
      count: shared ? blocks : Math.ceil(blocks / SOFTWARE.size),
      extra: T,
      byGroup: true,
      values: () => ({
        ...values,
        H,
        G,
        N,
        K,
        LANES: lanes,
        UNITS: Math.ceil(H / lanes),
        SHARED: shared,
        SIZE: shared ? lanes : SOFTWARE.size,
        SPACE: shared ? 'var<workgroup>' : 'var<private>',
        BLOCK: shared
          ? '  let block = ef_flat(group, 0u, 1u);\n  if (block >= params[0].x) { return; }\n  let own = lane;'
          : `  let block = ef_flat(group, lane, ${SOFTWARE.size}u);\n  if (block >= params[1].y * params[1].z) { return; }\n  let own = 0u;`,
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

function maskCode(array: string): string {
  const at = ['x', 'y', 'z'].map((c) => `bitcast<i32>(params[2].${c})`)
  return `(${array}[${at[0]} + i32(t) * ${at[1]} + i32(b) * ${at[2]}] != 0u)`
}

/** Cells have no numbers that change from call to call. */
function noScalars(): string {
  return ''
}
