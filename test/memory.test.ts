// Memory over a thousand steps: loops that say when a tensor is done with hold exactly as much after step 1,000 as
// after step 2; a naive loop, which drops handles and never says so, stays bounded by the net under it.
import { expect, it } from 'vitest'
import * as ef from '../src/index'
import { onDevices } from './support/precision'

const { optim } = ef

interface Batch {
  x: Float32Array
  y: Int32Array
}

/** Two classes, separable by a plane, from the library's own generator. */
async function batches(count: number, size: number, features: number): Promise<Batch[]> {
  ef.manualSeed(1)
  const all: Batch[] = []
  for (let i = 0; i < count; i++) {
    const x = (await ef.randn([size, features], { device: 'cpu' }).data()) as Float32Array
    const y = Int32Array.from({ length: size }, (_, r) => Number(x[r * features] + x[r * features + 1] > 0))
    all.push({ x, y })
  }
  return all
}

interface Model {
  w1: ef.Tensor
  b1: ef.Tensor
  w2: ef.Tensor
  forward(x: ef.Tensor): ef.Tensor
  params: ef.Tensor[]
}

function model(features: number, hidden: number): Model {
  ef.manualSeed(7)
  const w1 = ef.tidy(() => ef.randn([features, hidden]).mul(0.3))
  const b1 = ef.zeros([hidden])
  const w2 = ef.tidy(() => ef.randn([hidden, 2]).mul(0.3))
  const params = [w1, b1, w2]
  for (const p of params) p.requiresGrad = true
  return { w1, b1, w2, params, forward: (x) => x.matmul(w1).add(b1).tanh().matmul(w2) }
}

/** Cross entropy from its parts; as a library's function would be, tidy about its own temporaries. */
const lossOf = (logits: ef.Tensor, y: ef.Tensor): ef.Tensor =>
  ef.tidy(() => logits.logSoftmax(-1).gather(1, y.unsqueeze(1)).mean().neg())

/** No step holds more than the second one. */
function expectNoGrowth(counts: ef.DeviceMemory[]): void {
  const worst = (of: 'tensors' | 'bytes'): number => Math.max(...counts.slice(2).map((c) => c[of]))
  expect(worst('tensors')).toBeLessThanOrEqual(counts[1].tensors)
  expect(worst('bytes')).toBeLessThanOrEqual(counts[1].bytes)
}

onDevices('memory', ({ device }) => {
  const steps = 1000
  const now = (): ef.DeviceMemory => ef.memory()[device]

  it(`does not grow over ${steps} steps inside tidy`, async () => {
    const data = await batches(4, 8, 6)
    const net = model(6, 8)
    const opt = new optim.Adam(net.params)
    const counts: ef.DeviceMemory[] = []
    for (let i = 0; i < steps; i++) {
      const { x, y } = data[i % 4]
      ef.tidy(() => {
        opt.zeroGrad()
        lossOf(net.forward(ef.tensor(x, { shape: [8, 6] })), ef.tensor(y)).backward()
        if (i % 50 === 0) optim.clipGradNorm(net.params, 1)
        opt.step()
      })
      counts.push(now())
    }
    expectNoGrowth(counts)
  })

  it(`does not grow over ${steps} steps with batches that the loader releases`, async () => {
    const data = await batches(4, 8, 6)
    const net = model(6, 8)
    const opt = new optim.SGD(net.params, { lr: 0.1, momentum: 0.9 })
    const counts: ef.DeviceMemory[] = []
    for (let i = 0; i < steps; i++) {
      const batch = data[i % 4]
      const x = ef.tensor(batch.x, { shape: [8, 6] })
      const y = ef.tensor(batch.y)
      opt.zeroGrad()
      const logits = net.forward(x)
      const loss = lossOf(logits, y)
      loss.backward()
      opt.step()
      // Metrics after the step, outside noGrad.
      if (i % 100 === 0) {
        const accuracy = ef.tidy(() => logits.argmax(1).eq(y).to('float32').mean())
        expect(await accuracy.item()).toBeGreaterThanOrEqual(0)
        expect(await loss.item()).toBeGreaterThan(0)
        accuracy.dispose()
      }
      for (const t of [x, y, loss]) t.dispose()
      counts.push(now())
    }
    expectNoGrowth(counts)
  })

  it('does not grow over many evaluations inside noGrad', async () => {
    const data = await batches(2, 8, 6)
    const net = model(6, 8)
    const before = now().tensors
    for (let i = 0; i < 200; i++) {
      ef.noGrad(() => {
        const { x, y } = data[i % 2]
        net
          .forward(ef.tensor(x, { shape: [8, 6] }))
          .argmax(1)
          .eq(ef.tensor(y))
      })
    }
    expect(now().tensors).toBe(before)
  })

  it('does not grow over many passes whose graph is thrown away by an error', () => {
    const x = ef.ones([4], { requiresGrad: true })
    const before = now().tensors
    for (let i = 0; i < 50; i++) {
      expect(() =>
        ef.tidy(() => {
          x.exp()
            .mul(2)
            .matmul(ef.ones([5]))
        }),
      ).toThrow(ef.ShapeError)
    }
    expect(now().tensors).toBeLessThanOrEqual(before)
  })

  it('stays bounded in 300 steps of a naive loop over batches of four megabytes', async () => {
    ef.resetPeakMemory()
    const base = now().bytes
    const [rows, features] = [1024, 1024]
    const net = model(features, 2)
    const opt = new optim.SGD(net.params, { lr: 0.01 })
    const [host] = await batches(1, rows, features)
    let running = ef.tensor(0)
    let accuracy = 0
    for (let i = 0; i < 300; i++) {
      // Nothing here is disposed, tidied or kept.
      const x = ef.tensor(host.x, { shape: [rows, features] }).narrow(0, 0, 8)
      const y = ef.tensor(host.y).narrow(0, 0, 8)
      const logits = net.forward(x)
      const loss = logits.logSoftmax(-1).gather(1, y.unsqueeze(1)).mean().neg()
      running = running.add(loss)
      opt.zeroGrad()
      loss.backward()
      opt.step()
      running = running.add(loss)
      if (i % 10 === 0) {
        // Accuracy outside noGrad, evaluation without it.
        accuracy = await logits.argmax(1).eq(y).to('float32').mean().item()
        await lossOf(net.forward(x), y).item()
      }
    }
    expect(accuracy).toBeGreaterThan(0.4)
    expect(Number.isFinite(await running.item())).toBe(true)
    // 1,200 MiB went through; what is held at once is the net's mesh (256 MiB) and some more.
    expect((now().peakBytes - base) / 2 ** 20).toBeLessThan(600)
  })

  it('gives equal bits in two runs from one seed', async () => {
    const run = async (): Promise<number[][]> => {
      ef.manualSeed(42)
      const net = model(6, 8)
      const opt = new optim.AdamW(net.params, { lr: 0.01 })
      const losses: number[] = []
      for (let i = 0; i < 20; i++) {
        const x = ef.randn([8, 6])
        const y = ef.randint(0, 2, [8])
        const dropped = net.forward(x.mul(ef.bernoulli(0.8, [8, 6]).to('float32')))
        const loss = lossOf(dropped, y)
        opt.zeroGrad()
        loss.backward()
        opt.step()
        losses.push(await loss.item())
      }
      return [losses, ...(await Promise.all(net.params.map(async (p) => Array.from(await p.data()))))]
    }
    expect(await run()).toEqual(await run())
  })
})
