// The webgpu backend: float32, int32 and bool tensors on a GPU, by the kernels in shaders/.

import { DeviceError, IndexError } from '../../errors'
import type { Program } from '../program'
import type { RowCall, RowPlan } from '../rows'
import type {
  Backend,
  DeviceBuffer,
  DeviceProfile,
  DType,
  ElementwiseCall,
  HostArray,
  RandomKind,
  ReduceKind,
  View,
} from '../types'
import { argReduce } from './arg-reduce'
import { argSort } from './arg-sort'
import { Attention } from './attention'
import { elementOf } from './bindings'
import { cumsum } from './cumsum'
import { Device, requestDevice } from './device'
import { elementwiseEach, reduceEach } from './each'
import { elementwise } from './elementwise'
import { Engine } from './engine'
import { Failures } from './failures'
import { gather } from './gather'
import { matmul } from './matmul'
import { matmulInt8 } from './matmul-int8'
import { Pipelines } from './pipelines'
import { type GpuBuffer, Pool } from './pool'
import { CommandQueue } from './queue'
import { random } from './random'
import { Recurrent } from './recurrent'
import { reduce } from './reduce'
import { rows } from './rows'
import { scatterAdd } from './scatter'

export interface WebGpuOptions {
  /** Where to ask for an adapter; ignored with `device`. */
  gpu?: GPU
  /** A device of the user's own: used as it is and not destroyed. */
  device?: GPUDevice
  /** Fills fresh memory with NaN, to show kernels that do not write all of it. Slow. Default false. */
  debug?: boolean
  /** Which kernels to choose: those for software adapters or those for hardware. Default: what the adapter is. */
  fallback?: boolean
  /** False: no kernels with subgroup operations. Default: where the device has them. */
  subgroups?: boolean
  /** False: no dot products of packed bytes. Default: where `gpu` says that WGSL has them. */
  packedDots?: boolean
}

/** Counters of what the device was asked to do. */
export interface WebGpuStats {
  /** Kernel launches. */
  dispatches: number
  /** Submits of launches. */
  submits: number
  /** Kernels compiled. */
  pipelines: number
  /** GPU buffers made, also to read from (those used again do not count). */
  buffersCreated: number
  /** Bytes of GPU memory held now, in use or pooled. */
  bytesAllocated: number
  /** Bytes that came from the host and that went to it. */
  bytesWritten: number
  bytesRead: number
}

/** What is known of the adapter; empty strings where a browser does not tell. */
export interface AdapterInfo {
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly description: string
}

/**
 * Opens a GPU. Throws DeviceError where there is no adapter; says in the message what to do then.
 */
export async function createWebGpuBackend(options: WebGpuOptions): Promise<WebGpuBackend> {
  const { gpu, device } = options
  if (device) return new WebGpuBackend(new Device(device, false), device.adapterInfo, options)
  if (!gpu) {
    throw new DeviceError(
      "webgpu: there is no WebGPU here; in Node install the package 'webgpu', or use the device 'cpu'",
    )
  }
  const opened = await requestDevice(gpu)
  return new WebGpuBackend(new Device(opened.device, true), opened.adapter.info, options)
}

/** Encodes work as it is asked for and submits it in batches; the methods are documented at `Backend`. */
export class WebGpuBackend implements Backend {
  readonly name = 'webgpu'
  readonly adapterInfo: AdapterInfo
  /** Whether the adapter is software: correct, but slower than the cpu device. */
  readonly isFallback: boolean
  readonly #device: Device
  readonly #pool: Pool
  readonly #pipelines: Pipelines
  readonly #queue: CommandQueue
  readonly #engine: Engine
  readonly #failures = new Failures()
  readonly #packedDots: boolean
  readonly attention: Attention
  readonly recurrent: Recurrent

