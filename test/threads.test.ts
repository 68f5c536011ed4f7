// Several threads on the cpu: the same bits as with one, whatever is divided and wherever; starting, stopping, failing.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { platform } from '#platform'
import { CpuBackend } from '../src/backend/cpu'
import { wasmElementwise, wasmReduce, wasmRows } from '../src/backend/cpu/wasm/programs'
import { input, scalar } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { RowPlan } from '../src/backend/rows'
import type { DType, HostArray, ReduceKind, View } from '../src/backend/types'
import { contiguous, type Layout, layoutOf, place, randomArray } from './support/naive'

/** Backends with 1, 2 and 3 threads, which divide even the smallest work. */
const COUNTS = [1, 2, 3]
const backends = COUNTS.map(() => new CpuBackend({ maximumBytes: 2 ** 29, initialBytes: 2 ** 24 }))
beforeAll(() => Promise.all(backends.map((backend, i) => backend.setThreads(COUNTS[i], 1))))
afterAll(() => {
  for (const backend of backends) backend.destroy()
})

interface Operand {
  readonly dtype: DType
  readonly layout: Layout
}
const float = (layout: Layout): Operand => ({ dtype: 'float32', layout })
const flat = (...shape: number[]): Operand => float(contiguous(shape))

/** Runs the same call on every backend; the buffers of the outputs must be equal to the last bit. */
function same(
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  call: (backend: CpuBackend, inputs: View[], outputs: View[]) => void,
): void {
  const results = backends.map((backend): HostArray[] => {
    const put = (operands: readonly Operand[], seed: number): View[] =>
      operands.map(({ dtype, layout }, i) =>
        place(backend, dtype, layout, randomArray(dtype, layout.length, seed + i)),
      )
    const [ins, outs] = [put(inputs, 1), put(outputs, 50)]
    call(backend, ins, outs)
    const read = outs.map((v, i) => backend.readSync(v.buffer, v.dtype, 0, outputs[i].layout.length))
    for (const v of [...ins, ...outs]) backend.free(v.buffer)
    return read
  })
  results.forEach((result, i) => {
    expectBits(result, results[0], `with ${COUNTS[i]} threads`)
  })
}

/** Without the difference of large arrays, which takes minutes to print. */
function expectBits(actual: readonly HostArray[], expected: readonly HostArray[], what: string): void {
  for (const [o, values] of actual.entries()) {
    const wrong = values.findIndex((v, i) => !Object.is(v, expected[o][i]))
    if (wrong < 0) continue
    const place = `array ${o}, element ${wrong} of ${values.length}`
    expect.fail(`${what}: ${place}: ${values[wrong]} instead of ${expected[o][wrong]}`)
  }
}

const turned = (rows: number, columns: number): Layout => ({
  shape: [rows, columns],
  strides: [1, rows],
  offset: 0,
  length: rows * columns,
})

describe('matmul', () => {
  it('every transposition around the edges of tiles, blocks and thresholds', () => {
    const rows = fc.constantFrom(1, 3, 4, 11, 12, 13, 25, 32, 33, 35, 100, 257)
    const columns = fc.constantFrom(1, 3, 4, 7, 31, 32, 33, 35, 64, 65, 99, 530)
    const depth = fc.constantFrom(1, 3, 40, 256, 257, 515, 1027)
    const layout = fc.constantFrom((r: number, c: number) => contiguous([r, c]), turned)
    const scene = fc
      .record({ m: rows, n: columns, k: depth, a: layout, b: layout, out: layout })
      .filter(({ m, n, k }) => m * n * k < 5e6)
    fc.assert(
      fc.property(scene, fc.boolean(), ({ m, n, k, a, b, out }, accumulate) => {
        same([float(a(m, k)), float(b(k, n))], [float(out(m, n))], (backend, [x, y], [z]) =>
          backend.matmul(x, y, z, accumulate),
        )
      }),
      { numRuns: 150 },
    )
  })

  it('batches of any layout', () => {
    const dim = fc.integer({ min: 1, max: 40 })
    const scene = fc.record({ batch: fc.integer({ min: 1, max: 30 }), m: dim, n: dim, k: dim }).chain((s) =>
      fc.record({
        a: layoutOf([s.batch, s.m, s.k]),
        b: layoutOf([s.batch, s.k, s.n]),
        out: layoutOf([s.batch, s.m, s.n], true),
      }),
    )
    fc.assert(
      fc.property(scene, ({ a, b, out }) => {
        same([float(a), float(b)], [float(out)], (backend, [x, y], [z]) => backend.matmul(x, y, z, false))
      }),
      { numRuns: 100 },
    )
  })
})

