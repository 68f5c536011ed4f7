// Reference-counted device memory, and the counters behind `memory()`.
//
// Every tensor handle and every value the tape saves holds one reference; views share a storage. The last
// release gives the buffer back at once. Handles the user simply drops are caught by a FinalizationRegistry,
// which V8 runs only when it sees memory pressure: it does not see heap or GPU bytes, so we show it some.

import type { Backend, DeviceBuffer, DeviceName, DType } from '../backend/types'
import { ReleasedError } from '../errors'

export interface DeviceMemory {
  /** Storages alive. Views share one. */
  tensors: number
  /** Bytes they hold. */
  bytes: number
  /** The most bytes held at once since the start or `resetPeakMemory`. */
  peakBytes: number
}

const counters: Record<DeviceName, DeviceMemory> = {
  cpu: { tensors: 0, bytes: 0, peakBytes: 0 },
  webgpu: { tensors: 0, bytes: 0, peakBytes: 0 },
}

/** Live memory per device: `{ cpu: { tensors, bytes, peakBytes }, webgpu: { … } }`. */
export function memory(): Record<DeviceName, DeviceMemory> {
  return { cpu: { ...counters.cpu }, webgpu: { ...counters.webgpu } }
}

/** Starts a new measurement of `peakBytes` from what is alive now. */
export function resetPeakMemory(): void {
  for (const c of Object.values(counters)) c.peakBytes = c.bytes
}

/** Bytes by which live memory may grow before the garbage collector is told of it. */
const PRESSURE_BYTES = 256 * 2 ** 20
let pressure = 0

function addPressure(bytes: number): void {
  pressure += bytes
  if (pressure < PRESSURE_BYTES) return
  pressure = 0
  try {
    // Dropped at once: its size alone moves V8's external-memory counter, and so the collector.
    new ArrayBuffer(PRESSURE_BYTES)
  } catch {
    // A page without that much address space collects soon enough by itself.
  }
}

/** Smallest and largest id in a storage that came from the host, so that lookups can be checked before they run. */
export interface IdRange {
  readonly min: number
  readonly max: number
}

/** Where each live storage was made; kept only in debug mode. */
let births: Map<Storage, string> | null = null

/** Starts or stops remembering where storages are made. `init({ debug })` calls it. */
export function setDebug(on: boolean): void {
  if (on) births ??= new Map()
  else births = null
}

/** A storage that is still alive, for finding out who holds it. */
export interface Survivor {
  device: DeviceName
  dtype: DType
  length: number
  bytes: number
  /** Stack of the call that made it. */
  stack: string
}

/** Everything alive that was made since `init({ debug: true })`, oldest first; empty without debug mode. */
export function survivors(): Survivor[] {
  return [...(births ?? [])].map(([storage, stack]) => ({
    device: storage.backend.name,
    dtype: storage.dtype,
    length: storage.length,
    bytes: storage.bytes,
    stack,
  }))
}

export class Storage {
  /** Counts in-place changes; the tape compares it with the version it saved. */
  version = 0
  range: IdRange | null = null
  #references = 1
  #buffer: DeviceBuffer | null
  /** Bytes set aside for it on the device. */
  readonly bytes: number

  constructor(
    readonly backend: Backend,
    readonly dtype: DType,
    readonly length: number,
  ) {
    this.#buffer = backend.allocate(dtype, length)
    this.bytes = this.#buffer.byteLength
    const c = counters[backend.name]
    c.tensors++
    c.bytes += this.bytes
    if (c.bytes > c.peakBytes) c.peakBytes = c.bytes
    addPressure(this.bytes)
    births?.set(this, new Error().stack?.split('\n').slice(2).join('\n') ?? '')
  }

  get buffer(): DeviceBuffer {
    if (!this.#buffer) throw new ReleasedError('storage used after its last reference was released')
    return this.#buffer
  }

  get references(): number {
    return this.#references
  }

  retain(): void {
    this.#references++
  }

  release(): void {
    if (--this.#references > 0 || !this.#buffer) return
    const c = counters[this.backend.name]
    c.tensors--
    c.bytes -= this.bytes
    pressure = Math.max(0, pressure - this.bytes)
    births?.delete(this)
    this.backend.free(this.#buffer)
    this.#buffer = null
  }
}

/** One holder's claim on a storage. Released once, by its holder or by the garbage collector. */
export class Reference {
  #live = true
  constructor(readonly storage: Storage) {}
  release(): void {
    if (!this.#live) return
    this.#live = false
    this.storage.release()
  }
}

const dropped = new FinalizationRegistry<Reference>((reference) => reference.release())

/** Releases `reference` when `holder` is garbage collected, unless it was released before. */
export function releaseWhenDropped(holder: object, reference: Reference): void {
  dropped.register(holder, reference)
}
