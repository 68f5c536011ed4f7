// A tokenizer.json as an object with the library's manners: typed arrays, typed errors, truncation, padding.

import { platform } from '#platform'
import { Tokenizer } from '@huggingface/tokenizers'
import { ArgumentError, FormatError, IndexError } from '../errors'
import { type TruncationStrategy, truncatedLengths } from './truncate'

export type { TruncationStrategy } from './truncate'

export interface EncodeOptions {
  /** Add [CLS], [SEP] and the like as the tokenizer.json says; default true. */
  addSpecialTokens?: boolean
  /** At most this many ids, special tokens included; default: no limit. */
  maxLength?: number
  /** Which text of a pair is cut; default 'longestFirst'. */
  truncation?: TruncationStrategy
}

export interface BatchOptions extends EncodeOptions {
  /** 'longest': to the batch's longest (default); 'maxLength': to maxLength, which must be given. */
  padTo?: 'longest' | 'maxLength'
}

/** A text, or a pair of texts, as ids; without padding. */
export interface Encoding {
  ids: Int32Array<ArrayBuffer>
  /** 0 at the first text, 1 at the second. */
  typeIds: Int32Array<ArrayBuffer>
  tokens: string[]
}

/** Texts as ids, padded on the right; arrays are [B, L], row-major. */
export interface BatchEncoding {
  ids: Int32Array<ArrayBuffer>
  /** 0 at padding. */
  typeIds: Int32Array<ArrayBuffer>
  /** 1 at tokens, 0 at padding. */
  mask: Uint8Array<ArrayBuffer>
  /** `[B]`: ids in each row that are not padding. */
  lengths: Int32Array<ArrayBuffer>
  shape: [number, number]
}

interface PaddingJSON {
  pad_id?: number
  pad_type_id?: number
}

/** Texts to ids and back, as a tokenizer.json of Hugging Face's says. */
export class SubwordTokenizer {
  readonly #tokenizer: Tokenizer
  readonly #json: object
  /** Every token, at the place of its id; '' where an id has none. */
  readonly tokens: readonly string[]
  /** Ids of the special tokens ([PAD], [CLS], ...), ascending. */
  readonly specialIds: readonly number[]
  /** Id that fills shorter rows: the file's `padding.pad_id`, else that of [PAD] or <pad>; undefined if there is none. */
  readonly padId: number | undefined
  readonly #padTypeId: number

  /**
   * `json`: the parsed `tokenizer.json`, or its text. The truncation and padding that the file asks for are not
   * applied: the options of each call are. Throws FormatError on anything that is not a tokenizer.
   */
  constructor(json: object | string) {
    const parsed = typeof json === 'string' ? parse(json) : json
    this.#json = parsed
    try {
      this.#tokenizer = new Tokenizer(parsed, {})
    } catch (error) {
      throw new FormatError(`tokenizer.json: ${messageOf(error)}`, { cause: error })
    }
    const ids = this.#tokenizer.get_vocab()
    const tokens: string[] = []
    for (const [token, id] of ids) if (token !== undefined) tokens[id] = token
    this.tokens = Array.from(tokens, (token) => token ?? '')
    const added = [...this.#tokenizer.get_added_tokens_decoder().values()]
    this.specialIds = added
      .filter(({ special }) => special)
      .map(({ id }) => id)
      .sort((a, b) => a - b)
    const { padding } = parsed as { padding?: PaddingJSON | null }
    this.padId = padding?.pad_id ?? this.idOf('[PAD]') ?? this.idOf('<pad>')
    this.#padTypeId = padding?.pad_type_id ?? 0
  }

  /** Number of ids. A model that takes them needs an embedding of as many rows: see `checkVocabulary`. */
  get size(): number {
    return this.tokens.length
  }

  /** Id of a token as it stands in the vocabulary (`##ing`, `[MASK]`); undefined if it is not there. */
  idOf(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token)
  }

  /** Whether a token stands in the vocabulary. */
  has(token: string): boolean {
    return this.idOf(token) !== undefined
  }

  /** The tokens of a text, without special ones. The name of a special token in the text ('[SEP]') is that token. */
  tokenize(text: string): string[] {
    return this.#tokenizer.tokenize(text, { add_special_tokens: false })
  }

