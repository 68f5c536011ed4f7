// Embedding: a table of vectors looked up by id.

import { record } from '../autograd/tape'
import { ArgumentError, DTypeError } from '../errors'
import { inModule } from '../tensor/context'
import { eq, where } from '../tensor/ops/elementwise'
import { checkRange, indexSelect } from '../tensor/ops/indexing'
import { detach, select, unsqueeze } from '../tensor/ops/views'
import { noGrad, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { normal_, zeros_ } from './init'
import { Module } from './module'
import { checkSizes, type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

/**
 * Rows of `weight` [V, E] for int32 `ids` of any shape: [..., E]. Row `paddingIdx` (negative: from the end) gets no
 * gradient.
 * @throws DTypeError for ids that are not int32; IndexError for ids outside 0 … V - 1 (on webgpu, where they were
 * computed on the device, at the next read).
 */
export function embedding(
  ids: Tensor,
  weight: Tensor,
  { paddingIdx = null }: { paddingIdx?: number | null } = {},
): Tensor {
  if (ids.dtype !== 'int32') {
    throw new DTypeError(
      `embedding: ids must be int32, got ${ids.dtype}${inModule()}; convert them with to('int32')`,
    )
  }
  const padding = normalizePadding(paddingIdx, weight.shape[0])
  checkRange('embedding', ids, weight.shape[0], 'id')
  return tidy(() => {
    const rows = indexSelect(weight, 0, ids)
    if (padding === null || !rows.requiresGrad) return rows
    const out = rows.window(rows.offset, rows.shape, rows.strides)
    record('embedding', [rows], [out], [ids], ([g], [at]) => [
      g && where(unsqueeze(eq(at, padding), -1), 0, g),
    ])
    return out
  })
}

function normalizePadding(paddingIdx: number | null, rows: number): number | null {
  if (paddingIdx === null) return null
  if (!Number.isInteger(paddingIdx) || paddingIdx < -rows || paddingIdx >= rows) {
    throw new ArgumentError(`embedding: paddingIdx ${paddingIdx} is out of range for ${rows} rows`)
  }
  return paddingIdx < 0 ? paddingIdx + rows : paddingIdx
}

/** torch.nn.Embedding: ids [...] to vectors [..., embeddingDim]. Starts standard normal, with a zero padding row. */
export class Embedding extends Module {
  readonly numEmbeddings: number
  readonly embeddingDim: number
  /** The id whose vector stays as it is; null: none. */
  readonly paddingIdx: number | null
  /** [numEmbeddings, embeddingDim] */
  weight: Parameter

  constructor(
    numEmbeddings: number,
    embeddingDim: number,
    { paddingIdx = null, ...options }: LayerOptions & { paddingIdx?: number | null } = {},
  ) {
    super()
    checkSizes('Embedding', { numEmbeddings, embeddingDim })
    this.numEmbeddings = numEmbeddings
    this.embeddingDim = embeddingDim
    const padding = normalizePadding(paddingIdx, numEmbeddings)
    this.paddingIdx = padding
    this.weight = normal_(newParameter('Embedding', [numEmbeddings, embeddingDim], options))
    if (padding !== null) {
      noGrad(() => {
        zeros_(select(detach(this.weight), 0, padding))
      })
    }
  }

  /** What holds a row for each id, on the device of the ids. */
  get table(): Tensor {
    return this.weight
  }

  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight, { paddingIdx: this.paddingIdx })
  }
}
