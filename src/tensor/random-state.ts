// The library's one source of randomness: a seed and a counter.
//
// Each draw takes the next stream of Threefry-2x32 under the seed, and element i of a stream depends on i alone. So the
// state is two integers, is saved in checkpoints, and gives the same integers, uniforms and permutations on every device.

import { ArgumentError } from '../errors'

const state = { seed: 0, stream: 0 }

/** Restarts the library's random source. `seed`: an integer from 0 to 2^32 - 1. */
export function manualSeed(seed: number): void {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new ArgumentError(`manualSeed: seed ${seed} must be an integer from 0 to 2^32 - 1`)
  }
  state.seed = seed
  state.stream = 0
}

/** Two integers that say which random numbers come next. */
export interface RandomState {
  readonly seed: number
  readonly stream: number
}

/** Where the library's random source stands; `setRandomState` goes back there. */
export function getRandomState(): RandomState {
  return { ...state }
}

/** Goes on from where `getRandomState` was called. */
export function setRandomState({ seed, stream }: RandomState): void {
  manualSeed(seed)
  if (!Number.isInteger(stream) || stream < 0)
    throw new ArgumentError(`setRandomState: stream ${stream} must be a non-negative integer`)
  state.stream = stream
}

/** The key of the next stream. */
export function nextStream(): RandomState {
  return { seed: state.seed, stream: state.stream++ >>> 0 }
}
