// Models in int8 as safetensors files: integers as int8 in the shape of the float weights, their scales beside them, and in
// the metadata which layers they belong to. A float model of the same architecture loads it.
//
// Per layer: `weight` I8, `weight_scale` F32 with one for each output (or row of a table), `bias`; with static ranges
// `activations.scale` F32 and `activations.zero_point` I32. Reciprocals and sums are computed from these when loading.

import type { HostArray } from '../../backend/types'
import { ArgumentError, EvenfoldError, FormatError } from '../../errors'
import { heldDType } from '../../io/tensors'
import {
  openSafetensors,
  type SafetensorsReader,
  saveSafetensors,
  type TensorToWrite,
} from '../../io/safetensors'
import { Embedding } from '../../nn/embedding'
import { Linear } from '../../nn/linear'
import type { Module, StateDict } from '../../nn/module'
import { MultiheadAttention } from '../../nn/multihead-attention'
import { tensor } from '../../tensor/create'
import { formatShape } from '../../tensor/shape'
import { type PassRecord, passesOf, setPasses } from '../passes'
import { type ActivationScheme, fullActivationScheme } from './activations'
import { packedProjection, QuantizedProjection } from './attention'
import { QuantizedEmbedding } from './embedding'
import { type IntegerWeight, QuantizedLinear } from './linear'
import { type Place, placesOf, type Replacement, replaceLayers } from './places'
import { QuantizationParams } from './scheme'

const LAYERS = 'evenfold.quantization'
const PASSES = 'evenfold.passes'

/** A quantized layer in the metadata. */
interface Entry {
  readonly path: string
  readonly kind: Replacement['kind']
  /** Of each linear layer it is made of. */
  readonly activations: readonly ActivationScheme[]
}

interface Quantized {
  readonly entry: Entry
  /** The layers of integers that it is made of. */
  readonly parts: readonly [path: string, layer: QuantizedLinear | QuantizedEmbedding][]
}

/** Quantized layers by path. */
function quantizedLayers(model: Module): Quantized[] {
  const all = model.namedModules()
  const inside = new Set<Module>()
  for (const [, layer] of all) {
    if (layer instanceof MultiheadAttention && layer.inProj instanceof QuantizedProjection) {
      inside.add(layer.inProj.layer)
      inside.add(layer.outProj)
    }
  }
  return all.flatMap(([path, layer]): Quantized[] => {
    if (layer instanceof MultiheadAttention && layer.inProj instanceof QuantizedProjection) {
      const output = layer.outProj as unknown as QuantizedLinear
      const own = [layer.inProj.layer, output]
      const activations = own.map(({ activations: { scheme } }) => scheme)
      const parts: [string, QuantizedLinear][] = [
        [`${path}.in_proj`, own[0]],
        [`${path}.out_proj`, own[1]],
      ]
      return [{ entry: { path, kind: 'attention', activations }, parts }]
    }
    if (inside.has(layer)) return []
    if (layer instanceof QuantizedLinear) {
      const activations = [layer.activations.scheme]
      return [{ entry: { path, kind: 'linear', activations }, parts: [[path, layer]] }]
    }
    if (layer instanceof QuantizedEmbedding) {
      return [{ entry: { path, kind: 'embedding', activations: [] }, parts: [[path, layer]] }]
    }
    return []
  })
}

/**
 * Writes a model that `quantize` changed, and the record of its passes; a failure leaves the old file as it was.
 * @throws ArgumentError if no layer of the model is quantized.
 */
export async function saveQuantized(
  path: string,
  model: Module,
  { metadata = {} }: { metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const layers = quantizedLayers(model)
  if (layers.length === 0) {
    throw new ArgumentError(
      `saveQuantized: no layer of ${model.constructor.name} is quantized; use io.saveTensors for its state dict`,
    )
  }
  const file = new Map<string, TensorToWrite>()
  const parts = layers.flatMap((layer) => layer.parts)
  for (const [name, layer] of parts) {
    const { values, params } = await layer.integers()
    const rows = params.scale.length
    file.set(`${name}.weight`, {
      shape: [rows, values.length / rows],
      data: Int32Array.from(values),
      dtype: 'I8',
    })
    file.set(`${name}.weight_scale`, { shape: [rows], data: params.scale })
    const { scale, wholeZeroPoint } = layer instanceof QuantizedLinear ? layer.activations : {}
    if (!scale || !wholeZeroPoint) continue
    file.set(`${name}.activations.scale`, { shape: [], data: await scale.data() })
    file.set(`${name}.activations.zero_point`, { shape: [], data: await wholeZeroPoint.data() })
  }
  const derived = parts.flatMap(([name]) =>
    ['weight', 'weight_scale', 'weight_sums'].map((key) => `${name}.${key}`),
  )
  const own = new Set(derived)
  for (const [name, t] of Object.entries(model.stateDict())) {
    if (own.has(name) || parts.some(([at]) => name.startsWith(`${at}.activations.`))) continue
    file.set(name, { shape: t.shape, data: await t.data(), ...(t.dtype === 'bool' && { dtype: 'BOOL' }) })
  }
  await saveSafetensors(path, file, {
    metadata: {
      ...metadata,
      [LAYERS]: JSON.stringify(layers.map(({ entry }) => entry)),
      [PASSES]: JSON.stringify(passesOf(model)),
    },
  })
}

/**
 * Loads a file of `saveQuantized` into a float model of the same architecture: its layers become those of the file, its
 * parameters are frozen.
 * @throws FormatError if the file does not fit the model or holds what cannot be (a scale of 0, say). The model is as it was
 * then.
 */
export async function loadQuantized(from: string | Blob | Uint8Array, model: Module): Promise<void> {
  const file = await openSafetensors(from)
  const entries = entriesOf(file)
  const { places } = placesOf(model)
  const taken: (readonly [Place, Replacement])[] = []
  for (const entry of entries) {
    const place = places.find(({ path }) => path === entry.path)
    if (!place || kindOf(place) !== entry.kind) {
      throw new FormatError(
        `loadQuantized: the file has an int8 ${entry.kind} layer '${entry.path}'; ${model.constructor.name} has ${place ? `another kind of layer there` : 'no float layer of that path'}`,
      )
    }
    taken.push([place, await readLayer(file, entry, place)])
  }
  const covered = (name: string): boolean => entries.some(({ path }) => name.startsWith(`${path}.`))
  const own = Object.entries(model.stateDict()).filter(([name]) => covered(name))
  const rest: StateDict = Object.fromEntries(own)
  for (const name of file.names()) {
    if (covered(name)) continue
    const { shape, data, dtype } = await file.read(name)
    rest[name] = tensor(data, { shape, dtype: heldDType(dtype), device: 'cpu' })
  }
  // Throws before anything is changed.
  model.loadStateDict(rest)
  replaceLayers(taken)
  model.requiresGrad_(false)
  setPasses(model, parsed(file, PASSES) as PassRecord[])
}

function kindOf({ layer }: Place): Replacement['kind'] {
  return layer instanceof Linear ? 'linear' : layer instanceof Embedding ? 'embedding' : 'attention'
}

function parsed(file: SafetensorsReader, key: string): unknown[] {
  const text = file.metadata[key]
  if (text === undefined) throw new FormatError(`loadQuantized: the file's metadata has no '${key}'`)
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value)) return value
  } catch {
    // Said below.
  }
  throw new FormatError(`loadQuantized: '${key}' in the file's metadata is no JSON list`)
}

