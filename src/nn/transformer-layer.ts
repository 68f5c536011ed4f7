// What the Transformer's encoder and decoder layers have in common (Vaswani et al. 2017): options, residual connections
// with layer normalization before or after, the feed-forward part, and stacks of copies.

import { ArgumentError } from '../errors'
import { add, gelu, relu } from '../tensor/ops/elementwise'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from './dropout'
import { LayerNorm } from './layer-norm'
import { Linear } from './linear'
import { Module } from './module'
import { type AttentionForwardOptions, MultiheadAttention } from './multihead-attention'
import { checkEps, checkSizes, type LayerOptions } from './options'

export interface TransformerLayerOptions extends LayerOptions {
  /** Width between the two linear layers. Default 2048. */
  dimFeedforward?: number
  /** On the attention weights, after each attention, inside and after the feed-forward part. Default 0.1. */
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

/** Subclasses declare the parts, in torch's order. */
export abstract class TransformerLayer extends Module {
  readonly #options: TransformerLayerOptions
  abstract selfAttn: MultiheadAttention
  abstract linear1: Linear
  abstract dropout: Dropout
  abstract linear2: Linear

  constructor(
    readonly dModel: number,
    readonly nhead: number,
    options: TransformerLayerOptions,
  ) {
    super()
    const { dimFeedforward = 2048, activation = 'relu', layerNormEps = 1e-5 } = options
    const { name } = new.target
    checkSizes(name, { dModel, nhead, dimFeedforward })
    checkEps(name, 'layerNormEps', layerNormEps)
    if (activation !== 'relu' && activation !== 'gelu') {
      throw new ArgumentError(
        `${name}: unknown activation '${String(activation satisfies never)}'; expected 'relu' or 'gelu'`,
      )
    }
    this.#options = options
  }

  /** A layer of the same options and, like torch's copies, the same values; in parameters of its own. */
  copy(): this {
    const { device } = this.linear1.weight
    const dtype = this.linear1.weight.dtype as 'float32' | 'float64'
    const Layer = this.constructor as new (
      dModel: number,
      nhead: number,
      options: TransformerLayerOptions,
    ) => this
    const twin = new Layer(this.dModel, this.nhead, { ...this.#options, device, dtype })
    twin.loadStateDict(this.stateDict())
    return twin
  }

  /** Makers of the parts, as the options say. */
  protected parts(): {
    attention(): MultiheadAttention
    widen(): Linear
    narrow(): Linear
    dropout(): Dropout
    norm(): LayerNorm
  } {
    const { dropout = 0.1, layerNormEps: eps = 1e-5, batchFirst = false, bias = true } = this.#options
    const { dimFeedforward = 2048, device, dtype } = this.#options
    const place = { bias, device, dtype }
    return {
      attention: () => new MultiheadAttention(this.dModel, this.nhead, { dropout, batchFirst, ...place }),
      widen: () => new Linear(this.dModel, dimFeedforward, place),
      narrow: () => new Linear(dimFeedforward, this.dModel, place),
      dropout: () => new Dropout(dropout),
      norm: () => new LayerNorm(this.dModel, { eps, ...place }),
    }
  }

  /** A part of the layer beside a residual connection. */
  protected residual(x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor): Tensor {
    return this.#options.normFirst ? add(x, part(norm.forward(x))) : norm.forward(add(x, part(x)))
  }

  protected attend(x: Tensor, where: Omit<AttentionForwardOptions, 'needWeights'>): Tensor {
    return this.selfAttn.forward(x, x, x, { ...where, needWeights: false })[0]
  }

  protected feed(x: Tensor): Tensor {
    const activation = this.#options.activation === 'gelu' ? gelu : relu
    return this.linear2.forward(this.dropout.forward(activation(this.linear1.forward(x))))
  }
}

/** `numLayers` copies of a layer, and a norm after the last. */
export abstract class TransformerStack<L extends TransformerLayer> extends Module {
  layers: L[]
  norm: LayerNorm | null

  constructor(layer: L, numLayers: number, { norm = null }: { norm?: LayerNorm | null } = {}) {
    super()
    checkSizes(new.target.name, { numLayers })
    this.layers = Array.from({ length: numLayers }, () => layer.copy())
    this.norm = norm
  }

  /** The layers one after another. */
  protected run(x: Tensor, pass: (layer: L, x: Tensor) => Tensor): Tensor {
    return tidy(() => {
      const out = this.layers.reduce((input, layer) => pass(layer, input), x)
      return this.norm ? this.norm.forward(out) : out
    })
  }
}
