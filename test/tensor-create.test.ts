// Making tensors, reading them back, printing them; random numbers that are the same on every device.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices, WEBGPU } from './support/precision'

describe('tensor', () => {
  it('takes numbers, booleans and nested arrays; the dtype follows the values', async () => {
    expect(ef.tensor(3)).toMatchObject({ shape: [], dtype: 'float32' })
    expect(
      ef.tensor([
        [1, 2],
        [3, 4],
      ]),
    ).toMatchObject({ shape: [2, 2], dtype: 'float32' })
    expect(ef.tensor([true, false])).toMatchObject({ shape: [2], dtype: 'bool' })
    expect(ef.tensor(true)).toMatchObject({ shape: [], dtype: 'bool' })
    expect(ef.tensor([])).toMatchObject({ shape: [0], dtype: 'float32' })
    expect(ef.tensor([[], []])).toMatchObject({ shape: [2, 0] })
    expect(
      await ef
        .tensor([
          [1, 2],
          [3, 4],
        ])
        .tolist(),
    ).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(await ef.tensor([true, false]).tolist()).toEqual([true, false])
    expect(await ef.tensor([true, 2]).tolist()).toEqual([1, 2])
  })

  it('takes typed arrays, flat or with a shape, and copies them', async () => {
    const kinds = [
      [Float32Array, 'float32'],
      [Float64Array, 'float64'],
      [Int32Array, 'int32'],
      [Uint8Array, 'int32'],
      [Int16Array, 'int32'],
    ] as const
    for (const [Kind, dtype] of kinds) {
      const host = Kind.from([1, 2, 3, 4])
      const t = ef.tensor(host, { shape: [2, 2] })
      host[0] = 9
      expect(t.dtype).toBe(dtype)
      expect(await t.tolist()).toEqual([
        [1, 2],
        [3, 4],
      ])
    }
    expect(await ef.tensor([new Float32Array([1, 2]), [3, 4]]).tolist()).toEqual([
      [1, 2],
      [3, 4],
    ])
  })

  it('converts to a named dtype: rounding, truth, whole numbers only for int32', async () => {
    expect(await ef.tensor([0.1], { dtype: 'float32' }).tolist()).toEqual([Math.fround(0.1)])
    expect(await ef.tensor([0.1], { dtype: 'float64' }).tolist()).toEqual([0.1])
    expect(await ef.tensor([0, 0.5, -3], { dtype: 'bool' }).tolist()).toEqual([false, true, true])
    for (const bad of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]) {
      expect(() => ef.tensor([bad], { dtype: 'int32' })).toThrow(ef.DTypeError)
    }
  })

  it('refuses ragged nesting, wrong sizes and things that are no numbers', () => {
    expect(() => ef.tensor([[1, 2], [3]])).toThrow(ef.ShapeError)
    expect(() => ef.tensor([1, [2]])).toThrow(ef.ShapeError)
    expect(() => ef.tensor([[1], 2])).toThrow(ef.ShapeError)
    expect(() => ef.tensor([1, 2, 3], { shape: [2, 2] })).toThrow(/3 values.*\[2, 2\].*4/)
    expect(() => ef.tensor([1], { shape: [-1] })).toThrow(ef.ShapeError)
    expect(() => ef.tensor([1], { shape: [0.5] })).toThrow(ef.ShapeError)
    for (const bad of [
      '1',
      null,
      undefined,
      {},
      ['a'],
      [null],
      new BigInt64Array(1),
      new DataView(new ArrayBuffer(4)),
    ]) {
      expect(() => ef.tensor(bad as never), String(bad)).toThrow(ef.EvenfoldError)
    }
    expect(() => ef.tensor([1], { dtype: 'float16' as never })).toThrow(ef.DTypeError)
    expect(() => ef.tensor([1], { device: 'tpu' as never })).toThrow(ef.DeviceError)
  })
})