function entriesOf(file: SafetensorsReader): Entry[] {
  return parsed(file, LAYERS).map((one): Entry => {
    const { path, kind, activations } = (one ?? {}) as Partial<Entry>
    const count = { linear: 1, embedding: 0, attention: 2 }[kind as Entry['kind']]
    if (typeof path !== 'string' || count === undefined || activations?.length !== count)
      throw new FormatError(`loadQuantized: '${LAYERS}' describes no layer: ${JSON.stringify(one)}`)
    return { path, kind: kind as Entry['kind'], activations }
  })
}

async function readLayer(file: SafetensorsReader, entry: Entry, { layer }: Place): Promise<Replacement> {
  const { path, activations } = entry
  if (layer instanceof Embedding) {
    const { numEmbeddings: n, embeddingDim: k } = layer
    const made = new QuantizedEmbedding(n, k, { device: layer.weight.device })
    made.setWeight(await readWeight(file, path, n, k))
    return { kind: 'embedding', layer: made }
  }
  if (layer instanceof Linear)
    return { kind: 'linear', layer: await readLinear(file, path, layer, activations[0]) }
  return {
    kind: 'attention',
    inputs: await readLinear(file, `${path}.in_proj`, packedProjection(layer), activations[0]),
    output: await readLinear(file, `${path}.out_proj`, layer.outProj, activations[1]),
  }
}

async function readLinear(
  file: SafetensorsReader,
  path: string,
  { inFeatures, outFeatures, bias, weight }: Pick<Linear, 'inFeatures' | 'outFeatures' | 'bias' | 'weight'>,
  given: ActivationScheme,
): Promise<QuantizedLinear> {
  const scheme = asFormatError(path, () => fullActivationScheme(given))
  const { device } = weight
  const made = new QuantizedLinear(inFeatures, outFeatures, {
    bias: bias !== null,
    activations: scheme,
    device,
  })
  made.setWeight(await readWeight(file, path, outFeatures, inFeatures))
  if (made.bias) {
    const values = await readTensor(file, `${path}.bias`, 'F32', [outFeatures])
    made.loadStateDict({ bias: tensor(values, { device }) }, { strict: false })
  }
  if (scheme.range === 'static') {
    const scale = await readTensor(file, `${path}.activations.scale`, 'F32', [])
    const zero = await readTensor(file, `${path}.activations.zero_point`, 'I32', [])
    const { type, symmetric } = scheme
    made.activations.setParams(
      asFormatError(path, () => new QuantizationParams({ type, symmetric }, scale, zero)),
    )
  }
  return made
}

async function readWeight(
  file: SafetensorsReader,
  path: string,
  n: number,
  k: number,
): Promise<IntegerWeight> {
  const values = Int8Array.from(await readTensor(file, `${path}.weight`, 'I8', [n, k]))
  const scale = await readTensor(file, `${path}.weight_scale`, 'F32', [n])
  const params = asFormatError(path, () => new QuantizationParams({ axis: 0 }, scale, new Int32Array(n)))
  return { values, params }
}

async function readTensor(
  file: SafetensorsReader,
  name: string,
  dtype: string,
  shape: readonly number[],
): Promise<HostArray> {
  const found = file.describe(name)
  if (found?.dtype !== dtype || formatShape(found.shape) !== formatShape(shape)) {
    throw new FormatError(
      `loadQuantized: '${name}' is ${found ? `${found.dtype} ${formatShape(found.shape)}` : 'missing'}; expected ${dtype} ${formatShape(shape)}`,
    )
  }
  return (await file.read(name)).data
}

/** What is wrong with a value is wrong with the file. */
function asFormatError<T>(path: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (error instanceof EvenfoldError)
      throw new FormatError(`loadQuantized: layer '${path}': ${error.message}`, { cause: error })
    throw error
  }
}
