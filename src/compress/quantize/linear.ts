// A linear layer that computes from int8 weights: activations become integers, the product is exact, its result float32.

import { INT8_PANEL, packPanels, panelShape, unpackPanels } from '../../backend/int8'
import { ArgumentError, DTypeError, GraphError, NonFiniteError, ShapeError } from '../../errors'
import { Module } from '../../nn/module'
import { checkSizes, type LayerOptions } from '../../nn/options'
import { Buffer, Parameter } from '../../nn/parameter'
import { inModule } from '../../tensor/context'
import { tensor, zeros } from '../../tensor/create'
import { contiguous, narrow, reshape, transpose } from '../../tensor/ops/views'
import { gradEnabled, noGrad, tidy } from '../../tensor/scope'
import { formatShape } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import type { LinearLike } from './attention'
import { ActivationQuantizer, type ActivationScheme } from './activations'
import { asRows, columnsOf, int8Product, type PackedWeight, unpackRows } from './int8'
import { integersOf } from './integers'
import { chooseParams, QuantizationParams } from './scheme'

/** How the weight of a layer becomes int8: always symmetric. */
export interface WeightScheme {
  /** A scale for each output (default), or one for all. */
  readonly perChannel?: boolean
  /** Default false; see `QuantizationScheme`. */
  readonly narrow?: boolean
}

export interface QuantizedLinearOptions extends Pick<LayerOptions, 'device'> {
  /** Default true. */
  bias?: boolean
  /** Default: each token by its own range, int8. */
  activations?: ActivationScheme
}

/** Integers of a weight [N, K] with the parameters they stand for. */
export interface IntegerWeight {
  readonly values: Int8Array
  readonly params: QuantizationParams
}

/** @throws NonFiniteError naming `what` for a weight with NaN or infinities. */
export function quantizeWeight(
  values: ArrayLike<number>,
  outputs: number,
  { perChannel = true, narrow = false }: WeightScheme,
  what: string,
): IntegerWeight {
  const size = perChannel ? values.length / outputs : values.length
  const slices = values.length / size
  const min = new Float32Array(slices).fill(Infinity)
  const max = new Float32Array(slices).fill(-Infinity)
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new NonFiniteError(`quantize: ${what} holds ${values[i]}; nothing was changed`)
    const at = Math.floor(i / size)
    min[at] = Math.min(min[at], values[i])
    max[at] = Math.max(max[at], values[i])
  }
  const params = chooseParams(min, max, { narrow, axis: perChannel ? 0 : null })
  return { values: Int8Array.from(integersOf(values, params, size)), params }
}

/**
 * torch.nn.Linear with an int8 weight: [..., inFeatures] to [..., outFeatures], float32. The weight takes a byte per element
 * in memory. Inference only.
 */
export class QuantizedLinear extends Module {
  static override readonly keys: Readonly<Record<string, string>> = { packed: 'weight' }
  readonly inFeatures: number
  readonly outFeatures: number
  readonly activations: ActivationQuantizer
  /** int32 [panels, quads, 8]: four int8 a word, see src/backend/int8.ts. */
  packed: Buffer
  /** float32 [outFeatures] */
  weightScale: Buffer
  /** int32 [outFeatures]: the sums of the integers of each output. */
  weightSums: Buffer
  /** [outFeatures] */
  bias: Parameter | null

