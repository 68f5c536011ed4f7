// A text classifier for small data: the study's Transformer, its CLS or the mean of its tokens, one linear layer.

import { ArgumentError } from '../errors'
import { div, maximum, mul } from '../tensor/ops/elementwise'
import { sum } from '../tensor/ops/reduce'
import { narrow, select, unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from '../nn/dropout'
import { normal_ } from '../nn/init'
import { Linear } from '../nn/linear'
import { Module } from '../nn/module'
import { checkProbability, checkSizes, type LayerOptions } from '../nn/options'
import type { SequenceMask } from '../nn/recurrent-layer'
import { checkSequenceMask, checkTokens, tokenMask } from './tokens'
import { Transformer } from './transformer'

export interface TransformerClassifierOptions extends LayerOptions {
  /** Number of token ids; id 0 is padding. */
  vocabularySize: number
  /** Default 2. */
  numClasses?: number
  /** Default 128. */
  embeddingSize?: number
  /** Of the feed-forward parts. Default 128. */
  hiddenSize?: number
  /** Default 4. */
  numHeads?: number
  /** Default 2. */
  numLayers?: number
  /** On the embeddings, in the blocks and before the last layer, in training. Default 0.3. */
  dropout?: number
  /** Tokens a text may have. Default 256. */
  maxLength?: number
  /** Default 'prenorm'. */
  block?: 'prenorm' | 'postnorm'
  /** What stands for the text: the CLS vector (default), or the mean of its tokens. */
  pooling?: 'cls' | 'mean'
}

/** Token ids [B, L] to logits [B, numClasses]. */
export class TransformerClassifier extends Module {
  readonly pooling: 'cls' | 'mean'
  transformer: Transformer
  dropout: Dropout
  linear: Linear

  /** @throws ArgumentError for sizes, heads or names that cannot be. */
  constructor({
    vocabularySize,
    numClasses = 2,
    embeddingSize = 128,
    hiddenSize = 128,
    numHeads = 4,
    numLayers = 2,
    dropout = 0.3,
    maxLength = 256,
    block = 'prenorm',
    pooling = 'cls',
    ...options
  }: TransformerClassifierOptions) {
    super()
    checkSizes('TransformerClassifier', { vocabularySize, numClasses, embeddingSize, hiddenSize, maxLength })
    checkSizes('TransformerClassifier', { numHeads, numLayers })
    checkProbability('TransformerClassifier', 'dropout', dropout)
    if (pooling !== 'cls' && pooling !== 'mean') {
      throw new ArgumentError(
        `TransformerClassifier: unknown pooling '${String(pooling satisfies never)}'; expected 'cls' or 'mean'`,
      )
    }
    this.pooling = pooling
    this.transformer = new Transformer({
      vocabularySize,
      embedDim: embeddingSize,
      hiddenDim: hiddenSize,
      numHeads,
      numLayers,
      dropout,
      block,
      sequenceLength: maxLength,
      ...options,
    })
    // Vectors and positions start small: a word means little until training says so.
    const { embedding, clsToken, posEmbedding } = this.transformer
    for (const table of [embedding.weight, clsToken, posEmbedding]) normal_(table, 0, 0.1)
    this.dropout = new Dropout(dropout)
    this.linear = new Linear(embeddingSize, numClasses, options)
  }

  /**
   * `ids` [B, L] int32, with the `lengths` of the rows, or a `mask` [B, L] that is true at tokens; with neither, ids
   * other than 0 are tokens. Returns logits [B, numClasses]; with `attention: true` also how much the CLS vector (or the
   * mean token) looks at each token in the last block, as the mean of the heads, [B, L]: a row sums to 1 less what goes to
   * CLS itself. Padding changes nothing.
   * @throws ShapeError for more than `maxLength` tokens and for lengths or a mask of another shape; IndexError for ids outside
   * the vocabulary; before anything is computed.
   */
  forward(ids: Tensor, options?: SequenceMask & { attention?: false }): Tensor
  forward(ids: Tensor, options: SequenceMask & { attention: true }): [logits: Tensor, attention: Tensor]
  forward(
    ids: Tensor,
    { lengths, mask, attention = false }: SequenceMask & { attention?: boolean } = {},
  ): Tensor | [Tensor, Tensor] {
    const { transformer } = this
    checkTokens('TransformerClassifier', ids, transformer.limits)
    checkSequenceMask('TransformerClassifier', ids, { lengths, mask })
    return tidy(() => {
      const real = tokenMask(ids, { lengths, mask })
      const states = transformer.hiddenStates(ids, real)
      const pooled = transformer.mlpHead.forward(this.#pool(states.at(-1)!, real))
      const logits = this.linear.forward(this.dropout.forward(pooled))
      if (!attention) return logits
      const weights = this.#pool(transformer.attentionWeights(states, real), real)
      return [logits, narrow(weights, 1, 1, ids.shape[1])]
    })
  }

  /** [B, 1 + L, N] to [B, N]: the row of CLS, or the mean over the tokens (0 for a text without any). */
  #pool(x: Tensor, real: Tensor): Tensor {
    if (this.pooling === 'cls') return select(x, 1, 0)
    const share = real.to(x.dtype)
    const count = maximum(sum(share, 1, { keepdim: true }), 1)
    return div(sum(mul(narrow(x, 1, 1, x.shape[1] - 1), unsqueeze(share, 2)), 1), count)
  }
}
