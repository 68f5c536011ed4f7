// Layers that compute from int8 weights: their words, the integers against plain ones, and what they give beside float32.
import * as ef from 'evenfold'
import { compress, nn } from 'evenfold'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CpuBackend, cpuBackend } from '../src/backend/cpu'
import { createWebGpuBackend, type WebGpuBackend } from '../src/backend/webgpu'
import { packPanels, packRows, panelShape, quadsOf, unpackPanels } from '../src/backend/int8'
import { getBackend, registerBackend } from '../src/backend/registry'
import { packActivations, type RowParams, unpackRows } from '../src/compress/quantize/int8'
import { integersOf } from '../src/compress/quantize/integers'
import { noise } from './support/naive'

const plainCpu = new CpuBackend({ plain: true })

/** int8 is float32's affair: these are the places it runs, the expressions that kernels replace among them. */
function describePlaces(title: string, fn: (device: ef.DeviceName) => void): void {
  describe.each([
    ['cpu', 'cpu', cpuBackend],
    ['cpu without WASM', 'cpu', plainCpu],
    ['webgpu with dot4I8Packed', 'webgpu', true],
    ['webgpu without', 'webgpu', false],
  ] as const)(`${title} (%s)`, (_, device, kind) => {
    let usual: WebGpuBackend | null = null
    beforeAll(async () => {
      if (typeof kind !== 'boolean') registerBackend(kind)
      await ef.init({ device })
      if (typeof kind !== 'boolean') return
      usual = getBackend('webgpu') as WebGpuBackend
      registerBackend(await createWebGpuBackend({ device: usual.gpuDevice, packedDots: kind }))
    })
    afterAll(async () => {
      registerBackend(cpuBackend)
      if (usual) registerBackend(usual)
      await ef.init({ device: 'cpu' })
    })
    fn(device)
  })
}

const { QuantizationParams, QuantizedLinear } = compress

function rowParams(
  scheme: compress.QuantizationScheme,
  scale: number[],
  zero: number[],
): { params: compress.QuantizationParams[]; rows: RowParams } {
  const params = scale.map((s, i) => new QuantizationParams(scheme, [s], [zero[i]]))
  const shape = scale.length === 1 ? [] : [scale.length, 1]
  const put = (values: number[], dtype: 'float32' | 'int32' = 'float32') =>
    ef.tensor(values, { shape, dtype })
  return {
    params,
    rows: {
      scale: put(params.map((p) => p.scale[0])),
      reciprocal: put(params.map((p) => p.reciprocal[0])),
      zeroPoint: put(zero),
      wholeZeroPoint: put(zero, 'int32'),
      low: params[0].low,
      high: params[0].high,
    },
  }
}

const values = (count: number, seed: number, deviation = 1): Float32Array => {
  const next = noise(seed)
  return Float32Array.from({ length: count }, () => next() * deviation)
}

/** The values that lie along K in the words of rows. */
const bytesOf = (words: ef.HostArray, m: number, k: number): number[] => {
  const bytes = new Int8Array(Int32Array.from(words).buffer)
  return Array.from({ length: m * k }, (_, i) => bytes[4 * quadsOf(k) * Math.floor(i / k) + (i % k)])
}

describePlaces('words of activations', () => {
  const scene = fc.record({
    m: fc.integer({ min: 1, max: 5 }),
    k: fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 32, 37),
    each: fc.boolean(),
    type: fc.constantFrom<'int8' | 'uint7'>('int8', 'uint7'),
    seed: fc.integer(),
  })
  it('follow the one rounding rule, ties and ends included', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async ({ m, k, each, type, seed }) => {
        // Quarters of a power of two: every second value is a tie or lies outside.
        const x = values(m * k, seed, 300).map((v) => Math.round(v * 4) / 8)
        const count = each ? m : 1
        const scales = Array.from({ length: count }, (_, i) => [0.25, 1, 0.3][i % 3])
        const zeros = Array.from({ length: count }, (_, i) => [3, 0, 64][i % 3])
        const { params, rows } = rowParams({ type, symmetric: false }, scales, zeros)
        const words = packActivations(ef.tensor(x, { shape: [m, k] }), rows)
        const expected = Array.from({ length: m }, (_, i) => [
          ...integersOf(x.subarray(i * k, (i + 1) * k), params[each ? i : 0], k),
        ]).flat()
        expect(bytesOf(await words.data(), m, k)).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })

  it('come back as the numbers that they stand for', async () => {
    for (const k of [1, 4, 6, 16, 21]) {
      const q = Int8Array.from({ length: 3 * k }, (_, i) => ((i * 37) % 256) - 128)
      const words = ef.tensor(packRows(q, 3, k), { shape: [3, quadsOf(k)] })
      const { rows, params } = rowParams({}, [0.5, 0.1, 3], [0, 0, 0])
      const zero = ef.tensor([0, 5, -1], { shape: [3, 1], dtype: 'float32' })
      const back = unpackRows(words, k, rows.scale, zero)
      const expected = Array.from(q, (v, i) => {
        const row = Math.floor(i / k)
        return Math.fround((v - [0, 5, -1][row]) * params[row].scale[0]) + 0
      })
      expect(Array.from(await back.data(), (v) => v + 0)).toEqual(expected)
    }
  })
})

