// The table and the two figures of all finished experiments, made from their results alone.

import { type LineSeries, lineChart } from 'evenfold/report'
import { join } from 'node:path'
import { EXPERIMENTS } from './recipe'
import { type Evaluated, type Result, writeWhole } from './results'
import { resultTable } from './table'

/** Writes table.md, loss.svg and accuracy.svg to `out` and returns the table. */
export async function writeReport(out: string, results: readonly Result[]): Promise<string> {
  const table = resultTable(results)
  await writeWhole(join(out, 'table.md'), table)
  await writeWhole(join(out, 'loss.svg'), lossFigure(results))
  await writeWhole(join(out, 'accuracy.svg'), accuracyFigure(results))
  return table
}

const nameOf = ({ experiment }: Result) =>
  `${experiment} ${EXPERIMENTS.find(({ number }) => number === experiment)!.name}`

const curve = ({ evaluations }: Result, key: 'trainLoss' | 'loss' | 'accuracy') =>
  evaluations.map((e: Evaluated) => [e.step, e[key]] as const)

function lossFigure(results: readonly Result[]): string {
  const series = results.flatMap((result, color): LineSeries[] => [
    { name: nameOf(result), points: curve(result, 'loss'), color },
    { name: `${result.experiment} in training`, points: curve(result, 'trainLoss'), color, dashed: true },
  ])
  const title = 'Loss on unseen reviews and, dashed, in training'
  return lineChart({ title, xLabel: 'step', yLabel: 'cross-entropy (nats)', series, width: 900, height: 560 })
}

function accuracyFigure(results: readonly Result[]): string {
  const series = results.map((result) => ({ name: nameOf(result), points: curve(result, 'accuracy') }))
  const title = 'Accuracy on unseen reviews'
  return lineChart({
    title,
    xLabel: 'step',
    yLabel: 'share of right answers',
    series,
    width: 900,
    height: 480,
  })
}
