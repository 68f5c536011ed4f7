// The published sequence-model study, again: six classifiers of reviews, trained by one recipe. See README.md for the
// commands and what they measured.

import * as ef from 'evenfold'
import { models, text } from 'evenfold'
import { markdownTable } from 'evenfold/report'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
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
} from '../../examples/common/cli'
import { chooseDevice } from '../../examples/common/device'
import { countParameters } from './classifier'
import { EXPERIMENTS, HEADS } from './recipe'
import { checkSettings, readResult, readResults, type Settings } from './results'
import { checkpointFile, type RunOptions, runExperiment } from './run'
import { bestOf } from './table'
import { dataFile, fixedSubset, readTokenizer, tokenized } from './texts'
import { writeReport } from './report'

const USAGE = `Trains the six models of a published sequence-model study on reviews.

  npm run experiment -- sequence-models --data FOLDER

  --experiments LIST   which of the six; default 1,2,3,4,5,6
  --data FOLDER        holds train and test, each .csv (Amazon Polarity: no header; label 1 or 2, title, content) or
                       .parquet (label 0 or 1, title, content); default: amazon_reviews in $EVENFOLD_DATA
  --train FILE         another file of the folder, e.g. train_short100.csv
  --test FILE          the same for the unseen texts
  --text-column C      title or content, or a number from 0 (CSV), or a name (Parquet); default content
  --tokenizer FILE     a tokenizer.json; default: that of bert_vocab in $EVENFOLD_DATA
  --bert FOLDER        weights for experiment 6 in Hugging Face's layout; default: random ones of BERT-tiny's sizes
  --steps N            default 300
  --batch N            default 32
  --length N           tokens of a text, [CLS] and [SEP] included; default 64
  --lr X               default 0.001 for GRU, 0.0003 for Transformers, 0.01 for the probe on BERT
  --evaluate-every N   steps; default 25
  --validation N       unseen texts to evaluate on, the same ones each time; default 1000
  --accumulate-forever the original's defect: gradients are never set to zero
  --width N            of embeddings and layers, for quick trials; default 256, the study's
  --seed N             default 0
  --device cpu|webgpu  default: a hardware GPU if there is one, else cpu
  --out FOLDER         for checkpoints, results, table and figures; default runs/sequence-models
  --resume             go on from what --out holds; finished experiments are skipped
  --report             only make table and figures again from what --out holds
  --counts             only count the models' parameters; with --json one line of JSON each
  --help`

