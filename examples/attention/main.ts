// Trains the two models of models.ts and draws where they look: the pictures of docs/guides/attention.md.

import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'
import { heatMap } from 'evenfold/report'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { choiceOption, countOption, formatSeconds, main, readOptions } from '../common/cli'
import { chooseDevice } from '../common/device'
import { LETTERS, randomLetters, randomTwins, Reverser, TwinFinder, twins, weightsOf } from './models'

const USAGE = `npm run example:attention -- [options]

Trains a model that writes a sequence backwards and one that finds equal letters, and draws what they look at.

  --out FOLDER         for cross-attention.svg and self-attention.svg; default runs/attention
  --steps N            training steps of each model; default 120
  --device DEVICE      cpu or webgpu; default: a hardware GPU where there is one, else the cpu
  --seed N             default 0
  --help`

const BATCH = 64
/** What the pictures show. */
const READ = 'beadface'
const PAIRED = 'abcadbdc'

await main(async () => {
  const options = readOptions(USAGE, {
    out: { type: 'string' },
    steps: { type: 'string' },
    device: { type: 'string' },
    seed: { type: 'string' },
  })
  const folder = options.out ?? 'runs/attention'
  const steps = countOption('steps', options.steps, 120)
  await chooseDevice(choiceOption('device', options.device, ['cpu', 'webgpu']))
  ef.manualSeed(countOption('seed', options.seed, 0, 0))
  await mkdir(folder, { recursive: true })

  const reverser = new Reverser()
  await learn('writes backwards', reverser, steps, () => {
    const ids = randomLetters(BATCH)
    const backwards = ids.flip(1)
    return [reverser.forward(ids, backwards), backwards]
  })
  const ids = lettersToIds(READ)
  const cross = await weightsOf(reverser.decoder.multiheadAttn, () => reverser.forward(ids, ids.flip(1)))
  await draw('cross-attention', 'Cross-attention while it writes backwards', cross, {
    rows: [...READ].toReversed(),
    columns: [...READ],
    rowLabel: 'output (queries)',
    columnLabel: 'input (keys and values)',
  })

  const finder = new TwinFinder()
  await learn('finds the twin', finder, steps, () => {
    const ids = randomTwins(BATCH)
    return [finder.forward(ids), twins(ids)]
  })
  const pairs = lettersToIds(PAIRED)
  const self = await weightsOf(finder.encoder.selfAttn, () => finder.forward(pairs))
  await draw('self-attention', 'Self-attention between equal letters', self, {
    rows: [...PAIRED],
    columns: [...PAIRED],
    rowLabel: 'sequence (queries)',
    columnLabel: 'the same sequence (keys and values)',
  })

  async function draw(
    name: string,
    title: string,
    values: number[][],
    names: { rows: string[]; columns: string[]; rowLabel: string; columnLabel: string },
  ): Promise<void> {
    const file = join(folder, `${name}.svg`)
    await writeFile(file, heatMap({ title, values, range: [0, 1], ...names }))
    console.log(`drawn to ${file}`)
  }
})

/** Trains on fresh sequences from `batch` (logits and what is right, one a position), then counts on unseen ones. */
async function learn(
  what: string,
  model: nn.Module,
  steps: number,
  batch: () => [logits: ef.Tensor, target: ef.Tensor],
): Promise<void> {
  const started = performance.now()
  const optimizer = new optim.AdamW(model.parameters(), { lr: 5e-3 })
  const scheduler = optim.linearScheduleWithWarmup(optimizer, Math.ceil(steps / 5), steps)
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad()
    ef.tidy(() => {
      const [logits, target] = batch()
      nn.functional.crossEntropy(logits.reshape([-1, logits.shape[2]]), target.reshape([-1])).backward()
    })
    optimizer.step()
    scheduler.step()
  }
  model.eval()
  const [right, count] = ef.noGrad(() => {
    const [logits, target] = batch()
    return [logits.argmax(2).eq(target).sum(), target.size] as const
  })
  const seconds = formatSeconds((performance.now() - started) / 1000)
  console.log(`${what}: ${await right.item()} of ${count} letters right after ${steps} steps, ${seconds}`)
}

/** [1, letters] */
function lettersToIds(letters: string): ef.Tensor {
  return ef.tensor([Array.from(letters, (letter) => LETTERS.indexOf(letter))], { dtype: 'int32' })
}
