// Models in files: a safetensors file whose metadata says what was made of the model since its class built it: which layers
// are left, what is masked, which passes it went through. Sizes follow from the tensors. So the file is loaded into a model
// fresh from its class, of whatever sizes, and the model it was saved from is not needed.

import { BYTES_PER_ELEMENT } from '../backend/types'
import { FormatError } from '../errors'
import {
  openSafetensors,
  type SafetensorsReader,
  saveSafetensors,
  type SerializeOptions,
  serializeSafetensors,
  type TensorToWrite,
} from '../io/safetensors'
import { readTensor, savedByteLength, saveTensors, tensorsToBytes } from '../io/tensors'
import { Module, slotsOf } from '../nn/module'
import {
  type Parametrization,
  type ParametrizationConfig,
  parametrizationsOf,
  parametrize,
  removeParametrization,
} from '../nn/parametrize'
import { Parameter } from '../nn/parameter'
import { tensor, zeros } from '../tensor/create'
import { noGrad } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { breathe, type Tensor } from '../tensor/tensor'
import { type PassRecord, passesOf, setPasses } from './passes'
import { Mask, packBits } from './prune/mask'
import { masked } from './prune/masks'
import { fitLayers, ruleOf } from './prune/rules'
import { countKept } from './prune/select'
import { emptyTrainedMask } from './prune/trained-mask'
import { decodeSparse, encodeSparse, PARTS, smallestFormat, type SparseTensor } from './sparse'

const KEY = 'evenfold.model'
const VERSION = 1

interface Description {
  readonly version: number
  /** Paths of all modules, as the class makes them: without parametrizations. */
  readonly modules: readonly string[]
  readonly parametrizations: readonly {
    readonly name: string
    readonly steps: readonly ParametrizationConfig[]
  }[]
  /** Tensors that are stored in parts, by key; only the kept elements of masked ones. */
  readonly sparse?: Readonly<Record<string, SparseTensor>>
  /** By path: numbers of layers that do not follow from shapes. */
  readonly fields: Readonly<Record<string, Readonly<Record<string, number | null>>>>
  readonly passes: readonly PassRecord[]
}

/** Makes a parametrization of a file's again; its tensors are read into it. */
export type ParametrizationMaker = (original: Parameter, config: ParametrizationConfig) => Parametrization

const MAKERS: Readonly<Record<string, ParametrizationMaker>> = {
  trainedMask: ({ shape, device, dtype }, config) =>
    emptyTrainedMask(shape, config, { device, dtype: dtype as 'float32' | 'float64' }),
  mask: (original) => new Mask(new Uint8Array(original.size).fill(1), { device: original.device }),
}

/** The paths of a model's modules, those of parametrizations left out. */
function modulePaths(model: Module): string[] {
  return model.namedModules().flatMap(([path]) => (/(^|\.)parametrizations(\.|$)/.test(path) ? [] : [path]))
}

function describe(model: Module): Description {
  const parametrizations = parametrizationsOf(model).map(({ name, parametrized }) => ({
    name,
    steps: parametrized.steps.map((step) => step.config()),
  }))
  const fields = fieldsOf(model)
  return { version: VERSION, modules: modulePaths(model), parametrizations, fields, passes: passesOf(model) }
}

function fieldsOf(model: Module): Description['fields'] {
  return Object.fromEntries(
    model.namedModules().flatMap(([path, layer]) => {
      const names = ruleOf(layer)?.fields
      const values = layer as unknown as Record<string, number | null>
      return names ? [[path, Object.fromEntries(names.map((name) => [name, values[name]]))]] : []
    }),
  )
}

/** Sets those fields of layers that their rules name. */
function setFields(model: Module, fields: Description['fields']): void {
  for (const [path, layer] of model.namedModules()) {
    for (const name of ruleOf(layer)?.fields ?? []) {
      const value: unknown = fields[path]?.[name]
      if (value === null || Number.isInteger(value)) Object.assign(layer, { [name]: value })
    }
  }
}

export interface SaveModelOptions extends SerializeOptions {
  /**
   * Stores of masked parameters the elements that are kept alone, with one bit per element or the columns of each row (CSR),
   * whichever is smaller. The pruned originals are lost: a loaded model is masked as before, with 0 behind the mask.
   * Default false.
   */
  sparse?: boolean
}

function withDescription(
  model: Module,
  options: SerializeOptions,
  sparse?: Description['sparse'],
): SerializeOptions {
  const description = { ...describe(model), ...(sparse && { sparse }) }
  return { ...options, metadata: { ...options.metadata, [KEY]: JSON.stringify(description) } }
}

