// Int8 products of tensors: activations to words, the product, and back to float32.
//
// Where a device has kernels for the words they serve; the expressions here say what they compute. With x = (qx - zx) sx
// for rows and w = qw sw for columns,  y = (sum(qx qw) - zx sum(qw)) sx sw + bias.

import { constant, type Expr, input, scalar } from '../../backend/expr'
import { INT8_PANEL, panelShape, QUAD, quadsOf } from '../../backend/int8'
import { Program } from '../../backend/program'
import { map } from '../../tensor/ops/apply'
import { amax, amin } from '../../tensor/ops/reduce'
import { contiguous, narrow, reshape } from '../../tensor/ops/views'
import { pad } from '../../tensor/ops/windows'
import { tidy } from '../../tensor/scope'
import { Tensor } from '../../tensor/tensor'
import { limited, number, unlimited } from './integers'
import type { FullScheme } from './scheme'

/** Parameters of activations on their device, each [] or [rows, 1]; the zero point as float32 and as int32. */
export interface RowParams {
  readonly scale: Tensor
  readonly reciprocal: Tensor
  readonly zeroPoint: Tensor
  readonly wholeZeroPoint: Tensor
  readonly low: number
  readonly high: number
}

const f = (index: number): Expr => input(index)
const whole = (index: number): Expr => input(index, 'int')
const byte = (q: Expr): Expr => q.mod(256)

const WORD = (() => {
  const q = [0, 1, 2, 3].map((i) => limited(unlimited(f(i), f(4), f(5))).cast('int'))
  const word = byte(q[0])
    .add(byte(q[1]).mul(2 ** 8))
    .add(byte(q[2]).mul(2 ** 16))
    .add(q[3].mul(2 ** 24))
  return new Program([word], 6, 2)
})()

const NUMBERS = (() => {
  let rest: Expr = whole(0)
  const numbers: Expr[] = []
  for (let i = 0; i < QUAD; i++) {
    const low = byte(rest)
    const q = byte(low.add(128)).sub(128)
    numbers.push(number(q.asFloat(), f(1), f(2)))
    // A multiple of 256, which float32 holds exactly.
    rest = rest
      .sub(low)
      .asFloat()
      .mul(1 / 256)
      .cast('int')
  }
  return new Program(numbers, 3)
})()

/** acc, zero point, sums of the columns, scale of the rows, scale of the columns, bias. */
const product = whole(0)
  .sub(whole(1).mul(whole(2)))
  .asFloat()
  .mul(f(3).mul(f(4)))
const RESULT = new Program([product], 5)
const RESULT_AND_BIAS = new Program([product.add(f(5))], 6)

/** min and max to scale, reciprocal and the zero point twice; scalars: low, high, symmetric. As `chooseParams`. */
const PARAMS = (() => {
  const [low, high, symmetric] = [scalar(0), scalar(1), scalar(2, 'bool')]
  const below = f(0).min(0)
  const above = f(1).max(0)
  const steps = high.sub(low)
  const affine = above.sub(below).single().div(steps).single()
  const even = below.neg().max(above).div(steps.mul(0.5)).single()
  const scale = symmetric.where(even, affine).max(2 ** -23)
  const zero = symmetric.where(
    low.add(high).add(1).mul(0.5).floor(),
    low.sub(below.div(scale).single().round()).max(low).min(high),
  )
  return new Program([scale, constant(1).div(scale).single(), zero, zero.cast('int')], 2, 3)
})()

/** The ranges of rows [M, K], or of all of them together, as parameters; nothing is read back. */
export function dynamicParams(
  x: Tensor,
  perRow: boolean,
  { symmetric }: Pick<FullScheme, 'symmetric'>,
  [low, high]: readonly [number, number],
): RowParams {
  return tidy(() => {
    const dims = perRow ? [1] : [0, 1]
    const bounds = [amin(x, dims, { keepdim: true }), amax(x, dims, { keepdim: true })]
    const [scale, reciprocal, zeroPoint, wholeZeroPoint] = map('dynamicParams', PARAMS, bounds, [
      low,
      high,
      Number(symmetric),
    ])
    return { scale, reciprocal, zeroPoint, wholeZeroPoint, low, high }
  })
}

