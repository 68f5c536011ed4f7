// Masks that are trained: a score per weight decides whether it stays, and learns through the decision as if that were the
// identity (a straight-through estimator):
//
//   W' = W * M(S),   dL/dS := dL/dM = dL/dW' * W
//
// With frozen W this finds subnetworks (Liu et al. 2022); with W trained as well and S from 0 it is movement pruning (Sanh et al. 2020).

import type { DeviceName } from '../../backend/types'
import { ArgumentError } from '../../errors'
import type { Module } from '../../nn/module'
import {
  Parametrization,
  type ParametrizationConfig,
  parametrizationsOf,
  parametrize,
  removeParametrization,
} from '../../nn/parametrize'
import { Buffer, Parameter } from '../../nn/parameter'
import { arange, full, tensor, zeros } from '../../tensor/create'
import { fill } from '../../tensor/mutate'
import { add, ge, gt, mul, sigmoid, sub } from '../../tensor/ops/elementwise'
import { scatterAdd } from '../../tensor/ops/indexing'
import { argsort } from '../../tensor/ops/order'
import { sum } from '../../tensor/ops/reduce'
import { detach, reshape } from '../../tensor/ops/views'
import { noGrad, tidy } from '../../tensor/scope'
import type { Shape } from '../../tensor/shape'
import type { Tensor } from '../../tensor/tensor'
import { recordPass } from '../passes'
import { findParameter, setMask } from './masks'
import { pruneLowest } from './select'
import { weightsOf } from './scores'

/** `threshold`: scores above a threshold stay. `topK`: the highest stay, as many as the sparsity says; sorts at each forward. */
export type MaskRule = 'threshold' | 'topK'

/** Keeps the elements whose score is high; the scores are a parameter. */
export class TrainedMask extends Parametrization {
  /** Of the masked parameter's shape. */
  readonly scores: Parameter
  /** []; elements stay whose score is above it. */
  readonly threshold: Buffer
  readonly rule: MaskRule
  #sparsity: number

  constructor(
    scores: Tensor,
    { rule, threshold, sparsity }: { rule: MaskRule; threshold: number; sparsity: number },
  ) {
    super()
    const { dtype, device } = scores
    this.scores = new Parameter(scores)
    this.threshold = tidy(() => new Buffer(full([], threshold, { dtype, device })))
    this.rule = rule
    this.#sparsity = sparsity
  }

  /** The share that goes: of rule `topK` at once, of `threshold` where the threshold was last set by it. */
  get sparsity(): number {
    return this.#sparsity
  }

