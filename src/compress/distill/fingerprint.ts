// What two things have in common when they are the same: 16 hexadecimal digits of a model's weights or of a text, and 32
// bits of a sample. Against mistakes, not against forgery.

import type { Module } from '../../nn/module'
import { formatShape } from '../../tensor/shape'

/** Two multiplicative hashes with different factors (FNV-1a's, and one of MurmurHash3's), mixed at the end. */
export class Fingerprint {
  #a = 0x811c9dc5
  #b = 0x9747b28c

  words(words: ArrayLike<number>): this {
    let [a, b] = [this.#a, this.#b]
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!
      a = Math.imul(a ^ word, 0x01000193)
      a ^= a >>> 15
      b = Math.imul(b ^ word, 0x85ebca6b)
      b ^= b >>> 13
    }
    this.#a = a
    this.#b = b
    return this
  }

  text(text: string): this {
    return this.words(new TextEncoder().encode(text)).words([text.length])
  }

  /** 32 bits, signed. */
  get short(): number {
    return this.#a ^ (this.#b >>> 7)
  }

  toString(): string {
    return [this.#a, this.#b ^ (this.#a >>> 16)]
      .map((word) => (word >>> 0).toString(16).padStart(8, '0'))
      .join('')
  }
}

/** Of the names, shapes and bits of all parameters and persistent buffers. */
export async function fingerprintOf(model: Module): Promise<string> {
  const print = new Fingerprint()
  for (const [name, tensor] of Object.entries(model.stateDict())) {
    print.text(`${name} ${tensor.dtype} ${formatShape(tensor.shape)}`)
    const data = await tensor.data()
    // Float and int elements are whole words; bools are bytes.
    print.words(data instanceof Uint8Array ? data : new Int32Array(data.buffer, 0, data.byteLength / 4))
  }
  return print.toString()
}
