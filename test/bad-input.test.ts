// Bad input, seen from a training script: every mistake is an error of its own type that says where and what to do,
// and leaves everything as it was: weights, moments, step counts, files; the run goes on as if nothing had happened.
// (Single ops: errors.test.ts. Files: io-*, data-*, platform. Devices: webgpu-device, heap.)
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { getBackend, registerBackend } from '../src/backend/registry'

it('webgpu before init says to call it', () => {
  expect(() => ef.tensor([1], { device: 'webgpu' })).toThrow(ef.DeviceError)
  expect(() => ef.tensor([1], { device: 'webgpu' })).toThrow(/init\(\{ device: 'webgpu' \}\)/)
  expect(() => new nn.Linear(2, 2, { device: 'webgpu' })).toThrow(ef.DeviceError)
})

const folder = fs.mkdtempSync(join(tmpdir(), 'evenfold-bad-input-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const rows = [
  [3, 7, 1, 5, 0],
  [2, 9, 0, 0, 0],
  [4, 4, 6, 8, 11],
]
const lengths = [4, 2, 5]
const labels = [0, 1, 0]
const int32 = { dtype: 'int32' } as const

interface Input {
  ids?: ef.Tensor
  target?: ef.Tensor
  where?: nn.SequenceMask
}

class Run {
  readonly model = new ef.models.GRUClassifier({
    vocabularySize: 12,
    embeddingSize: 4,
    hiddenSize: 3,
    dropout: 0,
  })
  readonly optimizer = new optim.AdamW(this.model.parameters(), { lr: 0.05 })

  constructor() {
    ef.manualSeed(2)
    for (const p of this.model.parameters()) nn.init.uniform_(p, -0.5, 0.5)
  }

  step({
    ids = ef.tensor(rows, int32),
    target = ef.tensor(labels, int32),
    where = { lengths },
  }: Input = {}): ef.Tensor {
    const loss = nn.functional.crossEntropy(this.model.forward(ids, where), target)
    this.optimizer.zeroGrad()
    loss.backward()
    this.optimizer.step()
    return loss
  }

  /** All that a mistake must leave as it was. */
  async state(): Promise<unknown> {
    const { tensors, ...counts } = this.optimizer.stateDict()
    const read = async (all: Record<string, ef.Tensor>) =>
      Promise.all(Object.entries(all).map(async ([key, t]) => [key, Array.from(await t.data())]))
    return {
      weights: await read(this.model.stateDict()),
      moments: await read(tensors),
      counts,
      training: this.model.training,
      device: ef.defaultDevice(),
    }
  }
}

type Mistake = [what: string, input: () => Input, type: new (message: string) => Error, message: RegExp]

const MISTAKES: Mistake[] = [
  [
    'a token id beyond the vocabulary',
    () => ({
      ids: ef.tensor(
        [
          [3, 12],
          [1, 2],
          [4, 5],
        ],
        int32,
      ),
      where: {},
    }),
    ef.IndexError,
    /^GRUClassifier: id 12 is out of range \(in GRUClassifier\); expected 0 to 11/,
  ],
  [
    'a negative token id',
    () => ({
      ids: ef.tensor(
        [
          [3, -1],
          [1, 2],
          [4, 5],
        ],
        int32,
      ),
      where: {},
    }),
    ef.IndexError,
    /^GRUClassifier: id -1 is out of range/,
  ],
  [
    'ids that are not integers',
    () => ({ ids: ef.tensor(rows) }),
    ef.DTypeError,
    /^GRUClassifier: ids are float32 .*expected int32.*to\('int32'\)/,
  ],
  [
    'ids without a batch axis',
    () => ({ ids: ef.tensor(rows[0], int32), where: {} }),
    ef.ShapeError,
    /^GRUClassifier: ids have shape \[5\] .*; expected \[batch, time\]/,
  ],
  [
    'texts without a token',
    () => ({ ids: ef.zeros([3, 0], int32), where: {} }),
    ef.ShapeError,
    /^GRUClassifier: ids have shape \[3, 0\] .*at least one token/,
  ],
  [
    'lengths of another batch',
    () => ({ where: { lengths: [4, 2] } }),
    ef.ShapeError,
    /^GRUClassifier: lengths has shape \[2\] .*; expected one for each text, \[3\]/,
  ],
  [
    'a length beyond the text',
    () => ({ where: { lengths: [4, 2, 6] } }),
    ef.IndexError,
    /^GRUClassifier: lengths from 2 to 6 .*; expected 0 to 5/,
  ],
  [
    'a mask of another shape',
    () => ({ where: { mask: ef.ones([5, 3], { dtype: 'bool' }) } }),
    ef.ShapeError,
    /^GRUClassifier: mask has shape \[5, 3\] .*; expected that of the ids, \[3, 5\]/,
  ],
  [
    'a label for each token rather than each text',
    () => ({ target: ef.tensor(rows, int32) }),
    ef.ShapeError,
    /crossEntropy.*\[3, 2\].*\[3, 5\]|crossEntropy.*\[3, 5\].*\[3\]/,
  ],
  [
    'a label beyond the classes',
    () => ({ target: ef.tensor([0, 2, 1], int32) }),
    ef.IndexError,
    /crossEntropy: .*2.*0 to 1/,
  ],
  [
    'labels that are not integers',
    () => ({ target: ef.tensor([0, 1, 1]) }),
    ef.DTypeError,
    /crossEntropy: target must hold int32 class ids, got float32/,
  ],
]

describe.each(['cpu', 'webgpu'] as const)('a training step on %s', (device) => {
  beforeAll(async () => {
    await ef.init({ device })
  })

  it.each(MISTAKES)('with %s', async (_, input, type, message) => {
    const run = new Run()
    run.step()
    const before = await run.state()
    for (const attempt of [1, 2]) {
      const bad = input()
      expect(() => run.step(bad), `attempt ${attempt}`).toThrow(type)
      expect(() => run.step(bad)).toThrow(message)
    }
    expect(await run.state()).toEqual(before)
    const loss = await run.step().item()

    const untroubled = new Run()
    untroubled.step()
    expect(loss).toBe(await untroubled.step().item())
    expect(await run.state()).toEqual(await untroubled.state())
  })

  it('with tensors of the other device', async () => {
    const other = device === 'cpu' ? 'webgpu' : 'cpu'
    await ef.init({ device: other })
    const [ids, target] = [ef.tensor(rows, int32), ef.tensor(labels, int32)]
    await ef.init({ device })
    const run = new Run()
    const before = await run.state()
    expect(() => run.step({ ids })).toThrow(ef.DeviceError)
    expect(() => run.step({ target })).toThrow(/'cpu'.*'webgpu'|'webgpu'.*'cpu'/)
    expect(await run.state()).toEqual(before)
  })

  it('with ids that the device computed and that are out of range', async () => {
    const run = new Run()
    run.step()
    const ids = ef.tensor(rows, int32).mul(2)
    const reading = async () => {
      await run.step({ ids }).item()
    }
    await expect(reading()).rejects.toThrow(ef.IndexError)
    await expect(
      (async () => {
        await run.step({ ids }).item()
      })(),
    ).rejects.toThrow(/out of range/)
    // Said once for each; the device goes on, with finite weights.
    expect(Number.isFinite(await run.step().item())).toBe(true)
  })

  it('with labels that the device computed and that are out of range', async () => {
    const run = new Run()
    const target = ef.tensor(labels, int32).add(2)
    await expect(
      (async () => {
        await run.step({ target }).item()
      })(),
    ).rejects.toThrow(ef.IndexError)
    expect(Number.isFinite(await run.step().item())).toBe(true)
  })

  it('without a graph, twice through one graph, or of more than one loss', async () => {
    const run = new Run()
    const ids = ef.tensor(rows, int32)
    const before = await run.state()
    const free = ef.noGrad(() => run.model.forward(ids, { lengths }).sum())
    expect(() => free.backward()).toThrow(ef.GraphError)
    const logits = run.model.forward(ids, { lengths })
    expect(() => logits.backward()).toThrow(ef.EvenfoldError)
    const loss = logits.sum()
    loss.backward()
    expect(() => loss.backward()).toThrow(ef.GraphError)
    expect(await run.state()).toEqual(before)
  })

  it('inside train: the error comes out, the weights are those of the last good step, the checkpoint stays', async () => {
    const samples = Array.from({ length: 8 }, (_, i) => ({ ids: [1 + i, 2], label: i % 2 }))
    samples[5].ids[0] = 99
    const path = join(folder, `${device}.safetensors`)
    const training = async (maxSteps: number, run: Run) => {
      const loader = new ef.data.DataLoader(samples, { batchSize: 1 })
      await ef.train({
        model: run.model,
        optimizer: run.optimizer,
        loader,
        maxSteps,
        checkpoint: { path, every: 2 },
        loss: ({ ids, labels }) => nn.functional.crossEntropy(run.model.forward(ids), labels),
      })
    }
    const run = new Run()
    await expect(training(8, run)).rejects.toThrow(/^GRUClassifier: id 99 is out of range/)
    const saved = fs.readFileSync(path)
    const { step } = await ef.io.readCheckpointInfo(path)
    expect(step).toBe(4)
    const good = new Run()
    await training(5, good)
    expect(await run.state()).toEqual(await good.state())
    fs.writeFileSync(path, saved)
    await ef.io.loadCheckpoint(path, { model: run.model, optimizer: run.optimizer })
    expect(run.optimizer.stepCount).toBe(4)
  })
})

describe.each(['cpu', 'webgpu'] as const)('layers on %s', (device) => {
  beforeAll(async () => {
    await ef.init({ device })
  })

  /** One layer of every kind, an input shape it takes (the batch first), and one it refuses. */
  const layers: [string, () => nn.Layer, good: number[], bad: number[]][] = [
    ['Linear', () => new nn.Linear(3, 2), [4, 3], [4, 2]],
    ['LayerNorm', () => new nn.LayerNorm(3), [4, 3], [3, 4]],
    [
      'Sequential',
      () => new nn.Sequential(new nn.Linear(3, 4), new nn.GELU(), new nn.Linear(4, 1)),
      [4, 3],
      [3],
    ],
  ]
  /** A place in a model, so that errors have a path to name. */
  class Model extends nn.Module {
    constructor(readonly head: nn.Layer) {
      super()
    }
    forward(x: ef.Tensor): ef.Tensor {
      return this.head.forward(x)
    }
  }

  it.each(layers)('%s refuses wrong shapes and dtypes by its path', (_, make, good, bad) => {
    const model = new Model(make())
    expect(() => model.forward(ef.zeros([...bad.slice(0, -1), bad.at(-1)! + 5]))).toThrow(ef.ShapeError)
    expect(() => model.forward(ef.zeros([...bad.slice(0, -1), bad.at(-1)! + 5]))).toThrow(/\(in head(\.0)?\)/)
    expect(() => model.forward(ef.zeros(good, int32))).toThrow(ef.DTypeError)
    expect(() => model.forward(ef.zeros(good, { dtype: 'bool' }))).toThrow(/\(in head(\.0)?\)/)
    if (device === 'webgpu') expect(() => ef.zeros(good, { dtype: 'float64' })).toThrow(ef.DTypeError)
    else expect(() => model.forward(ef.zeros(good, { dtype: 'float64' }))).toThrow(ef.DTypeError)
    // And goes on.
    expect(model.forward(ef.zeros(good)).shape[0]).toBe(good[0])
  })

  it.each(layers)('%s takes an empty batch, forward and backward', async (_, make, good) => {
    const layer = make()
    const x = ef.zeros([0, ...good.slice(1)], { requiresGrad: true })
    const y = layer.forward(x)
    expect(y.shape[0]).toBe(0)
    y.sum().backward()
    expect(x.grad!.shape).toEqual(x.shape)
    for (const p of layer.parameters()) expect(await p.grad!.eq(0).all().item()).toBe(1)
  })

  it('dropout, softmax and their like refuse integers', () => {
    const ints = ef.ones([2, 2], int32)
    for (const layer of [new nn.Dropout(), new nn.Softmax(), new nn.LogSoftmax()])
      expect(() => layer.forward(ints), layer.constructor.name).toThrow(ef.DTypeError)
    expect(() => nn.functional.mse(ints, ints)).toThrow(ef.DTypeError)
    expect(() => nn.functional.bceWithLogits(ints, ints)).toThrow(ef.DTypeError)
    expect(() => nn.functional.crossEntropy(ints, ef.ones([2], int32))).toThrow(ef.DTypeError)
  })

  it('a whole classifier takes an empty batch: no logits, gradients 0, and, as in torch, NaN as the mean loss', async () => {
    const run = new Run()
    const empty = { ids: ef.zeros([0, 5], int32), target: ef.zeros([0], int32), where: {} }
    expect(run.model.forward(empty.ids).shape).toEqual([0, 2])
    expect(await run.step(empty).item()).toBeNaN()
    for (const p of run.model.parameters()) expect(await p.grad!.eq(0).all().item()).toBe(1)
    expect(await run.optimizer.firstBadStep()).toBe(null)
    expect(Number.isFinite(await run.step().item())).toBe(true)
  })
})

describe('out of memory on the cpu', () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void

  it('is an OutOfMemoryError that names the sizes; what there was stays, and smaller work goes on', async () => {
    await ef.init({ device: 'cpu' })
    const old = getBackend('cpu')
    registerBackend(new CpuBackend({ initialBytes: 2 ** 20, maximumBytes: 2 ** 25 }))
    try {
      const run = new Run()
      run.step()
      const before = await run.state()
      const { bytes } = ef.memory().cpu
      const many = 2 ** 17
      const tooLarge = () =>
        ef.tidy(() =>
          run.step({
            ids: ef.ones([many, 5], int32),
            target: ef.zeros([many], int32),
            where: {},
          }),
        )
      expect(tooLarge).toThrow(ef.OutOfMemoryError)
      expect(tooLarge).toThrow(/\d+ bytes.*limit is 33554432/)
      expect(await run.state()).toEqual(before)
      expect(() => ef.zeros([2 ** 24])).toThrow(ef.OutOfMemoryError)
      // The graph that was cut short is nobody's now.
      for (let i = 0; i < 5; i++) {
        collectGarbage()
        await new Promise(setImmediate)
      }
      expect(ef.memory().cpu.bytes).toBeLessThanOrEqual(bytes)
      expect(Number.isFinite(await run.step().item())).toBe(true)
    } finally {
      registerBackend(old)
    }
  })

  it('also of the machine’s own heap: 8 GiB in one tensor', () => {
    const { tensors } = ef.memory().cpu
    expect(() => ef.zeros([2 ** 30], { dtype: 'float64', device: 'cpu' })).toThrow(ef.OutOfMemoryError)
    expect(ef.memory().cpu.tensors).toBe(tensors)
  })
})

