// Batching and reuse on webgpu: work is encoded now and submitted later, memory, pipelines and bind groups are used
// again, and nothing of that shows in the results.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { platform } from '#platform'
import { input, scalar } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { getBackend } from '../src/backend/registry'
import type { View } from '../src/backend/types'
import { createWebGpuBackend, type WebGpuBackend, type WebGpuStats } from '../src/backend/webgpu'
import * as ef from '../src/index'
import { contiguous, randomArray } from './support/naive'
import { openWebGpu, Twins } from './support/twins'

const DOUBLE = new Program([input(0).mul(2)], 1)
const ADD = new Program([input(0).add(scalar(0))], 1, 1)
/** Dispatches per submit: a constant of the queue. */
const BATCH = 128

function vector(backend: WebGpuBackend, values: readonly number[]): View {
  const buffer = backend.allocate('float32', values.length)
  backend.write(buffer, 'float32', Float32Array.from(values), 0)
  return { buffer, dtype: 'float32', offset: 0, shape: [values.length], strides: [1] }
}

async function read(backend: WebGpuBackend, { buffer, shape }: View): Promise<number[]> {
  return [...(await backend.read(buffer, 'float32', 0, shape[0]))]
}

function since(now: WebGpuStats, then: WebGpuStats): WebGpuStats {
  const names = Object.keys(now) as (keyof WebGpuStats)[]
  return Object.fromEntries(names.map((k) => [k, now[k] - then[k]])) as unknown as WebGpuStats
}

let backend: WebGpuBackend
async function open(options: Parameters<typeof openWebGpu>[0] = {}): Promise<WebGpuBackend> {
  backend = await openWebGpu(options)
  return backend
}

afterEach(() => {
  vi.restoreAllMocks()
  backend?.destroy()
  ef.shutdown()
})

describe('order', () => {
  it('a host write after work on the same buffer does not overtake it', async () => {
    const gpu = await open()
    const x = vector(gpu, [1, 2, 3])
    const y = vector(gpu, [0, 0, 0])
    gpu.elementwise(DOUBLE, [x], [], [y])
    gpu.write(x.buffer, 'float32', Float32Array.of(10, 20, 30), 0)
    expect(await read(gpu, y)).toEqual([2, 4, 6])
    gpu.elementwise(DOUBLE, [x], [], [y])
    // Into the output: the write comes last.
    gpu.write(y.buffer, 'float32', Float32Array.of(7), 1)
    expect(await read(gpu, y)).toEqual([20, 7, 60])
  })

  it('memory that was freed and given out again while work on it waits', async () => {
    const gpu = await open()
    const sums: View[] = []
    const { buffersCreated } = gpu.stats
    for (let i = 0; i < 300; i++) {
      const x = vector(gpu, [i, i, i, i])
      const sum = vector(gpu, [0, 0, 0, 0])
      gpu.elementwise(ADD, [x], [1], [sum])
      gpu.free(x.buffer)
      sums.push(sum)
    }
    for (const [i, sum] of sums.entries()) expect(await read(gpu, sum)).toEqual([i + 1, i + 1, i + 1, i + 1])
    // One for each sum, one that all inputs shared, and one to read through.
    expect(gpu.stats.buffersCreated - buffersCreated).toBe(302)
  })

  it('reads started together see what was encoded before each of them', async () => {
    const gpu = await open()
    const x = vector(gpu, [1])
    const pending: Promise<number[]>[] = []
    for (let i = 0; i < 5; i++) {
      pending.push(read(gpu, x))
      gpu.elementwise(DOUBLE, [x], [], [x])
    }
    expect((await Promise.all(pending)).flat()).toEqual([1, 2, 4, 8, 16])
  })

  it('parameters of thousands of dispatches in flight stay apart', async () => {
    const gpu = await open()
    const x = vector(gpu, [0])
    for (let i = 1; i <= 1000; i++) gpu.elementwise(ADD, [x], [i], [x])
    expect(await read(gpu, x)).toEqual([500_500])
  })
})

