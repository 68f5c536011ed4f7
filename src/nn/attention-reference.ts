// Attention in ordinary ops: the definition that the fused node of attention-core.ts is tested against, and what its
// second derivative differentiates.

import { arange } from '../tensor/create'
import { add, eq, lt, mul, where } from '../tensor/ops/elementwise'
import { matmul } from '../tensor/ops/matmul'
import { softmax } from '../tensor/ops/softmax'
import { permute, reshape, transpose } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'

/** Far below any score, yet finite in float32: a row of nothing else gives no NaN. */
export const FAR_BELOW = -3e38

/** Broadcasts to [B, H, T, S]. */
export interface AttentionMask {
  /** `exclude`: bool, true where a key must not be seen. `add`: added to the scores; -Infinity excludes. */
  readonly kind: 'exclude' | 'add'
  readonly mask: Tensor
}

interface ReferenceOptions {
  readonly masks: readonly AttentionMask[]
  readonly causal: boolean
  readonly offset?: number
  readonly scale: number
  readonly dropout: number
  readonly renormalized?: boolean
}

/**
 * q [B, H, T, d] and k [B, H, S, d] to weights [B, H, T, S]. Excluded keys have weight 0, a row of nothing else is 0.
 * `renormalized: false` takes the softmax over all keys and leaves the rest of the row smaller.
 */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  { masks, causal, offset = 0, scale, renormalized = true }: Omit<ReferenceOptions, 'dropout'>,
): Tensor {
  return tidy(() => {
    const [T, S] = [q.shape[2], k.shape[2]]
    let scores = mul(matmul(q, transpose(k, -1, -2)), scale)
    const excluded = noGrad(() => [
      ...masks.map(({ kind, mask }) => (kind === 'add' ? eq(mask, Number.NEGATIVE_INFINITY) : mask)),
      ...(causal
        ? [
            lt(
              reshape(arange(offset, offset + T, 1, { device: q.device }), [T, 1]),
              arange(S, { device: q.device }),
            ),
          ]
        : []),
    ])
    for (const { kind, mask } of masks) if (kind === 'add') scores = add(scores, mask)
    if (renormalized) for (const out of excluded) scores = where(out, FAR_BELOW, scores)
    let weights = softmax(scores, -1)
    for (const out of excluded) weights = where(out, 0, weights)
    return weights
  })
}

/**
 * q [B, T, H, d], k [B, S, H, d], v [B, S, H, e]; `kept` [B, H, T, S] says which weights dropout keeps. Returns the output
 * [B, T, H, e] and the weights [B, H, T, S] after dropout.
 */
export function attentionReference(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: ReferenceOptions,
  kept: Tensor | null,
): [output: Tensor, weights: Tensor] {
  return tidy(() => {
    const [qs, ks, vs] = [q, k, v].map((t) => permute(t, [0, 2, 1, 3]))
    let weights = attentionWeights(qs, ks, options)
    if (kept) weights = where(kept, mul(weights, options.dropout === 1 ? 0 : 1 / (1 - options.dropout)), 0)
    return [permute(matmul(weights, vs), [0, 2, 1, 3]), weights]
  })
}
