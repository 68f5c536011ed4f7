// Transformer decoder (Vaswani et al. 2017), torch.nn.TransformerDecoderLayer and TransformerDecoder: as the encoder, with
// attention to an encoder's output between self-attention and feed-forward part.

import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import type { Dropout } from './dropout'
import type { LayerNorm } from './layer-norm'
import type { Linear } from './linear'
import type { AttentionForwardOptions, MultiheadAttention } from './multihead-attention'
import { TransformerLayer, type TransformerLayerOptions, TransformerStack } from './transformer-layer'

/** Which positions of the target, and of the memory, may be looked at. */
export interface TransformerDecoderMaskOptions {
  /** [T, T] or one for each head, as MultiheadAttention's attnMask. */
  tgtMask?: AttentionForwardOptions['attnMask']
  /** [T, S] or one for each head. */
  memoryMask?: AttentionForwardOptions['attnMask']
  /** [B, T]; true at padding. */
  tgtKeyPaddingMask?: AttentionForwardOptions['keyPaddingMask']
  /** [B, S]; true at padding. A sequence that is all padding gives attention 0. */
  memoryKeyPaddingMask?: AttentionForwardOptions['keyPaddingMask']
  /** Target position t sees target positions 0 to t only. As in torch, default false; true with a cache. */
  causal?: boolean
  /**
   * The positions before `tgt`, for generation; those of `tgt` are added, and masks of the target are [.., all positions].
   * The memory's keys and values are computed once.
   */
  cache?: AttentionForwardOptions['cache']
}

/**
 * Self-attention, attention to a memory, and a feed-forward part, each with dropout, a residual connection and layer
 * normalization. Without a memory, a TransformerEncoderLayer with `causal` is what is wanted.
 */
export class TransformerDecoderLayer extends TransformerLayer {
  selfAttn: MultiheadAttention
  multiheadAttn: MultiheadAttention
  linear1: Linear
  dropout: Dropout
  linear2: Linear
  norm1: LayerNorm
  norm2: LayerNorm
  norm3: LayerNorm
  dropout1: Dropout
  dropout2: Dropout
  dropout3: Dropout

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super(dModel, nhead, options)
    const { attention, widen, dropout, narrow, norm } = this.parts()
    this.selfAttn = attention()
    this.multiheadAttn = attention()
    this.linear1 = widen()
    this.dropout = dropout()
    this.linear2 = narrow()
    this.norm1 = norm()
    this.norm2 = norm()
    this.norm3 = norm()
    this.dropout1 = dropout()
    this.dropout2 = dropout()
    this.dropout3 = dropout()
  }

  /**
   * `tgt` [T, B, dModel] and `memory` [S, B, dModel] ([B, T, ..], [B, S, ..] if batchFirst) to the shape of `tgt`.
   * @throws ShapeError, DTypeError for inputs and masks that do not fit, before anything is computed.
   */
  forward(tgt: Tensor, memory: Tensor, where: TransformerDecoderMaskOptions = {}): Tensor {
    const { causal, cache } = where
    const own = { attnMask: where.tgtMask, keyPaddingMask: where.tgtKeyPaddingMask, causal, cache }
    const others = {
      attnMask: where.memoryMask,
      keyPaddingMask: where.memoryKeyPaddingMask,
      cache,
      needWeights: false,
    }
    this.selfAttn.checkInputs(tgt, tgt, tgt, own)
    this.multiheadAttn.checkInputs(tgt, memory, memory, others)
    return tidy(() => {
      const x = this.residual(tgt, this.norm1, (a) => this.dropout1.forward(this.attend(a, own)))
      const y = this.residual(x, this.norm2, (a) => {
        const [attended] = this.multiheadAttn.forward(a, memory, memory, others)
        return this.dropout2.forward(attended)
      })
      return this.residual(y, this.norm3, (a) => this.dropout3.forward(this.feed(a)))
    })
  }
}

/** `numLayers` copies of a layer, one after another, and `norm` on the result if given. Keys `layers.0.…`, `norm.…`. */
export class TransformerDecoder extends TransformerStack<TransformerDecoderLayer> {
  forward(tgt: Tensor, memory: Tensor, where: TransformerDecoderMaskOptions = {}): Tensor {
    return this.run(tgt, (layer, x) => layer.forward(x, memory, where))
  }
}