describe('batches', () => {
  it(`are submitted every ${BATCH} dispatches and at a read, not before`, async () => {
    const gpu = await open()
    const x = vector(gpu, [0])
    const start = gpu.stats
    for (let i = 0; i < BATCH; i++) gpu.elementwise(ADD, [x], [1], [x])
    expect(since(gpu.stats, start)).toMatchObject({ dispatches: BATCH, submits: 0 })
    gpu.elementwise(ADD, [x], [1], [x])
    expect(since(gpu.stats, start).submits).toBe(1)
    expect(await read(gpu, x)).toEqual([BATCH + 1])
    expect(since(gpu.stats, start).submits).toBe(2)
  })

  it('synchronize submits and waits', async () => {
    const gpu = await open()
    const x = vector(gpu, [1])
    gpu.elementwise(DOUBLE, [x], [], [x])
    const { submits } = gpu.stats
    await gpu.synchronize()
    expect(gpu.stats.submits).toBe(submits + 1)
    await gpu.synchronize()
  })
})

/** One training step with an embedding, a norm, a loss and AdamW; everything made inside is released. */
function trainer(): (step: number) => ef.Tensor {
  const { nn, optim } = ef
  ef.manualSeed(3)
  const embedding = new nn.Embedding(11, 8)
  const norm = new nn.LayerNorm(8)
  const linear = new nn.Linear(8, 3)
  const parameters = [embedding, norm, linear].flatMap((m) => [...m.parameters()])
  const optimizer = new optim.AdamW(parameters, { lr: 0.01 })
  return (step) =>
    ef.tidy(() => {
      const ids = ef.tensor(
        Int32Array.from({ length: 20 }, (_, i) => (i * 7 + step) % 11),
        { shape: [4, 5] },
      )
      const target = ef.tensor(Int32Array.from({ length: 4 }, (_, i) => (i + step) % 3))
      const hidden = norm.forward(embedding.forward(ids)).mean(1)
      const loss = nn.functional.crossEntropy(linear.forward(hidden).gelu(), target)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
      return loss.detach()
    })
}

async function losses(steps: number): Promise<number[]> {
  const step = trainer()
  const all: number[] = []
  for (let i = 0; i < steps; i++) {
    const loss = step(i)
    all.push(await loss.item())
    loss.dispose()
  }
  return all
}

describe('a training step', () => {
  it('after the second one makes no pipeline and no buffer, and few submits', async () => {
    await ef.init({ device: 'webgpu' })
    const gpu = getBackend('webgpu') as WebGpuBackend
    const step = trainer()
    let before = gpu.stats
    for (let i = 0; i < 8; i++) {
      before = gpu.stats
      const loss = step(i)
      await loss.item()
      loss.dispose()
      if (i < 2) continue
      const { dispatches, submits, pipelines, buffersCreated, bytesAllocated } = since(gpu.stats, before)
      expect({ pipelines, buffersCreated, bytesAllocated }).toEqual({
        pipelines: 0,
        buffersCreated: 0,
        bytesAllocated: 0,
      })
      expect(dispatches).toBeGreaterThan(10)
      // Batches of data are written into memory that the step before has read: one more submit at most.
      expect(submits).toBeLessThanOrEqual(Math.ceil(dispatches / BATCH) + 1)
    }
  })

  it('in debug mode gives the same bits: no kernel reads what nobody wrote', async () => {
    await ef.init({ device: 'webgpu' })
    const plain = await losses(4)
    ef.shutdown()
    await ef.init({ device: 'webgpu', debug: true })
    const fresh = getBackend('webgpu').allocate('float32', 3)
    expect([...(await getBackend('webgpu').read(fresh, 'float32', 0, 3))]).toEqual([NaN, NaN, NaN])
    expect(await losses(4)).toEqual(plain)
    expect(plain.every(Number.isFinite)).toBe(true)
    await ef.init({ device: 'cpu' })
    const cpu = await losses(4)
    for (const [i, loss] of plain.entries()) expect(loss).toBeCloseTo(cpu[i], 4)
  })
})

it('scratch memory is poisoned in debug mode too, and results do not change', async () => {
  for (const fallback of [true, false]) {
    const twins = new Twins(await open({ debug: true, fallback }))
    const rows = twins.place('float32', contiguous([3, 5000]), randomArray('float32', 15_000, 1))
    const sum = twins.place('float32', contiguous([3]), new Float32Array(3))
    twins.run([rows, sum], (b, [x, o]) => b.reduce('max', DOUBLE, [x], [], o))
    await twins.expectSame(sum)
    const best = twins.place('int32', contiguous([3]), new Int32Array(3))
    twins.run([rows, best], (b, [x, o]) => b.argReduce('min', x, o))
    await twins.expectSame(best)
    const ids = twins.place(
      'int32',
      { shape: [5000, 3], strides: [1, 0], offset: 0, length: 5000 },
      new Int32Array(5000),
    )
    const table = twins.place('float32', contiguous([2, 3]), new Float32Array(6))
    const source = twins.window(rows, contiguous([5000, 3]))
    twins.run([table, ids, source], (b, [x, i, s]) => b.scatterAdd(x, 0, i, s))
    await twins.expectSame(table, { absolute: 1e-3 })
    backend.destroy()
  }
})

