// What `train` does beyond the plain loop: accumulated gradients, averaged weights, callbacks, a rate that follows a
// metric, event files.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Batch, DataLoader } from '../src/data'
import { ArgumentError } from '../src/errors'
import { loadCheckpoint } from '../src/io'
import * as nn from '../src/nn'
import * as optim from '../src/optim'
import { type EvaluationEvent, type StepEvent, TensorBoard, train } from '../src/train'
import { maskedCrc } from '../src/train/tensorboard'

const samples = Array.from({ length: 20 }, (_, i) => ({
  ids: [3 + (i % 4), 1 + (i % 2), 3 + (i % 3)],
  label: i % 2,
}))

class Net extends nn.Module {
  embedding = new nn.Embedding(7, 4)
  dropout: nn.Dropout
  linear = new nn.Linear(4, 2)
  constructor(p: number) {
    super()
    this.dropout = new nn.Dropout(p)
  }
  forward(ids: ef.Tensor): ef.Tensor {
    return this.linear.forward(this.dropout.forward(this.embedding.forward(ids)).mean(1))
  }
}

function setup({ batchSize = 3, dropout = 0, seed = 3 } = {}) {
  ef.manualSeed(seed)
  const model = new Net(dropout)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.5 })
  const loader = new DataLoader(samples, { batchSize, shuffle: true, seed: 4 })
  const loss = (batch: Batch) => nn.functional.crossEntropy(model.forward(batch.ids), batch.labels)
  return { model, optimizer, loader, loss }
}

async function weights(model: nn.Module): Promise<number[]> {
  return (await Promise.all(model.parameters().map(async (p) => [...(await p.data())]))).flat()
}

let folder: string
let path: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-callbacks-'))
})
beforeEach(({ task }) => {
  path = join(folder, task.id)
})
afterAll(async () => {
  ef.shutdown()
  await rm(folder, { recursive: true })
})

describe.each(['cpu', 'webgpu'] as const)('accumulated gradients and averaged weights, on %s', (device) => {
  beforeAll(() => ef.init({ device }))

  it('of n batches is one step with a batch n times as large, the shorter last one too', async () => {
    const steps: [StepEvent[], StepEvent[]] = [[], []]
    const big = setup({ batchSize: 6 })
    await train({ ...big, clipNorm: 0.3, epochs: 3, callbacks: [{ onStep: (s) => void steps[0].push(s) }] })
    const small = setup({ batchSize: 2 })
    const callbacks = [{ onStep: (s: StepEvent) => void steps[1].push(s) }]
    const result = await train({ ...small, clipNorm: 0.3, accumulate: 3, epochs: 3, callbacks })
    expect(result.step).toBe(12) // 20 examples: 6, 6, 6 and 2
    expect(steps[1].map((s) => [s.step, s.epoch, s.examples])).toEqual(
      steps[0].map((s) => [s.step, s.epoch, s.examples]),
    )
    steps[1].forEach((s, i) => {
      expect(s.loss).toBeCloseTo(steps[0][i].loss, 4)
      expect(s.gradNorm).toBeCloseTo(steps[0][i].gradNorm!, 4)
    })
    const expected = await weights(big.model)
    ;(await weights(small.model)).forEach((w, i) => {
      expect(w).toBeCloseTo(expected[i], 4)
    })
  })

  it('weights batches by their examples: 4, 4 and 2 of a pass are the mean of 10', async () => {
    const ten = samples.slice(0, 10)
    const whole = { ...setup(), loader: new DataLoader(ten, { batchSize: 10 }) }
    await train({ ...whole, epochs: 2 })
    const parts = { ...setup(), loader: new DataLoader(ten, { batchSize: 4 }) }
    expect((await train({ ...parts, accumulate: 8, epochs: 2 })).step).toBe(2)
    const expected = await weights(whole.model)
    ;(await weights(parts.model)).forEach((w, i) => {
      expect(w).toBeCloseTo(expected[i], 5)
    })
  })

  it.each([2, 3, 4, 7])('resumes bit for bit after an interruption in step %i', async (stop) => {
    const options = { accumulate: 3, maxSteps: 10 } // 7 batches an epoch: 3, 3 and 1
    const whole = setup({ dropout: 0.3 })
    await train({ ...whole, ...options })
    const first = setup({ dropout: 0.3 })
    const abort = new AbortController()
    let batches = 0
    const loss = (batch: Batch) => {
      // In the middle of a step, which is finished.
      if (++batches === Math.floor((stop - 1) / 3) * 7 + ((stop - 1) % 3) * 3 + 1) abort.abort()
      return first.loss(batch)
    }
    const checkpoint = { path }
    const broken = await train({ ...first, loss, ...options, checkpoint, signal: abort.signal })
    expect(broken).toMatchObject({ step: stop, interrupted: true })
    const second = setup({ dropout: 0.3, seed: 9 })
    await train({ ...second, ...options, checkpoint, resume: true })
    expect(await weights(second.model)).toEqual(await weights(whole.model))
  })

  it('an average of the weights is what evaluations and the best file have; it resumes bit for bit', async () => {
    const plan = (seed?: number) => {
      const run = setup({ dropout: 0.3, seed })
      const ema = new optim.EMA(run.model.parameters(), { decay: 0.8 })
      const seen: number[][] = []
      const evaluate = async () => ({ score: seen.push(await weights(run.model)) })
      return { ...run, ema, seen, evaluate, evaluateEvery: 4, monitor: { metric: 'score' } }
    }
    const whole = plan()
    const best = `${path}.best`
    await train({ ...whole, maxSteps: 8, checkpoint: { path: `${path}.whole`, best } })
    const averaged = await whole.ema.use(() => weights(whole.model))
    expect(whole.seen[1]).toEqual(averaged)
    expect(await weights(whole.model)).not.toEqual(averaged)
    const loaded = setup({ seed: 5 })
    await loadCheckpoint(best, { model: loaded.model })
    expect(await weights(loaded.model)).toEqual(averaged)

    await train({ ...plan(), maxSteps: 5, checkpoint: { path } })
    const second = plan(9)
    await train({ ...second, maxSteps: 8, checkpoint: { path }, resume: true })
    expect(await weights(second.model)).toEqual(await weights(whole.model))
    expect(second.seen.at(-1)).toEqual(averaged)
  })

  it('holds no memory from step to step', async () => {
    const run = setup()
    const live: number[] = []
    const loss = (batch: Batch) => {
      live.push(ef.memory()[device].tensors)
      return run.loss(batch)
    }
    await train({ ...run, loss, accumulate: 2, epochs: 40 })
    // Two windows of unread losses come and go as the clock has it; a tensor kept per step would be 100 more.
    const [early, late] = [live.slice(40, 80), live.slice(-32)].map((all) => Math.max(...all))
    expect(late - early).toBeLessThanOrEqual(34)
  })
})

