// What GRU, LSTM and RNN have in common: parameters, layers, directions, lengths and masks.

import { ArgumentError, DTypeError, IndexError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { arange, tensor, zeros } from '../tensor/create'
import { sameDevice } from '../tensor/ops/apply'
import { cat } from '../tensor/ops/join'
import { tidy } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'
import { dropout } from './functional'
import { uniform_ } from './init'
import { Module } from './module'
import { type LayerOptions, newParameter } from './options'
import type { Parameter } from './parameter'
import type { RecurrentCell } from './recurrent-cells'
import type { RecurrentMask, RecurrentWeights } from './recurrent-reference'
import { recurrentSequence } from './recurrent-sequence'

export interface RecurrentOptions extends LayerOptions {
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

/** A recurrent layer over a sequence. Subclasses choose the cell. Keys and layout are torch's. */
export abstract class RecurrentLayer extends Module {
  readonly #name: string
  readonly #cell: RecurrentCell
  readonly inputSize: number
  readonly hiddenSize: number
  readonly numLayers: number
  readonly bias: boolean
  readonly batchFirst: boolean
  readonly dropout: number
  readonly bidirectional: boolean
  /** weightIhL0, weightHhL0, biasIhL0, biasHhL0, weightIhL0Reverse, …, G gates: [G*H, I or D*H], [G*H, H], [G*H], [G*H]. */
  readonly [weight: `weight${string}` | `bias${'Ih' | 'Hh'}${string}`]: Parameter

  constructor(
    name: string,
    cell: RecurrentCell,
    inputSize: number,
    hiddenSize: number,
    options: RecurrentOptions,
  ) {
    super()
    this.#name = name
    this.#cell = cell
    const {
      numLayers = 1,
      bias = true,
      batchFirst = false,
      dropout: p = 0,
      bidirectional = false,
      dtype,
      device,
    } = options
    for (const [what, n] of Object.entries({ inputSize, hiddenSize, numLayers })) {
      if (!Number.isInteger(n) || n < 1)
        throw new ArgumentError(`${this.#name}: ${what} is ${n}; expected a positive integer`)
    }
    if (!(p >= 0 && p < 1))
      throw new ArgumentError(`${this.#name}: dropout is ${p}; expected a probability in [0, 1)`)
    this.inputSize = inputSize
    this.hiddenSize = hiddenSize
    this.numLayers = numLayers
    this.bias = bias
    this.batchFirst = batchFirst
    this.dropout = p
    this.bidirectional = bidirectional
    const bound = 1 / Math.sqrt(hiddenSize)
    const parameter = (shape: number[]): Parameter =>
      uniform_(newParameter(name, shape, { dtype, device }), -bound, bound)
    const rows = cell.gates * hiddenSize
    const own = this as unknown as Record<string, Parameter>
    for (const { layer, suffix } of this.#slots()) {
      const width = layer === 0 ? inputSize : hiddenSize * this.#directions
      own[`weightIh${suffix}`] = parameter([rows, width])
      own[`weightHh${suffix}`] = parameter([rows, hiddenSize])
      if (!bias) continue
      own[`biasIh${suffix}`] = parameter([rows])
      own[`biasHh${suffix}`] = parameter([rows])
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
   * `x` [T, B, I] ([B, T, I] if batchFirst), `first` the named first states [layers*D, B, H], null for zeros. Returns the
   * output [T, B, D*H] ([B, T, D*H]) and the last states, each [layers*D, B, H].
   */
  protected run(
    x: Tensor,
    first: Readonly<Record<string, Tensor | null>>,
    where: SequenceMask,
  ): [output: Tensor, last: Tensor[]] {
    // Masks and first states made here are nobody else's to release.
    return tidy(() => this.#layers(x, first, where))
  }

  #layers(
    x: Tensor,
    first: Readonly<Record<string, Tensor | null>>,
    where: SequenceMask,
  ): [output: Tensor, last: Tensor[]] {
    const D = this.#directions
    const H = this.hiddenSize
    if (x.ndim !== 3 || x.shape[2] !== this.inputSize) {
      const expected = this.batchFirst ? '[batch, time' : '[time, batch'
      throw new ShapeError(
        `${this.#name}: input has shape ${formatShape(x.shape)}${inModule()}; expected ${expected}, ${this.inputSize}]`,
      )
    }
    const steps = this.batchFirst ? x.transpose(0, 1) : x
    const [T, B] = steps.shape
    if (T === 0) throw new ShapeError(`${this.#name}: the sequence has no steps${inModule()}`)
    const shape = [this.numLayers * D, B, H]
    const states: Record<string, Tensor> = {}
    for (const [name, given] of Object.entries(first)) {
      states[name] = given ?? zeros(shape, { dtype: x.dtype, device: x.device })
      if (!sameShape(states[name].shape, shape)) {
        throw new ShapeError(
          `${this.#name}: ${name} has shape ${formatShape(states[name].shape)}${inModule()}; expected ${formatShape(shape)}`,
        )
      }
    }
    const mask = this.#mask(where, T, B, x)
    this.#checkLike(x, states, mask)
    const parameters = this as unknown as Record<string, Parameter | undefined>
    const all = Object.values(states)
    const last: Tensor[][] = all.map(() => [])
    let layerInput = steps
    for (let layer = 0; layer < this.numLayers; layer++) {
      const weights = this.#slots()
        .filter((slot) => slot.layer === layer)
        .map(
          ({ suffix }): RecurrentWeights => ({
            weightIh: parameters[`weightIh${suffix}`] as Parameter,
            weightHh: parameters[`weightHh${suffix}`] as Parameter,
            biasIh: parameters[`biasIh${suffix}`] ?? null,
            biasHh: parameters[`biasHh${suffix}`] ?? null,
          }),
        )
      const own = all.map((t) => t.narrow(0, layer * D, D))
      const result = recurrentSequence(this.#cell, layerInput, own, weights, mask)
      result.last.forEach((t, n) => {
        last[n].push(t)
      })
      layerInput = result.output
      if (layer < this.numLayers - 1 && this.dropout > 0)
        layerInput = dropout(layerInput, { p: this.dropout, training: this.training })
    }
    return [
      this.batchFirst ? layerInput.transpose(0, 1) : layerInput,
      last.map((layers) => (layers.length === 1 ? layers[0] : cat(layers))),
    ]
  }

  /** The kernels of a sequence run on raw memory: nothing after this would notice a mixture. */
  #checkLike(x: Tensor, states: Readonly<Record<string, Tensor>>, mask: RecurrentMask | null): void {
    const parameters = this.parameters()
    sameDevice(this.#name, [...parameters, x, ...Object.values(states), ...(mask ? [mask.keep] : [])])
    const [{ dtype }] = parameters
    for (const [name, t] of Object.entries({ input: x, ...states })) {
      if (t.dtype === dtype) continue
      throw new DTypeError(
        `${this.#name}: ${name} is ${t.dtype}${inModule()}, its parameters are ${dtype}; convert one with to('${dtype}')`,
      )
    }
  }

  #mask({ lengths, mask }: SequenceMask, T: number, B: number, x: Tensor): RecurrentMask | null {
    if (lengths !== undefined && mask !== undefined)
      throw new ArgumentError(`${this.#name}: give lengths or mask, not both`)
    if (mask !== undefined) {
      const expected = this.batchFirst ? [B, T] : [T, B]
      if (formatShape(mask.shape) !== formatShape(expected)) {
        throw new ShapeError(
          `${this.#name}: mask has shape ${formatShape(mask.shape)}${inModule()}; expected ${formatShape(expected)}`,
        )
      }
      const byTime = this.batchFirst ? mask.transpose(0, 1) : mask
      return { keep: byTime.to('bool'), zeroOutput: false }
    }
    if (lengths === undefined) return null
    const given = lengths instanceof Tensor ? lengths : tensor(lengths, { dtype: 'int32', device: x.device })
    if (given.dtype !== 'int32') {
      throw new DTypeError(
        `${this.#name}: lengths are ${given.dtype}${inModule()}; expected int32, convert with to('int32')`,
      )
    }
    if (formatShape(given.shape) !== formatShape([B])) {
      throw new ShapeError(
        `${this.#name}: lengths has shape ${formatShape(given.shape)}${inModule()}; expected ${formatShape([B])}`,
      )
    }
    const { range } = given.storage
    if (range && (range.min < 0 || range.max > T)) {
      throw new IndexError(
        `${this.#name}: lengths from ${range.min} to ${range.max}${inModule()}; the sequence has ${T} steps`,
      )
    }
    return { keep: arange(T, { device: x.device }).unsqueeze(1).lt(given), zeroOutput: true }
  }
}