describe('constants and ranges', () => {
  it('zeros, ones, full and their likes', async () => {
    expect(await ef.zeros([2]).tolist()).toEqual([0, 0])
    expect(await ef.ones([2], { dtype: 'bool' }).tolist()).toEqual([true, true])
    expect(await ef.full([1, 2], 7, { dtype: 'int32' }).tolist()).toEqual([[7, 7]])
    expect(await ef.full([1], 0.5, { dtype: 'bool' }).tolist()).toEqual([true])
    const x = ef.zeros([2, 1], { dtype: 'float64' })
    expect(ef.onesLike(x)).toMatchObject({ shape: [2, 1], dtype: 'float64' })
    expect(ef.zerosLike(x, { dtype: 'int32' })).toMatchObject({ shape: [2, 1], dtype: 'int32' })
    expect(ef.ones([2], { requiresGrad: true }).requiresGrad).toBe(true)
    expect(() => ef.full([1], 1.5, { dtype: 'int32' })).toThrow(ef.DTypeError)
  })

  it('arange counts like Python’s range', async () => {
    expect(await ef.arange(3).tolist()).toEqual([0, 1, 2])
    expect(ef.arange(3).dtype).toBe('int32')
    expect(await ef.arange(5, 0, -2).tolist()).toEqual([5, 3, 1])
    expect(ef.arange(0, 1, 0.25)).toMatchObject({ shape: [4], dtype: 'float32' })
    expect(ef.arange(3, { dtype: 'float32' }).dtype).toBe('float32')
    expect(ef.arange(1, 3, 1, { dtype: 'float64' }).dtype).toBe('float64')
    expect(ef.arange(-1).shape).toEqual([0])
    expect(() => ef.arange(0, 1, 0)).toThrow(ef.ArgumentError)
    expect(() => ef.arange(Number.NaN)).toThrow(ef.ArgumentError)
    expect(() => ef.arange(0, 1e12)).toThrow(ef.ShapeError)
  })

  it('linspace ends exactly; eye may be a rectangle', async () => {
    expect(await ef.linspace(0, 1, 5).tolist()).toEqual([0, 0.25, 0.5, 0.75, 1])
    expect(await ef.linspace(0.1, 0.7, 7, { dtype: 'float64' }).slice(-1).item()).toBe(0.7)
    expect(await ef.linspace(3, 4, 1).tolist()).toEqual([3])
    expect(ef.linspace(0, 1, 0).shape).toEqual([0])
    expect(() => ef.linspace(0, 1, 2.5)).toThrow(ef.ShapeError)
    expect(await ef.eye(2, 3).tolist()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ])
    expect(ef.eye(2, 2, { dtype: 'int32' }).dtype).toBe('int32')
  })

  it('keeps within the limits of rank and size', () => {
    expect(() => ef.zeros([1, 1, 1, 1, 1, 1, 1, 1, 1])).toThrow(/9 axes; at most 8/)
    expect(() => ef.zeros([2 ** 16, 2 ** 15])).toThrow(/2\^31/)
    expect(ef.zeros([2 ** 16, 2 ** 15, 0]).size).toBe(0)
  })
})

describe('reading', () => {
  it('data is a fresh copy in the dtype’s array; bool is 0 and 1', async () => {
    const x = ef.tensor([1, 2])
    const a = await x.data()
    a[0] = 9
    expect(Array.from(await x.data())).toEqual([1, 2])
    expect(await ef.tensor([1], { dtype: 'float64' }).data()).toBeInstanceOf(Float64Array)
    expect(await ef.tensor([1], { dtype: 'int32' }).data()).toBeInstanceOf(Int32Array)
    expect(await ef.tensor([true]).data()).toEqual(new Uint8Array([1]))
    expect((await x.data()).buffer).not.toBe((await x.data()).buffer)
  })

  it('follows a view’s layout', async () => {
    const x = ef.arange(6).reshape([2, 3])
    expect(Array.from(await x.T.data())).toEqual([0, 3, 1, 4, 2, 5])
    expect(Array.from(await x.flip(1).data())).toEqual([2, 1, 0, 5, 4, 3])
    expect(Array.from(await x.slice(null, [0, null, 2]).data())).toEqual([0, 2, 3, 5])
    expect(Array.from(await ef.tensor([7]).expand([3]).data())).toEqual([7, 7, 7])
    expect((await x.slice([0, 0]).data()).length).toBe(0)
  })

  it('item wants exactly one element', async () => {
    expect(await ef.tensor([[5]]).item()).toBe(5)
    await expect(ef.tensor([1, 2]).item()).rejects.toThrow(ef.ArgumentError)
    await expect(ef.tensor([]).item()).rejects.toThrow(/\[0\]/)
  })
})

