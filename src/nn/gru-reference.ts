// A GRU layer in ordinary ops, step by step: the definition that the fused node of gru-sequence.ts is tested against,
// and what its second derivative differentiates.

import { cat, stack } from '../tensor/ops/join'
import type { Tensor } from '../tensor/tensor'

/** Weights of one direction, as torch lays them out: rows are r, z, n. */
export interface GruWeights {
  /** [3H, I] */
  readonly weightIh: Tensor
  /** [3H, H] */
  readonly weightHh: Tensor
  /** [3H], both or neither. */
  readonly biasIh: Tensor | null
  readonly biasHh: Tensor | null
}

/** Which positions are real. */
export interface GruMask {
  /** [T, B], bool. Where false the state is held. */
  readonly keep: Tensor
  /** Output 0 at masked positions (padding), rather than the held state. */
  readonly zeroOutput: boolean
}

/**
 * `x` [T, B, I], `h0` [D, B, H], one entry of `weights` per direction (the second runs backwards).
 * Returns the output [T, B, D*H] and the last states [D, B, H].
 */
export function gruReference(
  x: Tensor,
  h0: Tensor,
  weights: readonly GruWeights[],
  mask: GruMask | null,
): { output: Tensor; hidden: Tensor } {
  const [T] = x.shape
  const last: Tensor[] = []
  const outputs = weights.map((w, d) => {
    let h = h0.select(0, d)
    const at: Tensor[] = new Array(T)
    for (let s = 0; s < T; s++) {
      const t = d === 0 ? s : T - 1 - s
      const gi = affine(x.select(0, t), w.weightIh, w.biasIh)
      const gh = affine(h, w.weightHh, w.biasHh)
      const [ir, iz, inn] = gi.chunk(3, -1)
      const [hr, hz, hn] = gh.chunk(3, -1)
      const r = ir.add(hr).sigmoid()
      const z = iz.add(hz).sigmoid()
      const n = inn.add(r.mul(hn)).tanh()
      const next = n.sub(z.mul(n)).add(z.mul(h))
      const keep = mask ? mask.keep.select(0, t).unsqueeze(-1) : null
      const held = keep ? keep.where(next, h) : next
      at[t] = keep && mask?.zeroOutput ? keep.where(next, 0) : held
      h = held
    }
    last.push(h)
    return stack(at)
  })
  return { output: cat(outputs, -1), hidden: stack(last) }
}

function affine(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const y = x.matmul(weight.T)
  return bias ? y.add(bias) : y
}
