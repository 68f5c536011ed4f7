// The corners: views of views, empty tensors, infinities and NaN, ties and other kinks, integers, chains in one scope.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

const { NaN: NAN, POSITIVE_INFINITY: INF } = Number
const leaf = (values: ef.TensorValues): ef.Tensor =>
  ef.tensor(values, { dtype: 'float64', requiresGrad: true })
const list = async (t: ef.Tensor): Promise<number[]> => Array.from(await t.data())

describe('views', () => {
  it('share memory with what they look at', async () => {
    const x = ef.zeros([2, 3])
    const views = [
      x.reshape([6]),
      x.T,
      x.slice(null, [1, null]),
      x.select(0, 1),
      x.flip(0),
      x.unsqueeze(0),
      x.flatten(),
      x.detach(),
      x.permute([1, 0]),
      x.narrow(1, 0, 2),
      ...x.split(1),
      x.expand([4, 2, 3]),
      x.squeeze(),
    ]
    expect(ef.memory().cpu.tensors).toBeGreaterThan(0)
    x.fill_(7)
    for (const v of views) expect(new Set(await list(v))).toEqual(new Set([7]))
  })

  it('copy only where strides do not allow a view', async () => {
    const before = ef.memory().cpu.tensors
    const x = ef.arange(24).reshape([2, 3, 4])
    x.permute([2, 0, 1]).unsqueeze(1).squeeze()
    x.flip([0, 1, 2]).reshape([24])
    x.slice(null, null, [0, null, 2]).reshape([6, 2])
    expect(ef.memory().cpu.tensors - before).toBe(1)
    const copy = x.T.reshape([24])
    expect(ef.memory().cpu.tensors - before).toBe(2)
    expect((await list(copy)).slice(0, 4)).toEqual([0, 4, 8, 1])
    expect(x.contiguous()).toBe(x)
    expect(x.T.isContiguous).toBe(false)
    expect(x.clone().storage).not.toBe(x.storage)
  })

  it('of views of views end up at the right place', async () => {
    const x = ef.arange(60).reshape([3, 4, 5])
    const v = x.flip(1).slice([1, null], [0, null, 3], -1).T.flip(0).expand([2, 2, 2])
    // x[a, 3 - b, 4] with a in 1, 2 and b in 0, 3
    const at = (a: number, b: number): number => a * 20 + (3 - b) * 5 + 4
    expect(await v.tolist()).toEqual(
      new Array(2).fill([
        [at(1, 3), at(2, 3)],
        [at(1, 0), at(2, 0)],
      ]),
    )
  })

  it('written in place change what they look at, and nothing else', async () => {
    const x = ef.zeros([2, 3])
    x.select(1, 1).fill_(5)
    x.slice(1, [2, null]).copy_(ef.tensor([9]))
    expect(await x.tolist()).toEqual([
      [0, 5, 0],
      [0, 5, 9],
    ])
    x.copy_(x.flip(1))
    expect(await x.tolist()).toEqual([
      [0, 5, 0],
      [9, 5, 0],
    ])
    expect(await x.copy_(ef.tensor([1, 2, 3], { dtype: 'int32' })).tolist()).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
  })

  it('take indices from both ends and clip ranges', async () => {
    const x = ef.arange(5)
    expect(await x.slice(-1).item()).toBe(4)
    expect(await list(x.slice([-2, null]))).toEqual([3, 4])
    expect(await list(x.slice([null, -3]))).toEqual([0, 1])
    expect(await list(x.slice([-9, 99, 2]))).toEqual([0, 2, 4])
    expect(x.slice([4, 2]).shape).toEqual([0])
    expect(x.slice([9, null]).shape).toEqual([0])
    expect(x.slice().shape).toEqual([5])
  })
})

