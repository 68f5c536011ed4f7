// Every test run has a WebGPU adapter: a real one, or the software driver from npm. This fails first, and plainly.
import { expect, it } from 'vitest'
import { platform } from '#platform'
import { squares } from './support/squares'

it('finds a WebGPU adapter and runs a compute shader', async () => {
  const gpu = await platform.requestGPU()
  expect(gpu, "the package 'webgpu' is not installed").not.toBeNull()
  expect(await squares(gpu!)).toEqual([0, 1, 4, 9])
})
