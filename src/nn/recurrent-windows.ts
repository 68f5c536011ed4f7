// Windows on the buffers of a recurrent layer: which part of each a step touches. Their layouts stand at the head of
// recurrent-sequence.ts.

import type { View } from '../backend/types'
import { copyProgram, Tensor } from '../tensor/tensor'

export interface Sizes {
  readonly T: number
  readonly B: number
  readonly D: number
  readonly H: number
  readonly I: number
}

export function windowOf(
  t: Tensor,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): View {
  return { ...t.view(), offset: t.offset + offset, shape, strides }
}

/** The directions' tensors behind one another: [D, ...]. A single one is not copied. */
export function stacked(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors
  if (tensors.length === 1 && first.isContiguous)
    return first.window(first.offset, [1, ...first.shape], [first.size, ...first.strides])
  const out = Tensor.allocate(first.backend, first.dtype, [tensors.length, ...first.shape])
  tensors.forEach((t, d) => {
    first.backend.elementwise(
      copyProgram(t.dtype),
      [t.view()],
      [],
      [windowOf(out, d * t.size, t.shape, out.strides.slice(1))],
    )
  })
  return out
}

/** Columns [from, from + H) of the rows that step s touches, in a [D, T, B, width] buffer ordered by time. */
export function byTime({ T, B, D, H }: Sizes, t: Tensor, width: number, s: number, from: number): View {
  const flip = (T - 1 - 2 * s) * B * width
  return windowOf(t, s * B * width + from, [D, B, H], [T * B * width + flip, width, 1])
}

/** The same in a buffer ordered by step; `steps` rows of B per direction. */
export function byStep(
  { B, D, H }: Sizes,
  t: Tensor,
  width: number,
  steps: number,
  s: number,
  from: number,
  span = H,
): View {
  return windowOf(t, s * B * width + from, [D, B, span], [steps * B * width, width, 1])
}

/** What step s touches of the output [T, B, D*H]. */
export function outputAt({ T, B, D, H }: Sizes, t: Tensor, s: number): View {
  return windowOf(t, s * B * D * H, [D, B, H], [H + (T - 1 - 2 * s) * B * D * H, D * H, 1])
}

export function maskAt({ T, B, D, H }: Sizes, keep: Tensor, s: number): View {
  const [st, sb] = keep.strides
  return windowOf(keep, s * st, [D, B, H], [(T - 1 - 2 * s) * st, sb, 0])
}

/** [D, rows, cols] of a stacked matrix, or its transpose. */
export function matrix(t: Tensor, transposed: boolean): View {
  const [D, rows, cols] = t.shape
  return transposed ? windowOf(t, 0, [D, cols, rows], [rows * cols, 1, cols]) : t.view()
}

/** State n as step s finds it; the steps after one another are what the last matmuls of backward want. */
export function stateAt(sizes: Sizes, states: Tensor, n: number, s: number): View {
  const { T, B, D, H } = sizes
  const at = byStep(sizes, states, H, T + 1, s, 0)
  return { ...at, offset: at.offset + n * D * (T + 1) * B * H }
}

/** One of N tensors [D, B, H] that lie behind one another. */
export function carryOf({ B, D, H }: Sizes, carry: Tensor, n: number): View {
  return windowOf(carry, n * D * B * H, [D, B, H], [B * H, H, 1])
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
