// Random tensors from one seeded, counted source.
//
// The generator is a seed and a counter: each draw takes the next stream of Threefry-2x32 under the seed, and
// element i of a stream depends on i alone. So the state is two integers, is saved in checkpoints, and gives the
// same integers, uniforms and permutations on every device.

import { HostRandom } from '../backend/threefry'
import type { RandomKind } from '../backend/types'
import { ArgumentError, DTypeError } from '../errors'
import { allocate, tensor, type TensorOptions } from './create'
import type { Shape } from './shape'
import { scalarType, type Tensor } from './tensor'

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

export function getRandomState(): RandomState {
  return { ...state }
}

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

function draw(
  op: string,
  kind: RandomKind,
  shape: Shape,
  { dtype, device, requiresGrad }: TensorOptions,
  fallback: 'float32' | 'int32' | 'bool',
): Tensor {
  const type = dtype ?? fallback
  const wanted = fallback === 'int32' ? 'int' : fallback === 'bool' ? 'bool' : 'float'
  if (scalarType(type) !== wanted)
    throw new DTypeError(
      `${op}: dtype must be ${wanted === 'float' ? 'float32 or float64' : fallback}, got ${type}`,
    )
  const out = allocate(op, shape, type, device)
  const { seed, stream } = nextStream()
  if (out.size > 0) out.backend.random(kind, seed, stream, out.view())
  if (requiresGrad) out.requiresGrad = true
  return out
}

/** Uniform on [0, 1), with 24 random bits. */
export function rand(shape: Shape, options: TensorOptions = {}): Tensor {
  return draw('rand', { kind: 'uniform' }, shape, options, 'float32')
}

/** Standard normal (Box-Muller). */
export function randn(shape: Shape, options: TensorOptions = {}): Tensor {
  return draw('randn', { kind: 'normal' }, shape, options, 'float32')
}

/** Integers uniform on [low, high). int32. */
export function randint(low: number, high: number, shape: Shape, options: TensorOptions = {}): Tensor {
  if ((low | 0) !== low || (high | 0) !== high || high <= low) {
    throw new ArgumentError(`randint: low ${low} and high ${high} must be 32-bit integers with low < high`)
  }
  const out = draw('randint', { kind: 'int', low, high }, shape, options, 'int32')
  out.storage.range = { min: low, max: high - 1 }
  return out
}

/** true with probability `p`. bool. */
export function bernoulli(p: number, shape: Shape, options: TensorOptions = {}): Tensor {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`bernoulli: p is ${p}; expected a probability from 0 to 1`)
  return draw('bernoulli', { kind: 'bernoulli', p }, shape, options, 'bool')
}

/** A random order of 0, …, n - 1. int32; drawn on the host, so equal on every device. */
export function randperm(n: number, options: TensorOptions = {}): Tensor {
  if (!Number.isInteger(n) || n < 0)
    throw new ArgumentError(`randperm: n is ${n}; expected a non-negative integer`)
  const { seed, stream } = nextStream()
  return tensor(new HostRandom(seed).fork(stream).permutation(n), { dtype: 'int32', ...options })
}
