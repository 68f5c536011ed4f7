import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Batch, DataLoader } from '../src/data'
import { ArgumentError, FormatError, NonFiniteError, ShapeError } from '../src/errors'
import { loadCheckpoint, readCheckpointInfo, saveCheckpoint } from '../src/io'
import * as nn from '../src/nn'
import * as optim from '../src/optim'
import { type Progress, train } from '../src/train'

/** Every sentence holds word 1 or word 2, which is its label, among words that say nothing. */
const samples = Array.from({ length: 20 }, (_, i) => ({
  ids: [3 + (i % 4), 1 + (i % 2), 3 + (i % 3)],
  label: i % 2,
}))

class Net extends nn.Module {
  embedding = new nn.Embedding(7, 4)
  dropout = new nn.Dropout(0.2)
  linear = new nn.Linear(4, 2)
  forward(ids: ef.Tensor): ef.Tensor {
    return this.linear.forward(this.dropout.forward(this.embedding.forward(ids)).mean(1))
  }
}

/** All that a run consists of, fresh from one seed. */
function setup(seed = 3) {
  ef.manualSeed(seed)
  const model = new Net()
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.05 })
  const scheduler = optim.linearScheduleWithWarmup(optimizer, 3, 40)
  const loader = new DataLoader(samples, { batchSize: 3, shuffle: true, seed: 4 })
  const loss = (batch: Batch) => nn.functional.crossEntropy(model.forward(batch.ids), batch.labels)
  return { model, optimizer, scheduler, loader, loss, clipNorm: 0.5 }
}

async function weights(model: nn.Module): Promise<number[][]> {
  return Promise.all(model.parameters().map(async (p) => [...(await p.data())]))
}

async function lines(path: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(path, 'utf8')
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

let folder: string
let path: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-train-'))
})
beforeEach(({ task }) => {
  path = join(folder, `${task.id}.safetensors`)
})
afterAll(async () => {
  ef.shutdown()
  await rm(folder, { recursive: true })
})

