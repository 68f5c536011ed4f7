// Batches of token sequences as host arrays: order, bucketing by length, padding, and a position that can
// be stored. The order of an epoch is a function of seed and epoch alone, so two numbers resume it.

import { HostRandom } from '../backend/threefry'
import { ArgumentError, FormatError } from '../errors'
import { breathe } from '../tensor/tensor'

/** A token sequence with its label (any integer; -1 for none). */
export interface Sample {
  ids: ArrayLike<number>
  label: number
}

/** Samples in memory, or fetched one by one. */
export interface SampleSource {
  readonly length: number
  get(index: number): Sample | Promise<Sample>
  /** Length of a sample before truncation, without fetching it; needed for bucketing. */
  lengthOf?(index: number): number
}

export interface DataLoaderOptions {
  /** Samples a batch; default 32. */
  batchSize?: number
  /** A new random order each epoch; default false. */
  shuffle?: boolean
  /** Seed of the order; default 0. */
  seed?: number
  /**
   * Batches of similar length: within pools of this many batches, samples are sorted by length. Fewer
   * padded steps, while the order of the batches stays random. Default 0: off.
   */
  bucketBatches?: number
  /** Id that fills shorter sequences; default 0. */
  paddingId?: number
  /** Longer sequences are cut; default: no limit. */
  maxLength?: number
  /** 'longest': to the batch's longest sequence (default); 'maxLength': every batch equally wide. */
  padTo?: 'longest' | 'maxLength'
  /** Round the width up to a multiple, at most maxLength; fewer distinct shapes. Default 1. */
  multipleOf?: number
  /** Leave out an incomplete last batch; default false. */
  dropLast?: boolean
  /** Host batches fetched ahead of the consumer; default 2. Matters where samples are fetched. */
  prefetch?: number
}

/** A batch on the host; B sequences padded to width L on the right. */
export interface HostBatch {
  /** [B, L], row-major. */
  ids: Int32Array<ArrayBuffer>
  /** `[B, L]`: 1 at tokens, 0 at padding. */
  mask: Uint8Array<ArrayBuffer>
  /** `[B]`: tokens in each sequence, at least 1. */
  lengths: Int32Array<ArrayBuffer>
  /** [B] */
  labels: Int32Array<ArrayBuffer>
  /** `[B]`: which samples these are. */
  indices: Int32Array<ArrayBuffer>
  shape: [number, number]
}

/** Where a loader stands: `batch` batches of epoch `epoch` were delivered. Plain JSON. */
export interface DataLoaderState {
  epoch: number
  batch: number
  seed: number
  samples: number
  batchSize: number
}

/**
 * Iterating gives the batches of one epoch; the next iteration gives the next epoch. An iteration left
 * early (`break`, or a stored state) goes on where it stopped; `setEpoch` starts an epoch from its first
 * batch. Only one iteration can run at a time.
 */
export class DataLoader implements AsyncIterable<HostBatch> {
  readonly #samples: SampleSource
  readonly #options: Required<DataLoaderOptions>
  #epoch = 0
  #batch = 0
  #iteration = 0

  constructor(samples: readonly Sample[] | SampleSource, options: DataLoaderOptions = {}) {
    this.#samples = isList(samples) ? listSource(samples) : samples
    this.#options = checkedOptions(options)
    const { length } = this.#samples
    const { batchSize, bucketBatches } = this.#options
    if (length === 0) throw new ArgumentError('samples: the data set is empty')
    if (this.length === 0) {
      throw new ArgumentError(`dropLast: ${length} samples do not fill one batch of ${batchSize}`)
    }
    if (bucketBatches > 0 && !this.#samples.lengthOf) {
      throw new ArgumentError('bucketBatches: the sample source must have lengthOf(index)')
    }
  }

  /** Batches an epoch. */
  get length(): number {
    const { batchSize, dropLast } = this.#options
    const batches = this.#samples.length / batchSize
    return dropLast ? Math.floor(batches) : Math.ceil(batches)
  }

