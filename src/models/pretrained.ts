// Weights in Hugging Face's layout: a folder with config.json and model.safetensors, or the two as bytes.

import { platform } from '#platform'
import { FormatError } from '../errors'
import { openSafetensors, type SafetensorsReader } from '../io/safetensors'
import { readTensor } from '../io/tensors'
import type { LayerOptions } from '../nn/options'
import { copyInto } from '../tensor/mutate'
import { noGrad } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { breathe } from '../tensor/tensor'
import {
  BertForMaskedLM,
  BertForSequenceClassification,
  BertModel,
  DistilBertForMaskedLM,
  DistilBertForSequenceClassification,
  DistilBertModel,
} from './bert'
import {
  type BertArchitecture,
  type BertConfig,
  bertParameterShapes,
  chooseArchitecture,
  parseBertConfig,
} from './bert-config'

const MODELS = {
  BertModel,
  BertForMaskedLM,
  BertForSequenceClassification,
  DistilBertModel,
  DistilBertForMaskedLM,
  DistilBertForSequenceClassification,
}

/** The model of an architecture's name. */
export type BertModelOf<A extends BertArchitecture> = InstanceType<(typeof MODELS)[A]>

/** A model of new weights from a parsed config. Default: the architecture that the config names, or the base model. */
export function buildBert<A extends BertArchitecture = BertArchitecture>(
  config: BertConfig,
  { as, ...options }: LayerOptions & { as?: A } = {},
): BertModelOf<A> {
  return new MODELS[chooseArchitecture(config, as)](config, options) as BertModelOf<A>
}

export interface LoadPretrainedOptions<A extends BertArchitecture> extends LayerOptions {
  /**
   * The architecture to build. Default: the one that config.json names, or the base model. Another one takes what the
   * file has of it: a base model out of a model with a head, or a new head on pretrained layers.
   */
  as?: A
}

/** Weights as they are: the text or object of config.json, and the file of weights. */
export interface PretrainedFiles {
  config: string | object
  bytes: Uint8Array | Blob
}

export interface Pretrained<M> {
  model: M
  config: BertConfig
  /** Keys of a head that the file does not have; their parameters are new and want training. */
  newKeys: string[]
  /** Tensors of the file that the model does not use: another head, tables that follow from others. */
  unusedKeys: string[]
}

/**
 * Loads a model from a folder with `config.json` and `model.safetensors` (Node), or from their contents. It comes in
 * evaluation mode.
 * @throws FormatError for an architecture that is not supported, a truncated file, and weights that do not fit the config;
 * before the model is allocated.
 */
export async function loadPretrained<A extends BertArchitecture = BertArchitecture>(
  from: string | PretrainedFiles,
  { as, ...options }: LoadPretrainedOptions<A> = {},
): Promise<Pretrained<BertModelOf<A>>> {
  const named = typeof from === 'string'
  const [configName, weightsName] = ['config.json', 'model.safetensors'].map((name) =>
    named ? `${from}/${name}` : name,
  )
  const text = named ? new TextDecoder().decode(await platform.readFile(configName)) : from.config
  const config = parseBertConfig(text, configName)
  const architecture = chooseArchitecture(config, as)
  const reader = await openSafetensors(named ? weightsName : from.bytes, weightsName)
  const { sources, newKeys, unusedKeys } = matchKeys(reader, config, architecture, weightsName)
  const model = buildBert(config, { as: architecture, ...options })
  const state = model.stateDict()
  try {
    for (const [key, name] of sources) {
      const { device, dtype } = state[key]
      const values = await readTensor(reader, name, { device, dtype: dtype as 'float32' | 'float64' })
      noGrad(() => {
        copyInto(state[key], values)
      })
      values.dispose()
      await breathe()
    }
  } catch (error) {
    for (const parameter of model.parameters()) parameter.dispose()
    throw error
  }
  return { model: model.eval() as BertModelOf<A>, config, newKeys, unusedKeys }
}

/** The tensor of the file for each key of the model. */
function matchKeys(
  reader: SafetensorsReader,
  config: BertConfig,
  architecture: BertArchitecture,
  source: string,
): { sources: Map<string, string>; newKeys: string[]; unusedKeys: string[] } {
  const prefix = `${config.modelType}.`
  const names = new Map<string, string>()
  for (const name of reader.names()) names.set(modernKey(name), name)
  const stored = [...names.keys()]
  const storedPrefix = stored.some((key) => key.startsWith(prefix)) ? prefix : ''
  const ownPrefix = architecture === 'BertModel' || architecture === 'DistilBertModel' ? '' : prefix
  const sources = new Map<string, string>()
  const missing: string[] = []
  const newKeys: string[] = []
  const unfitting: string[] = []
  for (const [key, shape] of Object.entries(bertParameterShapes(config, architecture))) {
    const ofBase = key.startsWith(ownPrefix)
    const name = names.get(ofBase ? storedPrefix + key.slice(ownPrefix.length) : key)
    if (name === undefined) {
      // A pooler and a head may be new; the layers below them may not.
      const isHead = !ofBase || key.includes('pooler.')
      ;(isHead && config.architecture !== architecture ? newKeys : missing).push(key)
      continue
    }
    const { dtype, shape: found } = reader.describe(name)!
    if (!sameShape(found, shape))
      unfitting.push(`${name}: shape ${formatShape(found)}, the config's is ${formatShape(shape)}`)
    else if (!/^(F|BF)/.test(dtype)) unfitting.push(`${name}: ${dtype}, expected floats`)
    sources.set(key, name)
  }
  if (missing.length + unfitting.length > 0) {
    const lines = [
      ...missing.map((key) => `  missing: ${key}`),
      ...unfitting.map((line) => `  does not fit: ${line}`),
    ]
    const shown = lines.length > 20 ? [...lines.slice(0, 20), `  and ${lines.length - 20} more`] : lines
    throw new FormatError(
      `${source}: the weights do not fit ${architecture} of this config; nothing was loaded.\n${shown.join('\n')}`,
    )
  }
  const used = new Set(sources.values())
  return { sources, newKeys, unusedKeys: reader.names().filter((name) => !used.has(name)) }
}

/** Files from TensorFlow's time call a norm's weight and bias gamma and beta. */
function modernKey(name: string): string {
  return name.replace(/LayerNorm\.gamma$/, 'LayerNorm.weight').replace(/LayerNorm\.beta$/, 'LayerNorm.bias')
}
