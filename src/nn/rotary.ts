// Rotary positions (Su et al. 2021): pairs of a head's numbers, turned by an angle that grows with the position.

import { ArgumentError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { tensor } from '../tensor/create'
import { add, mul, sub } from '../tensor/ops/elementwise'
import { requireFloat } from '../tensor/ops/apply'
import { stack } from '../tensor/ops/join'
import { reshape, select } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'

export interface RotaryOptions {
  /** The slowest pair turns by about 1 / base per position. Default 10,000. */
  base?: number
  /** Position of the first time step. Default 0. */
  offset?: number
  /**
   * Which numbers form a pair: 2i and 2i + 1 (true, the default: the paper, llama2.c, torchtune), or i and i + d/2
   * (false: GPT-NeoX, Hugging Face's Llama).
   */
  interleaved?: boolean
}

/**
 * Turns pair i of queries or keys `x` [B, T, heads, d] by position * base^(-2i/d), d even. Products of a turned query and a
 * turned key depend on the distance of their positions only.
 */
export function rotary(
  x: Tensor,
  { base = 10000, offset = 0, interleaved = true }: RotaryOptions = {},
): Tensor {
  requireFloat('rotary', x)
  if (x.ndim !== 4 || x.shape[3] % 2 !== 0) {
    throw new ShapeError(
      `rotary: x has shape ${formatShape(x.shape)}${inModule()}; expected [batch, time, heads, width], the width even`,
    )
  }
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new ArgumentError(`rotary: offset is ${offset}; expected an integer from 0 upwards`)
  if (!(Number.isFinite(base) && base > 0))
    throw new ArgumentError(`rotary: base is ${base}; expected a positive number`)
  const [B, T, heads, width] = x.shape
  const half = width / 2
  const table = (of: (angle: number) => number): Tensor => {
    const values = Float64Array.from({ length: T * half }, (_, i) =>
      of((offset + Math.floor(i / half)) * base ** (-(i % half) / half)),
    )
    return tensor(values, { shape: [T, 1, half], dtype: x.dtype, device: x.device })
  }
  return tidy(() => {
    const [cos, sin] = noGrad(() => [table(Math.cos), table(Math.sin)])
    const pairs = reshape(x, interleaved ? [B, T, heads, half, 2] : [B, T, heads, 2, half])
    const axis = interleaved ? 4 : 3
    const [a, b] = [select(pairs, axis, 0), select(pairs, axis, 1)]
    const turned = [sub(mul(a, cos), mul(b, sin)), add(mul(a, sin), mul(b, cos))]
    return reshape(stack(turned, axis), x.shape)
  })
}
