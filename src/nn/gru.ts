// The gated recurrent unit (Cho et al. 2014), torch.nn.GRU's variant.

import type { Tensor } from '../tensor/tensor'
import { GRU_CELL } from './recurrent-cells'
import { RecurrentLayer, type RecurrentOptions, type SequenceMask } from './recurrent-layer'

/** Gated recurrent unit over a sequence; the formulas stand in recurrent-cells.ts. Keys and layout are torch.nn.GRU's. */
export class GRU extends RecurrentLayer {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('GRU', GRU_CELL, inputSize, hiddenSize, options)
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
