// Transformer encoder (Vaswani et al. 2017), torch.nn.TransformerEncoderLayer and TransformerEncoder.

import { ArgumentError } from '../errors'
import { add, gelu, relu } from '../tensor/ops/elementwise'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from './dropout'
import { LayerNorm } from './layer-norm'
import { Linear } from './linear'
import { Module } from './module'
import { type AttentionMaskOptions, MultiheadAttention } from './multihead-attention'
import { checkSizes, type LayerOptions } from './options'

export interface TransformerEncoderLayerOptions extends LayerOptions {
  /** Width between the two linear layers. Default 2048. */
  dimFeedforward?: number
  /** On the attention weights, after attention, inside and after the feed-forward part. Default 0.1. */
  dropout?: number
  /** Default 'relu'. */
  activation?: 'relu' | 'gelu'
  /** Default 1e-5. */
  layerNormEps?: number
  /** [B, T, E] instead of [T, B, E]. Default false. */
  batchFirst?: boolean
  /** Normalizes what enters attention and feed-forward, rather than the sums after them. Default false. */
  normFirst?: boolean
  /** Default true. */
  bias?: boolean
}

/** Which positions may be looked at. */
export interface TransformerMaskOptions {
  /** As MultiheadAttention's attnMask. */
  mask?: AttentionMaskOptions['attnMask']
  /** As MultiheadAttention's keyPaddingMask: true at padding. */
  srcKeyPaddingMask?: AttentionMaskOptions['keyPaddingMask']
  causal?: boolean
}

/** Self-attention and a feed-forward part, each with dropout, a residual connection and layer normalization. */
export class TransformerEncoderLayer extends Module {
  readonly #options: TransformerEncoderLayerOptions
  selfAttn: MultiheadAttention
  linear1: Linear
  dropout: Dropout
  linear2: Linear
  norm1: LayerNorm
  norm2: LayerNorm
  dropout1: Dropout
  dropout2: Dropout

  constructor(
    readonly dModel: number,
    readonly nhead: number,
    options: TransformerEncoderLayerOptions = {},
  ) {
    super()
    const { dimFeedforward = 2048, dropout = 0.1, activation = 'relu', layerNormEps: eps = 1e-5 } = options
    const { batchFirst = false, bias = true, device, dtype } = options
    checkSizes('TransformerEncoderLayer', { dModel, nhead, dimFeedforward })
    if (activation !== 'relu' && activation !== 'gelu') {
      throw new ArgumentError(
        `TransformerEncoderLayer: unknown activation '${String(activation satisfies never)}'; expected 'relu' or 'gelu'`,
      )
    }
    this.#options = options
    const place = { bias, device, dtype }
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, ...place })
    this.linear1 = new Linear(dModel, dimFeedforward, place)
    this.dropout = new Dropout(dropout)
    this.linear2 = new Linear(dimFeedforward, dModel, place)
    this.norm1 = new LayerNorm(dModel, { eps, ...place })
    this.norm2 = new LayerNorm(dModel, { eps, ...place })
    this.dropout1 = new Dropout(dropout)
    this.dropout2 = new Dropout(dropout)
  }

  /** `src` [T, B, dModel] ([B, T, dModel] if batchFirst) to the same shape. */
  forward(src: Tensor, where: TransformerMaskOptions = {}): Tensor {
    return tidy(() => {
      if (this.#options.normFirst) {
        const x = add(src, this.#attend(this.norm1.forward(src), where))
        return add(x, this.#feed(this.norm2.forward(x)))
      }
      const x = this.norm1.forward(add(src, this.#attend(src, where)))
      return this.norm2.forward(add(x, this.#feed(x)))
    })
  }

  /** A layer of the same options and, like torch's copies, the same values; in parameters of its own. */
  copy(): TransformerEncoderLayer {
    const { device } = this.linear1.weight
    const dtype = this.linear1.weight.dtype as 'float32' | 'float64'
    const twin = new TransformerEncoderLayer(this.dModel, this.nhead, { ...this.#options, device, dtype })
    twin.loadStateDict(this.stateDict())
    return twin
  }

  #attend(x: Tensor, { mask, srcKeyPaddingMask, causal }: TransformerMaskOptions): Tensor {
    const options = { attnMask: mask, keyPaddingMask: srcKeyPaddingMask, causal, needWeights: false }
    return this.dropout1.forward(this.selfAttn.forward(x, x, x, options)[0])
  }

  #feed(x: Tensor): Tensor {
    const activation = this.#options.activation === 'gelu' ? gelu : relu
    const hidden = this.dropout.forward(activation(this.linear1.forward(x)))
    return this.dropout2.forward(this.linear2.forward(hidden))
  }
}

/** `numLayers` copies of a layer, one after another, and `norm` on the result if given. Keys `layers.0.…`, `norm.…`. */
export class TransformerEncoder extends Module {
  layers: TransformerEncoderLayer[]
  norm: LayerNorm | null

  constructor(
    layer: TransformerEncoderLayer,
    numLayers: number,
    { norm = null }: { norm?: LayerNorm | null } = {},
  ) {
    super()
    checkSizes('TransformerEncoder', { numLayers })
    this.layers = Array.from({ length: numLayers }, () => layer.copy())
    this.norm = norm
  }

  forward(src: Tensor, where: TransformerMaskOptions = {}): Tensor {
    return tidy(() => {
      const out = this.layers.reduce((x, layer) => layer.forward(x, where), src)
      return this.norm ? this.norm.forward(out) : out
    })
  }
}
