// ef.profile: counts of kernels, submits, pipelines, buffers and bytes, and times where there is a clock.
import * as ef from 'evenfold'
import { afterEach, describe, expect, it } from 'vitest'
import { platform } from '#platform'
import { input } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { getBackend } from '../src/backend/registry'
import { createWebGpuBackend, type WebGpuBackend } from '../src/backend/webgpu'

afterEach(() => ef.shutdown())

const calls = (report: ef.Profile<unknown>): Record<string, number> =>
  Object.fromEntries(report.kernels.map((k) => [k.name, k.calls]))

describe.each(['cpu', 'webgpu'] as const)('profile on %s', (device) => {
  it('counts kernels by name and bytes both ways, and hands the result on', async () => {
    await ef.init({ device })
    const report = await ef.profile(async () => {
      const x = ef.tensor([1, 2, 3, 4], { shape: [2, 2] })
      return x.matmul(x).exp().add(1).sum().item()
    })
    expect(report.device).toBe(device)
    expect(report.result).toBeCloseTo(Math.exp(7) + Math.exp(10) + Math.exp(15) + Math.exp(22) + 4, -5)
    expect(report).toMatchObject({ dispatches: 4, bytesWritten: 16, bytesRead: 4 })
    expect(calls(report)).toEqual({ matmul: 1, elementwise: 2, [device === 'cpu' ? 'reduce sum' : 'sum']: 1 })
    expect(report.hostMs).toBeGreaterThan(0)
    expect(report.totalMs).toBeGreaterThanOrEqual(report.hostMs)
  })

  it('runs one at a time, and again after a step that threw', async () => {
    await ef.init({ device })
    const x = ef.ones([3])
    const broken = ef.profile(() => {
      x.neg()
      throw new Error('no luck')
    })
    await expect(ef.profile(() => 1)).rejects.toThrow(ef.ArgumentError)
    await expect(broken).rejects.toThrow('no luck')
    expect((await ef.profile(() => x.neg())).dispatches).toBe(1)
    expect(await x.neg().tolist()).toEqual([-1, -1, -1])
  })

  it('prints a line per kernel', async () => {
    await ef.init({ device })
    const lines = `${await ef.profile(() => ef.ones([3]).neg())}`.split('\n')
    expect(lines[0]).toMatch(new RegExp(`^${device}: 2 kernels, `))
    expect(lines).toHaveLength(3)
    expect(lines[2]).toMatch(/^elementwise +2 +\d+\.\d{3}$/)
  })
})

it('refuses what is no function', async () => {
  await expect(ef.profile(3 as never)).rejects.toThrow(/function.*3/)
})

it('leaves the cpu backend as it was', async () => {
  const before = Object.getOwnPropertyNames(getBackend('cpu'))
  await ef.profile(() => ef.ones([2]).neg(), { device: 'cpu' })
  expect(Object.getOwnPropertyNames(getBackend('cpu'))).toEqual(before)
})

describe('on webgpu', () => {
  it('tells new pipelines and buffers from those used again', async () => {
    await ef.init({ device: 'webgpu' })
    const x = ef.ones([5])
    const step = (): void => ef.tidy(() => void x.mul(0.5).tanh())
    const first = await ef.profile(step)
    expect(first).toMatchObject({ newPipelines: 2, submits: 1 })
    expect(first.newBuffers).toBeGreaterThan(0)
    expect(await ef.profile(step)).toMatchObject({ dispatches: 2, newPipelines: 0, newBuffers: 0 })
  })

  it('sees every kernel of several submits, and only those of the step', async () => {
    await ef.init({ device: 'webgpu' })
    const x = ef.ones([1])
    x.neg()
    const report = await ef.profile(() => ef.tidy(() => void Array.from({ length: 300 }, () => x.exp())))
    x.neg()
    expect(report).toMatchObject({ dispatches: 300, submits: 3 })
    expect(calls(report)).toEqual({ elementwise: 300 })
  })

  const X = new Program([input(0).neg()], 1)

  async function times(features: GPUFeatureName[]): Promise<(number | null)[]> {
    const gpu = await platform.requestGPU()
    const adapter = await gpu?.requestAdapter()
    if (!adapter) throw new Error('no WebGPU adapter: see test/webgpu-available.test.ts')
    const gpuDevice = await adapter.requestDevice({ requiredFeatures: features })
    const backend: WebGpuBackend = await createWebGpuBackend({ device: gpuDevice })
    const buffer = backend.allocate('float32', 2 ** 20)
    const view = { buffer, dtype: 'float32', offset: 0, shape: [2 ** 20], strides: [1] } as const
    const stop = backend.startProfile()
    for (let i = 0; i < 4; i++) backend.elementwise(X, [view], [], [view])
    const { kernels } = await stop()
    backend.destroy()
    gpuDevice.destroy()
    expect(kernels.get('elementwise')?.calls).toBe(4)
    return [...kernels.values()].map((k) => k.ms)
  }

  it('times kernels where the device has timestamps, and only counts where it has not', async () => {
    const gpu = await platform.requestGPU()
    if ((await gpu?.requestAdapter())?.features.has('timestamp-query')) {
      const [ms] = await times(['timestamp-query'])
      expect(ms).toBeGreaterThan(0)
      expect(ms).toBeLessThan(60_000)
    }
    expect(await times([])).toEqual([null])
  })
})
