// Batches with what the teacher says about them, computed as they come or once for all epochs.

import { batches, type Batch } from '../../data/batches'
import type { DataLoader, DataLoaderState, HostBatch } from '../../data/loader'
import { ArgumentError, DTypeError, ShapeError } from '../../errors'
import type { DeviceName } from '../../backend/types'
import type { Module } from '../../nn/module'
import { tensor } from '../../tensor/create'
import { noGrad } from '../../tensor/scope'
import { formatShape } from '../../tensor/shape'
import { Tensor } from '../../tensor/tensor'
import { recordPass } from '../passes'
import { Fingerprint, fingerprintOf } from './fingerprint'
import { type FloatArray, type HostOutputs, TeacherCache } from './teacher-cache'

/** By names of the user's choice: float tensors [B, …]. */
export type TeacherOutputs = Readonly<Record<string, Tensor>>

/** A batch, and the teacher's outputs for it. */
export interface DistillBatch<O extends TeacherOutputs = TeacherOutputs> extends Batch {
  teacher: O
}

export interface TeacherCacheOptions {
  /** A folder for the outputs; each teacher has its own one below it. */
  folder: string
  /** Names of the outputs that are [B, L, …], a row for each token: padding is not stored, and is 0 when read. */
  perToken?: readonly string[]
  /**
   * What the outputs depend on beside the teacher's weights and class, the text of `outputs`, and the samples' number and
   * tokens: those are seen. Default ''.
   */
  key?: string
  /** Samples whose outputs are held in memory and written at once. Default 256. */
  samplesPerFile?: number
}

export interface DistillerOptions<O extends TeacherOutputs> {
  loader: DataLoader
  /** Put into evaluation mode, and without gradients, while it runs. */
  teacher: Module
  /** What the student learns from; synchronous. Padding must not show in it: give the teacher the batch's mask. */
  outputs: (batch: Batch) => O
  /** Default: the teacher runs on every batch. */
  cache?: TeacherCacheOptions
  /** Where the batches go: the student's device. Default: the teacher's; without a cache it can be no other. */
  device?: DeviceName
}

export interface PrepareOptions {
  /** After each file, those that were there included. */
  onProgress?: (progress: { samples: number; total: number }) => void
  /** Stops after the current file. */
  signal?: AbortSignal
}

const RELEASED = 'teacher output released when the next batch was drawn (ef.keep(tensor) keeps one)'

/**
 * A loader for `train`, or for a loop of one's own, whose batches have the teacher's outputs. With a cache the teacher runs
 * once over all samples, in their own order and evaluation mode, so that the outputs do not depend on the epoch; a run that was
 * stopped goes on where it was, with the same bits. Batches are released like those of `batches`.
 *
 * ```ts
 * const distiller = new Distiller({
 *   loader,
 *   teacher,
 *   outputs: ({ ids, mask }) => ({ logits: teacher.forward(ids, { mask }) }),
 *   cache: { folder: 'runs/teacher' },
 * })
 * const weights = { alpha: 0.5, beta: 0.5, temperature: 2 }
 * await train({
 *   ...{ model: student, optimizer, loader: distiller, epochs: 3 },
 *   loss: (b) => distillationLoss(student.forward(b.ids, { mask: b.mask }), b.teacher.logits, b.labels, weights).loss,
 * })
 * ```
 * @throws ArgumentError for options that cannot be. While it runs: ShapeError, DTypeError for outputs that are no float tensors
 * [B, …]; NonFiniteError for those that are NaN or infinite, naming the sample (with a cache); FormatError for samples other than
 * the cache has.
 */
export class Distiller<O extends TeacherOutputs = TeacherOutputs> implements AsyncIterable<DistillBatch<O>> {
  readonly #options: DistillerOptions<O>
  #cache: TeacherCache | null = null

  constructor(options: DistillerOptions<O>) {
    const { folder, samplesPerFile = 256 } = options.cache ?? { folder: 'none' }
    if (folder === '') throw new ArgumentError('Distiller: cache.folder is empty; expected a path')
    if (!(Number.isSafeInteger(samplesPerFile) && samplesPerFile >= 1)) {
      throw new ArgumentError(
        `Distiller: cache.samplesPerFile is ${samplesPerFile}; expected a positive integer`,
      )
    }
    const { device, teacher, cache } = options
    const own = teacher.parameters()[0]?.device
    if (device !== undefined && own !== undefined && device !== own && !cache) {
      throw new ArgumentError(
        `Distiller: the teacher is on '${own}' and the batches are to be on '${device}'; move the teacher, or give a cache`,
      )
    }
    this.#options = options
  }

  /** Batches an epoch. */
  get length(): number {
    return this.#options.loader.length
  }

  /** The loader's position. */
  state(): DataLoaderState {
    return this.#options.loader.state()
  }

  loadState(state: DataLoaderState): void {
    this.#options.loader.loadState(state)
  }

