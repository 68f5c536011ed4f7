// safetensors files as host arrays: parse and serialize bytes in memory, or read a file's header first
// and then each tensor by its range, so that a big file is never held twice. No tensors here: those
// are in tensors.ts.

import { platform } from '#platform'
import type { HostArray } from '../backend/types'
import { ArgumentError, FormatError, ShapeError } from '../errors'
import {
  checkStorable,
  decodeElements,
  encodeElements,
  isFloatFormat,
  naturalDType,
  type SafetensorsDType,
  type StorageDType,
} from './dtypes'
import {
  elementCount,
  type Header,
  headerLength,
  layOut,
  PREFIX,
  parseHeader,
  type TensorSpec,
} from './header'

/** A tensor on the host: `dtype` is the format in the file, `data` what it was read into. */
export interface HostTensor {
  dtype: SafetensorsDType
  shape: number[]
  data: HostArray
}

export interface ParsedSafetensors {
  tensors: Map<string, HostTensor>
  metadata: Record<string, string>
}

/**
 * Parses a whole safetensors file. F16 and BF16 become float32, I64 (with a range check) and I8 int32,
 * BOOL 0 and 1. Throws FormatError, naming `source`, on anything malformed, before allocating for data.
 */
export function parseSafetensors(bytes: Uint8Array, source = 'safetensors'): ParsedSafetensors {
  const length = headerLength(bytes, bytes.byteLength, source)
  const data = bytes.subarray(PREFIX + length)
  const header = parseHeader(bytes.subarray(PREFIX, PREFIX + length), data.byteLength, source)
  const tensors = new Map<string, HostTensor>()
  for (const [name, { dtype, shape, begin, end }] of header.entries) {
    const elements = decodeElements(data.subarray(begin, end), dtype, `${source}: tensor '${name}'`)
    tensors.set(name, { dtype, shape, data: elements })
  }
  return { tensors, metadata: header.metadata }
}

/** Bytes that can be read by range. */
export interface ByteSource {
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

/** A safetensors file of which only the header is in memory. */
export class SafetensorsReader {
  readonly metadata: Readonly<Record<string, string>>
  readonly #bytes: ByteSource
  readonly #header: Header
  readonly #dataStart: number
  readonly #source: string

  /** Use {@link openSafetensors}. */
  constructor(bytes: ByteSource, header: Header, dataStart: number, source: string) {
    this.#bytes = bytes
    this.#header = header
    this.#dataStart = dataStart
    this.#source = source
    this.metadata = header.metadata
  }

  /** The names of the tensors, in the order of the header. */
  names(): string[] {
    return [...this.#header.entries.keys()]
  }

  /** dtype in the file and shape of a tensor, without reading it; undefined if there is none of that name. */
  describe(name: string): { dtype: SafetensorsDType; shape: number[] } | undefined {
    const entry = this.#header.entries.get(name)
    return entry && { dtype: entry.dtype, shape: [...entry.shape] }
  }

  /** Reads one tensor. Throws ArgumentError for an unknown name, FormatError if the file has shrunk. */
  async read(name: string): Promise<HostTensor> {
    const { shape, begin, end } = this.#entry(name)
    return this.#readRange(name, shape, begin, end)
  }

  /** Reads `count` rows of a tensor's first axis, from row `start`. Throws as `read`, and for rows that are not there. */
  async readRows(name: string, start: number, count: number): Promise<HostTensor> {
    const { shape, begin, end } = this.#entry(name)
    const [rows = 0, ...rest] = shape
    const within = [start, count].every((n) => Number.isSafeInteger(n) && n >= 0) && start + count <= rows
    if (!within) {
      throw new ArgumentError(
        `${this.#source}: rows ${start} to ${start + count} of '${name}', which has ${rows}`,
      )
    }
    const width = rows === 0 ? 0 : (end - begin) / rows
    const first = begin + start * width
    return this.#readRange(name, [count, ...rest], first, first + count * width)
  }

  #entry(name: string) {
    const entry = this.#header.entries.get(name)
    if (!entry) throw new ArgumentError(`${this.#source} has no tensor '${name}'`)
    return entry
  }

