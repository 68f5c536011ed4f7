// The contract between tensors and devices: a dozen methods over strided views.
//
// A backend knows nothing of tensors, shapes rules or gradients. The layer above checks shapes and
// dtypes, broadcasts by zero strides, moves reduced axes last, and allocates every output before the
// call; a backend only computes. Every op of the library comes down to these methods.

import type { Program } from './program'
import type { RowCall, RowPlan } from './rows'

/** Element types. On webgpu `float64` does not exist and a `bool` is one u32 per element. */
export type DType = 'float32' | 'float64' | 'int32' | 'bool'
/** Where a tensor lives and is computed with. */
export type DeviceName = 'cpu' | 'webgpu'

/** Host arrays that carry each dtype: Float32Array, Float64Array, Int32Array, Uint8Array (bool, 0 or 1). */
export type HostArray = Float32Array | Float64Array | Int32Array | Uint8Array

/** Bytes an element takes in host arrays and on the cpu heap. */
export const BYTES_PER_ELEMENT: Record<DType, number> = { float32: 4, float64: 8, int32: 4, bool: 1 }

/** Device memory owned by one storage. Opaque to everyone but its backend. */
export interface DeviceBuffer {
  /** Bytes the device really set aside. */
  readonly byteLength: number
}

/**
 * A strided window on a buffer. `offset` and `strides` count elements; a stride is 0 where the view is
 * broadcast and may be negative. Element (i0, i1, …) lives at `offset + i0*strides[0] + i1*strides[1] + …`.
 */
