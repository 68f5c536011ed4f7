// From rows of a table to labelled texts: which column holds what, and the checks that CSV, TSV and
// JSONL share.

import { ArgumentError, FormatError } from '../errors'
import { type DataSource, formatError, sourceName } from './source'

/** A text to classify. */
export interface TextExample {
  text: string
  /** Index of the label among the `labels` option; -1 where no label column was asked for. */
  label: number
  /** The line of the source on which the record starts, from 1. */
  line: number
}

/** Which columns to read. */
export interface ColumnOptions {
  /** Column of the text: an index from 0, or a name where the file has a header. */
  textColumn: number | string
  /** Column of the label; null for data without labels. */
  labelColumn: number | string | null
  /** The labels in class order: `['1', '2']` makes '1' class 0. Another label in the file is an error. */
  labels: readonly string[]
}

/** A record of a table. */
export interface Row {
  fields: string[]
  line: number
}

/**
 * Turns rows into examples. With `header`, the first row names the columns. Throws FormatError, naming
 * source and line, on a row of another width, a missing column, an unknown label, or no record at all.
 */
export async function* examplesFromRows(
  source: DataSource,
  rows: AsyncIterable<Row>,
  options: ColumnOptions & { header: boolean },
): AsyncGenerator<TextExample> {
  const classes = classIndex(options.labels)
  let columns: { text: number; label: number | null } | null = null
  let width = 0
  let headerSeen = false
  let count = 0
  for await (const { fields, line } of rows) {
    if (columns === null) {
      width = fields.length
      const names = options.header ? fields : null
      const { textColumn, labelColumn } = options
      columns = {
        text: columnIndex(source, line, 'textColumn', textColumn, names, width),
        label:
          labelColumn === null ? null : columnIndex(source, line, 'labelColumn', labelColumn, names, width),
      }
      headerSeen = options.header
      if (headerSeen) continue
    }
    if (fields.length !== width) {
      const expected = `${width} as in the ${headerSeen ? 'header' : 'first row'}`
      throw formatError(source, line, `the row has ${fields.length} fields, expected ${expected}`)
    }
    count++
    const label = columns.label === null ? -1 : classOf(source, line, fields[columns.label]!, classes)
    yield { text: fields[columns.text]!, label, line }
  }
  if (count === 0) throw emptyError(source, headerSeen)
}

function columnIndex(
  source: DataSource,
  line: number,
  option: string,
  column: number | string,
  names: readonly string[] | null,
  width: number,
): number {
  if (typeof column === 'number') {
    if (Number.isInteger(column) && column >= 0 && column < width) return column
    throw formatError(
      source,
      line,
      `${option} ${column} is not among the ${width} columns (0 to ${width - 1})`,
    )
  }
  if (names === null) {
    throw new ArgumentError(`${option}: '${column}' is a name, but header is false; give an index from 0`)
  }
  const index = names.indexOf(column)
  if (index >= 0) return index
  throw formatError(source, line, `there is no column '${column}'; the header has ${names.join(', ')}`)
}

/** The class of each label. */
export function classIndex(labels: readonly string[]): ReadonlyMap<string, number> {
  const classes = new Map(labels.map((label, index) => [label, index]))
  if (classes.size !== labels.length)
    throw new ArgumentError(`labels: [${labels.join(', ')}] has a duplicate`)
  return classes
}

/** The class of a label in the file, or a FormatError that lists the known ones. */
export function classOf(
  source: DataSource,
  line: number,
  label: string,
  classes: ReadonlyMap<string, number>,
): number {
  const index = classes.get(label)
  if (index !== undefined) return index
  const shown = label.length > 40 ? `${label.slice(0, 40)}…` : label
  throw formatError(
    source,
    line,
    `unknown label '${shown}'; expected one of ${[...classes.keys()].join(', ')}`,
  )
}

/** The error for a source without records. */
export function emptyError(source: DataSource, headerSeen = false): FormatError {
  return new FormatError(
    `${sourceName(source)}: ${headerSeen ? 'there are no records after the header' : 'it is empty'}`,
  )
}
