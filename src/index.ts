// The public surface: `import * as ef from 'evenfold'`.

export * as autograd from './autograd'
export { detectAnomaly } from './autograd/anomaly'
export { releaseSpent } from './autograd/tape'
export type { Expr, ExprLike } from './backend/expr'
export type { DeviceName, DType, HostArray } from './backend/types'
export * as compress from './compress'
export * from './errors'
export * as data from './data'
export * as fairness from './fairness'
export { defaultDevice, init, type InitOptions, shutdown, synchronize } from './init'
export * as io from './io'
export * as models from './models'
export * as nn from './nn'
export { summary } from './nn/summary'
export * as optim from './optim'
export { profile, type Profile, type ProfiledKernel } from './profile'
export {
  arange,
  eye,
  full,
  linspace,
  ones,
  onesLike,
  tensor,
  type TensorOptions,
  type TensorValues,
  zeros,
  zerosLike,
} from './tensor/create'
export type { Nested } from './tensor/format'
export { multinomial } from './tensor/multinomial'
export { cast } from './tensor/ops/cast'
export { einsum } from './tensor/ops/einsum'
export {
  abs,
  add,
  type Binary,
  ceil,
  clamp,
  cos,
  div,
  eq,
  erf,
  exp,
  expm1,
  floor,
  fuse,
  ge,
  gelu,
  gt,
  isfinite,
  isnan,
  le,
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  logSigmoid,
  lt,
  maskedFill,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  type Operand,
  pow,
  reciprocal,
  relu,
  remainder,
  round,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  sub,
  tanh,
  type Unary,
  where,
} from './tensor/ops/elementwise'
export { gather, indexSelect, oneHot, scatterAdd, tril, triu } from './tensor/ops/indexing'
export { cat, chunk, split, stack } from './tensor/ops/join'
export { matmul } from './tensor/ops/matmul'
export { argsort, cumsum, sort, type SortOptions, topk } from './tensor/ops/order'
export {
  all,
  amax,
  amin,
  any,
  argmax,
  argmin,
  type Dims,
  type Extrema,
  max,
  mean,
  min,
  norm,
  prod,
  type ReduceOptions,
  std,
  sum,
  variance,
} from './tensor/ops/reduce'
export { logSoftmax, logsumexp, softmax } from './tensor/ops/softmax'
export {
  contiguous,
  detach,
  expand,
  flatten,
  flip,
  narrow,
  permute,
  reshape,
  select,
  slice,
  type SliceArgument,
  squeeze,
  transpose,
  unsqueeze,
} from './tensor/ops/views'
export { pad, type PadOptions, repeat, unfold } from './tensor/ops/windows'
export { bernoulli, rand, randint, randn, randperm } from './tensor/random'
export { getRandomState, manualSeed, type RandomState, setRandomState } from './tensor/random-state'
export { enableGrad, noGrad, tidy } from './tensor/scope'
export type { Shape } from './tensor/shape'
export { type DeviceMemory, memory, resetPeakMemory, type Survivor, survivors } from './tensor/storage'
export { keep, Tensor } from './tensor/tensor'
export * as text from './text'
export * from './train'
