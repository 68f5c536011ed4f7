// Fused attention on webgpu against the composite that it takes the place of: outputs, gradients, masks, dropout, parts.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { registerBackend } from '../src/backend/registry'
import type { WebGpuBackend } from '../src/backend/webgpu'
import { attentionCore } from '../src/nn/attention-core'
import type { AttentionMask } from '../src/nn/attention-reference'
import { expectClose, openWebGpu } from './support/twins'

interface Case {
  B: number
  H: number
  T: number
  S: number
  d: number
  e: number
  causal: boolean
  offset: number
  padding: boolean
  forbidden: 'none' | 'bool' | 'add'
  /** One buffer for q, k and v, as a packed projection gives it; needs T = S and d = e. */
  packed: boolean
  dropout: number
  /** Elements a part may have. */
  part: number
}

const PLAIN: Case = {
  B: 2,
  H: 2,
  T: 5,
  S: 5,
  d: 4,
  e: 4,
  causal: false,
  offset: 0,
  padding: false,
  forbidden: 'none',
  packed: false,
  dropout: 0,
  part: 1e6,
}

describe.each([
  ['software', true],
  ['hardware', false],
])('kernels for %s', (_, fallback) => {
  let gpu: WebGpuBackend
  beforeAll(async () => {
    gpu = await openWebGpu({ fallback })
    registerBackend(gpu)
  })
  afterEach(() => vi.restoreAllMocks())
  afterAll(() => ef.shutdown())

  const device = 'webgpu'

  /** Output and gradients of q, k and v, by the fused kernels or by the composite. */
  async function run(c: Case, fused: boolean): Promise<{ values: ef.HostArray[]; kernels: string[] }> {
    ef.manualSeed(11)
    const { B, H, T, S, d, e } = c
    const make = (shape: number[]): ef.Tensor => {
      const t = ef.randn(shape, { device })
      t.requiresGrad = true
      return t
    }
    const leaves = c.packed
      ? [make([B, T, 3 * H * d])]
      : [make([B, T, H, d]), make([B, S, H, d]), make([B, S, H, e])]
    const coin = (shape: number[]): ef.Tensor => ef.rand(shape, { device }).lt(0.4)
    const masks: AttentionMask[] = c.padding ? [{ kind: 'exclude', mask: coin([B, 1, 1, S]) }] : []
    if (c.forbidden === 'bool') masks.push({ kind: 'exclude', mask: coin([B, H, T, S]) })
    if (c.forbidden === 'add') {
      const values = ef.randn([T, S], { device }).maskedFill(coin([T, S]), Number.NEGATIVE_INFINITY)
      masks.push({ kind: 'add', mask: values })
    }
    const cotangent = ef.randn([B, T, H, c.packed ? d : e], { device })
    if (!fused) vi.spyOn(gpu.attention, 'fits').mockReturnValue(false)
    const { causal, offset, dropout } = c
    const options = { masks, causal, offset, scale: 0.3, dropout, needWeights: false }
    const report = await ef.profile(
      () => {
        const [q, k, v] = c.packed ? leaves[0].chunk(3, -1).map((t) => t.reshape([B, T, H, d])) : leaves
        const { output } = attentionCore(q, k, v, options, c.part)
        output.mul(cotangent).sum().backward()
        return output
      },
      { device },
    )
    vi.restoreAllMocks()
    const grads = leaves.map((t) => t.grad as ef.Tensor)
    const values = await Promise.all([report.result, ...grads].map((t) => t.data()))
    return { values, kernels: report.kernels.map((k) => k.name) }
  }

  async function check(c: Case): Promise<void> {
    const [fused, composite] = [await run(c, true), await run(c, false)]
    const own = ['attention', 'attention queries', 'attention keys']
    expect(fused.kernels).toEqual(expect.arrayContaining(own))
    expect(composite.kernels).not.toEqual(expect.arrayContaining(['attention']))
    fused.values.forEach((values, i) => {
      const largest = Math.max(1, ...composite.values[i].map(Math.abs))
      expectClose(values, composite.values[i], { absolute: 2e-5 * largest })
    })
  }

  it('sizes around tiles of 16 and workgroups of 64, widths that are and are not whole vectors', async () => {
    for (const [T, S, d, e] of [
      [1, 1, 1, 1],
      [17, 15, 3, 5],
      [15, 16, 4, 4],
      [64, 33, 4, 4],
      [65, 63, 4, 4],
      [3, 130, 4, 4],
    ])
      await check({ ...PLAIN, T, S, d, e })
  })

  it('the widest heads; wider ones are the composite', async () => {
    // The driver's compiler takes half a minute over the widest tiles in workgroup memory.
    const d = fallback ? 128 : 36
    await check({ ...PLAIN, B: 1, H: 1, T: 6, S: 18, d, e: d })
    const { kernels } = await run({ ...PLAIN, T: 2, S: 2, d: 129 }, true)
    expect(kernels).not.toContain('attention')
  })

  it('causal, with and without keys before the queries', async () => {
    for (const [T, S, offset] of [
      [70, 70, 0],
      [5, 40, 35],
      [20, 90, 10],
      [90, 20, 3],
    ])
      await check({ ...PLAIN, T, S, offset, causal: true })
  })

  it('dropout draws what the composite draws, part by part', async () => {
    for (const part of [1e6, 700, 40]) await check({ ...PLAIN, T: 17, S: 20, dropout: 0.4, part })
    await check({ ...PLAIN, dropout: 1 })
  })

  it('any masks, layouts and parts', async () => {
    const size = fc.integer({ min: 1, max: 20 })
    const cases: fc.Arbitrary<Case> = fc
      .record({
        B: fc.integer({ min: 1, max: 3 }),
        H: fc.integer({ min: 1, max: 3 }),
        T: size,
        S: size,
        d: fc.constant(4),
        e: fc.constant(4),
        causal: fc.boolean(),
        offset: fc.integer({ min: 0, max: 3 }),
        padding: fc.boolean(),
        forbidden: fc.constantFrom('none' as const, 'bool' as const, 'add' as const),
        packed: fc.boolean(),
        dropout: fc.constantFrom(0, 0.3),
        part: fc.constantFrom(50, 1e6),
      })
      .map((c) => (c.packed ? { ...c, S: c.T, e: c.d } : c))
    await fc.assert(fc.asyncProperty(cases, check), { numRuns: fallback ? 16 : 5 })
  })

  it('a query that sees no key gives 0, and no gradient', async () => {
    const masks: AttentionMask[] = [
      {
        kind: 'exclude',
        mask: ef.tensor(
          [
            [true, true],
            [false, true],
          ],
          { device },
        ),
      },
    ]
    const [q, k, v] = [2, 2, 2].map((n) => {
      const t = ef.randn([1, n, 1, 4], { device })
      t.requiresGrad = true
      return t
    })
    const { output } = attentionCore(q, k, v, {
      masks,
      causal: false,
      scale: 1,
      dropout: 0,
      needWeights: false,
    })
    output.sum().backward()
    const [first, second] = [await output.data(), await v.data()]
    expectClose(first, [0, 0, 0, 0, ...second.slice(0, 4)], { absolute: 1e-6 })
    expectClose((await (q.grad as ef.Tensor).data()).slice(0, 4), [0, 0, 0, 0])
    expectClose(await (v.grad as ef.Tensor).data(), [1, 1, 1, 1, 0, 0, 0, 0], { absolute: 1e-6 })
  })
})
