// LayerNorm (Ba et al. 2016): each example is shifted and scaled to mean 0 and variance 1 over its last axes.
//
//   y = (x - mean) / sqrt(var + eps) * w + b,   var biased (divided by n)
//
// One recorded op of one row plan. With h = (x - mean) / sqrt(var + eps) and u = g w:
//   dx = (u - mean(u) - h mean(u h)) / sqrt(var + eps),   dw = sum(g h),   db = sum(g)
// Second derivatives come from `reference`, the same formula in ordinary ops.

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { constant, type Expr, scalar } from '../backend/expr'
import { RowPlan } from '../backend/rows'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { mapRows, requireFloat } from '../tensor/ops/apply'
import { add, mul, rsqrt, sub } from '../tensor/ops/elementwise'
import { mean } from '../tensor/ops/reduce'
import { reshape } from '../tensor/ops/views'
import { gradEnabled, tidy } from '../tensor/scope'
import { formatShape, sameShape, type Shape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { ones_, zeros_ } from './init'
import { Module } from './module'
import { checkEps, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

// Scalars: n, eps.
const [N, EPS] = [scalar(0), scalar(1)]

/** h and 1 / deviation, from x, sum(x) and sum((x - mean)²): one division a row. */
function normalized(x: Expr, total: Expr, squares: Expr): { h: Expr; rate: Expr } {
  const rate = constant(1).div(squares.div(N).add(EPS).sqrt())
  return { h: x.sub(total.div(N)).mul(rate), rate }
}

/** Operands: x, w and b where present. Values: y, and the two sums of each example. */
const forwardPlan = byFlags((hasWeight, hasBias) => {
  const affine = Number(hasWeight) + Number(hasBias)
  return new RowPlan(
    floats(1 + affine),
    ([x, ...rest], reduce) => {
      const total = reduce('sum', x)
      const centered = x.sub(total.div(N))
      const squares = reduce('sum', centered.mul(centered))
      const { h } = normalized(x, total, squares)
      const scaled = hasWeight ? h.mul(rest[0]) : h
      return { elements: [hasBias ? scaled.add(rest[affine - 1]) : scaled], rows: [total, squares] }
    },
    2,
  )
})

/** Operands: x, its sums, g, w where present. A row is an example: the value is dx. */
const inputGradient = byFlags(
  (hasWeight) =>
    new RowPlan(
      floats(hasWeight ? 5 : 4),
      ([x, total, squares, g, w], reduce) => {
        const { h, rate } = normalized(x, total, squares)
        const u = hasWeight ? g.mul(w) : g
        const [mean, product] = [reduce('sum', u).div(N), reduce('sum', u.mul(h)).div(N)]
        return { elements: [u.sub(mean.add(h.mul(product))).mul(rate)] }
      },
      2,
    ),
)

/** Operands: x, its sums, g. A row is what one weight meets over all examples: the values are dw and db. */
const affineGradient = new RowPlan(
  floats(4),
  ([x, total, squares, g], reduce) => ({
    rows: [reduce('sum', g.mul(normalized(x, total, squares).h)), reduce('sum', g)],
  }),
  2,
)

function floats(count: number): 'float'[] {
  return new Array<'float'>(count).fill('float')
}

/** Plans that differ by which of weight and bias there are. */
function byFlags(
  build: (hasWeight: boolean, hasBias: boolean) => RowPlan,
): (hasWeight: boolean, hasBias?: boolean) => RowPlan {
  const plans = [false, true].map((hasWeight) => [false, true].map((hasBias) => build(hasWeight, hasBias)))
  return (hasWeight, hasBias = false) => plans[Number(hasWeight)][Number(hasBias)]
}

export interface LayerNormFunctionOptions {
  /** Of the normalized shape. */
  weight?: Tensor | null
  bias?: Tensor | null
  /** Added to the variance. Default 1e-5. */
  eps?: number
}

/**
 * Normalizes the last axes of `x`, whose sizes are `normalizedShape`; then scales by `weight` and shifts by `bias`.
 * @throws ShapeError if x does not end in `normalizedShape`.
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: Shape,
  { weight = null, bias = null, eps = 1e-5 }: LayerNormFunctionOptions = {},
): Tensor {
  requireFloat('layerNorm', x)
  check(x, normalizedShape, weight, bias)
  const lead = x.ndim - normalizedShape.length
  const outer = Array.from({ length: lead }, (_, i) => i)
  const inner = Array.from({ length: normalizedShape.length }, (_, i) => lead + i)
  const scalars = [sizeOf(normalizedShape), eps]
  const affine = [weight, bias].filter((t) => t !== null)
  const inputs = [x, ...affine]

  const plan = forwardPlan(weight !== null, bias !== null)
  const [out, total, squares] = mapRows('layerNorm', plan, inputs, scalars, inner)
  record('layerNorm', inputs, [out], [...inputs, total, squares], ([g], saved, needs) => {
    if (!g) return inputs.map(() => null)
    const values = saved.slice(0, inputs.length)
    if (gradEnabled()) {
      return differentiateReference(
        (...all) => [reference(all, inner, weight !== null, eps)],
        values,
        [g],
        needs,
      )
    }
    // The gradient of a mean is one row for many; where rows and columns are summed, it has to lie as x does.
    const known = [values[0], ...saved.slice(inputs.length), g.contiguous()]
    const op = 'layerNorm backward'
    const [needX, ...needAffine] = needs
    const upstream = weight ? [...known, values[1]] : known
    const dx = needX ? mapRows(op, inputGradient(weight !== null), upstream, scalars, inner)[0] : null
    if (!needAffine.includes(true)) return [dx, ...affine.map(() => null)]
    const [dw, db] = mapRows(op, affineGradient, known, scalars, outer).map((t) =>
      reshape(t, normalizedShape),
    )
    return [dx, ...(weight ? [dw] : []), ...(bias ? [db] : [])]
  })
  total.dispose()
  squares.dispose()
  return out
}

/** What `layerNorm` computes, in ordinary ops. `inputs`: x, then weight and bias where present. */
function reference(
  inputs: readonly Tensor[],
  dims: readonly number[],
  hasWeight: boolean,
  eps: number,
): Tensor {
  const [x, ...affine] = inputs
  const weight = hasWeight ? affine[0] : null
  const bias = affine[hasWeight ? 1 : 0] ?? null
  return tidy(() => {
    const centered = sub(x, mean(x, dims, { keepdim: true }))
    const variance = mean(mul(centered, centered), dims, { keepdim: true })
    const normalized = mul(centered, rsqrt(add(variance, eps)))
    const scaled = weight ? mul(normalized, weight) : normalized
    return bias ? add(scaled, bias) : scaled
  })
}

function check(x: Tensor, normalizedShape: Shape, weight: Tensor | null, bias: Tensor | null): void {
  const tail = x.shape.slice(Math.max(0, x.ndim - normalizedShape.length))
  if (normalizedShape.length === 0 || !sameShape(tail, normalizedShape)) {
    throw new ShapeError(
      `layerNorm: input of shape ${formatShape(x.shape)} does not end in the normalized shape ${formatShape(normalizedShape)}${inModule()}`,
    )
  }
  for (const [name, t] of Object.entries({ weight, bias })) {
    if (t && !sameShape(t.shape, normalizedShape)) {
      throw new ShapeError(
        `layerNorm: ${name} has shape ${formatShape(t.shape)}${inModule()}; expected ${formatShape(normalizedShape)}`,
      )
    }
    if (t && t.dtype !== x.dtype) {
      throw new DTypeError(
        `layerNorm: input is ${x.dtype} and ${name} ${t.dtype}${inModule()}; they must be equal`,
      )
    }
  }
}

export interface LayerNormOptions extends LayerOptions {
  /** Default 1e-5. */
  eps?: number
  /** Whether there are weight and bias. Default true. */
  elementwiseAffine?: boolean
  /** Whether there is a bias beside the weight. Default true. */
  bias?: boolean
}

/** torch.nn.LayerNorm over the last axes, of sizes `normalizedShape`. Weight starts at 1, bias at 0. */
export class LayerNorm extends Module {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  weight: Parameter | null
  bias: Parameter | null

  constructor(
    normalizedShape: number | Shape,
    { eps = 1e-5, elementwiseAffine = true, bias = true, ...options }: LayerNormOptions = {},
  ) {
    super()
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape]
    checkEps('LayerNorm', 'eps', eps)
    if (shape.length === 0)
      throw new ArgumentError('LayerNorm: normalizedShape is empty; expected at least one axis')
    this.normalizedShape = shape
    this.eps = eps
    this.weight = elementwiseAffine ? ones_(newParameter('LayerNorm', shape, options)) : null
    this.bias = elementwiseAffine && bias ? zeros_(newParameter('LayerNorm', shape, options)) : null
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this
    return layerNorm(x, this.normalizedShape, { weight, bias, eps })
  }
}
