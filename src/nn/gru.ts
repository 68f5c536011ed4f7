// The gated recurrent unit (Cho et al. 2014), torch.nn.GRU's variant: layers, directions, lengths and masks.

import { ArgumentError, DTypeError, IndexError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { arange, tensor, zeros } from '../tensor/create'
import { sameDevice } from '../tensor/ops/apply'
import { cat } from '../tensor/ops/join'
import { tidy } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'
import { dropout } from './functional'
import type { GruMask, GruWeights } from './gru-reference'
import { gruSequence } from './gru-sequence'
import { uniform_ } from './init'
import { Module } from './module'
import { type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'

export interface GRUOptions extends LayerOptions {
  /** Layers on top of one another. Default 1. */
  numLayers?: number
  /** Default true. */
  bias?: boolean
  /** Input and output are [B, T, ...] instead of [T, B, ...]. Hidden states are not affected. Default false. */
  batchFirst?: boolean
  /** Dropout on the output of every layer but the last. Default 0. */
  dropout?: number
  /** Adds a second direction; the output holds both, [..., 2H]. Default false. */
  bidirectional?: boolean
}

/** Which positions of the input are real; give one of the two. */
export interface SequenceMask {
  /**
   * Number of real positions per row, right-padded: outputs at padding are 0, the reverse direction starts at each
   * row's own end and the last states are those at the end, as with torch's pack_padded_sequence.
   */
  lengths?: Tensor | Int32Array | readonly number[]
  /** bool, [B, T] if batchFirst, else [T, B]. At false positions the state is held and is the output. */
  mask?: Tensor
}

/** Gated recurrent unit over a sequence; the formulas stand in gru-sequence.ts. Keys and layout are torch.nn.GRU's. */
export class GRU extends Module {
  readonly inputSize: number
  readonly hiddenSize: number
  readonly numLayers: number
  readonly bias: boolean
  readonly batchFirst: boolean
  readonly dropout: number
  readonly bidirectional: boolean
  /** weightIhL0, weightHhL0, biasIhL0, biasHhL0, weightIhL0Reverse, … [3H, I or D*H], [3H, H], [3H], [3H]. */
  readonly [weight: `weight${string}` | `bias${'Ih' | 'Hh'}${string}`]: Parameter

  constructor(inputSize: number, hiddenSize: number, options: GRUOptions = {}) {
    super()
    const {
      numLayers = 1,
      bias = true,
      batchFirst = false,
      dropout: p = 0,
      bidirectional = false,
      dtype,
      device,
    } = options
    for (const [name, n] of Object.entries({ inputSize, hiddenSize, numLayers })) {
      if (!Number.isInteger(n) || n < 1)
        throw new ArgumentError(`GRU: ${name} is ${n}; expected a positive integer`)
    }
    if (!(p >= 0 && p < 1)) throw new ArgumentError(`GRU: dropout is ${p}; expected a probability in [0, 1)`)
    this.inputSize = inputSize
    this.hiddenSize = hiddenSize
    this.numLayers = numLayers
    this.bias = bias
    this.batchFirst = batchFirst
    this.dropout = p
    this.bidirectional = bidirectional
    const bound = 1 / Math.sqrt(hiddenSize)
    const parameter = (shape: number[]): Parameter =>
      uniform_(newParameter('GRU', shape, { dtype, device }), -bound, bound)
    const own = this as unknown as Record<string, Parameter>
    for (const { layer, suffix } of this.#slots()) {
      const width = layer === 0 ? inputSize : hiddenSize * this.#directions
      own[`weightIh${suffix}`] = parameter([3 * hiddenSize, width])
      own[`weightHh${suffix}`] = parameter([3 * hiddenSize, hiddenSize])
      if (!bias) continue
      own[`biasIh${suffix}`] = parameter([3 * hiddenSize])
      own[`biasHh${suffix}`] = parameter([3 * hiddenSize])
    }
  }

  get #directions(): number {
    return this.bidirectional ? 2 : 1
  }

  /** Layers and directions in torch's order, with the ends of their parameters' names. */
  #slots(): { layer: number; suffix: string }[] {
    const ends = this.bidirectional ? ['', 'Reverse'] : ['']
    return Array.from({ length: this.numLayers }, (_, layer) =>
      ends.map((end) => ({ layer, suffix: `L${layer}${end}` })),
    ).flat()
  }

  /**
   * `x` [T, B, I] ([B, T, I] if batchFirst), `h0` [layers*D, B, H] (default zeros).
   * Returns the output [T, B, D*H] ([B, T, D*H]) and the last states [layers*D, B, H].
   * @throws ShapeError for inputs of other sizes; DTypeError and DeviceError for inputs unlike the parameters.
   */
  forward(x: Tensor, h0: Tensor | null = null, where: SequenceMask = {}): [output: Tensor, hidden: Tensor] {
    // Masks and first states made here are nobody else's to release.
    return tidy(() => this.#layers(x, h0, where))
  }

  #layers(x: Tensor, h0: Tensor | null, where: SequenceMask): [output: Tensor, hidden: Tensor] {
    const D = this.#directions
    const H = this.hiddenSize
    if (x.ndim !== 3 || x.shape[2] !== this.inputSize) {
      const expected = this.batchFirst ? '[batch, time' : '[time, batch'
      throw new ShapeError(
        `GRU: input has shape ${formatShape(x.shape)}${inModule()}; expected ${expected}, ${this.inputSize}]`,
      )
    }
    const steps = this.batchFirst ? x.transpose(0, 1) : x
    const [T, B] = steps.shape
    if (T === 0) throw new ShapeError(`GRU: the sequence has no steps${inModule()}`)
    const states = h0 ?? zeros([this.numLayers * D, B, H], { dtype: x.dtype, device: x.device })
    if (formatShape(states.shape) !== formatShape([this.numLayers * D, B, H])) {
      throw new ShapeError(
        `GRU: h0 has shape ${formatShape(states.shape)}${inModule()}; expected ${formatShape([this.numLayers * D, B, H])}`,
      )
    }
    const mask = this.#mask(where, T, B, x)
    this.#checkLike(x, states, mask)
    const own = this as unknown as Record<string, Parameter | undefined>
    const hidden: Tensor[] = []
    let layerInput = steps
    for (let layer = 0; layer < this.numLayers; layer++) {
      const weights = this.#slots()
        .filter((slot) => slot.layer === layer)
        .map(
          ({ suffix }): GruWeights => ({
            weightIh: own[`weightIh${suffix}`] as Parameter,
            weightHh: own[`weightHh${suffix}`] as Parameter,
            biasIh: own[`biasIh${suffix}`] ?? null,
            biasHh: own[`biasHh${suffix}`] ?? null,
          }),
        )
      const result = gruSequence(layerInput, states.narrow(0, layer * D, D), weights, mask)
      hidden.push(result.hidden)
      layerInput = result.output
      if (layer < this.numLayers - 1 && this.dropout > 0)
        layerInput = dropout(layerInput, { p: this.dropout, training: this.training })
    }
    return [
      this.batchFirst ? layerInput.transpose(0, 1) : layerInput,
      hidden.length === 1 ? hidden[0] : cat(hidden),
    ]
  }

  /** The kernels of a sequence run on raw memory: nothing after this would notice a mixture. */
  #checkLike(x: Tensor, h0: Tensor, mask: GruMask | null): void {
    const parameters = this.parameters()
    sameDevice('GRU', [...parameters, x, h0, ...(mask ? [mask.keep] : [])])
    const [{ dtype }] = parameters
    for (const [name, t] of Object.entries({ input: x, h0 })) {
      if (t.dtype === dtype) continue
      throw new DTypeError(
        `GRU: ${name} is ${t.dtype}${inModule()}, its parameters are ${dtype}; convert one with to('${dtype}')`,
      )
    }
  }

  #mask({ lengths, mask }: SequenceMask, T: number, B: number, x: Tensor): GruMask | null {
    if (lengths !== undefined && mask !== undefined)
      throw new ArgumentError('GRU: give lengths or mask, not both')
    if (mask !== undefined) {
      const expected = this.batchFirst ? [B, T] : [T, B]
      if (formatShape(mask.shape) !== formatShape(expected)) {
        throw new ShapeError(
          `GRU: mask has shape ${formatShape(mask.shape)}${inModule()}; expected ${formatShape(expected)}`,
        )
      }
      const byTime = this.batchFirst ? mask.transpose(0, 1) : mask
      return { keep: byTime.to('bool'), zeroOutput: false }
    }
    if (lengths === undefined) return null
    const given = lengths instanceof Tensor ? lengths : tensor(lengths, { dtype: 'int32', device: x.device })
    if (given.dtype !== 'int32') {
      throw new DTypeError(
        `GRU: lengths are ${given.dtype}${inModule()}; expected int32, convert with to('int32')`,
      )
    }
    if (formatShape(given.shape) !== formatShape([B])) {
      throw new ShapeError(
        `GRU: lengths has shape ${formatShape(given.shape)}${inModule()}; expected ${formatShape([B])}`,
      )
    }
    const { range } = given.storage
    if (range && (range.min < 0 || range.max > T)) {
      throw new IndexError(
        `GRU: lengths from ${range.min} to ${range.max}${inModule()}; the sequence has ${T} steps`,
      )
    }
    return { keep: arange(T, { device: x.device }).unsqueeze(1).lt(given), zeroOutput: true }
  }
}
