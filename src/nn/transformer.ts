// Transformer encoder, torch.nn.TransformerEncoderLayer and TransformerEncoder. With `causal` it is a decoder-only
// language model's body, and goes on from a cache.

import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import type { Dropout } from './dropout'
import type { LayerNorm } from './layer-norm'
import type { Linear } from './linear'
import type { AttentionForwardOptions, MultiheadAttention } from './multihead-attention'
import { TransformerLayer, type TransformerLayerOptions, TransformerStack } from './transformer-layer'

/** Which positions may be looked at. */
export interface TransformerMaskOptions {
  /** As MultiheadAttention's attnMask. */
  mask?: AttentionForwardOptions['attnMask']
  /** As MultiheadAttention's keyPaddingMask: true at padding. */
  srcKeyPaddingMask?: AttentionForwardOptions['keyPaddingMask']
  /** Position t sees positions 0 to t only. Default false; true with a cache. */
  causal?: boolean
  /** The positions before `src`, for generation; those of `src` are added. Masks are then [.., all positions]. */
  cache?: AttentionForwardOptions['cache']
}

/** Self-attention and a feed-forward part, each with dropout, a residual connection and layer normalization. */
export class TransformerEncoderLayer extends TransformerLayer {
  selfAttn: MultiheadAttention
  linear1: Linear
  dropout: Dropout
  linear2: Linear
  norm1: LayerNorm
  norm2: LayerNorm
  dropout1: Dropout
  dropout2: Dropout

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super(dModel, nhead, options)
    const { attention, widen, dropout, narrow, norm } = this.parts()
    this.selfAttn = attention()
    this.linear1 = widen()
    this.dropout = dropout()
    this.linear2 = narrow()
    this.norm1 = norm()
    this.norm2 = norm()
    this.dropout1 = dropout()
    this.dropout2 = dropout()
  }

  /**
   * `src` [T, B, dModel] ([B, T, dModel] if batchFirst) to the same shape.
   * @throws ShapeError, DTypeError for an input and masks that do not fit, before anything is computed.
   */
  forward(src: Tensor, { mask, srcKeyPaddingMask, ...where }: TransformerMaskOptions = {}): Tensor {
    const masks = { attnMask: mask, keyPaddingMask: srcKeyPaddingMask, ...where }
    this.selfAttn.checkInputs(src, src, src, masks)
    return tidy(() => {
      const x = this.residual(src, this.norm1, (a) => this.dropout1.forward(this.attend(a, masks)))
      return this.residual(x, this.norm2, (a) => this.dropout2.forward(this.feed(a)))
    })
  }
}

/** `numLayers` copies of a layer, one after another, and `norm` on the result if given. Keys `layers.0.…`, `norm.…`. */
export class TransformerEncoder extends TransformerStack<TransformerEncoderLayer> {
  forward(src: Tensor, where: TransformerMaskOptions = {}): Tensor {
    return this.run(src, (layer, x) => layer.forward(x, where))
  }
}
