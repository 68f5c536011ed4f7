// Quantization: parameters and integers against torch.ao.quantization and the published numbers, one rounding rule on
// every device, and what a bad range or scale says.
import * as ef from 'evenfold'
import { compress } from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { Program } from '../src/backend/program'
import { input } from '../src/backend/expr'
import { integersOf } from '../src/compress/quantize/integers'
import { contiguous, place } from './support/naive'
import { describeDevices, onDevice } from './support/devices'
import { loadGolden } from './support/golden'

const { QuantizationParams, chooseParams } = compress
const types = ['int8', 'uint8', 'uint7', 'int4', 'uint4'] as const

/** Signed zeros are equal here. */
const plain = (values: Iterable<number>): number[] => Array.from(values, (v) => v + 0)

async function integers(x: ef.Tensor, params: compress.QuantizationParams): Promise<number[]> {
  return plain(await compress.quantizeTensor(x, params).data())
}

describe('ranges to parameters', () => {
  it.each([
    ['int8 symmetric: absmax / 127.5', { type: 'int8' }, [-1, 2], 0.0156862754, 0],
    ['uint8 symmetric: the zero point in the middle', { type: 'uint8' }, [-1, 2], 0.0156862754, 128],
    ['uint8 affine', { type: 'uint8', symmetric: false }, [-1, 2], 0.0117647061, 85],
    ['uint7 affine', { type: 'uint7', symmetric: false }, [-1, 2], 0.0236220472, 42],
    ['0 is taken in', { type: 'uint8', symmetric: false }, [3, 5], 0.0196078438, 0],
    ['nothing but 0', { type: 'uint8', symmetric: false }, [0, 0], 1.1920929e-7, 0],
    ['a constant', { type: 'uint8', symmetric: false }, [2, 2], 0.0078431377, 0],
    ['narrow: absmax / 127', { narrow: true }, [-1, 2], 2 / 127, 0],
  ] satisfies [string, compress.QuantizationScheme, [number, number], number, number][])(
    '%s',
    (_, scheme, [min, max], scale, zero) => {
      const params = chooseParams([min], [max], scheme)
      expect(params.scale[0]).toBeCloseTo(scale, 9)
      expect([...params.zeroPoint]).toEqual([zero])
    },
  )

  it('a narrow scheme leaves out the lowest integer', async () => {
    const params = chooseParams([-2], [2], { narrow: true })
    expect([params.low, params.high]).toEqual([-127, 127])
    expect(await integers(ef.tensor([-2, 2, -3, 0]), params)).toEqual([-127, 127, -127, 0])
  })

  it('a moving average starts at the first range', async () => {
    const observer = new compress.MovingAverageObserver({ type: 'uint8', symmetric: false })
    await observer.observe(ef.tensor([-1, 1]))
    await observer.observe(ef.tensor([-3, 2]))
    expect(observer.range?.min[0]).toBeCloseTo(-1.02, 6)
    expect(observer.range?.max[0]).toBeCloseTo(1.01, 6)
    expect(observer.params().scale[0]).toBeCloseTo(0.0079607842, 9)
    expect([...observer.params().zeroPoint]).toEqual([128])
  })

  it('percentiles are interpolated, and averaged over tensors', async () => {
    const observer = new compress.PercentileObserver({ percentile: 90 })
    await observer.observe(ef.arange(11, { dtype: 'float32' }))
    expect([observer.range?.min[0], observer.range?.max[0]]).toEqual([1, 9])
    await observer.observe(ef.tensor([0, 0, 0, 100]))
    // 0.9 of the way through [0, 0, 0, 100]: 70.
    expect(observer.range?.max[0]).toBeCloseTo((9 + 70) / 2, 4)
    const all = new compress.PercentileObserver({ percentile: 100 })
    await all.observe(ef.tensor([3, -7, 2]))
    expect([all.range?.min[0], all.range?.max[0]]).toEqual([-7, 3])
  })

  it('along an axis, also the only one', async () => {
    const observer = new compress.MinMaxObserver({ axis: -1 })
    await observer.observe(ef.tensor([-1, 2, 0]))
    expect([...(observer.range?.min ?? [])]).toEqual([-1, 2, 0])
    await observer.observe(ef.tensor([-2, 1, 5]))
    expect([...(observer.range?.min ?? [])]).toEqual([-2, 1, 0])
    expect([...(observer.range?.max ?? [])]).toEqual([-1, 2, 5])
  })
})

