// Trainers of subword vocabularies: BERT's WordPiece and byte-level BPE (GPT-2's), as tokenizer.json that Hugging Face's
// tokenizers read too.
//
// WordPiece as first described (Schuster and Nakajima 2012) merges the pair that raises the likelihood most, which is
// count(ab) / (count(a) count(b)). Hugging Face's trainer, whose vocabularies these are to match, merges by frequency, as
// BPE does, and only writes pieces inside a word with a prefix; so does this one. Texts are normalized and split by the
// very objects that will encode with the file.

import { platform } from '#platform'
import { Tokenizer } from '@huggingface/tokenizers'
import { ArgumentError } from '../errors'
import { mergePairs } from './pair-merging'
import { SubwordTokenizer } from './subword'
import { bytePairFile, type TokenizerFile, wordPieceFile } from './tokenizer-file'

export interface SubwordProgress {
  /** Reading texts and counting their words, then merging pairs into tokens. */
  phase: 'count' | 'merge'
  /** Texts read, or tokens in the vocabulary. */
  done: number
  /** Tokens asked for; null while texts are read. */
  total: number | null
}

export interface SubwordTrainingOptions {
  /** Tokens in the vocabulary, special tokens and alphabet included. Fewer if the pairs run out. Default 30,000. */
  vocabSize?: number
  /** Rarer pairs do not become tokens. Default 2. */
  minFrequency?: number
  /** Tokens that no text is split into, ids from 0. */
  specialTokens?: readonly string[]
  /** Called now and then; a promise is waited for. */
  onProgress?: (progress: SubwordProgress) => void | Promise<void>
}

export interface WordPieceTrainingOptions extends SubwordTrainingOptions {
  /** Must hold [UNK]; with [CLS] and [SEP] encoding adds them. Default [PAD], [UNK], [CLS], [SEP], [MASK]. */
  specialTokens?: readonly string[]
  /** The most frequent characters are kept; words are read without the others. Default 1,000. */
  limitAlphabet?: number
  /** Before each piece that does not start a word. Default '##'. */
  continuingSubwordPrefix?: string
  /** Whether texts are lower-cased, and accents stripped. Default true. */
  lowerCase?: boolean
}

export interface BytePairTrainingOptions extends SubwordTrainingOptions {
  /** Default <pad>, <s>, </s>. Encoding adds none of them. */
  specialTokens?: readonly string[]
  /** Whether a text is read as if it began with a space, so that its first word is one like the others. Default false. */
  addPrefixSpace?: boolean
}

type Texts = Iterable<string> | AsyncIterable<string>

/**
 * Trains BERT's tokenizer. The texts are iterated once; memory holds their distinct words.
 * @throws ArgumentError for options that make no sense, and for texts that are none.
 */
export async function trainWordPiece(
  texts: Texts,
  options: WordPieceTrainingOptions = {},
): Promise<SubwordTokenizer> {
  const { limitAlphabet = 1000, continuingSubwordPrefix: prefix = '##', lowerCase = true } = options
  const { specialTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] } = options
  checkCount('limitAlphabet', limitAlphabet)
  if (typeof prefix !== 'string' || prefix === '')
    throw new ArgumentError(`continuingSubwordPrefix: expected a non-empty string, got ${String(prefix)}`)
  if (!specialTokens.includes('[UNK]'))
    throw new ArgumentError('specialTokens: [UNK] is missing; words of unknown characters become it')
  const file = wordPieceFile({ specialTokens, prefix, lowerCase })
  return train(texts, file, options, {
    alphabet: (counts) => mostFrequent(counts, limitAlphabet),
    continuing: (character) => prefix + character,
    join: (left, right) => left + right.slice(prefix.length),
  })
}

/**
 * Trains a byte-level BPE tokenizer (Radford et al. 2019): any text can be encoded, and decodes to itself. The texts are
 * iterated once; memory holds their distinct words.
 * @throws ArgumentError for options that make no sense, and for texts that are none.
 */
export async function trainBPE(
  texts: Texts,
  options: BytePairTrainingOptions = {},
): Promise<SubwordTokenizer> {
  const { specialTokens = ['<pad>', '<s>', '</s>'], addPrefixSpace = false } = options
  const file = bytePairFile({ specialTokens, addPrefixSpace })
  return train(texts, file, options, {
    alphabet: () => BYTES,
    continuing: (character) => character,
    join: (left, right) => left + right,
  })
}

/** What distinguishes the two. */
interface Kind {
  /** The characters that words are made of, in the order of their ids; given are the words' own, and how often they occur. */
  alphabet(counts: ReadonlyMap<string, number>): readonly string[]
  /** A character that does not start a word, as a token. */
  continuing(character: string): string
  join(left: string, right: string): string
}

