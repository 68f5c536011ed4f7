import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { batches, DataLoader } from '../src/data'
import { ArgumentError, EvenfoldError, FormatError } from '../src/errors'
import { loadCheckpoint, loadTensors, readCheckpointInfo, saveCheckpoint, saveTensors } from '../src/io'
import * as nn from '../src/nn'
import * as optim from '../src/optim'

const cpu = { device: 'cpu' } as const

/** The smallest thing with a state: named tensors. */
class Weights {
  readonly tensors: Record<string, ef.Tensor>
  constructor(tensors: Record<string, ef.Tensor>) {
    this.tensors = tensors
  }
  stateDict() {
    return { ...this.tensors }
  }
  loadStateDict(state: Record<string, ef.Tensor>) {
    for (const [key, value] of Object.entries(this.tensors)) ef.noGrad(() => value.copy_(state[key]!))
  }
}

/** Momentum in a tensor, a step count and odd numbers in JSON. */
class Momentum {
  velocity: ef.Tensor | null = null
  step = 0
  best = Number.POSITIVE_INFINITY
  stateDict() {
    return { step: this.step, best: this.best, state: [{ velocity: this.velocity }], nothing: undefined }
  }
  loadStateDict(tree: object) {
    const { step, best, state } = tree as ReturnType<Momentum['stateDict']>
    if (typeof step !== 'number') throw new FormatError('optimizer: step is missing')
    const given = state?.[0]?.velocity
    if (given !== null && !(given instanceof ef.Tensor))
      throw new FormatError('optimizer: velocity is missing')
    this.step = step
    this.best = best
    this.velocity = given && ef.noGrad(() => given.mul(1))
  }
}

const model = (value = 1) =>
  new Weights({ 'a.weight': ef.full([2, 2], value, cpu), 'a.bias': ef.full([2], value, cpu) })

let folder: string
let path: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-checkpoint-'))
})
beforeEach(({ task }) => {
  path = join(folder, `${task.id}.safetensors`)
})
afterAll(() => rm(folder, { recursive: true }))

describe('a checkpoint', () => {
  it('restores model, optimizer, loader, random source, step and extra', async () => {
    const saved = { model: model(), optimizer: new Momentum() }
    saved.model.tensors['a.bias'] = ef.tensor([0.1, -0], cpu)
    saved.optimizer.velocity = ef.tensor([Math.PI, 1e-40], cpu)
    saved.optimizer.step = 7
    const samples = Array.from({ length: 9 }, (_, i) => ({ ids: [i + 1], label: 0 }))
    const loader = () => new DataLoader(samples, { batchSize: 2, shuffle: true })
    const before = loader()
    for await (const _ of before) break
    ef.manualSeed(5)
    ef.rand([3], cpu)
    const extra = {
      words: ['é', '😀'],
      best: Number.NEGATIVE_INFINITY,
      minusZero: -0,
      average: ef.tensor([4], cpu),
      none: null,
    }
    await saveCheckpoint(path, { ...saved, loader: before, step: 42, extra })
    const expected = await ef.rand([4], cpu).data()

    ef.manualSeed(99)
    const restored = { model: model(3), optimizer: new Momentum(), loader: loader() }
    const info = await loadCheckpoint(path, restored)
    expect(info.step).toBe(42)
    const { average, ...rest } = info.extra as typeof extra
    expect(rest).toEqual({ words: ['é', '😀'], best: Number.NEGATIVE_INFINITY, minusZero: -0, none: null })
    expect(await average.tolist()).toEqual([4])
    for (const [key, value] of Object.entries(saved.model.tensors)) {
      expect(await restored.model.tensors[key]!.data()).toEqual(await value.data())
    }
    expect([restored.optimizer.step, restored.optimizer.best]).toEqual([7, Number.POSITIVE_INFINITY])
    expect(await restored.optimizer.velocity!.data()).toEqual(await saved.optimizer.velocity.data())
    expect(restored.loader.state()).toEqual(before.state())
    expect(await ef.rand([4], cpu).data()).toEqual(expected)
  })

  it('tells step and extra without the weights, to build the model from', async () => {
    await saveCheckpoint(path, { model: model(), step: 3, extra: { hidden: 2 } })
    expect(await readCheckpointInfo(path)).toEqual({ step: 3, extra: { hidden: 2 } })
  })

  it('is a safetensors file with the weights under their names', async () => {
    await saveCheckpoint(path, { model: model(2) })
    const { tensors, metadata } = await loadTensors(path, cpu)
    expect(Object.keys(tensors).sort()).toEqual(['model.a.bias', 'model.a.weight'])
    expect(metadata.format).toBe('evenfold.checkpoint')
  })

  it('serves for inference: parts that are not asked for stay in the file', async () => {
    const optimizer = new Momentum()
    optimizer.velocity = ef.ones([2], cpu)
    await saveCheckpoint(path, { model: model(2), optimizer })
    const target = model(0)
    const live = ef.memory().cpu.tensors
    await loadCheckpoint(path, { model: target })
    expect(await target.tensors['a.bias']!.tolist()).toEqual([2, 2])
    expect(ef.memory().cpu.tensors).toBe(live)
  })

  it('overwrites an older one as a whole, and leaves no other file', async () => {
    await saveCheckpoint(path, { model: model(1), step: 1 })
    await saveCheckpoint(path, { model: model(2), step: 2 })
    expect((await readCheckpointInfo(path)).step).toBe(2)
    expect((await readdir(folder)).filter((name) => name.includes('tmp'))).toEqual([])
  })
})

