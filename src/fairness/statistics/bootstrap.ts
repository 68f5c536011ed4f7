// Intervals for any statistic, by drawing the rows anew many times (B. Efron, Annals of Statistics 7 (1979), 1-26).
//
// A statistic gets *weights*: how often each row, or each kind of equal rows, was drawn. So rows that are equal in all that
// the statistic sees can be given once with their count, and the work goes with the kinds. A comparison of two models is
// paired when its statistic looks at both under the same weights.

import { HostRandom } from '../../backend/threefry'
import { ArgumentError, ShapeError } from '../../errors'
import { resample, type Stratum } from './draws'
import { checkAtLeast, checkLevel, type Interval, type LevelOptions } from './options'
import { normalCdf, normalQuantile } from './special'

/** How {@link bootstrap} resamples and reads the result. */
export interface ResampleOptions extends LevelOptions {
  /** How often the rows are drawn anew. Default 2000. */
  resamples?: number
  /**
   * `percentile` (default): quantiles of the resampled values. `bca`: corrected for bias and skewness (B. Efron, JASA 82
   * (1987), 171-185); it measures the statistic once more for every kind of row.
   */
  method?: 'percentile' | 'bca'
  /** Equal seeds give equal intervals. Default 0. */
  seed?: number
}

/** What {@link bootstrap} draws from. */
export interface BootstrapOptions extends ResampleOptions {
  /** How many kinds of rows there are; without `counts` each is a single row. */
  size: number
  /** Rows of each kind: integers of at least 0. */
  counts?: ArrayLike<number>
  /** The stratum of each kind (small integers): each stratum keeps its number of rows. Without it there is one. */
  strata?: ArrayLike<number>
}

/** The outcome for one statistic. */
export interface BootstrapResult {
  /** The statistic of the rows as they are; undefined where it has no value there. */
  value?: number
  /** Undefined where the statistic has no value, or lacked one in more than 5 % of the resamples. */
  interval?: Interval
  /** Standard deviation over the resamples. */
  standardError?: number
  /** How many resamples gave no value. */
  undefinedResamples: number
  /** The resampled values, ascending. */
  values: Float64Array
}

/** A statistic: a number, or undefined where the rows do not define it. */
export type Statistic = (weights: Float64Array) => number | undefined

function strataOf(
  name: string,
  { size, counts, strata }: BootstrapOptions,
): { rows: Float64Array; all: Stratum[] } {
  checkAtLeast(name, 'size', size, 1)
  for (const [argument, values] of Object.entries({ counts, strata })) {
    if (values && values.length !== size) {
      throw new ShapeError(`${name}: ${argument} has ${values.length} entries for ${size} kinds of rows`)
    }
  }
  const rows = counts ? Float64Array.from(counts) : new Float64Array(size).fill(1)
  const members = new Map<number, number[]>()
  rows.forEach((count, kind) => {
    if (!(Number.isSafeInteger(count) && count >= 0)) {
      throw new ArgumentError(`${name}: counts[${kind}] is ${count}; expected an integer of at least 0`)
    }
    if (count === 0) return
    const stratum = strata?.[kind] ?? 0
    const kinds = members.get(stratum)
    if (kinds) kinds.push(kind)
    else members.set(stratum, [kind])
  })
  const all = [...members.values()].map((kinds) => ({
    kinds: Int32Array.from(kinds),
    counts: rows,
    size: kinds.reduce((sum, kind) => sum + rows[kind]!, 0),
  }))
  return { rows, all }
}

/**
 * Bootstrap intervals of one or several statistics, all from the same resamples; each stratum is resampled on its own.
 * A resample without a value (a rate whose group drew no positive) is left out and counted.
 *
 * ```ts
 * const answers = [1, 0, 1, 1, 1, 0]
 * const { share } = bootstrap({ share: (w) => answers.reduce((sum, a, i) => sum + a * w[i], 0) / 6 }, { size: 6 })
 * ```
 * @throws ArgumentError for counts, levels or sizes outside their range; ShapeError for arrays of another length.
 */
export function bootstrap<Name extends string>(
  statistics: Record<Name, Statistic>,
  options: BootstrapOptions,
): Record<Name, BootstrapResult> {
  const names = Object.keys(statistics) as Name[]
  const results = bootstrapAll((weights) => names.map((name) => statistics[name](weights)), options)
  return Object.fromEntries(names.map((name, i) => [name, results[i]!])) as Record<Name, BootstrapResult>
}