describeDevices('torch.ao.quantization', (where) => {
  const kinds = {
    minMax: compress.MinMaxObserver,
    movingAverage: compress.MovingAverageObserver,
  }
  it.each(loadGolden('quantization').map((golden) => [golden.name, golden] as const))(
    '%s',
    async (_, golden) => {
      const { type, symmetric, axis, observer: kind } = golden.options
      const observer = new kinds[kind as keyof typeof kinds]({
        type: type as compress.IntegerType,
        symmetric: symmetric as boolean,
        axis: axis as number | null,
        ...(kind === 'movingAverage' && { momentum: 0.1 }),
      })
      for (let step = 0; step < 3; step++) {
        await observer.observe(onDevice(golden.get(`x.${step}`), where))
        const { scale, zeroPoint } = observer.params()
        expect([...scale]).toEqual(golden.get(`scale.${step}`).values)
        expect([...zeroPoint]).toEqual(golden.get(`zero.${step}`).values)
      }
      const x = onDevice(golden.get('input'), where)
      x.requiresGrad = true
      const fake = compress.fakeQuantize(x, observer.params())
      expect(fake.dtype).toBe(where.dtype)
      expect(plain(await fake.data())).toEqual(plain(golden.get('fake').values))
      fake
        .mul(onDevice(golden.get('cotangent'), where))
        .sum()
        .backward()
      expect(plain(await (x.grad as ef.Tensor).data())).toEqual(plain(golden.get('grad').values))
    },
  )
})

describeDevices('one rounding rule', ({ device, dtype }) => {
  const tensor = (values: number[], shape = [values.length]) => ef.tensor(values, { shape, dtype, device })

  it('halves go to even, then the zero point is added', async () => {
    const values = [-0.6, -0.5, -0.25, 0.25, 0.5, 0.75, 1.5, 2.5, 3.5, 200]
    expect(await integers(tensor(values), new QuantizationParams({}, [1], [0]))).toEqual([
      -1, 0, 0, 0, 0, 1, 2, 2, 4, 127,
    ])
    const odd = new QuantizationParams({ type: 'uint8', symmetric: false }, [1], [3])
    const halves = tensor([0.5, 1.5, 2.5, 3.5])
    expect(await integers(halves, odd)).toEqual([3, 5, 5, 7])
    expect(plain(await compress.fakeQuantize(halves, odd).data())).toEqual([0, 2, 2, 4])
  })

  it('each step is rounded to float32', async () => {
    const weight = tensor([1, -2, 0.5, 0.1, 0.05, -0.3], [2, 3])
    const observer = new compress.MinMaxObserver({ axis: 0 })
    await observer.observe(weight)
    const params = observer.params()
    // In double precision the largest would be -128.
    expect(await integers(weight, params)).toEqual([64, -127, 32, 42, 21, -127])
    const back = compress.dequantizeTensor(compress.quantizeTensor(weight, params), params)
    expect(back.dtype).toBe('float32')
    const expected = [1.00392163, -1.99215698, 0.50196081, 0.09882353, 0.04941177, -0.29882354]
    for (const [i, v] of (await back.data()).entries()) expect(v).toBeCloseTo(expected[i], 7)
  })

  it('the gradient is 1 where the integer is in its range before it is limited', async () => {
    const x = tensor([-5, -1, 0.2, 1, 4])
    x.requiresGrad = true
    const params = new QuantizationParams({ type: 'int4' }, [0.25], [0])
    compress.fakeQuantize(x, params).sum().backward()
    expect([...(await (x.grad as ef.Tensor).data())]).toEqual([0, 1, 1, 1, 0])
  })

  const scene = fc.record({
    type: fc.constantFrom(...types),
    // Scales that make many ties, and any others.
    scale: fc.oneof(
      fc.constantFrom(1, 0.5, 0.25, 2 ** -10),
      fc.float({ min: Math.fround(1e-3), max: 10, noNaN: true }),
    ),
    zero: fc.integer({ min: 0, max: 7 }),
    values: fc.array(
      fc.oneof(
        fc.integer({ min: -40, max: 40 }).map((n) => n / 4),
        fc.float({ min: -300, max: 300, noNaN: true }),
      ),
      { minLength: 1, maxLength: 17 },
    ),
  })

  it('fake-quantized integers are the really quantized ones, and those of plain numbers', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async ({ type, scale, zero, values }) => {
        const params = new QuantizationParams({ type, symmetric: false }, [scale], [zero])
        const x = tensor(values)
        const real = compress.quantizeTensor(x, params)
        const q = await real.data()
        expect([...q]).toEqual([...integersOf(values, params, 1)])
        const fake = plain(await compress.fakeQuantize(x, params).data())
        expect(fake).toEqual(plain(await compress.dequantizeTensor(real, params).data()))
      }),
      { numRuns: device === 'cpu' ? 200 : 40 },
    )
  })
})

