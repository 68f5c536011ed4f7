// Deterministic splits and samples: which record goes where depends on the seed and its position alone.

import { HostRandom } from '../backend/threefry'
import { ArgumentError } from '../errors'

export interface SplitOptions {
  /** Part held out, in (0, 1); give this or `count`. */
  fraction?: number
  /** Number held out. */
  count?: number
  /** Default 0. */
  seed?: number
}

/** Indices of the two parts of a split, each ascending. */
export interface Split {
  train: Int32Array<ArrayBuffer>
  heldOut: Int32Array<ArrayBuffer>
}

/**
 * Holds out a uniform random subset of n records. Throws ArgumentError unless exactly one of `fraction`
 * (rounded, at least 1 record) and `count` is given and both parts get at least one record.
 */
export function holdOut(n: number, options: SplitOptions): Split {
  const { fraction, count, seed = 0 } = options
  if ((fraction === undefined) === (count === undefined)) {
    throw new ArgumentError('holdOut: give exactly one of fraction and count')
  }
  if (fraction !== undefined && !(fraction > 0 && fraction < 1)) {
    throw new ArgumentError(`fraction: expected a number in (0, 1), got ${fraction}`)
  }
  const size = count ?? Math.max(1, Math.round(n * fraction!))
  if (!Number.isInteger(size) || size < 1 || size >= n) {
    throw new ArgumentError(`holdOut: cannot hold out ${size} of ${n} records; both parts need at least one`)
  }
  const order = new HostRandom(seed).permutation(n)
  return { heldOut: order.slice(0, size).sort(), train: order.slice(size).sort() }
}

/**
 * A uniform random sample of `count` records of a stream of unknown length, in constant memory and in
 * the order of the stream (reservoir sampling, Vitter's algorithm R). Shorter streams are kept whole.
 */
export async function reservoirSample<T>(
  records: AsyncIterable<T> | Iterable<T>,
  count: number,
  options: { seed?: number } = {},
): Promise<T[]> {
  if (!Number.isInteger(count) || count < 1) {
    throw new ArgumentError(`count: expected a positive integer, got ${count}`)
  }
  const random = new HostRandom(options.seed ?? 0)
  const kept: { record: T; position: number }[] = []
  let position = 0
  for await (const record of records) {
    const slot = position < count ? position : random.nextInt(position + 1)
    if (slot < count) kept[slot] = { record, position }
    position++
  }
  return kept.sort((a, b) => a.position - b.position).map(({ record }) => record)
}
