// What the options of `train` must hold to, asked before anything is computed.

import { ArgumentError } from '../errors'
import type { TrainLoader, TrainOptions } from './options'

/** @throws ArgumentError naming the option that is wrong, missing or at odds with another. */
export function checkOptions<L extends TrainLoader>(options: TrainOptions<L>): void {
  const { epochs, maxSteps, evaluateEvery, checkpoint, monitor, resume, accumulate } = options
  const counts = { accumulate, epochs, maxSteps, evaluateEvery, 'checkpoint.every': checkpoint?.every }
  for (const [name, count] of Object.entries({ ...counts, 'monitor.patience': monitor?.patience })) {
    if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
      throw new ArgumentError(`train: ${name} is ${count}; expected a positive integer`)
    }
  }
  if (epochs === undefined && maxSteps === undefined) {
    throw new ArgumentError('train: give epochs or maxSteps, so that training ends')
  }
  if (monitor && !options.evaluate) throw new ArgumentError('train: monitor needs evaluate')
  if (checkpoint?.best !== undefined && !monitor) {
    throw new ArgumentError('train: checkpoint.best needs monitor, which says what is best')
  }
  if (resume === true && !checkpoint) {
    throw new ArgumentError('train: resume: true needs checkpoint.path, or give resume a path')
  }
  if (options.metricScheduler && !monitor)
    throw new ArgumentError('train: metricScheduler needs monitor, which names the metric')
  if (options.metricScheduler && options.scheduler)
    throw new ArgumentError('train: scheduler and metricScheduler would both set the rate; give one of them')
}
