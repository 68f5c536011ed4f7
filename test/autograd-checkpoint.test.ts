// Checkpointing gives the same gradients with less memory; Jacobians and Hessian-vector products equal plain loops.
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

const { checkpoint, gradcheck, gradgradcheck, hvp, jacobian } = ef.autograd
const leaf = (values: ef.TensorValues): ef.Tensor =>
  ef.tensor(values, { dtype: 'float64', device: 'cpu', requiresGrad: true })
const list = async (t: ef.Tensor | null): Promise<number[] | null> => t && Array.from(await t.data())

onDevices('checkpoint', ({ device }) => {
  /** Gradients of the input and all parameters of a small network with dropout. */
  const run = async (wrap: typeof checkpoint): Promise<(number[] | null)[]> => {
    ef.manualSeed(3)
    const layer = new ef.nn.Linear(4, 5)
    const dropout = new ef.nn.Dropout(0.5)
    const x = ef.randn([6, 4], { requiresGrad: true })
    const y = wrap((a) => dropout.forward(layer.forward(a)).tanh(), x.mul(2))
    const noise = ef.rand([6, 5])
    y.mul(noise).sum().backward()
    return Promise.all([x, ...layer.parameters()].map((t) => list(t.grad)))
  }

  it('gives the bits of the plain call: same dropout mask, same random numbers after it', async () => {
    const plain = await run((fn, ...xs) => fn(...xs))
    expect(await run(checkpoint)).toEqual(plain)
    expect(plain.every((g) => g?.some((v) => v !== 0))).toBe(true)
  })

  it('holds the activations of one part instead of all', async () => {
    const peak = (wrap: typeof checkpoint): number => {
      const x = ef.ones([64, 64], { requiresGrad: true })
      ef.resetPeakMemory()
      const start = ef.memory()[device].bytes
      ef.tidy(() => {
        let h = x
        for (let part = 0; part < 8; part++) {
          h = wrap((a) => {
            let b = a
            for (let i = 0; i < 8; i++) b = b.sin()
            return b
          }, h)
        }
        h.sum().backward()
      })
      const found = ef.memory()[device].peakBytes - start
      x.grad?.dispose()
      x.dispose()
      return found / (64 * 64 * 4)
    }
    expect(peak((fn, ...xs) => fn(...xs))).toBeGreaterThan(60)
    expect(peak(checkpoint)).toBeLessThan(30)
  })
})

describe('checkpoint', () => {
  it('may be differentiated twice, through inputs and parameters', async () => {
    const w = leaf([[0.3, -0.2]])
    const f = (x: ef.Tensor, v: ef.Tensor): ef.Tensor => checkpoint((a, b) => a.mul(b).sin().mul(a), x, v)
    const inputs = [leaf([[0.5, -1.2]]), w]
    await gradcheck(f, inputs)
    await gradgradcheck(f, inputs)
    const captured = (x: ef.Tensor): ef.Tensor => checkpoint((a) => a.mul(w).sin(), x)
    await gradgradcheck((x) => captured(x), [leaf([[0.5, -1.2]])])
    const penalty = async (wrap: typeof checkpoint): Promise<number[] | null> => {
      const x = leaf([[0.5, -1.2]])
      const [g] = ef.autograd.gradients([wrap((a) => a.mul(w).sin(), x).sum()], [x], { createGraph: true })
      w.grad = null
      g?.square().sum().backward()
      return list(w.grad)
    }
    expect(await penalty(checkpoint)).toEqual(await penalty((fn, ...xs) => fn(...xs)))
  })

  it('takes and gives several tensors, and passes on what has no gradient', async () => {
    const x = leaf([1, 2])
    const [a, b, ids] = checkpoint(
      (v, n) => [v.mul(n), v.square(), v.gt(1.5)],
      x,
      ef.tensor(3, { dtype: 'float64' }),
    )
    expect(await ids.tolist()).toEqual([false, true])
    a.add(b).sum().backward()
    expect(await list(x.grad)).toEqual([5, 7])
    const none = checkpoint((v) => v.mul(2), ef.tensor([1, 2]))
    expect(none.requiresGrad).toBe(false)
    expect(ef.noGrad(() => checkpoint((v) => v.mul(2), x)).requiresGrad).toBe(false)
  })

  it('refuses a tensor computed outside that it could not reach, and parameters changed in between', () => {
    const x = leaf([1, 2])
    const outside = x.mul(2)
    expect(() => checkpoint((v) => v.mul(outside), x)).toThrow(/result of mul.*pass that tensor as an input/)
    const w = leaf([3, 4])
    const y = checkpoint((v) => v.mul(w), x).sum()
    ef.noGrad(() => w.fill_(1))
    expect(() => {
      y.backward()
    }).toThrow(/changed in place/)
  })
})

