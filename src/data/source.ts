// Where text comes from (a path, a Blob, a stream, a string) and how it becomes lines: decoded chunk by
// chunk in constant memory, with the file and line named when the bytes are not UTF-8.

import { platform } from '#platform'
import { FormatError } from '../errors'

/** A path (under Node), a page's File or Blob, bytes, a stream of bytes, or the text itself. */
export type DataSource =
  | string
  | Blob
  | Uint8Array
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | { text: string; name?: string }

/** The longest record that is read, in characters: an unclosed quote must not swallow a whole file. */
export const MAX_RECORD = 1 << 24

/** What error messages call a source. */
export function sourceName(source: DataSource): string {
  if (typeof source === 'string') return source
  if ('name' in source && typeof source.name === 'string') return source.name
  return 'data'
}

/** A FormatError at a line of a source. */
export function formatError(source: DataSource, line: number, message: string, cause?: unknown): FormatError {
  return new FormatError(`${sourceName(source)}, line ${line}: ${message}`, { cause })
}

/** Bytes are decoded in pieces of at most this size, whatever the source delivers. */
const PIECE = 1 << 16

async function* bytePieces(source: DataSource): AsyncIterable<Uint8Array> {
  for await (const chunk of byteChunks(source)) {
    for (let start = 0; start < chunk.byteLength; start += PIECE) yield chunk.subarray(start, start + PIECE)
  }
}

async function* byteChunks(source: DataSource): AsyncIterable<Uint8Array> {
  if (typeof source === 'string') yield* platform.readChunks(source)
  else if (source instanceof Uint8Array) yield source
  else if ('text' in source && typeof source.text === 'string') yield new TextEncoder().encode(source.text)
  else if (typeof Blob !== 'undefined' && source instanceof Blob) yield* streamChunks(source.stream())
  else if ('getReader' in source) yield* streamChunks(source)
  else yield* source as AsyncIterable<Uint8Array>
}

/** Not every browser lets a stream be iterated directly. */
async function* streamChunks(stream: ReadableStream<Uint8Array>): AsyncIterable<Uint8Array> {
  const reader = stream.getReader()
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value
  } finally {
    await reader.cancel()
  }
}

/** The text of a source in pieces of any length; a byte order mark is dropped. Throws FormatError on bad UTF-8. */
export async function* readText(source: DataSource): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let line = 1
  let tail: Uint8Array = new Uint8Array(0)
  for await (const chunk of bytePieces(source)) {
    let text: string
    try {
      text = decoder.decode(chunk, { stream: true })
    } catch (error) {
      throw formatError(source, line + linesBeforeError(tail, chunk), 'the bytes are not valid UTF-8', error)
    }
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) line++
    tail = chunk.byteLength >= 3 ? chunk.slice(-3) : concat(tail, chunk).slice(-3)
    if (text !== '') yield text
  }
  try {
    decoder.decode()
  } catch (error) {
    throw formatError(source, line, 'the bytes end inside a UTF-8 character; is the file truncated?', error)
  }
}

/** How many lines of a chunk are sound, given the (at most three) bytes before it. */
function linesBeforeError(tail: Uint8Array, chunk: Uint8Array): number {
  // A newline is never part of a longer character, so each line can be tried by itself.
  let lead = 0
  while (lead < tail.byteLength && (tail[lead]! & 0xc0) === 0x80) lead++
  const bytes = concat(tail.subarray(lead), chunk)
  let lines = 0
  let start = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    if (!isUtf8(bytes.subarray(start, end))) break
    // The newlines of the tail were counted with its own chunk.
    if (end >= tail.byteLength - lead) lines++
    start = end + 1
  }
  return lines
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.byteLength + b.byteLength)
  both.set(a)
  both.set(b, a.byteLength)
  return both
}

/** A line of a text, without its line ending (LF or CRLF), and its number from 1. */
export interface Line {
  text: string
  line: number
}

/** The lines of a source. Throws FormatError on bad UTF-8 and on a line above 16 Mi characters. */
export async function* readLines(source: DataSource): AsyncGenerator<Line> {
  let rest = ''
  let line = 1
  const withoutReturn = (text: string) => (text.endsWith('\r') ? text.slice(0, -1) : text)
  for await (const text of readText(source)) {
    let start = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      yield { text: withoutReturn(rest + text.slice(start, end)), line: line++ }
      rest = ''
      start = end + 1
    }
    rest += text.slice(start)
    if (rest.length > MAX_RECORD) {
      throw formatError(source, line, `the line is longer than ${MAX_RECORD} characters`)
    }
  }
  if (rest !== '') yield { text: withoutReturn(rest), line }
}
