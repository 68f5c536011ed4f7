// Fused attention: see shaders/attention.wgsl, attention-queries.wgsl and attention-keys.wgsl. Software adapters get one
// invocation per query (or key) and no workgroup memory; on hardware, workgroups share tiles of the other side.

import forwardTemplate from '../../../shaders/attention.wgsl'
import keysTemplate from '../../../shaders/attention-keys.wgsl'
import queriesTemplate from '../../../shaders/attention-queries.wgsl'
import { count } from '../collapse'
import type { AttentionCall, AttentionGradients, AttentionKernels, View } from '../types'
import { Bindings, blockOf } from './bindings'
import type { Engine } from './engine'
import { signedWord, word } from './params'
import type { TemplateValues } from './template'

/** Widest heads: what an invocation keeps of a query and its sums must fit registers, a tile workgroup memory. */
const WIDEST = 128
/** Keys (or queries) of a tile; two tiles of the widest heads take 16 KiB. */
const TILE = 16
/** Queries (or keys) of a workgroup. */
const GROUP = 64
/** Word of the first tensor. */
const FIRST = 16

/** A tensor of a launch: [batch, head, position, feature], or [batch, head, position]. */
interface Operand {
  readonly name: string
  readonly view: View
  readonly written?: boolean
}

export class Attention implements AttentionKernels {
  constructor(
    readonly engine: Engine,
    readonly check: () => void,
  ) {}

  fits({ q, k, v, masks }: AttentionCall): boolean {
    const all = [q, k, v, ...masks.map((m) => m.view)]
    if (q.shape[3] > WIDEST || v.shape[3] > WIDEST || all.some((t) => t.dtype === 'int32')) return false
    // The most a kernel binds besides: lse, gradient, delta and two results; and a slot's words.
    const blocks = new Set(all.map(blockOf))
    return blocks.size + 5 <= this.engine.maxBindings && masks.length <= 8
  }

  forward(call: AttentionCall, output: View, lse: View): void {
    this.check()
    const { q, k, v } = call
    this.#run(forwardTemplate, call, 'queries', [
      { name: 'q', view: q },
      { name: 'k', view: k },
      { name: 'v', view: v },
      { name: 'o', view: output, written: true },
      { name: 'lse', view: lse, written: true },
    ])
  }

  backward(call: AttentionCall, output: View, lse: View, g: View, { dq, dk, dv }: AttentionGradients): void {
    this.check()
    const { q, k, v } = call
    const inputs = [
      { name: 'q', view: q },
      { name: 'k', view: k },
      { name: 'v', view: v },
    ]
    const known = [
      { name: 'lse', view: lse },
      { name: 'g', view: g },
    ]
    this.engine.withScratch('float32', count(lse.shape), (delta) => {
      const queries = [
        ...inputs,
        { name: 'o', view: output },
        ...known,
        { name: 'dq', view: dq, written: true },
      ]
      this.#run(queriesTemplate, call, 'queries', queries, { view: delta, written: true })
      const written = [
        { name: 'dk', view: dk, written: true },
        { name: 'dv', view: dv, written: true },
      ]
      this.#run(keysTemplate, call, 'keys', [...inputs, ...known, ...written], {
        view: delta,
        written: false,
      })
    })
  }

  /** One launch with an invocation per query or per key. */
  #run(
    template: string,
    call: AttentionCall,
    side: 'queries' | 'keys',
    operands: readonly Operand[],
    delta: { view: View; written: boolean } | null = null,
  ): void {
    const { engine } = this
    const { q, k, v, masks, causalOffset, scale, dropout } = call
    const [B, H, T, D] = q.shape
    const S = k.shape[2]
    const E = v.shape[3]
    const [rows, others] = side === 'queries' ? [T, S] : [S, T]
    const shared = !engine.fallback
    const tiles = Math.ceil(rows / GROUP)
    const bindings = new Bindings()
    const arrays = operands.map(({ view, written }) => bindings.add(view, written))
    const maskArrays = masks.map(({ view }) => bindings.add(view))
    const DELTA = delta ? bindings.add(delta.view, delta.written) : ''
    const code = new AttentionCode(operands, arrays, call, maskArrays, side, shared)
    const op = side === 'queries' ? (delta ? 'attention queries' : 'attention') : 'attention keys'
    engine.run({
      op,
      key: `${shared}|${D}|${E}|${code.key}`,
      template,
      bindings,
      count: B * H * (shared ? tiles : rows),
      extra: rows,
      byGroup: shared,
      values: () => ({
        ...code.values(),
        SHARED: shared,
        DROPOUT: dropout !== null,
        TILE,
        D4: Math.ceil(D / 4),
        E4: Math.ceil(E / 4),
        DELTA,
      }),
      fill: (params) => {
        params.int(others, H, tiles).float(scale)
        params.int(dropout?.seed ?? 0, dropout?.stream ?? 0).float(dropout?.kept ?? 1)
        params.float(dropout?.rescale ?? 1).int(causalOffset ?? 0, 0, 0, 0)
        for (const { view } of operands) {
          const [b, h, l, w = 0] = view.strides
          params.int(view.offset, b, h, l, w)
        }
        for (const { view } of masks) params.int(view.offset, ...view.strides)
        if (delta) params.int(delta.view.offset)
      },
    })
  }
}

