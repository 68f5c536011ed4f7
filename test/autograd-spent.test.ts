// What becomes of results once backward has freed their graph: readable until the next forward pass, then released;
// and the training loops people write, unchanged, with nothing growing.
import { afterEach, describe, expect, it } from 'vitest'
import * as ef from '../src/index'

const { optim } = ef
const leaf = (values: ef.TensorValues): ef.Tensor =>
  ef.tensor(values, { dtype: 'float64', requiresGrad: true })

afterEach(() => ef.releaseSpent())

/** Storages alive after each of `steps` calls. */
async function census(steps: number, step: (i: number) => unknown): Promise<number[]> {
  const counts: number[] = []
  for (let i = 0; i < steps; i++) {
    await step(i)
    counts.push(ef.memory().cpu.tensors)
  }
  return counts
}

const growth = (counts: number[]): number => counts[counts.length - 1] - counts[2]

describe('results of a graph that backward has freed', () => {
  it('can be read after backward, until the next forward pass', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    y.sum().backward()
    expect(Array.from(await y.data())).toEqual([2, 4])
    x.mul(3)
    await expect(y.data()).rejects.toThrow(ef.ReleasedError)
  })

  it('say, once released, which op and pass they came from and what to do', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    y.sum().backward()
    x.mul(3)
    await expect(y.data()).rejects.toThrow(/mul.*backward\(\) number \d+.*keep\(t\).*detach\(\)/s)
    expect(String(y)).toBe('Tensor(released, shape=[2])')
  })

  it('are released at once by releaseSpent', async () => {
    const y = leaf([1, 2]).mul(2)
    y.sum().backward()
    ef.releaseSpent()
    expect(y.isDisposed).toBe(true)
  })

  it('stay when they are kept, detached, or the root itself', async () => {
    const x = leaf([1, 2])
    const y = ef.keep(x.mul(2))
    const z = x.mul(5)
    const loss = y.add(z).sum()
    loss.backward()
    const w = z.detach()
    x.mul(3)
    expect(Array.from(await y.data())).toEqual([2, 4])
    expect(Array.from(await w.data())).toEqual([5, 10])
    expect(await loss.item()).toBe(21)
    expect(z.isDisposed).toBe(true)
  })

  it('stay when they are kept after backward', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    y.sum().backward()
    ef.keep(y)
    x.mul(3)
    expect(Array.from(await y.data())).toEqual([2, 4])
  })

  it('stay through ops that are not recorded, steps and zeroGrad', async () => {
    const x = leaf([1, 2])
    const opt = new optim.SGD([x])
    const y = x.mul(2)
    y.sum().backward()
    opt.step()
    opt.zeroGrad()
    ef.zeros([2]).add(1)
    ef.noGrad(() => x.mul(3))
    expect(Array.from(await y.data())).toEqual([2, 4])
  })

  it('give results that are computed, not recorded, and spent as well', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    y.sum().backward()
    const z = y.add(1).mul(x) // x still requires a gradient
    expect(Array.from(await z.data())).toEqual([3, 10])
    expect(z.requiresGrad).toBe(false)
    expect(() => z.sum().backward()).toThrow(ef.GraphError)
    x.mul(3)
    expect([y.isDisposed, z.isDisposed]).toEqual([true, true])
  })

  it('give plain tensors where nothing would have been recorded', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    y.sum().backward()
    const metrics = [y.argmax(), y.gt(3), ef.noGrad(() => y.add(1))]
    x.mul(3)
    expect(metrics.map((t) => t.isDisposed)).toEqual([false, false, false])
  })

  it('follow from the loss without being released', async () => {
    const x = leaf([3])
    const loss = x.square().sum()
    loss.backward()
    const half = loss.div(2)
    x.mul(3)
    expect([await loss.item(), await half.item()]).toEqual([9, 4.5])
    expect(() => half.backward()).toThrow(ef.GraphError)
  })

  it('hold no graph: a list of losses does not keep the nodes of every step', () => {
    const x = leaf([3])
    const loss = x.square().exp().sum()
    const { node } = loss.edge as { node: { edges: readonly unknown[] } }
    expect(node.edges).toHaveLength(1)
    loss.backward()
    expect(node.edges).toEqual([])
  })

  it('are views and multi-output results too', async () => {
    const x = leaf([
      [3, 1],
      [2, 5],
    ])
    const { values, indices } = x.max(1)
    const row = x.select(0, 0)
    values.sum().add(row.sum()).backward()
    expect(Array.from(await row.data())).toEqual([3, 1])
    x.mul(1)
    expect([values.isDisposed, row.isDisposed, indices.isDisposed]).toEqual([true, true, false])
    expect(Array.from(await x.data())).toEqual([3, 1, 2, 5])
  })
})