describe('a resumed run', () => {
  const samples = Array.from({ length: 20 }, (_, i) => ({ ids: [i % 7, (i * 3) % 7, i % 2], label: i % 2 }))

  /** Logistic regression on bags of words, with dropout. */
  class Net extends nn.Module {
    readonly weight = new nn.Parameter(ef.zeros([7], cpu))
    readonly bias = new nn.Parameter(ef.zeros([], cpu))
    forward(ids: ef.Tensor): ef.Tensor {
      const kept = ef.bernoulli(0.8, [...ids.shape, 7], cpu).to('float32')
      return ef.oneHot(ids, 7).to('float32').mul(kept).sum(1).matmul(this.weight).add(this.bias)
    }
  }

  class Run {
    readonly model = new Net()
    readonly optimizer = new optim.AdamW(this.model.parameters(), { lr: 0.1 })
    readonly scheduler = optim.linearScheduleWithWarmup(this.optimizer, 3, 20)
    readonly loader = new DataLoader(samples, { batchSize: 3, shuffle: true, seed: 4 })
    step = 0
    readonly losses: number[] = []

    async trainTo(steps: number): Promise<this> {
      while (this.step < steps) {
        for await (const { ids, labels } of batches(this.loader, cpu)) {
          const logits = this.model.forward(ids)
          const loss = logits
            .softplus()
            .sub(logits.mul(labels.to('float32')))
            .mean()
          this.optimizer.zeroGrad()
          loss.backward()
          optim.clipGradNorm(this.model.parameters(), 0.5)
          this.optimizer.step()
          this.scheduler.step()
          this.losses.push(await loss.item())
          if (++this.step === steps) break
        }
      }
      return this
    }
  }

  it.each([1, 7, 10, 14])('after %i steps equals the unbroken one bit for bit', async (stop) => {
    ef.manualSeed(11)
    const unbroken = await new Run().trainTo(20)
    expect(new Set(unbroken.losses).size).toBe(19) // the warm-up starts at a rate of 0

    ef.manualSeed(11)
    const first = await new Run().trainTo(stop)
    await saveCheckpoint(path, first)
    ef.manualSeed(12345)
    const second = new Run()
    second.step = (await loadCheckpoint(path, second)).step
    await second.trainTo(20)
    expect([...first.losses, ...second.losses]).toEqual(unbroken.losses)
    for (const [i, p] of second.model.parameters().entries()) {
      expect(await p.data()).toEqual(await unbroken.model.parameters()[i]!.data())
    }
  })
})

describe('another architecture', () => {
  const other = () =>
    new Weights({
      'a.weight': ef.full([2, 3], 9, cpu),
      'a.bias': ef.tensor([9, 9], { ...cpu, dtype: 'float64' }),
      'b.weight': ef.full([1], 9, cpu),
    })

  it('is one FormatError that lists missing, unexpected and mis-shaped keys', async () => {
    const saved = model()
    saved.tensors['c.weight'] = ef.ones([1], cpu)
    await saveCheckpoint(path, { model: saved })
    const loading = loadCheckpoint(path, { model: other() })
    await expect(loading).rejects.toThrow(FormatError)
    await expect(loading).rejects.toThrow(
      [
        'does not fit this model; nothing was loaded.',
        '  missing in the file: b.weight',
        '  unexpected in the file: c.weight',
        '  of another shape or dtype: a.weight (the file has float32 [2, 2], the model float32 [2, 3]), ' +
          'a.bias (the file has float32 [2], the model float64 [2])',
      ].join('\n'),
    )
  })

  it('changes nothing and leaks nothing', async () => {
    const optimizer = new Momentum()
    await saveCheckpoint(path, { model: model(), optimizer })
    const target = other()
    ef.manualSeed(3)
    const random = ef.getRandomState()
    const live = ef.memory().cpu.tensors
    await expect(loadCheckpoint(path, { model: target, optimizer })).rejects.toThrow(FormatError)
    expect(await target.tensors['a.weight']!.tolist()).toEqual([
      [9, 9, 9],
      [9, 9, 9],
    ])
    expect(ef.getRandomState()).toEqual(random)
    expect(ef.memory().cpu.tensors).toBe(live)
  })

  it('an optimizer that refuses its state leaves everything as it was', async () => {
    const samples = [
      { ids: [1], label: 0 },
      { ids: [2], label: 0 },
    ]
    const loader = new DataLoader(samples, { batchSize: 1 })
    const scheduler = {
      epoch: 0,
      stateDict: () => ({ epoch: scheduler.epoch }),
      loadStateDict: (state: object) => {
        scheduler.epoch = (state as { epoch: number }).epoch
      },
    }
    const broken = { stateDict: () => ({}), loadStateDict: () => new Momentum().loadStateDict({}) }
    await saveCheckpoint(path, { model: model(1), optimizer: broken, scheduler, loader })
    for await (const _ of loader) break
    scheduler.epoch = 5
    const target = model(8)
    ef.manualSeed(3)
    const random = ef.getRandomState()
    const live = ef.memory().cpu.tensors
    await expect(
      loadCheckpoint(path, { model: target, optimizer: broken, scheduler, loader }),
    ).rejects.toThrow(/step is missing/)
    expect(await target.tensors['a.bias']!.tolist()).toEqual([8, 8])
    expect([loader.state().batch, scheduler.epoch]).toEqual([1, 5])
    expect(ef.getRandomState()).toEqual(random)
    expect(ef.memory().cpu.tensors).toBe(live)
  })

  it('a state that makes a part stumble is a FormatError too', async () => {
    const stumbling = {
      stateDict: () => ({}),
      loadStateDict: (state: object) => (state as { groups: unknown[] }).groups.length,
    }
    await saveCheckpoint(path, { model: model(), optimizer: stumbling })
    await expect(loadCheckpoint(path, { model: model(), optimizer: stumbling })).rejects.toThrow(FormatError)
  })

  it('a missing part is a FormatError', async () => {
    await saveCheckpoint(path, { model: model() })
    await expect(loadCheckpoint(path, { model: model(), optimizer: new Momentum() })).rejects.toThrow(
      /holds no optimizer state/,
    )
  })
})

