// Parts of the sequence-model study by themselves: the optimizer that never forgets, what a resumed run remembers of it,
// the frozen model, the table.
import * as ef from 'evenfold'
import { type data, io, models, nn } from 'evenfold'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildClassifier } from '../experiments/sequence-models/classifier'
import { AccumulatingAdamW } from '../experiments/sequence-models/optimizer'
import { ADAMW } from '../experiments/sequence-models/recipe'
import { type Evaluated, type Result, readResult } from '../experiments/sequence-models/results'
import { checkpointFile, type RunOptions, runExperiment } from '../experiments/sequence-models/run'
import { resultTable } from '../experiments/sequence-models/table'
import { fixedSubset } from '../experiments/sequence-models/texts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-study-parts-'))
  await ef.init({ device: 'cpu' })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Sequences of 2 to 6 ids whose first tells the label. */
const samples: data.Sample[] = Array.from({ length: 24 }, (_, i) => ({
  ids: [1 + (i % 2), ...Array.from({ length: 1 + (i % 5) }, (_, j) => 3 + ((i * j) % 4))],
  label: i % 2,
}))
const source: data.SampleSource = { length: samples.length, get: (i) => samples[i] }

function optionsOf(out: string, more: Partial<RunOptions> = {}): RunOptions {
  return {
    experiment: 1,
    train: source,
    validation: source,
    out: join(folder, out),
    settings: {},
    steps: 6,
    batchSize: 4,
    length: 6,
    lr: 0.01,
    seed: 0,
    evaluateEvery: 3,
    accumulateForever: false,
    vocabularySize: 8,
    width: 8,
    bertFolder: undefined,
    ...more,
  }
}

describe('AccumulatingAdamW', () => {
  it('adds each gradient to all before it', async () => {
    const weight = new nn.Parameter(ef.tensor([1, 2]))
    const optimizer = new AccumulatingAdamW([weight], { lr: 0, ...ADAMW })
    for (const expected of [3, 6, 9]) {
      optimizer.zeroGrad()
      weight.mul(3).sum().backward()
      optimizer.step()
      expect(await weight.grad?.tolist()).toEqual([expected, expected])
    }
  })

  it.each([false, true])('a run in two parts equals one in one, gradients and all: %j', async (forever) => {
    const more = { accumulateForever: forever }
    const whole = await runExperiment(optionsOf(`whole-${forever}`, more))
    await runExperiment(optionsOf(`parts-${forever}`, { ...more, steps: 3 }))
    const parts = await runExperiment(optionsOf(`parts-${forever}`, more))
    expect(parts?.losses).toEqual(whole?.losses)
    expect(parts?.losses).toHaveLength(6)
    const weights = await Promise.all(
      ['whole', 'parts'].map(async (name) => {
        const { tensors } = await io.loadTensors(checkpointFile(join(folder, `${name}-${forever}`), 1))
        return Promise.all(Object.entries(tensors).map(async ([key, t]) => [key, await t.tolist()]))
      }),
    )
    expect(weights[1]).toEqual(weights[0])
    expect(weights[0].some(([key]) => String(key).includes('gradients'))).toBe(forever)
  })
})

describe('the sixth experiment', () => {
  it('trains a linear layer on the weights it is given and leaves those as they are', async () => {
    const sizes = { vocab_size: 8, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2 }
    const json = { model_type: 'bert', ...sizes, intermediate_size: 8, max_position_embeddings: 6 }
    const bert = new models.BertModel(models.parseBertConfig(json))
    const weights = join(folder, 'bert')
    await mkdir(weights)
    await writeFile(join(weights, 'config.json'), JSON.stringify(json))
    await io.saveTensors(join(weights, 'model.safetensors'), bert.stateDict())
    const result = await runExperiment(optionsOf('frozen', { experiment: 6, bertFolder: weights }))
    expect(result?.parameters).toBe(bert.parameters().reduce((sum, p) => sum + p.size, 0))

    const { tensors: trained } = await io.loadTensors(checkpointFile(join(folder, 'frozen'), 6))
    for (const [key, before] of Object.entries(bert.stateDict()))
      expect(await trained[`model.body.${key}`].tolist()).toEqual(await before.tolist())
    const names = Object.keys(trained).filter((key) => key.startsWith('optimizer.'))
    expect(names).toHaveLength(4) // two moments of the classifier's weight and bias
  })

  it('has no dropout in the frozen part, in training either', async () => {
    const model = await buildClassifier(6, { vocabularySize: 8, width: 8 }, undefined)
    const ids = ef.tensor([[1, 3, 4]], { dtype: 'int32' })
    const input = { ids, mask: ef.ones([1, 3], { dtype: 'bool' }), lengths: Int32Array.of(3) }
    const [first, second] = [model.forward(input), model.forward(input)]
    expect(model.classifier.training).toBe(true)
    expect(await second.tolist()).toEqual(await first.tolist())
    expect(model.trainable().map((p) => p.shape)).toEqual([[2, 8], [2]])
  })
})

