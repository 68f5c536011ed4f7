// The header of a safetensors file: 8 bytes of little-endian length, then JSON that maps each name to
// dtype, shape and byte range. Nothing in it is believed before it is checked against the size of the
// file, so a hostile header costs an error and no memory. Format: huggingface/safetensors, format.md.

import { ArgumentError, FormatError, ShapeError } from '../errors'
import { ITEM_SIZE, type SafetensorsDType, type StorageDType } from './dtypes'

/** Where a tensor lies in the file: `begin` and `end` count bytes from the end of the header. */
export interface TensorEntry {
  dtype: SafetensorsDType
  shape: number[]
  begin: number
  end: number
}

export interface Header {
  entries: Map<string, TensorEntry>
  metadata: Record<string, string>
}

/** Length of the length field. */
export const PREFIX = 8
/** The reference implementation's limit on the JSON header, in bytes. */
const MAX_HEADER = 100_000_000
const METADATA = '__metadata__'

/** Reads the length field; checks it against `fileSize`. Returns the number of header bytes after it. */
export function headerLength(prefix: Uint8Array, fileSize: number, source: string): number {
  if (prefix.byteLength < PREFIX) {
    throw new FormatError(`${source}: ${fileSize} bytes are too few for a safetensors file; is it truncated?`)
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, PREFIX)
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)
  if (length > MAX_HEADER) {
    throw new FormatError(
      `${source}: header length ${length} exceeds the limit of ${MAX_HEADER} bytes; not a safetensors file?`,
    )
  }
  if (length > fileSize - PREFIX) {
    throw new FormatError(
      `${source}: header length ${length}, but only ${fileSize - PREFIX} bytes follow; is the file truncated?`,
    )
  }
  return length
}

/** Parses and checks the JSON header. `dataSize` is the number of bytes after it. */
export function parseHeader(bytes: Uint8Array, dataSize: number, source: string): Header {
  const fail = (message: string): never => {
    throw new FormatError(`${source}: ${message}`)
  }
  const json = parseJsonObject(bytes, fail)
  const metadata: Record<string, string> = {}
  const entries = new Map<string, TensorEntry>()
  for (const [name, value] of Object.entries(json)) {
    if (name !== METADATA) {
      entries.set(
        name,
        parseEntry(value, dataSize, (message) => fail(`tensor '${name}': ${message}`)),
      )
      continue
    }
    if (!isRecord(value)) fail(`${METADATA} must be an object of strings, got ${show(value)}`)
    for (const [key, text] of Object.entries(value as Record<string, unknown>)) {
      if (typeof text !== 'string') fail(`${METADATA}.${key} must be a string, got ${show(text)}`)
      Object.defineProperty(metadata, key, {
        value: text,
        enumerable: true,
        writable: true,
        configurable: true,
      })
    }
  }
  checkLayout(entries, dataSize, fail)
  return { entries, metadata }
}

type Fail = (message: string) => never

function parseJsonObject(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  if (bytes[0] !== 0x7b) fail("the header must be a JSON object (its first byte is not '{')")
  let text: string
  let json: unknown
  try {
    // slice(): a decoder refuses views of shared memory.
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.slice())
    json = JSON.parse(text)
  } catch (error) {
    return fail(`the header is not valid JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const duplicate = findDuplicateKey(text)
  if (duplicate !== null) fail(`the header names '${duplicate}' twice`)
  return json as Record<string, unknown>
}

/** The first key that occurs twice in one object of a valid JSON text (JSON.parse keeps the last silently). */
function findDuplicateKey(text: string): string | null {
  const open: Set<string>[] = []
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') open.push(new Set())
    else if (text[i] === '}') open.pop()
    else if (text[i] === '"') {
      const start = i++
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1
      let next = i + 1
      while (text[next] === ' ' || text[next] === '\t' || text[next] === '\n' || text[next] === '\r') next++
      if (text[next] !== ':') continue
      const key = JSON.parse(text.slice(start, i + 1)) as string
      const keys = open[open.length - 1]!
      if (keys.has(key)) return key
      keys.add(key)
    }
  }
  return null
}

function parseEntry(value: unknown, dataSize: number, fail: Fail): TensorEntry {
  if (!isRecord(value)) return fail(`expected {dtype, shape, data_offsets}, got ${show(value)}`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string' || !Object.hasOwn(ITEM_SIZE, dtype)) {
    return fail(`dtype ${show(dtype)} cannot be read; supported are ${Object.keys(ITEM_SIZE).join(', ')}`)
  }
  const known = dtype as SafetensorsDType
  if (!isCounts(shape)) return fail(`shape must be a list of non-negative integers, got ${show(shape)}`)
  let size = ITEM_SIZE[known]
  for (const dim of shape) {
    size *= dim
    if (!Number.isSafeInteger(size)) return fail(`shape ${show(shape)} has too many elements`)
  }
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`data_offsets must be two non-negative integers, got ${show(offsets)}`)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > dataSize) {
    return fail(
      `data_offsets [${begin}, ${end}] lie outside the ${dataSize} data bytes; is the file truncated?`,
    )
  }
  if (end - begin !== size) {
    return fail(`shape ${show(shape)} of ${known} takes ${size} bytes, but data_offsets give ${end - begin}`)
  }
  return { dtype: known, shape, begin, end }
}

/** The tensors must tile the data: in order of their offsets, without a hole, an overlap or a rest. */
function checkLayout(entries: Map<string, TensorEntry>, dataSize: number, fail: Fail): void {
  const sorted = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  let position = 0
  for (const [name, { begin, end }] of sorted) {
    if (begin < position) fail(`tensor '${name}': data_offsets overlap another tensor's`)
    if (begin > position) fail(`bytes ${position} to ${begin} of the data belong to no tensor`)
    position = end
  }
  if (position !== dataSize) fail(`bytes ${position} to ${dataSize} of the data belong to no tensor`)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0 && !Object.is(n, -0))
}

