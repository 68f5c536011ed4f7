// Decoder and encoder-decoder of the published sequence-model study. The classified vector is the first step's.

import { select } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from '../nn/dropout'
import { GRU } from '../nn/gru'
import { Module } from '../nn/module'
import type { LayerOptions } from '../nn/options'
import type { SequenceMask } from '../nn/recurrent-layer'
import { Encoder, type EncoderOptions } from './encoder'
import { SoftAttention } from './soft-attention'
import { checkLikeTokens, checkSequenceMask, checkTokens } from './tokens'

export interface DecoderAttentionOptions extends LayerOptions {
  /** Default 256. */
  hiddenSize?: number
  /** Default 1. */
  numLayers?: number
  /** On the inputs, in training. Default 0. */
  dropout?: number
}

/** Dropout, soft attention over the encoder's outputs, and a GRU over the weighted outputs. */
export class DecoderAttention extends Module {
  dropout: Dropout
  mlpAttn: SoftAttention
  rnn: GRU

  constructor({ hiddenSize = 256, numLayers = 1, dropout = 0, ...options }: DecoderAttentionOptions = {}) {
    super()
    this.dropout = new Dropout(dropout)
    this.mlpAttn = new SoftAttention({ hiddenSize, ...options })
    this.rnn = new GRU(hiddenSize, hiddenSize, { numLayers, batchFirst: true, ...options })
  }

  /**
   * `inputs` [B, L, H], `hidden` [numLayers, B, H], `mask` [B, L] for the attention; `where` for the GRU, which without
   * it runs over padding, as in the study. Returns the outputs [B, L, H] and the last states [numLayers, B, H].
   */
  forward(
    inputs: Tensor,
    hidden: Tensor,
    mask: Tensor | null = null,
    where: SequenceMask = {},
  ): [outputs: Tensor, hidden: Tensor] {
    const [attended] = this.mlpAttn.forward(this.dropout.forward(inputs), hidden, mask)
    return this.rnn.forward(attended, hidden, where)
  }
}

export interface EncoderDecoderOptions extends EncoderOptions {
  /** Leaves the decoder out: the study's first experiment. Default false. */
  encoderOnly?: boolean
}

/** The study's classifier body. 8,603,136 parameters with `encoderOnly`, 9,195,008 without, at the default sizes. */
export class EncoderDecoder extends Module {
  encoder: Encoder
  decoder: DecoderAttention | null

  constructor({ encoderOnly = false, ...options }: EncoderDecoderOptions = {}) {
    super()
    this.encoder = new Encoder(options)
    const { hiddenSize, dropout, device, dtype } = options
    this.decoder = encoderOnly ? null : new DecoderAttention({ hiddenSize, dropout, device, dtype })
  }

  /**
   * `ids` [B, L] int32, `mask` [B, L] bool for the attention; `where` for the recurrent layers. Returns the first
   * step's output [B, H] and the hidden state [1, B, H].
   */
  forward(
    ids: Tensor,
    mask: Tensor | null = null,
    where: SequenceMask = {},
  ): [first: Tensor, hidden: Tensor] {
    checkTokens('EncoderDecoder', ids, { table: this.encoder.embedding.table })
    checkLikeTokens('EncoderDecoder', ids, { mask })
    checkSequenceMask('EncoderDecoder', ids, where)
    return tidy(() => {
      const [outputs, hidden] = this.encoder.forward(ids, null, where)
      if (!this.decoder) return [select(outputs, 1, 0), hidden]
      const [decoded, last] = this.decoder.forward(outputs, hidden, mask, where)
      return [select(decoded, 1, 0), last]
    })
  }
}
