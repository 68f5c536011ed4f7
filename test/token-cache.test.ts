// Token ids in a file: what comes back, in how much memory, as a loader's source, and from damaged or foreign files.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { DataLoader, maskedLM, type Sample, TokenCache } from '../src/data'
import { ArgumentError, FormatError, IndexError } from '../src/errors'
import { checkVocabulary, Vocabulary, vocabularyHash } from '../src/text'
import { SubwordTokenizer } from '../src/tokenizers'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-cache-'))
afterAll(() => fs.rmSync(folder, { recursive: true }))
const file = path.join(folder, 'tokens.bin')

const vocabularyOf = (size: number) => ({ tokens: Array.from({ length: size }, (_, i) => `t${i}`) })
const small = vocabularyOf(100)
const plain = ({ ids, label }: Sample) => ({ ids: Array.from(ids), label })

async function written(samples: Sample[], vocabulary = small): Promise<Uint8Array<ArrayBuffer>> {
  await TokenCache.write(file, samples, { vocabulary })
  return new Uint8Array(fs.readFileSync(file))
}

describe('TokenCache', () => {
  it.each([
    ['uint16', 65536],
    ['int32', 65537],
  ])('gives back every row in any order, ids as %s', async (dtype, size) => {
    const vocabulary = vocabularyOf(size)
    const row = fc.record({
      ids: fc.array(fc.oneof(fc.nat(size - 1), fc.constant(size - 1)), { maxLength: 12 }),
      label: fc.integer(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), fc.boolean(), async (rows, offsets) => {
        expect(await TokenCache.write(file, rows, { vocabulary })).toBe(rows.length)
        const cache = await TokenCache.open(file, { vocabulary, offsets })
        expect([cache.length, cache.totalIds]).toEqual([rows.length, rows.flatMap(({ ids }) => ids).length])
        for (let i = rows.length - 1; i >= 0; i--) {
          const sample = await cache.get(i)
          expect(plain(sample)).toEqual(rows[i])
          expect(sample.ids).toBeInstanceOf(dtype === 'uint16' ? Uint16Array : Int32Array)
          expect(cache.lengthOf?.(i)).toBe(offsets ? rows[i]!.ids.length : undefined)
        }
      }),
      { numRuns: 15 },
    )
  })

  it('feeds a loader with the batches that the samples in memory give, bucketing included', async () => {
    const samples = Array.from({ length: 50 }, (_, i) => ({
      ids: new Array(1 + ((i * 7) % 9)).fill(i),
      label: i % 2,
    }))
    async function* lazily() {
      yield* samples
    }
    await TokenCache.write(file, lazily(), { vocabulary: small })
    for (const bucketBatches of [0, 2]) {
      const given = { batchSize: 8, shuffle: true, seed: 3, bucketBatches }
      const cache = await TokenCache.open(file, { vocabulary: small, offsets: bucketBatches > 0 })
      const expected = new DataLoader(samples, given)[Symbol.asyncIterator]()
      for await (const batch of new DataLoader(cache, given))
        expect(batch).toEqual((await expected.next()).value)
      expect((await expected.next()).done).toBe(true)
    }
  })

  it('leads from texts and a tokenizer.json to masked batches', async () => {
    const json = fs.readFileSync(path.join(import.meta.dirname, 'fixtures/tokenizer.json'), 'utf8')
    const tokenizer = new SubwordTokenizer(json)
    const texts = ['the movie was great', 'not playing', '']
    const samples = texts.map((text, label) => ({ ids: tokenizer.encode(text).ids, label }))
    await TokenCache.write(file, samples, { vocabulary: tokenizer })
    const loader = new DataLoader(await TokenCache.open(file, { vocabulary: tokenizer }), { batchSize: 3 })
    const { specialIds, size } = tokenizer
    const collate = maskedLM({
      maskId: tokenizer.idOf('[MASK]')!,
      vocabularySize: size,
      specialIds,
      probability: 1,
      maskPart: 1,
      randomPart: 0,
    })
    for await (const batch of loader) {
      const { ids, labels, shape, targets } = collate(batch, 0)
      expect([shape, targets]).toEqual([[3, 6], 7])
      expect([...ids]).toEqual([2, 4, 4, 4, 4, 3, 2, 4, 4, 4, 3, 0, 2, 3, 0, 0, 0, 0])
      expect([...labels].filter((id) => id !== -100)).toEqual([5, 6, 7, 8, 9, 10, 11])
    }
  })

  it('reads two offsets and the row for a row, however long the file is', async () => {
    const bytes = await written(
      Array.from({ length: 70_000 }, (_, i) => ({ ids: [i % 100, 1, 2], label: i })),
    )
    const reads: number[] = []
    class Counted extends Blob {
      override slice(start?: number, end?: number): Blob {
        reads.push(end! - start!)
        return super.slice(start, end)
      }
    }
    const cache = await TokenCache.open(new Counted([bytes]), { vocabulary: small })
    expect(reads.reduce((a, b) => a + b)).toBeLessThan(1000)
    reads.length = 0
    expect(plain(await cache.get(69_999))).toEqual({ ids: [99, 1, 2], label: 69_999 })
    expect(plain(await cache.get(65_536))).toEqual({ ids: [36, 1, 2], label: 65_536 })
    expect(reads).toEqual([16, 10, 16, 10])
  })

  it('leaves the old file, and nothing else, when writing fails', async () => {
    const before = await written([{ ids: [1, 2], label: 0 }])
    async function* failing() {
      yield { ids: [1], label: 0 }
      throw new ArgumentError('no more')
    }
    const write = (samples: Iterable<Sample> | AsyncIterable<Sample>) =>
      TokenCache.write(file, samples, { vocabulary: small })
    await expect(write(failing())).rejects.toThrow('no more')
    await expect(
      write([
        { ids: [1], label: 0 },
        { ids: [100], label: 0 },
      ]),
    ).rejects.toThrow(/row 1: id 100 is outside the vocabulary of 100 tokens/)
    await expect(write([{ ids: [-1], label: 0 }])).rejects.toThrow(ArgumentError)
    await expect(write([{ ids: [1], label: 0.5 }])).rejects.toThrow(
      /row 0: label 0\.5 is not a 32-bit integer/,
    )
    expect(new Uint8Array(fs.readFileSync(file))).toEqual(before)
    expect(fs.readdirSync(folder)).toEqual(['tokens.bin'])
  })

  it('refuses another vocabulary, of another size or of other tokens', async () => {
    const bytes = await written([{ ids: [1, 2], label: 0 }])
    await expect(TokenCache.open(bytes, { vocabulary: vocabularyOf(99) })).rejects.toThrow(
      /its ids belong to another vocabulary \(of 100 tokens, this one has 99\); give the vocabulary/,
    )
    const swapped = { tokens: small.tokens.with(3, 't4').with(4, 't3') }
    await expect(TokenCache.open(bytes, { vocabulary: swapped })).rejects.toThrow(FormatError)
  })

  it('refuses files that are cut short or changed', async () => {
    const samples = Array.from({ length: 4 }, (_, i) => ({ ids: [i, 1], label: i }))
    const bytes = await written(samples)
    const open = (changed: Uint8Array) => TokenCache.open(changed, { vocabulary: small })
    for (let length = 0; length < bytes.length; length++) {
      await expect(open(bytes.subarray(0, length)), `${length} bytes`).rejects.toBeInstanceOf(FormatError)
      await expect(
        open(bytes.subarray(bytes.length - length)),
        `last ${length} bytes`,
      ).rejects.toBeInstanceOf(FormatError)
    }
    // Any one byte: no crash and no endless read; rows come back, or the error says that the file is damaged.
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice()
      changed[at]! ^= 0x41
      try {
        const cache = await open(changed)
        for (let i = 0; i < cache.length; i++)
          for (const id of Array.from((await cache.get(i)).ids)) expect(id).toBeLessThan(100)
      } catch (error) {
        expect(error, `byte ${at}`).toBeInstanceOf(FormatError)
      }
    }
  })

  it('has no row outside its length', async () => {
    const cache = await TokenCache.open(await written([{ ids: [1], label: 0 }]), { vocabulary: small })
    for (const index of [-1, 1, 0.5]) await expect(cache.get(index)).rejects.toBeInstanceOf(IndexError)
  })
})

