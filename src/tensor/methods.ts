// The ops as methods: `x.add(y)` is `add(x, y)`. One list of names, typed by the functions themselves.

import { backward, type BackwardOptions } from '../autograd/backward'
import * as castOps from './ops/cast'
import * as elementwise from './ops/elementwise'
import * as indexing from './ops/indexing'
import * as join from './ops/join'
import { matmul } from './ops/matmul'
import * as order from './ops/order'
import * as reductions from './ops/reduce'
import * as soft from './ops/softmax'
import * as views from './ops/views'
import * as windows from './ops/windows'
import { copyInto, fill } from './mutate'
import { multinomial } from './multinomial'
import { Tensor } from './tensor'

const METHODS = {
  add: elementwise.add,
  sub: elementwise.sub,
  mul: elementwise.mul,
  div: elementwise.div,
  pow: elementwise.pow,
  remainder: elementwise.remainder,
  maximum: elementwise.maximum,
  minimum: elementwise.minimum,
  eq: elementwise.eq,
  ne: elementwise.ne,
  lt: elementwise.lt,
  le: elementwise.le,
  gt: elementwise.gt,
  ge: elementwise.ge,
  logicalAnd: elementwise.logicalAnd,
  logicalOr: elementwise.logicalOr,
  logicalXor: elementwise.logicalXor,
  logicalNot: elementwise.logicalNot,
  neg: elementwise.neg,
  abs: elementwise.abs,
  sign: elementwise.sign,
  exp: elementwise.exp,
  expm1: elementwise.expm1,
  log: elementwise.log,
  log1p: elementwise.log1p,
  sqrt: elementwise.sqrt,
  rsqrt: elementwise.rsqrt,
  square: elementwise.square,
  reciprocal: elementwise.reciprocal,
  sin: elementwise.sin,
  cos: elementwise.cos,
  tanh: elementwise.tanh,
  sigmoid: elementwise.sigmoid,
  erf: elementwise.erf,
  floor: elementwise.floor,
  ceil: elementwise.ceil,
  round: elementwise.round,
  isnan: elementwise.isnan,
  isfinite: elementwise.isfinite,
  relu: elementwise.relu,
  silu: elementwise.silu,
  softplus: elementwise.softplus,
  logSigmoid: elementwise.logSigmoid,
  gelu: elementwise.gelu,
  clamp: elementwise.clamp,
  maskedFill: elementwise.maskedFill,
  where: elementwise.where,
  matmul,
  sum: reductions.sum,
  mean: reductions.mean,
  var: reductions.variance,
  std: reductions.std,
  prod: reductions.prod,
  amax: reductions.amax,
  amin: reductions.amin,
  argmax: reductions.argmax,
  argmin: reductions.argmin,
  any: reductions.any,
  all: reductions.all,
  norm: reductions.norm,
  sort: order.sort,
  argsort: order.argsort,
  topk: order.topk,
  cumsum: order.cumsum,
  multinomial,
  softmax: soft.softmax,
  logSoftmax: soft.logSoftmax,
  logsumexp: soft.logsumexp,
  reshape: views.reshape,
  flatten: views.flatten,
  permute: views.permute,
  transpose: views.transpose,
  expand: views.expand,
  slice: views.slice,
  narrow: views.narrow,
  select: views.select,
  squeeze: views.squeeze,
  unsqueeze: views.unsqueeze,
  flip: views.flip,
  detach: views.detach,
  contiguous: views.contiguous,
  clone: views.copy,
  pad: windows.pad,
  repeat: windows.repeat,
  unfold: windows.unfold,
  gather: indexing.gather,
  scatterAdd: indexing.scatterAdd,
  indexSelect: indexing.indexSelect,
  tril: indexing.tril,
  triu: indexing.triu,
  oneHot: indexing.oneHot,
  split: join.split,
  chunk: join.chunk,
  to: castOps.to,
  cpu: castOps.cpu,
  copy_: copyInto,
  fill_: fill,
  zero_: (x: Tensor): Tensor => fill(x, 0),
  backward: (x: Tensor, options?: BackwardOptions): void => backward(x, options),
}

type Method<F> = F extends (x: Tensor, ...rest: infer Rest) => infer R ? (...rest: Rest) => R : never
/** What a tensor can do; the class declares it as its own. */
export interface Methods extends Named {
  /** The transpose of a matrix (last two axes). */
  readonly T: Tensor
  /** Without `dim` the largest element; with it `{ values, indices }` along it. */
  max(): Tensor
  max(dim: number, options?: reductions.ReduceOptions): reductions.Extrema
  /** As `max`, for the smallest. */
  min(): Tensor
  min(dim: number, options?: reductions.ReduceOptions): reductions.Extrema
}
type Named = { [K in keyof typeof METHODS]: Method<(typeof METHODS)[K]> }

function withMethods(type: typeof Tensor): typeof Tensor {
  for (const [name, op] of Object.entries({ ...METHODS, max: reductions.max, min: reductions.min })) {
    Object.defineProperty(type.prototype, name, {
      value(this: Tensor, ...args: unknown[]): unknown {
        return (op as (...all: unknown[]) => unknown)(this, ...args)
      },
      writable: true,
      configurable: true,
    })
  }
  Object.defineProperty(type.prototype, 'T', {
    get(this: Tensor): Tensor {
      return views.transpose(this, -1, -2)
    },
  })
  return type
}

/**
 * Tensor with its methods. What makes tensors from nothing (create.ts) takes the class from here: then who has a tensor
 * has its methods, also where a bundler leaves out files that are imported for their effect alone (`sideEffects: false`).
 */
export const TensorWithMethods = withMethods(Tensor)
