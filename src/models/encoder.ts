// Encoder of the published sequence-model study: embedding, dropout, bidirectional GRU, directions summed.

import { add } from '../tensor/ops/elementwise'
import { chunk } from '../tensor/ops/join'
import { sum } from '../tensor/ops/reduce'
import { zeros } from '../tensor/create'
import type { Tensor } from '../tensor/tensor'
import { tidy } from '../tensor/scope'
import { Dropout } from '../nn/dropout'
import { Embedding } from '../nn/embedding'
import { GRU } from '../nn/gru'
import { Module } from '../nn/module'
import { checkProbability, checkSizes, type LayerOptions } from '../nn/options'
import type { SequenceMask } from '../nn/recurrent-layer'
import { checkSequenceMask, checkTokens } from './tokens'

/** Sizes of the study's models; each has the study's default. */
export interface EncoderOptions extends LayerOptions {
  /** Default 30,522, BERT's. Id 0 is padding. */
  vocabularySize?: number
  /** Default 256. */
  embeddingSize?: number
  /** Default 256. */
  hiddenSize?: number
  /** Default 1. */
  numLayers?: number
  /** On the embeddings, in training. Default 0. */
  dropout?: number
}

/** Token ids [B, L] to outputs [B, L, H] and a hidden state [1, B, H], each the sum over directions (and layers). */
export class Encoder extends Module {
  readonly numLayers: number
  embedding: Embedding
  dropout: Dropout
  rnn: GRU

  constructor({
    vocabularySize = 30522,
    embeddingSize = 256,
    hiddenSize = 256,
    numLayers = 1,
    dropout = 0,
    ...options
  }: EncoderOptions = {}) {
    super()
    checkSizes('Encoder', { vocabularySize, embeddingSize, hiddenSize, numLayers })
    checkProbability('Encoder', 'dropout', dropout)
    this.numLayers = numLayers
    this.embedding = new Embedding(vocabularySize, embeddingSize, { paddingIdx: 0, ...options })
    this.dropout = new Dropout(dropout)
    this.rnn = new GRU(embeddingSize, hiddenSize, {
      numLayers,
      batchFirst: true,
      bidirectional: true,
      ...options,
    })
  }

  get hiddenSize(): number {
    return this.rnn.hiddenSize
  }

  /** Zeros [2 * numLayers, batch, H]. */
  initialStates(batch: number): Tensor {
    const { dtype, device } = this.rnn.parameters()[0]
    return zeros([2 * this.numLayers, batch, this.hiddenSize], { dtype, device })
  }

  /**
   * `ids` [B, L] int32, `hidden` [2 * numLayers, B, H] (default zeros). Without `lengths` or `mask` the GRU runs over
   * padding, as in the study.
   */
  forward(
    ids: Tensor,
    hidden: Tensor | null = null,
    where: SequenceMask = {},
  ): [outputs: Tensor, hidden: Tensor] {
    checkTokens('Encoder', ids, { table: this.embedding.table })
    checkSequenceMask('Encoder', ids, where)
    return tidy(() => {
      const x = this.dropout.forward(this.embedding.forward(ids))
      const [both, last] = this.rnn.forward(x, hidden, where)
      const [forwards, backwards] = chunk(both, 2, 2)
      return [add(forwards, backwards), sum(last, 0, { keepdim: true })]
    })
  }
}
