// The device an example runs on.

import { type DeviceName, init } from 'evenfold'
import { availableParallelism } from 'node:os'

/** Models of this size hardly gain from more. */
const MOST_THREADS = 8

/**
 * `init`, and where WebGPU is asked for on a machine without a GPU, the software driver that the tests use: slow, but
 * the same kernels. The cpu takes all cores, which changes no result.
 */
export async function chooseDevice(device: DeviceName | undefined): Promise<void> {
  if (device === 'webgpu') {
    const { ensureVulkan } = await import('../../test/support/swiftshader')
    await ensureVulkan()
  }
  await init({ ...(device && { device }), threads: Math.min(availableParallelism(), MOST_THREADS) })
}