describe('what cannot be stored or read', () => {
  it.each([
    ['a date', { at: new Date() }, /extra\.at: Date cannot be stored/],
    ['a function', { f: () => 1 }, /extra\.f: function cannot be stored/],
    ['a typed array', [new Float32Array(1)], /extra\.0: Float32Array cannot be stored/],
    ['a reserved key', { $tensor: 'x' }, /extra\.\$tensor: the key is reserved/],
  ])('%s is an ArgumentError', async (_, extra, message) => {
    const saving = () => saveCheckpoint(path, { model: model(), extra })
    await expect(saving()).rejects.toThrow(ArgumentError)
    await expect(saving()).rejects.toThrow(message)
  })

  it('an object that contains itself, or a bad step, is an ArgumentError', async () => {
    const extra: { self?: object } = {}
    extra.self = extra
    await expect(saveCheckpoint(path, { model: model(), extra })).rejects.toThrow(/contain itself/)
    await expect(saveCheckpoint(path, { model: model(), step: -1 })).rejects.toThrow(ArgumentError)
  })

  it('a file of weights alone says what it is', async () => {
    await saveTensors(path, { w: ef.ones([1], cpu) })
    await expect(loadCheckpoint(path, { model: model() })).rejects.toThrow(
      /is not a checkpoint; use loadTensors/,
    )
  })

  it.each([
    ['{', /not valid JSON/],
    ['[]', /expected an object/],
    ['{"version":2}', /version 2; this library reads 1/],
    ['{"version":1,"step":-1}', /step/],
    ['{"version":1,"step":0,"random":{"seed":0}}', /random state/],
    ['{"version":1,"step":0,"random":{"seed":0,"stream":0},"extra":{"$tensor":"x"}}', /missing tensor 'x'/],
    [
      `{"version":1,"step":0,"random":{"seed":0,"stream":0},"extra":${'['.repeat(999)}${']'.repeat(999)}}`,
      /too deeply/,
    ],
  ])('state %j is a FormatError', async (state, message) => {
    await saveTensors(path, {}, { metadata: { format: 'evenfold.checkpoint', state } })
    await expect(readCheckpointInfo(path)).rejects.toThrow(FormatError)
    await expect(readCheckpointInfo(path)).rejects.toThrow(message)
  })

  it('a damaged file gives an error of ours, never a crash or a half-loaded model', async () => {
    const { readFile } = await import('node:fs/promises')
    await saveCheckpoint(path, { model: model(1), optimizer: new Momentum(), extra: { a: [1, 'b'] } })
    const bytes = new Uint8Array(await readFile(path))
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), fc.boolean(), async (at, value, cut) => {
        const damaged = cut ? bytes.slice(0, at) : bytes.slice()
        if (!cut) damaged[at] = value
        const target = model(8)
        try {
          await loadCheckpoint(damaged, { model: target, optimizer: new Momentum() })
        } catch (error) {
          expect(error).toBeInstanceOf(EvenfoldError)
          expect(await target.tensors['a.bias']!.tolist()).toEqual([8, 8])
        }
      }),
      { numRuns: 300 },
    )
  })
})
