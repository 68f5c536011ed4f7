// Initialisation of parameters, after torch.nn.init. Every function overwrites its tensor in place, without recording,
// and returns it. Random numbers come from the library's seeded source.

import { ArgumentError, ShapeError } from '../errors'
import { copyInto, fill } from '../tensor/mutate'
import { add, mul } from '../tensor/ops/elementwise'
import { rand, randn } from '../tensor/random'
import { noGrad } from '../tensor/scope'
import { formatShape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

function options(t: Tensor) {
  return { dtype: t.dtype, device: t.device }
}

/** Uniform on [low, high). Default [0, 1). */
export function uniform_<T extends Tensor>(t: T, low = 0, high = 1): T {
  noGrad(() => {
    copyInto(t, add(mul(rand(t.shape, options(t)), high - low), low))
  })
  return t
}

/** Normal. Default mean 0, deviation 1. */
export function normal_<T extends Tensor>(t: T, mean = 0, std = 1): T {
  noGrad(() => {
    copyInto(t, add(mul(randn(t.shape, options(t)), std), mean))
  })
  return t
}

/** `value` everywhere. */
export function constant_<T extends Tensor>(t: T, value: number): T {
  noGrad(() => {
    fill(t, value)
  })
  return t
}

/** Zeros. */
export function zeros_<T extends Tensor>(t: T): T {
  return constant_(t, 0)
}

/** Ones. */
export function ones_<T extends Tensor>(t: T): T {
  return constant_(t, 1)
}

/** Inputs and outputs of one unit of a weight `[out, in, ...]`. */
export function calculateFanInAndFanOut(t: Tensor): { fanIn: number; fanOut: number } {
  if (t.ndim < 2) {
    throw new ShapeError(
      `calculateFanInAndFanOut: expected a weight with at least 2 axes, got shape ${formatShape(t.shape)}`,
    )
  }
  const field = sizeOf(t.shape.slice(2))
  return { fanIn: t.shape[1] * field, fanOut: t.shape[0] * field }
}

/** Names of nonlinearities with a known gain. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu'

/** By how much a nonlinearity's weights are scaled up to keep the variance. `param`: the negative slope of leakyRelu. */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'sigmoid':
      return 1
    case 'tanh':
      return 5 / 3
    case 'relu':
      return Math.SQRT2
    case 'leakyRelu':
      return Math.sqrt(2 / (1 + param * param))
    default:
      throw new ArgumentError(
        `calculateGain: unknown nonlinearity '${String(nonlinearity satisfies never)}'; expected 'linear', 'sigmoid', 'tanh', 'relu' or 'leakyRelu'`,
      )
  }
}

/** Uniform with variance 2 gain² / (fanIn + fanOut) (Glorot and Bengio 2010). */
export function xavierUniform_<T extends Tensor>(t: T, gain = 1): T {
  const { fanIn, fanOut } = calculateFanInAndFanOut(t)
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut))
  return uniform_(t, -bound, bound)
}

/** Normal with variance 2 gain² / (fanIn + fanOut). */
export function xavierNormal_<T extends Tensor>(t: T, gain = 1): T {
  const { fanIn, fanOut } = calculateFanInAndFanOut(t)
  return normal_(t, 0, gain * Math.sqrt(2 / (fanIn + fanOut)))
}

export interface KaimingOptions {
  /** Negative slope of the leakyRelu that follows. Default 0. */
  a?: number
  /** Keeps the variance of the forward (fanIn, default) or of the backward pass. */
  mode?: 'fanIn' | 'fanOut'
  /** Default leakyRelu. */
  nonlinearity?: Nonlinearity
}

function kaimingStd(
  t: Tensor,
  { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' }: KaimingOptions,
): number {
  const fan = calculateFanInAndFanOut(t)[mode]
  if (fan === undefined)
    throw new ArgumentError(`kaiming: unknown mode '${mode}'; expected 'fanIn' or 'fanOut'`)
  return calculateGain(nonlinearity, a) / Math.sqrt(Math.max(fan, 1))
}

/** Uniform with variance gain² / fan (He et al. 2015). */
export function kaimingUniform_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const bound = Math.sqrt(3) * kaimingStd(t, options)
  return uniform_(t, -bound, bound)
}

/** Normal with variance gain² / fan. */
export function kaimingNormal_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  return normal_(t, 0, kaimingStd(t, options))
}