describe('on the cpu', () => {
  beforeAll(() => ef.init({ device: 'cpu' }))

  it('callbacks hear of every step in order, of evaluations with the best marked, and of the end', async () => {
    const steps: StepEvent[] = []
    const evaluations: EvaluationEvent[] = []
    const heard: string[] = []
    const values = [0.2, 0.7, 0.4]
    const result = await train({
      ...setup(),
      maxSteps: 9,
      evaluate: async () => ({ score: values[evaluations.length] }),
      evaluateEvery: 3,
      monitor: { metric: 'score' },
      callbacks: [
        {
          onStep: async (event) => {
            await Promise.resolve()
            steps.push(event)
            heard.push(`step ${event.step}`)
          },
          onEvaluate: (event) => {
            evaluations.push(event)
            heard.push(`evaluation ${event.step}`)
          },
        },
        { onEnd: ({ step }) => void heard.push(`end ${step}`) },
      ],
    })
    expect(heard).toEqual([
      ...[1, 2, 3].map((i) => `step ${i}`),
      'evaluation 3',
      ...[4, 5, 6].map((i) => `step ${i}`),
      'evaluation 6',
      ...[7, 8, 9].map((i) => `step ${i}`),
      'evaluation 9',
      'end 9',
    ])
    expect(steps[0]).toMatchObject({ step: 1, epoch: 0, lr: 0.5, gradNorm: null, examples: 3 })
    expect(steps[8].epoch).toBe(1)
    expect(evaluations.map((e) => [e.metrics.score, e.isBest])).toEqual([
      [0.2, true],
      [0.7, true],
      [0.4, false],
    ])
    expect(evaluations[2].seconds).toBeLessThanOrEqual(result.seconds)
  })

  it('an error of a callback ends training, and nothing is told to be over', async () => {
    const heard: string[] = []
    const callbacks = [
      {
        onEvaluate: () => Promise.reject(new Error('no disk')),
        onEnd: () => void heard.push('end'),
      },
    ]
    const failing = train({ ...setup(), epochs: 1, evaluate: async () => ({ a: 1 }), callbacks })
    await expect(failing).rejects.toThrow('no disk')
    expect(heard).toEqual([])
  })

  describe('a metric scheduler', () => {
    const plan = (values: number[]) => {
      const run = setup()
      const metricScheduler = new optim.ReduceLROnPlateau(run.optimizer, { patience: 1, factor: 0.5 })
      let at = 0
      const evaluate = async () => ({ loss: values[at++] })
      const monitor = { metric: 'loss', mode: 'min' as const }
      return { ...run, metricScheduler, evaluate, evaluateEvery: 1, monitor }
    }
    const values = [3, 2, 2, 2, 2, 2, 1, 1]

    it('lowers the rate where the monitored metric stalls, also across a resume', async () => {
      const lrs: number[] = []
      const callbacks = [{ onStep: ({ lr }: StepEvent) => void lrs.push(lr) }]
      const expected = [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
      await train({ ...plan(values), maxSteps: 8, callbacks })
      expect(lrs).toEqual(expected)
      lrs.length = 0
      const checkpoint = { path }
      await train({ ...plan(values), maxSteps: 3, callbacks, checkpoint })
      await train({ ...plan(values.slice(3)), maxSteps: 8, callbacks, checkpoint, resume: true })
      expect(lrs).toEqual(expected)
    })

    it('needs a metric, and the rate for itself', async () => {
      const { monitor: _, ...blind } = plan(values)
      expect(() => train({ ...blind, maxSteps: 2 })).toThrow(/metricScheduler needs monitor/)
      const run = plan(values)
      const scheduler = optim.stepLR(run.optimizer, 2)
      expect(() => train({ ...run, scheduler, maxSteps: 2 })).toThrow(/give one of them/)
    })
  })

  it('accumulate is a positive integer', () => {
    expect(() => train({ ...setup(), epochs: 1, accumulate: 0 })).toThrow(ArgumentError)
  })
})

describe('TensorBoard', () => {
  beforeAll(() => ef.init({ device: 'cpu' }))

  it('masks the CRC-32C of RFC 3720, section B.4', () => {
    const unmask = (m: number): number => {
      const rotated = (m - 0xa282ead8) >>> 0
      return ((rotated >>> 17) | (rotated << 15)) >>> 0
    }
    expect(unmask(maskedCrc(new Uint8Array(32)))).toBe(0x8a9136aa)
    expect(unmask(maskedCrc(new Uint8Array(32).fill(255)))).toBe(0x62a8ab43)
    expect(unmask(maskedCrc(Uint8Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e)
  })

  /** The records of a file, checksums verified, as trees of protobuf fields. */
  function records(file: Uint8Array): Map<number, (number | Uint8Array)[]>[] {
    const found: Map<number, (number | Uint8Array)[]>[] = []
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
    for (let at = 0; at < file.length; ) {
      const length = Number(view.getBigUint64(at, true))
      expect(view.getUint32(at + 8, true)).toBe(maskedCrc(file.slice(at, at + 8)))
      const data = file.slice(at + 12, at + 12 + length)
      expect(view.getUint32(at + 12 + length, true)).toBe(maskedCrc(data))
      found.push(fields(data))
      at += 16 + length
    }
    return found
  }

  function fields(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
    const found = new Map<number, (number | Uint8Array)[]>()
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    const varint = (): number => {
      let value = 0
      for (let scale = 1; ; scale *= 128) {
        const byte = bytes[at++]
        value += (byte & 127) * scale
        if (byte < 128) return value
      }
    }
    while (at < bytes.length) {
      const key = varint()
      const wire = key & 7
      let value: number | Uint8Array
      if (wire === 0) value = varint()
      else if (wire === 1) {
        value = view.getFloat64(at, true)
        at += 8
      } else if (wire === 5) {
        value = view.getFloat32(at, true)
        at += 4
      } else {
        const length = varint()
        value = bytes.slice(at, at + length)
        at += length
      }
      found.set(key >>> 3, [...(found.get(key >>> 3) ?? []), value])
    }
    return found
  }

  const scalars = (file: Uint8Array): [tag: string, step: number, value: number][] =>
    records(file).flatMap((record) =>
      (record.get(5) ?? []).map((summary): [string, number, number] => {
        const value = fields(fields(summary as Uint8Array).get(1)![0] as Uint8Array)
        const tag = new TextDecoder().decode(value.get(1)![0] as Uint8Array)
        return [tag, record.get(2)![0] as number, value.get(2)![0] as number]
      }),
    )

  it('writes records that a parser reads back: the version, a start, the scalars', async () => {
    const board = new TensorBoard(path)
    board.addScalar('längs/ü', 0.5, 300, 1234.5)
    await board.flush()
    board.addScalar('b', Number.POSITIVE_INFINITY, 2 ** 40)
    board.addScalar('b', Number.NaN, 2 ** 40 + 1)
    await Promise.all([board.flush(), board.flush()])
    expect(await readdir(path)).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\.evenfold\./)])
    const file = new Uint8Array(await readFile(board.path))
    const [version, start, first] = records(file)
    expect(new TextDecoder().decode(version.get(3)![0] as Uint8Array)).toBe('brain.Event:2')
    expect(start.get(2)).toEqual([300])
    expect(fields(start.get(7)![0] as Uint8Array).get(1)).toEqual([1])
    expect(first.get(1)).toEqual([1234.5])
    expect(scalars(file)).toEqual([
      ['längs/ü', 300, 0.5],
      ['b', 2 ** 40, Number.POSITIVE_INFINITY],
      ['b', 2 ** 40 + 1, Number.NaN],
    ])
    expect(() => board.addScalar('c', 1, -1)).toThrow(ArgumentError)
  })

  it('as a callback has losses, rates, norms and evaluations', async () => {
    const board = new TensorBoard(path)
    const evaluate = async () => ({ accuracy: 0.75 })
    await train({ ...setup(), maxSteps: 2, clipNorm: 1, evaluate, callbacks: [board] })
    const found = scalars(new Uint8Array(await readFile(board.path)))
    expect(found.map(([tag, step]) => `${tag} ${step}`)).toEqual([
      ...[1, 2].flatMap((s) => [`train/loss ${s}`, `train/lr ${s}`, `train/gradNorm ${s}`]),
      'eval/accuracy 2',
    ])
    expect(found.at(-1)![2]).toBe(0.75)
    expect(found[1][2]).toBe(0.5)
  })
})
