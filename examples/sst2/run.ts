// One seed: trains, chooses the checkpoint on sentences held out of the training data, and measures on dev.

import * as ef from 'evenfold'
import { data, io, nn, optim, text } from 'evenfold'
import { join } from 'node:path'
import { showProgress } from '../common/progress'
import type { Review } from '../common/texts'
import { buildClassifier, MAX_LENGTH, type ModelName, type Settings } from './classifiers'
import { holdOutSentences } from './split'

export interface RunOptions extends Omit<Settings, 'vocabularySize'> {
  model: ModelName
  seed: number
  epochs: number
  /** Steps to stop after, if that is earlier. */
  maxSteps: number
  /** Sentences to hold out. */
  validation: number
  batchSize: number
  lr: number
  weightDecay: number
  /** Folder of checkpoints and log. */
  out: string
  resume: boolean
}

/** Null if it was interrupted. */
export async function run(
  texts: readonly Review[],
  dev: readonly Review[],
  options: RunOptions,
): Promise<{ evaluation: ef.Evaluation; seconds: number } | null> {
  const { model: name, seed, epochs, maxSteps, validation, batchSize, lr, weightDecay, out, resume } = options
  ef.manualSeed(seed)
  const { train, heldOut } = holdOutSentences(texts, validation, seed)
  const vocabulary = await text.Vocabulary.train(
    train.map((r) => r.text),
    { minFrequency: 2, tokenizer: 'whitespace' },
  )
  const encode = (r: Review) => ({ ids: vocabulary.encode(r.text), label: r.label })
  const loaderOf = (reviews: readonly Review[]) =>
    new data.DataLoader(reviews.map(encode), { batchSize: 100, bucketBatches: 100, maxLength: MAX_LENGTH })
  const loader = new data.DataLoader(train.map(encode), {
    batchSize,
    shuffle: true,
    seed,
    bucketBatches: 50,
    maxLength: MAX_LENGTH,
  })
  const heldOutLoader = loaderOf(heldOut)

  const { embeddingSize, hiddenSize, numLayers, numHeads, dropout } = options
  const sizes = { embeddingSize, hiddenSize, numLayers, numHeads, dropout }
  const settings: Settings = { vocabularySize: vocabulary.size, ...sizes }
  const model = buildClassifier(name, settings)
  const optimizer = new optim.AdamW(model.parameters(), { lr, weightDecay })
  const steps = Math.min(epochs * loader.length, maxSteps)
  const scheduler = optim.linearScheduleWithWarmup(optimizer, Math.ceil(steps / 20), steps)
  const logits = (batch: data.Batch) => model.forward(batch.ids, { lengths: batch.lengths })
  const parameters = model.parameters().reduce((n, p) => n + p.size, 0)
  console.log(
    `seed ${seed}: ${train.length} texts to train on, ${heldOut.length} to choose the checkpoint, ` +
      `${vocabulary.size} words, ${parameters} parameters, ${ef.defaultDevice()}`,
  )

  const path = join(out, `seed-${seed}`, 'checkpoint.safetensors')
  const best = path.replace('checkpoint', 'best')
  const progress = showProgress(`seed ${seed}`)
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
        const { accuracy, loss } = await ef.evaluateClassifier({ model, loader: heldOutLoader, logits })
        return { accuracy, loss }
      },
      evaluateEvery: Math.ceil(loader.length / 3),
      monitor: { metric: 'accuracy' },
      checkpoint: { path, best, extra: { model: name, settings, vocabulary: vocabulary.toJSON() } },
      log: path.replace('checkpoint.safetensors', 'log.jsonl'),
      resume,
      onProgress: progress.update,
    })
    .finally(progress.stop)
  if (result.interrupted) {
    console.log(`stopped at step ${result.step}; saved to ${path}, go on with --resume`)
    return null
  }
  await io.loadCheckpoint(best, { model })
  const evaluation = await ef.evaluateClassifier({ model, loader: loaderOf(dev), logits })
  console.log(
    `seed ${seed}: the best of ${result.step} steps was ${result.best?.step}, ${result.best?.value.toFixed(3)} on held-out sentences`,
  )
  return { evaluation, seconds: result.seconds }
}
