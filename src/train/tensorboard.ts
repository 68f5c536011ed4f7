// Event files for TensorBoard: scalars only, written by hand, because that is four protobuf fields and a checksum.
//
// A file is a sequence of records: length (uint64), its checksum, an `Event` message, its checksum; all little-endian
// (TFRecord). An event has wall_time = 1 (double), step = 2 (varint) and one of file_version = 3, summary = 5
// { value = 1 { tag = 1, simple_value = 2 (float) } }, session_log = 7 { status = 1 }. Sources:
// tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.h.

import { platform } from '#platform'
import { ArgumentError } from '../errors'
import type { EvaluationEvent, StepEvent, TrainCallback } from './options'

/** CRC-32C (Castagnoli), reflected. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
  return c
})

/** The checksum of TFRecord: CRC-32C, rotated and shifted, so that checksums of checksums are of use. */
export function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8)
  crc = ~crc >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + data.length)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(data.length), true)
  view.setUint32(8, maskedCrc(bytes.subarray(0, 8)), true)
  bytes.set(data, 12)
  view.setUint32(12 + data.length, maskedCrc(data), true)
  return bytes
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128)
  return [...bytes, value]
}

/** A field of bytes: wire type 2. */
function nested(field: number, bytes: Iterable<number>): number[] {
  const content = [...bytes]
  return [field * 8 + 2, ...varint(content.length), ...content]
}

function fixed(field: number, value: number, size: 4 | 8): number[] {
  const view = new DataView(new ArrayBuffer(size))
  if (size === 8) view.setFloat64(0, value, true)
  else view.setFloat32(0, value, true)
  return [field * 8 + (size === 8 ? 1 : 5), ...new Uint8Array(view.buffer)]
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

function event(step: number, seconds: number, content: number[]): Uint8Array {
  return record(Uint8Array.from([...fixed(1, seconds, 8), 16, ...varint(step), ...content]))
}

/**
 * Writes scalars for TensorBoard into a folder, in a new file each time. Alone, or as a callback of `train`:
 *
 * ```ts
 * await train({ ...options, callbacks: [new TensorBoard('runs/first')] })
 * ```
 * As a callback it writes `train/loss`, `train/lr`, `train/gradNorm` and every metric under `eval/`.
 */
export class TensorBoard implements TrainCallback {
  /** The event file. */
  readonly path: string
  #open: Uint8Array[] = []
  #begun = false
  #written: Promise<void> = Promise.resolve()

  constructor(folder: string) {
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, '0')
    const unique = Math.floor(Math.random() * 2 ** 32).toString(16)
    this.path = `${folder}/events.out.tfevents.${seconds}.evenfold.${unique}`
  }

  /** Adds a value; `flush` writes it. NaN and infinities are allowed. */
  addScalar(tag: string, value: number, step: number, seconds = Date.now() / 1000): void {
    if (!(Number.isSafeInteger(step) && step >= 0))
      throw new ArgumentError(`TensorBoard.addScalar: step is ${step}; expected an integer of at least 0`)
    if (!this.#begun) {
      this.#begun = true
      this.#open.push(
        event(0, seconds, nested(3, text('brain.Event:2'))),
        // A start: what older files of the folder hold from this step on is void (a run that was killed and resumed).
        event(step, seconds, nested(7, [8, 1])),
      )
    }
    const scalar = [...nested(1, text(tag)), ...fixed(2, value, 4)]
    this.#open.push(event(step, seconds, nested(5, nested(1, scalar))))
  }

  /** Appends what was added to the file. */
  flush(): Promise<void> {
    const records = this.#open
    this.#open = []
    if (records.length > 0) {
      const bytes = new Uint8Array(records.reduce((sum, r) => sum + r.length, 0))
      let at = 0
      for (const r of records) {
        bytes.set(r, at)
        at += r.length
      }
      this.#written = this.#written.then(() => platform.appendFile(this.path, bytes))
    }
    return this.#written
  }

  onStep({ step, loss, lr, gradNorm }: StepEvent): void {
    this.addScalar('train/loss', loss, step)
    this.addScalar('train/lr', lr, step)
    if (gradNorm !== null) this.addScalar('train/gradNorm', gradNorm, step)
  }

  async onEvaluate({ step, metrics }: EvaluationEvent): Promise<void> {
    for (const [name, value] of Object.entries(metrics)) this.addScalar(`eval/${name}`, value, step)
    await this.flush()
  }

  async onEnd(): Promise<void> {
    await this.flush()
  }
}