/** The template values of one launch. */
class AttentionCode {
  readonly #operands: readonly Operand[]
  readonly #arrays: readonly string[]
  readonly #call: AttentionCall
  readonly #masks: readonly string[]
  readonly #side: 'queries' | 'keys'
  readonly #shared: boolean

  constructor(
    operands: readonly Operand[],
    arrays: readonly string[],
    call: AttentionCall,
    masks: readonly string[],
    side: 'queries' | 'keys',
    shared: boolean,
  ) {
    this.#operands = operands
    this.#arrays = arrays
    this.#call = call
    this.#masks = masks
    this.#side = side
    this.#shared = shared
  }

  /** What the source depends on, besides widths and bindings. */
  get key(): string {
    const { masks, causalOffset, dropout } = this.#call
    return `${masks.map((m) => `${m.kind} ${m.view.dtype}`).join()}|${causalOffset !== null}|${dropout !== null}`
  }

  values(): TemplateValues {
    const shared = this.#shared
    const tile = (name: string, direct: string, width: string): string =>
      shared ? `${name}[j * ${width} + i]` : direct
    return {
      LOADS: this.#loads(),
      ROW: this.#row(),
      BASES: this.#bases(),
      MASKS: this.#maskCode(),
      KEY: tile('keys', 'load_k(k_at + i32(s0 + j) * k_step, i)', 'D4'),
      VALUE: tile('values', 'load_v(v_at + i32(s0 + j) * v_step, i)', 'E4'),
      QUERY: tile('queries', 'load_q(q_at + i32(s0 + j) * q_step, i)', 'D4'),
      SLOPE: tile('slopes', 'load_g(g_at + i32(s0 + j) * g_step, i)', 'E4'),
      LSE: this.#arrays[this.#operands.findIndex((o) => o.name === 'lse')],
    }
  }