describe('a disk that fills up while a checkpoint is saved', () => {
  // A limit on the size of files stands in for the disk: writes beyond it fail in the same place.
  const script = `
    import * as ef from 'evenfold'
    const path = process.argv.at(-1)
    await ef.init({ device: 'cpu' })
    const parts = (size) => {
      const model = new ef.nn.Linear(size, size)
      return { model, optimizer: new ef.optim.AdamW(model.parameters()), step: size }
    }
    await ef.io.saveCheckpoint(path, parts(8))
    try {
      await ef.io.saveCheckpoint(path, parts(256))
    } catch (error) {
      console.log(error.name + ': ' + error.message)
    }`

  // The disk is made full by the shell's `ulimit -f`, which only Linux is known to report as a write error.
  it.runIf(process.platform === 'linux')(
    'leaves the old checkpoint and no other file, and says what to do',
    async () => {
      const target = join(folder, 'full')
      const path = join(target, 'run.safetensors')
      const node = [
        process.execPath,
        '--conditions=evenfold-source',
        '--import',
        'tsx',
        '--input-type=module',
      ]
      const { stdout, stderr } = spawnSync(
        'bash',
        ['-c', 'ulimit -f 64; exec "$@"', 'bash', ...node, '--eval', script, '--', path],
        {
          cwd: join(import.meta.dirname, '..'),
          encoding: 'utf8',
          env: { ...process.env, TSX_DISABLE_CACHE: '1' },
        },
      )
      expect(stdout, stderr).toMatch(/^FileError: Cannot write '.*run\.safetensors': .*full.*Free some space/)
      expect(fs.readdirSync(target)).toEqual(['run.safetensors'])
      expect((await ef.io.readCheckpointInfo(path)).step).toBe(8)
      const model = new nn.Linear(8, 8, { device: 'cpu' })
      await ef.io.loadCheckpoint(path, { model })
    },
  )
})
