// Post-training quantization of a whole model: calibration, and layers of integers in the places of others.

import { ArgumentError } from '../../errors'
import { Embedding } from '../../nn/embedding'
import { Linear } from '../../nn/linear'
import type { Module } from '../../nn/module'
import type { MultiheadAttention } from '../../nn/multihead-attention'
import { Tensor } from '../../tensor/tensor'
import { recordPass } from '../passes'
import { type ActivationScheme, fullActivationScheme } from './activations'
import { packedProjection } from './attention'
import { QuantizedEmbedding } from './embedding'
import { QuantizedLinear, type WeightScheme } from './linear'
import { MinMaxObserver, type Observer } from './observers'
import { choosePlaces, type LeftAlone, type Place, type Replacement, replaceLayers } from './places'
import type { QuantizationScheme } from './scheme'

/** How `quantize` changes a model. */
export interface QuantizeOptions {
  /** Which layers, by path or as a predicate. Default: every Linear, Embedding and MultiheadAttention that can be. */
  readonly layers?: readonly string[] | ((path: string, layer: Module) => boolean)
  /** Default: a scale for each output, absmax / 127.5. */
  readonly weight?: WeightScheme
  /** Default: int8, affine, each token by the range found in it. `range: 'static'` needs `calibrate`. */
  readonly activations?: ActivationScheme
  /** Runs the model on calibration data, for static ranges: `() => { for (const x of batches) model.forward(x) }`. */
  readonly calibrate?: () => void | Promise<void>
  /** Makes the observers of static ranges. Default: smallest and largest number. */
  readonly observer?: (scheme: QuantizationScheme) => Observer
}

/** What `quantize` did. */
export interface QuantizeReport {
  /** Paths of the layers that compute from integers now. */
  readonly quantized: string[]
  /** Layers of these kinds that were left as they are, and why. */
  readonly left: LeftAlone[]
}

/** Observers of what each projection is given: one for a linear layer, two for attention. */
type Watched = ReadonlyMap<Place, readonly Observer[]>

/**
 * Makes linear layers, embeddings and attention's projections compute from int8 weights, in place, and freezes the
 * parameters that remain: the model is for inference from then on. Weights are symmetric int8, embeddings have a scale for each row.
 * A layer whose weight other code reads directly has to be left out by `layers`.
 * @throws ArgumentError for unknown paths or a static range without calibration; DTypeError for float64 parameters;
 * NonFiniteError for weights or activations that are not finite. The model is as it was then.
 */
export async function quantize(model: Module, options: QuantizeOptions = {}): Promise<QuantizeReport> {
  const { weight = {}, activations = {}, layers, calibrate, observer } = options
  const scheme = fullActivationScheme(activations)
  const { places, left } = choosePlaces(model, layers)
  if (places.length === 0) {
    throw new ArgumentError(
      `quantize: ${model.constructor.name} holds no layer to quantize${model instanceof Linear ? '; use QuantizedLinear.from for a single one' : ''}`,
    )
  }
  const make = observer ?? ((given: QuantizationScheme) => new MinMaxObserver(given))
  const { type, symmetric } = scheme
  const watched: Watched | null =
    scheme.range === 'static' ? await watch(places, () => make({ type, symmetric }), calibrate) : null
  const replacements: (readonly [Place, Replacement])[] = []
  for (const place of places) {
    const replacement = await replacementFor(place, weight, activations)
    const own = watched?.get(place) ?? []
    for (const [i, layer] of linearsOf(replacement).entries()) {
      if (watched) layer.activations.setParams(paramsOf(own[i], place.path))
    }
    replacements.push([place, replacement])
  }
  replaceLayers(replacements)
  model.requiresGrad_(false)
  const quantized = places.map(({ path }) => path)
  recordPass(model, 'quantize', { layers: quantized, weight, activations: scheme })
  return { quantized, left }
}

async function replacementFor(
  { layer, path }: Place,
  weight: WeightScheme,
  activations: ActivationScheme,
): Promise<Replacement> {
  try {
    if (layer instanceof Linear)
      return { kind: 'linear', layer: await QuantizedLinear.from(layer, { weight, activations }) }
    if (layer instanceof Embedding)
      return { kind: 'embedding', layer: await QuantizedEmbedding.from(layer, { weight }) }
    return {
      kind: 'attention',
      inputs: await QuantizedLinear.from(packedProjection(layer), { weight, activations }),
      output: await QuantizedLinear.from(layer.outProj, { weight, activations }),
    }
  } catch (error) {
    if (error instanceof Error) error.message = `${error.message} (layer '${path}')`
    throw error
  }
}

/** The layers whose activations are quantized. */
export function linearsOf(replacement: Replacement): QuantizedLinear[] {
  if (replacement.kind === 'attention') return [replacement.inputs, replacement.output]
  return replacement.kind === 'linear' ? [replacement.layer] : []
}

function paramsOf(observer: Observer | undefined, path: string): ReturnType<Observer['params']> {
  if (observer?.range) return observer.params()
  throw new ArgumentError(
    `quantize: layer '${path}' was not run during calibration; give data that reaches it, or leave it out`,
  )
}

/** Observes what the layers are given while `calibrate` runs the model. */
async function watch(
  places: readonly Place[],
  make: () => Observer,
  calibrate: QuantizeOptions['calibrate'],
): Promise<Watched> {
  if (!calibrate) {
    throw new ArgumentError(
      "quantize: static ranges of activations need calibration data; give `calibrate`, or choose the range 'token'",
    )
  }
  const removals: (() => void)[] = []
  const pending: Promise<void>[] = []
  const observe = (observer: Observer, args: readonly unknown[]): undefined => {
    for (const x of new Set(args)) {
      if (!(x instanceof Tensor)) continue
      const seen = observer.observe(x)
      // Reported below; until then nobody has to wait for it.
      seen.catch(() => {})
      pending.push(seen)
    }
  }
  const watched = new Map<Place, Observer[]>()
  try {
    for (const place of places) {
      const { layer } = place
      if (layer instanceof Embedding) continue
      if (layer instanceof Linear) {
        const observer = make()
        watched.set(place, [observer])
        removals.push(layer.registerForwardHook((_, args) => observe(observer, args)))
      } else {
        const [inputs, output] = [make(), make()]
        watched.set(place, [inputs, output])
        removals.push(
          (layer as MultiheadAttention).registerForwardHook((_, args) => observe(inputs, args.slice(0, 3))),
          layer.outProj.registerForwardHook((_, args) => observe(output, args)),
        )
      }
    }
    await calibrate()
    await Promise.all(pending)
  } finally {
    for (const remove of removals) remove()
  }
  return watched
}
