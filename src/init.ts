// init: choosing the device that new tensors go to.

import { platform } from '#platform'
import type { UserGPUDevice } from './platform/gpu-device'
import { cpuBackend } from './backend/cpu'
import {
  getDefaultDevice,
  hasBackend,
  getBackend,
  registerBackend,
  setDefaultDevice,
  unregisterBackend,
} from './backend/registry'
import type { DeviceName } from './backend/types'
import type { WebGpuBackend } from './backend/webgpu'
import { ArgumentError, DeviceError } from './errors'
import { setDebug } from './tensor/storage'

export interface InitOptions {
  /** Default: webgpu where there is a hardware GPU, else cpu. Named explicitly, 'webgpu' also takes a software adapter. */
  device?: DeviceName
  /**
   * A GPUDevice of your own to share with the library; it stays yours and is not destroyed. Implies webgpu. In Node keep
   * what `create()` of the package `webgpu` returned as well: once that is collected, its devices crash.
   */
  gpuDevice?: UserGPUDevice
  /**
   * How many threads compute on the cpu, this one included; 1 to 64, default 1. Results are the same to the last bit. In a
   * page it takes cross-origin isolation (the headers Cross-Origin-Opener-Policy: same-origin and
   * Cross-Origin-Embedder-Policy: require-corp, and `worker-src blob:` where there is a content security policy). Tensors
   * made before stay valid: they are moved to memory that threads can share.
   */
  threads?: number
  /** Poison fresh GPU memory with NaN and remember where tensors are made, for `survivors()`. Slow. Default false. */
  debug?: boolean
}

/**
 * Prepares a device and makes it the default for new tensors; resolves to its name. May be called again to switch, and
 * after a GPU was lost or failed to get a new one (tensors of the old one throw DeviceLostError).
 * @throws DeviceError if webgpu is asked for and no adapter is found, or if threads are and this place cannot have them.
 */
export function init(options: InitOptions = {}): Promise<DeviceName> {
  // One after another, or two calls at once would open two devices.
  const done = last.then(() => start(options))
  last = done.catch(() => {})
  return done
}

let last: Promise<unknown> = Promise.resolve()

async function start({ device, gpuDevice, threads = 1, debug = false }: InitOptions): Promise<DeviceName> {
  if (device !== undefined && device !== 'cpu' && device !== 'webgpu') {
    throw new ArgumentError(`init: unknown device '${String(device)}'; expected 'cpu' or 'webgpu'`)
  }
  if (device === 'cpu' && gpuDevice) {
    throw new ArgumentError("init: a gpuDevice was given together with device 'cpu'; leave one out")
  }
  checkThreads(threads)
  await cpuBackend.setThreads(threads)
  setDebug(debug)
  // A device that failed is replaced; so is one that is not the user's. Its tensors throw DeviceLostError.
  const current = hasBackend('webgpu') ? (getBackend('webgpu') as WebGpuBackend) : null
  const other = gpuDevice !== undefined && current?.gpuDevice !== gpuDevice
  if (current && (current.failure || other)) closeWebGpu()
  if (gpuDevice) {
    if (!hasBackend('webgpu')) {
      const { createWebGpuBackend } = await import('./backend/webgpu')
      registerBackend(await createWebGpuBackend({ device: gpuDevice as GPUDevice, debug }))
    }
  } else if (device !== 'cpu' && !hasBackend('webgpu')) {
    const found = await openWebGpu(debug, device === 'webgpu')
    if (!found) {
      setDefaultDevice('cpu')
      return 'cpu'
    }
  }
  const chosen = device === 'cpu' ? 'cpu' : 'webgpu'
  setDefaultDevice(chosen)
  return chosen
}

const MOST_THREADS = 64

function checkThreads(threads: number): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new ArgumentError(
      `init: threads must be an integer from 1 to ${MOST_THREADS}, got ${String(threads)}; the number of cores is a good choice`,
    )
  }
  const obstacle = threads > 1 ? platform.sharingObstacle() : null
  if (obstacle) {
    throw new DeviceError(
      `init: ${threads} threads need memory that they can share, and ${obstacle}; or leave threads out`,
    )
  }
}

/**
 * Registers a webgpu backend. Where it was not `demanded`, only a hardware GPU will do: a software adapter is
 * correct but many times slower than the cpu kernels.
 */
async function openWebGpu(debug: boolean, demanded: boolean): Promise<boolean> {
  const gpu = await platform.requestGPU({ onlyIfLikely: !demanded })
  if (!gpu) {
    if (!demanded) return false
    throw new DeviceError(
      "init: WebGPU is not available here; in Node install the package 'webgpu', in a browser use one with WebGPU, " +
        "or pass { device: 'cpu' }",
    )
  }
  try {
    // Loaded on demand: programs that stay on the cpu never carry the shaders.
    const { createWebGpuBackend } = await import('./backend/webgpu')
    const backend = await createWebGpuBackend({ gpu, debug })
    if (demanded || !backend.isFallback) {
      registerBackend(backend)
      return true
    }
    backend.destroy()
  } catch (error) {
    if (demanded || !(error instanceof DeviceError)) throw error
  }
  return false
}

/**
 * Stops the threads of the cpu (its tensors stay; one thread goes on), destroys the GPU device and gives all its memory back at once; its tensors become unusable and reads under way reject
 * with DeviceLostError. A device of your own stays alive. Scripts in Node end without it as well.
 */
export function shutdown(): void {
  cpuBackend.stopThreads()
  closeWebGpu()
}

function closeWebGpu(): void {
  if (!hasBackend('webgpu')) return
  getBackend('webgpu').destroy()
  unregisterBackend('webgpu')
}

/** The device new tensors go to. */
export function defaultDevice(): DeviceName {
  return getDefaultDevice()
}

/** Resolves when all work queued on a device is done; rejects with the first device error. */
export async function synchronize(device: DeviceName = getDefaultDevice()): Promise<void> {
  await getBackend(device).synchronize()
}
