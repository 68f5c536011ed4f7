// A text classifier that trains well on small data: bidirectional GRU, soft attention over its steps, one linear layer.

import { sum } from '../tensor/ops/reduce'
import { squeeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from '../nn/dropout'
import type { SequenceMask } from '../nn/recurrent-layer'
import { Linear } from '../nn/linear'
import { Module } from '../nn/module'
import { checkProbability, checkSizes, type LayerOptions } from '../nn/options'
import { Encoder } from './encoder'
import { SoftAttention } from './soft-attention'
import { checkSequenceMask, checkTokens, tokenMask } from './tokens'

export interface GRUClassifierOptions extends LayerOptions {
  /** Number of token ids; id 0 is padding. */
  vocabularySize: number
  /** Default 2. */
  numClasses?: number
  /** Default 128. */
  embeddingSize?: number
  /** Default 128. */
  hiddenSize?: number
  /** Default 1. */
  numLayers?: number
  /** On the embeddings and before the last layer, in training. Default 0.3. */
  dropout?: number
}

/** Token ids [B, L] to logits [B, numClasses]. */
export class GRUClassifier extends Module {
  encoder: Encoder
  attention: SoftAttention
  dropout: Dropout
  linear: Linear

  constructor({
    vocabularySize,
    numClasses = 2,
    embeddingSize = 128,
    hiddenSize = 128,
    numLayers = 1,
    dropout = 0.3,
    ...options
  }: GRUClassifierOptions) {
    super()
    checkSizes('GRUClassifier', { vocabularySize, numClasses, embeddingSize, hiddenSize, numLayers })
    checkProbability('GRUClassifier', 'dropout', dropout)
    this.encoder = new Encoder({ vocabularySize, embeddingSize, hiddenSize, numLayers, dropout, ...options })
    this.attention = new SoftAttention({ hiddenSize, ...options })
    this.dropout = new Dropout(dropout)
    this.linear = new Linear(hiddenSize, numClasses, options)
  }

  /**
   * `ids` [B, L] int32, with the `lengths` of the rows, or a `mask` [B, L] that is true at tokens; with neither, ids
   * other than 0 are tokens. Returns logits [B, numClasses]; with `attention: true` also how much each token counted,
   * [B, L]. Padding changes nothing.
   */
  forward(ids: Tensor, options?: SequenceMask & { attention?: false }): Tensor
  forward(ids: Tensor, options: SequenceMask & { attention: true }): [logits: Tensor, attention: Tensor]
  forward(
    ids: Tensor,
    { lengths, mask, attention = false }: SequenceMask & { attention?: boolean } = {},
  ): Tensor | [Tensor, Tensor] {
    const where = { lengths, mask }
    checkTokens('GRUClassifier', ids, { table: this.encoder.embedding.table })
    checkSequenceMask('GRUClassifier', ids, where)
    return tidy(() => {
      const real = tokenMask(ids, where)
      const [outputs, hidden] = this.encoder.forward(ids, null, lengths ? { lengths } : { mask: real })
      const [attended, weights] = this.attention.forward(outputs, hidden, real)
      const logits = this.linear.forward(this.dropout.forward(sum(attended, 1)))
      return attention ? [logits, squeeze(weights, 2)] : logits
    })
  }
}
