// The parts of a tokenizer.json around a vocabulary: those of BERT's WordPiece and of GPT-2's byte-level BPE, as Hugging
// Face's tokenizers write them.

export interface TokenizerFile {
  readonly version: '1.0'
  readonly truncation: null
  readonly padding: null
  readonly added_tokens: readonly AddedToken[]
  readonly normalizer: object | null
  readonly pre_tokenizer: object
  readonly post_processor: object | null
  readonly decoder: object
  /** Its vocabulary is that of the special tokens; training puts in the whole one. */
  readonly model: { readonly type: 'WordPiece' | 'BPE'; readonly vocab: Readonly<Record<string, number>> }
}

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly single_word: false
  readonly lstrip: false
  readonly rstrip: false
  readonly normalized: false
  readonly special: true
}

export function wordPieceFile({
  specialTokens,
  prefix,
  lowerCase,
}: {
  specialTokens: readonly string[]
  prefix: string
  lowerCase: boolean
}): TokenizerFile {
  return {
    ...withSpecials(specialTokens),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      // Null: as lowercase says.
      strip_accents: null,
      lowercase: lowerCase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: template(specialTokens),
    decoder: { type: 'WordPiece', prefix, cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: prefix,
      max_input_chars_per_word: 100,
      vocab: vocabularyOf(specialTokens),
    } as TokenizerFile['model'],
  }
}

export function bytePairFile({
  specialTokens,
  addPrefixSpace,
}: {
  specialTokens: readonly string[]
  addPrefixSpace: boolean
}): TokenizerFile {
  const bytes = {
    type: 'ByteLevel',
    add_prefix_space: addPrefixSpace,
    trim_offsets: true,
    use_regex: true,
  }
  return {
    ...withSpecials(specialTokens),
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: null,
    decoder: bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: vocabularyOf(specialTokens),
      merges: [],
    } as TokenizerFile['model'],
  }
}

function vocabularyOf(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]))
}

function withSpecials(
  specialTokens: readonly string[],
): Pick<TokenizerFile, 'version' | 'truncation' | 'padding' | 'added_tokens'> {
  const added_tokens = specialTokens.map((content, id) => ({
    id,
    content,
    single_word: false as const,
    lstrip: false as const,
    rstrip: false as const,
    normalized: false as const,
    special: true as const,
  }))
  return { version: '1.0', truncation: null, padding: null, added_tokens }
}

/** [CLS] a [SEP], and [CLS] a [SEP] b [SEP] for pairs, where there are such tokens. */
function template(specialTokens: readonly string[]): object | null {
  if (!specialTokens.includes('[CLS]') || !specialTokens.includes('[SEP]')) return null
  const special = (id: string, type_id: number): object => ({ SpecialToken: { id, type_id } })
  const sequence = (id: string, type_id: number): object => ({ Sequence: { id, type_id } })
  const single = [special('[CLS]', 0), sequence('A', 0), special('[SEP]', 0)]
  const named = ['[CLS]', '[SEP]'].map((token) => [
    token,
    { id: token, ids: [specialTokens.indexOf(token)], tokens: [token] },
  ])
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, sequence('B', 1), special('[SEP]', 1)],
    special_tokens: Object.fromEntries(named),
  }
}
