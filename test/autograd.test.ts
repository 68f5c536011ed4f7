// Backward: accumulation, graphs kept or freed, graphs of graphs, recording on and off, changes in place, functional
// transforms, custom ops, and the search for the first NaN.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { unpack } from '../src/tensor/ops/join'

const leaf = (values: ef.TensorValues): ef.Tensor =>
  ef.tensor(values, { dtype: 'float64', requiresGrad: true })
const list = async (t: ef.Tensor | null): Promise<number[] | null> => t && Array.from(await t.data())

describe('backward', () => {
  it('adds to the gradients that are there', async () => {
    const x = leaf([1, 2])
    x.mul(3).sum().backward()
    expect(await list(x.grad)).toEqual([3, 3])
    x.square().sum().backward()
    expect(await list(x.grad)).toEqual([5, 7])
  })

  it('leaves a gradient alone that the user keeps, and adds to a new one', async () => {
    const x = leaf([1, 2])
    x.mul(3).sum().backward()
    const first = ef.keep(x.grad as ef.Tensor)
    x.square().sum().backward()
    expect(await list(first)).toEqual([3, 3])
    expect(await list(x.grad)).toEqual([5, 7])
  })

  it('adds over all paths of a diamond, also where one tensor is used twice in an op', async () => {
    const x = leaf([2])
    const a = x.mul(x)
    const b = a.add(a)
    const c = a.mul(b).sub(x) // 2 x^4 - x
    c.backward()
    expect(await list(x.grad)).toEqual([4 * 2 * 8 - 1])
  })

  it('of a leaf is its incoming gradient', async () => {
    const x = leaf(3)
    x.backward()
    expect(await list(x.grad)).toEqual([1])
  })

  it('takes a gradient for a tensor with several elements', async () => {
    const x = leaf([1, 2])
    const seed = ef.tensor([10, 100], { dtype: 'float64' })
    x.square().backward({ gradient: seed })
    expect(await list(x.grad)).toEqual([20, 400])
    expect(await list(seed)).toEqual([10, 100])
  })

  it('does not write into a gradient that was passed in', async () => {
    const x = leaf([1, 2])
    const seed = ef.tensor([10, 100], { dtype: 'float64' })
    x.reshape([2]).backward({ gradient: seed })
    x.reshape([2]).backward({ gradient: seed })
    expect(await list(seed)).toEqual([10, 100])
    expect(await list(x.grad)).toEqual([20, 200])
  })

  it('gives nothing to leaves that no path reaches', async () => {
    const x = leaf([1])
    const y = leaf([1])
    x.mul(2).backward()
    expect(y.grad).toBeNull()
  })

  it('walks ten thousand ops deep', async () => {
    const x = leaf([1])
    let y: ef.Tensor = x
    for (let i = 0; i < 10_000; i++) y = y.add(1e-4)
    y.backward()
    expect(await list(x.grad)).toEqual([1])
  })

  it('walks a deep graph of a graph', async () => {
    const x = leaf([1])
    let y: ef.Tensor = x
    for (let i = 0; i < 2_000; i++) y = y.mul(1.0001)
    y.square().backward({ createGraph: true })
    const first = x.grad as ef.Tensor
    x.grad = null
    first.backward()
    expect((await list(x.grad))?.[0]).toBeCloseTo(2 * 1.0001 ** 4000, 6)
  })

  it('sums in the same order every time', async () => {
    const run = async (): Promise<number[] | null> => {
      ef.manualSeed(3)
      const x = ef.randn([50], { requiresGrad: true })
      const parts = Array.from({ length: 30 }, (_, i) => x.mul(Math.sin(i)).tanh().sum())
      parts.reduce((a, b) => a.add(b)).backward()
      return list(x.grad)
    }
    expect(await run()).toEqual(await run())
  })
})

