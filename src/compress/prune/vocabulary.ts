// Vocabulary trimming: the rows of an embedding that no text needs go, and tokenizers number their tokens anew.

import { ArgumentError } from '../../errors'
import { BertForMaskedLM } from '../../models/bert'
import { Llama } from '../../models/llama'
import { Embedding } from '../../nn/embedding'
import type { Module } from '../../nn/module'
import { namedOriginals, originalOf } from '../../nn/parametrize'
import { Vocabulary } from '../../text/vocabulary'
import { recordPass } from '../passes'
import { Cuts, removeCuts } from './cuts'
import { cutsOf } from './rules'

export interface TrimVocabularyOptions {
  /** Ids that stay, in any order; they keep their order among one another. Special tokens are not added by themselves. */
  keep: Iterable<number>
  /** Path of the embedding. Default: the only one. */
  embedding?: string
  /**
   * Further parameters with a row per token: an output layer that is not tied to the embedding, a bias per token. Those of the
   * library's language models are known.
   */
  alsoRows?: readonly string[]
}

/** From old ids to new ones. */
export interface TrimmedVocabulary {
  /** New id of each old one, -1 where it is gone. */
  newIds: Int32Array
  /** Old id of each new one. */
  oldIds: Int32Array
}

/**
 * Removes the embedding rows of all other tokens. Texts of kept tokens, in their new ids, give what they gave before; logits
 * over the vocabulary have fewer columns. Optimizers made before hold parameters that are gone: make new ones.
 * @throws ArgumentError for ids outside the vocabulary, none, a padding token that would go, and an unknown path; before
 * anything is changed.
 */
export async function trimVocabulary(
  model: Module,
  options: TrimVocabularyOptions,
): Promise<TrimmedVocabulary> {
  const [path, table] = embeddingOf(model, options.embedding)
  const rows = table.numEmbeddings
  const kept = [...new Set(options.keep)].sort((a, b) => a - b)
  const wrong = kept.find((id) => !Number.isInteger(id) || id < 0 || id >= rows)
  if (wrong !== undefined || kept.length === 0) {
    throw new ArgumentError(
      `trimVocabulary: keep ${wrong === undefined ? 'is empty' : `holds ${wrong}`}; expected ids from 0 to ${rows - 1} of '${path}'`,
    )
  }
  const { paddingIdx } = table
  if (paddingIdx !== null && !kept.includes(paddingIdx))
    throw new ArgumentError(`trimVocabulary: keep lacks ${paddingIdx}, the padding token of '${path}'`)
  const oldIds = Int32Array.from(kept)
  const newIds = new Int32Array(rows).fill(-1)
  oldIds.forEach((old, i) => {
    newIds[old] = i
  })
  const parameters = parametersPerToken(model, rows, options.alsoRows ?? [])
  const gone = [...newIds.keys()].filter((id) => newIds[id] < 0)
  const cuts = gone.flatMap((index) => [
    ...cutsOf(table, ['weight'], 0, index),
    ...parameters.map((parameter) => ({ parameter, axis: 0, index })),
  ])
  if (cuts.length > 0) {
    const change = await removeCuts(model, new Cuts(cuts))
    change.settle()
    if (paddingIdx !== null) Object.assign(table, { paddingIdx: newIds[paddingIdx] })
  }
  recordPass(model, 'trimVocabulary', { embedding: path, from: rows, to: kept.length })
  return { newIds, oldIds }
}

function embeddingOf(model: Module, wanted: string | undefined): [path: string, table: Embedding] {
  const tables = model
    .namedModules()
    .filter((entry): entry is [string, Embedding] => entry[1] instanceof Embedding)
  const found = tables.filter(([path]) => wanted === undefined || path === wanted)
  if (found.length === 1) return found[0]
  const paths = tables.map(([path]) => `'${path}'`).join(', ') || 'none'
  throw new ArgumentError(
    `trimVocabulary: ${wanted === undefined ? 'embedding is not given' : `there is no embedding '${wanted}'`}; ${model.constructor.name} has ${paths}`,
  )
}

/** What else has a row for each token. */
function parametersPerToken(model: Module, rows: number, names: readonly string[]) {
  const all = namedOriginals(model)
  const known = model
    .modules()
    .flatMap((m) =>
      m instanceof BertForMaskedLM
        ? [originalOf(m, 'decoderBias')]
        : m instanceof Llama && m.output
          ? [originalOf(m.output, 'weight')]
          : [],
    )
  const given = names.map((name) => {
    const [, parameter] = all.find(([key]) => key === name) ?? []
    if (parameter?.shape[0] === rows) return parameter
    throw new ArgumentError(
      `trimVocabulary: alsoRows names '${name}', ${parameter ? `of ${parameter.shape[0]} rows` : 'which is no parameter'}; expected a parameter with ${rows} rows`,
    )
  })
  return [...new Set([...known, ...given])].filter((p) => p !== null)
}

/** A vocabulary of the tokens that stayed, with their new ids. `<pad>` and `<unk>`, 0 and 1, must be among them. */
export function trimmedVocabulary(vocabulary: Vocabulary, { oldIds }: TrimmedVocabulary): Vocabulary {
  if (oldIds[0] !== 0 || oldIds[1] !== 1)
    throw new ArgumentError('trimmedVocabulary: ids 0 and 1, <pad> and <unk>, must stay')
  const { lowerCase, tokenizer } = vocabulary
  const tokens = Array.from(oldIds.subarray(2), (old) => vocabulary.tokens[old])
  return new Vocabulary(tokens, { lowerCase, tokenizer })
}
