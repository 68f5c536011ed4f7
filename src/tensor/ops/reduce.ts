// Reductions. Sums are fused with what is summed; extrema and products bring their own gradients.

import { record } from '../../autograd/tape'
import { constant, type Expr, input, scalar } from '../../backend/expr'
import { Program } from '../../backend/program'
import { ArgumentError, ShapeError } from '../../errors'
import { inModule } from '../context'
import { tidy } from '../scope'
import { formatShape, normalizeDim, normalizeDims, reducedShape, type Shape, sizeOf } from '../shape'
import { copyProgram, scalarType, Tensor } from '../tensor'
import { IDENTITY, map, mapReduce, mapSum, requireFloat } from './apply'
import { div, eq, mul, where } from './elementwise'
import { gather } from './indexing'
import { cat } from './join'
import { copy, fillStorage, flatten, narrow, permute, reshape, squeeze, unsqueeze } from './views'

export interface ReduceOptions {
  /** Keep reduced axes with size 1. Default false. */
  keepdim?: boolean
}

/** Axes to reduce: one, several, or all if left out. */
export type Dims = number | readonly number[]

const INT_SUM = {
  int: new Program([input(0, 'int')], 1),
  bool: new Program([input(0, 'bool').cast('int')], 1),
}

/** Sum over `dims` (default: all). int32 and bool give int32. */
export function sum(x: Tensor, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  const type = scalarType(x.dtype)
  const program = type === 'float' ? IDENTITY : INT_SUM[type]
  return mapSum('sum', program, [x], [], normalizeDims('sum', dims, x.ndim), keepdim)
}

/** Arithmetic mean over `dims` (default: all). Of nothing: NaN, as in torch. */
export function mean(x: Tensor, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  requireFloat('mean', x)
  const axes = normalizeDims('mean', dims, x.ndim)
  const n = sizeOf(axes.map((d) => x.shape[d]))
  return tidy(() => div(mapSum('mean', IDENTITY, [x], [], axes, keepdim), n))
}

const SQUARED_DISTANCE = new Program(
  [
    input(0)
      .sub(input(1))
      .mul(input(0).sub(input(1))),
  ],
  2,
)

/** Variance over `dims`; divides by n - `correction` (default 1, Bessel's). */
export function variance(
  x: Tensor,
  dims?: Dims,
  { keepdim = false, correction = 1 }: ReduceOptions & { correction?: number } = {},
): Tensor {
  requireFloat('var', x)
  const axes = normalizeDims('var', dims, x.ndim)
  const n = sizeOf(axes.map((d) => x.shape[d]))
  return tidy(() => {
    const center = mean(x, axes, { keepdim: true })
    return div(mapSum('var', SQUARED_DISTANCE, [x, center], [], axes, keepdim), Math.max(0, n - correction))
  })
}

/** Standard deviation; as `variance`. */
export function std(x: Tensor, dims?: Dims, options: ReduceOptions & { correction?: number } = {}): Tensor {
  return tidy(() => safeSqrt(variance(x, dims, options)))
}

const SAFE_SQRT = new Program([sqrtWithZeroGradient(input(0))], 1)

/** sqrt whose gradient at 0 is 0, torch's convention for std and norm of a constant. */
function sqrtWithZeroGradient(x: Expr): Expr {
  return x.eq(0).where(0, x.eq(0).where(1, x).sqrt())
}

function safeSqrt(x: Tensor): Tensor {
  return map('sqrt', SAFE_SQRT, [x])[0]
}

