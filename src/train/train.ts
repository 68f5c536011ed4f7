// A training loop for those who want one: progress, evaluation, checkpoints, a log, resuming and a clean end.
//
// It does nothing that a loop of one's own could not. The order of a step is fixed (loss, zeroGrad, backward,
// clip, optimizer, scheduler), and what is read from the device never influences it, so a resumed run equals
// an unbroken one bit for bit.

import { platform } from '#platform'
import { batches } from '../data/batches'
import { DataLoader } from '../data/loader'
import { ArgumentError, FormatError, ShapeError } from '../errors'
import { loadCheckpoint, saveCheckpoint } from '../io/checkpoint'
import { clipGradNorm, scaleGradients } from '../optim/clip'
import { eachTensor, tidy } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import { breathe, Tensor } from '../tensor/tensor'
import { checkOptions } from './check-options'
import { inEvalMode } from './metrics'
import type { EMAState } from '../optim/ema'
import type { BatchOf, Progress, TrainCallback, TrainLoader, TrainOptions, TrainResult } from './options'
import { type ReadStep, Watch } from './watch'

/** Losses are read after so many steps, or so many milliseconds, whichever comes first. */
const READ_STEPS = 16
const READ_MS = 250
/** Weight of the past in the running mean of the loss. */
const MEMORY = 0.98

/** What a checkpoint holds of the loop itself. */
interface LoopState {
  best: { step: number; value: number } | null
  /** Evaluations since the best one. */
  worse: number
  metrics: Record<string, number> | null
  seconds: number
  /** States of what the options may name. */
  metricScheduler?: object
  ema?: EMAState
}

/**
 * Trains a model. See {@link TrainOptions} for what can be asked for.
 *
 * ```ts
 * await train({ model, optimizer, loader, epochs: 3, loss: (b) => crossEntropy(model.forward(b.ids), b.labels) })
 * ```
 * @throws NonFiniteError a few steps after the first loss or gradient that is NaN or infinite, naming the step;
 * the weights are finite and the last checkpoint is as it was.
 */
export function train<L extends TrainLoader>(options: TrainOptions<L>): Promise<TrainResult> {
  return new Run(options).run()
}

class Run<L extends TrainLoader> {
  readonly #options: TrainOptions<L>
  readonly #total: number
  /** Steps an epoch. */
  readonly #perEpoch: number
  readonly #evaluateEvery: number
  readonly #saveEvery: number
  #step = 0
  #savedStep = -1
  #evaluatedStep = -1
  #state: LoopState = { best: null, worse: 0, metrics: null, seconds: 0 }
  #stopRequested = false

  // This run alone, for speed and time left.
  #startStep = 0
  #started = 0
  #aside = 0
  #examples = 0
  #lossSum = 0
  #lossWeight = 0

  /** Batches whose gradients the next step will use. */
  #gathered: { loss: Tensor; weight: number; examples: number }[] = []

  constructor(options: TrainOptions<L>) {
    checkOptions(options)
    const { loader, epochs, maxSteps, evaluateEvery, checkpoint, accumulate } = options
    this.#options = options
    this.#perEpoch = Math.ceil(loader.length / (accumulate ?? 1))
    const bound = epochs === undefined ? Number.POSITIVE_INFINITY : epochs * this.#perEpoch
    this.#total = Math.min(bound, maxSteps ?? Number.POSITIVE_INFINITY)
    this.#evaluateEvery = evaluateEvery ?? this.#perEpoch
    this.#saveEvery = checkpoint?.every ?? this.#perEpoch
  }

  async run(): Promise<TrainResult> {
    const { model, signal, optimizer } = this.#options
    await this.#resume()
    model.train()
    const watch = new Watch(optimizer, this.#step)
    const stop = () => {
      this.#stopRequested = true
    }
    const withdraw = platform.onInterrupt(stop)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted) stop()
    this.#started = performance.now()
    this.#startStep = this.#step
    try {
      while (!this.#ends()) await this.#epoch(watch)
      await this.#report(await watch.drain())
      const interrupted = this.#stopRequested && this.#step < this.#total && !this.#outOfPatience()
      if (!interrupted) await this.#evaluate(watch)
      await this.#save(watch)
      const result = this.#result(interrupted)
      for (const callback of this.#callbacks) await callback.onEnd?.(result)
      return result
    } finally {
      withdraw()
      signal?.removeEventListener('abort', stop)
    }
  }

  #ends(): boolean {
    return this.#stopRequested || this.#step >= this.#total || this.#outOfPatience()
  }

  #outOfPatience(): boolean {
    return this.#state.worse >= (this.#options.monitor?.patience ?? Number.POSITIVE_INFINITY)
  }

