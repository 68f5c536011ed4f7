// JSON Lines: one object a line.

import { classIndex, classOf, emptyError, type TextExample } from './examples'
import { type DataSource, formatError, readLines } from './source'

/** A record of a JSONL source. */
export interface JsonRecord {
  value: Record<string, unknown>
  line: number
}

/** The objects of a JSONL source; blank lines are left out. Throws FormatError naming source and line. */
export async function* jsonlRecords(source: DataSource): AsyncGenerator<JsonRecord> {
  for await (const { text, line } of readLines(source)) {
    if (text.trim() === '') continue
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw formatError(source, line, `not valid JSON: ${reason}`, error)
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw formatError(source, line, 'expected a JSON object')
    }
    yield { value: value as Record<string, unknown>, line }
  }
}

export interface JsonlOptions {
  /** Key of the text; default 'text'. */
  textKey?: string
  /** Key of the label (a string, number or boolean); default 'label'; null for data without labels. */
  labelKey?: string | null
  /** The labels in class order, as strings; default ['0', '1']. */
  labels?: readonly string[]
}

/** Reads labelled texts from JSONL. Throws FormatError naming source and line. */
export async function* readJsonl(
  source: DataSource,
  options: JsonlOptions = {},
): AsyncGenerator<TextExample> {
  const { textKey = 'text', labelKey = 'label', labels = ['0', '1'] } = options
  const classes = classIndex(labels)
  let count = 0
  for await (const { value, line } of jsonlRecords(source)) {
    const text = Object.hasOwn(value, textKey) ? value[textKey] : undefined
    if (typeof text !== 'string') throw formatError(source, line, `'${textKey}' must be a string`)
    count++
    let label = -1
    if (labelKey !== null) {
      const given = Object.hasOwn(value, labelKey) ? value[labelKey] : undefined
      if (typeof given !== 'string' && typeof given !== 'number' && typeof given !== 'boolean') {
        throw formatError(source, line, `'${labelKey}' must be a string, a number or a boolean`)
      }
      label = classOf(source, line, String(given), classes)
    }
    yield { text, label, line }
  }
  if (count === 0) throw emptyError(source)
}