describePlaces('products of words', (device) => {
  it('are exact', async () => {
    const shapes = fc.constantFrom([1, 1, 1], [3, 7, 5], [4, 8, 16], [5, 9, 17], [9, 23, 40], [2, 17, 33])
    await fc.assert(
      fc.asyncProperty(shapes, fc.boolean(), async ([m, n, k], sevenBits) => {
        const next = noise(m + n + k)
        const make = (count: number, low: number) =>
          Int8Array.from({ length: count }, () => low + Math.floor(((next() + 1) / 2) * (128 - low)))
        const [a, b] = [make(m * k, sevenBits ? 0 : -128), make(n * k, -128)]
        a[0] = 127
        b[0] = -128
        const left = ef.tensor(packRows(a, m, k), { shape: [m, quadsOf(k)] })
        const right = ef.tensor(packPanels(b, n, k), { shape: panelShape(k, n) })
        const out = ef.zeros([m, n], { dtype: 'int32' })
        getBackend(device).matmulInt8(left.view(), right.view(), out.view(), sevenBits)
        const expected = Array.from({ length: m * n }, (_, i) => {
          let sum = 0
          for (let p = 0; p < k; p++) sum += a[Math.floor(i / n) * k + p] * b[(i % n) * k + p]
          return sum
        })
        expect([...(await out.data())]).toEqual(expected)
      }),
      { numRuns: 12 },
    )
  })
})

/** y = sum over k of the numbers that the integers stand for, in double precision. */
async function exactly(
  layer: compress.QuantizedLinear,
  x: Float32Array,
  params: compress.QuantizationParams,
  bias: ArrayLike<number>,
): Promise<Float64Array> {
  const { inFeatures: k, outFeatures: n } = layer
  const { values: w, params: own } = await layer.integers()
  const q = integersOf(x, params, x.length)
  return Float64Array.from({ length: (x.length / k) * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n]
    let sum = 0
    for (let p = 0; p < k; p++) sum += (q[row * k + p] - params.zeroPoint[0]) * w[column * k + p]
    return sum * params.scale[0] * own.scale[column] + (bias[column] ?? 0)
  })
}

describePlaces('QuantizedLinear', () => {
  const layers = fc.record({
    rows: fc.integer({ min: 1, max: 4 }),
    k: fc.constantFrom(1, 3, 4, 8, 13, 32),
    n: fc.constantFrom(1, 5, 8, 9, 24),
    bias: fc.boolean(),
    perChannel: fc.boolean(),
    type: fc.constantFrom<'int8' | 'uint7'>('int8', 'uint7'),
    seed: fc.nat(),
  })

  it('with a fixed range, is what its integers stand for, to float32 rounding', async () => {
    await fc.assert(
      fc.asyncProperty(layers, async ({ rows, k, n, bias, perChannel, type, seed }) => {
        ef.manualSeed(seed)
        const float = new nn.Linear(k, n, { bias })
        const layer = await QuantizedLinear.from(float, {
          weight: { perChannel },
          activations: { type, range: 'static' },
        })
        const x = values(rows * k, seed)
        const params = compress.chooseParams([-0.8], [0.7], { type, symmetric: false })
        layer.activations.setParams(params)
        const y = await layer.forward(ef.tensor(x, { shape: [rows, k] })).data()
        const expected = await exactly(layer, x, params, bias ? await (float.bias as ef.Tensor).data() : [])
        const largest = Math.max(...expected.map(Math.abs), 1e-3)
        for (const [i, v] of expected.entries())
          expect(Math.abs(y[i] - v)).toBeLessThanOrEqual(4e-7 * largest)
      }),
      { numRuns: 25 },
    )
  })

  it.each([
    ['token', 'int8', false, 0.012],
    ['tensor', 'int8', false, 0.02],
    ['token', 'uint7', false, 0.02],
    ['tensor', 'int8', true, 0.03],
  ] as const)(
    'ranges of each %s in %s (symmetric: %s) stay near float32',
    async (range, type, symmetric, bound) => {
      ef.manualSeed(3)
      const float = new nn.Linear(64, 40)
      const layer = await QuantizedLinear.from(float, { activations: { range, type, symmetric } })
      const x = ef.randn([2, 3, 64])
      const [y, expected] = [await layer.forward(x).data(), await ef.noGrad(() => float.forward(x)).data()]
      const norm = (v: ArrayLike<number>): number => Math.hypot(...Array.from(v))
      expect(norm(expected.map((v, i) => v - y[i]))).toBeLessThan(bound * norm(expected))
      expect(layer.forward(x).shape).toEqual([2, 3, 40])
    },
  )

  it('each token by itself: a row does not depend on its neighbours', async () => {
    ef.manualSeed(4)
    const layer = await QuantizedLinear.from(new nn.Linear(12, 7))
    const x = values(36, 5)
    x[3] = 50
    const all = await layer.forward(ef.tensor(x, { shape: [3, 12] })).data()
    const last = await layer.forward(ef.tensor(x.subarray(24), { shape: [1, 12] })).data()
    expect([...all.subarray(14)]).toEqual([...last])
  })

  it('some of its outputs', async () => {
    ef.manualSeed(5)
    const layer = await QuantizedLinear.from(new nn.Linear(12, 24))
    const x = ef.randn([5, 12])
    const all = layer.forward(x)
    for (const [start, length] of [
      [8, 16],
      [0, 3],
      [5, 11],
      [23, 1],
    ]) {
      const part = await layer.rows(x, start, length).tolist()
      expect(part).toEqual(await all.narrow(1, start, length).tolist())
    }
  })

  it('an input that is transposed, or has no rows', async () => {
    ef.manualSeed(6)
    const layer = await QuantizedLinear.from(new nn.Linear(6, 4))
    const x = ef.randn([6, 5])
    const turned = x.transpose(0, 1)
    expect(await layer.forward(turned).tolist()).toEqual(await layer.forward(turned.clone()).tolist())
    expect(layer.forward(ef.zeros([0, 6])).shape).toEqual([0, 4])
  })

  it('loads what another one holds', async () => {
    ef.manualSeed(7)
    const options = { activations: { range: 'static' } } as const
    const layer = await QuantizedLinear.from(new nn.Linear(9, 10), options)
    layer.activations.setParams(compress.chooseParams([-1], [1], { symmetric: false }))
    const other = new QuantizedLinear(9, 10, options)
    other.loadStateDict(layer.stateDict())
    const x = ef.randn([3, 9])
    expect(await other.forward(x).tolist()).toEqual(await layer.forward(x).tolist())
  })
})

