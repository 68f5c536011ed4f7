// Token ids in a file, so that millions of texts are tokenized once and read row by row in constant memory.
//
//   'EFTOKENS'                                    8 bytes
//   rows: label int32, ids uint16 or int32        one after the other
//   offsets of the rows, and the end: float64     8 bytes each, rows + 1
//   description: JSON                             format, version, dtype, rows, ids, the vocabulary's size and hash
//   length of the JSON uint32, 'EFTOKENS'         12 bytes
//
// All little-endian. The description comes last, since the counts are known last; it is believed only as far as it
// agrees with the size of the file.

import { platform } from '#platform'
import { ArgumentError, FormatError, IndexError } from '../errors'
import { type TokenList, vocabularyHash } from '../text/vocabulary-check'
import type { Sample, SampleSource } from './loader'
import { openRanges, type RangeReader, type RangeSource } from './ranges'

const MAGIC = new TextEncoder().encode('EFTOKENS')
const TAIL = MAGIC.length + 4
const LABEL = 4
const OFFSET = 8
/** No description of ours is longer. */
const MAX_DESCRIPTION = 1 << 16
/** Rows are written in parts of about this size. */
const PART = 1 << 20

interface Description {
  format: 'evenfold.tokens'
  version: 1
  dtype: 'uint16' | 'int32'
  rows: number
  ids: number
  vocabularySize: number
  vocabularyHash: string
}

const idSize = (dtype: Description['dtype']) => (dtype === 'uint16' ? 2 : 4)

export interface OpenTokenCacheOptions {
  /** What the ids must belong to: FormatError if the file was written with another vocabulary. */
  vocabulary: TokenList
  /**
   * Keep the rows' offsets in memory (8 bytes a row): `lengthOf` then works, which bucketing needs, and a row is read
   * at once instead of in two steps. Default false: memory does not depend on the number of rows.
   */
  offsets?: boolean
}

/** A sample source for `DataLoader` that reads its rows from a file. */
export class TokenCache implements SampleSource {
  /** Number of rows. */
  readonly length: number
  /** Ids in all rows together. */
  readonly totalIds: number
  /** Length of a row; there with the option `offsets`. */
  readonly lengthOf?: (index: number) => number
  readonly #reader: RangeReader
  readonly #description: Description
  readonly #offsets: Float64Array | null

  private constructor(reader: RangeReader, description: Description, offsets: Float64Array | null) {
    this.#reader = reader
    this.#description = description
    this.#offsets = offsets
    this.length = description.rows
    this.totalIds = description.ids
    if (offsets)
      this.lengthOf = (index) => this.#idsBetween(this.#checked(index), offsets[index]!, offsets[index + 1]!)
  }

  /**
   * Writes samples to a file as they come; an error or a kill leaves what was there before. Throws ArgumentError on an
   * id outside the vocabulary or a label outside int32, naming the row. Returns the number of rows.
   */
  static async write(
    path: string,
    samples: Iterable<Sample> | AsyncIterable<Sample>,
    options: { vocabulary: TokenList },
  ): Promise<number> {
    let rows = 0
    await platform.writeFileAtomic(
      path,
      fileParts(samples, options.vocabulary, (count) => {
        rows = count
      }),
    )
    return rows
  }

  /** Opens a file that {@link write} made. Throws FormatError if it is damaged, or of another vocabulary. */
  static async open(source: RangeSource, options: OpenTokenCacheOptions): Promise<TokenCache> {
    const reader = await openRanges(source)
    const { description, table } = await readDescription(reader)
    const { tokens } = options.vocabulary
    if (
      tokens.length !== description.vocabularySize ||
      vocabularyHash(options.vocabulary) !== description.vocabularyHash
    ) {
      const given = `this one has ${tokens.length}${tokens.length === description.vocabularySize ? ' others' : ''}`
      throw new FormatError(
        `${reader.name}: its ids belong to another vocabulary (of ${description.vocabularySize} tokens, ${given}); ` +
          'give the vocabulary that it was written with, or write it again',
      )
    }
    const size = (description.rows + 1) * OFFSET
    const first = new Float64Array((await reader.read(table, OFFSET)).buffer)[0]
    const last = new Float64Array((await reader.read(table + size - OFFSET, OFFSET)).buffer)[0]
    if (first !== MAGIC.length || last !== table)
      throw damaged(reader, 'its table of rows does not fit the rows')
    const offsets = options.offsets ? new Float64Array((await reader.read(table, size)).buffer) : null
    return new TokenCache(reader, description, offsets)
  }