it('expressions that are interpreted round as the compiled ones do', () => {
  const backends = [new CpuBackend(), new CpuBackend({ plain: true })]
  const x = Float32Array.from({ length: 1000 }, (_, i) => Math.fround(Math.sin(i) * 3))
  const reciprocal = Math.fround(1 / 0.0156862754)
  const program = new Program([input(0).single().mul(input(1)).single().round()], 2)
  const results = backends.map((backend) => {
    const a = place(backend, 'float32', contiguous([1000]), x)
    const r = place(
      backend,
      'float32',
      { shape: [1000], strides: [0], offset: 0, length: 1 },
      Float32Array.of(reciprocal),
    )
    const out = place(backend, 'float32', contiguous([1000]), x)
    backend.elementwise(program, [a, r], [], [out])
    return backend.readSync(out.buffer, 'float32', 0, 1000)
  })
  expect(results[1]).toEqual(results[0])
})

describe('bad input', () => {
  const params = chooseParams([-1], [1])
  it.each<[string, () => unknown, new (m: string) => Error, RegExp]>([
    [
      'an unknown type',
      () => chooseParams([0], [1], { type: 'int9' as never }),
      ef.ArgumentError,
      /no integer type 'int9'; expected int8, /,
    ],
    ['an axis', () => chooseParams([0], [1], { axis: 0.5 }), ef.ArgumentError, /axis is 0.5/],
    [
      'narrow and affine',
      () => chooseParams([0], [1], { narrow: true, symmetric: false }),
      ef.ArgumentError,
      /narrow needs symmetric/,
    ],
    ['NaN', () => chooseParams([Number.NaN], [1]), ef.NonFiniteError, /from NaN to 1 cannot be quantized/],
    ['infinity', () => chooseParams([0], [Infinity]), ef.NonFiniteError, /from 0 to Infinity/],
    ['an empty range', () => chooseParams([1], [0]), ef.ArgumentError, /from 1 to 0 is empty/],
    [
      'a scale of 0',
      () => new QuantizationParams({}, [0], [0]),
      ef.ArgumentError,
      /scale 0 is 0; expected a positive/,
    ],
    ['a negative scale', () => new QuantizationParams({}, [-1], [0]), ef.ArgumentError, /scale 0 is -1/],
    [
      'a tiny scale',
      () => new QuantizationParams({}, [1e-40], [0]),
      ef.ArgumentError,
      /reciprocal is finite/,
    ],
    [
      'a zero point outside',
      () => new QuantizationParams({}, [1], [128]),
      ef.ArgumentError,
      /is 128; expected an integer from -128 to 127/,
    ],
    [
      'half a zero point',
      () => new QuantizationParams({}, [1], [0.5]),
      ef.ArgumentError,
      /zero point 0 is 0.5/,
    ],
    [
      'scales without an axis',
      () => new QuantizationParams({}, [1, 1], [0, 0]),
      ef.ArgumentError,
      /2 scales and 2 zero points/,
    ],
    [
      'integers',
      () => compress.quantizeTensor(ef.tensor([1], { dtype: 'int32' }), params),
      ef.DTypeError,
      /int32/,
    ],
    ['floats', () => compress.dequantizeTensor(ef.tensor([1]), params), ef.DTypeError, /got float32/],
    [
      'another axis',
      () => compress.fakeQuantize(ef.zeros([2, 3]), chooseParams([0, 0], [1, 1], { axis: 1 })),
      ef.ShapeError,
      /2 scales along axis 1 do not fit shape \[2, 3\]/,
    ],
    [
      'nothing observed',
      () => new compress.MinMaxObserver().params(),
      ef.ArgumentError,
      /nothing was observed/,
    ],
    [
      'a momentum',
      () => new compress.MovingAverageObserver({ momentum: 0 }),
      ef.ArgumentError,
      /momentum is 0/,
    ],
    [
      'a percentile',
      () => new compress.PercentileObserver({ percentile: 50 }),
      ef.ArgumentError,
      /percentile is 50/,
    ],
    [
      'a percentile per channel',
      () => new compress.PercentileObserver({ axis: 0 }),
      ef.ArgumentError,
      /axis has to be null/,
    ],
  ])('%s', (_, run, error, message) => {
    expect(run).toThrow(error)
    expect(run).toThrow(message)
  })

  it.each([compress.MinMaxObserver, compress.MovingAverageObserver, compress.PercentileObserver])(
    '%o refuses numbers that are not finite, and keeps what it has',
    async (Kind) => {
      const observer = new Kind()
      await observer.observe(ef.tensor([-1, 2]))
      const before = observer.params()
      for (const bad of [Number.NaN, Infinity, -Infinity])
        await expect(observer.observe(ef.tensor([1, bad]))).rejects.toThrow(ef.NonFiniteError)
      expect(observer.params().scale).toEqual(before.scale)
      await expect(observer.observe(ef.zeros([0]))).rejects.toThrow(/empty/)
    },
  )
})