describe('QuantizedLinear', () => {
  it('holds a byte for each weight', async () => {
    const layer = await QuantizedLinear.from(new nn.Linear(256, 64, { bias: false }))
    const bytes = layer.buffers().reduce((sum, t) => sum + 4 * t.size, 0)
    expect(bytes).toBe(256 * 64 + 2 * 4 * 64)
  })

  it('its integers are those of the published rule', async () => {
    const float = new nn.Linear(3, 2, { bias: false })
    float.loadStateDict({
      weight: ef.tensor([
        [1, -2, 0.5],
        [0.1, 0.05, -0.3],
      ]),
    })
    const { values: q, params } = await (await QuantizedLinear.from(float)).integers()
    expect([...q]).toEqual([64, -127, 32, 42, 21, -127])
    expect(params.scale[0]).toBeCloseTo(0.0156862754, 9)
  })

  it('says what does not fit', async () => {
    const layer = await QuantizedLinear.from(new nn.Linear(3, 2))
    expect(() => layer.forward(ef.zeros([1, 4]))).toThrow(ef.ShapeError)
    expect(() => layer.forward(ef.zeros([3], { dtype: 'int32' }))).toThrow(ef.DTypeError)
    const x = ef.zeros([1, 3])
    x.requiresGrad = true
    expect(() => layer.forward(x)).toThrow(/integers have none/)
    expect(ef.noGrad(() => layer.forward(x)).shape).toEqual([1, 2])
    await expect(QuantizedLinear.from(new nn.Linear(3, 2, { dtype: 'float64' }))).rejects.toThrow(
      ef.DTypeError,
    )
    const broken = new nn.Linear(1, 1)
    broken.loadStateDict({ weight: ef.tensor([[Number.NaN]]), bias: ef.tensor([0]) })
    await expect(QuantizedLinear.from(broken)).rejects.toThrow(ef.NonFiniteError)
    expect(() => new QuantizedLinear(0, 1)).toThrow(/inFeatures is 0/)
    expect(() => new QuantizedLinear(1, 1, { activations: { type: 'int4' as never } })).toThrow(
      /'int8' or 'uint7'/,
    )
    expect(() => new QuantizedLinear(1, 1, { activations: { range: 'row' as never } })).toThrow(
      /'token', 'tensor'/,
    )
    const params = compress.chooseParams([-1], [1])
    expect(() => layer.activations.setParams(params)).toThrow(/do not fit a token range/)
    expect(() => layer.setWeight({ values: new Int8Array(5), params })).toThrow(/5 integers/)
  })

  it('panels come back as rows', () => {
    const q = Int8Array.from({ length: 33 }, (_, i) => i - 16)
    expect(unpackPanels(packPanels(q, 11, 3), 11, 3)).toEqual(q)
  })
})