  /** Functions that read and write four features of a tensor's position, and the one for dropout. */
  #loads(): string {
    const functions = this.#operands.flatMap(({ name, view, written }, n) => {
      if (name === 'lse') return []
      const width = view.shape[3]
      const array = this.#arrays[n]
      const step = `let step = ${signedWord(FIRST + 5 * n + 4)};`
      const first = `let first = at + i32(4u * i) * step;`
      const places = ['first', 'first + step', 'first + 2 * step', 'first + 3 * step']
      const even = width % 4 === 0
      if (written) {
        const stores = places.map((place, c) => {
          const line = `${array}[${place}] = value[${c}];`
          return even || c === 0 ? line : `if (4u * i + ${c}u < ${width}u) { ${line} }`
        })
        return [
          `fn store_${name}(at: i32, i: u32, value: vec4<f32>) {\n  ${[step, first, ...stores].join('\n  ')}\n}`,
        ]
      }
      const reads = places.map((place, c) => {
        const read = `${array}[${place}]`
        return even || c === 0 ? read : `select(0.0, ${read}, 4u * i + ${c}u < ${width}u)`
      })
      return [
        `fn load_${name}(at: i32, i: u32) -> vec4<f32> {\n  ${step}\n  ${first}\n  return vec4<f32>(${reads.join(', ')});\n}`,
      ]
    })
    if (!this.#call.dropout) return functions.join('\n')
    const [T, S] = this.#side === 'queries' ? ['params[0].w', 'params[1].x'] : ['params[1].x', 'params[0].w']
    functions.push(`// What dropout makes of a weight of 1: word by word what a random fill of [heads, T, S] would be.
fn kept(z: u32, query: u32, key: u32) -> f32 {
  let at = (z * ${T} + query) * ${S} + key;
  let words = ef_threefry(params[2].xy, vec2<u32>(at >> 1u, 0u));
  let word = select(words.x, words.y, (at & 1u) == 1u);
  let keep = f32(word >> 8u) * 5.9604644775390625e-8 < bitcast<f32>(params[2].z);
  return select(0.0, bitcast<f32>(params[2].w), keep);
}`)
    return functions.join('\n')
  }

  /** Which row of which head an invocation has, and which rows of the other side concern it. */
  #row(): string {
    const shared = this.#shared
    const lines = shared
      ? [
          'let tile = ef_flat(group, 0u, 1u);',
          'if (tile >= params[0].x) { return; }',
          'let rows = params[0].w;',
          'let z = tile / params[1].z;',
          `let base = tile % params[1].z * ${GROUP}u;`,
          'let row = base + lane;',
          'let inside = row < rows;',
        ]
      : [
          'let flat = ef_flat(group, lane, 64u);',
          'if (flat >= params[0].x) { return; }',
          'let rows = params[0].w;',
          'let z = flat / rows;',
          'let row = flat % rows;',
          'let inside = true;',
        ]
    lines.push(
      'let others = params[1].x;',
      'let scale = bitcast<f32>(params[1].w);',
      'let b = i32(z / params[1].y);',
      'let h = i32(z % params[1].y);',
    )
    const causal = this.#call.causalOffset !== null
    if (this.#side === 'queries') {
      const last = shared ? `base + ${GROUP}u` : 'row + 1u'
      lines.push(`let stop = ${causal ? `min(others, ${last} + params[3].x)` : 'others'};`)
    } else {
      const first = shared ? 'base' : 'row'
      lines.push(
        `let start = ${causal ? `u32(max(0, i32(${first}) - i32(params[3].x)))` : '0u'};`,
        'let stop = others;',
      )
    }
    return lines.map((line) => `  ${line}`).join('\n')
  }

  /** Where the head begins in each tensor, and the step from a position to the next. */
  #bases(): string {
    const lines = this.#operands.flatMap(({ name }, n) => {
      const at = FIRST + 5 * n
      return [
        `let ${name}_at = ${signedWord(at)} + b * ${signedWord(at + 1)} + h * ${signedWord(at + 2)};`,
        `let ${name}_step = ${signedWord(at + 3)};`,
      ]
    })
    const masksFrom = FIRST + 5 * this.#operands.length
    this.#masks.forEach((_, n) => {
      const at = masksFrom + 5 * n
      lines.push(
        `let mask${n}_at = ${signedWord(at)} + b * ${signedWord(at + 1)} + h * ${signedWord(at + 2)};`,
        `let mask${n}_query = ${signedWord(at + 3)};`,
        `let mask${n}_key = ${signedWord(at + 4)};`,
      )
    })
    lines.push(`let delta_at = i32(${word(masksFrom + 5 * this.#masks.length)});`)
    return lines.map((line) => `  ${line}`).join('\n')
  }

  /** What the masks do to the score `x`, and whether they exclude it. */
  #maskCode(): string {
    const [query, key] = this.#side === 'queries' ? ['row', 'key'] : ['query', 'row']
    const lines = this.#call.masks.flatMap(({ kind }, n) => {
      const read = `${this.#masks[n]}[mask${n}_at + i32(${query}) * mask${n}_query + i32(${key}) * mask${n}_key]`
      if (kind === 'exclude') return [`excluded = excluded || ${read} != 0u;`]
      return [
        `let add${n} = ${read};`,
        `x += add${n};`,
        `excluded = excluded || bitcast<u32>(add${n}) == 0xff800000u;`,
      ]
    })
    if (this.#call.causalOffset !== null)
      lines.push(`excluded = excluded || ${key} > ${query} + params[3].x;`)
    return lines.map((line) => `        ${line}`).join('\n')
  }
}
