// The report of the trainings: results, learning curves, what the classifiers looked at, settings.

import { htmlReport, type LineChartOptions, writeReport } from 'evenfold/report'
import { CLASSES, type Review } from '../common/texts'
import { read } from './attention'
import { CLASSIFIERS } from './classifiers'
import type { Finished } from './training'

/** Test reviews shown, the first ones: none is picked. */
const SHOWN = 8

export async function reportTrainings(
  path: string,
  runs: readonly Finished[],
  test: readonly Review[],
  facts: Record<string, string | number>,
): Promise<void> {
  const titleOf = ({ name }: Finished) => CLASSIFIERS[name].title
  const chart = (
    title: string,
    yLabel: string,
    lines: (run: Finished, color: number) => LineChartOptions['series'],
  ): LineChartOptions => ({
    title,
    xLabel: 'step',
    yLabel,
    width: 640,
    series: runs.flatMap((run, i) => lines(run, 2 * i)),
  })

  const texts = []
  for (const { text, label } of test.slice(0, SHOWN)) {
    const readings = []
    for (const run of runs) {
      const { label: found, answer, words, weights } = await read(run, text)
      const verdict = found === label ? 'right' : 'wrong'
      readings.push({ by: titleOf(run), answer: `${answer}: ${verdict}`, tokens: words, weights })
    }
    texts.push({ label: `A ${CLASSES[label]} review`, readings })
  }

  const html = htmlReport({
    title: 'Telling good reviews from bad ones',
    summary:
      `Trained on ${facts['training reviews']} reviews and measured on ${test.length} unseen ones. Right are: ` +
      `${runs.map((run) => `${titleOf(run)} ${(100 * run.accuracy).toFixed(1)} %`).join(', ')}.`,
    sections: [
      {
        kind: 'table',
        title: 'Results',
        note: 'Accuracy on the unseen reviews with its 95 % Wilson interval; F1 of the positive class. Seconds are those of training and evaluation.',
        columns: ['classifier', 'accuracy', 'F1', 'parameters', 'steps', 'seconds', 'MiB of tensors'],
        rows: runs.map((run) => [
          titleOf(run),
          { share: run.accuracy, interval: run.interval },
          run.f1,
          run.parameters,
          run.steps,
          Math.round(run.seconds),
          Math.round(run.peakBytes / 2 ** 20),
        ]),
      },
      {
        kind: 'charts',
        title: 'Learning curves',
        note: 'The training loss is a running mean over batches, with dropout on; nothing was chosen by the unseen reviews.',
        charts: [
          chart('Loss', 'cross-entropy (nats)', (run, color) => [
            { name: `${titleOf(run)}, training`, points: run.curves.loss, color },
            { name: `${titleOf(run)}, unseen`, points: run.curves.testLoss, color, dashed: true },
          ]),
          chart('Accuracy on unseen reviews', 'share of right answers', (run, color) => [
            { name: titleOf(run), points: run.curves.testAccuracy, color },
          ]),
        ],
      },
      {
        kind: 'attention',
        title: 'What the classifiers looked at',
        note: `${runs.map((run) => `${titleOf(run)}: ${CLASSIFIERS[run.name].attention}.`).join(' ')} Attention shows where a model looked, not why it answered as it did.`,
        texts,
      },
      { kind: 'facts', title: 'Settings', facts },
    ],
  })
  await writeReport(path, html)
}