/** One parameter for each row: strides of 0 where there is one for all. */
function perRow(
  t: Tensor,
  rows: number,
): { shape: number[]; strides: number[] } & ReturnType<Tensor['view']> {
  return { ...t.view(), shape: [rows, 1], strides: [t.size === 1 ? 0 : 1, 1] }
}

/** The words of float32 rows [M, K] whose columns lie side by side: int32 [M, quads]. */
export function packActivations(x: Tensor, params: RowParams): Tensor {
  const { reciprocal, zeroPoint, low, high } = params
  const [m, k] = x.shape
  const quads = quadsOf(k)
  const words = Tensor.allocate(x.backend, 'int32', [m, quads])
  const [r, z] = [perRow(reciprocal, m), perRow(zeroPoint, m)]
  if (m === 0 || x.backend.packInt8?.(x.view(), r, z, low, high, words.view())) return words
  tidy(() => {
    const full = k % QUAD === 0 ? contiguous(x) : pad(x, [0, QUAD * quads - k])
    const view = full.view()
    const parts = [0, 1, 2, 3].map((i) => ({
      ...view,
      shape: [m, quads],
      offset: view.offset + i,
      strides: [QUAD * quads, QUAD],
    }))
    const wide = [r, z].map((p) => ({ ...p, shape: [m, quads], strides: [p.strides[0], 0] }))
    x.backend.elementwise(WORD, [...parts, ...wide], [low, high], [words.view()])
  })
  return words
}

/** Float32 rows [M, K] of words [M, quads]: (byte - zero point) * scale, parameters [] or [M, 1]. */
export function unpackRows(words: Tensor, k: number, scale: Tensor, zeroPoint: Tensor): Tensor {
  const [m, quads] = words.shape
  return tidy(() => {
    const out = Tensor.allocate(words.backend, 'float32', [m, QUAD * quads])
    const numbers = narrow(out, 1, 0, k)
    const [s, z] = [perRow(scale, m), perRow(zeroPoint, m)]
    if (m === 0 || words.backend.unpackInt8?.(words.view(), s, z, numbers.view())) return numbers
    const view = out.view()
    const parts = [0, 1, 2, 3].map((i) => ({
      ...view,
      shape: [m, quads],
      offset: view.offset + i,
      strides: [QUAD * quads, QUAD],
    }))
    const wide = [s, z].map((p) => ({ ...p, shape: [m, quads], strides: [p.strides[0], 0] }))
    words.backend.elementwise(NUMBERS, [words.view(), ...wide], [], parts)
    return numbers
  })
}

/** A K x N right operand in int8. */
export interface PackedWeight {
  /** int32 [panels, quads, 8]. */
  readonly words: Tensor
  /** float32 [N] or []. */
  readonly scale: Tensor
  /** int32 [N]: the sum of each column. */
  readonly sums: Tensor
}

/** Float32 rows [M, K] times int8 columns, plus a bias [N]: float32 [M, N]. */
export function int8Product(
  x: Tensor,
  params: RowParams,
  { words, scale, sums }: PackedWeight,
  bias: Tensor | null,
): Tensor {
  return tidy(() => {
    const rows = packActivations(x, params)
    const sum = Tensor.allocate(x.backend, 'int32', [x.shape[0], sums.shape[0]])
    if (sum.size > 0) x.backend.matmulInt8(rows.view(), words.view(), sum.view(), params.low >= 0)
    const operands = [sum, params.wholeZeroPoint, sums, params.scale, scale]
    return bias
      ? map('int8Product', RESULT_AND_BIAS, [...operands, bias])[0]
      : map('int8Product', RESULT, operands)[0]
  })
}

/** Columns `start` to `start + length` of a weight; both multiples of a panel's, but for the last. */
export function columnsOf({ words, scale, sums }: PackedWeight, start: number, length: number): PackedWeight {
  const [panels] = panelShape(1, length)
  return {
    words: narrow(words, 0, start / INT8_PANEL, panels),
    scale: scale.ndim === 0 ? scale : narrow(scale, 0, start, length),
    sums: narrow(sums, 0, start, length),
  }
}

/** [..., K] as rows [M, K] whose columns lie side by side. */
export function asRows(x: Tensor): Tensor {
  const k = x.shape[x.ndim - 1]
  const rows = reshape(x, [x.size / k, k])
  return rows.strides[1] === 1 ? rows : contiguous(rows)
}