describe('the classifiers', () => {
  it.each([1, 2, 3, 4, 5, 6])('padding changes nothing: experiment %i', async (experiment) => {
    ef.manualSeed(1)
    const model = await buildClassifier(experiment, { vocabularySize: 8, width: 8 }, undefined)
    model.eval()
    const answer = async (rows: number[][]) => {
      const mask = ef.tensor(rows.map((row) => row.map((id) => id !== 0)))
      const lengths = Int32Array.from(rows, (row) => row.filter((id) => id !== 0).length)
      return (await model
        .forward({ ids: ef.tensor(rows, { dtype: 'int32' }), mask, lengths })
        .tolist()) as number[][]
    }
    const [short] = await answer([[1, 3, 4]])
    const [padded] = await answer([[1, 3, 4, 0, 0]])
    for (const [c, value] of padded.entries()) expect(value).toBeCloseTo(short[c], 5)
    // All tokens count, the last one too.
    const [other] = await answer([[1, 3, 5, 0, 0]])
    expect(other).not.toEqual(padded)
    model.release()
  })
})

it('the unseen subset is the same each time, and all of a smaller file', () => {
  const pick = () => {
    const subset = fixedSubset({ length: 24, get: (i) => ({ ids: [i], label: 0 }) }, 5)
    return Array.from({ length: subset.length }, (_, i) => (subset.get(i) as data.Sample).ids[0])
  }
  expect(pick()).toEqual(pick())
  expect(new Set(pick()).size).toBe(5)
  expect(fixedSubset(source, 24)).toBe(source)
})

describe('the table', () => {
  const evaluated = (step: number, accuracy: number, rest: Partial<Evaluated> = {}): Evaluated => ({
    step,
    trainLoss: 0.6,
    loss: 0.65,
    accuracy,
    interval: ef.wilson(accuracy * 1000, 1000),
    f1: 0.5,
    trainSeconds: step,
    seconds: 2,
    ...rest,
  })
  const result: Result = {
    experiment: 3,
    settings: {},
    parameters: 8_671_744,
    losses: [],
    evaluations: [
      evaluated(25, 0.6, { loss: 0.7, f1: 0.71 }),
      evaluated(50, 0.75, { trainLoss: 0.55, seconds: 1.5 }),
      evaluated(75, 0.7, { loss: 0.6 }),
    ],
    memory: { steady: 132 * 2 ** 20, peak: 192 * 2 ** 20 },
  }

  it('gives the best and the last of everything beside what was published', () => {
    const [, , best, last, publishedBest, publishedLast] = resultTable([result])
      .trimEnd()
      .split('\n')
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
    const name = '3 Transformer, pre-norm, 2 layers'
    expect(best).toEqual([
      name,
      'best (step 50)',
      '0.550',
      '0.600',
      '75.0 % (72.2 to 77.6 %)',
      '0.710',
      '50',
      '1.5',
      '132 / 192 MiB',
      '8,671,744',
    ])
    expect(last).toEqual([
      '',
      'last (step 75)',
      '0.600',
      '0.600',
      '70.0 % (67.1 to 72.8 %)',
      '0.500',
      '75',
      '2.0',
      '',
      '',
    ])
    expect(publishedBest).toEqual([
      '',
      'published, best',
      '0.421',
      '0.454',
      '78.7 %',
      '',
      '',
      '',
      '7.448 GiB of GPU',
      '8,671,744',
    ])
    expect(publishedLast).toEqual([
      '',
      'published, last',
      '',
      '',
      '78.4 %',
      '0.777',
      '2,502',
      '0.269',
      '',
      '',
    ])
  })

  it('a damaged result is not taken for one', async () => {
    const out = join(folder, 'damaged')
    await mkdir(join(out, 'experiment-3'), { recursive: true })
    for (const text of [
      '{"experiment":3,',
      '{"experiment":4,"evaluations":[1]}',
      '{"experiment":3,"evaluations":[]}',
    ]) {
      await writeFile(join(out, 'experiment-3', 'result.json'), text)
      await expect(readResult(out, 3)).rejects.toThrow(/is not a result of experiment 3; remove it/)
    }
    expect(await readResult(out, 2)).toBeNull()
  })
})