onDevices('corners', ({ device }) => {
  it('sums of nothing are 0, products 1, means NaN; any is false, all is true, logsumexp -infinity', async () => {
    const none = ef.zeros([2, 0])
    expect(await list(none.sum(1))).toEqual([0, 0])
    expect(await list(none.prod(1))).toEqual([1, 1])
    expect(await list(none.mean(1))).toEqual([NAN, NAN])
    expect(await list(none.any(1))).toEqual([0, 0])
    expect(await list(none.all(1))).toEqual([1, 1])
    expect(await list(none.logsumexp(1))).toEqual([-INF, -INF])
    expect(await list(none.norm({ dims: 1 }))).toEqual([0, 0])
    expect((await list(none.softmax(1))).length).toBe(0)
    expect(none.sum(0).shape).toEqual([0])
    expect(await list(ef.ones([2, 0]).matmul(ef.ones([0, 3])))).toEqual([0, 0, 0, 0, 0, 0])
    expect(ef.cat([none, none], 1).shape).toEqual([2, 0])
    expect(await list(ef.cat([none, ef.ones([2, 1])], 1))).toEqual([1, 1])
  })

  it('NaN wins every comparison for the largest; ties go to the lowest index', async () => {
    const x = ef.tensor([1, NAN, 3, NAN])
    expect(await x.amax().item()).toBeNaN()
    expect(await x.min().item()).toBeNaN()
    expect(await x.argmax().item()).toBe(1)
    expect(await ef.tensor([2, 5, 5, 2]).argmax().item()).toBe(1)
    expect(await ef.tensor([2, 5, 5, 2]).argmin().item()).toBe(0)
    expect(await list(ef.maximum(x, 2))).toEqual([2, NAN, 3, NAN])
    expect(await list(x.relu())).toEqual([1, NAN, 3, NAN])
    expect(await list(x.clamp({ min: 2 }))).toEqual([2, NAN, 3, NAN])
    expect(await list(x.eq(x))).toEqual([1, 0, 1, 0])
    expect(await list(x.isnan())).toEqual([0, 1, 0, 1])
  })

  it('infinities pass through as in PyTorch', async () => {
    const x = ef.tensor([-INF, 0, INF])
    expect(await list(x.isfinite())).toEqual([0, 1, 0])
    expect(await list(x.exp())).toEqual([0, 1, INF])
    expect(await list(x.sigmoid())).toEqual([0, 0.5, 1])
    expect(await list(x.tanh())).toEqual([-1, 0, 1])
    expect(await list(x.softplus())).toEqual([0, expect.closeTo(Math.LN2, 6), INF])
    expect(await list(ef.tensor([-INF, 0]).softmax(0))).toEqual([0, 1])
    expect(await list(ef.tensor([-INF, 0]).logSoftmax(0))).toEqual([-INF, 0])
    expect(await ef.tensor([-INF, -INF]).logsumexp().item()).toBe(-INF)
    expect(await ef.tensor([1e4, 1e4]).logsumexp().item()).toBeCloseTo(1e4 + Math.LN2, 1)
    expect(await list(ef.tensor([1000, 0]).softmax(0))).toEqual([1, 0])
  })

  it('rounding goes to even; remainders take the divisor’s sign', async () => {
    expect(await list(ef.tensor([-1.5, -0.5, 0.5, 1.5, 2.5]).round().add(0))).toEqual([-2, 0, 0, 2, 2])
    expect(await list(ef.tensor([-7, 7, -7, 7]).remainder(ef.tensor([3, 3, -3, -3])))).toEqual([2, 1, -1, -2])
    expect(await list(ef.tensor([-7, 7], { dtype: 'int32' }).remainder(3))).toEqual([2, 1])
    expect(await list(ef.tensor([-1.9, 1.9, 0.4]).to('int32'))).toEqual([-1, 1, 0])
  })

  it('int32 arithmetic is exact and wraps; division gives floats', async () => {
    const x = ef.tensor([16777217, -16777217, 2 ** 31 - 1], { dtype: 'int32' })
    expect(await list(x.add(1))).toEqual([16777218, -16777216, -(2 ** 31)])
    expect(await list(ef.tensor([65537], { dtype: 'int32' }).mul(65537))).toEqual([131073])
    expect(await x.sum().item()).toBe(2 ** 31 - 1)
    const half = ef.tensor([1, 2], { dtype: 'int32' }).div(2)
    expect([half.dtype, await list(half)]).toEqual(['float32', [0.5, 1]])
    expect(await list(ef.tensor([3], { dtype: 'int32' }).lt(3.5))).toEqual([1])
    expect(ef.tensor([1], { dtype: 'int32' }).add(ef.ones([1])).dtype).toBe('float32')
    expect(ef.tensor([true]).add(ef.tensor([1], { dtype: 'int32' })).dtype).toBe('int32')
    expect(ef.tensor([true, true]).sum().dtype).toBe('int32')
  })

  it('numbers never promote: float32 stays float32', async () => {
    expect(ef.ones([1]).mul(0.1).dtype).toBe('float32')
    expect(await ef.ones([1]).mul(0.1).item()).toBe(Math.fround(0.1))
    expect(ef.where(ef.tensor([true]), 1, 0).dtype).toBe('float32')
  })

  it('the largest rank works, in any order', async () => {
    const x = ef.arange(256).reshape([2, 2, 2, 2, 2, 2, 2, 2])
    const order = [7, 5, 3, 1, 6, 4, 2, 0]
    const y = x.permute(order).add(0)
    const bits = (i: number): number[] => Array.from({ length: 8 }, (_, k) => (i >> (7 - k)) & 1)
    const expected = Array.from({ length: 256 }, (_, i) => {
      const out = bits(i)
      const source = new Array<number>(8)
      order.forEach((from, to) => {
        source[from] = out[to]
      })
      return source.reduce((n, b) => 2 * n + b, 0)
    })
    expect(await list(y)).toEqual(expected)
    expect(await list(x.to('float32').sum([0, 2, 4, 6]))).toHaveLength(16)
  })

  it('large tensors cross every block and workgroup', async () => {
    const n = 70_001
    const x = ef.ones([n])
    expect(await x.add(1).sum().item()).toBe(2 * n)
    expect(
      await x
        .reshape([1, n])
        .matmul(x.reshape([n, 1]))
        .item(),
    ).toBe(n)
    expect(await ef.arange(n).argmax().item()).toBe(n - 1)
    expect(device).toBe(x.device)
  })
})

