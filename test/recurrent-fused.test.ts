// Recurrent layers in one launch per sequence on webgpu, against the loop over steps that it takes the place of.
import * as ef from 'evenfold'
import { nn } from 'evenfold'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { registerBackend } from '../src/backend/registry'
import type { WebGpuBackend } from '../src/backend/webgpu'
import { expectClose, openWebGpu } from './support/twins'

interface Case {
  kind: 'GRU' | 'LSTM' | 'RNN'
  T: number
  B: number
  H: number
  bidirectional?: boolean
  bias?: boolean
  where?: 'lengths' | 'mask'
  batchFirst?: boolean
}

describe.each([
  ['software', true, true],
  ['software without subgroups', true, false],
  ['hardware', false, true],
])('kernels for %s', (_, fallback, subgroups) => {
  let gpu: WebGpuBackend
  beforeAll(async () => {
    gpu = await openWebGpu({ fallback, subgroups })
    registerBackend(gpu)
    await ef.init({ device: 'webgpu' })
  })
  afterEach(() => vi.restoreAllMocks())
  afterAll(() => ef.shutdown())

  /** Output, last state and all gradients, and the kernels that ran. */
  async function run(c: Case, fused: boolean): Promise<{ values: ef.HostArray[]; kernels: string[] }> {
    ef.manualSeed(5)
    const { kind, T, B, H, bidirectional = false, bias = true, where, batchFirst = false } = c
    const layer = new nn[kind](3, H, { bidirectional, bias, batchFirst })
    const D = bidirectional ? 2 : 1
    const x = ef.randn(batchFirst ? [B, T, 3] : [T, B, 3], { requiresGrad: true })
    const h0 = ef.randn([D, B, H], { requiresGrad: true })
    const c0 = ef.randn([D, B, H], { requiresGrad: true })
    const lengths = Int32Array.from({ length: B }, (_, b) => (b * 2) % (T + 1))
    const mask = ef.rand(batchFirst ? [B, T] : [T, B]).lt(0.6)
    const masks = where === 'lengths' ? { lengths } : where === 'mask' ? { mask } : {}
    const [outWeights, lastWeights] = [ef.randn([T * B * D * H]), ef.randn([D, B, H])]
    if (!fused) vi.spyOn(gpu.recurrent, 'fits').mockReturnValue(false)
    const report = await ef.profile(() => {
      let output: ef.Tensor
      let last: ef.Tensor[]
      if (layer instanceof nn.LSTM) [output, last] = layer.forward(x, [h0, c0], masks)
      else {
        const [out, h] = layer.forward(x, h0, masks)
        ;[output, last] = [out, [h]]
      }
      let loss = output
        .reshape([T * B * D * H])
        .mul(outWeights)
        .sum()
      for (const t of last) loss = loss.add(t.mul(lastWeights).sum())
      loss.backward()
      return [output, ...last]
    })
    vi.restoreAllMocks()
    const leaves = [x, h0, ...(kind === 'LSTM' ? [c0] : []), ...layer.parameters()]
    const tensors = [...report.result, ...leaves.map((t) => t.grad as ef.Tensor)]
    return {
      values: await Promise.all(tensors.map((t) => t.data())),
      kernels: report.kernels.map((k) => k.name),
    }
  }

  async function check(c: Case): Promise<void> {
    const [fused, loop] = [await run(c, true), await run(c, false)]
    expect(fused.kernels).toEqual(expect.arrayContaining(['recurrent', 'recurrent backward']))
    expect(loop.kernels).not.toContain('recurrent')
    fused.values.forEach((values, i) => {
      const largest = [...loop.values[i]].reduce((most, v) => Math.max(most, Math.abs(v)), 1)
      expectClose(values, loop.values[i], { absolute: 2e-5 * largest })
    })
  }

  it.each(['GRU', 'LSTM', 'RNN'] as const)(
    '%s: batches around blocks of 4, one and several steps',
    async (kind) => {
      for (const [T, B] of [
        [1, 1],
        [4, 4],
        [3, 5],
        [2, 18],
      ])
        await check({ kind, T, B, H: T === 3 ? 7 : 16 })
    },
  )

  it.each(['GRU', 'LSTM'] as const)('%s: both directions, masks, no bias, batch first', async (kind) => {
    for (const where of ['lengths', 'mask', undefined] as const) {
      await check({ kind, T: 4, B: 5, H: 12, bidirectional: true, where })
      await check({ kind, T: 4, B: 5, H: 6, bias: false, batchFirst: true, where })
    }
  })

  it('more units than a workgroup has lanes', async () => {
    for (const H of [65, 260]) await check({ kind: 'GRU', T: 2, B: 5, H })
  })

  it('the largest hidden sizes are a loop over steps', async () => {
    const H = fallback ? 513 : Math.floor(gpu.gpuDevice.limits.maxComputeWorkgroupStorageSize / 16) + 1
    expect(gpu.recurrent.fits({ T: 2, B: 1, D: 1, H, G: 1, N: 1, K: 1 })).toBe(false)
    expect(gpu.recurrent.fits({ T: 2, B: 1, D: 1, H: H - 1, G: 1, N: 1, K: 1 })).toBe(true)
    if (!fallback) return
    const { kernels } = await run({ kind: 'RNN', T: 2, B: 1, H }, true)
    expect(kernels).not.toContain('recurrent')
  })

  it('without a gradient to come', async () => {
    ef.manualSeed(6)
    const layer = new nn.GRU(3, 6)
    const x = ef.randn([4, 5, 3])
    const [fused] = ef.noGrad(() => layer.forward(x))
    vi.spyOn(gpu.recurrent, 'fits').mockReturnValue(false)
    const [loop] = ef.noGrad(() => layer.forward(x))
    expectClose(await fused.data(), await loop.data(), { absolute: 1e-5 })
  })
})

it('one launch each way, however long the sequence', async () => {
  await ef.init({ device: 'webgpu' })
  const counts: number[] = []
  for (const T of [2, 20]) {
    const layer = new nn.GRU(3, 5)
    const x = ef.randn([T, 4, 3])
    const report = await ef.profile(() => layer.forward(x)[0].sum().backward())
    expect(report.kernels).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'recurrent', calls: 1 }),
        expect.objectContaining({ name: 'recurrent backward', calls: 1 }),
      ]),
    )
    counts.push(report.dispatches)
  }
  expect(counts[1]).toBe(counts[0])
  ef.shutdown()
})