  /** The epoch of the next batch, from 0. */
  get epoch(): number {
    return this.#epoch
  }

  /** Goes to the first batch of an epoch. */
  setEpoch(epoch: number): void {
    this.#moveTo(epoch, 0)
  }

  /** The position after the last delivered batch, for a checkpoint. */
  state(): DataLoaderState {
    const { seed, batchSize } = this.#options
    return { epoch: this.#epoch, batch: this.#batch, seed, samples: this.#samples.length, batchSize }
  }

  /** Goes to a stored position. Throws FormatError if it belongs to other data, seed or batch size. */
  loadState(state: DataLoaderState): void {
    const own = this.state()
    for (const key of ['seed', 'samples', 'batchSize'] as const) {
      if (state[key] !== own[key]) {
        throw new FormatError(`loader state: ${key} is ${state[key]}, but this loader has ${own[key]}`)
      }
    }
    const { epoch, batch } = state
    if (!isCount(epoch) || !isCount(batch) || batch > this.length) {
      throw new FormatError(`loader state: no batch ${batch} of epoch ${epoch}; an epoch has ${this.length}`)
    }
    this.#moveTo(epoch, batch)
  }

  #moveTo(epoch: number, batch: number): void {
    if (!isCount(epoch)) throw new ArgumentError(`epoch: expected a non-negative integer, got ${epoch}`)
    this.#epoch = epoch
    this.#batch = batch
    this.#iteration++
  }

