// Training subword vocabularies: merges worked out by hand and by counting everything again, Hugging Face's vocabularies,
// texts that come back from byte-level BPE, and what is said about bad input.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArgumentError, type EvenfoldError } from '../src/errors'
import { SubwordTokenizer, type SubwordProgress, trainBPE, trainWordPiece } from '../src/tokenizers'

interface File {
  model: { vocab: Record<string, number>; merges?: [string, string][] }
}
const mergesOf = (tokenizer: SubwordTokenizer) => (tokenizer.toJSON() as File).model.merges!
const list = (ids: ArrayLike<number>) => Array.from(ids)

/** Sennrich et al.'s words, one a text. */
const words = [
  ['low', 5],
  ['lower', 2],
  ['newest', 6],
  ['widest', 3],
].flatMap(([word, count]) => new Array<string>(count as number).fill(word as string))

describe('merges', () => {
  it('of byte-level BPE are those worked out by hand', async () => {
    const tokenizer = await trainBPE(words)
    expect(mergesOf(tokenizer).map((pair) => pair.join(' '))).toEqual([
      // 9 es, 9 st: the lower left. Then 9, 7, 7.
      ...['e s', 'es t', 'l o', 'lo w'],
      // 6 ew, 6 ne, 6 w+est. Then 6 n+ew, 6 ew+est, and what is left of newest.
      ...['e w', 'n ew', 'new est'],
      // 3 d+est, 3 id, 3 wi. Then 2 er, 2 low+e.
      ...['d est', 'i dest', 'w idest'],
      ...['e r', 'low er'],
    ])
    expect(tokenizer.tokenize('lowest newer')).toEqual(['low', 'est', 'Ġ', 'new', 'er'])
  })

  it('of WordPiece are those worked out by hand', async () => {
    const tokenizer = await trainWordPiece(words)
    expect(tokenizer.tokens).toEqual([
      ...['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
      ...[...'deilnorstw'],
      ...[...'deiorstw'].map((letter) => `##${letter}`),
      ...['##es', '##est', 'lo', 'low', 'ne', '##west', 'newest', 'wi', '##dest', 'widest', '##er', 'lower'],
    ])
    expect(tokenizer.tokenize('Lowest newer wild lowx')).toEqual([
      ...['low', '##est', 'ne', '##w', '##er'],
      // No ##l and no x: such a word is unknown as a whole.
      ...['[UNK]', '[UNK]'],
    ])
  })

  /** The same by its definition: all pairs are counted again for every merge. */
  function naive(texts: readonly string[], minFrequency: number, size: number): string[] {
    const all = texts.map((word) => [...word])
    const order = [...'ab']
    const merges: string[] = []
    while (order.length < size) {
      const counts = new Map<string, number>()
      for (const word of all)
        for (let i = 0; i + 1 < word.length; i++) {
          const pair = `${word[i]} ${word[i + 1]}`
          counts.set(pair, (counts.get(pair) ?? 0) + 1)
        }
      const rank = (pair: string) => pair.split(' ').map((token) => order.indexOf(token))
      const [best] = [...counts].sort(([a, x], [b, y]) => {
        const [[a0, a1], [b0, b1]] = [rank(a), rank(b)]
        return y - x || a0 - b0 || a1 - b1
      })
      if (!best || best[1] < minFrequency) break
      const [left, right] = best[0].split(' ')
      merges.push(best[0])
      if (!order.includes(left + right)) order.push(left + right)
      for (const word of all)
        for (let i = 0; i + 1 < word.length; i++)
          if (word[i] === left && word[i + 1] === right) word.splice(i, 2, left + right)
    }
    return merges
  }

  it('are those of counting everything again, runs of one character included', async () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(word, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 25 }),
        async (texts, minFrequency, more) => {
          const tokenizer = await trainBPE(texts, { minFrequency, vocabSize: 259 + more })
          expect(mergesOf(tokenizer).map((pair) => pair.join(' '))).toEqual(
            naive(texts, minFrequency, 2 + more),
          )
        },
      ),
      { numRuns: 200 },
    )
  })

  it('do not depend on the order of the texts', async () => {
    const mixed = words.map((_, i) => words[(i * 7) % words.length]!)
    expect(mixed).not.toEqual(words)
    expect([...mixed].sort()).toEqual([...words].sort())
    for (const train of [trainWordPiece, trainBPE])
      expect((await train(mixed)).toJSON()).toEqual((await train(words)).toJSON())
  })
})

