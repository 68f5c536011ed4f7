// The mask as a parametrization: weight = original where the mask is 1, and 0 elsewhere, so that no gradient reaches what
// is pruned. A mask is one bit per element.

import type { DeviceName } from '../../backend/types'
import { FormatError } from '../../errors'
import { Parametrization, type ParametrizationConfig, type ParametrizedEntry } from '../../nn/parametrize'
import { Buffer } from '../../nn/parameter'
import { tensor } from '../../tensor/create'
import { fuse, where } from '../../tensor/ops/elementwise'
import { narrow, reshape } from '../../tensor/ops/views'
import { noGrad, tidy } from '../../tensor/scope'
import { sizeOf } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'

const BITS = 32

/** Bit k of a word, moved to the sign: the product wraps. */
const isSet = fuse((words, shifts) => words.mul(shifts).lt(0))
const SHIFTS = Int32Array.from({ length: BITS }, (_, k) => 1 << (BITS - 1 - k))

/** Keeps the elements of a parameter whose bit is set; the others are exactly 0 and have gradient 0. */
export class Mask extends Parametrization {
  /** int32; element i of the parameter, row by row, is bit i mod 32 of word floor(i / 32). */
  readonly mask: Buffer
  readonly #size: number

  /** `keep[i]` is 0 where element i is pruned. */
  constructor(keep: Uint8Array, { device }: { device?: DeviceName } = {}) {
    super()
    this.#size = keep.length
    this.mask = tidy(() => new Buffer(tensor(packBits(keep), { dtype: 'int32', device })))
  }

  forward(original: Tensor): Tensor {
    return tidy(() => where(this.#keep(original), original, 0))
  }

  /** 1 where an element is kept, 0 where it is pruned. Reads the device. */
  async keep(): Promise<Uint8Array> {
    return unpackBits((await this.mask.data()) as Int32Array, this.#size)
  }

  config(): ParametrizationConfig {
    return { kind: 'mask' }
  }

  #keep({ shape }: Tensor): Tensor {
    const { device } = this.mask
    const words = this.mask.shape[0]
    const shifts = tensor(SHIFTS, { shape: [1, BITS], dtype: 'int32', device })
    const bits = noGrad(() => isSet(reshape(this.mask, [words, 1]), shifts))
    return reshape(narrow(reshape(bits, [words * BITS]), 0, 0, sizeOf(shape)), shape)
  }
}

/** One bit per element, as {@link Mask} has them. */
export function packBits(keep: Uint8Array): Int32Array {
  const words = new Int32Array(Math.ceil(keep.length / BITS))
  for (let i = 0; i < keep.length; i++) if (keep[i]) words[i >>> 5] |= 1 << (i & 31)
  return words
}

/** The inverse of {@link packBits}. */
export function unpackBits(words: Int32Array, size: number): Uint8Array {
  if (words.length !== Math.ceil(size / BITS))
    throw new FormatError(`a mask of ${words.length} words does not fit ${size} elements`)
  return Uint8Array.from({ length: size }, (_, i) => (words[i >>> 5] >>> (i & 31)) & 1)
}

/** The mask of a parameter, if it has one. */
export function maskOf({ parametrized }: ParametrizedEntry): Mask | undefined {
  return parametrized.steps.find((step) => step instanceof Mask)
}
