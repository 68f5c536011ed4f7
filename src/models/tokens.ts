// What models that read token ids have in common: which positions are tokens.

import { ArgumentError } from '../errors'
import type { SequenceMask } from '../nn/recurrent-layer'
import { arange, tensor } from '../tensor/create'
import { lt, ne } from '../tensor/ops/elementwise'
import { unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { Tensor } from '../tensor/tensor'

export function checkSequenceMask(model: string, { lengths, mask }: SequenceMask): void {
  if (lengths && mask) throw new ArgumentError(`${model}: give lengths or mask, not both`)
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
