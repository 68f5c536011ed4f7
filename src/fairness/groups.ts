// Who belongs to which group. Columns become partitions of the rows: one for each sensitive feature, one for their
// intersection, one for the classes. A missing value is a group of its own; a combination that no row has is a group too.

import { ArgumentError } from '../errors'
import { checkLength, compareLabels, type Label } from './rows'

/** A sensitive or control column; null, undefined, NaN and '' are missing. */
export type GroupColumn = ArrayLike<Label | null | undefined>

/** The level of rows whose value is missing. */
export const MISSING = '(missing)'

/** One group of a partition. */
export interface Group {
  /** `sex=f, age=old`. */
  name: string
  /** The level of each feature. */
  levels: Record<string, string>
  /** Row numbers, ascending. */
  rows: Int32Array
}

/** The rows, parted into groups. */
export interface Partition {
  /** A feature's name, or those of an intersection joined by ' x '. */
  name: string
  groups: Group[]
  /** The group of each row. */
  codes: Int32Array
}

interface Column {
  name: string
  levels: string[]
  codes: Int32Array
}

function isMissing(value: Label | null | undefined): value is null | undefined {
  return value === null || value === undefined || value === '' || Number.isNaN(value)
}

function readColumn(name: string, values: GroupColumn): Column {
  const index = new Map<Label | null, number>()
  const raw = new Int32Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    const key = isMissing(value) ? null : value
    let code = index.get(key)
    if (code === undefined) {
      code = index.size
      index.set(key, code)
    }
    raw[i] = code
  }
  const keys = [...index.keys()].sort((a, b) => (a === null ? 1 : b === null ? -1 : compareLabels(a, b)))
  const rank = new Int32Array(index.size)
  keys.forEach((key, i) => {
    rank[index.get(key)!] = i
  })
  const levels = keys.map((key) => (key === null ? MISSING : String(key)))
  if (new Set(levels).size < levels.length) {
    throw new ArgumentError(`groups.${name}: two values read the same, such as 1 and "1"; use one type`)
  }
  return { name, levels, codes: raw.map((code) => rank[code]!) }
}

/** More cells than this help nobody, and would only cost memory. */
const MOST_GROUPS = 10_000

function cross(columns: Column[], size: number): Partition {
  const count = columns.reduce((product, { levels }) => product * levels.length, 1)
  if (count > MOST_GROUPS) {
    const sizes = columns.map(({ name, levels }) => `${name} ${levels.length}`).join(', ')
    throw new ArgumentError(
      `groups: ${count} groups (levels: ${sizes}); at most ${MOST_GROUPS}. Bin numbers such as an age first`,
    )
  }
  const codes = new Int32Array(size)
  for (const { levels, codes: own } of columns) {
    for (let i = 0; i < size; i++) codes[i] = codes[i]! * levels.length + own[i]!
  }
  const members = Array.from({ length: count }, () => [] as number[])
  codes.forEach((code, row) => {
    members[code]!.push(row)
  })
  const groups = members.map((rows, code) => {
    let rest = code
    const parts: [string, string][] = []
    for (const { name, levels } of columns.toReversed()) {
      parts.unshift([name, levels[rest % levels.length]!])
      rest = Math.floor(rest / levels.length)
    }
    return {
      name: parts.map(([name, level]) => `${name}=${level}`).join(', '),
      levels: Object.fromEntries(parts),
      rows: Int32Array.from(rows),
    }
  })
  return { name: columns.map(({ name }) => name).join(' x '), groups, codes }
}

/** One partition for each column and, with several, one for the intersection of all; that one first. */
export function partitionsOf(columns: Record<string, GroupColumn>, size: number): Partition[] {
  const read = Object.entries(columns).map(([name, values]) => {
    checkLength(`groups.${name}`, values, size)
    return readColumn(name, values)
  })
  const single = read.map((column) => cross([column], size))
  return read.length > 1 ? [cross(read, size), ...single] : single
}

/** All rows as one group. */
export function everyRow(size: number): Partition {
  const rows = Int32Array.from({ length: size }, (_, i) => i)
  return { name: 'all rows', groups: [{ name: 'all rows', levels: {}, rows }], codes: new Int32Array(size) }
}
