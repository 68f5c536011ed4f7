// Random tensors. Where their numbers come from: random-state.ts.

import { HostRandom } from '../backend/threefry'
import type { RandomKind } from '../backend/types'
import { ArgumentError, DTypeError } from '../errors'
import { allocate, tensor, type TensorOptions } from './create'
import { nextStream } from './random-state'
import type { Shape } from './shape'
import { scalarType, type Tensor } from './tensor'

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
