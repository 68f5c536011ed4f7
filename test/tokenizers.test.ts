// Subword tokenizers from a tokenizer.json: ids, pairs, truncation, padding, decoding, and what is said about bad input.
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, FormatError, IndexError } from '../src/errors'
import { SubwordTokenizer } from '../src/tokenizers'

// A BERT tokenizer of 30 tokens: 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 [MASK], 5 the, ...
const text = fs.readFileSync(path.join(import.meta.dirname, 'fixtures/tokenizer.json'), 'utf8')
const json = JSON.parse(text)
const tokenizer = new SubwordTokenizer(json)
const list = (ids: ArrayLike<number>) => Array.from(ids)

describe('encode', () => {
  it('splits into words and pieces, with the special tokens around them', () => {
    const { ids, tokens, typeIds } = tokenizer.encode('The movie was unhappy.')
    expect(tokens).toEqual(['[CLS]', 'the', 'movie', 'was', 'un', '##happy', '.', '[SEP]'])
    expect(list(ids)).toEqual([2, 5, 6, 7, 14, 15, 21, 3])
    expect(list(typeIds)).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('lower-cases, strips accents, drops control characters, splits Chinese characters and punctuation', () => {
    expect(tokenizer.tokenize('CAFÉ\u0000  plays,中国!')).toEqual([
      'cafe',
      'play',
      '##s',
      ',',
      '中',
      '国',
      '!',
    ])
  })

  it('gives [UNK] for a word that no pieces make up', () => {
    expect(list(tokenizer.encode('great zzz').ids)).toEqual([2, 8, 1, 3])
  })

  it('gives a pair type ids, also where one of the two is empty', () => {
    const pair = tokenizer.encode(['the movie', 'great'])
    expect(list(pair.ids)).toEqual([2, 5, 6, 3, 8, 3])
    expect(list(pair.typeIds)).toEqual([0, 0, 0, 0, 1, 1])
    expect(list(tokenizer.encode(['the', '']).typeIds)).toEqual([0, 0, 0, 1])
    expect(list(tokenizer.encode('').ids)).toEqual([2, 3])
  })

  it('leaves the special tokens out where asked, and knows their names in a text', () => {
    expect(list(tokenizer.encode('the [MASK]', { addSpecialTokens: false }).ids)).toEqual([5, 4])
  })

  it('cuts to maxLength, special tokens included', () => {
    expect(tokenizer.encode('the movie was great', { maxLength: 4 }).tokens).toEqual([
      '[CLS]',
      'the',
      'movie',
      '[SEP]',
    ])
    expect(tokenizer.encode('a b', { maxLength: 4 }).tokens).toHaveLength(4)
    expect(tokenizer.encode('a b c', { maxLength: 2, addSpecialTokens: false }).tokens).toEqual(['a', 'b'])
  })

  it.each([
    // The values of Hugging Face's LongestFirst: the longer text first, then both to half.
    ['a b c d e', 'a b', 8, 'longestFirst', ['a', 'b', 'c'], ['a', 'b']],
    ['a b', 'a b c d e', 8, 'longestFirst', ['a', 'b'], ['a', 'b', 'c']],
    ['a b c d e', 'a b c d', 8, 'longestFirst', ['a', 'b', 'c'], ['a', 'b']],
    ['a b c d', 'a b c d e', 8, 'longestFirst', ['a', 'b'], ['a', 'b', 'c']],
    ['a b c d e', 'a b', 6, 'onlyFirst', ['a'], ['a', 'b']],
    ['a b', 'a b c d e', 6, 'onlySecond', ['a', 'b'], ['a']],
  ] as const)('cuts the pair (%s | %s) to %i, %s', (a, b, maxLength, truncation, restA, restB) => {
    expect(tokenizer.encode([a, b], { maxLength, truncation }).tokens).toEqual([
      '[CLS]',
      ...restA,
      '[SEP]',
      ...restB,
      '[SEP]',
    ])
  })

  it('never exceeds maxLength, and cuts only from the end', () => {
    const words = fc
      .array(fc.constantFrom('the', 'movie', 'playing', 'zzz'), { maxLength: 8 })
      .map((w) => w.join(' '))
    fc.assert(
      fc.property(words, words, fc.integer({ min: 3, max: 20 }), (a, b, maxLength) => {
        const whole = tokenizer.encode([a, b]).tokens
        const { tokens } = tokenizer.encode([a, b], { maxLength })
        expect(tokens).toHaveLength(Math.min(whole.length, maxLength))
        const first = tokens.slice(1, tokens.indexOf('[SEP]'))
        expect(whole.slice(1, 1 + first.length)).toEqual(first)
      }),
    )
  })

  it('says when a length or a strategy cannot be met', () => {
    expect(() => tokenizer.encode('a', { maxLength: 1 })).toThrow(/maxLength: 1 has no room/)
    expect(() => tokenizer.encode(['a', 'b'], { maxLength: 2 })).toThrow(ArgumentError)
    expect(() => tokenizer.encode(['a', 'a b c d'], { maxLength: 5, truncation: 'onlyFirst' })).toThrow(
      /'onlyFirst' cannot help: the other text alone has 4 tokens, and there is room for 2/,
    )
  })
})

describe('encodeBatch', () => {
  it('pads to the longest, with mask, lengths and type ids', () => {
    const batch = tokenizer.encodeBatch(['great', ['the movie', 'great']])
    expect(batch.shape).toEqual([2, 6])
    expect(list(batch.ids)).toEqual([2, 8, 3, 0, 0, 0, 2, 5, 6, 3, 8, 3])
    expect(list(batch.mask)).toEqual([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    expect(list(batch.typeIds)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    expect(list(batch.lengths)).toEqual([3, 6])
  })

  it('pads to maxLength where asked', () => {
    const batch = tokenizer.encodeBatch(['great', 'a b c d e'], { maxLength: 5, padTo: 'maxLength' })
    expect(list(batch.ids)).toEqual([2, 8, 3, 0, 0, 2, 16, 17, 18, 3])
  })

  it('names what is missing', () => {
    expect(() => tokenizer.encodeBatch([])).toThrow('texts: the batch is empty')
    expect(() => tokenizer.encodeBatch(['a'], { padTo: 'maxLength' })).toThrow(/needs the option maxLength/)
    const { '[PAD]': _, ...vocab } = json.model.vocab
    const without = new SubwordTokenizer({
      ...json,
      padding: null,
      added_tokens: json.added_tokens.slice(1),
      model: { ...json.model, vocab },
    })
    expect(without.padId).toBeUndefined()
    expect(list(without.encodeBatch(['a', 'b']).lengths)).toEqual([3, 3])
    expect(() => without.encodeBatch(['a', 'a b'])).toThrow(/no padding token/)
  })
})

describe('decode and vocabulary', () => {
  it('joins pieces and leaves special tokens out', () => {
    const { ids } = tokenizer.encode('the movie was not playing, unhappy!')
    expect(tokenizer.decode(ids)).toBe('the movie was not playing, unhappy!')
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toMatch(/^\[CLS\] the .* \[SEP\]$/)
    expect(tokenizer.decode([])).toBe('')
    expect(() => tokenizer.decode([5, 30])).toThrow(IndexError)
    expect(() => tokenizer.decode([-1])).toThrow(/id -1 is outside this vocabulary of 30 tokens \(0 to 29\)/)
  })

  it('gives tokens, ids and special ids', () => {
    expect(tokenizer.size).toBe(30)
    expect(tokenizer.tokens[11]).toBe('##ing')
    expect(tokenizer.idOf('##ing')).toBe(11)
    expect(tokenizer.idOf('nowhere')).toBeUndefined()
    expect([tokenizer.has('[MASK]'), tokenizer.has('nowhere')]).toEqual([true, false])
    expect(tokenizer.specialIds).toEqual([0, 1, 2, 3, 4])
    expect(tokenizer.padId).toBe(0)
  })

  it('reads the text of a tokenizer.json, and refuses anything else', () => {
    expect(list(new SubwordTokenizer(text).encode('the').ids)).toEqual([2, 5, 3])
    expect(() => new SubwordTokenizer('{')).toThrow(/tokenizer\.json: not valid JSON/)
    expect(() => new SubwordTokenizer({ vocab: {} })).toThrow(FormatError)
    expect(() => new SubwordTokenizer({ ...json, model: { type: 'Other' } })).toThrow(
      /tokenizer\.json: .*Other/,
    )
  })
})

// Real data is not part of the project; EVENFOLD_DATA names its folder.
const data = process.env.EVENFOLD_DATA
const folder = data && path.join(data, 'bert_vocab')

describe('the vocabulary of BERT', () => {
  // Real data is not part of the project; EVENFOLD_DATA names its folder.
  it.skipIf(!folder)(
    "gives the ids of Hugging Face's tokenizers, all texts and pairs (needs EVENFOLD_DATA)",
    () => {
      const read = (name: string) => fs.readFileSync(path.join(folder!, name), 'utf8')
      const bert = new SubwordTokenizer(read('tokenizer.json'))
      const golden = JSON.parse(read('golden_wordpiece.json')) as {
        single: { text: string; ids: number[]; tokens: string[] }[]
        pairs: { a: string; b: string; ids: number[]; type_ids: number[] }[]
      }
      expect([golden.single.length, golden.pairs.length, bert.size]).toEqual([123, 3, 30522])
      for (const { text, ids, tokens } of golden.single) {
        const encoded = bert.encode(text)
        expect([encoded.tokens, list(encoded.ids)], text).toEqual([tokens, ids])
      }
      for (const { a, b, ids, type_ids } of golden.pairs) {
        const encoded = bert.encode([a, b])
        expect([list(encoded.ids), list(encoded.typeIds)], a).toEqual([ids, type_ids])
      }
    },
  )
})
