// What `train` takes and gives.

import type { Batch } from '../data/batches'
import type { DataLoader } from '../data/loader'
import type { CheckpointPart, CheckpointPosition } from '../io/checkpoint'
import type { Module } from '../nn/module'
import type { EMA } from '../optim/ema'
import type { Optimizer } from '../optim/optimizer'
import type { Tensor } from '../tensor/tensor'

/** Batches of one epoch per iteration, with a position that can be stored. `DataLoader` is one. */
export interface TrainLoader extends AsyncIterable<unknown>, CheckpointPosition {
  /** Batches an epoch. */
  readonly length: number
}

/** What `loss` gets: tensors on the model's device for a `DataLoader`, else what the loader yields. */
export type BatchOf<L extends TrainLoader> = L extends DataLoader
  ? Batch
  : L extends AsyncIterable<infer B>
    ? B
    : never

/** Called `step()` once after each optimizer step, as PyTorch's schedulers that count steps. */
export interface Scheduler extends CheckpointPart {
  step(): void
}

/** Called with the monitored metric after each evaluation; `ReduceLROnPlateau` is one. */
export interface MetricScheduler extends CheckpointPart {
  step(value: number): void
}

/** A step as the log has it. */
export interface StepEvent {
  /** From 1. */
  step: number
  /** From 0. */
  epoch: number
  loss: number
  /** The rate of the first group in this step. */
  lr: number
  /** Null without `clipNorm`. */
  gradNorm: number | null
  examples: number
}

export interface EvaluationEvent {
  step: number
  metrics: Readonly<Record<string, number>>
  /** Time of training and evaluation until now, that before a resumed checkpoint included. */
  seconds: number
  /** Whether the monitored metric is the best so far; false without `monitor`. */
  isBest: boolean
}

/** What training tells; a promise is awaited, an error ends training. To end it otherwise, use `signal`. */
export interface TrainCallback {
  /** Once for every step, in order, but some steps late: no step waits for its numbers to be read. */
  onStep?(event: StepEvent): void | Promise<void>
  onEvaluate?(event: EvaluationEvent): void | Promise<void>
  /** Once, after the last save; not after an error. */
  onEnd?(result: TrainResult): void | Promise<void>
}

export interface CheckpointOptions {
  /** The file with everything a resumed run needs; replaced as a whole each time. */
  path: string
  /** Steps between two saves; default one epoch. The last step and an interruption are always saved. */
  every?: number
  /** A second file: the weights that were best by `monitor`. */
  best?: string
  /** More for both files, e.g. `{ vocabulary: vocabulary.toJSON() }`; the key `train` is taken. */
  extra?: Readonly<Record<string, unknown>>
}

export interface MonitorOptions {
  /** A key of what `evaluate` returns. */
  metric: string
  /** Which is better; default 'max'. */
  mode?: 'min' | 'max'
  /** Stop after this many evaluations without a better value. Default: never. */
  patience?: number
}

export interface TrainOptions<L extends TrainLoader = DataLoader> {
  /** Put into training mode at the start. */
  model: Module
  optimizer: Optimizer<{ lr: number }>
  scheduler?: Scheduler
  /** Instead of `scheduler`: steps with the value of `monitor.metric` after each evaluation. */
  metricScheduler?: MetricScheduler
  /** Updated after each step; evaluations and `checkpoint.best` have its averages in place of the weights. */
  ema?: EMA
  loader: L
  /**
   * The loss of a batch, one element; synchronous. What else it makes is released after the step unless
   * `ef.keep`-ed.
   */
  loss: (batch: BatchOf<L>) => Tensor
  /**
   * Batches a step; default 1. The gradient is that of one big batch for losses that are means over examples: the losses of
   * a `DataLoader`'s batches are weighted by their sizes, those of other loaders are equal. A step ends with its epoch,
   * so the last one may have fewer batches.
   */
  accumulate?: number
  /** Stop after this many passes over the loader; give this or `maxSteps`, or both: the first reached counts. */
  epochs?: number
  /** Stop after this many steps, those before a resumed checkpoint included. */
  maxSteps?: number
  /** Scale gradients to at most this norm. Default: no clipping. */
  clipNorm?: number
  /** Called in evaluation mode under noGrad, after every `evaluateEvery` steps and the last one. */
  evaluate?: () => Promise<Record<string, number>>
  /** Default: one epoch. */
  evaluateEvery?: number
  monitor?: MonitorOptions
  checkpoint?: CheckpointOptions
  /**
   * A JSONL file to append to: a line a step (step, epoch, loss, lr, gradNorm, examples) and one an evaluation
   * (step, metrics, seconds). A run that was killed leaves steps after its checkpoint; the resumed run writes them anew.
   */
  log?: string
  /** True: go on from `checkpoint.path` if that file exists. A path: go on from that file. Default false. */
  resume?: boolean | string
  callbacks?: readonly TrainCallback[]
  onProgress?: (progress: Progress) => void
  /** Ends training after the current step, as Ctrl-C does. */
  signal?: AbortSignal
}

export interface Progress {
  /** Steps done. */
  step: number
  /** Steps of the whole training. */
  total: number
  /** From 0. */
  epoch: number
  /** Mean of the recent losses (about the last 50). */
  loss: number
  /** Training speed of this run, without evaluations. */
  examplesPerSecond: number
  /** Estimate for the rest of the training, evaluations included. */
  secondsLeft: number
  /** The latest evaluation. */
  metrics: Readonly<Record<string, number>> | null
}

export interface TrainResult {
  /** Steps done, those before a resumed checkpoint included. */
  step: number
  /** True after Ctrl-C or the signal; the checkpoint holds the last step. */
  interrupted: boolean
  /** True if `patience` ran out. */
  stoppedEarly: boolean
  /** Mean of the recent losses. */
  loss: number
  /** The latest evaluation. */
  metrics: Readonly<Record<string, number>> | null
  /** The best value of the monitored metric. */
  best: { step: number; value: number } | null
  /** Time of training and evaluation, that before a resumed checkpoint included. */
  seconds: number
}