/** What a file of kept elements alone holds. */
async function sparseTensors(model: Module): Promise<{
  tensors: Record<string, TensorToWrite>
  sparse: NonNullable<Description['sparse']>
}> {
  const tensors: Record<string, TensorToWrite> = {}
  const sparse: Record<string, SparseTensor> = {}
  const state = model.stateDict()
  const masks = new Map(masked(model).map(({ parameter, mask }) => [parameter as Tensor, mask]))
  const keyOf = new Map(Object.entries(state).map(([key, t]) => [t, key]))
  /** Bits that are among the parts of what they mask. */
  const told = new Set<Tensor>()
  // A parameter comes before its mask.
  for (const [key, t] of Object.entries(state)) {
    if (told.has(t)) continue
    const mask = masks.get(t)
    const keep = await mask?.keep()
    const format = keep ? smallestFormat(t.shape, countKept(keep), BYTES_PER_ELEMENT[t.dtype]) : 'dense'
    if (!mask || !keep || format === 'dense') {
      tensors[key] = {
        shape: t.shape,
        data: await t.data(),
        ...(t.dtype === 'bool' && { dtype: 'BOOL' as const }),
      }
      continue
    }
    told.add(mask.mask)
    sparse[key] = { format, shape: t.shape, mask: keyOf.get(mask.mask) as string }
    const parts = encodeSparse(format, (await t.data()) as Float32Array | Float64Array, t.shape, keep)
    for (const [part, stored] of Object.entries(parts)) tensors[`${key}.${part}`] = stored
  }
  return { tensors, sparse }
}

/** Writes a model, pruned or not, to a safetensors file; a failure leaves the old file as it was. */
export async function saveModel(path: string, model: Module, options: SaveModelOptions = {}): Promise<void> {
  const { sparse: isSparse, ...rest } = options
  if (!isSparse) {
    await saveTensors(path, model.stateDict(), withDescription(model, rest))
    return
  }
  const { tensors, sparse } = await sparseTensors(model)
  await saveSafetensors(path, tensors, withDescription(model, rest, sparse))
}

/** The bytes that `saveModel` would write. */
export async function modelToBytes(
  model: Module,
  options: SaveModelOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { sparse: isSparse, ...rest } = options
  if (!isSparse) return tensorsToBytes(model.stateDict(), withDescription(model, rest))
  const { tensors, sparse } = await sparseTensors(model)
  return serializeSafetensors(tensors, withDescription(model, rest, sparse))
}

/** How many bytes `saveModel` would write. */
export async function modelByteLength(model: Module, options: SaveModelOptions = {}): Promise<number> {
  const { sparse: isSparse, ...rest } = options
  if (isSparse) return (await modelToBytes(model, options)).byteLength
  return savedByteLength(model.stateDict(), withDescription(model, rest))
}

export interface LoadModelOptions {
  /** How kinds of parametrizations that are not the library's are made. */
  parametrizations?: Readonly<Record<string, ParametrizationMaker>>
}

/**
 * Reads what `saveModel` wrote into a model fresh from its class: layers that are not in the file go, others take the file's
 * sizes, masks are put on. Optimizers are made after it. Returns the model.
 * @throws FormatError for a file of another kind and for tensors that do not fit the model's layers; the model is then as it was.
 */
export async function loadModel<M extends Module>(
  from: string | Blob | Uint8Array,
  model: M,
  { parametrizations = {} }: LoadModelOptions = {},
): Promise<M> {
  const source = typeof from === 'string' ? from : 'model'
  const reader = await openSafetensors(from, source)
  const description = parseDescription(reader, source)
  if (parametrizationsOf(model).length > 0)
    throw new FormatError(
      `${source}: the model has parametrizations already; load into one fresh from its class`,
    )
  const undo: (() => void)[] = []
  const before = new Set(model.parameters())
  const read: Record<string, Tensor> = {}
  try {
    keepModules(model, description.modules, source, undo)
    resize(model, reader, description, source, undo)
    const fields = fieldsOf(model)
    undo.push(() => setFields(model, fields))
    setFields(model, description.fields ?? {})
    for (const { name, steps } of description.parametrizations) {
      const plain = parametrizationsOf(model).some((entry) => entry.name === name)
      // A tied parameter is listed under each of its names.
      if (plain) continue
      for (const config of steps) {
        const make = parametrizations[config.kind] ?? MAKERS[config.kind]
        if (!make)
          throw new FormatError(
            `${source}: '${name}' has a parametrization of kind '${config.kind}'; say how it is made with the option parametrizations`,
          )
        const step = make(parameterAt(model, name, source), config)
        parametrize(model, name, step)
        undo.push(() => removeParametrization(model, name, step))
      }
    }
    const device = model.parameters()[0]?.device
    for (const [key, own] of Object.entries(model.stateDict())) {
      const parts = description.sparse?.[key]
      if (parts) await readSparse(reader, key, parts, own, read)
      else if (reader.describe(key)) read[key] = await readTensor(reader, key, device ? { device } : {})
      await breathe()
    }
    model.loadStateDict(read)
  } catch (error) {
    for (const back of undo.reverse()) back()
    fitLayers(model)
    throw error
  } finally {
    for (const t of Object.values(read)) t.dispose()
  }
  const after = new Set(model.parameters())
  for (const p of before)
    if (!after.has(p)) p.dispose('a parameter that a loaded one of another size replaced')
  setPasses(model, description.passes)
  return model
}