describe('as Hugging Face’s tokenizers', () => {
  const golden = JSON.parse(
    fs.readFileSync(path.join(import.meta.dirname, 'goldens/subwords.json'), 'utf8'),
  ) as {
    texts: string[]
    probes: string[]
    cases: Record<string, { options: object; tokens: string[]; merges?: [string, string][]; ids: number[][] }>
  }

  it.each(Object.entries(golden.cases))('%s', async (name, { options, tokens, merges, ids }) => {
    const tokenizer = await (name.startsWith('bpe') ? trainBPE : trainWordPiece)(golden.texts, options)
    expect(tokenizer.tokens).toEqual(tokens)
    if (merges) expect(mergesOf(tokenizer)).toEqual(merges)
    for (const [i, text] of golden.probes.entries())
      expect(list(tokenizer.encode(text, { addSpecialTokens: false }).ids), text).toEqual(ids[i])
  })
})

describe('byte-level BPE', () => {
  it('gives every text back, also those it has not seen', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc
        .array(fc.constantFrom('the', ' ', '  ', '.', ' .', "n't", '\n', '\t', 'É', '\u00a0', '😀', '7'), {
          maxLength: 20,
        })
        .map((parts) => parts.join('')),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 6 }), text, async (texts, other) => {
        fc.pre(texts.some((one) => one !== ''))
        const tokenizer = await trainBPE(texts, { vocabSize: 300, minFrequency: 1 })
        for (const one of [...texts, other]) expect(tokenizer.decode(tokenizer.encode(one).ids)).toBe(one)
      }),
      { numRuns: 60 },
    )
  })

  it('has a token for each byte, after the special ones', async () => {
    const tokenizer = await trainBPE(['a'], { specialTokens: ['<eos>'] })
    expect(tokenizer.size).toBe(257)
    expect(tokenizer.specialIds).toEqual([0])
    expect(list(tokenizer.encode('~<eos> ').ids)).toEqual([1 + 0x7e - 0x21, 0, tokenizer.idOf('Ġ')])
    const padded = await trainBPE(['a'])
    expect([padded.padId, padded.specialIds]).toEqual([0, [0, 1, 2]])
  })

  it('reads the first word like the others with addPrefixSpace', async () => {
    const tokenizer = await trainBPE(['so so', 'so'], { addPrefixSpace: true })
    expect(tokenizer.tokenize('so so')).toEqual(['Ġso', 'Ġso'])
  })
})

describe('WordPiece', () => {
  it('knows every character of its texts, and encodes as BERT does', async () => {
    const texts = ['A café, a naïve 中国 😀 plan;', 'Plans are plans']
    const tokenizer = await trainWordPiece(texts)
    for (const text of texts) expect(tokenizer.tokenize(text)).not.toContain('[UNK]')
    const { tokens, typeIds } = tokenizer.encode(['Plans', 'a plan'])
    expect(tokens).toEqual(['[CLS]', 'plans', '[SEP]', 'a', 'plan', '[SEP]'])
    expect(list(typeIds)).toEqual([0, 0, 0, 1, 1, 1])
    expect(tokenizer.decode(tokenizer.encode('A naïve plan, a cafe').ids)).toBe('a naive plan, a cafe')
    expect([tokenizer.padId, tokenizer.specialIds]).toEqual([0, [0, 1, 2, 3, 4]])
  })

  it('has the options of BERT’s', async () => {
    const cased = await trainWordPiece(['Été Été'], { lowerCase: false })
    expect(cased.tokenize('Été')).toEqual(['Été'])
    const prefixed = await trainWordPiece(['abc abd'], { continuingSubwordPrefix: '@' })
    expect(prefixed.tokenize('abca')).toEqual(['[UNK]'])
    expect(prefixed.tokenize('abdcb')).toEqual(['ab', '@d', '@c', '@b'])
    expect(prefixed.decode(prefixed.encode('abdcb').ids)).toBe('abdcb')
    const own = await trainWordPiece(['a'], { specialTokens: ['<none>', '[UNK]'] })
    expect(own.tokens).toEqual(['<none>', '[UNK]', 'a'])
    expect(own.encode('a b').tokens).toEqual(['a', '[UNK]'])
  })

  it('keeps the most frequent characters, of equal ones the lower', async () => {
    const { tokens } = await trainWordPiece(['abab ba dc'], { limitAlphabet: 3, minFrequency: 9 })
    expect(tokens.slice(5)).toEqual(['a', 'b', 'c', '##a', '##b', '##c'])
    // A lone surrogate is no character that a file can hold.
    expect((await trainWordPiece(['a\ud800'])).tokens.slice(5)).toEqual(['a'])
  })

  it('merges no pair rarer than minFrequency, and stops at vocabSize', async () => {
    const last = async (options: object) => (await trainWordPiece(words, options)).tokens.at(-1)
    expect(await last({ minFrequency: 4 })).toBe('newest')
    expect((await trainWordPiece(words, { vocabSize: 27 })).tokens.slice(23)).toEqual([
      '##es',
      '##est',
      'lo',
      'low',
    ])
  })
})

