// What models that read token ids have in common: checks before anything is computed, and which positions are tokens.

import { ArgumentError, DTypeError, IndexError, ShapeError } from '../errors'
import type { SequenceMask } from '../nn/recurrent-layer'
import { inModule } from '../tensor/context'
import { arange, tensor } from '../tensor/create'
import { sameDevice } from '../tensor/ops/apply'
import { lt, ne } from '../tensor/ops/elementwise'
import { checkRange } from '../tensor/ops/indexing'
import { unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'

/** What a model takes. */
export interface TokenLimits {
  /** The table that ids are looked up in, [V, E]. */
  table: Tensor
  /** The longest sequence; default: no limit. */
  positions?: number
  /** The shortest sequence. Default 1. */
  least?: number
  /** Tokens that the model has seen before these. Default 0. */
  past?: number
}

/**
 * @throws ShapeError unless `ids` are [B, L] and L within the limits; DTypeError unless they are int32; DeviceError if they
 * are not where the model is; IndexError for ids outside the vocabulary.
 */
export function checkTokens(
  model: string,
  ids: Tensor,
  { table, positions = Number.POSITIVE_INFINITY, least = 1, past = 0 }: TokenLimits,
): void {
  if (ids.ndim !== 2 || ids.shape[1] < least) {
    throw new ShapeError(
      `${model}: ids have shape ${formatShape(ids.shape)}${inModule()}; expected [batch, time]${least > 0 ? ', at least one token each' : ''}`,
    )
  }
  if (past + ids.shape[1] > positions) {
    throw new ShapeError(
      `${model}: sequences of ${past + ids.shape[1]} tokens are longer than the model's ${positions} positions${inModule()}; truncate them`,
    )
  }
  if (ids.dtype !== 'int32') {
    throw new DTypeError(
      `${model}: ids are ${ids.dtype}${inModule()}; expected int32, convert them with to('int32')`,
    )
  }
  sameDevice(`${model}: ids`, [table, ids])
  checkRange(model, ids, table.shape[0], 'id')
}

/** Checks tensors that say something about each token; those that are null are not there. */
export function checkLikeTokens(
  model: string,
  ids: Tensor,
  others: Readonly<Record<string, Tensor | null>>,
): void {
  for (const [name, t] of Object.entries(others)) {
    if (!t) continue
    if (!sameShape(t.shape, ids.shape)) {
      throw new ShapeError(
        `${model}: ${name} has shape ${formatShape(t.shape)}${inModule()}; expected that of the ids, ${formatShape(ids.shape)}`,
      )
    }
    sameDevice(`${model}: ${name}`, [ids, t])
  }
}

/** Checks `lengths` or `mask` of ids [B, L]. */
export function checkSequenceMask(model: string, ids: Tensor, { lengths, mask }: SequenceMask): void {
  if (lengths && mask) throw new ArgumentError(`${model}: give lengths or mask, not both`)
  if (mask) checkLikeTokens(model, ids, { mask })
  if (!lengths) return
  const [B, L] = ids.shape
  const onDevice = lengths instanceof Tensor
  const shape = onDevice ? lengths.shape : [lengths.length]
  if (!sameShape(shape, [B])) {
    throw new ShapeError(
      `${model}: lengths has shape ${formatShape(shape)}${inModule()}; expected one for each text, ${formatShape([B])}`,
    )
  }
  if (onDevice && lengths.dtype !== 'int32')
    throw new DTypeError(`${model}: lengths are ${lengths.dtype}${inModule()}; expected int32`)
  if (onDevice) sameDevice(`${model}: lengths`, [ids, lengths])
  // Lengths that a device computed cannot be seen here.
  const known = onDevice ? lengths.idRange : { min: Math.min(...lengths), max: Math.max(...lengths) }
  if (known && B > 0 && !(known.min >= 0 && known.max <= L)) {
    throw new IndexError(
      `${model}: lengths from ${known.min} to ${known.max}${inModule()}; expected 0 to ${L}, the texts' tokens with padding`,
    )
  }
}

/** [B, L], true at tokens: by `lengths` or `mask`, or where ids are not 0. `mask` itself where it is given. */
export function tokenMask(ids: Tensor, { lengths, mask }: SequenceMask): Tensor {
  if (mask) return mask
  return tidy(() => {
    if (!lengths) return ne(ids, 0)
    const given =
      lengths instanceof Tensor ? lengths : tensor(lengths, { dtype: 'int32', device: ids.device })
    return lt(arange(ids.shape[1], { device: ids.device }), unsqueeze(given, 1))
  })
}