describe('printing is PyTorch’s', () => {
  it.each([
    [
      ef.tensor([
        [1, 2],
        [3, 4],
      ]),
      'tensor([[1., 2.],\n        [3., 4.]])',
    ],
    [ef.tensor([1.5, -2, 10]), 'tensor([ 1.5000, -2.0000, 10.0000])'],
    [ef.tensor([1e-5, 1]), 'tensor([1.0000e-5, 1.0000e+0])'],
    [ef.tensor([Number.NaN, Number.NEGATIVE_INFINITY, 1]), 'tensor([ nan, -inf,   1.])'],
    [ef.tensor([true, false]), 'tensor([ true, false], dtype=bool)'],
    [ef.arange(3), 'tensor([0, 1, 2], dtype=int32)'],
    [ef.tensor(2.5, { requiresGrad: true }), 'tensor(2.5000, requiresGrad=true)'],
    [ef.zeros([0, 2]), 'tensor([], shape=[0, 2])'],
    [ef.zeros([2, 2, 1]), 'tensor([[[0.],\n         [0.]],\n\n        [[0.],\n         [0.]]])'],
    [ef.tensor([1, 2], { dtype: 'float64' }), 'tensor([1., 2.], dtype=float64)'],
    [ef.arange(2000), 'tensor([   0,    1,    2, ..., 1997, 1998, 1999], dtype=int32)'],
  ])('%#', (t, text) => {
    expect(String(t)).toBe(text)
  })

  it('shortens both axes of a large matrix', () => {
    expect(String(ef.zeros([100, 100])).split('\n')).toEqual([
      'tensor([[0., 0., 0., ..., 0., 0., 0.],',
      '        [0., 0., 0., ..., 0., 0., 0.],',
      '        [0., 0., 0., ..., 0., 0., 0.],',
      '        ...,',
      ...new Array(2).fill('        [0., 0., 0., ..., 0., 0., 0.],'),
      '        [0., 0., 0., ..., 0., 0., 0.]])',
    ])
  })

  it('is what console.log shows', () => {
    const inspect = Symbol.for('nodejs.util.inspect.custom') as unknown as keyof ef.Tensor
    expect((ef.tensor([1])[inspect] as () => string)()).toBe('tensor([1.])')
  })
})

describe('random numbers', () => {
  it('restart with manualSeed, and go on from a saved state', async () => {
    const draw = async (): Promise<unknown[]> => [
      await ef.rand([3]).tolist(),
      await ef.randn([2]).tolist(),
      await ef.randperm(5).tolist(),
    ]
    ef.manualSeed(5)
    const first = await draw()
    const state = ef.getRandomState()
    const second = await draw()
    ef.manualSeed(5)
    expect(await draw()).toEqual(first)
    ef.setRandomState(JSON.parse(JSON.stringify(state)))
    expect(await draw()).toEqual(second)
    expect(second).not.toEqual(first)
  })

  it('have known values', async () => {
    ef.manualSeed(0)
    // Threefry-2x32, 20 rounds, key (0, 0), counter (0, 0): the first words of Random123's test vectors.
    const words = [0x6b200159, 0x99ba4efe]
    expect(await ef.rand([2]).tolist()).toEqual(words.map((w) => (w >>> 8) / 2 ** 24))
  })

  it('do not depend on the size of the tensor', async () => {
    ef.manualSeed(1)
    const long = (await ef.rand([1000]).data()).slice(0, 7)
    ef.manualSeed(1)
    expect(await ef.rand([7]).data()).toEqual(long)
  })

  it('have the distributions they promise', async () => {
    ef.manualSeed(2)
    const n = 20_000
    const mean = (v: ArrayLike<number>): number => Array.from(v).reduce((a, b) => a + b, 0) / v.length
    const u = await ef.rand([n]).data()
    expect(Math.min(...u)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...u)).toBeLessThan(1)
    expect(mean(u)).toBeCloseTo(0.5, 1.7)
    const g = await ef.randn([n]).data()
    expect(Math.abs(mean(g))).toBeLessThan(0.03)
    expect(Math.abs(mean(g.map((v) => v * v)) - 1)).toBeLessThan(0.05)
    const k = await ef.randint(-2, 3, [n]).data()
    expect([...new Set(k)].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2])
    expect(mean(await ef.bernoulli(0.3, [n]).data())).toBeCloseTo(0.3, 1.5)
    expect(await ef.bernoulli(0, [9]).any().item()).toBe(0)
    expect(await ef.bernoulli(1, [9]).all().item()).toBe(1)
    const p = await ef.randperm(100).data()
    expect(Array.from(p).sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(Array.from(p)).not.toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(ef.randperm(0).shape).toEqual([0])
  })

  it('refuse what they cannot do', () => {
    expect(() => ef.manualSeed(-1)).toThrow(ef.ArgumentError)
    expect(() => ef.manualSeed(1.5)).toThrow(ef.ArgumentError)
    expect(() => ef.manualSeed(2 ** 32)).toThrow(ef.ArgumentError)
    expect(() => ef.setRandomState({ seed: 0, stream: -1 })).toThrow(ef.ArgumentError)
    expect(() => ef.rand([2], { dtype: 'int32' })).toThrow(ef.DTypeError)
    expect(() => ef.randn([2], { dtype: 'bool' })).toThrow(ef.DTypeError)
    expect(() => ef.randint(3, 3, [1])).toThrow(ef.ArgumentError)
    expect(() => ef.randint(0, 1.5, [1])).toThrow(ef.ArgumentError)
    expect(() => ef.bernoulli(1.1, [1])).toThrow(ef.ArgumentError)
    expect(() => ef.randperm(-1)).toThrow(ef.ArgumentError)
  })
})

