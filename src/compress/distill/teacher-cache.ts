// A teacher's outputs on disk, so that it runs once over the samples however many epochs its students take.
//
//   FOLDER/KEY/part-00000.safetensors, part-00001 …     so many samples each, in their order
//     prints    I32 [samples]           32 bits of each sample's ids
//     lengths   I32 [samples]           its tokens
//     out.NAME  F32 [samples, …]        or [tokens of all samples, …] where there is a row for each token
//
// KEY follows from all that the outputs depend on and that can be seen, so other weights have another folder; each sample is
// compared with what the teacher saw. A part is written as a whole or not at all: whatever ends a run, the next one goes on
// after the last part that is there, and a part is the same whoever writes it.

import { platform } from '#platform'
import type { HostBatch } from '../../data/loader'
import { FormatError, NonFiniteError, ShapeError } from '../../errors'
import {
  type HostTensor,
  openSafetensors,
  type SafetensorsReader,
  saveSafetensors,
} from '../../io/safetensors'
import { formatShape, sameShape, type Shape } from '../../tensor/shape'
import { Fingerprint } from './fingerprint'

export type FloatArray = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>

/** An output of a batch: a row of numbers for each sample, or for each token of the padded batch. */
export interface HostOutput {
  /** [B, …], with `perToken` [B, L, …]. */
  shape: number[]
  data: FloatArray
}

export type HostOutputs = Record<string, HostOutput>

/** What a part holds of one output while it is gathered. */
interface Gathered {
  /** Of a row. */
  shape: number[]
  rows: FloatArray[]
}

interface OpenPart {
  reader: SafetensorsReader
  /** Names of the outputs. */
  names: string[]
  prints: ArrayLike<number>
  /** Tokens before each sample of the part, and of all of them. */
  offsets: Float64Array
}

const PREFIX = 'out.'

export interface TeacherCacheLayout {
  folder: string
  samples: number
  samplesPerFile: number
  perToken: ReadonlySet<string>
}

export class TeacherCache {
  readonly #layout: TeacherCacheLayout
  readonly #open = new Map<number, Promise<OpenPart>>()

  constructor(layout: TeacherCacheLayout) {
    this.#layout = layout
  }

