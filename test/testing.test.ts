// `evenfold/testing`, used as its users do: gradient checks of an op of one's own, close comparison, generated tensors
// and modules.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import {
  allclose,
  type AllcloseMatchers,
  broadcastableShapes,
  gradcheck,
  gradgradcheck,
  matchers,
  modules,
  shapes,
  tensors,
} from '../src/testing'
import { onDevices, WEBGPU } from './support/precision'

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: the type parameter vitest declares
  interface Matchers<T = any> extends AllcloseMatchers<T> {}
}
expect.extend(matchers)

const RUNS = { seed: 7, numRuns: 60 }

describe('toBeAllclose', () => {
  it('compares tensors, nested arrays, numbers and typed arrays', () => {
    const x = ef.tensor([
      [1, 2],
      [3, 4],
    ])
    expect(x).toBeAllclose([
      [1, 2],
      [3, 4 + 1e-6],
    ])
    expect(x).not.toBeAllclose([
      [1, 2],
      [3, 4.1],
    ])
    expect(x).toBeAllclose(
      [
        [1, 2],
        [3, 4.1],
      ],
      { atol: 0.2 },
    )
    expect(x).toBeAllclose(
      [
        [1, 2],
        [3, 4.1],
      ],
      { rtol: 0.05 },
    )
    expect(x).toBeAllclose(x.to('float64'))
    expect(ef.tensor(2)).toBeAllclose(2)
    expect(ef.tensor([1, 2])).toBeAllclose(new Float64Array([1, 2]))
    expect(ef.tensor([true])).toBeAllclose([true])
  })

  it('tells shapes apart, and NaN from everything unless asked', () => {
    expect(ef.zeros([2])).not.toBeAllclose(ef.zeros([2, 1]))
    expect(ef.tensor([Number.NaN])).not.toBeAllclose([Number.NaN])
    expect(ef.tensor([Number.NaN])).toBeAllclose([Number.NaN], { equalNaN: true })
    expect(ef.tensor([Number.POSITIVE_INFINITY])).toBeAllclose([Number.POSITIVE_INFINITY])
    expect(ef.tensor([Number.POSITIVE_INFINITY])).not.toBeAllclose([Number.NEGATIVE_INFINITY])
    expect(ef.tensor([1])).not.toBeAllclose([Number.POSITIVE_INFINITY])
  })

  it('says how many elements differ, and where most', () => {
    const fail = (): void => {
      expect(
        ef.tensor([
          [1, 2],
          [3, 4],
        ]),
      ).toBeAllclose([
        [1, 2.5],
        [9, 4],
      ])
    }
    expect(fail).toThrow(/2 of 4 elements.*worst at \[1, 0\]: 3, expected 9/)
    expect(() => expect(ef.zeros([2])).toBeAllclose([0])).toThrow(/shape \[2\], expected \[1\]/)
    expect(() => expect(ef.zeros([1])).not.toBeAllclose([0])).toThrow(/expected at least one not to be/)
    expect(() => expect({}).toBeAllclose([0])).toThrow(ef.ArgumentError)
  })

  it('is a function too', async () => {
    expect(await allclose(ef.tensor([1]), [1 + 1e-7])).toBe(true)
    expect(await allclose(ef.tensor([1]), [1.1])).toBe(false)
    await expect(allclose(null as never, [1])).rejects.toThrow(ef.ArgumentError)
  })
})

onDevices('toBeAllclose', () => {
  it('waits for tensors on the GPU', async () => {
    await expect(ef.ones([2]).add(1)).toBeAllclose([2, 2])
    await expect(ef.ones([2])).toBeAllclose(ef.ones([2], { device: 'cpu' }))
    await expect(async () => expect(ef.ones([2])).toBeAllclose([1, 3])).rejects.toThrow(/1 of 2/)
  })
}, [WEBGPU])