  async #readRange(name: string, shape: readonly number[], begin: number, end: number): Promise<HostTensor> {
    const { dtype } = this.#entry(name)
    const bytes = await readExactly(this.#bytes, this.#dataStart + begin, end - begin, this.#source)
    const data = decodeElements(bytes, dtype, `${this.#source}: tensor '${name}'`)
    return { dtype, shape: [...shape], data }
  }
}

/** Opens a file (path under Node), a Blob (a page's file input), bytes in memory, or any {@link ByteSource}. */
export async function openSafetensors(
  from: string | Blob | Uint8Array | ByteSource,
  source = typeof from === 'string' ? from : 'safetensors',
): Promise<SafetensorsReader> {
  const bytes = await byteSource(from)
  const prefix = await bytes.read(0, Math.min(PREFIX, bytes.size))
  const length = headerLength(prefix, bytes.size, source)
  const dataStart = PREFIX + length
  const json = await readExactly(bytes, PREFIX, length, source)
  return new SafetensorsReader(bytes, parseHeader(json, bytes.size - dataStart, source), dataStart, source)
}

async function byteSource(from: string | Blob | Uint8Array | ByteSource): Promise<ByteSource> {
  if (typeof from === 'string') {
    const size = await platform.fileSize(from)
    return { size, read: (offset, length) => platform.readFile(from, offset, length) }
  }
  if (from instanceof Uint8Array) {
    return { size: from.byteLength, read: async (offset, length) => from.subarray(offset, offset + length) }
  }
  if (typeof Blob !== 'undefined' && from instanceof Blob) {
    const read = async (offset: number, length: number) =>
      new Uint8Array(await from.slice(offset, offset + length).arrayBuffer())
    return { size: from.size, read }
  }
  return from as ByteSource
}

async function readExactly(bytes: ByteSource, offset: number, length: number, source: string) {
  const read = await bytes.read(offset, length)
  if (read.byteLength === length) return read
  throw new FormatError(
    `${source}: wanted ${length} bytes at ${offset}, got ${read.byteLength}; was it changed?`,
  )
}

/** A tensor to be written. `dtype` defaults to the format that suits `data`; I64 is written as I32. */
export interface TensorToWrite {
  shape: readonly number[]
  data: HostArray
  dtype?: SafetensorsDType
}

export interface SerializeOptions {
  metadata?: Readonly<Record<string, string>>
  /**
   * Storage formats: one for all tensors whose kind it fits (F64, F32, F16, BF16 for floats; I32, I8,
   * U8, BOOL for integers), or one per name. It goes before a tensor's own `dtype`.
   */
  dtype?: StorageDType | Readonly<Record<string, StorageDType>>
}

type Tensors = ReadonlyMap<string, TensorToWrite> | Readonly<Record<string, TensorToWrite>>

/**
 * The bytes of a safetensors file. The same tensors and metadata give the same bytes, whatever their
 * order. Throws ShapeError, DTypeError or ArgumentError on tensors that cannot be stored.
 */
export function serializeSafetensors(
  tensors: Tensors,
  options: SerializeOptions = {},
): Uint8Array<ArrayBuffer> {
  const { header, plan, byteLength } = planFile(tensors, options)
  const file = new Uint8Array(byteLength)
  let position = 0
  for (const part of fileParts(header, plan)) {
    file.set(part, position)
    position += part.byteLength
  }
  return file
}

/** Writes a safetensors file without holding it in memory; a failure leaves the old file as it was. */
export async function saveSafetensors(path: string, tensors: Tensors, options: SerializeOptions = {}) {
  const { header, plan } = planFile(tensors, options)
  await platform.writeFileAtomic(path, fileParts(header, plan))
}

function planFile(tensors: Tensors, options: SerializeOptions) {
  const given = new Map<string, TensorToWrite>(tensors instanceof Map ? tensors : Object.entries(tensors))
  for (const [name, { shape, data }] of given) {
    if (elementCount(shape, name) === data.length) continue
    throw new ShapeError(
      `tensor '${name}': shape [${shape.join(', ')}] does not hold ${data.length} elements`,
    )
  }
  const items = Array.from(given, ([name, { shape, data, dtype }]) => ({
    name,
    shape,
    dtype,
    natural: naturalDType(data),
  }))
  const { header, ordered, dataSize } = planTensors(items, options)
  const plan = ordered.map((spec) => ({ ...spec, data: given.get(spec.name)!.data }))
  return { header, plan, byteLength: header.byteLength + dataSize }
}

function* fileParts(
  header: Uint8Array,
  plan: readonly (TensorSpec & { data: HostArray })[],
): Generator<Uint8Array> {
  yield header
  for (const { name, dtype, data } of plan) yield* encodeElements(data, dtype, name)
}

/** A tensor of which only the kind is known: `natural` is the format that its host array has anyway. */
export interface TensorKind {
  name: string
  shape: readonly number[]
  natural: StorageDType
  dtype?: SafetensorsDType | undefined
}

/** Chooses formats and lays the file out before any data is there. */
export function planTensors(
  items: readonly TensorKind[],
  options: SerializeOptions,
): ReturnType<typeof layOut> {
  const perName = typeof options.dtype === 'object' ? options.dtype : {}
  const forAll = typeof options.dtype === 'string' ? options.dtype : null
  for (const name of Object.keys(perName)) {
    if (!items.some((item) => item.name === name))
      throw new ArgumentError(`dtype: there is no tensor '${name}'`)
  }
  const specs = items.map(({ name, shape, natural, dtype: own = natural }): TensorSpec => {
    const stored = own === 'I64' ? 'I32' : own
    const fitting = forAll !== null && isFloatFormat(forAll) === isFloatFormat(stored) ? forAll : stored
    const dtype = Object.hasOwn(perName, name) ? perName[name]! : fitting
    checkStorable(natural, dtype, name)
    return { name, dtype, shape }
  })
  return layOut(specs, options.metadata ?? {})
}
