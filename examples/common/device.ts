// The device an example runs on.

import { type DeviceName, init } from 'evenfold'

/**
 * `init`, and where WebGPU is asked for on a machine without a GPU, the software driver that the tests use: slow, but
 * the same kernels.
 */
export async function chooseDevice(device: DeviceName | undefined): Promise<void> {
  if (device === 'webgpu') {
    const { ensureVulkan } = await import('../../test/support/swiftshader')
    await ensureVulkan()
  }
  await init(device ? { device } : {})
}