  get parts(): number {
    return Math.ceil(this.#layout.samples / this.#layout.samplesPerFile)
  }

  /** First sample of a part, and the first one after it. */
  rangeOf(part: number): [from: number, to: number] {
    const { samples, samplesPerFile } = this.#layout
    return [part * samplesPerFile, Math.min(samples, (part + 1) * samplesPerFile)]
  }

  pathOf(part: number): string {
    return `${this.#layout.folder}/part-${String(part).padStart(5, '0')}.safetensors`
  }

  has(part: number): Promise<boolean> {
    return platform.exists(this.pathOf(part))
  }

  /** Writes a part from the batches of its samples in order. @throws NonFiniteError, naming the sample. */
  async write(
    part: number,
    batches: AsyncIterable<{ host: HostBatch; outputs: HostOutputs }>,
  ): Promise<void> {
    const prints: number[] = []
    const lengths: number[] = []
    const gathered = new Map<string, Gathered>()
    for await (const { host, outputs } of batches) {
      prints.push(...printsOf(host))
      lengths.push(...host.lengths)
      for (const [name, output] of Object.entries(outputs)) this.#gather(gathered, name, output, host)
    }
    const [from, to] = this.rangeOf(part)
    const tensors: Record<string, { shape: number[]; data: Int32Array | FloatArray }> = {
      prints: { shape: [to - from], data: Int32Array.from(prints) },
      lengths: { shape: [to - from], data: Int32Array.from(lengths) },
    }
    for (const [name, { shape, rows }] of gathered) {
      const width = shape.reduce((a, b) => a * b, 1)
      const count = this.#layout.perToken.has(name) ? lengths.reduce((a, b) => a + b, 0) : to - from
      const data = joined(rows, count * width)
      tensors[PREFIX + name] = { shape: [count, ...shape], data }
    }
    await platform.makeFolder(this.#layout.folder)
    await saveSafetensors(this.pathOf(part), tensors)
  }

  #gather(gathered: Map<string, Gathered>, name: string, { shape, data }: HostOutput, host: HostBatch): void {
    const bad = data.findIndex((x) => !Number.isFinite(x))
    if (bad >= 0) {
      const sample = host.indices[Math.floor(bad / (data.length / shape[0]!))]
      throw new NonFiniteError(
        `Distiller: the teacher's '${name}' is ${data[bad]} for sample ${sample}; a student cannot learn from that`,
      )
    }
    const rowShape = shape.slice(this.#layout.perToken.has(name) ? 2 : 1)
    const own = gathered.get(name) ?? { shape: rowShape, rows: [] }
    gathered.set(name, own)
    if (!sameShape(own.shape, rowShape)) throw new ShapeError(unlike(name, own.shape, rowShape))
    if (!this.#layout.perToken.has(name)) {
      own.rows.push(data)
      return
    }
    // Padding is left out.
    const [B, L] = host.shape
    const width = data.length / (B * L)
    for (let row = 0; row < B; row++) {
      own.rows.push(data.slice(row * L * width, (row * L + host.lengths[row]!) * width))
    }
  }

  /** The outputs of a batch's samples; padding is 0. @throws FormatError for samples other than the teacher saw. */
  async read(host: HostBatch): Promise<HostOutputs> {
    const prints = printsOf(host)
    const samples = await Promise.all(
      Array.from(host.indices, (index, row) => this.#sample(index, prints[row]!, host.lengths[row]!)),
    )
    const [B, L] = host.shape
    const outputs: HostOutputs = {}
    for (const [name, { shape, data: first }] of Object.entries(samples[0]!)) {
      const perToken = this.#layout.perToken.has(name)
      const rest = shape.slice(1)
      const width = (perToken ? L : 1) * rest.reduce((a, b) => a * b, 1)
      const data = first instanceof Float64Array ? new Float64Array(B * width) : new Float32Array(B * width)
      for (const [row, sample] of samples.entries()) {
        const own = sample[name]!
        if (!sameShape(own.shape.slice(1), rest)) throw new ShapeError(unlike(name, rest, own.shape.slice(1)))
        data.set(own.data as FloatArray, row * width)
      }
      outputs[name] = { shape: perToken ? [B, L, ...rest] : [B, ...rest], data }
    }
    return outputs
  }

  async #sample(index: number, print: number, length: number): Promise<Record<string, HostTensor>> {
    const { samplesPerFile, perToken } = this.#layout
    const part = Math.floor(index / samplesPerFile)
    const { reader, names, prints, offsets } = await this.#opened(part)
    const at = index % samplesPerFile
    if (prints[at] !== print || offsets[at + 1]! - offsets[at]! !== length) {
      throw new FormatError(
        `${this.pathOf(part)}: sample ${index} has other tokens than the teacher saw; the samples, their order or maxLength ` +
          'have changed: give another cache.key, or delete the folder',
      )
    }
    const read = async (name: string): Promise<[string, HostTensor]> => {
      const rows = perToken.has(name) ? ([offsets[at]!, length] as const) : ([at, 1] as const)
      return [name, await reader.readRows(PREFIX + name, ...rows)]
    }
    return Object.fromEntries(await Promise.all(names.map(read)))
  }

  #opened(part: number): Promise<OpenPart> {
    const opened = this.#open.get(part) ?? this.#openPart(part)
    this.#open.set(part, opened)
    return opened
  }

  async #openPart(part: number): Promise<OpenPart> {
    const path = this.pathOf(part)
    const reader = await openSafetensors(path)
    const [from, to] = this.rangeOf(part)
    const names = reader.names().filter((name) => name.startsWith(PREFIX))
    const [prints, lengths] = await Promise.all(['prints', 'lengths'].map((name) => reader.read(name)))
    const offsets = new Float64Array(to - from + 1)
    for (let i = 0; i < to - from; i++) offsets[i + 1] = offsets[i]! + Number(lengths!.data[i])
    for (const name of names) {
      const rows = this.#layout.perToken.has(name.slice(PREFIX.length)) ? offsets[to - from]! : to - from
      if (prints!.data.length === to - from && reader.describe(name)!.shape[0] === rows) continue
      throw new FormatError(
        `${path}: '${name}' does not have the rows of its samples; delete the file, it is made again`,
      )
    }
    const bare = names.map((name) => name.slice(PREFIX.length))
    return { reader, names: bare, prints: prints!.data as Int32Array, offsets }
  }
}

function unlike(name: string, one: Shape, other: Shape): string {
  return (
    `Distiller: the teacher's '${name}' is ${formatShape(one)} for one sample and ${formatShape(other)} for another; ` +
    'name it in cache.perToken if it has a row for each token'
  )
}

function printsOf({ ids, lengths, shape: [, L] }: HostBatch): number[] {
  return Array.from(
    lengths,
    (length, row) => new Fingerprint().words(ids.subarray(row * L, row * L + length)).words([length]).short,
  )
}

function joined(rows: readonly FloatArray[], size: number): FloatArray {
  const all = rows[0] instanceof Float64Array ? new Float64Array(size) : new Float32Array(size)
  let at = 0
  for (const row of rows) {
    all.set(row, at)
    at += row.length
  }
  return all
}
