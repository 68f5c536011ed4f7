import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, FormatError, IndexError } from '../src/errors'
import { tokenize, Vocabulary } from '../src/text'

describe('tokenize', () => {
  it.each([
    ["Don't stop—now!", ["Don't", 'stop', '—', 'now', '!']],
    ['l’été 2024, 3.5', ['l’été', '2024', ',', '3', '.', '5']],
    ['e\u0301te\u0301', ['\u00e9t\u00e9']], // decomposed and composed are one word
    ['Привет, мир', ['Привет', ',', 'мир']],
    ['हिन्दी भाषा', ['हिन्दी', 'भाषा']],
    ['😀😀', ['😀', '😀']],
    [' \t\n', []],
  ])('splits %j', (text, tokens) => {
    expect(tokenize(text)).toEqual(tokens)
  })

  it("'whitespace' keeps what is tokenized already", () => {
    expect(tokenize("it 's n't `` good ''", 'whitespace')).toEqual(['it', "'s", "n't", '``', 'good', "''"])
  })

  it('loses nothing but white space', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(tokenize(text).join('')).toBe(text.normalize('NFC').replace(/\s/g, ''))
      }),
    )
  })
})

describe('Vocabulary', () => {
  it('orders ids by falling frequency, then by the word, whatever the order of the texts', async () => {
    const texts = ['b a', 'c b', 'C a b']
    const vocabulary = await Vocabulary.train(texts)
    expect(vocabulary.tokens).toEqual(['<pad>', '<unk>', 'b', 'a', 'c'])
    expect((await Vocabulary.train(texts.reverse())).tokens).toEqual(vocabulary.tokens)
  })

  it('leaves out rare words and keeps to maxSize, specials included', async () => {
    const texts = ['a a a b b c']
    expect((await Vocabulary.train(texts, { minFrequency: 2 })).tokens.slice(2)).toEqual(['a', 'b'])
    expect((await Vocabulary.train(texts, { maxSize: 3 })).tokens.slice(2)).toEqual(['a'])
    await expect(Vocabulary.train(texts, { maxSize: 1 })).rejects.toThrow(ArgumentError)
    await expect(Vocabulary.train(texts, { minFrequency: 0 })).rejects.toThrow(ArgumentError)
  })

  it('keeps case when asked to', async () => {
    const vocabulary = await Vocabulary.train(['Hi hi'], { lowerCase: false })
    expect(vocabulary.tokens.slice(2)).toEqual(['Hi', 'hi'])
  })

  it('encodes known words, <unk> for others, and never an empty or a padding id', async () => {
    const vocabulary = await Vocabulary.train(['good film'], { tokenizer: 'whitespace' })
    expect([...vocabulary.encode('Good BAD film')]).toEqual([3, 1, 2])
    expect([...vocabulary.encode('  ')]).toEqual([1])
    expect([...vocabulary.encode('<pad> <unk>')]).toEqual([1, 1])
  })

  it('decodes what it encoded, padding left out', async () => {
    const vocabulary = await Vocabulary.train(['good film'])
    expect(vocabulary.decode([3, 2, 1, 0, 0])).toBe('good film <unk>')
    expect(() => vocabulary.decode([4])).toThrow(IndexError)
    expect(() => vocabulary.decode([-1])).toThrow(/outside this vocabulary of 4/)
  })

  it('survives JSON', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme' })), fc.boolean(), async (texts, lowerCase) => {
        const vocabulary = await Vocabulary.train(texts, { lowerCase, tokenizer: 'whitespace' })
        const copy = Vocabulary.fromJSON(JSON.parse(JSON.stringify(vocabulary)))
        expect(copy.tokens).toEqual(vocabulary.tokens)
        for (const text of texts) expect(copy.encode(text)).toEqual(vocabulary.encode(text))
      }),
    )
  })

  it.each([
    [null],
    [{}],
    [{ format: 'evenfold.vocabulary', version: 2 }],
    [{ format: 'evenfold.vocabulary', version: 1, lowerCase: 1, tokenizer: 'word', tokens: [] }],
    [{ format: 'evenfold.vocabulary', version: 1, lowerCase: true, tokenizer: 'bpe', tokens: [] }],
    [{ format: 'evenfold.vocabulary', version: 1, lowerCase: true, tokenizer: 'word', tokens: [1] }],
    [{ format: 'evenfold.vocabulary', version: 1, lowerCase: true, tokenizer: 'word', tokens: ['a', 'a'] }],
    [{ format: 'evenfold.vocabulary', version: 1, lowerCase: true, tokenizer: 'word', tokens: ['<pad>'] }],
  ])('fromJSON refuses %j', (json) => {
    expect(() => Vocabulary.fromJSON(json)).toThrow(FormatError)
  })
})
