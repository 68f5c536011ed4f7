// A recurrent layer in ordinary ops, step by step: the definition that the fused node of recurrent-sequence.ts is tested
// against, and what its second derivative differentiates. And the types the two share.

import { cat, stack } from '../tensor/ops/join'
import type { Tensor } from '../tensor/tensor'

/** Weights of one direction, as torch lays them out; G gates, one after another, make the rows. */
export interface RecurrentWeights {
  /** [G*H, I] */
  readonly weightIh: Tensor
  /** [G*H, H] */
  readonly weightHh: Tensor
  /** [G*H], both or neither. */
  readonly biasIh: Tensor | null
  readonly biasHh: Tensor | null
}

/** Which positions are real. */
export interface RecurrentMask {
  /** [T, B], bool. Where false the state is held. */
  readonly keep: Tensor
  /** Output 0 at masked positions (padding), rather than the held state. */
  readonly zeroOutput: boolean
}

export interface RecurrentResult {
  /** [T, B, D*H] */
  readonly output: Tensor
  /** The last states, each [D, B, H]. */
  readonly last: Tensor[]
}

/** The next states of a cell, from its projections of input and state, one tensor per gate, and its states. */
export type RecurrentStep = (
  gi: readonly Tensor[],
  gh: readonly Tensor[],
  states: readonly Tensor[],
) => Tensor[]

/**
 * `x` [T, B, I], `states` each [D, B, H], one entry of `weights` per direction (the second runs backwards). The first
 * state is the output.
 */
export function recurrentReference(
  step: RecurrentStep,
  x: Tensor,
  states: readonly Tensor[],
  weights: readonly RecurrentWeights[],
  mask: RecurrentMask | null,
): RecurrentResult {
  const [T] = x.shape
  const last: Tensor[][] = states.map(() => [])
  const outputs = weights.map((w, d) => {
    let now = states.map((t) => t.select(0, d))
    const gates = w.weightHh.shape[0] / w.weightHh.shape[1]
    const at: Tensor[] = new Array(T)
    for (let s = 0; s < T; s++) {
      const t = d === 0 ? s : T - 1 - s
      const gi = affine(x.select(0, t), w.weightIh, w.biasIh).chunk(gates, -1)
      const gh = affine(now[0], w.weightHh, w.biasHh).chunk(gates, -1)
      const next = step(gi, gh, now)
      const keep = mask ? mask.keep.select(0, t).unsqueeze(-1) : null
      const held = keep ? next.map((value, n) => keep.where(value, now[n])) : next
      at[t] = keep && mask?.zeroOutput ? keep.where(next[0], 0) : held[0]
      now = held
    }
    now.forEach((t, n) => {
      last[n].push(t)
    })
    return stack(at)
  })
  return { output: cat(outputs, -1), last: last.map((ends) => stack(ends)) }
}

function affine(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const y = x.matmul(weight.T)
  return bias ? y.add(bias) : y
}