describe('memory', () => {
  it('idle memory goes back to the driver once recent work needs far less', async () => {
    const gpu = await open()
    const big = Array.from({ length: 10 }, () => gpu.allocate('float32', 4 * 2 ** 20))
    const x = vector(gpu, [0])
    for (const buffer of big) gpu.free(buffer)
    expect(gpu.stats.bytesAllocated).toBeGreaterThan(160e6)
    for (let i = 0; i < 130; i++) {
      gpu.elementwise(ADD, [x], [1], [x])
      await gpu.synchronize()
    }
    expect(gpu.stats.bytesAllocated).toBeLessThan(100e6)
    expect(await read(gpu, x)).toEqual([130])
  })

  it('buffers for reading are made once, not per read', async () => {
    const device = await (await (await platform.requestGPU())?.requestAdapter())?.requestDevice()
    if (!device) throw new Error('no WebGPU device')
    const gpu = await createWebGpuBackend({ device })
    backend = gpu
    const x = vector(gpu, [1, 2, 3])
    await read(gpu, x)
    const created = vi.spyOn(device, 'createBuffer')
    for (let i = 0; i < 20; i++) expect(await read(gpu, x)).toEqual([1, 2, 3])
    expect(created).not.toHaveBeenCalled()
    gpu.destroy()
    device.destroy()
  })

  it('many different sets of buffers: bind groups are forgotten in time, results stay right', async () => {
    const gpu = await open()
    const xs = Array.from({ length: 100 }, (_, i) => vector(gpu, [i]))
    const out = vector(gpu, [0])
    const sum = new Program([input(0).add(input(1)).add(input(2))], 3)
    for (let i = 0; i < 9000; i++)
      gpu.elementwise(sum, [out, xs[i % 100], xs[Math.floor(i / 90) % 100]], [], [out])
    let expected = 0
    for (let i = 0; i < 9000; i++) expected += (i % 100) + (Math.floor(i / 90) % 100)
    expect(await read(gpu, out)).toEqual([expected])
  })
})

it('views on shared memory are copied before WebGPU sees them', async () => {
  const device = await (await (await platform.requestGPU())?.requestAdapter())?.requestDevice()
  if (!device) throw new Error('no WebGPU device')
  const gpu = await createWebGpuBackend({ device })
  backend = gpu
  const write = device.queue.writeBuffer.bind(device.queue)
  const shared: unknown[] = []
  vi.spyOn(device.queue, 'writeBuffer').mockImplementation((buffer, at, data, ...rest) => {
    const memory = ArrayBuffer.isView(data) ? data.buffer : data
    if (memory instanceof SharedArrayBuffer) shared.push(data)
    else write(buffer, at, data, ...rest)
  })
  const floats = new Float32Array(new SharedArrayBuffer(24)).fill(1.5)
  const heap = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const ints = new Int32Array(heap.buffer, 64, 3).fill(-7)
  const bools = new Uint8Array(heap.buffer, 1000, 3).fill(1)
  for (const [dtype, data] of [
    ['float32', floats.subarray(2)],
    ['int32', ints],
    ['bool', bools],
  ] as const) {
    const buffer = gpu.allocate(dtype, data.length + 1)
    gpu.write(buffer, dtype, data, 1)
    expect([...(await gpu.read(buffer, dtype, 1, data.length))]).toEqual([...data])
  }
  expect(shared).toEqual([])
  gpu.destroy()
  device.destroy()
})

it('reads give unshared copies of their own', async () => {
  const gpu = await open()
  const x = vector(gpu, [1, 2])
  const [a, b] = await Promise.all([gpu.read(x.buffer, 'float32', 0, 2), gpu.read(x.buffer, 'float32', 0, 2)])
  a[0] = 9
  expect([...b]).toEqual([1, 2])
  expect(a.buffer).toBeInstanceOf(ArrayBuffer)
  expect(await gpu.read(x.buffer, 'float32', 2, 0)).toEqual(new Float32Array(0))
})
