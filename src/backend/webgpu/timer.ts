// GPU time per kernel, while someone profiles: timestamps are written at the ends of a compute pass, so each dispatch then
// gets a pass of its own. Browsers round timestamps (to 100 microseconds unless told otherwise): small kernels sum up to 0.

import { type Device, MAP_READ, USAGE } from './device'

/** Launches of one kernel. */
export interface KernelTime {
  calls: number
  /** Nanoseconds on the GPU. */
  time: number
}

export class Timer {
  readonly kernels = new Map<string, KernelTime>()
  readonly #device: Device
  readonly #capacity: number
  /** Null where the device has no timestamps: then launches are only counted. */
  readonly #queries: GPUQuerySet | null
  /** Kernels of the batch being encoded. */
  #names: string[] = []
  readonly #reads: Promise<void>[] = []

  /** `capacity`: the most dispatches of a batch. */
  constructor(device: Device, capacity: number) {
    this.#device = device
    this.#capacity = capacity
    const { gpu } = device
    this.#queries = gpu.features.has('timestamp-query')
      ? gpu.createQuerySet({ type: 'timestamp', count: 2 * capacity })
      : null
  }

  get measures(): boolean {
    return this.#queries !== null
  }

  /** What to open the pass of the next launch with. */
  pass(name: string): GPUComputePassDescriptor {
    const kernel = this.kernels.get(name) ?? { calls: 0, time: 0 }
    kernel.calls++
    this.kernels.set(name, kernel)
    const at = 2 * this.#names.length
    this.#names.push(name)
    if (!this.#queries) return {}
    return {
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: at,
        endOfPassWriteIndex: at + 1,
      },
    }
  }

  /** Encodes the collection of a batch's timestamps; call the result once it is submitted. */
  collect(encoder: GPUCommandEncoder): () => void {
    const names = this.#names
    this.#names = []
    const queries = this.#queries
    if (!queries || names.length === 0) return () => {}
    const { gpu } = this.#device
    const size = 16 * this.#capacity
    const resolved = gpu.createBuffer({ size, usage: USAGE.QUERY_RESOLVE | USAGE.COPY_SRC })
    const staging = gpu.createBuffer({ size, usage: USAGE.MAP_READ | USAGE.COPY_DST })
    encoder.resolveQuerySet(queries, 0, 2 * names.length, resolved, 0)
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16 * names.length)
    const read = async (): Promise<void> => {
      await staging.mapAsync(MAP_READ, 0, 16 * names.length)
      const stamps = new BigUint64Array(staging.getMappedRange(0, 16 * names.length))
      names.forEach((name, i) => {
        const kernel = this.kernels.get(name) as KernelTime
        // A clock that was reset in between would give a negative time.
        kernel.time += Math.max(0, Number(stamps[2 * i + 1] - stamps[2 * i]))
      })
      staging.destroy()
      resolved.destroy()
    }
    return () => {
      // A device lost meanwhile is reported by whoever reads next.
      this.#reads.push(read().catch(() => {}))
    }
  }

  /** Resolves when all times are in. */
  async done(): Promise<void> {
    await Promise.all(this.#reads)
    this.#queries?.destroy()
  }
}