describe('expression programs', () => {
  const [x, y, p] = [input(0), input(1), input(2, 'bool')]
  const program = new Program([x.exp().mul(y).add(scalar(0)), p.where(x.tanh(), y), x.lt(y)], 3, 1)

  it('elementwise, in one run, in rows, over axes around and with broadcast operands', () => {
    const shapes = fc.constantFrom([513], [5000], [4, 200], [700, 3], [9, 7, 20], [3, 2, 5, 40])
    const scene = shapes.chain((shape) =>
      fc.record({
        x: layoutOf(shape),
        y: layoutOf(shape),
        p: layoutOf(shape),
        outs: fc.tuple(...[0, 1, 2].map(() => layoutOf(shape, true))),
      }),
    )
    let served = 0
    const call = (backend: CpuBackend, inputs: View[], outputs: View[]): void => {
      if (wasmElementwise(program, inputs, [0.5], outputs)) served++
      else backend.elementwise(program, inputs, [0.5], outputs)
    }
    const outs: DType[] = ['float32', 'float32', 'bool']
    const all = (layouts: readonly Layout[]): Operand[] =>
      layouts.map((layout, i) => ({ dtype: outs[i], layout }))
    fc.assert(
      fc.property(scene, (s) => {
        same([float(s.x), float(s.y), { dtype: 'bool', layout: s.p }], all(s.outs), call)
      }),
      { numRuns: 60 },
    )
    for (const shape of [[513], [5000], [12, 50], [700, 3], [9, 7, 20]]) {
      const layout = contiguous(shape)
      const row: Layout = { ...layout, strides: shape.map((_, d) => (d === shape.length - 1 ? 1 : 0)) }
      same([flat(...shape), float(row), { dtype: 'bool', layout }], all([layout, layout, layout]), call)
    }
    expect(served).toBeGreaterThan(0)
  })

  it.each<[ReduceKind, number[], number[]]>([
    ['sum', [], [20_001]],
    ['sum', [37], [300]],
    ['max', [4, 9], [200]],
    ['sum', [2], [1000]],
  ])('%s of rows, %j by %j', (kind, outer, inner) => {
    const loss = new Program([x.mul(y).exp()], 2)
    same([flat(...outer, ...inner), flat(...outer, ...inner)], [flat(...outer)], (_, ins, [out]) => {
      expect(wasmReduce(kind, loss, ins, [], out)).toBe(true)
    })
  })

  it.each([
    [130, 70],
    [3, 900],
    [1000, 17],
    [257, 64],
  ])('sums down columns, %i rows of %i', (rows, columns) => {
    same([float(turned(columns, rows))], [flat(columns)], (_, ins, [out]) => {
      expect(wasmReduce('sum', new Program([x.mul(x)], 1), ins, [], out)).toBe(true)
    })
  })

  it.each([
    [1, 1000],
    [7, 100],
    [64, 130],
  ])('row plans, %i rows of %i', (rows, columns) => {
    const softmax = new RowPlan(['float'], ([v], reduce) => {
      const e = v.sub(reduce('max', v)).exp()
      const total = reduce('sum', e)
      return { elements: [e.div(total)], rows: [total.log()] }
    })
    same([flat(rows, columns)], [flat(rows, columns), flat(rows)], (_, inputs, [elements, lse]) => {
      expect(wasmRows(softmax, { inputs, outer: 1, scalars: [], elements: [elements], rows: [lse] })).toBe(
        true,
      )
    })
  })
})

it('goes on after the heap has grown, also for the workers', () => {
  const n = 2 ** 21
  const double = new Program([input(0).mul(2)], 1)
  const before = backends[1].heap.generation
  same([flat(n)], [flat(n)], (backend, ins, outs) => backend.elementwise(double, ins, [], outs))
  expect(backends[1].heap.generation).toBeGreaterThan(before)
  same([flat(200, 300), flat(300, 200)], [flat(200, 200)], (backend, [a, b], [out]) =>
    backend.matmul(a, b, out, false),
  )
})

/** Losses of a few training steps, and what the parameters are then. */
async function train(model: nn.Module, predict: () => ef.Tensor, target: ef.Tensor): Promise<HostArray[]> {
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
  const losses: number[] = []
  for (let step = 0; step < 2; step++) {
    optimizer.zeroGrad()
    const loss = nn.functional.crossEntropy(predict(), target)
    loss.backward()
    optimizer.step()
    losses.push(await loss.item())
  }
  return [Float64Array.from(losses), ...(await Promise.all(model.parameters().map((p) => p.data())))]
}