  /** A row. Throws IndexError outside 0 to length - 1, FormatError where the file is damaged. */
  async get(index: number): Promise<Sample> {
    this.#checked(index)
    const [start, end] = await this.#span(index)
    const count = this.#idsBetween(index, start, end)
    const bytes = await this.#reader.read(start, end - start)
    if (bytes.byteLength !== end - start) throw damaged(this.#reader, `row ${index} is cut short`)
    const { dtype, vocabularySize } = this.#description
    const ids =
      dtype === 'uint16'
        ? new Uint16Array(bytes.buffer, LABEL, count)
        : new Int32Array(bytes.buffer, LABEL, count)
    for (const id of ids) {
      if (id < 0 || id >= vocabularySize) {
        throw damaged(this.#reader, `row ${index} has id ${id}, the vocabulary ends at ${vocabularySize - 1}`)
      }
    }
    return { ids, label: new Int32Array(bytes.buffer, 0, 1)[0]! }
  }

  async #span(index: number): Promise<[number, number]> {
    if (this.#offsets) return [this.#offsets[index]!, this.#offsets[index + 1]!]
    const bytes = await this.#reader.read(tableStart(this.#description) + index * OFFSET, 2 * OFFSET)
    if (bytes.byteLength !== 2 * OFFSET)
      throw damaged(this.#reader, `the offset of row ${index} is cut short`)
    const [start, end] = new Float64Array(bytes.buffer)
    return [start!, end!]
  }

  /** How many ids lie in a row that claims these bytes. */
  #idsBetween(index: number, start: number, end: number): number {
    const count = (end - start - LABEL) / idSize(this.#description.dtype)
    const inside = start >= MAGIC.length && end <= tableStart(this.#description)
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(count) && count >= 0 && inside)) {
      throw damaged(this.#reader, `row ${index} claims bytes ${start} to ${end}`)
    }
    return count
  }

  #checked(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.length) return index
    throw new IndexError(`index ${index} is outside the ${this.length} rows of ${this.#reader.name}`)
  }
}

function damaged(reader: RangeReader, what: string): FormatError {
  return new FormatError(`${reader.name}: ${what}; the file is damaged or was changed, write it again`)
}

function tableStart({ rows, ids, dtype }: Description): number {
  return MAGIC.length + rows * LABEL + ids * idSize(dtype)
}

async function* fileParts(
  samples: Iterable<Sample> | AsyncIterable<Sample>,
  vocabulary: TokenList,
  done: (rows: number) => void,
): AsyncGenerator<Uint8Array> {
  const vocabularySize = vocabulary.tokens.length
  const dtype = vocabularySize <= 1 << 16 ? 'uint16' : 'int32'
  yield MAGIC
  const offsets = new GrowingOffsets()
  let at = MAGIC.length
  let ids = 0
  let rows: Uint8Array[] = []
  let waiting = 0
  for await (const sample of samples) {
    const row = rowBytes(sample, offsets.length, vocabularySize, dtype)
    offsets.push(at)
    at += row.byteLength
    ids += sample.ids.length
    rows.push(row)
    waiting += row.byteLength
    if (waiting < PART) continue
    yield joined(rows, waiting)
    rows = []
    waiting = 0
  }
  yield joined(rows, waiting)
  const count = offsets.length
  offsets.push(at)
  yield* offsets.parts()
  const description: Description = {
    format: 'evenfold.tokens',
    version: 1,
    dtype,
    rows: count,
    ids,
    vocabularySize,
    vocabularyHash: vocabularyHash(vocabulary),
  }
  const json = new TextEncoder().encode(JSON.stringify(description))
  yield json
  yield new Uint8Array(Uint32Array.of(json.byteLength).buffer)
  yield MAGIC
  done(count)
}

function rowBytes(
  { ids, label }: Sample,
  row: number,
  vocabularySize: number,
  dtype: Description['dtype'],
): Uint8Array {
  if ((label | 0) !== label) throw new ArgumentError(`row ${row}: label ${label} is not a 32-bit integer`)
  const bytes = new Uint8Array(LABEL + ids.length * idSize(dtype))
  new Int32Array(bytes.buffer, 0, 1)[0] = label
  const out = dtype === 'uint16' ? new Uint16Array(bytes.buffer, LABEL) : new Int32Array(bytes.buffer, LABEL)
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!
    if (!(Number.isInteger(id) && id >= 0 && id < vocabularySize)) {
      throw new ArgumentError(`row ${row}: id ${id} is outside the vocabulary of ${vocabularySize} tokens`)
    }
    out[i] = id
  }
  return bytes
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.byteLength
  }
  return all
}