async function train(
  texts: Texts,
  file: TokenizerFile,
  options: SubwordTrainingOptions,
  { alphabet, continuing, join }: Kind,
): Promise<SubwordTokenizer> {
  const { vocabSize = 30_000, minFrequency = 2, onProgress } = options
  checkCount('vocabSize', vocabSize)
  checkCount('minFrequency', minFrequency)
  const specials = file.added_tokens.map(({ content }) => content)
  checkSpecials(specials)
  const pause = pauses(onProgress)

  const counts = await countWords(texts, file, pause)
  if (counts.size === 0) throw new ArgumentError('texts: there are no words in them')

  const letters = new Set(alphabet(countCharacters(counts)))
  const inside = new Set(Array.from(counts.keys(), (word) => [...word].slice(1)).flat())
  const pieces = [...letters].filter((letter) => inside.has(letter)).map(continuing)
  const tokens = [...new Set([...specials, ...letters, ...pieces])]
  if (tokens.length > vocabSize) {
    throw new ArgumentError(
      `vocabSize: ${vocabSize} is too small: special tokens and single characters are ${tokens.length} tokens; raise it` +
        `${file.model.type === 'WordPiece' ? ', or lower limitAlphabet' : ''}`,
    )
  }
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const words = Array.from(counts.keys(), (word) =>
    [...word].flatMap((letter, i) =>
      letters.has(letter) ? [ids.get(i === 0 ? letter : continuing(letter)) as number] : [],
    ),
  )
  const merges: [string, string][] = []
  const merging = { tokens, words, counts: [...counts.values()], join, size: vocabSize, minFrequency }
  for (const [left, right] of mergePairs(merging)) {
    merges.push([tokens[left], tokens[right]])
    await pause({ phase: 'merge', done: tokens.length, total: vocabSize })
  }
  await onProgress?.({ phase: 'merge', done: tokens.length, total: vocabSize })
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]))
  const model = file.model.type === 'BPE' ? { ...file.model, vocab, merges } : { ...file.model, vocab }
  return new SubwordTokenizer({ ...file, model })
}

async function countWords(
  texts: Texts,
  file: TokenizerFile,
  pause: (progress: SubwordProgress) => Promise<void> | void,
): Promise<Map<string, number>> {
  const { normalizer, pre_tokenizer: split } = new Tokenizer(file, {})
  const counts = new Map<string, number>()
  let done = 0
  for await (const text of texts) {
    if (typeof text !== 'string') {
      throw new ArgumentError(
        `texts: text ${done} is ${text === null ? 'null' : `of type ${typeof text}`}; expected a string`,
      )
    }
    const words = split ? split.pre_tokenize(normalizer ? normalizer.normalize(text) : text) : []
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
    done++
    await pause({ phase: 'count', done, total: null })
  }
  return counts
}

function countCharacters(words: ReadonlyMap<string, number>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const [word, count] of words)
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count)
  return counts
}

/** By code point, as in the vocabulary; where only some are kept and counts are equal, the lower ones. */
function mostFrequent(counts: ReadonlyMap<string, number>, limit: number): string[] {
  return [...counts]
    .filter(([character]) => !/\p{Surrogate}/u.test(character))
    .sort(([a, countA], [b, countB]) => countB - countA || byCodePoint(a, b))
    .slice(0, limit)
    .map(([character]) => character)
    .sort(byCodePoint)
}

function byCodePoint(a: string, b: string): number {
  return (a.codePointAt(0) as number) - (b.codePointAt(0) as number)
}

/** How byte-level tokens write the 256 bytes: the visible ones of Latin-1 as they are, the others from U+0100 on. */
const BYTES = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0x143],
].flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => String.fromCodePoint(from + i)))

/** Lets others run, and reports, at most every 50 ms. */
function pauses(
  onProgress: SubwordTrainingOptions['onProgress'],
): (progress: SubwordProgress) => Promise<void> | void {
  let last = performance.now()
  return (progress) => {
    if (performance.now() - last < 50) return
    return (async () => {
      await onProgress?.(progress)
      await platform.yieldMacrotask()
      last = performance.now()
    })()
  }
}

function checkCount(name: string, n: number): void {
  if (!Number.isSafeInteger(n) || n < 1)
    throw new ArgumentError(`${name}: expected a positive integer, got ${n}`)
}

function checkSpecials(tokens: readonly string[]): void {
  for (const [i, token] of tokens.entries()) {
    if (typeof token !== 'string' || token === '')
      throw new ArgumentError(`specialTokens: expected non-empty strings, got ${JSON.stringify(token)}`)
    if (tokens.indexOf(token) !== i) throw new ArgumentError(`specialTokens: '${token}' is given twice`)
  }
}