describe('gradients at kinks are PyTorch’s', () => {
  const gradient = async (f: (x: ef.Tensor) => ef.Tensor, at: number[]): Promise<number[]> => {
    const x = leaf(at)
    f(x).sum().backward()
    return list(x.grad as ef.Tensor)
  }

  it('0 for relu and abs at 0, shared for ties, 1 on the bounds of clamp', async () => {
    expect(await gradient((x) => x.relu(), [0, -1, 1])).toEqual([0, 0, 1])
    expect(await gradient((x) => x.abs(), [0])).toEqual([0])
    expect(await gradient((x) => ef.maximum(x, 2), [2, 3])).toEqual([0.5, 1])
    expect(await gradient((x) => x.amax(), [5, 5, 1])).toEqual([0.5, 0.5, 0])
    expect(await gradient((x) => x.max(0).values, [5, 5, 1])).toEqual([1, 0, 0])
    expect(await gradient((x) => x.clamp({ min: 0, max: 1 }), [0, 1, 2, -1])).toEqual([1, 1, 0, 0])
  })

  it('0 where a norm or deviation is 0; products know zeros', async () => {
    for (const p of [0.5, 1, 1.5, 2, 3, INF])
      expect(await gradient((x) => x.norm({ p }), [0, 0]), `p ${p}`).toEqual([0, 0])
    expect(await gradient((x) => x.norm({ p: 0.5 }), [0, 4])).toEqual([0, 1])
    expect(await gradient((x) => x.std(), [3, 3])).toEqual([0, 0])
    expect(await gradient((x) => x.prod(), [2, 0, 3])).toEqual([0, 6, 0])
    expect(await gradient((x) => x.prod(), [0, 0, 3])).toEqual([0, 0, 0])
  })

  it('powers are flat where they should be', async () => {
    expect(await gradient((x) => x.pow(0), [0, 2])).toEqual([0, 0])
    expect(await gradient((x) => x.pow(1), [0])).toEqual([1])
    expect(await gradient((x) => ef.pow(0, x), [0, 2])).toEqual([0, 0])
    expect(await gradient((x) => x.sqrt(), [0])).toEqual([INF])
  })

  it('smooth functions written with branches are smooth where these meet, twice', async () => {
    for (const f of [ef.softplus, ef.logSigmoid, ef.silu, ef.gelu]) {
      await ef.autograd.gradcheck((x) => f(x), [leaf([0, -1, 1])])
      await ef.autograd.gradgradcheck((x) => f(x), [leaf([0, -1, 1])])
    }
  })
})

