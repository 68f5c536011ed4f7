// A table of vectors in int8, each row with a scale of its own.

import { packRows, quadsOf } from '../../backend/int8'
import { DTypeError } from '../../errors'
import type { Embedding } from '../../nn/embedding'
import { Module } from '../../nn/module'
import { checkSizes, type LayerOptions } from '../../nn/options'
import { Buffer } from '../../nn/parameter'
import { inModule } from '../../tensor/context'
import { tensor, zeros } from '../../tensor/create'
import { checkRange, indexSelect } from '../../tensor/ops/indexing'
import { contiguous, reshape } from '../../tensor/ops/views'
import { noGrad, tidy } from '../../tensor/scope'
import type { Tensor } from '../../tensor/tensor'
import { unpackRows } from './int8'
import { checkFloat32, type IntegerWeight, quantizeWeight, type WeightScheme } from './linear'
import { QuantizationParams } from './scheme'

/** torch.nn.Embedding with an int8 table: ids [...] to vectors [..., embeddingDim], float32. A byte per element in memory. */
export class QuantizedEmbedding extends Module {
  static override readonly keys: Readonly<Record<string, string>> = { packed: 'weight' }
  readonly numEmbeddings: number
  readonly embeddingDim: number
  /** int32 [numEmbeddings, quads]: four int8 a word. */
  packed: Buffer
  /** float32 [numEmbeddings] */
  weightScale: Buffer

  /** A table of zeros, to load into; see `QuantizedEmbedding.from`. */
  constructor(numEmbeddings: number, embeddingDim: number, options: Pick<LayerOptions, 'device'> = {}) {
    super()
    checkSizes('QuantizedEmbedding', { numEmbeddings, embeddingDim })
    this.numEmbeddings = numEmbeddings
    this.embeddingDim = embeddingDim
    const make = (shape: readonly number[], dtype: 'int32' | 'float32'): Buffer =>
      tidy(() => new Buffer(zeros(shape, { dtype, ...options })))
    this.packed = make([numEmbeddings, quadsOf(embeddingDim)], 'int32')
    this.weightScale = make([numEmbeddings], 'float32')
  }

  /**
   * A float32 table in int8, a scale for each row.
   * @throws DTypeError for a float64 table; NonFiniteError for vectors that are not finite.
   */
  static async from(
    layer: Embedding,
    { weight = {} }: { weight?: Pick<WeightScheme, 'narrow'> } = {},
  ): Promise<QuantizedEmbedding> {
    checkFloat32('QuantizedEmbedding', layer.weight)
    const { numEmbeddings: n, embeddingDim } = layer
    const values = await layer.weight.data()
    const integers = quantizeWeight(values, n, { narrow: weight.narrow ?? false }, 'the table')
    const made = new QuantizedEmbedding(n, embeddingDim, { device: layer.weight.device })
    made.setWeight(integers)
    return made
  }

  /** Takes over integers [numEmbeddings, embeddingDim] and their scales, one for each row. */
  setWeight({ values, params }: IntegerWeight): void {
    const { device } = this.packed
    const words = packRows(values, this.numEmbeddings, this.embeddingDim)
    noGrad(() =>
      tidy(() => {
        this.packed.copy_(tensor(words, { shape: this.packed.shape, device }))
        this.weightScale.copy_(tensor(params.scale, { device }))
      }),
    )
  }

  /** As of `Embedding`: [numEmbeddings, …]. */
  get table(): Tensor {
    return this.packed
  }

  /** The numbers that the integers stand for, [numEmbeddings, embeddingDim], computed anew: for code that reads them itself. */
  get weight(): Tensor {
    const scale = reshape(this.weightScale, [this.numEmbeddings, 1])
    return noGrad(() =>
      tidy(() => unpackRows(this.packed, this.embeddingDim, scale, zeros([], { device: scale.device }))),
    )
  }

  /** The integers [numEmbeddings, embeddingDim], row after row, and their scales. */
  async integers(): Promise<IntegerWeight> {
    const words = (await this.packed.data()) as Int32Array
    const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength)
    const [rows, width] = [this.numEmbeddings, this.embeddingDim]
    const values = new Int8Array(rows * width)
    const step = bytes.length / rows
    for (let i = 0; i < rows; i++) values.set(bytes.subarray(i * step, i * step + width), i * width)
    const scale = await this.weightScale.data()
    return { values, params: new QuantizationParams({ axis: 0 }, scale, new Int32Array(rows)) }
  }

  /** @throws DTypeError for ids that are not int32; IndexError for ids outside the table. */
  forward(ids: Tensor): Tensor {
    if (ids.dtype !== 'int32')
      throw new DTypeError(`QuantizedEmbedding: ids must be int32, got ${ids.dtype}${inModule()}`)
    checkRange('QuantizedEmbedding', ids, this.numEmbeddings, 'id')
    return noGrad(() =>
      tidy(() => {
        const flat = reshape(ids, [ids.size])
        const words = contiguous(indexSelect(this.packed, 0, flat))
        const scale = reshape(indexSelect(this.weightScale, 0, flat), [ids.size, 1])
        const zero = zeros([], { device: ids.device })
        const rows = unpackRows(words, this.embeddingDim, scale, zero)
        return reshape(rows, [...ids.shape, this.embeddingDim])
      }),
    )
  }
}
