// Trains two small classifiers to tell good reviews from bad ones, a bidirectional GRU with soft attention and a
// Transformer, saves them, classifies a sentence with each and writes a report. `npm start`, or `npm start -- --help`.

import * as ef from 'evenfold'
import { data, text } from 'evenfold'
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
import { readReviews } from '../common/texts'
import { print } from './attention'
import { CLASSIFIER_NAMES, CLASSIFIERS, load } from './classifiers'
import { syntheticReviews } from './synthetic'
import { type Finished, trainClassifier } from './training'

const USAGE = `Trains text classifiers: a bidirectional GRU with soft attention, and a small Transformer.

  npm start                             on built-in synthetic reviews
  npm start -- --text "a fine film ."   classifies a text (trains first if nothing is saved)
  npm start -- --data FILE              on your own reviews

  --model NAME         gru, transformer or both (default)
  --data FILE          .csv (Amazon Polarity: label 1 or 2, title, text), .tsv (SST-2) or .jsonl (text, label 0 or 1)
  --test-data FILE     to measure on; default: a tenth of the data, which is not trained on
  --text-column N      column of the text, from 0 (.csv: 2, .tsv: 1), or a key of the JSON (text)
  --epochs N           passes over the data; default 4
  --steps N            stop after so many steps
  --device cpu|webgpu  default: a hardware GPU if there is one, else cpu
  --seed N             default 0
  --out FOLDER         for checkpoints, logs and the report; default runs/text-classifier
  --resume             go on from the checkpoints of an interrupted training
  --help`

await main(async () => {
  const options = readOptions(USAGE, {
    model: { type: 'string' },
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
  const model = choiceOption('model', options.model, [...CLASSIFIER_NAMES, 'both']) ?? 'both'
  const names = model === 'both' ? CLASSIFIER_NAMES : [model]
  const seed = countOption('seed', options.seed, 0, 0)
  const epochs = countOption('epochs', options.epochs, 4)
  const maxSteps = countOption('steps', options.steps, Number.POSITIVE_INFINITY)
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'])
  const folder = options.out ?? 'runs/text-classifier'

  await chooseDevice(device)
  if (options.text !== undefined) {
    const saved = await Promise.all(names.map((name) => load(folder, name)))
    const found = saved.filter((classifier) => classifier !== null)
    for (const classifier of found) await print(classifier, options.text)
    if (found.length > 0) return
  }

  // Texts become sequences of word ids; what the test reviews say is not looked at.
  const { train, test } = await reviews()
  const vocabulary = await text.Vocabulary.train(
    train.map((r) => r.text),
    { maxSize: 20_000 },
  )
  console.log(
    `${train.length} reviews to train on, ${test.length} to test, ${vocabulary.size} words, on ${ef.defaultDevice()}`,
  )

  const recipe = { train, test, vocabulary, epochs, maxSteps, seed, folder, resume: options.resume ?? false }
  const runs: Finished[] = []
  for (const name of names) {
    const run = await trainClassifier(name, recipe)
    if (!run) return
    runs.push(run)
  }

  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
  for (const run of runs) {
    console.log(`\n${CLASSIFIERS[run.name].title}`)
    console.log(`  accuracy   ${formatShare(run.accuracy, run.interval)} on ${test.length} unseen reviews`)
    console.log(`  time       ${formatSeconds(run.seconds)} for ${run.steps} steps`)
    console.log(`  memory     ${mebibytes(run.peakBytes)} of tensors at most`)
    console.log(`  parameters ${run.parameters}`)
  }
  const wholeProcess = mebibytes(process.resourceUsage().maxRSS * 1024)
  const facts = {
    'training reviews': train.length,
    'unseen reviews': test.length,
    words: vocabulary.size,
    epochs,
    seed,
    device: ef.defaultDevice(),
    'memory of the process': wholeProcess,
    Node: process.version,
  }
  // Loaded when it is needed: the library that draws the charts is larger than all else here.
  const { reportTrainings } = await import('./report')
  const path = join(folder, 'report.html')
  await reportTrainings(path, runs, test, facts)
  console.log(`\n${wholeProcess} of memory for the whole process; checkpoints in ${folder}`)
  console.log(`Curves, and test reviews coloured by attention: ${path}`)

  const sentence = options.text ?? 'the plot is not dull , but there is nothing clever about the ending .'
  console.log(`\n"${sentence}"`)
  for (const name of names) {
    const saved = await load(folder, name)
    if (saved) await print(saved, sentence)
  }

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