describe.each(['cpu', 'webgpu'] as const)('on %s', (device) => {
  beforeAll(() => ef.init({ device }))

  describe('train', () => {
    it('learns, and tells how far it is', async () => {
      const run = setup()
      const seen: Progress[] = []
      const result = await train({ ...run, epochs: 20, onProgress: (p) => seen.push(p) })
      expect(result).toMatchObject({
        step: 140,
        interrupted: false,
        stoppedEarly: false,
        best: null,
        metrics: null,
      })
      expect(result.loss).toBeLessThan(0.3)
      expect(seen.length).toBeGreaterThanOrEqual(8) // every 16 steps at least
      expect(seen.map((p) => p.step)).toEqual([...seen.map((p) => p.step)].sort((a, b) => a - b))
      const last = seen.at(-1)!
      expect(last).toMatchObject({ step: 140, total: 140, epoch: 19, secondsLeft: 0, loss: result.loss })
      expect(last.examplesPerSecond).toBeGreaterThan(0)
      expect(seen[0].secondsLeft).toBeGreaterThan(0)
    })

    it('is a plain loop: loss, zeroGrad, backward, clip, optimizer, scheduler', async () => {
      const ours = setup()
      await train({ ...ours, maxSteps: 9 })
      const plain = setup()
      for (let step = 0; step < 9; ) {
        for await (const host of plain.loader) {
          const ids = ef.tensor(host.ids, { shape: host.shape, dtype: 'int32' })
          const loss = nn.functional.crossEntropy(
            plain.model.forward(ids),
            ef.tensor(host.labels, { dtype: 'int32' }),
          )
          plain.optimizer.zeroGrad()
          loss.backward()
          optim.clipGradNorm(plain.model.parameters(), plain.clipNorm)
          plain.optimizer.step()
          plain.scheduler.step()
          if (++step === 9) break
        }
      }
      expect(await weights(ours.model)).toEqual(await weights(plain.model))
    })

    it('takes any loader with a length and a position', async () => {
      const { model, optimizer } = setup()
      let epochs = 0
      const loader = {
        length: 2,
        state: () => ({ epochs }),
        loadState: () => {},
        async *[Symbol.asyncIterator]() {
          for (const word of [1, 2]) yield { ids: ef.full([5, 2], word, { dtype: 'int32' }), word }
          epochs++
        },
      }
      const words: number[] = []
      const loss = ({ ids, word }: { ids: ef.Tensor; word: number }) => {
        words.push(word)
        return model.forward(ids).square().mean()
      }
      await train({ model, optimizer, loader, loss, epochs: 3 })
      expect(words).toEqual([1, 2, 1, 2, 1, 2])
      expect(epochs).toBe(2) // the last pass ends with its last step
    })

    it('holds no memory from step to step', async () => {
      const run = setup()
      const live: number[] = []
      const loss = (batch: Batch) => {
        live.push(ef.memory()[device].tensors)
        return run.loss(batch)
      }
      await train({ ...run, loss, epochs: 12 })
      const late = live.slice(40)
      // Up to two windows of unread losses and norms. What earlier tests dropped may be collected meanwhile, so only
      // rises count.
      const rises = late.map((n, i) => n - Math.min(...late.slice(0, i + 1)))
      expect(Math.max(...rises)).toBeLessThanOrEqual(64)
      expect(Math.max(...live.slice(-16))).toBeLessThanOrEqual(Math.max(...late.slice(0, 32)))
    })

    it('restores every mode of the model after an evaluation under noGrad', async () => {
      const run = setup()
      const modes: boolean[] = []
      run.model.eval()
      const evaluate = async () => {
        modes.push(run.model.training, run.model.dropout.training)
        const logits = run.model.forward(ef.tensor([[1]], { dtype: 'int32' }))
        expect(logits.requiresGrad).toBe(false)
        return { value: modes.length }
      }
      const loss = (batch: Batch) => {
        expect(run.model.dropout.training).toBe(true)
        return run.loss(batch)
      }
      const result = await train({ ...run, loss, epochs: 2, evaluate, evaluateEvery: 5 })
      expect(modes).toEqual(Array(6).fill(false)) // after steps 5, 10 and 14, the last
      expect(result.metrics).toEqual({ value: 6 })
      expect(run.model.training && run.model.dropout.training).toBe(true)
    })

    it('writes a line a step and an evaluation to the log', async () => {
      const log = `${path}.jsonl`
      await train({ ...setup(), epochs: 1, log, evaluate: async () => ({ accuracy: 0.5 }) })
      const written = await lines(log)
      expect(written.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 7])
      expect(written[0]).toMatchObject({ epoch: 0, lr: 0, examples: 3 })
      expect(written[1].gradNorm).toBeGreaterThan(0)
      expect(written[6]).toMatchObject({ examples: 2 })
      expect(written[7]).toMatchObject({ step: 7, metrics: { accuracy: 0.5 } })
    })
  })

  describe('resume', () => {
    const evaluate = (model: nn.Module) => async () => ({ weight: (await weights(model))[0][5] })

    it.each([1, 6, 7, 11, 20])('after %i steps equals an unbroken run bit for bit', async (stop) => {
      const whole = setup()
      const unbroken = await train({
        ...whole,
        maxSteps: 24,
        log: `${path}.whole`,
        evaluate: evaluate(whole.model),
        evaluateEvery: 5,
        monitor: { metric: 'weight' },
      })
      const first = setup()
      const common = {
        evaluateEvery: 5,
        monitor: { metric: 'weight' },
        checkpoint: { path },
        log: `${path}.parts`,
      }
      const abort = new AbortController()
      let steps = 0
      const loss = (batch: Batch) => {
        if (++steps === stop) abort.abort()
        return first.loss(batch)
      }
      const broken = await train({
        ...first,
        loss,
        maxSteps: 24,
        ...common,
        evaluate: evaluate(first.model),
        signal: abort.signal,
      })
      expect(broken).toMatchObject({ step: stop, interrupted: true })
      const second = setup(99)
      const result = await train({
        ...second,
        maxSteps: 24,
        ...common,
        evaluate: evaluate(second.model),
        resume: true,
      })
      expect(await weights(second.model)).toEqual(await weights(whole.model))
      expect(result).toMatchObject({
        step: 24,
        interrupted: false,
        best: unbroken.best,
        metrics: unbroken.metrics,
      })
      const timeless = (all: Record<string, unknown>[]) =>
        all.filter((line) => !line.resumed).map(({ seconds: _, ...line }) => line)
      expect(timeless(await lines(`${path}.parts`))).toEqual(timeless(await lines(`${path}.whole`)))
    })

    it('of a finished run does nothing but tell its result', async () => {
      const run = setup()
      const options = { maxSteps: 5, checkpoint: { path, extra: { note: 'kept' } } }
      await train({ ...run, ...options, evaluate: async () => ({ a: 1 }) })
      const again = setup(8)
      const loss = () => {
        throw new Error('no step is left')
      }
      const result = await train({
        ...again,
        loss,
        ...options,
        resume: true,
        evaluate: async () => ({ a: 2 }),
      })
      expect(result).toMatchObject({ step: 5, metrics: { a: 1 }, interrupted: false })
      expect(await weights(again.model)).toEqual(await weights(run.model))
      expect((await readCheckpointInfo(path)).extra).toMatchObject({ note: 'kept' })
    })

    it('starts anew where there is no checkpoint yet, and refuses a named file that is missing or not its own', async () => {
      const result = await train({ ...setup(), maxSteps: 2, checkpoint: { path }, resume: true })
      expect(result.step).toBe(2)
      await expect(train({ ...setup(), maxSteps: 2, resume: `${path}.no` })).rejects.toThrow(ArgumentError)
      const other = setup()
      await saveCheckpoint(path, other)
      await expect(train({ ...other, maxSteps: 2, resume: path })).rejects.toThrow(FormatError)
    })
  })

  describe('a loss or gradient that is not finite', () => {
    const poison = (bad: number, make: (loss: ef.Tensor) => ef.Tensor) => {
      const run = setup()
      let step = 0
      const loss = (batch: Batch) => (++step === bad ? make(run.loss(batch)) : run.loss(batch))
      return { ...run, loss }
    }

    it.each([
      ['a NaN loss', (loss: ef.Tensor) => loss.mul(Number.NaN), /the loss of step 9 is NaN/],
      [
        'an infinite loss',
        (loss: ef.Tensor) => loss.mul(Number.POSITIVE_INFINITY),
        /the loss of step 9 is Infinity/,
      ],
      // sqrt has an infinite slope at 0.
      [
        'a gradient alone',
        (loss: ef.Tensor) => loss.sub(loss.detach()).sqrt(),
        /a gradient of step 9 is not finite/,
      ],
    ])(
      'stops training at %s, and leaves finite weights and the last good checkpoint',
      async (_, make, message) => {
        const run = poison(9, make)
        const failing = train({ ...run, maxSteps: 40, checkpoint: { path, every: 4 } })
        await expect(failing).rejects.toThrow(NonFiniteError)
        await expect(failing).rejects.toThrow(message)
        expect((await weights(run.model)).flat().every(Number.isFinite)).toBe(true)
        expect((await readCheckpointInfo(path)).step).toBe(8)
        const good = setup()
        await train({ ...good, maxSteps: 8 })
        const loaded = setup(77)
        await loadCheckpoint(path, loaded)
        expect(await weights(loaded.model)).toEqual(await weights(good.model))
      },
    )

    it('is noticed within 32 steps where nothing else waits for the device', async () => {
      const run = poison(5, (loss) => loss.mul(Number.NaN))
      let steps = 0
      const loss = (batch: Batch) => {
        steps++
        return run.loss(batch)
      }
      await expect(train({ ...run, loss, maxSteps: 400 })).rejects.toThrow(/step 5/)
      expect(steps).toBeLessThanOrEqual(37)
    })

    it('does not keep a later training from running', async () => {
      const run = poison(2, (loss) => loss.mul(Number.NaN))
      await expect(train({ ...run, maxSteps: 3 })).rejects.toThrow(NonFiniteError)
      expect(await train({ ...run, maxSteps: 3 })).toMatchObject({ step: 3 })
    })
  })
})