/** Puts a tensor together from its parts, and its mask. */
async function readSparse(
  reader: SafetensorsReader,
  key: string,
  stored: SparseTensor,
  own: Tensor,
  into: Record<string, Tensor>,
): Promise<void> {
  const parts: Record<string, ArrayLike<number>> = {}
  for (const part of PARTS[stored.format]) parts[part] = (await reader.read(`${key}.${part}`)).data
  const { values, keep } = decodeSparse(key, stored, parts)
  const { dtype, device } = own
  into[key] = tensor(values, { shape: stored.shape, dtype, device })
  into[stored.mask] = tensor(packBits(keep), { dtype: 'int32', device })
}

function parseDescription(reader: SafetensorsReader, source: string): Description {
  const text = reader.metadata[KEY]
  if (text === undefined)
    throw new FormatError(
      `${source} was not written by saveModel; read it with io.loadTensors and loadStateDict`,
    )
  let found: Partial<Description>
  try {
    found = JSON.parse(text) as Partial<Description>
  } catch (cause) {
    throw new FormatError(`${source}: the description of the model is not JSON`, { cause })
  }
  if (found.version !== VERSION)
    throw new FormatError(
      `${source}: version ${JSON.stringify(found.version)} of a model; this library reads ${VERSION}`,
    )
  for (const part of ['modules', 'parametrizations', 'passes'] as const) {
    if (!Array.isArray(found[part]))
      throw new FormatError(`${source}: the description of the model has no ${part}`)
  }
  return found as Description
}

/** Shortens lists of layers to those that the file has; otherwise the modules must be the same. */
function keepModules(model: Module, modules: readonly string[], source: string, undo: (() => void)[]): void {
  const wanted = new Set(modules)
  for (const [path, module] of model.namedModules()) {
    for (const { name, member, owner } of slotsOf(module).reverse()) {
      if (!(member instanceof Module) || !Array.isArray(owner)) continue
      if (wanted.has(path === '' ? name : `${path}.${name}`) || owner.at(-1) !== member) continue
      owner.pop()
      undo.push(() => owner.push(member))
    }
  }
  const own = modulePaths(model)
  const missing = own.filter((path) => !wanted.has(path))
  const unexpected = modules.filter((path) => !own.includes(path))
  if (missing.length + unexpected.length === 0) return
  const lines = [
    ...missing.map((path) => `  only in the model: ${path}`),
    ...unexpected.map((path) => `  only in the file: ${path}`),
  ]
  throw new FormatError(
    `${source} was saved from another architecture than ${model.constructor.name}; nothing was loaded.\n${lines.slice(0, 20).join('\n')}`,
  )
}

/** Gives parameters the shapes that the file has; the layers' sizes follow. */
function resize(
  model: Module,
  reader: SafetensorsReader,
  { parametrizations, sparse }: Description,
  source: string,
  undo: (() => void)[],
): void {
  const computed = new Set(parametrizations.map(({ name }) => name))
  const replaced = new Map<Parameter, Parameter>()
  const unfitting: string[] = []
  for (const [path, layer] of model.namedModules()) {
    const prefix = path === '' ? '' : `${path}.`
    for (const { name, member, owner, property } of slotsOf(layer)) {
      if (!(member instanceof Parameter)) continue
      const key = computed.has(prefix + name) ? `${prefix}parametrizations.${name}.original` : prefix + name
      const parts = sparse?.[key]
      const stored = parts ?? reader.describe(key)
      // What is missing altogether is listed with everything else when the tensors are loaded.
      if (!stored || sameShape(stored.shape, member.shape)) continue
      if (!ruleOf(layer)?.fit || stored.shape.length !== member.ndim) {
        unfitting.push(
          `  ${key}: shape ${formatShape(stored.shape)}, the model's is ${formatShape(member.shape)}`,
        )
        continue
      }
      const { device, dtype, requiresGrad } = member
      const next =
        replaced.get(member) ??
        noGrad(() => new Parameter(zeros(stored.shape, { device, dtype }), { requiresGrad }))
      replaced.set(member, next)
      Object.assign(owner, { [property]: next })
      undo.push(() => Object.assign(owner, { [property]: member }))
    }
  }
  if (unfitting.length > 0) {
    throw new FormatError(
      `${source} does not fit ${model.constructor.name}; nothing was loaded.\n${unfitting.slice(0, 20).join('\n')}`,
    )
  }
  fitLayers(model)
}

function parameterAt(model: Module, name: string, source: string): Parameter {
  const found = model.stateDict()[name]
  if (found instanceof Parameter) return found
  throw new FormatError(`${source}: the model has no parameter '${name}' to be parametrized`)
}
