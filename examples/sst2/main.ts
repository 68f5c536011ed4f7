// Trains a small classifier on the whole of SST-2 (or another folder of reviews) once per seed, chooses each checkpoint
// on a part of the training data, and measures on dev. See README.md for the commands and their results.

import * as ef from 'evenfold'
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
import { readReviews } from '../common/texts'
import { DEFAULTS, MODELS } from './classifiers'
import { run } from './run'

const USAGE = `Trains a classifier on SST-2 and measures it on dev.

  npm run example:sst2 -- --data FOLDER --model transformer --seeds 0,1,2

  --data FOLDER        holds train and dev (or test), each .tsv, .csv or .jsonl; default: sst2 in $EVENFOLD_DATA
  --text-column N      column of the text, from 0, or a key of the JSON
  --model NAME         gru (default) or transformer
  --seeds LIST         default 0,1,2
  --epochs N           default 2
  --steps N            stop after so many steps
  --validation N       sentences of the training data to choose the checkpoint on; default 600
  --embedding N        default 64
  --hidden N           of the GRU, default ${DEFAULTS.gru.hidden}; of the feed-forward part, default ${DEFAULTS.transformer.hidden}
  --layers N           default 1
  --heads N            of the Transformer; default 2
  --batch-size N       default 64
  --lr X               default ${DEFAULTS.gru.lr}, of the Transformer ${DEFAULTS.transformer.lr}
  --dropout X          default 0.4
  --weight-decay X     default 0.01
  --device cpu|webgpu  default: a hardware GPU if there is one, else cpu
  --out FOLDER         for checkpoints and logs; default runs/sst2/gru or runs/sst2/transformer
  --resume             go on from the checkpoints in --out
  --help`

await main(async () => {
  const options = readOptions(USAGE, {
    data: { type: 'string' },
    'text-column': { type: 'string' },
    model: { type: 'string' },
    seeds: { type: 'string' },
    epochs: { type: 'string' },
    steps: { type: 'string' },
    validation: { type: 'string' },
    embedding: { type: 'string' },
    hidden: { type: 'string' },
    layers: { type: 'string' },
    heads: { type: 'string' },
    'batch-size': { type: 'string' },
    lr: { type: 'string' },
    dropout: { type: 'string' },
    'weight-decay': { type: 'string' },
    device: { type: 'string' },
    out: { type: 'string' },
    resume: { type: 'boolean' },
  })
  const model = choiceOption('model', options.model, MODELS) ?? 'gru'
  if (model === 'gru' && options.heads !== undefined) refuse('--heads is for --model transformer')
  const settings = {
    model,
    epochs: countOption('epochs', options.epochs, 2),
    maxSteps: countOption('steps', options.steps, Number.POSITIVE_INFINITY),
    validation: countOption('validation', options.validation, 600),
    embeddingSize: countOption('embedding', options.embedding, 64),
    hiddenSize: countOption('hidden', options.hidden, DEFAULTS[model].hidden),
    numLayers: countOption('layers', options.layers, 1),
    numHeads: countOption('heads', options.heads, 2),
    batchSize: countOption('batch-size', options['batch-size'], 64),
    lr: numberOption('lr', options.lr, DEFAULTS[model].lr),
    dropout: numberOption('dropout', options.dropout, 0.4),
    weightDecay: numberOption('weight-decay', options['weight-decay'], 0.01),
    out: options.out ?? join('runs/sst2', model),
    resume: options.resume ?? false,
  }
  const seeds = (options.seeds ?? '0,1,2').split(',').map((seed) => countOption('seeds', seed, 0, 0))
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'])
  const root = process.env.EVENFOLD_DATA
  const folder = options.data ?? (root ? join(root, 'sst2') : undefined)
  if (folder === undefined) refuse('give --data FOLDER, or set EVENFOLD_DATA to the folder that holds sst2')

  await chooseDevice(device)
  const texts = await readReviews(fileIn(folder, ['train']), options['text-column'])
  const devFile = fileIn(folder, ['dev', 'test'])
  const dev = await readReviews(devFile, options['text-column'])
  const results: { evaluation: ef.Evaluation; seconds: number }[] = []
  for (const seed of seeds) {
    const result = await run(texts, dev, { ...settings, seed })
    if (!result) return
    results.push(result)
    const { accuracy, interval } = result.evaluation
    console.log(`seed ${seed}: ${formatShare(accuracy, interval)}, ${formatSeconds(result.seconds)}`)
  }
  const mean = results.reduce((sum, { evaluation }) => sum + evaluation.accuracy, 0) / results.length
  const seconds = results.reduce((sum, r) => sum + r.seconds, 0)
  // Every seed answers the same texts, so they are no more evidence than one pass over them.
  const interval = ef.wilson(mean * dev.length, dev.length)
  console.log(
    `mean of ${results.length}: ${formatShare(mean, interval)} on ${dev.length} texts of ${basename(devFile)}, ${formatSeconds(seconds)}`,
  )
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
