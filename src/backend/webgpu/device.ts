// One GPUDevice: its limits, its loss, and the first error anything on it met.
//
// WebGPU reports errors later than it makes them. Every call that may fail runs in `guard`, which opens error scopes and
// keeps the first error with the op and its bytes. From then on the device is not to be trusted: the next op and every
// read throw that error. No promise of an error scope or of `lost` is ever left without a handler.

import { DeviceError, DeviceLostError, OutOfMemoryError } from '../../errors'

/** Kinds of failure a call can have; `out-of-memory` matters where it allocates, `internal` where it compiles. */
export type Filter = 'validation' | 'out-of-memory' | 'internal'

/** Values of the WebGPU constants: in Node they are no globals until a `webgpu` package defines them. */
export const USAGE = {
  MAP_READ: 1,
  COPY_SRC: 4,
  COPY_DST: 8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const
export const MAP_READ = 1
export const STAGE_COMPUTE = 4

export class Device {
  readonly gpu: GPUDevice
  readonly #owned: boolean
  readonly #scopes = new Set<Promise<void>>()
  #failure: Error | null = null
  #closed = false

  /** `owned`: whether closing destroys the GPUDevice. */
  constructor(gpu: GPUDevice, owned: boolean) {
    this.gpu = gpu
    this.#owned = owned
    gpu.lost.then(
      (info) => this.fail(lostError(info.message || info.reason)),
      (error) => this.fail(lostError(String(error))),
    )
  }

  /** The first error of this device, once it has one. */
  get failure(): Error | null {
    return this.#failure
  }

  /** Throws the first error of this device, if it has one. */
  check(): void {
    if (this.#failure) throw this.#failure
  }

  /** Records an error; the first one stays. */
  fail(error: Error): void {
    this.#failure ??= error
  }

  /** Calls `fn`; what WebGPU reports of it later becomes this device's failure. */
  guard<T>(op: string, bytes: number, filters: readonly Filter[], fn: () => T): T {
    for (const filter of filters) this.gpu.pushErrorScope(filter)
    try {
      return fn()
    } finally {
      for (let i = 0; i < filters.length; i++) this.#popScope(op, bytes)
    }
  }

  #popScope(op: string, bytes: number): void {
    const scope = this.gpu
      .popErrorScope()
      .then(
        (error) => {
          if (error) this.fail(explained(error, op, bytes))
        },
        // Only a lost device refuses to answer; its `lost` promise tells more.
        (error) => this.fail(lostError(String(error))),
      )
      .finally(() => this.#scopes.delete(scope))
    this.#scopes.add(scope)
  }

  /** Resolves when all error scopes opened so far have answered. */
  async settled(): Promise<void> {
    await Promise.all(this.#scopes)
  }

  /** Ends the use of this device; a GPUDevice of the user's stays alive. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.fail(
      new DeviceLostError(
        "webgpu: the device was shut down; call init({ device: 'webgpu' }) to start it anew",
      ),
    )
    if (this.#owned) this.gpu.destroy()
  }
}

function lostError(reason: string): DeviceLostError {
  return new DeviceLostError(
    `webgpu: the GPU device was lost (${reason}); its tensors are gone. Call init anew and load the last checkpoint`,
  )
}

function explained(error: GPUError, op: string, bytes: number): Error {
  const what = bytes > 0 ? `${op} (${bytes} bytes)` : op
  if (isOutOfMemory(error)) {
    return new OutOfMemoryError(
      `webgpu: out of GPU memory in ${what}: ${error.message || 'no details given'}. Use smaller batches or release tensors`,
    )
  }
  return new DeviceError(`webgpu: ${what} failed: ${error.message}`)
}

function isOutOfMemory(error: GPUError): boolean {
  return error.constructor.name === 'GPUOutOfMemoryError'
}

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxUniformBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupsPerDimension',
] as const

const OPTIONAL_FEATURES = ['timestamp-query', 'subgroups'] as const

/** A device with all the adapter has to give. Throws DeviceError where there is no adapter. */
export async function requestDevice(gpu: GPU): Promise<{ device: GPUDevice; adapter: GPUAdapter }> {
  // A headless browser's first answer is null once in a while.
  const options: GPURequestAdapterOptions = { powerPreference: 'high-performance' }
  const adapter = (await gpu.requestAdapter(options)) ?? (await gpu.requestAdapter())
  if (!adapter) {
    throw new DeviceError(
      "webgpu: no adapter found. Install a driver for Vulkan, Metal or Direct3D 12 (in a browser: enable WebGPU or hardware acceleration), or use the device 'cpu'",
    )
  }
  const requiredLimits: Record<string, number> = {}
  for (const name of LIMITS) {
    const value = adapter.limits[name]
    if (typeof value === 'number') requiredLimits[name] = value
  }
  // Timestamps are for `profile`, subgroups for kernels.
  const requiredFeatures = OPTIONAL_FEATURES.filter((name) => adapter.features.has(name))
  try {
    return { device: await adapter.requestDevice({ requiredLimits, requiredFeatures }), adapter }
  } catch (error) {
    throw new DeviceError(`webgpu: the adapter refused a device: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