describe('a freed graph', () => {
  it('refuses a second backward and says how to keep it', () => {
    const x = leaf([1, 2])
    const loss = x.square().sum()
    loss.backward()
    expect(() => loss.backward()).toThrow(ef.GraphError)
    expect(() => loss.backward()).toThrow(/fresh forward pass/)
  })

  it('is there for a second backward with retainGraph', async () => {
    const x = leaf([1, 2])
    const loss = x.square().sum()
    loss.backward({ retainGraph: true })
    loss.backward()
    expect(await list(x.grad)).toEqual([4, 8])
    expect(() => loss.backward()).toThrow(ef.GraphError)
  })

  it('is noticed from another root too', () => {
    const x = leaf([1, 2])
    const shared = x.exp()
    const one = shared.sum()
    const two = shared.mul(2).sum()
    one.backward()
    expect(() => two.backward()).toThrow(ef.GraphError)
    expect(() => two.backward()).toThrow(/exp.*freed.*retainGraph/s)
  })

  it('backward without a graph names the reasons', () => {
    const x = ef.tensor([1])
    expect(() => x.backward()).toThrow(/requiresGrad|noGrad/)
    const y = leaf([1])
    expect(() => ef.noGrad(() => y.mul(2)).backward()).toThrow(ef.GraphError)
  })

  it('needs one element, or a gradient of the right shape and dtype', () => {
    const y = leaf([1, 2]).mul(2)
    expect(() => y.backward()).toThrow(ef.ArgumentError)
    expect(() => y.backward({ gradient: ef.zeros([3], { dtype: 'float64' }) })).toThrow(ef.ShapeError)
    expect(() => y.backward({ gradient: ef.zeros([2]) })).toThrow(ef.DTypeError)
  })
})

describe('createGraph', () => {
  it('gives derivatives of derivatives', async () => {
    const x = leaf([2])
    x.pow(4).backward({ createGraph: true })
    const d1 = x.grad as ef.Tensor // 4 x^3
    x.grad = null
    d1.backward({ createGraph: true })
    const d2 = x.grad as unknown as ef.Tensor // 12 x^2
    x.grad = null
    d2.backward()
    expect([await list(d2), await list(x.grad)]).toEqual([[48], [48]])
  })

  it('lets a gradient penalty train', async () => {
    const w = leaf([
      [1, 2],
      [3, -1],
    ])
    const x = leaf([[0.5, -0.3]])
    const penalty = (m: ef.Tensor): ef.Tensor =>
      ef.enableGrad(() => {
        const inner = x.mul(1)
        return (
          ef.autograd.gradients([inner.matmul(m).tanh().sum()], [inner], {
            createGraph: true,
          })[0] as ef.Tensor
        )
          .square()
          .sum()
      })
    await ef.autograd.gradcheck(penalty, [w])
  })
})

describe('gradients', () => {
  it('returns what backward would add, and adds nothing', async () => {
    const x = leaf([1, 2])
    const y = leaf([3, 4])
    const [gx, gy] = ef.autograd.gradients([x.mul(y).sum()], [x, y])
    expect([await list(gx), await list(gy)]).toEqual([
      [3, 4],
      [1, 2],
    ])
    expect([x.grad, y.grad]).toEqual([null, null])
  })

  it('is null where an output does not depend on an input', () => {
    const x = leaf([1])
    const y = leaf([1])
    expect(ef.autograd.gradients([x.mul(2)], [y])).toEqual([null])
  })

  it('stops at inner tensors, and leaves what lies before them usable', async () => {
    const x = leaf([3])
    const h = x.mul(x)
    const [gh] = ef.autograd.gradients([h.mul(5)], [h])
    expect(await list(gh)).toEqual([5])
    // The graph of h itself was not visited.
    h.backward()
    expect(await list(x.grad)).toEqual([6])
  })

  it('reaches inner tensors of different depth', async () => {
    const x = leaf([3])
    const h = x.mul(x)
    const k = h.mul(2)
    const [gx, gh, gk] = ef.autograd.gradients([k.mul(h)], [x, h, k])
    expect([await list(gx), await list(gh), await list(gk)]).toEqual([[8 * 27], [4 * 9], [9]])
  })

  it('frees what it does not return', () => {
    const x = leaf([1, 2, 3])
    const y = leaf([1, 2, 3])
    ef.releaseSpent()
    const before = ef.memory().cpu.tensors
    const other = y.exp()
    const loss = x.exp().mul(other).sum()
    for (const g of ef.autograd.gradients([loss], [x])) g?.dispose()
    loss.dispose()
    other.dispose()
    ef.releaseSpent()
    expect(ef.memory().cpu.tensors).toBe(before)
  })
})