describe('training loops run unchanged, and hold no more memory after the second step', () => {
  const data = (): ef.Tensor => ef.randn([8, 3], { dtype: 'float64' })
  const weights = (): ef.Tensor => leaf([[0.1], [0.2], [-0.1]])

  it('metrics after the step', async () => {
    const [w, x] = [weights(), data()]
    const opt = new optim.SGD([w])
    const counts = await census(8, async () => {
      const out = x.matmul(w)
      const loss = out.square().mean()
      opt.zeroGrad()
      loss.backward()
      opt.step()
      const share = ef.tidy(() => out.gt(0).to('float64').mean())
      expect(await share.item()).toBeGreaterThanOrEqual(0)
      expect(await loss.item()).toBeGreaterThanOrEqual(0)
      for (const t of [share, loss]) t.dispose()
    })
    expect(growth(counts)).toBe(0)
  })

  it('gradient accumulation', async () => {
    const [w, x] = [weights(), data()]
    const opt = new optim.SGD([w])
    const counts = await census(6, () => {
      opt.zeroGrad()
      for (const part of x.split(4)) {
        const loss = part.matmul(w).square().mean().div(2)
        loss.backward()
        loss.dispose()
        part.dispose()
      }
      opt.step()
    })
    expect(growth(counts)).toBe(0)
  })

  it('the gradient of two halves is that of the whole', async () => {
    const [w, v, x] = [weights(), weights(), data()]
    for (const part of x.split(4)) part.matmul(w).square().mean().div(2).backward()
    x.matmul(v).square().mean().backward()
    const [a, b] = [await w.grad!.data(), await v.grad!.data()]
    expect(Array.from(a)).toEqual(Array.from(b, (n) => expect.closeTo(n, 12)))
  })

  it('a GAN: two optimizers, a fake used by both, detached for one', async () => {
    const [generator, critic] = [weights(), weights()]
    const g = new optim.Adam([generator])
    const d = new optim.Adam([critic])
    const losses: number[] = []
    const counts = await census(6, async () => {
      d.zeroGrad()
      const real = data()
      const realLoss = real.matmul(critic).softplus().mean()
      realLoss.backward()
      const noise = data()
      const fake = noise.mul(generator.reshape([3]))
      const shown = fake.detach()
      const fakeLoss = shown.matmul(critic).neg().softplus().mean()
      fakeLoss.backward()
      const both = realLoss.add(fakeLoss)
      d.step()
      g.zeroGrad()
      const trick = fake.matmul(critic).softplus().mean()
      trick.backward()
      g.step()
      losses.push(await both.item(), await trick.item())
      for (const t of [real, realLoss, noise, shown, fakeLoss, both, trick]) t.dispose()
    })
    expect(losses.every(Number.isFinite)).toBe(true)
    expect(growth(counts)).toBe(0)
  })

  it('truncated backpropagation through time: the state detached between pieces', async () => {
    const w = leaf([
      [0.5, 0.1],
      [-0.2, 0.4],
    ])
    const opt = new optim.SGD([w], { lr: 0.1 })
    let state = ef.ones([1, 2], { dtype: 'float64' })
    const counts = await census(8, async () => {
      const start = state
      let h = start
      for (let t = 0; t < 3; t++) h = h.matmul(w).tanh()
      const loss = h.square().sum()
      opt.zeroGrad()
      loss.backward()
      opt.step()
      expect(await loss.item()).toBeGreaterThan(0)
      state = h.detach()
      start.dispose()
      loss.dispose()
    })
    expect(growth(counts)).toBe(0)
    expect(Array.from(await state.data()).every(Number.isFinite)).toBe(true)
  })

  it('a running loss tensor, added to after backward', async () => {
    const [w, x] = [weights(), data()]
    let running = ef.zeros([], { dtype: 'float64' })
    let sum = 0
    for (let i = 0; i < 5; i++) {
      const loss = x
        .matmul(w)
        .square()
        .mean()
        .mul(i + 1)
      loss.backward()
      running = running.add(loss)
      sum += await loss.item()
    }
    expect(await running.item()).toBeCloseTo(sum, 10)
    expect(() => running.backward()).toThrow(ef.GraphError)
  })

  it('a running loss tensor, added to before backward: the chain of graphs does not grow', async () => {
    const [w, x] = [weights(), data()]
    let running = ef.zeros([], { dtype: 'float64' })
    let sum = 0
    const counts = await census(8, async () => {
      const out = x.matmul(w)
      const loss = out.square().mean()
      const share = loss.mul(0.5)
      const next = running.add(share)
      running.dispose()
      running = next
      loss.backward()
      sum += 0.5 * (await loss.item())
      loss.dispose()
      share.dispose()
    })
    expect(await running.item()).toBeCloseTo(sum, 10)
    // Its graph leads through freed ones.
    expect(() => running.backward()).toThrow(ef.GraphError)
    expect(growth(counts)).toBe(0)
  })

  it('a sum of losses that have been through backward is not mistaken for a graph', async () => {
    const x = leaf([2])
    const first = x.square().sum()
    const total = first.mul(1)
    first.backward()
    expect(() => total.add(x.sum()).backward()).toThrow(ef.GraphError)
    expect(Array.from(await (x.grad as ef.Tensor).data())).toEqual([4])
  })
})
