// The webgpu backend: WGSL kernels behind the Backend contract, and everything that can go wrong with a device.
//
// The first device error is kept and thrown by the next op and by every pending or later read: after it, results
// cannot be trusted.

import { DeviceError, DeviceLostError, IndexError } from '../../errors'
import type { Program } from '../program'
import type { Backend, DeviceBuffer, DType, HostArray, RandomKind, ReduceKind, View } from '../types'
import { elementwise, reduce } from './elementwise'
import { argReduce, gather, matmul, random, scatterAdd } from './kernels'
import { type GpuBuffer, Pool } from './pool'
import { Queue } from './queue'

export interface WebGpuOptions {
  /** The entry point; needed unless `device` is given. */
  gpu?: GPU
  /** The user's own device. It stays theirs. */
  device?: GPUDevice
  /** Poison fresh buffers with NaN, to find kernels that read what nobody wrote. */
  debug?: boolean
  /** Default: workgroup-memory matmul except on software adapters. */
  tiledMatmul?: boolean
}

export interface WebGpuStats {
  dispatches: number
  submits: number
  pipelines: number
  buffersCreated: number
  bytesAllocated: number
}

/** @throws DeviceError where no adapter or device is to be had. */
export async function createWebGpuBackend(options: WebGpuOptions): Promise<WebGpuBackend> {
  if (options.device) return new WebGpuBackend(options.device, options, isSoftware(options.device.adapterInfo))
  const adapter = await options.gpu?.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter) {
    throw new DeviceError(
      "webgpu: no adapter was found; install a GPU driver (Vulkan on Linux) or a software one, or use device 'cpu'",
    )
  }
  const { limits } = adapter
  const device = await adapter.requestDevice({
    label: 'evenfold',
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    },
  })
  return new WebGpuBackend(device, options, isSoftware(adapter.info))
}

function isSoftware(info: GPUAdapterInfo | undefined): boolean {
  return info !== undefined && (info.isFallbackAdapter === true || /swiftshader|llvmpipe/i.test(`${info.device} ${info.description}`))
}

/** Status cell that lookups write when an id is out of range: flag, id, size, unused. */
const STATUS_BYTES = 16

export class WebGpuBackend implements Backend {
  readonly name = 'webgpu'
  readonly #device: GPUDevice
  readonly #pool: Pool
  readonly #queue: Queue
  readonly #status: GpuBuffer
  readonly #debug: boolean
  readonly #own: boolean
  readonly #tiled: boolean
  readonly #maxBindings: number
  #error: DeviceError | null = null
  #destroyed = false
  /** Rejects pending reads when the device fails while they wait. */
  #onError = new Set<(error: DeviceError) => void>()

  /** @param isFallback the adapter is software: correct, but slower than the cpu device. */
  constructor(
    device: GPUDevice,
    { device: users, debug = false, tiledMatmul }: WebGpuOptions,
    readonly isFallback: boolean,
  ) {
    this.#device = device
    this.#own = users === undefined
    this.#debug = debug
    this.#tiled = tiledMatmul ?? !isFallback
    this.#maxBindings = device.limits.maxStorageBuffersPerShaderStage
    device.lost.then((info) => {
      if (!this.#destroyed) this.#fail(new DeviceLostError(`webgpu: the device was lost (${info.reason}): ${info.message}; call init() again`))
    })
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent
      event.preventDefault()
      this.#fail(new DeviceError(`webgpu: ${error.message}`, { cause: error }))
    })
    this.#pool = new Pool(device, (error) => this.#fail(error))
    this.#queue = new Queue(device)
    this.#status = this.#pool.allocate(STATUS_BYTES)
    device.queue.writeBuffer(this.#status.gpu, 0, new Int32Array(4))
  }