await main(async () => {
  const options = readOptions(USAGE, {
    experiments: { type: 'string' },
    data: { type: 'string' },
    train: { type: 'string' },
    test: { type: 'string' },
    'text-column': { type: 'string' },
    tokenizer: { type: 'string' },
    bert: { type: 'string' },
    steps: { type: 'string' },
    batch: { type: 'string' },
    length: { type: 'string' },
    lr: { type: 'string' },
    'evaluate-every': { type: 'string' },
    validation: { type: 'string' },
    'accumulate-forever': { type: 'boolean', default: false },
    width: { type: 'string' },
    seed: { type: 'string' },
    device: { type: 'string' },
    out: { type: 'string' },
    resume: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  })
  const chosen = chosenExperiments(options.experiments)
  if (options.counts) return printCounts(chosen, options.json)
  if (options.json) refuse('--json needs --counts')
  const out = options.out ?? join('runs', 'sequence-models')
  if (options.report) return report()

  const steps = countOption('steps', options.steps, 300)
  const batchSize = countOption('batch', options.batch, 32)
  const length = countOption('length', options.length, 64, 3)
  const lr = numberOption('lr', options.lr, undefined)
  const evaluateEvery = countOption('evaluate-every', options['evaluate-every'], 25)
  const validationSize = countOption('validation', options.validation, 1000)
  const width = countOption('width', options.width, 256)
  const seed = countOption('seed', options.seed, 0, 0)
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'])
  const { bert, train, test, 'text-column': column, 'accumulate-forever': accumulateForever } = options
  if (width % HEADS !== 0) refuse(`--width is ${width}; expected a multiple of ${HEADS}, the heads`)

  const trainFile = dataFile(inData(options.data, 'amazon_reviews'), 'train', train)
  const testFile = dataFile(inData(options.data, 'amazon_reviews'), 'test', test)
  const tokenizer = await readTokenizer(
    options.tokenizer ?? inData(undefined, 'bert_vocab', 'tokenizer.json'),
  )
  await checkSequences()
  await chooseDevice(device)
  const source = { column, length, tokenizer }
  const trainTexts = await tokenized({ path: trainFile, ...source }, join(out, 'tokens'))
  const testTexts = await tokenized({ path: testFile, ...source }, join(out, 'tokens'))
  const validation = fixedSubset(testTexts, validationSize)
  if (batchSize > trainTexts.length)
    refuse(`--batch is ${batchSize}; ${trainFile} has ${trainTexts.length} texts`)

  const runs = chosen.map((experiment): RunOptions => {
    const { lr: preset } = EXPERIMENTS[experiment - 1]
    const rate = lr ?? preset
    const settings: Settings = {
      train: basename(trainFile),
      test: basename(testFile),
      trainTexts: trainTexts.length,
      validationTexts: validation.length,
      textColumn: column ?? null,
      vocabulary: text.vocabularyHash(tokenizer),
      steps,
      batch: batchSize,
      length,
      lr: rate,
      evaluateEvery,
      accumulateForever,
      width,
      seed,
      bert: experiment === 6 && bert !== undefined ? basename(bert) : null,
      device: ef.defaultDevice(),
    }
    return {
      experiment,
      train: trainTexts,
      validation,
      out,
      settings,
      steps,
      batchSize,
      length,
      lr: rate,
      seed,
      evaluateEvery,
      accumulateForever,
      vocabularySize: tokenizer.size,
      width,
      bertFolder: bert,
    }
  })
  // Before the first of them trains.
  for (const { experiment, settings } of runs) await checkStarted(experiment, settings)

  console.log(
    `${trainTexts.length} texts to train on, ${validation.length} unseen ones to evaluate on, ${tokenizer.size} tokens, ${ef.defaultDevice()}`,
  )
  for (const run of runs) {
    const { experiment } = run
    const { name } = EXPERIMENTS[experiment - 1]
    const before = await readResult(out, experiment)
    if (before) {
      console.log(`experiment ${experiment}, ${name}: finished before`)
      continue
    }
    console.log(`experiment ${experiment}, ${name}: learning rate ${run.lr}, ${run.steps} steps`)
    const result = await runExperiment(run)
    if (!result) {
      console.log(`stopped; saved to ${checkpointFile(out, experiment)}, go on with --resume`)
      return
    }
    const { accuracy, interval, step } = bestOf(result)
    const { trainSeconds } = result.evaluations[result.evaluations.length - 1]
    console.log(
      `experiment ${experiment}: best ${formatShare(accuracy, interval)} at step ${step}, trained ${formatSeconds(trainSeconds)}`,
    )
  }
  await report()

  async function report(): Promise<void> {
    const results = await readResults(out)
    if (results.length === 0) refuse(`${out} holds no finished experiment`)
    console.log(`\n${await writeReport(out, results)}`)
  }

  /** Sequences that the models have positions for, and a BERT whose vocabulary is the tokenizer's. */
  async function checkSequences(): Promise<void> {
    const transformers = chosen.filter((n) => n >= 3 && n <= 5)
    if (transformers.length > 0 && length > 256)
      refuse(
        `--length is ${length}; the Transformers of experiments ${transformers.join(', ')} have positions for 256 tokens`,
      )
    if (!chosen.includes(6)) return
    if (bert === undefined) {
      if (length > 512) refuse(`--length is ${length}; BERT has 512 positions`)
      return
    }
    const file = join(bert, 'config.json')
    if (!existsSync(file))
      refuse(`--bert: there is no ${file}; expected a folder with config.json and model.safetensors`)
    const config = models.parseBertConfig(await readFile(file, 'utf8'), file)
    text.checkVocabulary(tokenizer, config.vocabSize)
    if (length > config.maxPositions)
      refuse(`--length is ${length}; the model of ${bert} has ${config.maxPositions} positions`)
  }

  async function checkStarted(experiment: number, settings: Settings): Promise<void> {
    const result = await readResult(out, experiment)
    if (!result && !existsSync(checkpointFile(out, experiment))) return
    if (!options.resume)
      refuse(`${out} holds a run of experiment ${experiment}; go on with --resume, or choose another --out`)
    if (result) checkSettings(`experiment ${experiment} in ${out}`, result.settings, settings)
  }
})

function inData(given: string | undefined, ...names: string[]): string | undefined {
  const root = process.env.EVENFOLD_DATA
  return given ?? (root ? join(root, ...names) : undefined)
}

function chosenExperiments(list: string | undefined): number[] {
  if (list === undefined) return EXPERIMENTS.map(({ number }) => number)
  const chosen = list.split(',').map((item) => {
    const found = EXPERIMENTS.find(({ number }) => String(number) === item.trim())
    return (
      found?.number ??
      refuse(
        `--experiments: there is no experiment '${item}'; expected some of 1 to ${EXPERIMENTS.length}, as in 1,3`,
      )
    )
  })
  return [...new Set(chosen)].sort()
}

function printCounts(chosen: readonly number[], json: boolean): void {
  const counts = chosen.map((experiment) => ({ experiment, parameters: countParameters(experiment) }))
  if (json) {
    for (const line of counts) console.log(JSON.stringify(line))
    return
  }
  const rows = counts.map(({ experiment, parameters }) => [
    `${experiment} ${EXPERIMENTS[experiment - 1].name}`,
    parameters,
  ])
  console.log(markdownTable({ columns: ['experiment', 'parameters'], rows }).trimEnd())
}
