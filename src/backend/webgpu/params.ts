// The words of a dispatch's uniform slot: written on the host here, and named in WGSL by the same positions.
//
// Each kernel writes its words in the order that its shader's header states. Words 0 to 3 are the same for all: a count,
// the width of the grid, 0 (see prelude.wgsl), and one the kernel chooses.

import { ArgumentError } from '../../errors'
import type { Collapsed } from '../collapse'
import { SLOT_BYTES } from './queue'

/** Words of the largest slot. */
export const MAX_WORDS = SLOT_BYTES[1] / 4
const words = new Uint32Array(MAX_WORDS)
const floats = new Float32Array(words.buffer)

/** Collects the words of one dispatch. One is filled and dispatched before the next is begun. */
export class Params {
  #length = 0

  get length(): number {
    return this.#length
  }
  get words(): Uint32Array {
    return words.subarray(0, this.#length)
  }
  get slot(): 0 | 1 {
    return slotFor(this.#length)
  }

  /** Unsigned or two's complement words. */
  int(...values: readonly number[]): this {
    for (const value of values) words[this.#length++] = value
    return this
  }

  float(value: number): this {
    floats[this.#length++] = value
    return this
  }

  /** A walk's shape, then offset and strides of each window. */
  walk({ shape, strides }: Collapsed, offsets: readonly number[]): this {
    this.int(...shape)
    for (let v = 0; v < offsets.length; v++) this.int(offsets[v], ...strides[v])
    return this
  }
}

/** Words that `Params.walk` writes. */
export function walkLength(rank: number, views: number): number {
  return rank + views * (rank + 1)
}

/** Which slot holds that many words. */
export function slotFor(length: number): 0 | 1 {
  if (length <= SLOT_BYTES[0] / 4) return 0
  if (length <= MAX_WORDS) return 1
  throw new ArgumentError(
    `webgpu: an op with this many operands, axes and numbers needs ${length} parameter words; at most ${MAX_WORDS} fit. Split the expression`,
  )
}

/** WGSL for word `index`, a u32. */
export function word(index: number): string {
  return `params[${index >> 2}].${'xyzw'[index & 3]}`
}

/** WGSL for word `index` as an i32. */
export function signedWord(index: number): string {
  return `bitcast<i32>(${word(index)})`
}

/**
 * WGSL that turns the row-major position `position` (u32) of a walk at word `first` into element offsets
 * `names[v]` (i32) of its windows. Several walks in one kernel need different `axis` prefixes.
 */
export function offsetsCode(
  rank: number,
  names: readonly string[],
  first: number,
  position: string,
  axis = 'c',
): string {
  const lines: string[] = []
  let rest = position
  for (let d = rank - 1; d > 0; d--) {
    lines.push(`let ${axis}${d} = ${rest} % ${word(first + d)};`)
    lines.push(`let ${axis}r${d} = ${rest} / ${word(first + d)};`)
    rest = `${axis}r${d}`
  }
  if (rank > 0) lines.push(`let ${axis}0 = ${rest};`)
  names.forEach((name, v) => {
    const base = first + rank + v * (rank + 1)
    const terms = [signedWord(base)]
    for (let d = 0; d < rank; d++) terms.push(`i32(${axis}${d}) * ${signedWord(base + 1 + d)}`)
    lines.push(`let ${name} = ${terms.join(' + ')};`)
  })
  return lines.map((line) => `  ${line}`).join('\n')
}