/** As {@link bootstrap}, for a function that computes several statistics in one go. */
export function bootstrapAll(
  statistics: (weights: Float64Array) => (number | undefined)[],
  options: BootstrapOptions,
): BootstrapResult[] {
  const level = checkLevel('bootstrap', options.level)
  const { resamples = 2000, method = 'percentile', seed = 0 } = options
  checkAtLeast('bootstrap', 'resamples', resamples, 1)
  if (method !== 'percentile' && method !== 'bca') {
    throw new ArgumentError(`bootstrap: method is '${String(method)}'; expected 'percentile' or 'bca'`)
  }
  const { rows, all } = strataOf('bootstrap', options)
  const observed = statistics(rows.slice())
  const drawn = observed.map(() => [] as number[])
  const random = new HostRandom(seed)
  const weights = new Float64Array(rows.length)
  for (let draw = 0; draw < resamples; draw++) {
    for (const stratum of all) resample(random, stratum, weights)
    statistics(weights).forEach((value, i) => {
      if (value !== undefined && !Number.isNaN(value)) drawn[i]!.push(value)
    })
  }
  const influence = method === 'bca' ? jackknife(statistics, rows, all) : null
  return observed.map((value, i) => {
    const values = Float64Array.from(drawn[i]!).sort()
    const result: BootstrapResult = { undefinedResamples: resamples - values.length, values }
    if (value === undefined || Number.isNaN(value)) return result
    result.value = value
    if (result.undefinedResamples > 0.05 * resamples) return result
    result.standardError = deviation(values)
    const [low, high] = influence
      ? bcaTails(value, values, influence[i]!, level)
      : [(1 - level) / 2, (1 + level) / 2]
    result.interval = [quantile(values, low), quantile(values, high)]
    return result
  })
}

function deviation(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.sqrt(
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1),
  )
}

/** Linear between order statistics, as NumPy's default. `sorted` has at least one value. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const at = Math.min(1, Math.max(0, q)) * (sorted.length - 1)
  const low = sorted[Math.floor(at)]!
  const high = sorted[Math.ceil(at)]!
  return low === high ? low : low + (high - low) * (at - Math.floor(at)) // infinite ends stay infinite
}

/** For each statistic its values without one row of each kind, and how many such rows there are. */
function jackknife(
  statistics: (weights: Float64Array) => (number | undefined)[],
  rows: Float64Array,
  strata: Stratum[],
): { value: number; count: number }[][] {
  const left: { value: number; count: number }[][] = []
  const weights = rows.slice()
  for (const { kinds } of strata) {
    for (const kind of kinds) {
      weights[kind]!--
      statistics(weights).forEach((value, i) => {
        left[i] ??= []
        if (value !== undefined && !Number.isNaN(value)) left[i].push({ value, count: rows[kind]! })
      })
      weights[kind]!++
    }
  }
  return left
}

/** The quantiles to read: moved by the share of resamples below the value (bias) and by the jackknife's skewness. */
function bcaTails(
  value: number,
  sorted: Float64Array,
  left: { value: number; count: number }[],
  level: number,
): [number, number] {
  let below = 0
  for (const one of sorted) below += one < value ? 1 : one === value ? 0.5 : 0
  const bias = normalQuantile(
    Math.min(1 - 0.5 / sorted.length, Math.max(0.5 / sorted.length, below / sorted.length)),
  )
  const total = left.reduce((sum, { count }) => sum + count, 0)
  const mean = left.reduce((sum, one) => sum + (one.value * one.count) / total, 0)
  let squares = 0
  let cubes = 0
  for (const { value: one, count } of left) {
    squares += count * (mean - one) ** 2
    cubes += count * (mean - one) ** 3
  }
  const skew = squares > 0 ? cubes / (6 * squares ** 1.5) : 0
  const tail = (z: number) => normalCdf(bias + (bias + z) / (1 - skew * (bias + z)))
  return [tail(normalQuantile((1 - level) / 2)), tail(normalQuantile((1 + level) / 2))]
}

/**
 * Bootstrap of a difference between two answers to the same rows: both are drawn together, so what makes a row hard for
 * either cancels. `statistic` gets the values of one side and the weights; the result is that of `after` minus `before`.
 * @throws ShapeError for sides of another length; else as {@link bootstrap}.
 */
export function pairedBootstrap<T>(
  before: ArrayLike<T>,
  after: ArrayLike<T>,
  statistic: (values: ArrayLike<T>, weights: Float64Array) => number | undefined,
  options: ResampleOptions & { strata?: ArrayLike<number> } = {},
): BootstrapResult {
  if (before.length !== after.length) {
    throw new ShapeError(
      `pairedBootstrap: before has ${before.length} rows and after ${after.length}; expected the same rows`,
    )
  }
  const difference: Statistic = (weights) => {
    const first = statistic(before, weights)
    const second = statistic(after, weights)
    return first === undefined || second === undefined ? undefined : second - first
  }
  return bootstrap({ difference }, { ...options, size: before.length }).difference
}
