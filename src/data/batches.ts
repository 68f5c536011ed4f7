// From host batches to tensors, and their release when the next batch is drawn.

import type { DeviceName } from '../backend/types'
import { tensor } from '../tensor/create'
import type { Tensor } from '../tensor/tensor'
import type { HostBatch } from './loader'

/** A batch on a device: B sequences padded to width L. */
export interface Batch {
  /** int32 [B, L] */
  ids: Tensor
  /** bool [B, L]: true at tokens. */
  mask: Tensor
  /** int32 [B] */
  labels: Tensor
  /** Tokens in each sequence, as recurrent layers take them. */
  lengths: Int32Array
  /** The same batch as host arrays. */
  host: HostBatch
}

const RELEASED = 'batch released when the next one was drawn (ef.keep(tensor) keeps one)'

/**
 * The batches of one epoch as tensors on `device` (default: the one chosen by `init`). The tensors of a
 * batch are released when the next is drawn and when the loop ends, unless `ef.keep`-ed; what a graph
 * still needs of them stays alive with the graph.
 */
export async function* batches(
  loader: AsyncIterable<HostBatch>,
  options: { device?: DeviceName } = {},
): AsyncGenerator<Batch> {
  for await (const host of loader) {
    const { ids, mask, labels, lengths, shape } = host
    const batch: Batch = {
      ids: tensor(ids, { ...options, shape, dtype: 'int32' }),
      mask: tensor(mask, { ...options, shape, dtype: 'bool' }),
      labels: tensor(labels, { ...options, dtype: 'int32' }),
      lengths,
      host,
    }
    try {
      yield batch
    } finally {
      for (const t of [batch.ids, batch.mask, batch.labels]) if (!t.isKept) t.dispose(RELEASED)
    }
  }
}