describe('vocabularies', () => {
  it('have a hash that changes with any token, its place, and where one ends and the next begins', () => {
    const hash = vocabularyHash(small)
    expect(hash).toMatch(/^[0-9a-f]{16}$/)
    expect(vocabularyHash(vocabularyOf(100))).toBe(hash)
    const others = [['a', 'b'], ['b', 'a'], ['ab'], ['a', 'b', ''], ['a,b'], ['a","b'], ['A', 'b'], []]
    const both = others.flatMap((tokens) => {
      const found = vocabularyHash({ tokens })
      return [found.slice(0, 8), found.slice(8)]
    })
    expect(new Set(both).size).toBe(2 * others.length)
    // Stored files hold it: the function must not change.
    expect(vocabularyHash(new Vocabulary(['good', 'bad']))).toMatchInlineSnapshot(`"97c0ff2a0bccd010"`)
  })

  it('must have as many tokens as the model has rows', () => {
    const vocabulary = new Vocabulary(['good', 'bad'])
    expect(() => checkVocabulary(vocabulary, 4)).not.toThrow()
    expect(() => checkVocabulary(vocabulary, 3)).toThrow(
      /the tokenizer has 4 tokens, but the model's embedding has 3 rows/,
    )
    expect(() => checkVocabulary(vocabulary, 3, { padded: true })).toThrow(ArgumentError)
    expect(() => checkVocabulary(vocabulary, 64)).toThrow(/different vocabularies; .* \{ padded: true \}/)
    expect(() => checkVocabulary(vocabulary, 64, { padded: true })).not.toThrow()
  })
})
