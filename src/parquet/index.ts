// `evenfold/parquet`: labelled texts from Parquet files, one row group at a time, by the hyparquet package (an optional
// peer: only this path needs it).

import {
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet'
import { classIndex, classOf, emptyError, type TextExample } from '../data/examples'
import { openRanges, type RangeReader, type RangeSource } from '../data/ranges'
import { formatError } from '../data/source'
import { EvenfoldError, FormatError } from '../errors'

export interface ParquetOptions {
  /** Column of the text; default 'content'. */
  textColumn?: string
  /** Column of the label (string or whole number); default 'label'; null for data without labels. */
  labelColumn?: string | null
  /** The labels in class order, as strings; default ['0', '1']. Another label in the file is an error. */
  labels?: readonly string[]
  /**
   * Decompressors by codec name, e.g. `compressors` of the hyparquet-compressors package. Uncompressed and Snappy
   * files need none.
   */
  compressors?: Readonly<Record<string, (input: Uint8Array, outputLength: number) => Uint8Array>>
}

/**
 * Reads labelled texts from Parquet, in memory of one row group. The defaults read Amazon Polarity as Hugging Face
 * publishes it: `label`, `title`, `content`. `line` of an example is its row, from 1. Throws FormatError on anything but
 * Parquet, other columns (it lists those that are there), a codec without decompressor, an unknown label or a missing
 * value.
 */
export async function* readParquet(
  source: RangeSource,
  options: ParquetOptions = {},
): AsyncGenerator<TextExample> {
  const { textColumn = 'content', labelColumn = 'label', labels = ['0', '1'] } = options
  const classes = classIndex(labels)
  const reader = await openRanges(source)
  const compressors = options.compressors as Compressors | undefined
  const file = {
    byteLength: reader.byteLength,
    slice: async (start: number, end = reader.byteLength) => (await reader.read(start, end - start)).buffer,
  }
  const metadata = await explained(reader, 'not a readable Parquet file', () => parquetMetadataAsync(file))
  const columns = labelColumn === null ? [textColumn] : [textColumn, labelColumn]
  checkColumns(reader, metadata, columns)
  checkCodecs(reader, metadata, columns, compressors)

  let row = 0
  for (const group of metadata.row_groups) {
    const rowStart = row
    const rowEnd = rowStart + Number(group.num_rows)
    const records = await explained(reader, `rows ${rowStart + 1} to ${rowEnd} cannot be read`, () =>
      parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, ...(compressors && { compressors }) }),
    )
    if (records.length !== rowEnd - rowStart) {
      throw new FormatError(
        `${reader.name}: a row group has ${records.length} rows, its header says ${rowEnd - rowStart}`,
      )
    }
    for (const record of records) {
      row++
      const text: unknown = record[textColumn]
      if (typeof text !== 'string') throw wrongValue(reader, row, textColumn, text, 'a string')
      const label =
        labelColumn === null ? -1 : labelOf(reader, row, labelColumn, record[labelColumn], classes)
      yield { text, label, line: row }
    }
  }
  if (row === 0) throw emptyError({ text: '', name: reader.name })
}

function labelOf(
  reader: RangeReader,
  row: number,
  column: string,
  given: unknown,
  classes: ReadonlyMap<string, number>,
): number {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof given)) {
    throw wrongValue(reader, row, column, given, 'a string or a number')
  }
  return classOf({ text: '', name: reader.name }, row, String(given), classes)
}

function wrongValue(
  reader: RangeReader,
  row: number,
  column: string,
  given: unknown,
  expected: string,
): Error {
  const shown = given === null || given === undefined ? 'missing' : `a ${typeof given}`
  return formatError({ text: '', name: reader.name }, row, `'${column}' is ${shown}, expected ${expected}`)
}

function checkColumns(reader: RangeReader, metadata: FileMetaData, wanted: readonly string[]): void {
  const there = parquetSchema(metadata).children.map((column) => column.element.name)
  const missing = wanted.filter((column) => !there.includes(column))
  if (missing.length === 0) return
  throw new FormatError(
    `${reader.name}: there is no column ${missing.map((name) => `'${name}'`).join(', ')}; the file has ` +
      `${there.join(', ')}. Expected label, title, content, or the columns named by textColumn and labelColumn.`,
  )
}

function checkCodecs(
  reader: RangeReader,
  metadata: FileMetaData,
  wanted: readonly string[],
  compressors: Compressors | undefined,
): void {
  for (const { columns } of metadata.row_groups) {
    for (const { meta_data: column } of columns) {
      if (!column || !wanted.includes(column.path_in_schema[0]!)) continue
      const { codec } = column
      if (codec === 'UNCOMPRESSED' || codec === 'SNAPPY' || compressors?.[codec]) continue
      throw new FormatError(
        `${reader.name}: it is compressed with ${codec}; pass { compressors } of the hyparquet-compressors package`,
      )
    }
  }
}

/** hyparquet throws plain errors; here they name the file. */
async function explained<T>(reader: RangeReader, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof EvenfoldError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new FormatError(`${reader.name}: ${what}: ${reason}`, { cause: error })
  }
}
