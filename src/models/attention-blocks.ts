// The Transformer blocks of the published sequence-model study: attention and feed-forward, each with a residual
// connection, normalized before (prenorm) or after the sum (postnorm).

import { ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { sameDevice } from '../tensor/ops/apply'
import { add, eq, logicalNot } from '../tensor/ops/elementwise'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { GELU } from '../nn/activation'
import { Sequential } from '../nn/container'
import { Dropout } from '../nn/dropout'
import { uniform_, xavierUniform_ } from '../nn/init'
import { LayerNorm } from '../nn/layer-norm'
import { Linear } from '../nn/linear'
import { Module } from '../nn/module'
import { type MaskPlacement, MultiheadAttention } from '../nn/multihead-attention'
import { checkProbability, checkSizes, type LayerOptions } from '../nn/options'
import type { Parameter } from '../nn/parameter'

export interface AttentionBlockOptions extends LayerOptions {
  /** Inside and after the feed-forward part. Default 0.3 in the postnorm block, 0 in the prenorm one. */
  dropout?: number
  /** As MultiheadAttention's. */
  maskPlacement?: MaskPlacement
}

/** What the two blocks have in common. 395,776 parameters at embedDim = hiddenDim = 256, whatever the heads. */
abstract class AttentionBlock extends Module {
  static override readonly keys = { layerNorm1: 'layer_norm_1', layerNorm2: 'layer_norm_2' }
  layerNorm1: LayerNorm
  attn: MultiheadAttention
  layerNorm2: LayerNorm
  /** Linear, GELU, Dropout, Linear, Dropout. */
  linear: Sequential

  constructor(
    embedDim: number,
    hiddenDim: number,
    numHeads: number,
    { dropout = 0, maskPlacement, ...options }: AttentionBlockOptions,
  ) {
    super()
    checkSizes('AttentionBlock', { embedDim, hiddenDim })
    checkProbability('AttentionBlock', 'dropout', dropout)
    // First, for its checks of heads and options; the order of the keys is that of the fields.
    this.attn = new MultiheadAttention(embedDim, numHeads, { batchFirst: true, maskPlacement, ...options })
    // The study draws each of the four matrices by itself; torch's layer draws three as one, and smaller.
    const bound = Math.sqrt(6 / (2 * embedDim))
    uniform_(this.attn.inProjWeight as Parameter, -bound, bound)
    xavierUniform_(this.attn.outProj.weight)
    this.layerNorm1 = new LayerNorm(embedDim, options)
    this.layerNorm2 = new LayerNorm(embedDim, options)
    this.linear = new Sequential(
      new Linear(embedDim, hiddenDim, options),
      new GELU(),
      new Dropout(dropout),
      new Linear(hiddenDim, embedDim, options),
      new Dropout(dropout),
    )
  }

  /**
   * `x` [B, L, embedDim], `mask` [B, L], true (or not 0) at the positions to look at, to [B, L, embedDim].
   * @throws ShapeError, DTypeError for an input and a mask that do not fit, before anything is computed.
   */
  abstract override forward(x: Tensor, mask?: Tensor | null): Tensor

  /** How much each position of the block's input looks at each, [B, L, L], as the mean of the heads. */
  abstract attentionWeights(x: Tensor, mask?: Tensor | null): Tensor

  protected check(x: Tensor, mask: Tensor | null): void {
    this.attn.checkInputs(x)
    if (!mask) return
    sameDevice('AttentionBlock: mask', [x, mask])
    if (!sameShape(mask.shape, x.shape.slice(0, 2))) {
      throw new ShapeError(
        `AttentionBlock: mask has shape ${formatShape(mask.shape)}${inModule()}; expected ${formatShape(x.shape.slice(0, 2))}`,
      )
    }
  }

  protected attend(x: Tensor, mask: Tensor | null): Tensor {
    return this.attn.forward(x, x, x, { keyPaddingMask: ignored(mask), needWeights: false })[0]
  }

  protected weights(x: Tensor, mask: Tensor | null): Tensor {
    return tidy(() => this.attn.forward(x, x, x, { keyPaddingMask: ignored(mask) })[1]!)
  }
}

function ignored(mask: Tensor | null): Tensor | null {
  return mask && (mask.dtype === 'bool' ? logicalNot(mask) : eq(mask, 0))
}

/** a = x + attn(LN1 x), out = a + FFN(LN2 a). */
export class PreNormAttentionBlock extends AttentionBlock {
  constructor(embedDim: number, hiddenDim: number, numHeads: number, options: AttentionBlockOptions = {}) {
    super(embedDim, hiddenDim, numHeads, { dropout: 0, ...options })
  }

  forward(x: Tensor, mask: Tensor | null = null): Tensor {
    this.check(x, mask)
    return tidy(() => {
      const a = add(x, this.attend(this.layerNorm1.forward(x), mask))
      return add(a, this.linear.forward(this.layerNorm2.forward(a)))
    })
  }

  override attentionWeights(x: Tensor, mask: Tensor | null = null): Tensor {
    return tidy(() => this.weights(this.layerNorm1.forward(x), mask))
  }
}

/** a = LN1(x + attn(x)), out = LN2(a + FFN(a)). */
export class PostNormAttentionBlock extends AttentionBlock {
  constructor(embedDim: number, hiddenDim: number, numHeads: number, options: AttentionBlockOptions = {}) {
    super(embedDim, hiddenDim, numHeads, { dropout: 0.3, ...options })
  }

  forward(x: Tensor, mask: Tensor | null = null): Tensor {
    this.check(x, mask)
    return tidy(() => {
      const a = this.layerNorm1.forward(add(x, this.attend(x, mask)))
      return this.layerNorm2.forward(add(a, this.linear.forward(a)))
    })
  }

  override attentionWeights(x: Tensor, mask: Tensor | null = null): Tensor {
    return this.weights(x, mask)
  }
}
