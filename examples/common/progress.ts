// Progress of a training: a bar in a terminal, now and then a line elsewhere.

import type { Progress } from 'evenfold'
import { SingleBar } from 'cli-progress'
import { formatSeconds } from './cli'

/** `update` goes to `train` as `onProgress`; `stop` leaves the last state on the screen. */
export function showProgress(title: string): { update: (progress: Progress) => void; stop: () => void } {
  const describe = ({ loss, examplesPerSecond, secondsLeft, metrics }: Progress): string => {
    const accuracy = metrics?.accuracy === undefined ? '' : ` | accuracy ${metrics.accuracy.toFixed(3)}`
    const rate = Math.round(examplesPerSecond)
    return `loss ${loss.toFixed(3)}${accuracy} | ${rate} examples/s | ${formatSeconds(secondsLeft)} left`
  }
  if (!process.stderr.isTTY) {
    let next = 0
    const update = (p: Progress): void => {
      // A line for every tenth of the way.
      if (p.step < next) return
      next = Math.min(p.total, (Math.floor((10 * p.step) / p.total) + 1) * (p.total / 10))
      console.error(`${title} step ${p.step}/${p.total} | ${describe(p)}`)
    }
    return { update, stop: () => {} }
  }
  // Ctrl-C is the training's: it saves first.
  const bar = new SingleBar({
    format: `${title} {bar} {value}/{total} | {text}`,
    barsize: 20,
    hideCursor: true,
    gracefulExit: false,
  })
  let started = false
  return {
    update: (p) => {
      if (!started) bar.start(p.total, p.step, { text: describe(p) })
      started = true
      bar.update(p.step, { text: describe(p) })
    },
    stop: () => {
      if (started) bar.stop()
    },
  }
}