/** Product over `dims` (default: all). Exact gradients also where factors are zero. */
export function prod(x: Tensor, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  const axes = normalizeDims('prod', dims, x.ndim)
  if (scalarType(x.dtype) !== 'float') {
    const program = INT_SUM[scalarType(x.dtype) as 'int' | 'bool']
    return mapReduce('prod', 'prod', program, [x], [], axes, keepdim)
  }
  if (!x.requiresGrad) return mapReduce('prod', 'prod', IDENTITY, [x], [], axes, keepdim)
  // As a tree of multiplications every partial product of the others is formed without dividing.
  return tidy(() => {
    const kept = [...x.shape.keys()].filter((i) => !axes.includes(i))
    const outer = kept.map((i) => x.shape[i])
    let t = reshape(permute(x, [...kept, ...axes]), [...outer, sizeOf(axes.map((d) => x.shape[d]))])
    if (t.shape[t.ndim - 1] === 0) return mapReduce('prod', 'prod', IDENTITY, [x], [], axes, keepdim)
    for (let n = t.shape[t.ndim - 1]; n > 1; n = Math.ceil(n / 2)) {
      const half = n >> 1
      const product = mul(narrow(t, -1, 0, half), narrow(t, -1, half, half))
      t = n % 2 === 0 ? product : cat([product, narrow(t, -1, n - 1, 1)], -1)
    }
    return reshape(t, reducedShape(x.shape, axes, keepdim))
  })
}

/** Largest value over `dims`; the gradient is shared equally among ties (torch.amax). */
export function amax(x: Tensor, dims?: Dims, options: ReduceOptions = {}): Tensor {
  return extremum('max', x, dims, options)
}

/** Smallest value over `dims`; the gradient is shared equally among ties (torch.amin). */
export function amin(x: Tensor, dims?: Dims, options: ReduceOptions = {}): Tensor {
  return extremum('min', x, dims, options)
}

function extremum(
  kind: 'max' | 'min',
  x: Tensor,
  dims: Dims | undefined,
  { keepdim = false }: ReduceOptions,
): Tensor {
  const axes = normalizeDims(kind, dims, x.ndim)
  refuseEmpty(kind, x.shape, axes)
  const out = mapReduce(kind, kind, copyProgram(x.dtype), [x], [], axes, keepdim)
  const wide = reducedShape(x.shape, axes, true)
  record(kind, [x], [out], [x, out], ([g], [x, y]) => {
    if (!g) return [null]
    const hit = eq(x, reshape(y, wide))
    const share = div(reshape(g, wide), sum(hit, axes, { keepdim: true }))
    return [where(hit, share, 0)]
  })
  return out
}

function refuseEmpty(op: string, shape: Shape, axes: readonly number[]): void {
  if (axes.some((d) => shape[d] === 0)) {
    throw new ShapeError(
      `${op}: cannot reduce an axis of size 0 of shape ${formatShape(shape)}${inModule()}; it has no extremum`,
    )
  }
}

/** Values and where they were found. */
export interface Extrema {
  values: Tensor
  indices: Tensor
}