describe('on any device', () => {
  beforeAll(() => ef.init({ device: 'cpu' }))
  describe('an interruption', () => {
    it('by Ctrl-C saves and ends cleanly', async () => {
      const run = setup()
      let steps = 0
      const loss = (batch: Batch) => {
        if (++steps === 6) process.kill(process.pid, 'SIGINT')
        return run.loss(batch)
      }
      const before = process.listenerCount('SIGINT')
      const result = await train({ ...run, loss, epochs: 1e6, checkpoint: { path } })
      expect(result.interrupted).toBe(true)
      expect(result.step).toBeGreaterThanOrEqual(6)
      expect((await readCheckpointInfo(path)).step).toBe(result.step)
      expect(process.listenerCount('SIGINT')).toBe(before)
    })

    it('before the first step writes nothing over an older file', async () => {
      await train({ ...setup(), maxSteps: 4, checkpoint: { path } })
      const result = await train({
        ...setup(),
        maxSteps: 4,
        checkpoint: { path },
        signal: AbortSignal.abort(),
      })
      expect(result).toMatchObject({ step: 0, interrupted: true })
      expect((await readCheckpointInfo(path)).step).toBe(4)
    })
  })

  describe('the monitored metric', () => {
    const values = [0.2, 0.7, 0.4, Number.NaN, 0.6, 0.9]
    const evaluating = () => {
      let at = 0
      return async () => ({ score: values[at++] })
    }

    it('chooses the weights that are kept as the best', async () => {
      const run = setup()
      const best = `${path}.best`
      const result = await train({
        ...run,
        maxSteps: 5,
        evaluate: evaluating(),
        evaluateEvery: 1,
        monitor: { metric: 'score' },
        checkpoint: { path, best },
      })
      expect(result.best).toEqual({ step: 2, value: 0.7 })
      const atTwo = setup()
      await train({ ...atTwo, maxSteps: 2 })
      const loaded = setup(5)
      expect(await loadCheckpoint(best, { model: loaded.model })).toMatchObject({ step: 2 })
      expect(await weights(loaded.model)).toEqual(await weights(atTwo.model))
    })

    it('may be one to minimize, and may stop training when it gets no better', async () => {
      const options = { maxSteps: 6, evaluateEvery: 1, checkpoint: { path } }
      const monitor = { metric: 'score', patience: 3 }
      const highest = await train({ ...setup(), ...options, evaluate: evaluating(), monitor })
      expect(highest).toMatchObject({ step: 5, stoppedEarly: true, best: { step: 2, value: 0.7 } })
      const resumed = await train({ ...setup(), ...options, evaluate: evaluating(), monitor, resume: true })
      expect(resumed).toMatchObject({ step: 5, stoppedEarly: true, interrupted: false })
      const lowest = await train({
        ...setup(),
        ...options,
        evaluate: evaluating(),
        monitor: { ...monitor, mode: 'min' },
      })
      expect(lowest).toMatchObject({ step: 4, best: { step: 1, value: 0.2 } })
    })
  })

  describe('bad options', () => {
    it.each([
      ['neither epochs nor maxSteps', {}, /give epochs or maxSteps/],
      ['a count that is none', { epochs: 0 }, /epochs is 0; expected a positive integer/],
      ['resume without a file', { epochs: 1, resume: true }, /needs checkpoint.path/],
      ['best without monitor', { epochs: 1, checkpoint: { path: 'x', best: 'y' } }, /needs monitor/],
      ['monitor without evaluate', { epochs: 1, monitor: { metric: 'x' } }, /needs evaluate/],
      [
        'a metric that evaluate does not give',
        { epochs: 1, monitor: { metric: 'x' }, evaluate: async () => ({ a: 1, b: 2 }) },
        /metric is 'x'; evaluate returned a, b/,
      ],
    ])('%s: an ArgumentError', async (_, options, message) => {
      const failing = (async () => train({ ...setup(), ...options }))()
      await expect(failing).rejects.toThrow(ArgumentError)
      await expect(failing).rejects.toThrow(message)
    })

    it('a loss of many elements, a promise, or a loader without batches', async () => {
      const run = setup()
      await expect(train({ ...run, epochs: 1, loss: (b) => run.model.forward(b.ids) })).rejects.toThrow(
        ShapeError,
      )
      const late = (async () => ef.zeros([])) as unknown as () => ef.Tensor
      await expect(train({ ...run, epochs: 1, loss: late })).rejects.toThrow(
        /synchronously; it returned a promise/,
      )
      const empty = { length: 1, state: () => ({}), loadState: () => {}, async *[Symbol.asyncIterator]() {} }
      await expect(train({ ...run, loader: empty, epochs: 1 })).rejects.toThrow(/yields no batches/)
    })
  })
})