  /**
   * Fills the cache; iterating does it otherwise. What is there is left as it is. Returns whether all is there, which it is not
   * after the signal. Without a cache there is nothing to do.
   */
  async prepare({ onProgress, signal }: PrepareOptions = {}): Promise<boolean> {
    if (!this.#options.cache) return true
    const cache = await this.#openCache(this.#options.cache)
    const { samples: total } = this.state()
    for (let part = 0; part < cache.parts; part++) {
      if (signal?.aborted) return false
      if (!(await cache.has(part))) await cache.write(part, this.#computed(...cache.rangeOf(part)))
      onProgress?.({ samples: cache.rangeOf(part)[1], total })
    }
    this.#cache = cache
    return true
  }

  /**
   * Notes among the student's passes that it learned from this teacher on these samples, with the options of the loss as JSON;
   * `saveModel` writes them into the file.
   */
  async record(student: Module, options: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const { teacher } = this.#options
    const by = { teacher: teacher.constructor.name, weights: await fingerprintOf(teacher) }
    recordPass(student, 'distill', { ...by, samples: this.state().samples, ...options })
  }

  async #openCache({ folder, perToken = [], key = '', samplesPerFile = 256 }: TeacherCacheOptions) {
    const { teacher, outputs } = this.#options
    const { samples } = this.state()
    const seen = {
      format: 'evenfold.teacher',
      version: 1,
      teacher: teacher.constructor.name,
      weights: await fingerprintOf(teacher),
      outputs: outputs.toString(),
      perToken: [...perToken].sort(),
      ...{ key, samples, samplesPerFile },
    }
    const own = `${folder}/${new Fingerprint().text(JSON.stringify(seen))}`
    return new TeacherCache({ folder: own, samples, samplesPerFile, perToken: new Set(perToken) })
  }

  /** Samples in their own order, with the teacher's outputs on the host. */
  async *#computed(from: number, to: number): AsyncGenerator<{ host: HostBatch; outputs: HostOutputs }> {
    for await (const batch of batches(this.#options.loader.inOrder(from, to), this.#place())) {
      const made = this.#run(batch)
      const outputs: HostOutputs = {}
      try {
        for (const [name, output] of Object.entries(made)) {
          outputs[name] = { shape: [...output.shape], data: (await output.data()) as FloatArray }
        }
      } finally {
        release(made)
      }
      yield { host: batch.host, outputs }
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DistillBatch<O>> {
    if (this.#options.cache && !this.#cache) await this.prepare()
    for await (const batch of batches(this.#options.loader, this.#place(this.#options.device))) {
      const teacher = this.#cache ? await this.#restored(this.#cache, batch) : this.#run(batch)
      try {
        yield { ...batch, teacher }
      } finally {
        release(teacher)
      }
    }
  }

  async #restored(cache: TeacherCache, { host, ids }: Batch): Promise<O> {
    const outputs = await cache.read(host)
    const restored = Object.entries(outputs).map(([name, { shape, data }]) => [
      name,
      tensor(data, { shape, device: ids.device }),
    ])
    return Object.fromEntries(restored) as O
  }

  #place(device = this.#options.teacher.parameters()[0]?.device): { device?: DeviceName } {
    return device ? { device } : {}
  }

  #run(batch: Batch): O {
    const { teacher, outputs, cache } = this.#options
    return runTeacher(teacher, () => {
      const made = outputs(batch)
      check(made, batch, cache?.perToken ?? [])
      return made
    })
  }
}

/**
 * Runs a synchronous `fn` with the teacher in evaluation mode and without gradients; what it returns is the caller's. For inputs
 * that no cache can know, such as masked tokens that change with every epoch.
 *
 * ```ts
 * const { logits } = runTeacher(teacher, () => teacher.forward(masked.ids, { attentionMask }))
 * ```
 */
export function runTeacher<R>(teacher: Module, fn: () => R): R {
  const modes = teacher.modules().map((module) => [module, module.training] as const)
  teacher.eval()
  try {
    return noGrad(fn)
  } finally {
    for (const [module, training] of modes) module.training = training
  }
}

function check(outputs: TeacherOutputs, { host }: Batch, perToken: readonly string[]): void {
  const names = Object.keys(outputs)
  const unknown = perToken.find((name) => !names.includes(name))
  if (names.length === 0 || unknown !== undefined) {
    throw new ArgumentError(
      `Distiller: outputs gave ${names.length === 0 ? 'nothing' : names.join(', ')}; expected ` +
        (unknown === undefined ? 'named tensors' : `'${unknown}' too, which is in cache.perToken`),
    )
  }
  for (const [name, output] of Object.entries<unknown>(outputs)) {
    if (!(output instanceof Tensor)) {
      const got = output instanceof Promise ? 'a promise' : String(output)
      throw new ArgumentError(`Distiller: the teacher's '${name}' is ${got}; expected a tensor`)
    }
    if (output.dtype !== 'float32' && output.dtype !== 'float64') {
      throw new DTypeError(`Distiller: the teacher's '${name}' is ${output.dtype}; expected floats`)
    }
    const wanted = perToken.includes(name) ? host.shape : host.shape.slice(0, 1)
    if (wanted.some((size, i) => output.shape[i] !== size)) {
      throw new ShapeError(
        `Distiller: the teacher's '${name}' has shape ${formatShape(output.shape)}; expected [${wanted.join(', ')}, …] for this batch`,
      )
    }
  }
}

function release(outputs: TeacherOutputs): void {
  for (const output of Object.values(outputs)) if (!output.isKept) output.dispose(RELEASED)
}