/** A short description of a value from the file, whatever its size or depth. */
function show(value: unknown): string {
  if (Array.isArray(value)) {
    const short = value.length <= 16 && value.every((item) => typeof item !== 'object' || item === null)
    return short ? `[${value.map(show).join(', ')}]` : `a list of ${value.length} values`
  }
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

// --- writing ------------------------------------------------------------------------------------

/** What the writer must know of a tensor before it sees its data. */
export interface TensorSpec {
  name: string
  dtype: StorageDType
  shape: readonly number[]
}

/** Formats by falling alignment, in the order of the reference implementation. */
const ORDER: readonly StorageDType[] = ['F64', 'F32', 'I32', 'BF16', 'F16', 'I8', 'U8', 'BOOL']

/** Number of elements of a shape; throws ShapeError unless all dimensions are non-negative integers. */
export function elementCount(shape: readonly number[], name: string): number {
  const count = shape.reduce((product, dim) => product * dim, 1)
  if (isCounts([...shape]) && Number.isSafeInteger(count)) return count
  throw new ShapeError(`tensor '${name}': shape [${shape.join(', ')}] is not a list of non-negative integers`)
}

/**
 * Lays tensors out as the reference implementation does: by falling alignment of the dtype, then by
 * name (code points). Returns the length field with the padded header, and the order of the data.
 */
export function layOut(
  specs: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
): { header: Uint8Array<ArrayBuffer>; ordered: TensorSpec[]; dataSize: number } {
  const ordered = [...specs].sort(
    (a, b) => ORDER.indexOf(a.dtype) - ORDER.indexOf(b.dtype) || compareCodePoints(a.name, b.name),
  )
  const parts: string[] = []
  const keys = Object.keys(metadata).sort(compareCodePoints)
  if (keys.length > 0) {
    const pairs = keys.map((key) => {
      const text: unknown = metadata[key]
      if (typeof text === 'string') return `${JSON.stringify(key)}:${JSON.stringify(text)}`
      throw new ArgumentError(`metadata.${key}: expected a string, got ${show(text)}; use JSON.stringify`)
    })
    parts.push(`"${METADATA}":{${pairs.join(',')}}`)
  }
  let position = 0
  const seen = new Set<string>([METADATA])
  for (const { name, dtype, shape } of ordered) {
    if (seen.has(name)) throw new ArgumentError(`tensor '${name}': the name is reserved or given twice`)
    seen.add(name)
    const end = position + elementCount(shape, name) * ITEM_SIZE[dtype]
    const entry = `{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${position},${end}]}`
    parts.push(`${JSON.stringify(name)}:${entry}`)
    position = end
  }
  const json = new TextEncoder().encode(`{${parts.join(',')}}`)
  const length = Math.ceil(json.byteLength / 8) * 8
  if (length > MAX_HEADER) throw new ArgumentError(`the header takes ${length} bytes; at most ${MAX_HEADER}`)
  const header = new Uint8Array(PREFIX + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(json, PREFIX)
  return { header, ordered, dataSize: position }
}

/** Order of the UTF-8 bytes, which for strings beyond the BMP differs from JavaScript's own order. */
function compareCodePoints(a: string, b: string): number {
  const left = a[Symbol.iterator]()
  const right = b[Symbol.iterator]()
  for (;;) {
    const x = left.next()
    const y = right.next()
    if (x.done || y.done) return (x.done ? 0 : 1) - (y.done ? 0 : 1)
    if (x.value !== y.value) return x.value.codePointAt(0)! - y.value.codePointAt(0)!
  }
}