  /**
   * The samples `from` to `to` (not included) once, in their own order, padded and cut as in training. The position stays
   * where it is.
   */
  async *inOrder(from = 0, to = this.#samples.length): AsyncGenerator<HostBatch> {
    const { length } = this.#samples
    if (!(isCount(from) && isCount(to) && from <= to && to <= length)) {
      throw new ArgumentError(`inOrder: ${from} to ${to}; expected a range within the ${length} samples`)
    }
    const { batchSize } = this.#options
    for (let start = from; start < to; start += batchSize) {
      const count = Math.min(batchSize, to - start)
      yield await this.#assemble(Int32Array.from({ length: count }, (_, i) => start + i))
      await breathe()
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<HostBatch> {
    const iteration = ++this.#iteration
    const plan = this.#planEpoch()
    const ahead: Promise<HostBatch>[] = []
    let fetched = this.#batch
    while (this.#batch < plan.length) {
      while (fetched < plan.length && ahead.length <= this.#options.prefetch) {
        const next = this.#assemble(plan[fetched++]!)
        next.catch(() => {}) // thrown below, when its turn comes, unless the consumer leaves before
        ahead.push(next)
      }
      const batch = await ahead.shift()!
      await breathe()
      if (iteration !== this.#iteration) {
        throw new ArgumentError('this loader was moved or iterated elsewhere; use one loader for each loop')
      }
      this.#batch++
      yield batch
    }
    if (iteration === this.#iteration) this.#moveTo(this.#epoch + 1, 0)
  }

  /** The sample indices of every batch of the current epoch. */
  #planEpoch(): Int32Array[] {
    const { batchSize, shuffle, seed, bucketBatches } = this.#options
    const random = new HostRandom(seed).fork(this.#epoch)
    const { length } = this.#samples
    let order = shuffle ? random.permutation(length) : Int32Array.from({ length }, (_, i) => i)
    // Before sorting, so that what is dropped is not the longest.
    order = order.subarray(0, Math.min(length, this.length * batchSize))
    const plan: Int32Array[] = []
    const poolSize = bucketBatches > 0 ? bucketBatches * batchSize : order.length
    for (let start = 0; start < order.length; start += poolSize) {
      let pool = order.subarray(start, start + poolSize)
      if (bucketBatches > 0) pool = this.#byLength(pool)
      const batches: Int32Array[] = []
      for (let at = 0; at < pool.length; at += batchSize) batches.push(pool.subarray(at, at + batchSize))
      const places = bucketBatches > 0 && shuffle ? random.permutation(batches.length) : batches.keys()
      for (const place of places) plan.push(batches[place]!)
    }
    return plan
  }

  /** Sorted by length; equal ones stay in order (Array.prototype.sort is stable). */
  #byLength(pool: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
    const { maxLength } = this.#options
    const keyed = Array.from(pool, (index) => ({
      index,
      length: Math.min(this.#samples.lengthOf!(index), maxLength),
    }))
    keyed.sort((a, b) => a.length - b.length)
    return Int32Array.from(keyed, ({ index }) => index)
  }

  async #assemble(indices: Int32Array): Promise<HostBatch> {
    const { maxLength, padTo, multipleOf, paddingId } = this.#options
    const fetched: (Sample | Promise<Sample>)[] = []
    for (const index of indices) fetched.push(this.#samples.get(index))
    const samples = await Promise.all(fetched)
    const lengths = Int32Array.from(samples, ({ ids }) => Math.min(ids.length, maxLength))
    const empty = lengths.indexOf(0)
    if (empty >= 0) {
      throw new ArgumentError(`sample ${indices[empty]} has no tokens; leave it out, or give it one <unk>`)
    }
    const longest = padTo === 'maxLength' ? maxLength : lengths.reduce((a, b) => Math.max(a, b))
    const width = Math.min(Math.ceil(longest / multipleOf) * multipleOf, maxLength)
    const size = samples.length * width
    const ids = new Int32Array(size).fill(paddingId)
    const mask = new Uint8Array(size)
    samples.forEach((sample, row) => {
      const length = lengths[row]!
      for (let i = 0; i < length; i++) ids[row * width + i] = sample.ids[i]!
      mask.fill(1, row * width, row * width + length)
    })
    const labels = Int32Array.from(samples, ({ label }) => label)
    return { ids, mask, lengths, labels, indices: Int32Array.from(indices), shape: [samples.length, width] }
  }
}

function isList(samples: readonly Sample[] | SampleSource): samples is readonly Sample[] {
  return Array.isArray(samples)
}

function listSource(samples: readonly Sample[]): SampleSource {
  return {
    length: samples.length,
    get: (index) => samples[index]!,
    lengthOf: (index) => samples[index]!.ids.length,
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function checkedOptions(options: DataLoaderOptions): Required<DataLoaderOptions> {
  const checked: Required<DataLoaderOptions> = {
    batchSize: options.batchSize ?? 32,
    shuffle: options.shuffle ?? false,
    seed: options.seed ?? 0,
    bucketBatches: options.bucketBatches ?? 0,
    paddingId: options.paddingId ?? 0,
    maxLength: options.maxLength ?? Number.POSITIVE_INFINITY,
    padTo: options.padTo ?? 'longest',
    multipleOf: options.multipleOf ?? 1,
    dropLast: options.dropLast ?? false,
    prefetch: options.prefetch ?? 2,
  }
  for (const [key, least] of [
    ['batchSize', 1],
    ['multipleOf', 1],
    ['bucketBatches', 0],
    ['prefetch', 0],
  ] as const) {
    const value = checked[key]
    if (!Number.isSafeInteger(value) || value < least) {
      throw new ArgumentError(`${key}: expected an integer of at least ${least}, got ${value}`)
    }
  }
  const { maxLength, padTo } = checked
  if (!(maxLength >= 1) || (maxLength !== Number.POSITIVE_INFINITY && !Number.isInteger(maxLength))) {
    throw new ArgumentError(`maxLength: expected an integer of at least 1, got ${maxLength}`)
  }
  if (padTo === 'maxLength' && maxLength === Number.POSITIVE_INFINITY) {
    throw new ArgumentError("padTo: 'maxLength' needs the option maxLength")
  }
  return checked
}