describe('training', () => {
  it('iterates once over texts as they come, and tells how far it is', async () => {
    let begun = 0
    const texts = {
      async *[Symbol.asyncIterator]() {
        begun++
        for (const word of words) {
          // Slow enough for reports.
          await new Promise((resolve) => setTimeout(resolve, 8))
          yield word
        }
      },
    }
    const seen: SubwordProgress[] = []
    const onProgress = (progress: SubwordProgress) => {
      seen.push(progress)
    }
    const tokenizer = await trainWordPiece(texts, { vocabSize: 30, onProgress })
    expect(begun).toBe(1)
    expect(tokenizer.toJSON()).toEqual((await trainWordPiece(words, { vocabSize: 30 })).toJSON())
    expect(seen[0]).toMatchObject({ phase: 'count', total: null })
    expect(seen.at(-1)).toEqual({ phase: 'merge', done: 30, total: 30 })
  })

  it('gives a tokenizer that is the same from its file', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-'))
    const file = path.join(folder, 'tokenizer.json')
    fs.writeFileSync(file, 'an older one')
    for (const train of [trainWordPiece, trainBPE]) {
      const tokenizer = await train(words)
      await tokenizer.save(file)
      const read = new SubwordTokenizer(fs.readFileSync(file, 'utf8'))
      expect(read.tokens).toEqual(tokenizer.tokens)
      expect(read.encode(['newest', 'low wide']).tokens).toEqual(
        tokenizer.encode(['newest', 'low wide']).tokens,
      )
      expect(fs.readdirSync(folder)).toEqual(['tokenizer.json'])
    }
    fs.rmSync(folder, { recursive: true })
  })

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['no texts', () => trainBPE([]), /texts: there are no words/],
    ['texts without words', () => trainWordPiece([' ', '\n']), /texts: there are no words/],
    ['what is no text', () => trainBPE(['a', null as never]), /texts: text 1 is null; expected a string/],
    ['what is no text', () => trainBPE([3 as never]), /texts: text 0 is of type number/],
    [
      'vocabSize',
      () => trainBPE(words, { vocabSize: 0.5 }),
      /vocabSize: expected a positive integer, got 0.5/,
    ],
    ['a vocabSize below the bytes', () => trainBPE(words, { vocabSize: 200 }), /are 259 tokens; raise it$/],
    [
      'a vocabSize below the alphabet',
      () => trainWordPiece(words, { vocabSize: 20 }),
      /vocabSize: 20 is too small: .* are 23 tokens; raise it, or lower limitAlphabet/,
    ],
    ['minFrequency', () => trainBPE(words, { minFrequency: 0 }), /minFrequency: expected a positive integer/],
    ['limitAlphabet', () => trainWordPiece(words, { limitAlphabet: -1 }), /limitAlphabet: expected/],
    [
      'continuingSubwordPrefix',
      () => trainWordPiece(words, { continuingSubwordPrefix: '' }),
      /continuingSubwordPrefix: expected a non-empty string/,
    ],
    [
      'no [UNK]',
      () => trainWordPiece(words, { specialTokens: ['[PAD]'] }),
      /specialTokens: \[UNK\] is missing/,
    ],
    ['a special token twice', () => trainBPE(words, { specialTokens: ['x', 'x'] }), /'x' is given twice/],
    ['an empty special token', () => trainBPE(words, { specialTokens: [''] }), /expected non-empty strings/],
  ])('refuses %s', async (_, train, message) => {
    const error = await train().catch((e: unknown) => e)
    expect(error).toBeInstanceOf(ArgumentError)
    expect((error as EvenfoldError).message).toMatch(message)
  })

  it('passes an error of its texts on', async () => {
    const texts = (function* () {
      yield 'a'
      throw new RangeError('the disk is gone')
    })()
    await expect(trainBPE(texts)).rejects.toThrow(new RangeError('the disk is gone'))
  })
})
