// A word-level vocabulary trained on the user's own texts: token <-> id, with <pad> = 0 and <unk> = 1.

import { ArgumentError, FormatError, IndexError } from '../errors'
import { type Tokenizer, tokenize } from './tokenize'

/** Id of the padding token. */
export const PAD_ID = 0
/** Id of the token that stands for every unknown word. */
export const UNK_ID = 1
const SPECIALS = ['<pad>', '<unk>'] as const

export interface VocabularyOptions {
  /** Lower-case every token; default true. */
  lowerCase?: boolean
  /** How texts are split; default 'word'. */
  tokenizer?: Tokenizer
}

export interface TrainVocabularyOptions extends VocabularyOptions {
  /** Rarer tokens become <unk>; default 1. */
  minFrequency?: number
  /** At most this many ids, <pad> and <unk> included; the rarest are left out. Default: no limit. */
  maxSize?: number
}

/** What {@link Vocabulary.toJSON} gives. */
export interface VocabularyJSON {
  format: 'evenfold.vocabulary'
  version: 1
  lowerCase: boolean
  tokenizer: Tokenizer
  tokens: string[]
}

/** Words and their ids; 0 is padding, 1 every unknown word. */
export class Vocabulary {
  /** Every token, at the place of its id. */
  readonly tokens: readonly string[]
  readonly lowerCase: boolean
  readonly tokenizer: Tokenizer
  readonly #ids: ReadonlyMap<string, number>

  /** A vocabulary of given tokens (without the specials), in id order from 2. Duplicates are an ArgumentError. */
  constructor(tokens: Iterable<string>, options: VocabularyOptions = {}) {
    this.tokens = [...SPECIALS, ...tokens]
    this.lowerCase = options.lowerCase ?? true
    this.tokenizer = options.tokenizer ?? 'word'
    this.#ids = new Map(this.tokens.map((token, id) => [token, id]))
    if (this.#ids.size !== this.tokens.length) {
      const twice = this.tokens.find((token, id) => this.#ids.get(token) !== id)
      throw new ArgumentError(`tokens: '${twice}' is reserved or given twice`)
    }
  }

  /**
   * Counts the tokens of texts (one pass, memory of the distinct tokens only). Ids go by falling
   * frequency, equal ones by code units, so that they do not depend on the order of the texts.
   */
  static async train(
    texts: Iterable<string> | AsyncIterable<string>,
    options: TrainVocabularyOptions = {},
  ): Promise<Vocabulary> {
    const {
      minFrequency = 1,
      maxSize = Number.POSITIVE_INFINITY,
      lowerCase = true,
      tokenizer = 'word',
    } = options
    if (!(minFrequency >= 1))
      throw new ArgumentError(`minFrequency: expected at least 1, got ${minFrequency}`)
    if (!(maxSize >= SPECIALS.length)) {
      throw new ArgumentError(`maxSize: expected at least ${SPECIALS.length} (<pad>, <unk>), got ${maxSize}`)
    }
    const counts = new Map<string, number>()
    for await (const text of texts) {
      for (const token of split(text, tokenizer, lowerCase)) counts.set(token, (counts.get(token) ?? 0) + 1)
    }
    for (const special of SPECIALS) counts.delete(special)
    const kept = [...counts].filter(([, count]) => count >= minFrequency)
    kept.sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))
    const tokens = kept.slice(0, maxSize - SPECIALS.length).map(([token]) => token)
    return new Vocabulary(tokens, { lowerCase, tokenizer })
  }

  /** Number of ids. */
  get size(): number {
    return this.tokens.length
  }

  /** The tokens of a text as this vocabulary splits it, known or not. */
  tokenize(text: string): string[] {
    return split(text, this.tokenizer, this.lowerCase)
  }

  /** Id of a token; that of <unk> if it is unknown. */
  idOf(token: string): number {
    return this.#ids.get(token) ?? UNK_ID
  }

  /** Whether a token has an id of its own. */
  has(token: string): boolean {
    return this.#ids.has(token)
  }

  /** The ids of a text. A text without tokens becomes one <unk>, so that no sequence is empty. */
  encode(text: string): Int32Array<ArrayBuffer> {
    const tokens = this.tokenize(text)
    if (tokens.length === 0) return Int32Array.of(UNK_ID)
    // A text may contain the word <pad>; as an id it would vanish from the sequence.
    return Int32Array.from(tokens, (token) => Math.max(this.idOf(token), UNK_ID))
  }

  /** The tokens of ids joined by spaces, padding left out. Throws IndexError on an id out of range. */
  decode(ids: Iterable<number>): string {
    const tokens: string[] = []
    for (const id of ids) {
      const token = this.tokens[id]
      if (token === undefined) {
        throw new IndexError(
          `id ${id} is outside this vocabulary of ${this.size} tokens (0 to ${this.size - 1})`,
        )
      }
      if (id !== PAD_ID) tokens.push(token)
    }
    return tokens.join(' ')
  }

  /** Plain JSON, e.g. for the metadata of a checkpoint. */
  toJSON(): VocabularyJSON {
    const { lowerCase, tokenizer } = this
    const tokens = this.tokens.slice(SPECIALS.length)
    return { format: 'evenfold.vocabulary', version: 1, lowerCase, tokenizer, tokens }
  }

  /** The inverse of {@link toJSON}. Throws FormatError on anything else. */
  static fromJSON(json: unknown): Vocabulary {
    const fail = (message: string): never => {
      throw new FormatError(`vocabulary: ${message}`)
    }
    if (typeof json !== 'object' || json === null) return fail(`expected an object, got ${typeof json}`)
    const { format, version, lowerCase, tokenizer, tokens } = json as Partial<
      Record<keyof VocabularyJSON, unknown>
    >
    if (format !== 'evenfold.vocabulary') return fail("format must be 'evenfold.vocabulary'")
    if (version !== 1) return fail(`version ${String(version)} is unknown; this library reads version 1`)
    if (typeof lowerCase !== 'boolean') return fail('lowerCase must be true or false')
    if (tokenizer !== 'word' && tokenizer !== 'whitespace')
      return fail("tokenizer must be 'word' or 'whitespace'")
    if (!Array.isArray(tokens) || !tokens.every((token) => typeof token === 'string')) {
      return fail('tokens must be a list of strings')
    }
    try {
      return new Vocabulary(tokens, { lowerCase, tokenizer })
    } catch (error) {
      return fail(error instanceof Error ? error.message : String(error))
    }
  }
}

function split(text: string, tokenizer: Tokenizer, lowerCase: boolean): string[] {
  // Lower-casing first: some letters become two characters, one of them a combining mark.
  return tokenize(lowerCase ? text.toLowerCase() : text, tokenizer)
}
