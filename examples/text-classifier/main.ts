// Trains a bidirectional GRU with soft attention to tell good reviews from bad ones, saves it, loads it again and
// classifies a sentence. `npm start`, or `npm start -- --help`.

import * as ef from 'evenfold'
import { data, io, models, nn, optim, text } from 'evenfold'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  choiceOption,
  countOption,
  formatSeconds,
  formatShare,
  main,
  readOptions,
  refuse,
} from '../common/cli'
import { chooseDevice } from '../common/device'
import { showProgress } from '../common/progress'
import { CLASSES, readReviews } from '../common/texts'
import { printAttention } from './attention'
import { syntheticReviews } from './synthetic'

const USAGE = `Trains a text classifier: bidirectional GRU, soft attention.

  npm start                             on built-in synthetic reviews
  npm start -- --text "a fine film ."   classifies a text (trains first if nothing is saved)
  npm start -- --data FILE              on your own reviews

  --data FILE          .csv (Amazon Polarity: label 1 or 2, title, text), .tsv (SST-2) or .jsonl (text, label 0 or 1)
  --test-data FILE     to measure on; default: a tenth of the data, which is not trained on
  --text-column N      column of the text, from 0 (.csv: 2, .tsv: 1), or a key of the JSON (text)
  --epochs N           passes over the data; default 4
  --steps N            stop after so many steps
  --device cpu|webgpu  default: a hardware GPU if there is one, else cpu
  --seed N             default 0
  --out FOLDER         for checkpoint and log; default runs/text-classifier
  --resume             go on from the checkpoint of an interrupted training
  --help`

interface Settings {
  vocabularySize: number
  embeddingSize: number
  hiddenSize: number
}

await main(async () => {
  const options = readOptions(USAGE, {
    text: { type: 'string' },
    data: { type: 'string' },
    'test-data': { type: 'string' },
    'text-column': { type: 'string' },
    epochs: { type: 'string' },
    steps: { type: 'string' },
    device: { type: 'string' },
    seed: { type: 'string' },
    out: { type: 'string' },
    resume: { type: 'boolean' },
  })
  const seed = countOption('seed', options.seed, 0, 0)
  const epochs = countOption('epochs', options.epochs, 4)
  const maxSteps = countOption('steps', options.steps, undefined)
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'])
  const folder = options.out ?? 'runs/text-classifier'
  const path = join(folder, 'checkpoint.safetensors')

  await chooseDevice(device)
  if (options.text !== undefined && existsSync(path)) return classify(path, options.text)

  // Data: texts become sequences of word ids.
  ef.manualSeed(seed)
  const { train, test } = await reviews()
  const vocabulary = await text.Vocabulary.train(
    train.map((r) => r.text),
    { maxSize: 20_000 },
  )
  const encode = (r: { text: string; label: number }) => ({ ids: vocabulary.encode(r.text), label: r.label })
  const loader = new data.DataLoader(train.map(encode), {
    batchSize: 32,
    shuffle: true,
    seed,
    bucketBatches: 20,
    maxLength: 100,
  })
  const testLoader = new data.DataLoader(test.map(encode), {
    batchSize: 100,
    bucketBatches: 100,
    maxLength: 100,
  })

  // Model, optimizer, schedule.
  const settings: Settings = { vocabularySize: vocabulary.size, embeddingSize: 48, hiddenSize: 48 }
  const model = new models.GRUClassifier(settings)
  // Small starting vectors: a word means little until training says so.
  nn.init.normal_(model.encoder.embedding.weight, 0, 0.1)
  const optimizer = new optim.AdamW(model.parameters(), { lr: 4e-3 })
  const steps = Math.min(epochs * loader.length, maxSteps ?? Number.POSITIVE_INFINITY)
  const scheduler = optim.linearScheduleWithWarmup(optimizer, Math.ceil(steps / 20), steps)
  const logits = (batch: data.Batch) => model.forward(batch.ids, { lengths: batch.lengths })
  console.log(
    `${train.length} reviews to train on, ${test.length} to test, ${vocabulary.size} words, on ${ef.defaultDevice()}`,
  )

  const progress = showProgress('training')
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
        const { accuracy, interval } = await ef.evaluateClassifier({ model, loader: testLoader, logits })
        return { accuracy, low: interval[0], high: interval[1] }
      },
      checkpoint: { path, extra: { settings, vocabulary: vocabulary.toJSON() } },
      log: join(folder, 'log.jsonl'),
      resume: options.resume ?? false,
      onProgress: progress.update,
    })
    .finally(progress.stop)
  if (result.interrupted) {
    console.log(`stopped at step ${result.step}; saved to ${path}, go on with --resume`)
    return
  }

  const { accuracy, low, high } = result.metrics ?? {}
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
  const held = ef.memory()[ef.defaultDevice()].peakBytes
  console.log(`accuracy   ${formatShare(accuracy, [low, high])} on ${test.length} unseen reviews`)
  console.log(`time       ${formatSeconds(result.seconds)} for ${result.step} steps`)
  console.log(
    `memory     ${megabytes(held)} of tensors at most, ${megabytes(process.resourceUsage().maxRSS * 1024)} the whole process`,
  )
  console.log(`parameters ${model.parameters().reduce((sum, p) => sum + p.size, 0)}`)
  console.log(`saved to   ${path}`)
  await classify(
    path,
    options.text ?? 'the plot is not dull , but there is nothing clever about the ending .',
  )

  async function reviews() {
    if (options.data === undefined) return syntheticReviews({ train: 5000, test: 1000, seed })
    const all = await readReviews(options.data, options['text-column'])
    if (options['test-data'] !== undefined) {
      return { train: all, test: await readReviews(options['test-data'], options['text-column']) }
    }
    if (all.length < 20) refuse(`${options.data} has ${all.length} reviews; expected at least 20`)
    const split = data.holdOut(all.length, { fraction: 0.1, seed })
    return { train: [...split.train].map((i) => all[i]), test: [...split.heldOut].map((i) => all[i]) }
  }
})

/** Loads a checkpoint into a fresh model and prints what it makes of a text, and which words it looked at. */
async function classify(path: string, sentence: string): Promise<void> {
  const { extra } = await io.readCheckpointInfo(path)
  const { settings, vocabulary: words } = extra as { settings: Settings; vocabulary: text.VocabularyJSON }
  const vocabulary = text.Vocabulary.fromJSON(words)
  const model = new models.GRUClassifier(settings).eval()
  await io.loadCheckpoint(path, { model })

  const ids = ef.tensor(vocabulary.encode(sentence), { dtype: 'int32' }).unsqueeze(0)
  const [logits, attention] = ef.noGrad(() => model.forward(ids, { attention: true }))
  const [probabilities] = (await logits.softmax(-1).tolist()) as number[][]
  const best = probabilities[0] > probabilities[1] ? 0 : 1
  console.log(`\n"${sentence}"\n${CLASSES[best]}, probability ${probabilities[best].toFixed(3)}`)
  printAttention(vocabulary.tokenize(sentence), [...(await attention.data())], (word) => vocabulary.has(word))
}