  #fail(error: DeviceError): void {
    if (this.#error) return
    this.#error = error
    for (const reject of this.#onError) reject(error)
    this.#onError.clear()
  }

  /** After an error nothing computed can be trusted. */
  #check(): void {
    if (this.#error) throw this.#error
    if (this.#destroyed) throw new DeviceLostError('webgpu: the device was shut down; call init() again')
  }

  get stats(): WebGpuStats {
    return { ...this.#queue.stats, buffersCreated: this.#pool.created, bytesAllocated: this.#pool.bytes }
  }

  supports(dtype: DType): boolean {
    return dtype !== 'float64'
  }

  allocate(_dtype: DType, length: number): DeviceBuffer {
    this.#check()
    const buffer = this.#pool.allocate(Math.max(4, length * 4))
    if (this.#debug) {
      this.write(buffer, 'float32', new Float32Array(buffer.byteLength / 4).fill(Number.NaN), 0)
    }
    return buffer
  }

  free(buffer: DeviceBuffer): void {
    this.#pool.release(buffer as GpuBuffer)
  }

  write(buffer: DeviceBuffer, dtype: DType, data: HostArray, offset: number): void {
    this.#check()
    const gpuBuffer = buffer as GpuBuffer
    // writeBuffer happens before anything still being encoded.
    if (this.#queue.uses(gpuBuffer)) this.#queue.flush()
    this.#device.queue.writeBuffer(gpuBuffer.gpu, offset * 4, deviceWords(dtype, data))
  }

  async read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray> {
    this.#check()
    const bytes = length * 4
    const staging = this.#device.createBuffer({
      size: Math.max(4, bytes) + STATUS_BYTES,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    })
    try {
      this.#queue.flush((encoder) => {
        if (bytes > 0) encoder.copyBufferToBuffer((buffer as GpuBuffer).gpu, offset * 4, staging, 0, bytes)
        encoder.copyBufferToBuffer(this.#status.gpu, 0, staging, Math.max(4, bytes), STATUS_BYTES)
      })
      await this.#orError(staging.mapAsync(GPUMapMode.READ))
      this.#check()
      const mapped = staging.getMappedRange()
      const [flag, id, size] = new Int32Array(mapped, Math.max(4, bytes), 4)
      if (flag !== 0) {
        this.#device.queue.writeBuffer(this.#status.gpu, 0, new Int32Array(4))
        throw new IndexError(`an id computed on the device is out of range: ${id}, expected 0 to ${size - 1}`)
      }
      return hostValues(dtype, mapped, length)
    } finally {
      staging.destroy()
    }
  }

  /** Waits for work, or for the error that keeps it from finishing. */
  #orError(work: Promise<undefined>): Promise<undefined> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#onError.delete(fail)
        reject(this.#error ?? new DeviceError(`webgpu: reading failed: ${String(error)}`, { cause: error }))
      }
      this.#onError.add(fail)
      work.then((value) => {
        this.#onError.delete(fail)
        resolve(value)
      }, fail)
    })
  }

  elementwise(program: Program, inputs: readonly View[], scalars: readonly number[], outputs: readonly View[]): void {
    this.#check()
    this.#checkBindings([...inputs, ...outputs])
    elementwise(this.#queue, program, inputs, scalars, outputs)
  }

  reduce(kind: ReduceKind, program: Program, inputs: readonly View[], scalars: readonly number[], output: View): void {
    this.#check()
    this.#checkBindings([...inputs, output])
    reduce(this.#queue, this.#pool, kind, program, inputs, scalars, output)
  }

  #checkBindings(views: readonly View[]): void {
    const distinct = new Set(views.map((v) => v.buffer)).size
    if (distinct > this.#maxBindings) {
      throw new DeviceError(
        `webgpu: one kernel would touch ${distinct} buffers, this device allows ${this.#maxBindings}; split the fused expression`,
      )
    }
  }

  argReduce(kind: 'max' | 'min', input: View, output: View): void {
    this.#check()
    argReduce(this.#queue, kind, input, output)
  }

  matmul(a: View, b: View, out: View, accumulate: boolean): void {
    this.#check()
    matmul(this.#queue, this.#tiled, a, b, out, accumulate)
  }

  gather(x: View, dim: number, index: View, out: View): void {
    this.#check()
    gather(this.#queue, this.#status, x, dim, index, out)
  }

  scatterAdd(out: View, dim: number, index: View, src: View): void {
    this.#check()
    scatterAdd(this.#queue, this.#pool, this.#status, out, dim, index, src)
  }

  random(kind: RandomKind, seed: number, stream: number, output: View): void {
    this.#check()
    random(this.#queue, kind, seed, stream, output)
  }

  async synchronize(): Promise<void> {
    this.#check()
    this.#queue.flush()
    await this.#orError(this.#device.queue.onSubmittedWorkDone())
    this.#check()
  }

  destroy(): void {
    this.#destroyed = true
    if (this.#own) this.#device.destroy()
  }
}

/** Host values as the device stores them, in memory that is not shared (dawn.node crashes on shared views). */
function deviceWords(dtype: DType, data: HostArray): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  if (dtype === 'bool') return Uint32Array.from(data)
  if (dtype === 'int32') return Int32Array.from(data)
  return Float32Array.from(data)
}

function hostValues(dtype: DType, mapped: ArrayBuffer, length: number): HostArray {
  if (dtype === 'bool') return Uint8Array.from(new Uint32Array(mapped, 0, length))
  if (dtype === 'int32') return new Int32Array(mapped.slice(0, length * 4))
  return new Float32Array(mapped.slice(0, length * 4))
}