const trainings: Record<string, () => Promise<HostArray[]>> = {
  MLP: () => {
    const model = new nn.Sequential(new nn.Linear(150, 130), new nn.ReLU(), new nn.Linear(130, 10))
    const x = ef.randn([64, 150])
    return train(model, () => model.forward(x), ef.randint(0, 10, [64]))
  },
  GRU: () => {
    const model = new nn.GRU(64, 96)
    const x = ef.randn([5, 40, 64])
    return train(model, () => ef.reshape(model.forward(x)[1], [40, 96]), ef.randint(0, 96, [40]))
  },
  Transformer: () => {
    const model = new nn.TransformerEncoderLayer(64, 4, {
      dimFeedforward: 128,
      batchFirst: true,
      dropout: 0.1,
    })
    const x = ef.randn([8, 33, 64])
    return train(model, () => ef.mean(model.forward(x), 1), ef.randint(0, 64, [8]))
  },
}

describe('init', () => {
  afterEach(async () => {
    vi.restoreAllMocks()
    await ef.init({ device: 'cpu' })
  })

  it.each(Object.keys(trainings))(
    'training steps of a %s have the same bits with 1 and 2 threads',
    async (name) => {
      const run = async (threads: number): Promise<HostArray[]> => {
        await ef.init({ device: 'cpu', threads })
        ef.manualSeed(5)
        return trainings[name]()
      }
      const one = await run(1)
      expectBits(await run(2), one, 'with 2 threads')
    },
  )

  it('moves tensors that are there already, and back again', async () => {
    const early = ef.tensor([1, 2, 3])
    for (const threads of [2, 3, 3, 1, 2]) {
      await ef.init({ threads, device: 'cpu' })
      const late = ef.tensor([10, 20, 30])
      expect(await ef.add(early, late).data()).toEqual(Float32Array.of(11, 22, 33))
      const values = await early.data()
      expect(values).toEqual(Float32Array.of(1, 2, 3))
      expect(values.buffer).toBeInstanceOf(ArrayBuffer)
    }
  })

  it('tensors in shared memory go to a GPU, to bytes and back', async () => {
    await ef.init({ device: 'webgpu', threads: 2 })
    const x = ef.tensor([1.5, -2, 3], { device: 'cpu' })
    const back = await ef.mul(x.to('webgpu'), 2).cpu()
    const file = await ef.io.tensorsToBytes({ x, back })
    const { tensors } = await ef.io.loadTensors(file, { device: 'cpu' })
    expect(await tensors.x.data()).toEqual(Float32Array.of(1.5, -2, 3))
    expect(await tensors.back.data()).toEqual(Float32Array.of(3, -4, 6))
  })

  it.each([0, -1, 1.5, 65, Number.NaN, '2' as unknown as number])('refuses %s threads', async (threads) => {
    await expect(ef.init({ device: 'cpu', threads })).rejects.toThrow(ef.ArgumentError)
    await expect(ef.init({ device: 'cpu', threads })).rejects.toThrow(
      /threads must be an integer from 1 to 64/,
    )
  })

  it('says what is missing where memory cannot be shared', async () => {
    vi.spyOn(platform, 'sharingObstacle').mockReturnValue('it may not')
    await expect(ef.init({ device: 'cpu', threads: 2 })).rejects.toThrow(ef.DeviceError)
    await expect(ef.init({ device: 'cpu', threads: 2 })).rejects.toThrow(/it may not/)
    await ef.init({ device: 'cpu', threads: 1 })
  })

  it('goes on with one thread where a worker does not start', async () => {
    vi.spyOn(platform, 'startWorker').mockRejectedValue(new Error('no room'))
    await expect(ef.init({ device: 'cpu', threads: 2 })).rejects.toThrow(/could not be started: no room/)
    const x = ef.randn([200, 200])
    expect((await ef.matmul(x, x).data()).every(Number.isFinite)).toBe(true)
  })

  it('goes on when workers die or are stopped', async () => {
    const { startWorker } = platform
    const workers: Awaited<ReturnType<typeof startWorker>>[] = []
    vi.spyOn(platform, 'startWorker').mockImplementation(async (...args) => {
      const worker = await startWorker(...args)
      workers.push(worker)
      return worker
    })
    await ef.init({ device: 'cpu', threads: 3 })
    const x = ef.randn([300, 300])
    const expected = await ef.matmul(x, x).data()
    const ended = new Promise<void>((resolve) => workers[0].onEnd(resolve))
    workers[0].stop()
    await ended
    expect(await ef.matmul(x, x).data()).toEqual(expected)
    ef.shutdown()
    expect(await ef.matmul(x, x).data()).toEqual(expected)
  })
})

it('a script with threads ends by itself', () => {
  const program = `
    import * as ef from 'evenfold'
    await ef.init({ device: 'cpu', threads: 3 })
    const x = ef.ones([300, 300])
    console.log(await ef.sum(ef.matmul(x, x)).item())
  `
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--conditions=evenfold-source', '--import', 'tsx', '--input-type=module', '-e', program],
    { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8', timeout: 60_000 },
  )
  expect({ stdout, stderr, status }).toEqual({ stdout: `${300 ** 3}\n`, stderr: '', status: 0 })
})