/** Without `dim` the largest element; with it `{ values, indices }` along it, ties to the lowest index. */
export function max(x: Tensor): Tensor
export function max(x: Tensor, dim: number, options?: ReduceOptions): Extrema
export function max(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor | Extrema {
  return dim === undefined ? amax(x) : extremaAlong('max', x, dim, options)
}

/** As `max`, for the smallest. */
export function min(x: Tensor): Tensor
export function min(x: Tensor, dim: number, options?: ReduceOptions): Extrema
export function min(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor | Extrema {
  return dim === undefined ? amin(x) : extremaAlong('min', x, dim, options)
}

function extremaAlong(
  kind: 'max' | 'min',
  x: Tensor,
  dim: number,
  { keepdim = false }: ReduceOptions,
): Extrema {
  return tidy(() => {
    const d = normalizeDim(kind, dim, x.ndim)
    if (x.ndim === 0) return { values: copy(x), indices: argReduce(kind, x, undefined, {}) }
    const at = argReduce(kind, x, d, { keepdim: true })
    const values = gather(x, d, at)
    return keepdim ? { values, indices: at } : { values: squeeze(values, d), indices: squeeze(at, d) }
  })
}

function argReduce(
  kind: 'max' | 'min',
  x: Tensor,
  dim: number | undefined,
  { keepdim = false }: ReduceOptions,
): Tensor {
  const op = kind === 'max' ? 'argmax' : 'argmin'
  if (dim === undefined || x.ndim === 0) {
    if (x.size === 0) throw new ShapeError(`${op}: the tensor has no elements`)
    if (dim !== undefined) normalizeDim(op, dim, 0)
    return tidy(() => reshape(alongLast(kind, flatten(x)), keepdim ? x.shape.map(() => 1) : []))
  }
  const d = normalizeDim(op, dim, x.ndim)
  refuseEmpty(op, x.shape, [d])
  return tidy(() => {
    const order = [...x.shape.keys()].filter((i) => i !== d)
    const out = alongLast(kind, permute(x, [...order, d]))
    return keepdim ? unsqueeze(out, d) : out
  })
}

function alongLast(kind: 'max' | 'min', x: Tensor): Tensor {
  const out = Tensor.allocate(x.backend, 'int32', x.shape.slice(0, -1))
  if (out.size > 0) x.backend.argReduce(kind, x.view(), out.view())
  return out
}

/** Index of the largest element (along `dim`, or of the flattened tensor). int32; ties to the lowest index; NaN wins. */
export function argmax(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return argReduce('max', x, dim, options)
}

/** Index of the smallest element; as `argmax`. */
export function argmin(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return argReduce('min', x, dim, options)
}

/** Whether any element is non-zero; false of none. bool. */
export function any(x: Tensor, dims?: Dims, options: ReduceOptions = {}): Tensor {
  return truth('any', 'max', x, dims, options)
}

/** Whether all elements are non-zero; true of none. bool. */
export function all(x: Tensor, dims?: Dims, options: ReduceOptions = {}): Tensor {
  return truth('all', 'min', x, dims, options)
}

function truth(
  op: 'any' | 'all',
  kind: 'max' | 'min',
  x: Tensor,
  dims: Dims | undefined,
  { keepdim = false }: ReduceOptions,
): Tensor {
  const axes = normalizeDims(op, dims, x.ndim)
  if (axes.every((d) => x.shape[d] > 0)) {
    return mapReduce(kind, op, TRUTH[scalarType(x.dtype)], [x], [], axes, keepdim)
  }
  const out = Tensor.allocate(x.backend, 'bool', reducedShape(x.shape, axes, keepdim))
  fillStorage(out, op === 'all' ? 1 : 0)
  return out
}

const TRUTH = {
  float: new Program([input(0).asBool()], 1),
  int: new Program([input(0, 'int').asBool()], 1),
  bool: new Program([input(0, 'bool')], 1),
}

const POWER_SUM: Record<string, Program> = {
  1: new Program([input(0).abs()], 1),
  2: new Program([input(0).mul(input(0))], 1),
}
// At 0 the gradient is 0 for every p, as in torch; |x|^(p - 1) sign(x) would be infinity times 0 for p below 1.
const ABS_POWER = new Program(
  [
    input(0)
      .eq(0)
      .where(0, input(0).eq(0).where(1, input(0).abs()).pow(scalar(0))),
  ],
  1,
  1,
)
const ROOT = new Program(
  [
    input(0)
      .eq(0)
      .where(
        0,
        input(0)
          .eq(0)
          .where(1, input(0))
          .pow(constant(1).div(scalar(0))),
      ),
  ],
  1,
  1,
)

/** Vector p-norm over `dims` (default: all). p: any number above 0, or Infinity. Default 2. Gradient 0 where the norm is 0. */
export function norm(
  x: Tensor,
  { p = 2, dims, keepdim = false }: { p?: number; dims?: Dims } & ReduceOptions = {},
): Tensor {
  requireFloat('norm', x)
  if (!(p > 0)) throw new ArgumentError(`norm: p is ${p}; expected a number above 0 or Infinity`)
  const axes = normalizeDims('norm', dims, x.ndim)
  return tidy(() => {
    if (p === Number.POSITIVE_INFINITY) return amax(map('abs', ABS, [x])[0], axes, { keepdim })
    const fixed = POWER_SUM[p]
    if (p === 1) return mapSum('norm', fixed, [x], [], axes, keepdim)
    if (p === 2) return safeSqrt(mapSum('norm', fixed, [x], [], axes, keepdim))
    return map('norm', ROOT, [mapSum('norm', ABS_POWER, [x], [p], axes, keepdim)], [p])[0]
  })
}

const ABS = new Program([input(0).abs()], 1)
