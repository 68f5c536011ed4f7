// The values of all groups of a partition, from the rows as they are or as they were drawn. Equal rows are merged for
// resampling: a metric then sees each kind of row once, with the weight of its draws.

import type { Compat, CompareOptions, Comparison, Measure, NamedMeasure } from './measure'
import { type AggregateRules, differenceOf, extremeOf, ratioOf } from './measure'
import { conform, type Metric } from './metrics'
import type { Group, Partition } from './groups'
import type { Label, Rows } from './rows'

/** Values of all rows and of each group, for several metrics. */
export class Table<M extends string> {
  constructor(
    readonly overall: Record<M, Measure>,
    readonly groups: readonly { group: Group; values: Record<M, Measure> }[],
    readonly rules: AggregateRules,
  ) {}

  /** The groups' values of one metric. */
  values(metric: M): NamedMeasure[] {
    return this.groups.map(({ group, values }) => ({ name: group.name, measure: values[metric] }))
  }

  difference(metric: M, options: CompareOptions = {}): Comparison {
    return differenceOf(this.values(metric), this.overall[metric], options, this.rules)
  }

  ratio(metric: M, options: CompareOptions = {}): Comparison {
    return ratioOf(this.values(metric), this.overall[metric], options, this.rules)
  }

  extreme(which: 'min' | 'max', metric: M): Comparison {
    return extremeOf(which, this.values(metric), this.rules)
  }
}

interface Encoded {
  codes: Int32Array
  count: number
}

/** Numbers for equal values, densely from 0. */
function encode(column: ArrayLike<unknown>): Encoded {
  const seen = new Map<unknown, number>()
  const codes = new Int32Array(column.length)
  for (let i = 0; i < column.length; i++) {
    let code = seen.get(column[i])
    if (code === undefined) {
      code = seen.size
      seen.set(column[i], code)
    }
    codes[i] = code
  }
  return { codes, count: seen.size }
}

/** Kinds of equal rows: the first row of each, and how many there are. */
export interface Kinds {
  first: Int32Array
  counts: Float64Array
}

/** Merges rows that are equal in every column and in their group; kinds come group by group. */
export function mergeRows(
  partition: Partition,
  columns: ArrayLike<unknown>[],
): Kinds & { strata: Int32Array } {
  const size = partition.codes.length
  let key: Encoded = { codes: new Int32Array(size), count: 1 }
  for (const column of columns) {
    const { codes, count } = encode(column)
    const own = key.codes
    key = encode(Float64Array.from(codes, (code, i) => own[i]! * count + code))
  }
  const first: number[] = []
  const counts: number[] = []
  const strata: number[] = []
  partition.groups.forEach(({ rows }, code) => {
    const here = new Map<number, number>()
    for (const row of rows) {
      const at = here.get(key.codes[row]!)
      if (at !== undefined) counts[at]!++
      else {
        here.set(key.codes[row]!, first.length)
        first.push(row)
        counts.push(1)
        strata.push(code)
      }
    }
  })
  return { first: Int32Array.from(first), counts: Float64Array.from(counts), strata: Int32Array.from(strata) }
}

/** A column's values in the given rows. */
export function take<T>(column: ArrayLike<T>, rows: ArrayLike<number>): T[] {
  const values = new Array<T>(rows.length)
  for (let i = 0; i < rows.length; i++) values[i] = column[rows[i]!]!
  return values
}

/** Rows in another order, or fewer of them. */
export function takeRows(rows: Rows, which: ArrayLike<number>): Rows {
  const { labels, predictions, scores, weights } = rows
  return {
    ...rows,
    labels: take(labels, which),
    predictions: take(predictions, which),
    scores: scores && take(scores, which),
    weights: weights && Float64Array.from(take(weights, which)),
  }
}

function record<M extends string>(names: M[], of: (name: M) => Measure): Record<M, Measure> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<M, Measure>
}

/** The table of the rows as they are. */
export function tableOf<M extends string>(
  metrics: Record<M, Metric>,
  rows: Rows,
  partition: Partition,
  rules: AggregateRules,
): Table<M> {
  const names = Object.keys(metrics) as M[]
  const measured = (name: M, part: Rows, compat?: Compat) =>
    conform(metrics[name], metrics[name].measure(part), compat, part.labels.length)
  const groups = partition.groups.map((group) => {
    const part = takeRows(rows, group.rows)
    return { group, values: record(names, (name) => measured(name, part, rules.compat)) }
  })
  return new Table(
    record(names, (name) => measured(name, rows, rules.compat)),
    groups,
    rules,
  )
}

/** One set of answers to a partition's rows, with weights that are filled in later. */
interface Run {
  all: Rows
  parts: Rows[]
}

/** A partition's rows, ready to be drawn anew; several answers to the same rows share each draw. */
export class Resampler<M extends string> {
  /** What the bootstrap needs: kinds of rows, their counts, and the group of each as its stratum. */
  readonly draw: { size: number; counts: Float64Array; strata: Int32Array }
  readonly #own: Float64Array | undefined
  readonly #weights: Float64Array
  readonly #runs: Run[]
  readonly #names: M[]

  /** `runs`: answers to the same rows; they differ in predictions and scores alone. */
  constructor(
    readonly metrics: Record<M, Metric>,
    runs: readonly Rows[],
    readonly partition: Partition,
    readonly rules: AggregateRules,
  ) {
    this.#names = Object.keys(metrics) as M[]
    const { labels, weights } = runs[0]!
    // Scores tell almost every row from every other; they count only where a metric looks at them.
    const scored = Object.values<Metric>(metrics).some(({ needs }) => needs === 'scores')
    const columns: (ArrayLike<Label> | undefined)[] = [labels, weights, ...runs.map((run) => run.predictions)]
    if (scored) columns.push(...runs.map((run) => run.scores))
    const { first, counts, strata } = mergeRows(
      partition,
      columns.filter((column) => column !== undefined),
    )
    this.draw = { size: first.length, counts, strata }
    this.#own = weights && Float64Array.from(take(weights, first))
    this.#weights = new Float64Array(first.length)
    this.#runs = runs.map((run) => this.#run({ ...takeRows(run, first), weights: this.#weights }, strata))
  }

  #run(all: Rows, strata: Int32Array): Run {
    let start = 0
    const parts = this.partition.groups.map((_, code) => {
      let end = start
      while (end < strata.length && strata[end] === code) end++
      const range = Int32Array.from({ length: end - start }, (_, i) => start + i)
      const part = { ...takeRows(all, range), weights: this.#weights.subarray(start, end) }
      start = end
      return part
    })
    return { all, parts }
  }

  /** The table of each run, of rows drawn so often. */
  tables(drawn: Float64Array): Table<M>[] {
    const own = this.#own
    for (let i = 0; i < drawn.length; i++) this.#weights[i] = own ? drawn[i]! * own[i]! : drawn[i]!
    const { compat } = this.rules
    return this.#runs.map(({ all, parts }) => {
      const measured = (name: M, part: Rows) => {
        const metric = this.metrics[name]
        return conform(metric, metric.measure(part), compat, part.labels.length)
      }
      const groups = this.partition.groups.map((group, code) => {
        const part = parts[code]!
        return { group, values: record(this.#names, (name) => measured(name, part)) }
      })
      return new Table(
        record(this.#names, (name) => measured(name, all)),
        groups,
        this.rules,
      )
    })
  }
}