  /** Runs to the end of the loader's epoch, or of the training. */
  async #epoch(watch: Watch): Promise<void> {
    const before = this.#step
    const { loader, model } = this.#options
    const { device } = model.parameters()[0] ?? {}
    const source: AsyncIterable<unknown> =
      loader instanceof DataLoader ? batches(loader, device ? { device } : {}) : loader
    let lastRead = performance.now()
    for await (const batch of source) {
      this.#gather(batch as BatchOf<L>)
      if (this.#gathered.length < (this.#options.accumulate ?? 1)) {
        await breathe()
        continue
      }
      this.#update(watch)
      const now = performance.now()
      if (watch.open >= READ_STEPS || now - lastRead >= READ_MS) {
        await this.#report(await watch.turn())
        lastRead = now
      }
      await this.#afterStep(watch)
      // A loader of the user's may never let the event loop turn; Ctrl-C and timers need that.
      await breathe()
      if (this.#ends()) break
    }
    if (this.#gathered.length > 0) {
      this.#update(watch)
      await this.#afterStep(watch)
    }
    if (this.#step === before && !this.#sawEmptyEpoch) this.#sawEmptyEpoch = true
    else if (this.#step === before) throw new ArgumentError('train: the loader yields no batches')
    else this.#sawEmptyEpoch = false
  }

  /** One is normal: a stored position can be that after the last batch. */
  #sawEmptyEpoch = false

  async #afterStep(watch: Watch): Promise<void> {
    if (this.#step % this.#evaluateEvery === 0) await this.#evaluate(watch)
    if (this.#step % this.#saveEvery === 0) await this.#save(watch)
  }

  /** Adds the gradients of a batch to those of the step. */
  #gather(batch: BatchOf<L>): void {
    const { optimizer, accumulate = 1, loader } = this.#options
    let examples: number | undefined
    eachTensor(batch, (t) => {
      examples ??= t.shape[0]
    })
    const weight = loader instanceof DataLoader ? (examples ?? 1) : 1
    const loss = tidy(() => {
      const loss: unknown = this.#options.loss(batch)
      if (!(loss instanceof Tensor)) {
        const got = loss instanceof Promise ? 'a promise' : String(loss)
        throw new ArgumentError(`train: loss must return a tensor, synchronously; it returned ${got}`)
      }
      if (loss.size !== 1) {
        throw new ShapeError(
          `train: the loss has shape ${formatShape(loss.shape)}; expected one element, e.g. with mean()`,
        )
      }
      if (this.#gathered.length === 0) optimizer.zeroGrad()
      if (accumulate === 1) loss.backward()
      else loss.mul(weight).backward()
      return loss.detach()
    })
    this.#gathered.push({ loss, weight, examples: examples ?? 1 })
  }

  /** One step of the optimizer with what was gathered. */
  #update(watch: Watch): void {
    const { optimizer, scheduler, ema, clipNorm, accumulate = 1 } = this.#options
    const gathered = this.#gathered
    this.#gathered = []
    const lr = optimizer.groups[0].lr
    const read = tidy(() => {
      const params = optimizer.groups.flatMap((group) => group.params)
      let [{ loss }] = gathered
      if (accumulate > 1) {
        const total = gathered.reduce((sum, { weight }) => sum + weight, 0)
        scaleGradients(params, 1 / total)
        const parts = gathered.map(({ loss, weight }) => loss.reshape([]).mul(weight / total))
        loss = parts.reduce((sum, part) => sum.add(part))
        for (const { loss } of gathered) loss.dispose()
      }
      const gradNorm = clipNorm === undefined ? null : clipGradNorm(params, clipNorm)
      optimizer.step()
      scheduler?.step()
      ema?.update()
      return { loss, gradNorm }
    })
    const examples = gathered.reduce((sum, batch) => sum + batch.examples, 0)
    watch.add({ step: ++this.#step, lr, examples, ...read })
  }

  /** Takes in steps whose losses have arrived: running mean, log, progress. */
  async #report(steps: readonly ReadStep[]): Promise<void> {
    if (steps.length === 0) return
    for (const { loss, examples } of steps) {
      this.#lossSum = MEMORY * this.#lossSum + (1 - MEMORY) * loss
      this.#lossWeight = MEMORY * this.#lossWeight + (1 - MEMORY)
      this.#examples += examples
    }
    const events = steps.map(({ step, loss, lr, gradNorm, examples }) => {
      return { step, epoch: this.#epochOf(step), loss, lr, gradNorm, examples }
    })
    await this.#log(
      events.map(({ gradNorm, examples, ...line }) => {
        return { ...line, ...(gradNorm !== null && { gradNorm }), examples }
      }),
    )
    for (const event of events) {
      for (const callback of this.#callbacks) await callback.onStep?.(event)
    }
    this.#progress(steps[steps.length - 1].step)
  }

  #progress(step: number): void {
    const elapsed = this.#elapsed()
    const progress: Progress = {
      step,
      total: this.#total,
      epoch: this.#epochOf(step),
      loss: this.#meanLoss(),
      examplesPerSecond: this.#examples / Math.max(elapsed - this.#aside, 1e-3),
      secondsLeft: (elapsed * (this.#total - step)) / Math.max(step - this.#startStep, 1),
      metrics: this.#state.metrics,
    }
    this.#options.onProgress?.(progress)
  }

  #epochOf(step: number): number {
    return Math.floor((step - 1) / this.#perEpoch)
  }

  #meanLoss(): number {
    return this.#lossWeight === 0 ? Number.NaN : this.#lossSum / this.#lossWeight
  }

  /** Seconds of this run. */
  #elapsed(): number {
    return (performance.now() - this.#started) / 1000
  }

  async #evaluate(watch: Watch): Promise<void> {
    const { evaluate, model, monitor, checkpoint, metricScheduler, ema } = this.#options
    if (!evaluate || this.#evaluatedStep === this.#step || this.#step === 0) return
    // Also so that nothing is judged or saved after a bad step.
    await this.#report(await watch.drain())
    const start = this.#elapsed()
    const averaged = <R>(fn: () => Promise<R>): Promise<R> => (ema ? ema.use(fn) : fn())
    const metrics = await averaged(() => inEvalMode(model, evaluate))
    this.#evaluatedStep = this.#step
    const state = this.#state
    state.metrics = metrics
    this.#aside += this.#elapsed() - start
    const seconds = state.seconds + this.#elapsed()
    await this.#log([{ step: this.#step, metrics, seconds }])
    let isBest = false
    if (monitor) {
      const value = metrics[monitor.metric]
      if (value === undefined) {
        const known = Object.keys(metrics).join(', ')
        throw new ArgumentError(`train: monitor.metric is '${monitor.metric}'; evaluate returned ${known}`)
      }
      const sign = monitor.mode === 'min' ? -1 : 1
      // NaN is never better.
      if (Number.isFinite(value) && (state.best === null || sign * value > sign * state.best.value)) {
        state.best = { step: this.#step, value }
        state.worse = 0
        isBest = true
        if (checkpoint?.best !== undefined) {
          const file = checkpoint.best
          await averaged(() => saveCheckpoint(file, { model, step: this.#step, extra: this.#extra() }))
        }
      } else state.worse++
      metricScheduler?.step(value)
    }
    for (const callback of this.#callbacks)
      await callback.onEvaluate?.({ step: this.#step, metrics, seconds, isBest })
    this.#progress(this.#step)
  }

  #extra(parts: Partial<LoopState> = {}): object {
    const seconds = this.#state.seconds + this.#elapsed()
    return { ...this.#options.checkpoint?.extra, train: { ...this.#state, ...parts, seconds } }
  }

  async #save(watch: Watch): Promise<void> {
    const { checkpoint, model, optimizer, scheduler, loader, metricScheduler, ema } = this.#options
    if (!checkpoint || this.#step === 0 || this.#savedStep === this.#step) return
    // Throws if a step was bad: the old file stays.
    await this.#report(await watch.drain())
    const start = this.#elapsed()
    const parts = { model, optimizer, ...(scheduler && { scheduler }), loader }
    const extra = this.#extra({
      ...(metricScheduler && { metricScheduler: metricScheduler.stateDict() }),
      ...(ema && { ema: ema.stateDict() }),
    })
    await saveCheckpoint(checkpoint.path, { ...parts, step: this.#step, extra })
    this.#savedStep = this.#step
    this.#aside += this.#elapsed() - start
  }

  async #resume(): Promise<void> {
    const { resume, checkpoint, model, optimizer, scheduler, loader } = this.#options
    let path: string | undefined
    if (typeof resume === 'string') path = resume
    else if (resume && checkpoint && (await platform.exists(checkpoint.path))) path = checkpoint.path
    if (path === undefined) return
    const parts = { model, optimizer, ...(scheduler && { scheduler }), loader }
    const { step, extra } = await loadCheckpoint(path, parts)
    const { train: state } = (extra ?? {}) as { train?: LoopState }
    if (typeof state?.seconds !== 'number') {
      eachTensor(extra, (t) => t.dispose())
      throw new FormatError(
        `${path} was not saved by train; load it with loadCheckpoint and train without resume`,
      )
    }
    const { metricScheduler, ema, ...own } = state
    if (metricScheduler) this.#options.metricScheduler?.loadStateDict(metricScheduler)
    if (ema) this.#options.ema?.loadStateDict(ema)
    // Copied, or given by the caller, who has it still.
    eachTensor(extra, (t) => t.dispose())
    this.#state = own
    this.#step = step
    this.#savedStep = path === checkpoint?.path ? step : -1
    this.#evaluatedStep = step
    await this.#log([{ step, resumed: path }])
  }

  async #log(lines: readonly object[]): Promise<void> {
    const { log } = this.#options
    if (log !== undefined)
      await platform.appendFile(log, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }

  get #callbacks(): readonly TrainCallback[] {
    return this.#options.callbacks ?? []
  }

  #result(interrupted: boolean): TrainResult {
    const { best, metrics, seconds } = this.#state
    return {
      step: this.#step,
      interrupted,
      stoppedEarly: this.#outOfPatience() && this.#step < this.#total,
      loss: this.#meanLoss(),
      metrics,
      best,
      seconds: seconds + this.#elapsed(),
    }
  }
}
