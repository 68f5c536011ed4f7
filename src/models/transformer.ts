// The Transformer classifier body of the published sequence-model study: a CLS vector before the embedded tokens,
// learned positions, attention blocks, and a normalized CLS at the end.

import { ArgumentError } from '../errors'
import { ones } from '../tensor/create'
import { add, ne } from '../tensor/ops/elementwise'
import { cat } from '../tensor/ops/join'
import { expand, narrow, select } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from '../nn/dropout'
import { Embedding } from '../nn/embedding'
import { normal_ } from '../nn/init'
import { LayerNorm } from '../nn/layer-norm'
import { Module } from '../nn/module'
import { checkMaskPlacement } from '../nn/multihead-attention'
import { checkHeads, checkProbability, checkSizes, newParameter } from '../nn/options'
import type { Parameter } from '../nn/parameter'
import { type AttentionBlockOptions, PostNormAttentionBlock, PreNormAttentionBlock } from './attention-blocks'
import { checkLikeTokens, checkTokens, type TokenLimits } from './tokens'

export interface TransformerOptions extends AttentionBlockOptions {
  /** Default 30,522, BERT's. */
  vocabularySize?: number
  /** Default 256. */
  embedDim?: number
  /** Of the feed-forward parts. Default 256. */
  hiddenDim?: number
  /** Default 1. */
  numHeads?: number
  /** Default 2. */
  numLayers?: number
  /** Default 'prenorm'. */
  block?: 'prenorm' | 'postnorm'
  /** Tokens a sequence may have; there is a position more, for CLS. Default 256. */
  sequenceLength?: number
  /** On the embeddings and in the blocks. Default 0.3. */
  dropout?: number
}

/**
 * Token ids [B, L] to a vector [B, embedDim]. At the default sizes 8,671,744 parameters with 2 layers, 9,463,296 with
 * 4; prenorm or postnorm, and the number of heads, do not change that.
 */
export class Transformer extends Module {
  embedding: Embedding
  /** [1, 1, embedDim] */
  clsToken: Parameter
  /** [1, 1 + sequenceLength, embedDim] */
  posEmbedding: Parameter
  dropout: Dropout
  transformer: (PreNormAttentionBlock | PostNormAttentionBlock)[]
  mlpHead: LayerNorm

  constructor(options: TransformerOptions = {}) {
    super()
    const { vocabularySize = 30522, embedDim = 256, hiddenDim = 256, numHeads = 1, numLayers = 2 } = options
    const { block = 'prenorm', sequenceLength = 256, dropout = 0.3, maskPlacement, device, dtype } = options
    checkSizes('Transformer', { vocabularySize, embedDim, hiddenDim, numHeads, numLayers, sequenceLength })
    if (block !== 'prenorm' && block !== 'postnorm') {
      throw new ArgumentError(
        `Transformer: unknown block '${String(block satisfies never)}'; expected 'prenorm' or 'postnorm'`,
      )
    }
    checkHeads('Transformer', embedDim, numHeads)
    checkProbability('Transformer', 'dropout', dropout)
    if (maskPlacement) checkMaskPlacement('Transformer', maskPlacement)
    const place = { device, dtype }
    this.embedding = new Embedding(vocabularySize, embedDim, place)
    this.clsToken = normal_(newParameter('Transformer', [1, 1, embedDim], place))
    this.posEmbedding = normal_(newParameter('Transformer', [1, 1 + sequenceLength, embedDim], place))
    this.dropout = new Dropout(dropout)
    const Block = block === 'prenorm' ? PreNormAttentionBlock : PostNormAttentionBlock
    this.transformer = Array.from(
      { length: numLayers },
      () => new Block(embedDim, hiddenDim, numHeads, { dropout, maskPlacement, ...place }),
    )
    this.mlpHead = new LayerNorm(embedDim, place)
  }

  /** What the ids must keep to. CLS alone is a sequence too. */
  get limits(): TokenLimits {
    return { table: this.embedding.table, positions: this.posEmbedding.shape[1] - 1, least: 0 }
  }

  /**
   * `ids` [B, L] int32, `mask` [B, L], true (or not 0) at real tokens; CLS is always looked at.
   * @throws ShapeError for more tokens than there are positions and for a mask of another shape; IndexError for ids outside
   * the vocabulary; before anything is computed.
   */
  forward(ids: Tensor, mask: Tensor | null = null): Tensor {
    return tidy(() => this.mlpHead.forward(select(this.hiddenStates(ids, mask).at(-1)!, 1, 0)))
  }

  /** Arguments as of `forward`; what each block reads and, last, what the last one writes: [B, 1 + L, embedDim], CLS first. */
  hiddenStates(ids: Tensor, mask: Tensor | null = null): Tensor[] {
    checkTokens('Transformer', ids, this.limits)
    checkLikeTokens('Transformer', ids, { mask })
    return tidy(() => {
      const [B, L] = ids.shape
      const { clsToken, posEmbedding } = this
      const tokens = cat([expand(clsToken, [B, 1, clsToken.shape[2]]), this.embedding.forward(ids)], 1)
      const x = this.dropout.forward(add(tokens, narrow(posEmbedding, 1, 0, L + 1)))
      const looked = mask && this.#withCls(mask)
      const states = [x]
      for (const block of this.transformer) states.push(block.forward(states.at(-1)!, looked))
      return states
    })
  }

  /**
   * How much each position looks at each in the last block, the mean of its heads: [B, 1 + L, 1 + L], CLS first. `states`
   * are those of `hiddenStates` for the same mask.
   */
  attentionWeights(states: readonly Tensor[], mask: Tensor | null = null): Tensor {
    return tidy(() => this.transformer.at(-1)!.attentionWeights(states.at(-2)!, mask && this.#withCls(mask)))
  }

  #withCls(mask: Tensor): Tensor {
    const tokens = mask.dtype === 'bool' ? mask : ne(mask, 0)
    return cat([ones([mask.shape[0], 1], { dtype: 'bool', device: mask.device }), tokens], 1)
  }
}