  /** A text, or two texts as a pair, as ids. An empty text gives the special tokens alone. */
  encode(text: string | readonly [string, string], options: EncodeOptions = {}): Encoding {
    const { addSpecialTokens = true, maxLength = Number.POSITIVE_INFINITY } = options
    const isPair = typeof text !== 'string'
    let a = this.tokenize(isPair ? text[0] : text)
    let b = isPair ? this.tokenize(text[1]) : null
    const room =
      maxLength - (addSpecialTokens ? this.#withSpecials([], isPair ? [] : null, true).tokens.length : 0)
    if (!(maxLength >= 1) || room < 0) {
      throw new ArgumentError(`maxLength: ${maxLength} has no room for the special tokens of a text`)
    }
    if (a.length + (b?.length ?? 0) > room) {
      const strategy = options.truncation ?? 'longestFirst'
      const [lengthA, lengthB] = isPair ? truncatedLengths(a.length, b!.length, room, strategy) : [room, 0]
      a = a.slice(0, lengthA)
      if (b) b = b.slice(0, lengthB)
    }
    const { tokens, typeIds } = this.#withSpecials(a, b, addSpecialTokens)
    return { ids: Int32Array.from(tokens, (token) => this.#idOrUnknown(token)), typeIds, tokens }
  }

  /** Texts or pairs as one padded batch [B, L]. Throws ArgumentError on no texts, or without a padding token. */
  encodeBatch(
    texts: readonly (string | readonly [string, string])[],
    options: BatchOptions = {},
  ): BatchEncoding {
    const { padTo = 'longest', maxLength } = options
    if (texts.length === 0) throw new ArgumentError('texts: the batch is empty')
    if (padTo === 'maxLength' && maxLength === undefined) {
      throw new ArgumentError("padTo: 'maxLength' needs the option maxLength")
    }
    const rows = texts.map((text) => this.encode(text, options))
    const lengths = Int32Array.from(rows, ({ ids }) => ids.length)
    const width = padTo === 'maxLength' ? maxLength! : Math.max(...lengths)
    if (this.padId === undefined && lengths.some((length) => length < width)) {
      throw new ArgumentError(
        'this tokenizer has no padding token: neither padding.pad_id nor [PAD] or <pad>',
      )
    }
    const ids = new Int32Array(rows.length * width).fill(this.padId ?? 0)
    const typeIds = new Int32Array(rows.length * width).fill(this.#padTypeId)
    const mask = new Uint8Array(rows.length * width)
    rows.forEach((row, i) => {
      ids.set(row.ids, i * width)
      typeIds.set(row.typeIds, i * width)
      mask.fill(1, i * width, i * width + row.ids.length)
    })
    return { ids, typeIds, mask, lengths, shape: [rows.length, width] }
  }

  /**
   * The text of ids, as the file's decoder joins them; special tokens are left out unless `skipSpecialTokens` is false.
   * Throws IndexError on an id outside the vocabulary.
   */
  decode(ids: Iterable<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const list = [...ids]
    for (const id of list) {
      if (this.tokens[id]) continue
      throw new IndexError(
        `id ${id} is outside this vocabulary of ${this.size} tokens (0 to ${this.size - 1})`,
      )
    }
    if (list.length === 0) return ''
    return this.#tokenizer.decode(list, {
      skip_special_tokens: options.skipSpecialTokens ?? true,
      // The file's decoder says what becomes of spaces; the package would drop some before punctuation on its own account.
      clean_up_tokenization_spaces: false,
    })
  }

  /** The `tokenizer.json`. */
  toJSON(): object {
    return this.#json
  }

  /** Writes the `tokenizer.json`; an old one is replaced as a whole. */
  async save(path: string): Promise<void> {
    const text = `${JSON.stringify(this.#json, null, 2)}\n`
    await platform.writeFileAtomic(path, [new TextEncoder().encode(text)])
  }

  #withSpecials(
    a: string[],
    b: string[] | null,
    addSpecialTokens: boolean,
  ): { tokens: string[]; typeIds: Int32Array<ArrayBuffer> } {
    const processor = this.#tokenizer.post_processor
    const { tokens, token_type_ids: typeIds } = processor
      ? processor._call(a, b, addSpecialTokens)
      : { tokens: [...a, ...(b ?? [])] }
    return { tokens, typeIds: typeIds ? Int32Array.from(typeIds) : new Int32Array(tokens.length) }
  }

  #idOrUnknown(token: string): number {
    const id = this.idOf(token) ?? this.#tokenizer.model?.unk_token_id
    if (id === undefined)
      throw new ArgumentError(`'${token}' is not in the vocabulary, which has no unknown token`)
    return id
  }
}

function parse(text: string): object {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new FormatError(`tokenizer.json: not valid JSON: ${messageOf(error)}`, { cause: error })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