  constructor(device: Device, info: GPUAdapterInfo | undefined, options: WebGpuOptions) {
    this.#device = device
    this.#pool = new Pool(device)
    this.#pipelines = new Pipelines(device)
    this.#pool.onDestroy = (block) => this.#pipelines.forget(block)
    this.#queue = new CommandQueue(device, this.#pool, this.#pipelines)
    this.adapterInfo = {
      vendor: info?.vendor ?? '',
      architecture: info?.architecture ?? '',
      device: info?.device ?? '',
      description: info?.description ?? '',
    }
    this.isFallback = info?.isFallbackAdapter ?? false
    this.#engine = new Engine(
      device,
      this.#pool,
      this.#pipelines,
      this.#queue,
      options.fallback ?? this.isFallback,
      options.subgroups ?? device.gpu.features.has('subgroups'),
      options.debug ?? false,
    )
    this.#packedDots =
      options.packedDots ?? options.gpu?.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product') ?? false
    this.attention = new Attention(this.#engine, () => device.check())
    this.recurrent = new Recurrent(this.#engine, () => device.check())
  }

  get failure(): Error | null {
    return this.#device.failure
  }

  /** The device it runs on. */
  get gpuDevice(): GPUDevice {
    return this.#device.gpu
  }

  get stats(): WebGpuStats {
    return {
      dispatches: this.#queue.dispatches,
      submits: this.#queue.submits,
      pipelines: this.#pipelines.count,
      buffersCreated: this.#pool.created + this.#queue.stagingCreated,
      bytesAllocated: this.#pool.totalBytes,
      bytesWritten: this.#queue.bytesWritten,
      bytesRead: this.#queue.bytesRead,
    }
  }

  startProfile(): () => Promise<DeviceProfile> {
    const before = this.stats
    const stop = this.#queue.startTimer()
    // What was under way before is not part of it.
    const submits = this.#queue.submits
    return async () => {
      const after = this.stats
      const timer = await stop()
      return {
        dispatches: after.dispatches - before.dispatches,
        submits: this.#queue.submits - submits,
        newPipelines: after.pipelines - before.pipelines,
        newBuffers: after.buffersCreated - before.buffersCreated,
        bytesWritten: after.bytesWritten - before.bytesWritten,
        bytesRead: after.bytesRead - before.bytesRead,
        kernels: new Map(
          [...timer.kernels].map(([name, { calls, time }]) => [
            name,
            { calls, ms: timer.measures ? time / 1e6 : null },
          ]),
        ),
      }
    }
  }

  supports(dtype: DType): boolean {
    return dtype !== 'float64'
  }

  allocate(dtype: DType, length: number): GpuBuffer {
    this.#device.check()
    // Throws for dtypes that the device does not have.
    elementOf(dtype)
    return this.#engine.allocate(length * 4)
  }

  free(buffer: DeviceBuffer): void {
    this.#pool.release(buffer as GpuBuffer)
  }

  write(buffer: DeviceBuffer, dtype: DType, data: HostArray, offset: number): void {
    this.#device.check()
    elementOf(dtype)
    if (data.length === 0) return
    this.#queue.write(
      (buffer as GpuBuffer).block,
      offset * 4,
      dtype === 'bool' ? Uint32Array.from(data) : data,
    )
  }

  async read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray> {
    const { bytes, cell } = await this.#queue.read((buffer as GpuBuffer).block, offset * 4, length * 4)
    this.#checkIds(cell)
    switch (elementOf(dtype)) {
      case 'f32':
        return new Float32Array(bytes)
      case 'i32':
        return new Int32Array(bytes)
      default:
        return Uint8Array.from(new Uint32Array(bytes), (word) => (word === 0 ? 0 : 1))
    }
  }

  elementwise(
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    outputs: readonly View[],
  ): void {
    this.#device.check()
    elementwise(this.#engine, program, inputs, scalars, outputs)
  }

  reduce(
    kind: ReduceKind,
    program: Program,
    inputs: readonly View[],
    scalars: readonly number[],
    output: View,
  ): void {
    this.#device.check()
    reduce(this.#engine, kind, program, inputs, scalars, output)
  }

  elementwiseEach(program: Program, calls: readonly ElementwiseCall[], scalars: readonly number[]): void {
    this.#device.check()
    elementwiseEach(this.#engine, program, calls, scalars)
  }

  reduceEach(
    kind: ReduceKind,
    program: Program,
    operands: readonly (readonly View[])[],
    scalars: readonly number[],
    output: View,
  ): void {
    this.#device.check()
    reduceEach(this.#engine, kind, program, operands, scalars, output)
  }

  rows(plan: RowPlan, call: RowCall): boolean {
    this.#device.check()
    return rows(this.#engine, plan, call)
  }

  argReduce(kind: 'max' | 'min', input: View, output: View): void {
    this.#device.check()
    argReduce(this.#engine, kind, input, output)
  }

  argSort(descending: boolean, input: View, output: View): void {
    this.#device.check()
    argSort(this.#engine, descending, input, output)
  }

  cumsum(input: View, output: View): void {
    this.#device.check()
    cumsum(this.#engine, input, output)
  }

  matmul(a: View, b: View, out: View, accumulate: boolean): void {
    this.#device.check()
    matmul(this.#engine, a, b, out, accumulate)
  }

  matmulInt8(a: View, b: View, out: View): void {
    this.#device.check()
    matmulInt8(this.#engine, this.#packedDots, a, b, out)
  }

  gather(x: View, dim: number, index: View, out: View): void {
    this.#device.check()
    gather(this.#engine, this.#failures, x, dim, index, out)
  }

  scatterAdd(out: View, dim: number, index: View, src: View): void {
    this.#device.check()
    scatterAdd(this.#engine, this.#failures, out, dim, index, src)
  }

  random(kind: RandomKind, seed: number, stream: number, output: View): void {
    this.#device.check()
    random(this.#engine, kind, seed, stream, output)
  }

  async synchronize(): Promise<void> {
    const { cell } = await this.#queue.read(this.#queue.cell, 0, 0)
    this.#checkIds(cell)
  }

  destroy(): void {
    this.#device.close()
    this.#queue.destroy()
    this.#pool.destroy()
  }

  #checkIds(cell: Uint32Array): void {
    const message = this.#failures.explain(cell)
    if (message) throw new IndexError(message)
  }
}
