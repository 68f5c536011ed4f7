// Reviews and a tokenizer of a few words, for experiments at tiny sizes.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const GOOD = ['good', 'great', 'lovely']
const BAD = ['bad', 'poor', 'awful']
const OTHER = ['the', 'plot', 'sound', 'lid', 'is', 'and', 'was']

/** A BERT tokenizer whose vocabulary is the words above. */
export function tinyTokenizer(): object {
  const tokens = [...SPECIAL, ...GOOD, ...BAD, ...OTHER]
  const special = (content: string) => ({ SpecialToken: { id: content, type_id: 0 } })
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [special('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, special('[SEP]')],
      pair: [],
      special_tokens: Object.fromEntries(
        ['[CLS]', '[SEP]'].map((token) => [
          token,
          { id: token, ids: [tokens.indexOf(token)], tokens: [token] },
        ]),
      ),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  }
}

export interface TinyReview {
  /** 0 or 1 */
  label: number
  title: string
  content: string
}

/** Reviews whose content is longer or shorter, with words that tell the label. */
export function tinyReviews(count: number): TinyReview[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 3 === 0 ? 0 : 1
    const mood = (label === 1 ? GOOD : BAD)[i % 3]
    const filler = Array.from({ length: i % 7 }, (_, j) => OTHER[(i + j) % OTHER.length])
    return { label, title: `Title ${i}`, content: [...filler, mood, 'and', mood].join(' ') }
  })
}

/** Amazon Polarity's CSV: no header, labels 1 and 2. */
export function polarityCsv(reviews: readonly TinyReview[]): string {
  return reviews.map(({ label, title, content }) => `"${label + 1}","${title}","${content}"\n`).join('')
}

/** train.csv, test.csv and tokenizer.json in a folder. */
export async function writeTinyStudy(folder: string): Promise<void> {
  const reviews = tinyReviews(60)
  await writeFile(join(folder, 'train.csv'), polarityCsv(reviews.slice(0, 40)))
  await writeFile(join(folder, 'test.csv'), polarityCsv(reviews.slice(40)))
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tinyTokenizer()))
}
