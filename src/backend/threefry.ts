// Threefry-2x32 with 20 rounds: the one random generator of the library, counter based, so that any
// draw can be computed from (key, counter) alone, on every device, in any order. After Salmon,
// Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011; Random123).

import { ArgumentError, FormatError } from '../errors'

export const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const
/** The third word of a key is this with the other two, by exclusive or. */
export const KEY_PARITY = 0x1bd11bda

/** Encrypts the counter (c0, c1) under the key (k0, k1): two random uint32 words. All arguments are uint32. */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const keys = [k0, k1, KEY_PARITY ^ k0 ^ k1]
  let x0 = (c0 + k0) | 0
  let x1 = (c1 + k1) | 0
  for (let round = 0; round < 20; round++) {
    const turn = ROTATIONS[round & 7]!
    x0 = (x0 + x1) | 0
    x1 = ((x1 << turn) | (x1 >>> (32 - turn))) ^ x0
    if ((round & 3) === 3) {
      const injection = (round + 1) >> 2
      x0 = (x0 + keys[injection % 3]!) | 0
      x1 = (x1 + keys[(injection + 1) % 3]! + injection) | 0
    }
  }
  return [x0 >>> 0, x1 >>> 0]
}

/** The two key words of a seed: its low and high 32 bits. Seeds are integers of magnitude below 2^53. */
export function seedToKey(seed: number): [number, number] {
  if (!Number.isSafeInteger(seed)) {
    throw new ArgumentError(`seed: expected an integer of magnitude below 2^53, got ${seed}`)
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]
}

/** Where a {@link HostRandom} stands; plain JSON. */
export interface HostRandomState {
  key: [number, number]
  /** How many 32-bit words were drawn. */
  draws: number
}

/** Sequential random numbers on the host (shuffling, splitting, sampling), resumable from its state. */
export class HostRandom {
  #k0: number
  #k1: number
  #draws = 0
  #second = 0

  /** With `stream`, the stream of that name that `fork` gives. */
  constructor(seed = 0, stream?: number) {
    ;[this.#k0, this.#k1] = seedToKey(seed)
    if (stream !== undefined) this.#key(this.#forkKey(stream))
  }

  #key([k0, k1]: readonly [number, number]): void {
    this.#k0 = k0
    this.#k1 = k1
  }

  /** The flipped key keeps forks apart from the words that this stream itself draws. */
  #forkKey(stream: number): [number, number] {
    return threefry2x32(~this.#k0 >>> 0, ~this.#k1 >>> 0, ...seedToKey(stream))
  }

  /** An independent stream named by an integer, e.g. one per epoch; leaves this one where it is. */
  fork(stream: number): HostRandom {
    const child = new HostRandom()
    child.#key(this.#forkKey(stream))
    return child
  }

  /** The next uniform uint32. */
  nextUint32(): number {
    const draw = this.#draws++
    if (draw % 2 === 1) return this.#second
    const block = draw / 2
    const [first, second] = threefry2x32(this.#k0, this.#k1, block >>> 0, Math.floor(block / 2 ** 32))
    this.#second = second
    return first
  }

  /** A uniform number in [0, 1) with 24 random bits, exact in float32. */
  uniform(): number {
    return (this.nextUint32() >>> 8) / 2 ** 24
  }

  /** A uniform integer in [0, n), unbiased (rejection); 1 <= n <= 2^32. */
  nextInt(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new ArgumentError(`n: expected an integer in [1, 2^32], got ${n}`)
    }
    const limit = 2 ** 32 - (2 ** 32 % n)
    for (;;) {
      const word = this.nextUint32()
      if (word < limit) return word % n
    }
  }

  /** A uniform permutation of 0 … n-1 (Fisher-Yates); 0 <= n < 2^31. */
  permutation(n: number): Int32Array<ArrayBuffer> {
    if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
      throw new ArgumentError(`n: expected an integer in [0, 2^31), got ${n}`)
    }
    const order = new Int32Array(n)
    for (let i = 0; i < n; i++) order[i] = i
    for (let i = n - 1; i > 0; i--) {
      const j = this.nextInt(i + 1)
      const held = order[i]!
      order[i] = order[j]!
      order[j] = held
    }
    return order
  }

  /** Where the stream stands, for a checkpoint. */
  state(): HostRandomState {
    return { key: [this.#k0, this.#k1], draws: this.#draws }
  }

  /** Continues from a state made by {@link state}; throws FormatError on anything else. */
  setState(state: HostRandomState): void {
    const { key, draws } = state
    const isWord = (word: unknown) => Number.isInteger(word) && (word as number) >>> 0 === word
    if (!Array.isArray(key) || key.length !== 2 || !key.every(isWord)) {
      throw new FormatError(`random state: key must be two uint32, got ${JSON.stringify(key)}`)
    }
    if (!Number.isSafeInteger(draws) || draws < 0) {
      throw new FormatError(
        `random state: draws must be a non-negative integer, got ${JSON.stringify(draws)}`,
      )
    }
    this.#key(key)
    this.#draws = draws - (draws % 2)
    if (draws % 2 === 1) this.nextUint32()
  }
}