describe('what requires a gradient', () => {
  it('is float: comparisons, indices and casts to integers do not', () => {
    const x = leaf([1, 2])
    for (const t of [
      x.gt(1),
      x.argmax(),
      x.to('int32'),
      x.isnan(),
      x.logicalNot(),
      x.max(0).indices,
      x.any(),
    ]) {
      expect(t.requiresGrad).toBe(false)
    }
    for (const t of [x.floor(), x.sign(), x.to('float32'), x.max(0).values]) expect(t.requiresGrad).toBe(true)
  })

  it('passes through casts', async () => {
    const x = leaf([1, 2])
    x.to('float32').mul(3).to('float64').sum().backward()
    expect([x.grad?.dtype, await list(x.grad as ef.Tensor)]).toEqual(['float64', [3, 3]])
  })

  it('mixes dtypes: each leaf gets its own', async () => {
    const a = leaf([1, 2])
    const b = ef.tensor([3, 4], { requiresGrad: true })
    const y = a.mul(b)
    expect(y.dtype).toBe('float64')
    y.sum().backward()
    expect([a.grad?.dtype, b.grad?.dtype]).toEqual(['float64', 'float32'])
    expect(await list(b.grad as ef.Tensor)).toEqual([1, 2])
  })
})

const sixfold = ef.fuse((a, b, c, d, e, g) => a.mul(b).add(c).mul(d).sub(e).tanh().div(g))

describe('fuse', () => {
  it('differentiates six tensors in one kernel, twice', async () => {
    const inputs = Array.from({ length: 6 }, (_, i) => leaf([0.3 + 0.2 * i, 1.1 - 0.1 * i]))
    await ef.autograd.gradcheck(sixfold, inputs)
    await ef.autograd.gradgradcheck(sixfold, inputs)
  })
})

onDevices('six fused tensors', () => {
  it('fit in one kernel, forward and backward', async () => {
    const inputs = Array.from({ length: 6 }, (_, i) =>
      ef.tensor([0.3 + 0.2 * i, 1.1 - 0.1 * i], { requiresGrad: true }),
    )
    const doubles = Array.from({ length: 6 }, (_, i) =>
      ef.tensor([0.3 + 0.2 * i, 1.1 - 0.1 * i], { dtype: 'float64', device: 'cpu', requiresGrad: true }),
    )
    sixfold(...inputs)
      .sum()
      .backward()
    sixfold(...doubles)
      .sum()
      .backward()
    for (const [i, x] of inputs.entries()) {
      const expected = await list(doubles[i].grad as ef.Tensor)
      expect(await list(x.grad as ef.Tensor)).toEqual(expected.map((v) => expect.closeTo(v, 5)))
    }
  })

  it('can be differentiated twice', async () => {
    const inputs = Array.from({ length: 6 }, (_, i) => ef.tensor([0.3 + 0.2 * i], { requiresGrad: true }))
    const doubles = inputs.map((_, i) =>
      ef.tensor([0.3 + 0.2 * i], { dtype: 'float64', device: 'cpu', requiresGrad: true }),
    )
    for (const xs of [inputs, doubles]) {
      const [g] = ef.autograd.gradients([sixfold(...xs).sum()], [xs[0]], { createGraph: true })
      g?.square().sum().backward()
    }
    for (const [i, x] of inputs.entries()) {
      const expected = await list(doubles[i].grad as ef.Tensor)
      expect(await list(x.grad as ef.Tensor)).toEqual(expected.map((v) => expect.closeTo(v, 4)))
    }
  })
})