export interface View {
  readonly buffer: DeviceBuffer
  readonly dtype: DType
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** `max` and `min` propagate NaN; on bool they are `any` and `all`. */
export type ReduceKind = 'sum' | 'prod' | 'max' | 'min'

/**
 * Random fills, from Threefry-2x32 (20 rounds) with key `(seed, stream)`, so that element i depends neither on
 * the size of the tensor nor on the device. Element i takes word `i & 1` of the block with counter `(i >> 1, 0)`:
 * `uniform` is `(word >>> 8) / 2^24`, `int` is `low + floor(word * (high - low) / 2^32)` in exact integers,
 * `bernoulli` is `uniform < p` (p rounded to float32). `normal` is Box-Muller, `sqrt(-2 ln u) cos(2 pi v)`, on both
 * words of the block with counter `(i, 1)`, with u = (word0 >>> 8 + 1) / 2^24 so that the logarithm is finite.
 */
export type RandomKind =
  | { readonly kind: 'uniform' }
  | { readonly kind: 'normal' }
  | { readonly kind: 'int'; readonly low: number; readonly high: number }
  | { readonly kind: 'bernoulli'; readonly p: number }

/** The operands of one elementwise call, all of one shape. */
export interface ElementwiseCall {
  readonly inputs: readonly View[]
  readonly outputs: readonly View[]
}

/** What a device did during a while. */
export interface DeviceProfile {
  /** Kernel launches. */
  readonly dispatches: number
  /** Batches handed to the GPU; 0 on the cpu, as the next two. */
  readonly submits: number
  /** Kernels compiled. */
  readonly newPipelines: number
  /** GPU buffers made, rather than used again. */
  readonly newBuffers: number
  /** Bytes that came from the host and that went to it. */
  readonly bytesWritten: number
  readonly bytesRead: number
  /** By name: launches, and milliseconds on the device, null where it has no clock. */
  readonly kernels: ReadonlyMap<string, { readonly calls: number; readonly ms: number | null }>
}

/**
 * Attention over views [batch, heads, position, feature] of queries (T of them), keys and values (S); masks are
 * [batch, heads, T, S], by zero strides where they are smaller.
 */
export interface AttentionCall {
  readonly q: View
  readonly k: View
  readonly v: View
  /** `exclude`: bool, true where a key is not seen. `add`: added to the score; -Infinity excludes. */
  readonly masks: readonly { readonly kind: 'exclude' | 'add'; readonly view: View }[]
  /** Query t sees keys 0 to t + offset only; null: all. */
  readonly causalOffset: number | null
  readonly scale: number
  /**
   * A weight stays, times `rescale`, where `random` would put true into [batch, heads, T, S] for `bernoulli` with
   * p = `kept` under (seed, stream).
   */
  readonly dropout: {
    readonly kept: number
    readonly rescale: number
    readonly seed: number
    readonly stream: number
  } | null
}

export interface AttentionGradients {
  readonly dq: View
  readonly dk: View
  readonly dv: View
}

/** Attention without a matrix of weights in memory. */
export interface AttentionKernels {
  /** Whether the other two take a call; it depends on dtypes, widths and buffers. No size may be 0. */
  fits(call: AttentionCall): boolean
  /**
   * `output` [batch, heads, T, feature] becomes drop(softmax(scale q k' + masks)) v, 0 for a query that sees no key;
   * `lse` [batch, heads, T] the logarithm of the softmax's total, 0 there.
   */
  forward(call: AttentionCall, output: View, lse: View): void
  /** From what `forward` gave, and the gradient `g` of the output, the gradients of q, k and v. */
  backward(call: AttentionCall, output: View, lse: View, g: View, into: AttentionGradients): void
}

/** Steps, rows of the batch, directions, hidden units; gates, states and kept values per unit of the cell. */
export interface RecurrentSizes {
  readonly T: number
  readonly B: number
  readonly D: number
  readonly H: number
  readonly G: number
  readonly N: number
  readonly K: number
}

/**
 * A recurrent layer over a sequence; what the tensors hold stands at the head of nn/recurrent-sequence.ts. All are
 * contiguous but the mask [T, B], bool, of any strides. The second direction runs from the last time to the first.
 */
export interface RecurrentForward {
  readonly sizes: RecurrentSizes
  /** From gi and gh per gate, the states, [bias per gate], [mask] to the next states, the output, [what is kept]. */
  readonly program: Program
  readonly gi: View
  /** [D, H, G*H]: gh = h weights. */
  readonly weights: View
  /** The first states are there already. */
  readonly states: View
  readonly output: View
  /** [D, G*H], where the program takes it. */
  readonly bias: View | null
  readonly mask: View | null
  readonly kept: View | null
}

export interface RecurrentBackward {
  readonly sizes: RecurrentSizes
  /** From the carry per state, dOutput, what was kept, the states, [mask] to the carry, dgi and dgh per gate. */
  readonly program: Program
  /** [D, G*H, H]: the carry of state 0 += dgh weights. */
  readonly weights: View
  readonly carry: View
  readonly dOutput: View
  readonly kept: View
  readonly states: View
  readonly mask: View | null
  readonly dgi: View
  readonly dgh: View
}

/** A whole sequence without a launch per step. */
export interface RecurrentKernels {
  fits(sizes: RecurrentSizes): boolean
  forward(call: RecurrentForward): void
  backward(call: RecurrentBackward): void
}

export interface Backend {
  readonly name: DeviceName
  /** What made the device unusable, once something did; `init` then opens another. */
  readonly failure?: Error | null
  /** Whether the device can hold and compute on this dtype. */
  supports(dtype: DType): boolean

  /** Sets aside room for `length` elements (0 is allowed). Contents are unspecified. Throws OutOfMemoryError. */
  allocate(dtype: DType, length: number): DeviceBuffer
  /** Gives a buffer back. Work already queued on it still completes. */
  free(buffer: DeviceBuffer): void
  /** Copies host values into a buffer, starting at element `offset`. */
  write(buffer: DeviceBuffer, dtype: DType, data: HostArray, offset: number): void
  /** A fresh host copy of `length` elements from `offset`. Rejects with the first device error since the last read. */
  read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray>
  /** The same at once, where device memory is host memory (cpu only). */
  readSync?(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): HostArray

  /**
   * Runs an expression program over views of one common shape. Outputs do not overlap one another; an
   * output may be the very same window as an input (in-place update) but never a shifted one.
   */
  elementwise(
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    outputs: readonly View[],
  ): void

  /**
   * Runs a single-output program over views of one common shape `[...outer, ...inner]` and reduces the
   * values over the inner axes into `output` of shape `outer`. An empty inner extent gives the identity
   * (sum 0, prod 1; max and min are refused above). Chunking depends on shape alone: equal bits every run.
   */
  reduce(
    kind: ReduceKind,
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    output: View,
  ): void