describe('recording', () => {
  it('is off inside noGrad and on again inside enableGrad', () => {
    const x = leaf([1])
    expect(ef.noGrad(() => x.mul(2)).requiresGrad).toBe(false)
    expect(ef.noGrad(() => ef.enableGrad(() => x.mul(2))).requiresGrad).toBe(true)
    expect(x.mul(2).requiresGrad).toBe(true)
  })

  it('comes back after an error inside noGrad', () => {
    expect(() =>
      ef.noGrad(() => {
        throw new Error('mine')
      }),
    ).toThrow('mine')
    expect(leaf([1]).mul(2).requiresGrad).toBe(true)
  })

  it('stays off during an async noGrad', async () => {
    const x = leaf([1])
    const inside = await ef.noGrad(async () => {
      const y = x.mul(2)
      await y.data()
      return [y.requiresGrad, x.mul(3).requiresGrad]
    })
    expect(inside).toEqual([false, false])
    expect(x.mul(2).requiresGrad).toBe(true)
  })

  it('ends at detach, which shares memory', async () => {
    const x = leaf([1, 2])
    const y = x.detach()
    expect(y.requiresGrad).toBe(false)
    ef.noGrad(() => x.fill_(7))
    expect(await list(y)).toEqual([7, 7])
    x.mul(2).add(x.mul(3).detach()).sum().backward()
    expect(await list(x.grad)).toEqual([2, 2])
  })

  it('is for float leaves', () => {
    expect(() => ef.tensor([1], { dtype: 'int32', requiresGrad: true })).toThrow(ef.DTypeError)
    const y = leaf([1]).mul(2)
    expect(() => {
      y.requiresGrad = false
    }).toThrow(ef.GraphError)
  })
})

describe('a value changed in place after the forward pass', () => {
  it('is noticed by backward, which names op and remedy', () => {
    const x = leaf([1, 2])
    const y = ef.tensor([3, 4], { dtype: 'float64' })
    const loss = x.mul(y).sum()
    y.fill_(0)
    expect(() => loss.backward()).toThrow(ef.GraphError)
    expect(() => x.mul(y).sum().backward()).not.toThrow()
  })

  it('is noticed through a view and after an optimizer step', () => {
    const w = leaf([1, 2])
    const loss = w.square().sum()
    ef.noGrad(() => w.detach().zero_())
    expect(() => loss.backward()).toThrow(/square|mul/)
    expect(() => loss.backward()).toThrow(/version 1, expected 0/)
  })

  it('is allowed where backward does not need it', async () => {
    const x = leaf([1, 2])
    const y = ef.tensor([3, 4], { dtype: 'float64' })
    const loss = x.add(y).sum()
    y.fill_(0)
    loss.backward()
    expect(await list(x.grad)).toEqual([1, 1])
  })

  it('is refused for results of ops, for leaves being recorded and for expanded views', () => {
    const x = leaf([1, 2])
    expect(() => x.mul(2).zero_()).toThrow(ef.GraphError)
    expect(() => x.zero_()).toThrow(/noGrad/)
    expect(() => ef.zeros([1]).expand([3]).fill_(1)).toThrow(ef.ArgumentError)
  })
})

describe('functional transforms', () => {
  const f = (x: ef.Tensor, y: ef.Tensor): ef.Tensor => x.mul(y).sin().sum()

  it('grad gives the gradients of all arguments, and releases the rest', async () => {
    const x = ef.tensor([1, 2], { dtype: 'float64' })
    const y = ef.tensor([3, 4], { dtype: 'float64' })
    const before = ef.memory().cpu.tensors
    const [dx, dy] = ef.autograd.grad(f)(x, y)
    expect(await list(dx)).toEqual([3 * Math.cos(3), 4 * Math.cos(8)])
    expect(await list(dy)).toEqual([Math.cos(3), 2 * Math.cos(8)])
    expect(ef.memory().cpu.tensors - before).toBe(2)
    expect([x.requiresGrad, x.grad]).toEqual([false, null])
  })

  it('valueAndGrad gives the value too; an argument without influence has gradient 0', async () => {
    const x = ef.tensor([1, 2], { dtype: 'float64' })
    const {
      value,
      gradients: [dx, dy],
    } = ef.autograd.valueAndGrad((a, _b) => a.square().sum())(x, x)
    expect([await value.item(), await list(dx), await list(dy)]).toEqual([5, [2, 4], [0, 0]])
  })

  it('can be nested: the derivative of a derivative is not lost', async () => {
    const cube = (x: ef.Tensor): ef.Tensor => x.pow(3).sum()
    const second = ef.autograd.grad((x) => ef.autograd.grad(cube)(x)[0].sum())
    const third = ef.autograd.grad((x) => second(x)[0].sum())
    const x = ef.tensor([2], { dtype: 'float64' })
    expect([await list(second(x)[0]), await list(third(x)[0])]).toEqual([[12], [6]])
  })

  it('differentiates with respect to outer variables through an inner transform', async () => {
    const w = leaf([3])
    const [dx] = ef.autograd.grad((x) => x.square().mul(w).sum())(w) // at x = w: 2 w * w
    dx.sum().backward()
    expect(await list(w.grad)).toEqual([12])
  })

  it('grad wants one number', () => {
    expect(() => ef.autograd.grad((x) => x.mul(2))(ef.ones([2]))).toThrow(ef.ArgumentError)
  })

  it('vjp pulls back as often as one likes', async () => {
    const x = ef.tensor([1, 2], { dtype: 'float64' })
    const { value, back } = ef.autograd.vjp((a) => a.square(), x)
    expect(await list(value)).toEqual([1, 4])
    for (const v of [
      [1, 0],
      [0, 1],
    ]) {
      const [g] = back(ef.tensor(v, { dtype: 'float64' }))
      expect(await list(g)).toEqual([2 * v[0], 4 * v[1]])
    }
  })
})

