// Tab-separated text as GLUE publishes it (SST-2): a header, no quoting, LF or CRLF. For files with
// quoted fields, use readCsv with the delimiter '\t'.

import { type ColumnOptions, examplesFromRows, type Row, type TextExample } from './examples'
import { type DataSource, readLines } from './source'

export interface TsvOptions extends Partial<ColumnOptions> {
  /** Whether the first line names the columns; default true. */
  header?: boolean
}

/** The rows of a TSV source, the header included; blank lines are left out. */
export async function* tsvRows(source: DataSource): AsyncGenerator<Row> {
  for await (const { text, line } of readLines(source)) {
    if (text !== '') yield { fields: text.split('\t'), line }
  }
}

/**
 * Reads labelled texts from TSV. The defaults read SST-2: a header (whose names differ between its
 * files), the label in column 0, the text in column 1, labels 0 and 1. Throws FormatError naming source
 * and line.
 */
export function readTsv(source: DataSource, options: TsvOptions = {}): AsyncGenerator<TextExample> {
  return examplesFromRows(source, tsvRows(source), {
    header: options.header ?? true,
    textColumn: options.textColumn ?? 1,
    labelColumn: options.labelColumn === undefined ? 0 : options.labelColumn,
    labels: options.labels ?? ['0', '1'],
  })
}
