// Comparing tensors to a tolerance: as a function, and as a matcher for vitest (or jest).

import type { HostArray } from '../backend/types'
import { ArgumentError } from '../errors'
import { tensor, type TensorValues } from '../tensor/create'
import { formatShape, sameShape, type Shape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'

export interface AllcloseOptions {
  /** Allowed |a - b| <= atol + rtol |b|. Defaults 1e-5 and 1e-8, torch's. */
  rtol?: number
  atol?: number
  /** Whether NaN equals NaN. Default false. */
  equalNaN?: boolean
}

interface Values {
  readonly data: ArrayLike<number>
  readonly shape: Shape
}

/** Null, or what is the matter. */
function difference(
  a: Values,
  b: Values,
  { rtol = 1e-5, atol = 1e-8, equalNaN = false }: AllcloseOptions,
): string | null {
  if (!sameShape(a.shape, b.shape)) return `shape ${formatShape(a.shape)}, expected ${formatShape(b.shape)}`
  let wrong = 0
  let worst = -1
  let worstExcess = 0
  for (let i = 0; i < b.data.length; i++) {
    const x = a.data[i]
    const y = b.data[i]
    if (x === y || (equalNaN && Number.isNaN(x) && Number.isNaN(y))) continue
    const excess = Math.abs(x - y) - (atol + rtol * Math.abs(y))
    if (excess <= 0) continue
    wrong++
    // NaN and infinite differences count as the worst of all.
    if (worst < 0 || excess > worstExcess || (Number.isNaN(excess) && !Number.isNaN(worstExcess))) {
      worst = i
      worstExcess = excess
    }
  }
  if (wrong === 0) return null
  return (
    `${wrong} of ${b.data.length} elements differ by more than ${atol} + ${rtol} |expected|; ` +
    `worst at [${position(worst, b.shape).join(', ')}]: ${a.data[worst]}, expected ${b.data[worst]}`
  )
}

function position(flat: number, shape: Shape): number[] {
  const at = new Array<number>(shape.length)
  let rest = flat
  for (let i = shape.length - 1; i >= 0; i--) {
    at[i] = rest % shape[i]
    rest = Math.floor(rest / shape[i])
  }
  return at
}

/** Values that are there already, or null for a tensor that must be waited for. */
function valuesNow(x: Tensor | TensorValues, name: string): Values | null {
  if (x instanceof Tensor) {
    const data = x.dataSync()
    return data && { data, shape: x.shape }
  }
  if (
    x === null ||
    x === undefined ||
    (typeof x === 'object' && !Array.isArray(x) && !ArrayBuffer.isView(x))
  ) {
    throw new ArgumentError(`allclose: ${name} must be a tensor, numbers, nested arrays or a typed array`)
  }
  // Through float64 on the cpu, so that the expected numbers are compared as they were written.
  const t = tensor(x, { dtype: 'float64', device: 'cpu' })
  const data = t.dataSync() as HostArray
  t.dispose()
  return { data, shape: t.shape }
}

async function valuesLater(x: Tensor | TensorValues, name: string): Promise<Values> {
  return valuesNow(x, name) ?? { data: await (x as Tensor).data(), shape: (x as Tensor).shape }
}

/** Whether shapes are equal and every |a - b| <= atol + rtol |b|. Works across devices and dtypes. */
export async function allclose(
  a: Tensor | TensorValues,
  b: Tensor | TensorValues,
  options: AllcloseOptions = {},
): Promise<boolean> {
  return difference(await valuesLater(a, 'a'), await valuesLater(b, 'b'), options) === null
}

interface MatcherResult {
  pass: boolean
  message: () => string
}

function verdict(problem: string | null): MatcherResult {
  return {
    pass: problem === null,
    message: () => problem ?? 'all elements are close, expected at least one not to be',
  }
}

/**
 * `expect.extend(matchers)`, then `expect(t).toBeAllclose([[1, 2]], { atol: 1e-6 })`. Tensors on the cpu are compared
 * at once; where one is on the GPU the matcher returns a promise: `await expect(t).toBeAllclose(...)`.
 */
export const matchers = {
  toBeAllclose(
    received: Tensor | TensorValues,
    expected: Tensor | TensorValues,
    options: AllcloseOptions = {},
  ): MatcherResult | Promise<MatcherResult> {
    const a = valuesNow(received, 'the received value')
    const b = valuesNow(expected, 'the expected value')
    if (a && b) return verdict(difference(a, b, options))
    return Promise.all([
      valuesLater(received, 'the received value'),
      valuesLater(expected, 'the expected value'),
    ]).then(([x, y]) => verdict(difference(x, y, options)))
  },
}

/**
 * The matchers' types. In a vitest set-up file:
 * `declare module 'vitest' { interface Matchers<T> extends AllcloseMatchers<T> {} }`.
 */
export interface AllcloseMatchers<R> {
  toBeAllclose(expected: Tensor | TensorValues, options?: AllcloseOptions): R
}