  /** A layer of zeros, to load into; see `QuantizedLinear.from`. */
  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true, activations = {}, device }: QuantizedLinearOptions = {},
  ) {
    super()
    checkSizes('QuantizedLinear', { inFeatures, outFeatures })
    const where = device ? { device } : {}
    const make = (shape: readonly number[], dtype: 'int32' | 'float32'): Buffer =>
      tidy(() => new Buffer(zeros(shape, { dtype, ...where })))
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    this.activations = new ActivationQuantizer(activations, where)
    this.packed = make(panelShape(inFeatures, outFeatures), 'int32')
    this.weightScale = make([outFeatures], 'float32')
    this.weightSums = make([outFeatures], 'int32')
    this.bias = bias ? tidy(() => new Parameter(zeros([outFeatures], where), { requiresGrad: false })) : null
  }

  /**
   * A float32 layer in int8; its bias is copied. With a static range of activations their parameters have to be set next.
   * @throws DTypeError for a float64 layer; NonFiniteError for weights that are not finite.
   */
  static async from(
    layer: LinearLike,
    { weight = {}, activations = {} }: { weight?: WeightScheme; activations?: ActivationScheme } = {},
  ): Promise<QuantizedLinear> {
    const { inFeatures, outFeatures, bias } = layer
    checkFloat32('QuantizedLinear', layer.weight)
    const { device } = layer.weight
    const integers = quantizeWeight(await layer.weight.data(), outFeatures, weight, 'the weight')
    const made = new QuantizedLinear(inFeatures, outFeatures, { bias: bias !== null, activations, device })
    made.setWeight(integers)
    if (bias && made.bias) noGrad(() => (made.bias as Parameter).copy_(bias))
    made.training = layer.training
    return made
  }

  /** Takes over integers [outFeatures, inFeatures] and their scales. */
  setWeight({ values, params }: IntegerWeight): void {
    const { inFeatures: k, outFeatures: n } = this
    if (values.length !== n * k || params.zeroPoint.some((z) => z !== 0)) {
      throw new ArgumentError(
        `QuantizedLinear: ${values.length} integers with zero points ${[...new Set(params.zeroPoint)].join(', ')}; expected ${n} x ${k} and zero points of 0`,
      )
    }
    const sums = Int32Array.from({ length: n }, (_, j) =>
      values.subarray(j * k, (j + 1) * k).reduce((sum, q) => sum + q, 0),
    )
    const scales = Float32Array.from({ length: n }, (_, j) => params.scale[j % params.scale.length])
    const { device } = this.packed
    noGrad(() =>
      tidy(() => {
        this.packed.copy_(tensor(packPanels(values, n, k), { shape: this.packed.shape, device }))
        this.weightScale.copy_(tensor(scales, { device }))
        this.weightSums.copy_(tensor(sums, { device }))
      }),
    )
  }

  /** The numbers that the integers stand for, [outFeatures, inFeatures], computed anew: for code that reads weights itself. */
  get weight(): Tensor {
    const [panels, quads, columns] = this.packed.shape
    const n = this.outFeatures
    return noGrad(() =>
      tidy(() => {
        const rows = reshape(contiguous(transpose(this.packed, 1, 2)), [panels * columns, quads])
        const scale = reshape(this.weightScale, [n, 1])
        const zero = zeros([], { device: scale.device })
        return unpackRows(narrow(rows, 0, 0, n), this.inFeatures, scale, zero)
      }),
    )
  }

  /** The integers [outFeatures, inFeatures], row after row, and their scales, one for each output. */
  async integers(): Promise<IntegerWeight> {
    const words = (await this.packed.data()) as Int32Array
    const scale = await this.weightScale.data()
    const params = new QuantizationParams({ axis: 0 }, scale, new Int32Array(scale.length))
    return { values: unpackPanels(words, this.outFeatures, this.inFeatures), params }
  }

  /** @throws GraphError for an input that requires a gradient; DTypeError and ShapeError for one that does not fit. */
  forward(input: Tensor): Tensor {
    return this.rows(input, 0, this.outFeatures)
  }

  /** Outputs `start` to `start + length` only. */
  rows(input: Tensor, start: number, length: number): Tensor {
    checkInput('QuantizedLinear', input, this.inFeatures)
    const { packed: words, weightScale: scale, weightSums: sums, bias } = this
    return noGrad(() =>
      tidy(() => {
        const x = asRows(input)
        const all: PackedWeight = { words, scale, sums }
        const params = this.activations.forward(x)
        const shape = [...input.shape.slice(0, -1), length]
        if (length === this.outFeatures) return reshape(int8Product(x, params, all, bias), shape)
        // A panel cannot be divided.
        const first = start - (start % INT8_PANEL)
        const end = Math.min(this.outFeatures, Math.ceil((start + length) / INT8_PANEL) * INT8_PANEL)
        const own = bias && narrow(bias, 0, first, end - first)
        const out = int8Product(x, params, columnsOf(all, first, end - first), own)
        return reshape(narrow(out, 1, start - first, length), shape)
      }),
    )
  }
}

/** @throws DTypeError unless a layer's parameters are float32. */
export function checkFloat32(layer: string, { dtype }: Tensor): void {
  if (dtype !== 'float32')
    throw new DTypeError(`${layer}: parameters are ${dtype}; convert the model with to('float32') first`)
}

/** What quantized layers ask of an input [..., width]. */
export function checkInput(layer: string, input: Tensor, width: number): void {
  if (input.dtype !== 'float32')
    throw new DTypeError(`${layer}: the input is ${input.dtype}${inModule()}; expected float32`)
  if (input.ndim === 0 || input.shape[input.ndim - 1] !== width) {
    throw new ShapeError(
      `${layer}: input of shape ${formatShape(input.shape)}${inModule()}; its last axis must have ${width} elements`,
    )
  }
  if (input.requiresGrad && gradEnabled()) {
    throw new GraphError(
      `${layer}: the input requires a gradient${inModule()}, and integers have none; run inside noGrad, or train with fake quantization`,
    )
  }
}
