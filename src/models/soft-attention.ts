// Additive attention of the published sequence-model study (Bahdanau et al. 2015, with a matrix for the vector).

import { ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { add, mul, tanh } from '../tensor/ops/elementwise'
import { matmul } from '../tensor/ops/matmul'
import { sum } from '../tensor/ops/reduce'
import { softmax } from '../tensor/ops/softmax'
import { narrow, select, unsqueeze } from '../tensor/ops/views'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { Dropout } from '../nn/dropout'
import { linear, Linear } from '../nn/linear'
import { maskedSoftmax } from '../nn/masked-softmax'
import { Module } from '../nn/module'
import { checkProbability, checkSizes, type LayerOptions } from '../nn/options'

export interface SoftAttentionOptions extends LayerOptions {
  /** Default 256. */
  hiddenSize?: number
  /** On the attention weights, in training. Default 0. */
  dropout?: number
}

/**
 * Scores every step of `inputs` against the last layer of `hidden`:
 * a = softmax over the steps of sum(V tanh(W [input; hidden])). Masked steps get exactly 0.
 */
export class SoftAttention extends Module {
  static override readonly keys = { W: 'W', V: 'V' }
  W: Linear
  V: Linear
  dropout: Dropout

  constructor({ hiddenSize = 256, dropout = 0, ...options }: SoftAttentionOptions = {}) {
    super()
    checkSizes('SoftAttention', { hiddenSize })
    checkProbability('SoftAttention', 'dropout', dropout)
    this.W = new Linear(2 * hiddenSize, hiddenSize, options)
    this.V = new Linear(hiddenSize, hiddenSize, options)
    this.dropout = new Dropout(dropout)
  }

  /**
   * `inputs` [B, L, H], `hidden` [layers, B, H], `mask` [B, L] bool, true at the steps to look at. Returns the weighted
   * inputs [B, L, H], not summed, and the weights [B, L, 1]; all 0 for a row without a step to look at.
   */
  forward(inputs: Tensor, hidden: Tensor, mask: Tensor | null = null): [attended: Tensor, weights: Tensor] {
    this.#check(inputs, hidden, mask)
    const weights = this.dropout.forward(tidy(() => this.#weights(inputs, hidden, mask)))
    return [mul(weights, inputs), weights]
  }

  #weights(inputs: Tensor, hidden: Tensor, mask: Tensor | null): Tensor {
    const { W, V } = this
    const size = inputs.shape[2]
    // W [input; hidden] = W1 input + W2 hidden: the part that is the same for all steps is computed once.
    const ofSteps = linear(inputs, narrow(W.weight, 1, 0, size), W.bias)
    const ofQuery = linear(select(hidden, 0, hidden.shape[0] - 1), narrow(W.weight, 1, size, size))
    const features = tanh(add(ofSteps, unsqueeze(ofQuery, 1)))
    // sum(V f + b) = (sum of V's rows) f + sum(b): a product with a vector instead of a matrix.
    const scores = matmul(features, unsqueeze(sum(V.weight, 0), 1))
    const shifted = V.bias ? add(scores, sum(V.bias)) : scores
    return mask ? maskedSoftmax(shifted, unsqueeze(mask, 2), 1) : softmax(shifted, 1)
  }

  #check(inputs: Tensor, hidden: Tensor, mask: Tensor | null): void {
    const size = this.W.inFeatures / 2
    if (inputs.ndim !== 3 || inputs.shape[2] !== size) {
      throw new ShapeError(
        `SoftAttention: inputs have shape ${formatShape(inputs.shape)}${inModule()}; expected [batch, steps, ${size}]`,
      )
    }
    const [batch, steps] = inputs.shape
    if (hidden.ndim !== 3 || hidden.shape[0] === 0 || !sameShape(hidden.shape.slice(1), [batch, size])) {
      throw new ShapeError(
        `SoftAttention: hidden has shape ${formatShape(hidden.shape)}${inModule()}; expected [layers, ${batch}, ${size}]`,
      )
    }
    if (mask && !sameShape(mask.shape, [batch, steps])) {
      throw new ShapeError(
        `SoftAttention: mask has shape ${formatShape(mask.shape)}${inModule()}; expected ${formatShape([batch, steps])}`,
      )
    }
  }
}
