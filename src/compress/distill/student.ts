// Students that begin as some of their teacher's layers, as DistilBERT did.

import { ArgumentError } from '../../errors'
import {
  type BertForMaskedLM,
  BertForSequenceClassification,
  BertModel,
  DistilBertForMaskedLM,
  DistilBertModel,
} from '../../models/bert'
import { BERT_LAYER_KEYS, type BertConfig, DISTILBERT_LAYER_KEYS } from '../../models/bert-config'
import type { StateDict } from '../../nn/module'
import { passesOf, recordPass, setPasses } from '../passes'

/** The layers of BERT-base that DistilBERT began with, as its authors' script has them. */
export const DISTILBERT_LAYERS: readonly number[] = [0, 2, 4, 7, 9, 11]

/**
 * The state dict of a model with some of its layers: `${layers}.${keep[i]}.…` becomes `${layers}.${i}.…`, what belongs to the
 * other layers goes, the rest stays. For a student of any class that has the same keys: the tensors are the teacher's own, and
 * `loadStateDict` copies them.
 *
 * ```ts
 * const student = new TransformerClassifier({ ...options, numLayers: 2 })
 * student.loadStateDict(keepLayers(teacher.stateDict(), 'transformer.transformer', [0, 3]))
 * ```
 * @throws ArgumentError where nothing lies below `layers`, and for layers that are not there, out of order, or none.
 */
export function keepLayers(state: Readonly<StateDict>, layers: string, keep: readonly number[]): StateDict {
  const prefix = layers === '' ? '' : `${layers}.`
  const layerOf = (key: string): [layer: number, rest: string] | null => {
    const [, number, rest] = (key.startsWith(prefix) && /^(\d+)(\..+)$/.exec(key.slice(prefix.length))) || []
    return number === undefined ? null : [Number(number), rest!]
  }
  const found = Object.keys(state).map((key) => layerOf(key)?.[0] ?? -1)
  const count = Math.max(-1, ...found) + 1
  if (count === 0) {
    const some = Object.keys(state).slice(0, 3).join(', ')
    throw new ArgumentError(`keepLayers: no key starts with '${prefix}0.'; the state has ${some} …`)
  }
  checkKept(keep, count)
  return Object.fromEntries(
    Object.entries(state).flatMap(([key, tensor]) => {
      const at = layerOf(key)
      if (!at) return [[key, tensor]]
      const place = keep.indexOf(at[0])
      return place < 0 ? [] : [[`${prefix}${place}${at[1]}`, tensor]]
    }),
  )
}

function checkKept(keep: readonly number[], count: number): void {
  const inOrder = keep.every(
    (layer, i) => Number.isInteger(layer) && layer > (keep[i - 1] ?? -1) && layer < count,
  )
  if (keep.length > 0 && inOrder) return
  throw new ArgumentError(
    `keep is [${keep.join(', ')}]; expected layers of the teacher's ${count}, ascending, from 0 to ${count - 1}`,
  )
}

export interface StudentOptions {
  /**
   * `distilbert`: without token types and pooler, of DistilBERT's classes and keys; not from a classifier, whose head is
   * another one there. Default: the teacher's own class.
   */
  architecture?: 'distilbert'
}

/** The configuration of a student that keeps so many layers. */
export function studentConfig(
  config: BertConfig,
  numLayers: number,
  { architecture }: StudentOptions = {},
): BertConfig {
  if (architecture === undefined || config.modelType === 'distilbert') return { ...config, numLayers }
  const named =
    config.architecture && (`Distil${config.architecture}` as NonNullable<BertConfig['architecture']>)
  return { ...config, modelType: 'distilbert', architecture: named, numLayers, tokenTypes: 0 }
}

/**
 * A student with some layers of a BERT or DistilBERT, initialized from them and from the teacher's embeddings and head; on its
 * device, in its dtype, in training mode. BERT-base and {@link DISTILBERT_LAYERS} with `architecture: 'distilbert'` give
 * DistilBERT's 66,362,880 parameters. Its authors also froze the positions:
 * `student.embeddings.positionEmbeddings.weight.requiresGrad = false`. The sizes are those of the teacher's config: of a pruned
 * teacher make a copy with `loadModel` and `modelToBytes`, and take layers out of it with `removeLayers`.
 * @throws ArgumentError for layers that are not there, out of order or none, before anything is allocated.
 */
export function studentFrom(
  teacher: BertModel,
  keep: readonly number[],
  options: { architecture: 'distilbert' },
): DistilBertModel
export function studentFrom(
  teacher: BertForMaskedLM,
  keep: readonly number[],
  options: { architecture: 'distilbert' },
): DistilBertForMaskedLM
export function studentFrom<M extends BertModel | BertForMaskedLM | BertForSequenceClassification>(
  teacher: M,
  keep: readonly number[],
): M
export function studentFrom(
  teacher: BertModel | BertForMaskedLM | BertForSequenceClassification,
  keep: readonly number[],
  options: StudentOptions = {},
): BertModel | BertForMaskedLM | BertForSequenceClassification {
  const base = teacher instanceof BertModel ? teacher : teacher.bert
  checkKept(keep, base.layers.length)
  const { config } = teacher
  const becomes = options.architecture === 'distilbert' && config.modelType === 'bert'
  if (becomes && teacher instanceof BertForSequenceClassification) {
    throw new ArgumentError(
      "studentFrom: a classifier has another head in DistilBERT; make the student from its 'bert', or keep the architecture",
    )
  }
  const first = teacher.parameters()[0]!
  const place = { device: first.device, dtype: first.dtype as 'float32' | 'float64' }
  const own = studentConfig(config, keep.length, options)
  let student: BertModel | BertForMaskedLM | BertForSequenceClassification
  if (becomes)
    student =
      teacher instanceof BertModel ? new DistilBertModel(own, place) : new DistilBertForMaskedLM(own, place)
  else {
    const Class = teacher.constructor as new (config: BertConfig, options: object) => typeof student
    student = new Class(own, { ...place, pooler: base.pooler !== null })
  }
  const inner = teacher instanceof BertModel ? '' : config.modelType === 'bert' ? 'bert.' : 'distilbert.'
  const layers = `${inner}${config.modelType === 'bert' ? 'encoder' : 'transformer'}.layer`
  const kept = keepLayers(teacher.stateDict(), layers, keep)
  student.loadStateDict(becomes ? distilBertKeys(kept) : kept)
  setPasses(student, passesOf(teacher))
  recordPass(student, 'studentFrom', { keep: [...keep], ...options })
  return student
}

/** BERT's parameters under DistilBERT's keys; token types and pooler have none. */
function distilBertKeys(state: StateDict): StateDict {
  const renamed = Object.entries(BERT_LAYER_KEYS).map(
    ([part, key]) =>
      [`.${key}.`, `.${DISTILBERT_LAYER_KEYS[part as keyof typeof BERT_LAYER_KEYS]}.`] as const,
  )
  const heads = {
    'cls.predictions.transform.dense.': 'vocab_transform.',
    'cls.predictions.transform.LayerNorm.': 'vocab_layer_norm.',
    'cls.predictions.bias': 'vocab_projector.bias',
  }
  const renames = [...renamed, ...Object.entries(heads), ['encoder.layer.', 'transformer.layer.'] as const]
  const entries = Object.entries(state).filter(([key]) => !/token_type_embeddings|pooler/.test(key))
  return Object.fromEntries(
    entries.map(([key, tensor]) => [
      renames.reduce((name, [from, to]) => name.replace(from, to), key.replace(/^bert\./, 'distilbert.')),
      tensor,
    ]),
  )
}
