// The simple recurrent layer (Elman 1990), torch.nn.RNN.

import { ArgumentError } from '../errors'
import type { Tensor } from '../tensor/tensor'
import { RNN_RELU_CELL, RNN_TANH_CELL } from './recurrent-cells'
import { RecurrentLayer, type RecurrentOptions, type SequenceMask } from './recurrent-layer'

export interface RNNOptions extends RecurrentOptions {
  /** Default 'tanh'. */
  nonlinearity?: 'tanh' | 'relu'
}

/** h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Keys and layout are torch.nn.RNN's. */
export class RNN extends RecurrentLayer {
  constructor(inputSize: number, hiddenSize: number, { nonlinearity = 'tanh', ...options }: RNNOptions = {}) {
    if (nonlinearity !== 'tanh' && nonlinearity !== 'relu') {
      throw new ArgumentError(
        `RNN: unknown nonlinearity '${String(nonlinearity satisfies never)}'; expected 'tanh' or 'relu'`,
      )
    }
    super('RNN', nonlinearity === 'tanh' ? RNN_TANH_CELL : RNN_RELU_CELL, inputSize, hiddenSize, options)
  }

  /**
   * `x` [T, B, I] ([B, T, I] if batchFirst), `h0` [layers*D, B, H] (default zeros).
   * Returns the output [T, B, D*H] ([B, T, D*H]) and the last states [layers*D, B, H].
   * @throws ShapeError for inputs of other sizes; DTypeError and DeviceError for inputs unlike the parameters.
   */
  forward(x: Tensor, h0: Tensor | null = null, where: SequenceMask = {}): [output: Tensor, hidden: Tensor] {
    const [output, [hidden]] = this.run(x, { h0 }, where)
    return [output, hidden]
  }
}
