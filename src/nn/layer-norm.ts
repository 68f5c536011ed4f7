// LayerNorm (Ba et al. 2016): each example is shifted and scaled to mean 0 and variance 1 over its last axes.
//
//   y = (x - mean) / sqrt(var + eps) * w + b,   var biased (divided by n)
//
// One recorded op of three kernels (two reductions, one map). With h = (x - mean) / sqrt(var + eps) and u = g w:
//   dx = (u - mean(u) - h mean(u h)) / sqrt(var + eps),   dw = sum(g h),   db = sum(g)
// Second derivatives come from `reference`, the same formula in ordinary ops.

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { constant, type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, DTypeError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { IDENTITY, map, mapReduce, requireFloat } from '../tensor/ops/apply'
import { add, mul, rsqrt, sub } from '../tensor/ops/elementwise'
import { mean } from '../tensor/ops/reduce'
import { gradEnabled, noGrad, tidy } from '../tensor/scope'
import { formatShape, sameShape, type Shape, sizeOf } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { ones_, zeros_ } from './init'
import { Module } from './module'
import { type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

// Operands: 0 x, 1 sum(x), 2 sum((x - mean)²), then whatever a program needs. Scalars: n, eps.
const [N, EPS] = [scalar(0), scalar(1)]
const CENTERED = input(0).sub(input(1).div(N))
const DEVIATION = input(2).div(N).add(EPS).sqrt()
const NORMALIZED = CENTERED.div(DEVIATION)

const SQUARES = new Program([CENTERED.mul(CENTERED)], 2, 2)

/** y; operands after the statistics: w and b where present. */
const forwardProgram = byFlags((hasWeight, hasBias) => {
  const scaled = hasWeight ? NORMALIZED.mul(input(3)) : NORMALIZED
  return [hasBias ? scaled.add(input(hasWeight ? 4 : 3)) : scaled]
})

/** Operands: x and statistics, 3 g, 4 w where present. */
const upstream = (hasWeight: boolean): Expr => (hasWeight ? input(3).mul(input(4)) : input(3))
const sumOfUpstream = byFlags((hasWeight) => [hasWeight ? input(0).mul(input(1)) : input(0)])
const sumOfProducts = byFlags((hasWeight) => [upstream(hasWeight).mul(NORMALIZED)])
const weightGradient = new Program([input(3).mul(NORMALIZED)], 4, 2)
/** The two sums come last. */
const inputGradient = byFlags((hasWeight) => {
  const at = hasWeight ? 5 : 4
  const spread = input(at)
    .add(NORMALIZED.mul(input(at + 1)))
    .mul(constant(1).div(N))
  return [upstream(hasWeight).sub(spread).div(DEVIATION)]
})

/** Programs that differ by which of weight and bias there are. */
function byFlags(
  build: (hasWeight: boolean, hasBias: boolean) => Expr[],
): (hasWeight: boolean, hasBias?: boolean) => Program {
  const programs = new Map<string, Program>()
  return (hasWeight, hasBias = false) => {
    const key = `${hasWeight}/${hasBias}`
    let program = programs.get(key)
    if (!program) {
      const exprs = build(hasWeight, hasBias)
      program = new Program(exprs, new Program(exprs, 0, 2).usedInputs.length, 2)
      programs.set(key, program)
    }
    return program
  }
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

  const [out, total, squares] = noGrad(() => {
    const sum = mapReduce('sum', 'layerNorm', IDENTITY, [x], [], inner, true)
    const spread = mapReduce('sum', 'layerNorm', SQUARES, [x, sum], scalars, inner, true)
    const program = forwardProgram(weight !== null, bias !== null)
    return [map('layerNorm', program, [x, sum, spread, ...affine], scalars)[0], sum, spread]
  })
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
    const statistics = saved.slice(inputs.length)
    const known = [values[0], ...statistics, g]
    const scale = weight ? [values[1]] : []
    const op = 'layerNorm backward'
    const sums = (): Tensor[] => [
      mapReduce('sum', op, sumOfUpstream(weight !== null), [g, ...scale], scalars, inner, true),
      mapReduce('sum', op, sumOfProducts(weight !== null), [...known, ...scale], scalars, inner, true),
    ]
    const perExample = needs[0]
      ? map(op, inputGradient(weight !== null), [...known, ...scale, ...sums()], scalars)[0]
      : null
    const grads = [perExample]
    if (weight)
      grads.push(needs[1] ? mapReduce('sum', op, weightGradient, known, scalars, outer, false) : null)
    if (bias) grads.push(needs[grads.length] ? mapReduce('sum', op, IDENTITY, [g], [], outer, false) : null)
    return grads
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
    if (!(eps >= 0)) throw new ArgumentError(`LayerNorm: eps is ${eps}; expected a number of at least 0`)
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
