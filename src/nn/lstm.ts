// Long short-term memory (Hochreiter and Schmidhuber 1997), torch.nn.LSTM without projections.

import type { Tensor } from '../tensor/tensor'
import { LSTM_CELL } from './recurrent-cells'
import { RecurrentLayer, type RecurrentOptions, type SequenceMask } from './recurrent-layer'

/** LSTM over a sequence; the formulas stand in recurrent-cells.ts. Keys and layout (gates i, f, g, o) are torch.nn.LSTM's. */
export class LSTM extends RecurrentLayer {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('LSTM', LSTM_CELL, inputSize, hiddenSize, options)
  }

  /**
   * `x` [T, B, I] ([B, T, I] if batchFirst), `first` the hidden and cell states [layers*D, B, H] (default zeros).
   * Returns the output [T, B, D*H] ([B, T, D*H]) and the last hidden and cell states [layers*D, B, H].
   * @throws ShapeError for inputs of other sizes; DTypeError and DeviceError for inputs unlike the parameters.
   */
  forward(
    x: Tensor,
    first: readonly [h0: Tensor, c0: Tensor] | null = null,
    where: SequenceMask = {},
  ): [output: Tensor, last: [hidden: Tensor, cell: Tensor]] {
    const [output, [hidden, cell]] = this.run(x, { h0: first?.[0] ?? null, c0: first?.[1] ?? null }, where)
    return [output, [hidden, cell]]
  }
}