describe('customOp', () => {
  const cube = ef.autograd.customOp({
    name: 'cube',
    forward: (x) => ({ output: x.mul(x).mul(x), saved: [x] }),
    backward: (g, [x]) => [g.mul(x.square()).mul(3)],
  })

  it('has the derivatives its author wrote, also twice', async () => {
    const x = leaf([1, -2, 0.5])
    await ef.autograd.gradcheck(cube, [x])
    await ef.autograd.gradgradcheck(cube, [x])
  })

  it('passes on only what inputs ask for', async () => {
    const seen: boolean[][] = []
    const product = ef.autograd.customOp({
      name: 'product',
      forward: (a, b) => ({ output: a.mul(b), saved: [a, b] }),
      backward: (g, [a, b], needs) => {
        seen.push([...needs])
        return [needs[0] ? g.mul(b) : null, needs[1] ? g.mul(a) : null]
      },
    })
    const a = leaf([2])
    product(a, ef.tensor([5], { dtype: 'float64' })).backward()
    expect(seen).toEqual([[true, false]])
    expect(await list(a.grad)).toEqual([5])
  })

  it('may return its input, and keep its own tensors', async () => {
    const constant = ef.tensor([1, 1], { dtype: 'float64' })
    const straightThrough = ef.autograd.customOp({
      name: 'straightThrough',
      forward: (x) => ({ output: x }),
      backward: () => [constant],
    })
    const x = leaf([4, 5])
    for (let i = 0; i < 2; i++) straightThrough(x).sum().add(straightThrough(x).sum()).backward()
    expect(await list(x.grad)).toEqual([4, 4])
    expect(await list(constant)).toEqual([1, 1])
    expect(x.isLeaf).toBe(true)
  })

  it('keeps what it saves only as long as the graph lives', () => {
    const x = leaf([1, 2])
    const viaExp = ef.autograd.customOp({
      name: 'viaExp',
      forward: (a) => {
        const e = a.exp()
        return { output: e.sin(), saved: [e] }
      },
      backward: (g, [e]) => [g.mul(e.cos()).mul(e)],
    })
    ef.releaseSpent()
    const before = ef.memory().cpu.tensors
    ef.tidy(() => {
      const y = viaExp(x).sum()
      y.backward()
      x.grad?.dispose()
      x.grad = null
    })
    expect(ef.memory().cpu.tensors).toBe(before)
    ef.noGrad(() => viaExp(x)).dispose()
    expect(ef.memory().cpu.tensors).toBe(before)
    viaExp(x.detach()).dispose()
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('is told when its gradients do not fit', () => {
    const x = leaf([1, 2])
    const wrong =
      (back: () => (ef.Tensor | null)[]): (() => void) =>
      () =>
        ef.autograd
          .customOp({ name: 'wrong', forward: (a) => ({ output: a.mul(2) }), backward: back })(x)
          .sum()
          .backward()
    expect(wrong(() => [])).toThrow(/wrong.*0 gradients for 1/)
    expect(wrong(() => [ef.zeros([3], { dtype: 'float64' })])).toThrow(/\[3\].*\[2\]/)
  })
})

describe('gradcheck', () => {
  const wrong = ef.autograd.customOp({
    name: 'wrongSquare',
    forward: (x) => ({ output: x.square(), saved: [x] }),
    backward: (g, [x]) => [g.mul(x)],
  })

  it('finds a wrong gradient and says where', async () => {
    await expect(ef.autograd.gradcheck(wrong, [leaf([1, 3])])).rejects.toThrow(
      /input 0, element 0.*gradient is.*central differences/,
    )
  })

  it('finds a wrong second derivative behind a right first one', async () => {
    const sneaky = ef.autograd.customOp({
      name: 'sneaky',
      forward: (x) => ({ output: x.square(), saved: [x] }),
      backward: (g, [x]) => [g.mul(x.detach()).mul(2)],
    })
    await ef.autograd.gradcheck(sneaky, [leaf([1, 3])])
    await expect(ef.autograd.gradgradcheck(sneaky, [leaf([1, 3])])).rejects.toThrow(ef.GraphError)
  })

  it('finds a backward that forgets the gradient that came in', async () => {
    const deaf = ef.autograd.customOp({
      name: 'deaf',
      forward: (x) => ({ output: x.mul(2) }),
      backward: (g) => [g.detach().mul(2)],
    })
    await ef.autograd.gradcheck(deaf, [leaf([1, 3])])
    await expect(ef.autograd.gradgradcheck(deaf, [leaf([1, 3])])).rejects.toThrow(ef.GraphError)
  })

  it('wants float64 leaves', async () => {
    await expect(ef.autograd.gradcheck(wrong, [ef.ones([2], { requiresGrad: true })])).rejects.toThrow(
      ef.DTypeError,
    )
    await expect(ef.autograd.gradcheck(wrong, [ef.ones([2], { dtype: 'float64' })])).rejects.toThrow(
      ef.ArgumentError,
    )
  })

  it('leaves nothing behind', async () => {
    const x = leaf([1, 2, 3])
    const before = ef.memory().cpu.tensors
    await ef.autograd.gradcheck((a) => a.exp().mul(a), [x])
    ef.releaseSpent()
    expect(ef.memory().cpu.tensors).toBe(before)
  })
})

describe('detectAnomaly', () => {
  it('passes results through when all is finite', async () => {
    expect(await ef.detectAnomaly(async () => await leaf([4]).sqrt().sum().item())).toBe(2)
  })

  it('names the op of the forward pass, and where it was called', async () => {
    const run = ef.detectAnomaly(() => {
      const x = leaf([1, -1])
      return x.log().mul(2).exp().sum()
    })
    await expect(run).rejects.toThrow(ef.NonFiniteError)
    await expect(run).rejects.toThrow(/^log gave a NaN.*autograd\.test\.ts/s)
  })

  it('names the op of the backward pass', async () => {
    const run = ef.detectAnomaly(() => {
      const x = leaf([0, 1])
      x.sqrt().sum().backward()
    })
    await expect(run).rejects.toThrow(/^backward of sqrt gave a NaN.*autograd\.test\.ts/s)
  })

  it('sees infinities, and switches itself off afterwards', async () => {
    await expect(ef.detectAnomaly(() => leaf([0]).reciprocal())).rejects.toThrow(/reciprocal/)
    expect(await list(leaf([0]).reciprocal())).toEqual([Number.POSITIVE_INFINITY])
  })

  it('passes on errors of the function itself', async () => {
    await expect(
      ef.detectAnomaly(() => {
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
  })
})

describe('unpack', () => {
  const weigh = (parts: readonly ef.Tensor[]): ef.Tensor =>
    parts
      .map((t, i) =>
        t
          .square()
          .mul(i + 1)
          .sum(),
      )
      .reduce((a, b) => a.add(b))

  it('gives the parts and the gradients of chunk, to any order', async () => {
    const values = [
      [1, 2, 3, 4, 5, 6],
      [7, 8, 9, 10, 11, 12],
    ]
    const [x, y] = [leaf(values), leaf(values)]
    for (const [i, part] of unpack(x, 3).entries()) {
      expect(await part.tolist()).toEqual(await y.chunk(3, -1)[i]?.tolist())
    }
    weigh(unpack(x, 3)).backward()
    weigh(y.chunk(3, -1)).backward()
    expect(await list(x.grad)).toEqual(await list(y.grad))
    expect(await ef.autograd.gradcheck((t) => weigh(unpack(t, 3)), [x])).toBe(true)
    expect(await ef.autograd.gradgradcheck((t) => weigh(unpack(t, 2)), [x])).toBe(true)
  })

  it('a part that nothing is made of gets 0', async () => {
    const x = leaf([1, 2, 3, 4])
    unpack(x, 2)[1]?.square().sum().backward()
    expect(await list(x.grad)).toEqual([0, 0, 6, 8])
  })
})
