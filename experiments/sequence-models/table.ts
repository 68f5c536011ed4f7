// Results beside the published ones, as a Markdown table, which is also what the terminal shows.

import { type Cell, markdownTable } from 'evenfold/report'
import { EXPERIMENTS, type Published } from './recipe'
import type { Evaluated, Result } from './results'

const COLUMNS = [
  'experiment',
  'run',
  'training loss',
  'validation loss',
  'accuracy (95 % interval)',
  'F1',
  'training s',
  'evaluation s',
  'memory, steady / peak',
  'parameters',
]

const fixed = (value: number, digits = 3) => value.toFixed(digits)
const percent = (share: number) => `${(100 * share).toFixed(1)} %`
const whole = (value: number) => Math.round(value).toLocaleString('en-US')
const mebibytes = (bytes: number) => whole(bytes / 2 ** 20)

/** The evaluation with the highest accuracy, the first of equals. */
export function bestOf({ evaluations }: Result): Evaluated {
  return evaluations.reduce((best, e) => (e.accuracy > best.accuracy ? e : best))
}

/**
 * Two rows of measured and two of published values an experiment. Best: the smallest loss, the highest accuracy and F1,
 * the shortest evaluation, each by itself; training seconds are those to the best accuracy.
 */
export function resultTable(results: readonly Result[]): string {
  const rows = results.flatMap((result) => {
    const { name, published } = EXPERIMENTS.find(({ number }) => number === result.experiment)!
    const [first, ...rest] = [...measuredRows(result), ...publishedRows(published)]
    return [[`${result.experiment} ${name}`, ...first], ...rest.map((row) => ['', ...row])]
  })
  return markdownTable({ columns: COLUMNS, rows })
}

function measuredRows(result: Result): Cell[][] {
  const { evaluations, memory, parameters } = result
  const best = bestOf(result)
  const last = evaluations[evaluations.length - 1]
  const least = (key: 'trainLoss' | 'loss' | 'seconds') => Math.min(...evaluations.map((e) => e[key]))
  return [
    [
      `best (step ${best.step})`,
      fixed(least('trainLoss')),
      fixed(least('loss')),
      { share: best.accuracy, interval: best.interval },
      fixed(Math.max(...evaluations.map((e) => e.f1))),
      whole(best.trainSeconds),
      fixed(least('seconds'), 1),
      `${mebibytes(memory.steady)} / ${mebibytes(memory.peak)} MiB`,
      whole(parameters),
    ],
    [
      `last (step ${last.step})`,
      fixed(last.trainLoss),
      fixed(last.loss),
      { share: last.accuracy, interval: last.interval },
      fixed(last.f1),
      whole(last.trainSeconds),
      fixed(last.seconds, 1),
      '',
      '',
    ],
  ]
}

function publishedRows(p: Published): Cell[][] {
  return [
    [
      'published, best',
      fixed(p.minTrainLoss),
      fixed(p.minValidationLoss),
      percent(p.bestAccuracy),
      '',
      '',
      '',
      `${p.gpuGiB} GiB of GPU`,
      whole(p.parameters),
    ],
    [
      'published, last',
      '',
      '',
      percent(p.lastAccuracy),
      fixed(p.lastF1),
      whole(p.trainSeconds),
      fixed(p.evaluationSeconds),
      '',
      '',
    ],
  ]
}
