// Trains the GRU classifier on the whole of SST-2 (or another folder of reviews) once per seed, chooses each
// checkpoint on a part of the training data, and measures on dev. See README.md for the command and its result.

import * as ef from 'evenfold'
import { data, io, models, nn, optim, text } from 'evenfold'
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  choiceOption,
  countOption,
  formatSeconds,
  formatShare,
  main,
  numberOption,
  readOptions,
  refuse,
} from '../common/cli'
import { chooseDevice } from '../common/device'
import { showProgress } from '../common/progress'
import { type Review, readReviews } from '../common/texts'
import { holdOutSentences } from './split'

const USAGE = `Trains a GRU classifier on SST-2 and measures it on dev.

  npm run example:sst2 -- --data FOLDER --seeds 0,1,2

  --data FOLDER        holds train and dev (or test), each .tsv, .csv or .jsonl; default: sst2 in $EVENFOLD_DATA
  --text-column N      column of the text, from 0, or a key of the JSON
  --seeds LIST         default 0,1,2
  --epochs N           default 2
  --steps N            stop after so many steps
  --validation N       sentences of the training data to choose the checkpoint on; default 600
  --embedding N        default 64
  --hidden N           default 64
  --batch-size N       default 64
  --lr X               default 0.003
  --dropout X          default 0.4
  --weight-decay X     default 0.01
  --device cpu|webgpu  default: a hardware GPU if there is one, else cpu
  --out FOLDER         for checkpoints and logs; default runs/sst2
  --resume             go on from the checkpoints in --out
  --help`

await main(async () => {
  const options = readOptions(USAGE, {
    data: { type: 'string' },
    'text-column': { type: 'string' },
    seeds: { type: 'string' },
    epochs: { type: 'string' },
    steps: { type: 'string' },
    validation: { type: 'string' },
    embedding: { type: 'string' },
    hidden: { type: 'string' },
    'batch-size': { type: 'string' },
    lr: { type: 'string' },
    dropout: { type: 'string' },
    'weight-decay': { type: 'string' },
    device: { type: 'string' },
    out: { type: 'string' },
    resume: { type: 'boolean' },
  })
  const seeds = (options.seeds ?? '0,1,2').split(',').map((seed) => countOption('seeds', seed, 0, 0))
  const epochs = countOption('epochs', options.epochs, 2)
  const maxSteps = countOption('steps', options.steps, Number.POSITIVE_INFINITY)
  const validation = countOption('validation', options.validation, 600)
  const embeddingSize = countOption('embedding', options.embedding, 64)
  const hiddenSize = countOption('hidden', options.hidden, 64)
  const batchSize = countOption('batch-size', options['batch-size'], 64)
  const lr = numberOption('lr', options.lr, 3e-3)
  const dropout = numberOption('dropout', options.dropout, 0.4)
  const weightDecay = numberOption('weight-decay', options['weight-decay'], 0.01)
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'])
  const root = process.env.EVENFOLD_DATA
  const folder = options.data ?? (root ? join(root, 'sst2') : undefined)
  if (folder === undefined) refuse('give --data FOLDER, or set EVENFOLD_DATA to the folder that holds sst2')

  await chooseDevice(device)
  const all = await readReviews(fileIn(folder, ['train']), options['text-column'])
  const devFile = fileIn(folder, ['dev', 'test'])
  const dev = await readReviews(devFile, options['text-column'])
  const results: { seed: number; evaluation: ef.Evaluation; seconds: number }[] = []
  for (const seed of seeds) {
    const result = await run(seed)
    if (!result) return
    results.push({ seed, ...result })
    console.log(
      `seed ${seed}: ${formatShare(result.evaluation.accuracy, result.evaluation.interval)}, ${formatSeconds(result.seconds)}`,
    )
  }
  const mean = results.reduce((sum, { evaluation }) => sum + evaluation.accuracy, 0) / results.length
  const seconds = results.reduce((sum, r) => sum + r.seconds, 0)
  // Every seed answers the same texts, so they are no more evidence than one pass over them.
  const interval = ef.wilson(mean * dev.length, dev.length)
  console.log(
    `mean of ${results.length}: ${formatShare(mean, interval)} on ${dev.length} texts of ${basename(devFile)}, ${formatSeconds(seconds)}`,
  )

  /** Trains with one seed and measures the checkpoint that was best on the held-out sentences. */
  async function run(seed: number) {
    ef.manualSeed(seed)
    const { train, heldOut } = holdOutSentences(all, validation, seed)
    const vocabulary = await text.Vocabulary.train(
      train.map((r) => r.text),
      { minFrequency: 2, tokenizer: 'whitespace' },
    )
    const encode = (r: Review) => ({ ids: vocabulary.encode(r.text), label: r.label })
    const loaderOf = (texts: readonly Review[]) =>
      new data.DataLoader(texts.map(encode), { batchSize: 100, bucketBatches: 100, maxLength: 100 })
    const loader = new data.DataLoader(train.map(encode), {
      batchSize,
      shuffle: true,
      seed,
      bucketBatches: 50,
      maxLength: 100,
    })
    const heldOutLoader = loaderOf(heldOut)

    const settings = { vocabularySize: vocabulary.size, embeddingSize, hiddenSize, dropout }
    const model = new models.GRUClassifier(settings)
    // Standard normal vectors, the default, would drown what training adds to those of rare words.
    nn.init.normal_(model.encoder.embedding.weight, 0, 0.1)
    const optimizer = new optim.AdamW(model.parameters(), { lr, weightDecay })
    const steps = Math.min(epochs * loader.length, maxSteps)
    const scheduler = optim.linearScheduleWithWarmup(optimizer, Math.ceil(steps / 20), steps)
    const logits = (batch: data.Batch) => model.forward(batch.ids, { lengths: batch.lengths })
    console.log(
      `seed ${seed}: ${train.length} texts to train on, ${heldOut.length} to choose the checkpoint, ${vocabulary.size} words, ${ef.defaultDevice()}`,
    )

    const path = join(options.out ?? 'runs/sst2', `seed-${seed}`, 'checkpoint.safetensors')
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
        checkpoint: { path, best, extra: { settings, vocabulary: vocabulary.toJSON() } },
        log: path.replace('checkpoint.safetensors', 'log.jsonl'),
        resume: options.resume ?? false,
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
})

function fileIn(folder: string, names: readonly string[]): string {
  const candidates = names.flatMap((name) =>
    ['tsv', 'csv', 'jsonl'].map((kind) => join(folder, `${name}.${kind}`)),
  )
  return (
    candidates.find((path) => existsSync(path)) ??
    refuse(`${folder} holds none of ${names.join(', ')} as .tsv, .csv or .jsonl`)
  )
}