describe('jacobian', () => {
  it('holds every derivative of every element', async () => {
    const [jx, jy] = jacobian((x, y) => x.mul(y))(leaf([1, 2]), leaf([3, 4]))
    expect(await jx.tolist()).toEqual([
      [3, 0],
      [0, 4],
    ])
    expect(await jy.tolist()).toEqual([
      [1, 0],
      [0, 2],
    ])
  })

  it('has the shape of the value, then that of the argument; zeros where there is no dependence', async () => {
    const [ja, jb] = jacobian((a) => a.matmul(ef.ones([3, 2], { dtype: 'float64' })))(
      leaf([[1, 2, 3]]),
      leaf([5]),
    )
    expect(ja.shape).toEqual([1, 2, 1, 3])
    expect(await list(ja)).toEqual([1, 1, 1, 1, 1, 1])
    expect(jb.shape).toEqual([1, 2, 1])
    expect(await list(jb)).toEqual([0, 0])
    expect(jacobian((a) => a.slice([0, 0]))(leaf([1, 2]))[0].shape).toEqual([0, 2])
  })

  it('is differentiable, and leaves nothing behind', async () => {
    await gradcheck((x) => jacobian((a) => a.sin().mul(a.sum()))(x)[0], [leaf([0.3, -1.1])])
    // Not a leaf of an outer graph, which the result would hold on to.
    const x = ef.tensor([0.3, -1.1])
    const before = ef.memory().cpu.tensors
    const j = jacobian((a) => a.exp().mul(a))(x)
    for (const t of j) t.dispose()
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('refuses more axes than a tensor may have', () => {
    const x = ef.ones([1, 1, 1, 1, 1], { dtype: 'float64' })
    expect(() => jacobian((a) => a.mul(2))(x)).toThrow(ef.ShapeError)
  })
})

describe('hvp', () => {
  it('is the Hessian, from Jacobians of the gradient, times the vector', async () => {
    const f = (a: ef.Tensor, b: ef.Tensor): ef.Tensor => a.square().mul(b).sum().add(a.sum().exp())
    const [x, y, v, w] = [leaf([0.3, -0.2]), leaf([1.5, 2]), leaf([0.7, 0.1]), leaf([-1, 0.5])]
    const [hx, hy] = hvp(f)([x, y], [v, w])
    const e = Math.exp(0.1)
    const close = (found: number[] | null, wanted: number[]): void => {
      wanted.forEach((n, i) => {
        expect(found?.[i]).toBeCloseTo(n, 12)
      })
    }
    close(await list(hx), [2 * 1.5 * 0.7 + 0.8 * e + 2 * 0.3 * -1, 2 * 2 * 0.1 + 0.8 * e + 2 * -0.2 * 0.5])
    close(await list(hy), [2 * 0.3 * 0.7, 2 * -0.2 * 0.1])
  })

  it('is zero for a linear function, and checks its vectors', async () => {
    expect(await list(hvp((a) => a.mul(3).sum())([leaf([1, 2])], [leaf([1, 1])])[0])).toEqual([0, 0])
    expect(() => hvp((a) => a.sum())([leaf([1, 2])], [leaf([1])])).toThrow(ef.ShapeError)
    expect(() => hvp((a) => a.sum())([leaf([1, 2])], [])).toThrow(ef.ArgumentError)
  })
})