onDevices('on webgpu', () => {
  it('one seed gives the cpu’s integers, uniforms and permutations exactly, and its normals nearly', async () => {
    const draw = async (device: ef.DeviceName): Promise<number[][]> => {
      ef.manualSeed(77)
      const all = [
        ef.rand([1001], { device }),
        ef.randint(-5, 1000, [33], { device }),
        ef.bernoulli(0.4, [70], { device }),
        ef.randperm(50, { device }),
        ef.randn([501], { device }),
      ]
      return Promise.all(all.map(async (t) => Array.from(await t.data())))
    }
    const [gpu, cpu] = [await draw('webgpu'), await draw('cpu')]
    expect(gpu.slice(0, 4)).toEqual(cpu.slice(0, 4))
    gpu[4].forEach((v, i) => {
      expect(Math.abs(v - cpu[4][i])).toBeLessThan(1e-4)
    })
  })

  it('tensors go there and back, and print what can be known at once', async () => {
    const x = ef.tensor([
      [1, 2],
      [3, 4],
    ])
    expect(x.device).toBe('webgpu')
    expect(String(x)).toBe('tensor(..., shape=[2, 2], device=webgpu)')
    expect(await x.format()).toBe('tensor([[1., 2.],\n        [3., 4.]], device=webgpu)')
    const back = await x.T.cpu()
    expect([back.device, await back.tolist()]).toEqual([
      'cpu',
      [
        [1, 3],
        [2, 4],
      ],
    ])
    expect(await back.to('webgpu').tolist()).toEqual([
      [1, 3],
      [2, 4],
    ])
    expect(() => x.to('cpu')).toThrow(/await x\.cpu\(\)/)
    for (const dtype of ['int32', 'bool', 'float32'] as const) {
      expect(await ef.tensor([0, 1, 1], { dtype }).tolist()).toEqual(
        await ef.tensor([0, 1, 1], { dtype, device: 'cpu' }).tolist(),
      )
    }
  })

  it('gradients do not flow between devices, which is said when a leaf is moved, not in backward', async () => {
    const x = ef.ones([2], { device: 'cpu', requiresGrad: true })
    expect(() => x.to('webgpu')).toThrow(ef.DeviceError)
    expect(() => x.to('webgpu')).toThrow(/detach\(\)/)
    const y = x.detach().to('webgpu')
    y.requiresGrad = true
    y.mul(3).sum().backward()
    expect(await (y.grad as ef.Tensor).tolist()).toEqual([3, 3])
    expect(ef.noGrad(() => x.to('webgpu')).requiresGrad).toBe(false)
  })

  it('float64 does not exist, and operands must be on one device', () => {
    expect(() => ef.zeros([1], { dtype: 'float64' })).toThrow(ef.DTypeError)
    expect(() => ef.tensor(new Float64Array(2))).toThrow(/webgpu.*float64.*float32/)
    expect(ef.tensor(new Float64Array(2), { dtype: 'float32' }).dtype).toBe('float32')
    expect(() => ef.ones([1]).to('float64')).toThrow(ef.DTypeError)
    expect(() => ef.ones([1]).add(ef.ones([1], { device: 'cpu' }))).toThrow(/'webgpu' and 'cpu'/)
  })
}, [WEBGPU])
