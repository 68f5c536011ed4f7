// CSV by RFC 4180, read as a stream: quoted fields may hold delimiters, doubled quotes and line breaks.
//
// A parser of our own, since the usual library needs Node's streams (its browser build carries old stand-ins
// for them, a third as fast) and miscounts lines after a CRLF in quotes; the tests compare the two.

import { ArgumentError } from '../errors'
import { type ColumnOptions, examplesFromRows, type Row, type TextExample } from './examples'
import { type DataSource, formatError, MAX_RECORD, readText } from './source'

export interface CsvOptions extends Partial<ColumnOptions> {
  /** Whether the first record names the columns; default false. */
  header?: boolean
  /** One character; default ','. */
  delimiter?: string
}

const QUOTE = 0x22
const LF = 0x0a
const CR = 0x0d

type State = 'fieldStart' | 'plain' | 'quoted' | 'quoteSeen' | 'returnSeen'

/** Keeps its state between pieces of text, wherever they are cut. */
class CsvParser {
  readonly #source: DataSource
  readonly #delimiter: number
  #state: State = 'fieldStart'
  #fields: string[] = []
  #field = ''
  #line = 1
  #recordLine = 1
  #rows: Row[] = []

  constructor(source: DataSource, delimiter: string) {
    if (delimiter.length !== 1 || '"\r\n'.includes(delimiter)) {
      throw new ArgumentError(
        `delimiter: expected one character other than quotes and line ends, got '${delimiter}'`,
      )
    }
    this.#source = source
    this.#delimiter = delimiter.charCodeAt(0)
  }

  /** The records that end in this piece of text. */
  push(text: string): Row[] {
    let at = 0
    while (at < text.length) {
      if (this.#state === 'quoted') at = this.#quoted(text, at)
      else if (this.#state === 'plain') at = this.#plain(text, at)
      else at = this.#boundary(text, at)
    }
    return this.#takeRows()
  }

  /** The last record, if the text does not end with a line break. */
  end(): Row[] {
    if (this.#state === 'quoted')
      this.#fail('a quoted field of this record is never closed', this.#recordLine)
    if (this.#state !== 'fieldStart' || this.#fields.length > 0) this.#endRecord()
    return this.#takeRows()
  }

  /** At the start of a field or after its closing quote: one character decides. */
  #boundary(text: string, at: number): number {
    const code = text.charCodeAt(at)
    if (this.#state === 'fieldStart') {
      this.#state = code === QUOTE ? 'quoted' : 'plain'
      return code === QUOTE ? at + 1 : at
    }
    if (code === LF) this.#endRecord()
    else if (this.#state === 'returnSeen')
      this.#fail('a carriage return without a line feed after a quoted field')
    else if (code === QUOTE) {
      this.#field += '"'
      this.#state = 'quoted'
    } else if (code === CR) this.#state = 'returnSeen'
    else if (code === this.#delimiter) this.#endField()
    else this.#fail('text after a closing quote; a quote inside a quoted field must be doubled')
    return at + 1
  }

  #plain(text: string, start: number): number {
    let at = start
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === QUOTE) this.#fail('a quote inside a field that is not quoted')
      if (code !== this.#delimiter && code !== LF) continue
      this.#append(text, start, at)
      if (code === LF) this.#endRecord()
      else this.#endField()
      return at + 1
    }
    this.#append(text, start, at)
    return at
  }

  #quoted(text: string, start: number): number {
    const quote = text.indexOf('"', start)
    const end = quote < 0 ? text.length : quote
    for (let at = text.indexOf('\n', start); at >= 0 && at < end; at = text.indexOf('\n', at + 1))
      this.#line++
    this.#append(text, start, end)
    if (quote < 0) return end
    this.#state = 'quoteSeen'
    return quote + 1
  }

  #append(text: string, start: number, end: number): void {
    this.#field += text.slice(start, end)
    if (this.#field.length > MAX_RECORD) {
      this.#fail(
        `a field is longer than ${MAX_RECORD} characters; is a quote never closed?`,
        this.#recordLine,
      )
    }
  }

  #endField(): void {
    this.#fields.push(this.#field)
    this.#field = ''
    this.#state = 'fieldStart'
  }

  #endRecord(): void {
    if (this.#state === 'plain' && this.#field.endsWith('\r')) this.#field = this.#field.slice(0, -1)
    const blank = this.#state === 'plain' && this.#field === '' && this.#fields.length === 0
    this.#endField()
    if (!blank) this.#rows.push({ fields: this.#fields, line: this.#recordLine })
    this.#fields = []
    this.#recordLine = ++this.#line
  }

  #takeRows(): Row[] {
    const rows = this.#rows
    this.#rows = []
    return rows
  }

  #fail(message: string, line = this.#line): never {
    throw formatError(this.#source, line, message)
  }
}

/** The records of a CSV source, the header included, in constant memory; blank lines are left out. */
export async function* csvRows(
  source: DataSource,
  options: { delimiter?: string } = {},
): AsyncGenerator<Row> {
  const parser = new CsvParser(source, options.delimiter ?? ',')
  for await (const text of readText(source)) yield* parser.push(text)
  yield* parser.end()
}

/**
 * Reads labelled texts from CSV. The defaults read Amazon Polarity as published: no header, columns
 * label, title, text (the text is column 2), labels '1' and '2'; with `header`, the columns are named
 * 'label' and 'text'. Throws FormatError naming source and line.
 */
export function readCsv(source: DataSource, options: CsvOptions = {}): AsyncGenerator<TextExample> {
  const header = options.header ?? false
  return examplesFromRows(source, csvRows(source, options), {
    header,
    textColumn: options.textColumn ?? (header ? 'text' : 2),
    labelColumn: options.labelColumn === undefined ? (header ? 'label' : 0) : options.labelColumn,
    labels: options.labels ?? ['1', '2'],
  })
}
