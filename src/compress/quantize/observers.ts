// Observers: which numbers come by, and so which range the integers have to cover.
//
// They read what they are shown, so calibration waits for the device; formulas are torch.ao.quantization's, in float32.

import { ArgumentError, NonFiniteError } from '../../errors'
import { amax, amin } from '../../tensor/ops/reduce'
import { noGrad, tidy } from '../../tensor/scope'
import type { Tensor } from '../../tensor/tensor'
import {
  chooseParams,
  type FullScheme,
  fullScheme,
  type QuantizationParams,
  type QuantizationScheme,
} from './scheme'

const f = Math.fround

/** Collects a range, or one for each slice of the scheme's axis. */
export abstract class Observer {
  readonly scheme: FullScheme
  #min: Float32Array | null = null
  #max: Float32Array | null = null
  #count = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor(scheme: QuantizationScheme = {}) {
    this.scheme = fullScheme(scheme)
  }

  /**
   * Takes in the numbers of a float tensor, which may be released right after the call; several calls are taken in order.
   * @throws NonFiniteError if one is not finite; nothing is taken in then.
   */
  observe(x: Tensor): Promise<void> {
    const bounds = this.bounds(x)
    const done = this.#turn.then(() => bounds).then(([min, max]) => this.#take(min, max))
    this.#turn = done.catch(() => {})
    return done
  }

  #take(min: Float32Array, max: Float32Array): void {
    const name = this.constructor.name
    for (const bound of [...min, ...max]) {
      if (!Number.isFinite(bound)) throw new NonFiniteError(`${name}: the numbers observed reach ${bound}`)
    }
    const { axis } = this.scheme
    if (this.#min && this.#min.length !== min.length)
      throw new ArgumentError(`${name}: ${min.length} slices along axis ${axis}, ${this.#min.length} before`)
    const seen = ++this.#count
    this.#min = this.#min ? this.#min.map((old, i) => this.combine(old, min[i], seen, Math.min)) : min
    this.#max = this.#max ? this.#max.map((old, i) => this.combine(old, max[i], seen, Math.max)) : max
  }

  /** Smallest and largest numbers that count of one tensor. */
  protected abstract bounds(x: Tensor): Promise<[min: Float32Array, max: Float32Array]>
  /** A bound seen before and a new one, that of tensor number `seen`; `outer` is Math.min or Math.max. */
  protected abstract combine(
    old: number,
    now: number,
    seen: number,
    outer: (a: number, b: number) => number,
  ): number

  /** The range so far; null before anything was observed. */
  get range(): { readonly min: Float32Array; readonly max: Float32Array } | null {
    return this.#min && this.#max && { min: this.#min, max: this.#max }
  }

  /** The parameters for that range. @throws ArgumentError if nothing was observed. */
  params(): QuantizationParams {
    if (!this.#min || !this.#max) {
      throw new ArgumentError(
        `${this.constructor.name}: nothing was observed; run the model on calibration data first`,
      )
    }
    return chooseParams(this.#min, this.#max, this.scheme)
  }
}

/** Smallest and largest numbers of each slice, or of all, computed on the tensor's device. */
async function extremes(x: Tensor, axis: number | null): Promise<[Float32Array, Float32Array]> {
  if (x.size === 0) throw new ArgumentError('observe: the tensor is empty')
  const at = axis === null ? null : axis < 0 ? axis + x.ndim : axis
  const dims = [...x.shape.keys()].filter((i) => i !== at)
  const [low, high] = noGrad(() => tidy(() => [amin(x, dims), amax(x, dims)]))
  try {
    const [min, max] = await Promise.all([low.data(), high.data()])
    return [Float32Array.from(min), Float32Array.from(max)]
  } finally {
    low.dispose()
    high.dispose()
  }
}

/** The smallest and the largest number of all that came by. */
export class MinMaxObserver extends Observer {
  protected bounds(x: Tensor): Promise<[Float32Array, Float32Array]> {
    return extremes(x, this.scheme.axis)
  }
  protected combine(
    old: number,
    now: number,
    _seen: number,
    outer: (a: number, b: number) => number,
  ): number {
    return outer(old, now)
  }
}

/** The smallest and the largest number of each tensor, averaged: old + momentum * (new - old). The first one sets them. */
export class MovingAverageObserver extends MinMaxObserver {
  readonly momentum: number

  /** `momentum`: the share of what is new. Default 0.01, as torch's averaging_constant. */
  constructor({ momentum = 0.01, ...scheme }: QuantizationScheme & { momentum?: number } = {}) {
    super(scheme)
    if (!(momentum > 0 && momentum <= 1))
      throw new ArgumentError(`MovingAverageObserver: momentum is ${momentum}; expected a number in (0, 1]`)
    this.momentum = momentum
  }

  protected override combine(old: number, now: number): number {
    return f(old + f(f(this.momentum) * f(now - old)))
  }
}

/**
 * Percentiles of each tensor instead of its extremes, averaged over the tensors: a few outliers do not widen the range.
 * One range for the whole tensor; between two values the percentile is interpolated.
 */
export class PercentileObserver extends Observer {
  readonly percentile: number

  /** `percentile`: at most 100; the lower bound is at 100 - percentile. Default 99.99. */
  constructor({ percentile = 99.99, ...scheme }: QuantizationScheme & { percentile?: number } = {}) {
    super(scheme)
    if (!(percentile > 50 && percentile <= 100)) {
      throw new ArgumentError(
        `PercentileObserver: percentile is ${percentile}; expected more than 50 and at most 100`,
      )
    }
    if (this.scheme.axis !== null)
      throw new ArgumentError('PercentileObserver: axis has to be null; it finds one range for a tensor')
    this.percentile = percentile
  }

  protected async bounds(x: Tensor): Promise<[Float32Array, Float32Array]> {
    if (x.size === 0) throw new ArgumentError('observe: the tensor is empty')
    const values = Float32Array.from(await x.data()).sort()
    // NaN is sorted to the end.
    const { length } = values
    if (!Number.isFinite(values[0]) || !Number.isFinite(values[length - 1])) return [values, values]
    const at = (share: number): Float32Array => {
      const place = share * (length - 1)
      const below = Math.floor(place)
      const above = Math.min(below + 1, length - 1)
      return Float32Array.of(values[below] + (place - below) * (values[above] - values[below]))
    }
    return [at(1 - this.percentile / 100), at(this.percentile / 100)]
  }

  protected combine(old: number, now: number, seen: number): number {
    return old + (now - old) / seen
  }
}