  forward(original: Tensor): Tensor {
    return tidy(() => {
      const decided = noGrad(() => (this.rule === 'topK' ? this.#highest() : gt(this.scores, this.threshold)))
      // The decision, with the gradient of the scores.
      const through = add(decided.to(original.dtype), sub(this.scores, detach(this.scores)))
      return mul(original, through)
    })
  }

  /** 1 at the highest scores; of equal ones the later stay. */
  #highest(): Tensor {
    const { size, shape, dtype, device } = this.scores
    const order = argsort(reshape(this.scores, [size]), 0)
    const stays = ge(arange(size, { device }), Math.floor(size * this.#sparsity)).to(dtype)
    return reshape(scatterAdd(zeros([size], { dtype, device }), 0, order, stays), shape)
  }

  /** Sets the sparsity: floor(size * sparsity) of the lowest scores go. Of rule `threshold` reads the scores. */
  async setSparsity(sparsity: number): Promise<void> {
    checkSparsity(sparsity)
    this.#sparsity = sparsity
    if (this.rule === 'topK') return
    const sorted = Float64Array.from(await this.scores.data()).sort()
    const gone = Math.floor(sorted.length * sparsity)
    const threshold = gone === 0 ? Number.NEGATIVE_INFINITY : sorted[gone - 1]
    noGrad(() => {
      fill(this.threshold, threshold)
    })
  }

  /** 1 where an element stays now. Reads the device. */
  async keep(): Promise<Uint8Array> {
    const scores = await this.scores.data()
    if (this.rule === 'topK') {
      const all = { scores, keep: new Uint8Array(scores.length).fill(1) }
      return pruneLowest([all], Math.floor(scores.length * this.#sparsity))[0]
    }
    const threshold = await this.threshold.item()
    return Uint8Array.from(scores, (s) => Number(s > threshold))
  }

  config(): ParametrizationConfig {
    return { kind: 'trainedMask', rule: this.rule, sparsity: this.#sparsity }
  }
}

function checkSparsity(sparsity: number): void {
  if (!(sparsity >= 0 && sparsity <= 1))
    throw new ArgumentError(`sparsity is ${sparsity}; expected a share from 0 to 1`)
}

/** A trained mask of a file, before its scores are read. */
export function emptyTrainedMask(
  shape: Shape,
  { rule, sparsity }: ParametrizationConfig,
  place: { device: DeviceName; dtype: 'float32' | 'float64' },
): TrainedMask {
  const known = rule === 'topK' ? 'topK' : 'threshold'
  return tidy(
    () => new TrainedMask(zeros(shape, place), { rule: known, sparsity: Number(sparsity), threshold: 0 }),
  )
}

export interface TrainMasksOptions {
  /** Share of each parameter that goes at the start. */
  sparsity: number
  /** Names of the parameters. Default: every one of two axes or more. */
  parameters?: readonly string[]
  /**
   * What scores start as. `magnitude` (default): 2 * threshold for the largest weights, 0 for the others. `magnitudeSoft`: the
   * weights' magnitudes, the threshold set to fit. `zero`: 0, for movement pruning.
   */
  init?: 'magnitude' | 'magnitudeSoft' | 'zero'
  /** Default 'threshold', 'topK' where scores start from 0. */
  rule?: MaskRule
  /** Default 0.01. */
  threshold?: number
  /** Whether the model's own parameters are frozen. Default true; false where scores start from 0. */
  freeze?: boolean
}

/** Masks in training. */
export interface MaskTraining {
  /** The masks by the names of their parameters. */
  readonly masks: ReadonlyMap<string, TrainedMask>
  /** What the optimizer trains: the scores. */
  readonly scores: readonly Parameter[]
  /** Sets every mask's sparsity; for a gradual one, of a step of `cubicSparsity`, and at evaluation. */
  setSparsity(sparsity: number): Promise<void>
  /** The mean of sigmoid(S), which a loss may add, times a weight, so that fewer weights stay. */
  penalty(): Tensor
  /** Ends training: fixed masks in place of the trained ones, and parameters no longer frozen. */
  finish(): Promise<void>
}

/**
 * Gives weights masks that are trained. Published: frozen weights, `init: 'magnitude'` and threshold 0.01 for robust
 * subnetworks, at high sparsity with `cubicSparsity`; `init: 'zero'` for movement pruning, where weights and scores learn.
 * @throws ArgumentError for a sparsity or name that is not there, and for parameters that are masked already; before anything
 * is changed.
 */
export async function trainMasks(model: Module, options: TrainMasksOptions): Promise<MaskTraining> {
  const { sparsity, init = 'magnitude', threshold = 0.01 } = options
  const { rule = init === 'zero' ? 'topK' : 'threshold', freeze = init !== 'zero' } = options
  checkSparsity(sparsity)
  if (init !== 'magnitude' && init !== 'magnitudeSoft' && init !== 'zero')
    throw new ArgumentError(
      `trainMasks: unknown init '${String(init satisfies never)}'; expected 'magnitude', 'magnitudeSoft' or 'zero'`,
    )
  if (rule !== 'threshold' && rule !== 'topK')
    throw new ArgumentError(
      `trainMasks: unknown rule '${String(rule satisfies never)}'; expected 'threshold' or 'topK'`,
    )
  const chosen = options.parameters?.map((name) => findParameter(model, name)) ?? weightsOf(model)
  const taken = parametrizationsOf(model).find(({ parametrized }) =>
    chosen.some(([, p]) => p === parametrized.original),
  )
  if (taken)
    throw new ArgumentError(
      `trainMasks: '${taken.name}' has a parametrization already; undo it, or make it permanent, first`,
    )
  const made: [name: string, parameter: Parameter, mask: TrainedMask][] = []
  for (const [name, parameter] of chosen) {
    const scores = await firstScores(parameter, { init, sparsity, threshold })
    const mask = tidy(() => new TrainedMask(scores, { rule, sparsity, threshold }))
    scores.dispose()
    if (init === 'magnitudeSoft') await mask.setSparsity(sparsity)
    made.push([name, parameter, mask])
  }
  const frozen = freeze ? model.parameters().filter((p) => p.requiresGrad) : []
  for (const [, parameter, mask] of made) parametrize(model, parameter, mask)
  for (const p of frozen) p.requiresGrad = false
  recordPass(model, 'trainMasks', {
    sparsity,
    init,
    rule,
    threshold,
    freeze,
    parameters: chosen.map(([name]) => name),
  })
  const masks = made.map(([, , mask]) => mask)
  return {
    masks: new Map(made.map(([name, , mask]) => [name, mask])),
    scores: masks.map(({ scores }) => scores),
    setSparsity: async (next) => {
      checkSparsity(next)
      for (const mask of masks) await mask.setSparsity(next)
    },
    penalty: () =>
      tidy(() => {
        const size = masks.reduce((n, { scores }) => n + scores.size, 0)
        return mul(
          masks.map(({ scores }) => sum(sigmoid(scores))).reduce((a, b) => add(a, b)),
          1 / size,
        )
      }),
    finish: async () => {
      const keeps: Uint8Array[] = []
      for (const mask of masks) keeps.push(await mask.keep())
      made.forEach(([, parameter, mask], i) => {
        removeParametrization(model, parameter, mask)
        setMask(model, parameter, keeps[i])
        mask.scores.dispose('the scores of a mask whose training has finished')
        mask.threshold.dispose()
      })
      for (const p of frozen) p.requiresGrad = true
    },
  }
}

async function firstScores(
  parameter: Parameter,
  { init, sparsity, threshold }: { init: string; sparsity: number; threshold: number },
): Promise<Tensor> {
  const { shape, dtype, device } = parameter
  if (init === 'zero') return zeros(shape, { dtype, device })
  const magnitudes = (await parameter.data()).map(Math.abs)
  if (init === 'magnitudeSoft') return tensor(magnitudes, { shape, dtype, device })
  const all = { scores: magnitudes, keep: new Uint8Array(magnitudes.length).fill(1) }
  const [keep] = pruneLowest([all], Math.floor(magnitudes.length * sparsity))
  return tensor(
    Float64Array.from(keep, (k) => 2 * threshold * k),
    { shape, dtype, device },
  )
}
