// Masked language modelling: what is chosen, what stands in its place, and that a seed and a step decide it.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type HostBatch, IGNORED, maskedLM } from '../src/data'
import { ArgumentError, IndexError } from '../src/errors'

const specialIds = [0, 1, 2, 3, 4]
const options = { maskId: 4, vocabularySize: 1000, specialIds }

/** Rows of [CLS] words [SEP], padded with 0. */
function batchOf(rows: number, width: number, lengthOf = (_: number) => width): HostBatch {
  const ids = new Int32Array(rows * width)
  const mask = new Uint8Array(rows * width)
  const lengths = Int32Array.from({ length: rows }, (_, row) => lengthOf(row))
  lengths.forEach((length, row) => {
    for (let i = 0; i < length; i++) {
      ids[row * width + i] = i === 0 ? 2 : i === length - 1 ? 3 : 5 + ((row * 31 + i * 17) % 995)
      mask[row * width + i] = 1
    }
  })
  const zeros = new Int32Array(rows)
  return { ids, mask, lengths, labels: zeros, indices: zeros, shape: [rows, width] }
}

/** Five standard deviations of a count of n draws with probability p. */
const near = (count: number, n: number, p: number) =>
  expect(Math.abs(count - n * p)).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)))

describe('maskedLM', () => {
  it('chooses 15 %, of which 80 % become [MASK], 10 % a random word and 10 % stay', () => {
    const batch = batchOf(400, 102)
    const words = 400 * 100
    const { ids, labels, targets } = maskedLM(options)(batch, 0)
    const chosen = [...labels.keys()].filter((i) => labels[i] !== IGNORED)
    expect(chosen).toHaveLength(targets)
    near(targets, words, 0.15)
    const masked = chosen.filter((i) => ids[i] === 4)
    const same = chosen.filter((i) => ids[i] === labels[i])
    near(masked.length, targets, 0.8)
    // A random word is the word itself once in 995 times.
    near(same.length, targets, 0.1 + 0.1 / 995)
    near(targets - masked.length - same.length, targets, 0.1 - 0.1 / 995)
    const drawn = chosen.map((i) => ids[i]!).filter((id, k) => id !== 4 && id !== labels[chosen[k]!])
    expect(new Set(drawn).size).toBeGreaterThan(300) // of about 600 draws from 995 words
  })

  it('chooses rare tokens more often where it knows how often each occurs', () => {
    const batch = batchOf(400, 102)
    // Half of the words are a hundred times as common.
    const counts = Array.from({ length: 1000 }, (_, id) => (id % 2 === 0 ? 1000 : 10))
    const tokens = 400 * 102
    for (const [smoothing, ratio] of [
      [undefined, 100 ** 0.7],
      [0, 1],
    ] as const) {
      const mask = maskedLM({ ...options, counts, probability: 0.01, ...(smoothing === 0 && { smoothing }) })
      let [rare, common] = [0, 0]
      for (let step = 0; step < 5; step++) {
        const { labels, targets, ids } = mask(batch, step)
        expect(targets).toBe(Math.ceil(0.01 * tokens))
        for (const [i, id] of labels.entries()) {
          if (id === IGNORED) expect(ids[i]).toBe(batch.ids[i])
          else if (id % 2 === 0) common++
          else rare++
        }
      }
      near(rare, rare + common, ratio / (ratio + 1))
    }
  })

  it('chooses all words, and no more, where the part is larger than they are', () => {
    const { labels, targets } = maskedLM({ ...options, counts: new Float64Array(1000), probability: 1 })(
      batchOf(2, 7),
      3,
    )
    expect(targets).toBe(2 * 5)
    expect([...labels].filter((id) => id !== IGNORED)).toHaveLength(10)
  })

  it('refuses counts that are none', () => {
    const mask =
      (counts: number[], smoothing = 0.7) =>
      () =>
        maskedLM({ ...options, counts, smoothing })
    const ones = Array.from({ length: 1000 }, () => 1)
    expect(mask([1, 2])).toThrow('counts: 2 of them for a vocabulary of 1000 ids')
    expect(mask(ones.with(7, -1))).toThrow('counts: expected a number of at least 0 for id 7, got -1')
    expect(mask(ones.with(7, Number.NaN))).toThrow(ArgumentError)
    expect(mask(ones, -1)).toThrow('smoothing: expected a number of at least 0, got -1')
  })

  it('chooses neither special tokens nor padding, and puts no special token but [MASK] in', () => {
    const shapes = fc.record({ rows: fc.integer({ min: 1, max: 6 }), width: fc.integer({ min: 2, max: 20 }) })
    fc.assert(
      fc.property(
        shapes,
        fc.nat(),
        fc.nat(1000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (shape, seed, step, probability) => {
          const batch = batchOf(shape.rows, shape.width, (row) => Math.max(2, shape.width - row))
          const { ids, labels } = maskedLM({ ...options, seed, probability })(batch, step)
          batch.ids.forEach((id, i) => {
            if (specialIds.includes(id)) expect([ids[i], labels[i]]).toEqual([id, IGNORED])
            else if (labels[i] === IGNORED) expect(ids[i]).toBe(id)
            else {
              expect(labels[i]).toBe(id)
              expect(ids[i] === 4 || !specialIds.includes(ids[i]!)).toBe(true)
            }
          })
        },
      ),
    )
  })

  it('chooses everything or nothing where told', () => {
    const batch = batchOf(3, 10)
    const all = maskedLM({ ...options, probability: 1, maskPart: 1, randomPart: 0 })(batch, 0)
    expect([...all.ids]).toEqual([...batch.ids].map((id) => (id > 4 ? 4 : id)))
    expect([...all.labels]).toEqual([...batch.ids].map((id) => (id > 4 ? id : -100)))
    expect(all.targets).toBe(24)
    const none = maskedLM({ ...options, probability: 0 })(batch, 0)
    expect([none.targets, [...none.ids]]).toEqual([0, [...batch.ids]])
    const kept = maskedLM({ ...options, probability: 1, maskPart: 0, randomPart: 0 })(batch, 0)
    expect([kept.targets, [...kept.ids]]).toEqual([24, [...batch.ids]])
  })

  it('depends on seed and step alone, and leaves the batch as it is', () => {
    const batch = batchOf(8, 32)
    const before = [...batch.ids]
    const collate = maskedLM({ ...options, seed: 7 })
    const first = collate(batch, 3)
    collate(batch, 4)
    expect(collate(batch, 3)).toEqual(first)
    expect(maskedLM({ ...options, seed: 7 })(batch, 3)).toEqual(first)
    expect(collate(batch, 4).labels).not.toEqual(first.labels)
    expect(maskedLM({ ...options, seed: 8 })(batch, 3).labels).not.toEqual(first.labels)
    expect([...batch.ids]).toEqual(before)
    expect([first.lengths, first.mask, first.shape]).toEqual([batch.lengths, batch.mask, batch.shape])
  })

  it('refuses parts, sizes and ids that make no sense', () => {
    expect(() => maskedLM({ ...options, probability: 1.5 })).toThrow(
      /probability: expected a number from 0 to 1/,
    )
    expect(() => maskedLM({ ...options, maskPart: 0.8, randomPart: 0.3 })).toThrow(/0\.8 \+ 0\.3 is above 1/)
    expect(() => maskedLM({ ...options, vocabularySize: 0 })).toThrow(ArgumentError)
    expect(() => maskedLM({ ...options, maskId: 1000 })).toThrow(/1000 is outside the vocabulary of 1000 ids/)
    expect(() => maskedLM({ maskId: 0, vocabularySize: 2, specialIds: [1] })).toThrow(
      /every id .* is special/,
    )
    expect(() => maskedLM({ ...options, vocabularySize: 6 })(batchOf(2, 8), 0)).toThrow(IndexError)
  })
})
