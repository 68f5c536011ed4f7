import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DataLoader, type DataLoaderOptions, type HostBatch, type Sample } from '../src/data'
import { ArgumentError, FormatError } from '../src/errors'

/** Samples of 1 to 9 tokens; sample i is i+1 repeated, with label i % 3. */
const samples = (n: number): Sample[] =>
  Array.from({ length: n }, (_, i) => ({ ids: new Int32Array(1 + ((i * 7) % 9)).fill(i + 1), label: i % 3 }))

async function epoch(loader: DataLoader): Promise<HostBatch[]> {
  const batches: HostBatch[] = []
  for await (const batch of loader) batches.push(batch)
  return batches
}

const order = (batches: readonly HostBatch[]) => batches.map(({ indices }) => [...indices])

describe('DataLoader', () => {
  it('pads on the right to the longest of the batch', async () => {
    const given = [
      { ids: [5, 6, 7], label: 1 },
      { ids: [8], label: 0 },
    ]
    const [batch] = await epoch(new DataLoader(given, { batchSize: 2, paddingId: 9 }))
    expect(batch).toEqual({
      ids: Int32Array.of(5, 6, 7, 8, 9, 9),
      mask: Uint8Array.of(1, 1, 1, 1, 0, 0),
      lengths: Int32Array.of(3, 1),
      labels: Int32Array.of(1, 0),
      indices: Int32Array.of(0, 1),
      shape: [2, 3],
    })
  })

  it.each<[DataLoaderOptions, number, number[]]>([
    [{ maxLength: 2 }, 2, [2, 1]],
    [{ multipleOf: 4 }, 4, [3, 1]],
    [{ multipleOf: 4, maxLength: 3 }, 3, [3, 1]],
    [{ padTo: 'maxLength', maxLength: 5 }, 5, [3, 1]],
  ])('%j gives width %d', async (options, width, lengths) => {
    const given = [
      { ids: [5, 6, 7], label: 1 },
      { ids: [8], label: 0 },
    ]
    const [batch] = await epoch(new DataLoader(given, options))
    expect(batch!.shape).toEqual([2, width])
    expect([...batch!.lengths]).toEqual(lengths)
    expect(batch!.mask.reduce((a, b) => a + b)).toBe(lengths[0]! + lengths[1]!)
  })

  it('gives every sample once an epoch, whatever the options', async () => {
    const options = fc.record({
      batchSize: fc.integer({ min: 1, max: 7 }),
      shuffle: fc.boolean(),
      bucketBatches: fc.nat(3),
      prefetch: fc.nat(3),
      seed: fc.integer(),
    })
    await fc.assert(
      fc.asyncProperty(options, fc.integer({ min: 1, max: 40 }), async (given, n) => {
        const all = samples(n)
        const loader = new DataLoader(all, given)
        const batches = await epoch(loader)
        expect(batches).toHaveLength(loader.length)
        expect(
          order(batches)
            .flat()
            .sort((a, b) => a - b),
        ).toEqual(all.map((_, i) => i))
        for (const { indices, ids, lengths, labels, shape } of batches) {
          indices.forEach((index, row) => {
            const { ids: expected, label } = all[index]!
            expect([...ids.subarray(row * shape[1], row * shape[1] + lengths[row]!)]).toEqual([
              ...(expected as Int32Array),
            ])
            expect(labels[row]).toBe(label)
          })
        }
      }),
    )
  })

  it('keeps the given order unless told to shuffle', async () => {
    expect(order(await epoch(new DataLoader(samples(5), { batchSize: 2 })))).toEqual([[0, 1], [2, 3], [4]])
  })

  it('gives a range in the given order beside its epochs, which go on where they were', async () => {
    const options = { batchSize: 2, shuffle: true, seed: 3 }
    const loader = new DataLoader(samples(7), options)
    const [whole, parts] = [await epoch(new DataLoader(samples(7), options)), []] as [
      HostBatch[],
      HostBatch[],
    ]
    for await (const batch of loader) {
      parts.push(batch)
      const some: HostBatch[] = []
      for await (const one of loader.inOrder(1, 6)) some.push(one)
      expect(order(some)).toEqual([[1, 2], [3, 4], [5]])
    }
    expect(parts).toEqual(whole)
    const all: HostBatch[] = []
    for await (const one of loader.inOrder()) all.push(one)
    expect(order(all).flat()).toEqual([0, 1, 2, 3, 4, 5, 6])
    for (const [from, to] of [
      [-1, 2],
      [3, 2],
      [0, 8],
      [0.5, 2],
    ] as const)
      await expect(loader.inOrder(from, to).next()).rejects.toThrow(
        /inOrder: .* expected a range within the 7 samples/,
      )
  })

  it('shuffles each epoch anew, the same way for the same seed', async () => {
    const shuffled = async (seed: number) => {
      const loader = new DataLoader(samples(30), { batchSize: 4, shuffle: true, seed })
      return [order(await epoch(loader)), order(await epoch(loader))]
    }
    const [first, second] = await shuffled(1)
    expect(first).not.toEqual(second)
    expect(await shuffled(1)).toEqual([first, second])
    expect((await shuffled(2))[0]).not.toEqual(first)
  })

  it('dropLast leaves out the incomplete batch, and not always the longest samples', async () => {
    const all = samples(90)
    const loader = new DataLoader(all, { batchSize: 4, shuffle: true, dropLast: true, bucketBatches: 3 })
    let dropped = 0
    for (let e = 0; e < 4; e++) {
      const batches = await epoch(loader)
      expect(batches).toHaveLength(22)
      expect(batches.every(({ shape }) => shape[0] === 4)).toBe(true)
      const seen = new Set(order(batches).flat())
      dropped += all.reduce((sum, sample, i) => sum + (seen.has(i) ? 0 : sample.ids.length), 0)
    }
    expect(dropped).toBeLessThan(8 * 9)
  })

  it('bucketing saves padding, and batches still come in random order of length', async () => {
    const padded = (batches: HostBatch[]) => batches.reduce((sum, { ids }) => sum + ids.length, 0)
    const options = { batchSize: 8, shuffle: true, seed: 3 }
    const plain = await epoch(new DataLoader(samples(400), options))
    const bucketed = await epoch(new DataLoader(samples(400), { ...options, bucketBatches: 10 }))
    const tokens = samples(400).reduce((sum, { ids }) => sum + ids.length, 0)
    expect(padded(bucketed)).toBeLessThan(1.1 * tokens)
    expect(padded(plain)).toBeGreaterThan(1.4 * tokens)
    const widths = bucketed.slice(0, 10).map(({ shape }) => shape[1])
    expect(widths).not.toEqual([...widths].sort((a, b) => a - b))
  })

  it('resumes at any batch of any epoch as if it had never stopped', async () => {
    const options = { batchSize: 4, shuffle: true, bucketBatches: 2, seed: 5 }
    const whole = new DataLoader(samples(30), options)
    const expected = [...(await epoch(whole)), ...(await epoch(whole)), ...(await epoch(whole))]
    for (let stop = 0; stop <= 16; stop++) {
      const first = new DataLoader(samples(30), options)
      let delivered = 0
      while (delivered < stop) {
        for await (const batch of first) {
          expect(batch).toEqual(expected[delivered])
          if (++delivered === stop) break
        }
      }
      const resumed = new DataLoader(samples(30), options)
      resumed.loadState(JSON.parse(JSON.stringify(first.state())))
      const rest: HostBatch[] = []
      while (resumed.epoch < 3) rest.push(...(await epoch(resumed)))
      expect(rest).toEqual(expected.slice(stop))
    }
  })

  it('goes on after a break, and from the start after setEpoch', async () => {
    const loader = new DataLoader(samples(6), { batchSize: 2 })
    for await (const _ of loader) break
    expect(order(await epoch(loader))).toEqual([
      [2, 3],
      [4, 5],
    ])
    loader.setEpoch(0)
    expect(order(await epoch(loader))).toHaveLength(3)
    expect(loader.epoch).toBe(1)
  })

  it('refuses a state of other data', () => {
    const loader = new DataLoader(samples(6), { batchSize: 2 })
    const state = loader.state()
    expect(() => loader.loadState({ ...state, seed: 1 })).toThrow(FormatError)
    expect(() => loader.loadState({ ...state, samples: 7 })).toThrow(/samples is 7, but this loader has 6/)
    expect(() => loader.loadState({ ...state, batchSize: 3 })).toThrow(FormatError)
    expect(() => loader.loadState({ ...state, batch: 4 })).toThrow(/no batch 4/)
    expect(() => loader.loadState({ ...state, epoch: -1 })).toThrow(FormatError)
  })

  it('fetches ahead, no further than asked', async () => {
    let fetched = 0
    const source = {
      length: 20,
      get: async (i: number) => {
        fetched++
        return { ids: [i + 1], label: 0 }
      },
    }
    let delivered = 0
    for await (const _ of new DataLoader(source, { batchSize: 2, prefetch: 3 })) {
      delivered++
      expect(fetched).toBe(Math.min(20, 2 * (delivered + 3)))
    }
    expect(delivered).toBe(10)
  })

  it('an error in a fetch comes out of the loop, and nowhere else', async () => {
    const source = {
      length: 6,
      get: async (i: number): Promise<Sample> => {
        if (i === 4) throw new Error('disk gone')
        return { ids: [1], label: 0 }
      },
    }
    let delivered = 0
    const run = async () => {
      for await (const _ of new DataLoader(source, { batchSize: 2, prefetch: 5 })) delivered++
    }
    await expect(run()).rejects.toThrow('disk gone')
    expect(delivered).toBe(2)
  })

  it('lets macrotasks run in a long loop', async () => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)
    const start = performance.now()
    const loader = new DataLoader(samples(64))
    while (performance.now() - start < 300) await epoch(loader)
    clearInterval(timer)
    expect(ticks).toBeGreaterThanOrEqual(4)
  })

  it('refuses to be iterated twice at a time', async () => {
    const loader = new DataLoader(samples(6), { batchSize: 2 })
    const nested = async () => {
      for await (const _ of loader) for await (const __ of loader) break
    }
    await expect(nested()).rejects.toThrow(/use one loader for each loop/)
  })

  it.each<[Sample[], DataLoaderOptions, RegExp]>([
    [[], {}, /the data set is empty/],
    [samples(3), { batchSize: 0 }, /batchSize: expected an integer of at least 1, got 0/],
    [samples(3), { batchSize: 4, dropLast: true }, /3 samples do not fill one batch of 4/],
    [samples(3), { maxLength: 0 }, /maxLength/],
    [samples(3), { padTo: 'maxLength' }, /needs the option maxLength/],
    [samples(3), { multipleOf: 1.5 }, /multipleOf/],
    [samples(3), { bucketBatches: -1 }, /bucketBatches/],
  ])('refuses bad options (%#)', (given, options, message) => {
    expect(() => new DataLoader(given, options)).toThrow(ArgumentError)
    expect(() => new DataLoader(given, options)).toThrow(message)
  })

  it('refuses a sample without tokens', async () => {
    await expect(epoch(new DataLoader([{ ids: [], label: 0 }]))).rejects.toThrow(/sample 0 has no tokens/)
  })
})