  /** Where a launch costs something: see each.ts, which does the same with the two methods above. */
  elementwiseEach?(program: Program, calls: readonly ElementwiseCall[], scalars: readonly number[]): void
  reduceEach?(
    kind: ReduceKind,
    program: Program,
    operands: readonly (readonly View[])[],
    scalars: readonly number[],
    output: View,
  ): void

  /** Kernels that take the place of the composite in nn/attention-core.ts. */
  readonly attention?: AttentionKernels

  /** Kernels that take the place of the loop over steps in nn/recurrent-sequence.ts; float32 only. */
  readonly recurrent?: RecurrentKernels

  /** Runs a row plan as one kernel and says so, or does nothing and returns false: see rows.ts. */
  rows?(plan: RowPlan, call: RowCall): boolean

  /** Index of the largest or smallest element along the last axis; ties to the lowest index, NaN wins. Output int32. */
  argReduce(kind: 'max' | 'min', input: View, output: View): void

  /**
   * Indices (from 0, per line) that sort each line along the last axis. Stable in both directions; NaN last in both;
   * -0 equals 0. `output` is contiguous, int32 and of the input's shape; the input may have any strides.
   */
  argSort(descending: boolean, input: View, output: View): void

  /**
   * Running sums along the last axis, of any strides. A float input gives its own dtype; int32 (wrapping) and bool give
   * int32. Chunking depends on shape alone: equal bits every run.
   */
  cumsum(input: View, output: View): void

  /**
   * `out = a @ b`, or `out += a @ b` with `accumulate`. Shapes `[...batch, M, K]`, `[...batch, K, N]`, `[...batch, M, N]`
   * of equal rank (2 to 8), batch axes already broadcast by zero strides, any strides. K may be 0.
   */
  matmul(a: View, b: View, out: View, accumulate: boolean): void

  /**
   * `out = a @ b` of int8 values, which lie as int8.ts says: a [M, quads] of any row stride, b contiguous panels, out
   * [M, N] of any row stride, all int32. Sums are exact (they wrap as int32 does). With `sevenBits` the values of a are
   * in 0 to 127, which some processors multiply faster. On webgpu b begins at a multiple of 4.
   */
  matmulInt8(a: View, b: View, out: View, sevenBits: boolean): void

  /**
   * Writes float32 rows x [M, K] as the words of the left operand of `matmulInt8`, by the rounding rule of
   * compress/quantize/integers.ts: round(x * reciprocal) + zero, limited to low and high; parameters are float32, [M, 1] of
   * any strides. False, with nothing done, where expressions have to serve.
   */
  packInt8?(x: View, reciprocal: View, zero: View, low: number, high: number, out: View): boolean

  /**
   * Float32 numbers (byte - zero) * scale of such rows; parameters [M, 1] of any strides. False as above.
   */
  unpackInt8?(words: View, scale: View, zero: View, out: View): boolean

  /**
   * `out[.., i, ..] = x[.., index[.., i, ..], ..]` along `dim`. `index` (int32) and `out` have one shape; it equals
   * x's shape except at `dim`. Negative ids do not count from the end. An id out of range: cpu throws IndexError;
   * webgpu writes 0 and reports an IndexError at the next read.
   */
  gather(x: View, dim: number, index: View, out: View): void

  /**
   * `out[.., index[.., i, ..], ..] += src[.., i, ..]` along `dim`, in ascending order of i (no float atomics).
   * `out` is contiguous; `index` and `src` have one shape. Ids out of range as in gather.
   */
  scatterAdd(out: View, dim: number, index: View, src: View): void

  /** Fills a contiguous view with random numbers (float dtypes; int32 for `int`; bool for `bernoulli`). */
  random(kind: RandomKind, seed: number, stream: number, output: View): void

  /**
   * Starts to count and time; the function returned stops it and resolves to the counts once the work asked for until
   * then is done. Where it is missing (cpu) calls of these methods are timed from outside.
   */
  startProfile?(): () => Promise<DeviceProfile>

  /** Resolves when all queued work is done; rejects with a pending device error. */
  synchronize(): Promise<void>
  /** Releases the device and everything on it. */
  destroy(): void
}