describe('arbitraries', () => {
  it('shapes keep within their limits, and reach the edges', () => {
    const seen = { zero: false, one: false, scalar: false }
    fc.assert(
      fc.property(shapes({ maxRank: 4, maxSize: 6, maxElements: 50 }), (shape) => {
        expect(shape.length).toBeLessThanOrEqual(4)
        expect(shape.reduce((a, b) => a * b, 1)).toBeLessThanOrEqual(50)
        expect(Math.max(0, ...shape)).toBeLessThanOrEqual(6)
        seen.zero ||= shape.includes(0)
        seen.one ||= shape.includes(1)
        seen.scalar ||= shape.length === 0
      }),
      { ...RUNS, numRuns: 200 },
    )
    expect(seen).toEqual({ zero: true, one: true, scalar: true })
    fc.assert(
      fc.property(
        shapes({ minRank: 2, minSize: 2 }),
        (shape) => shape.length >= 2 && shape.every((n) => n >= 2),
      ),
      RUNS,
    )
  })

  it('broadcastable shapes broadcast to their result', () => {
    let different = 0
    fc.assert(
      fc.property(broadcastableShapes({ count: 3 }), ({ shapes: list, result }) => {
        const sum = list.map((s) => ef.zeros(s)).reduce((a, b) => a.add(b))
        expect(sum.shape).toEqual(result)
        if (new Set(list.map(String)).size > 1) different++
      }),
      RUNS,
    )
    expect(different).toBeGreaterThan(10)
  })

  it('tensors have the shape, dtype and range asked for, and odd layouts', () => {
    let views = 0
    for (const dtype of ['float32', 'float64', 'int32', 'bool'] as const) {
      fc.assert(
        fc.property(tensors({ dtype, range: [-2, 3] }), (t) => {
          expect(t.dtype).toBe(dtype)
          const data = Array.from(t.dataSync()!)
          expect(data.length).toBe(t.size)
          expect(data.every((v) => v >= -2 && v <= 3)).toBe(true)
          if (!t.isContiguous) views++
          t.dispose()
        }),
        RUNS,
      )
    }
    expect(views).toBeGreaterThan(20)
    const [x] = fc.sample(tensors({ shape: [2, 3], requiresGrad: true }), { seed: 1, numRuns: 1 })
    expect([x.shape, x.requiresGrad, x.isLeaf]).toEqual([[2, 3], true, true])
  })

  it('find and shrink a counterexample of a false law', () => {
    const law = fc.property(tensors({ range: [-5, 5] }), (t) => {
      expect(t.abs()).toBeAllclose(t)
    })
    const found = fc.check(law, { seed: 3, numRuns: 100 })
    expect(found.failed).toBe(true)
    expect((found.counterexample as [ef.Tensor])[0].size).toBeLessThanOrEqual(4)
  })

  it('property-test an op of one’s own, twice differentiable', async () => {
    const swish = ef.fuse((x) => x.mul(x.mul(2).sigmoid()))
    const inputs = tensors({
      shape: shapes({ maxElements: 6 }),
      dtype: 'float64',
      range: [-2, 2],
      requiresGrad: true,
    })
    await fc.assert(
      fc.asyncProperty(inputs, async (x) => {
        await gradcheck(swish, [x])
        await gradgradcheck(swish, [x])
      }),
      { seed: 7, numRuns: 20 },
    )
  })

  it('modules map their features, have right gradients, and come from a seed', async () => {
    const before = ef.getRandomState()
    await fc.assert(
      fc.asyncProperty(
        modules({ dtype: 'float64', maxLayers: 3, maxFeatures: 3 }),
        async ({ module, inFeatures, outFeatures }) => {
          const x = ef.tidy(() =>
            ef
              .arange(2 * inFeatures, { dtype: 'float64' })
              .sin()
              .reshape([2, inFeatures]),
          )
          expect(module.forward(x).shape).toEqual([2, outFeatures])
          x.requiresGrad = true
          await gradcheck((input) => module.forward(input), [x])
        },
      ),
      { seed: 5, numRuns: 15 },
    )
    expect(ef.getRandomState()).toEqual(before)
    const [a, b] = [0, 1].map(() => fc.sample(modules(), { seed: 9, numRuns: 1 })[0].module.stateDict())
    expect(Object.keys(a)).toEqual(Object.keys(b))
    for (const [key, t] of Object.entries(a)) expect(t).toBeAllclose(b[key], { atol: 0, rtol: 0 })
  })
})