/** Numbers of unknown count, in blocks, so that none is ever copied. */
class GrowingOffsets {
  static readonly #BLOCK = 1 << 16
  readonly #blocks: Float64Array[] = []
  length = 0

  push(value: number): void {
    const place = this.length++ % GrowingOffsets.#BLOCK
    if (place === 0) this.#blocks.push(new Float64Array(GrowingOffsets.#BLOCK))
    this.#blocks.at(-1)![place] = value
  }

  *parts(): Generator<Uint8Array> {
    let left = this.length
    for (const block of this.#blocks) {
      const size = Math.min(left, GrowingOffsets.#BLOCK)
      yield new Uint8Array(block.buffer, 0, size * OFFSET)
      left -= size
    }
  }
}

async function readDescription(reader: RangeReader): Promise<{ description: Description; table: number }> {
  const { byteLength } = reader
  const tail = await reader.read(Math.max(0, byteLength - TAIL), TAIL)
  if (tail.byteLength < TAIL || !MAGIC.every((byte, i) => tail[i + 4] === byte)) {
    throw new FormatError(`${reader.name}: not a file of token ids, or cut short`)
  }
  const length = new DataView(tail.buffer).getUint32(0, true)
  if (length > MAX_DESCRIPTION || length > byteLength - TAIL)
    throw damaged(reader, 'its description is too long')
  const text = new TextDecoder().decode(await reader.read(byteLength - TAIL - length, length))
  const description = parseDescription(reader, text)
  const table = tableStart(description)
  if (table + (description.rows + 1) * OFFSET + length + TAIL !== byteLength) {
    throw damaged(
      reader,
      `${byteLength} bytes do not hold the ${description.rows} rows and ${description.ids} ids it claims`,
    )
  }
  return { description, table }
}

function parseDescription(reader: RangeReader, text: string): Description {
  let value: Partial<Record<keyof Description, unknown>> | null
  try {
    value = JSON.parse(text)
  } catch {
    throw damaged(reader, 'its description is not JSON')
  }
  if (typeof value !== 'object' || value?.format !== 'evenfold.tokens') {
    throw damaged(reader, 'its description is not one of token ids')
  }
  if (value.version !== 1) {
    throw new FormatError(
      `${reader.name}: version ${String(value.version)} is unknown; this library reads version 1`,
    )
  }
  const counts = [value.rows, value.ids, value.vocabularySize]
  const sound =
    counts.every((count) => Number.isSafeInteger(count) && (count as number) >= 0) &&
    (value.dtype === 'uint16' || value.dtype === 'int32') &&
    typeof value.vocabularyHash === 'string'
  if (!sound) throw damaged(reader, 'its description has wrong counts or types')
  return value as Description
}
