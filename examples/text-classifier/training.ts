// One training of one classifier, from the first step or from where an interrupted one was saved.

import * as ef from 'evenfold'
import { data, nn, optim, type text } from 'evenfold'
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { showProgress } from '../common/progress'
import type { Review } from '../common/texts'
import { checkpointOf, CLASSIFIERS, type ClassifierName, MAX_LENGTH, type Trained } from './classifiers'

export interface Recipe {
  train: readonly Review[]
  test: readonly Review[]
  vocabulary: text.Vocabulary
  epochs: number
  /** Stop after so many steps. */
  maxSteps: number
  seed: number
  folder: string
  resume: boolean
}

type Curve = [step: number, value: number][]

/** A training that came to its end. */
export interface Finished extends Trained {
  steps: number
  /** On the test reviews, which nothing was chosen by. */
  accuracy: number
  interval: [low: number, high: number]
  /** Of the positive class. */
  f1: number
  parameters: number
  /** Training and evaluation. */
  seconds: number
  /** The most that tensors took at a time. */
  peakBytes: number
  curves: { loss: Curve; testLoss: Curve; testAccuracy: Curve }
}

/** Trains, with progress on the screen; null after Ctrl-C, when all is saved and `resume` goes on. */
export async function trainClassifier(name: ClassifierName, recipe: Recipe): Promise<Finished | null> {
  const { train, test, vocabulary, epochs, maxSteps, seed, folder } = recipe
  // Each classifier starts from the seed, so that it comes out the same whether or not the other is trained.
  ef.manualSeed(seed)
  ef.resetPeakMemory()
  const { title, lr, create } = CLASSIFIERS[name]
  const encode = (r: Review) => ({ ids: vocabulary.encode(r.text), label: r.label })
  const shape = { maxLength: MAX_LENGTH, bucketBatches: 20 }
  const loader = new data.DataLoader(train.map(encode), { batchSize: 32, shuffle: true, seed, ...shape })
  const testLoader = new data.DataLoader(test.map(encode), { batchSize: 100, ...shape })

  const model = create(vocabulary.size)
  const optimizer = new optim.AdamW(model.parameters(), { lr })
  const steps = Math.min(epochs * loader.length, maxSteps)
  const scheduler = optim.linearScheduleWithWarmup(optimizer, Math.ceil(steps / 20), steps)
  const logits = (batch: data.Batch) => model.forward(batch.ids, { lengths: batch.lengths })

  const path = checkpointOf(folder, name)
  const log = join(folder, name, 'log.jsonl')
  const resume = recipe.resume && existsSync(path)
  if (!resume) await rm(log, { force: true })
  const progress = showProgress(title)
  const result = await ef
    .train({
      model,
      optimizer,
      scheduler,
      loader,
      loss: (batch) => nn.functional.crossEntropy(logits(batch), batch.labels),
      maxSteps: steps,
      clipNorm: 1,
      evaluate: async () => {
        const { accuracy, interval, loss, f1 } = await ef.evaluateClassifier({
          model,
          loader: testLoader,
          logits,
        })
        const { peakBytes } = ef.memory()[ef.defaultDevice()]
        return { accuracy, low: interval[0], high: interval[1], f1: f1[1], loss, peakBytes }
      },
      evaluateEvery: Math.ceil(loader.length / 2),
      checkpoint: { path, extra: { vocabulary: vocabulary.toJSON() } },
      log,
      resume,
      onProgress: progress.update,
    })
    .finally(progress.stop)
  if (result.interrupted) {
    console.log(`${title}: stopped at step ${result.step}; saved to ${path}, go on with --resume`)
    return null
  }
  const { accuracy, low, high, f1, peakBytes } = result.metrics ?? {}
  return {
    name,
    model,
    vocabulary,
    steps: result.step,
    accuracy,
    interval: [low, high],
    f1,
    parameters: model.parameters().reduce((sum, p) => sum + p.size, 0),
    seconds: result.seconds,
    peakBytes,
    curves: await readCurves(log),
  }
}

/**
 * From the log rather than from memory, so that a resumed training has all of its curves. Of a step written twice the last
 * counts.
 */
async function readCurves(log: string): Promise<Finished['curves']> {
  const loss = new Map<number, number>()
  const testLoss = new Map<number, number>()
  const testAccuracy = new Map<number, number>()
  for (const { step, ...event } of (await readFile(log, 'utf8')).split('\n').flatMap(parseEvent)) {
    if (event.loss !== undefined) loss.set(step, event.loss)
    if (event.metrics) testLoss.set(step, event.metrics.loss)
    if (event.metrics) testAccuracy.set(step, event.metrics.accuracy)
  }
  return { loss: runningMean([...loss]), testLoss: [...testLoss], testAccuracy: [...testAccuracy] }
}

interface LogEvent {
  step: number
  loss?: number
  metrics?: { loss: number; accuracy: number }
}

/** None for a line that a killed training left unfinished. */
function parseEvent(line: string): LogEvent[] {
  try {
    return [JSON.parse(line) as LogEvent]
  } catch {
    return []
  }
}

/** Means with a weight that halves every 14 steps, at most 200 of them: what a batch's own loss is hidden in. */
function runningMean(points: Curve): Curve {
  const memory = 0.95
  let sum = 0
  let weight = 0
  const means = points.map(([step, value]): Curve[number] => {
    sum = memory * sum + (1 - memory) * value
    weight = memory * weight + (1 - memory)
    return [step, sum / weight]
  })
  const every = Math.ceil(means.length / 200)
  return means.filter((_, i) => i % every === 0 || i === means.length - 1)
}
