// Which layers of a student look at which of its teacher's, with learned regressors where their widths differ.

import { ArgumentError, ShapeError } from '../../errors'
import { Linear } from '../../nn/linear'
import { Module } from '../../nn/module'
import { checkSizes, type LayerOptions } from '../../nn/options'
import { inModule } from '../../tensor/context'
import { add, mul, relu, tanh } from '../../tensor/ops/elementwise'
import { tidy } from '../../tensor/scope'
import type { Tensor } from '../../tensor/tensor'
import { attentionTransfer, fsp, hiddenCosine, hiddenMse, type HintOptions, pkd } from './hints'
import { checkFinite } from './rows'

export interface RegressorOptions extends LayerOptions {
  /** After the linear layer. Default 'none'. */
  activation?: 'none' | 'relu' | 'tanh'
  /** Default true. */
  bias?: boolean
}

const ACTIVATIONS = { none: (x: Tensor) => x, relu, tanh }

/** A learned map from the student's width to the teacher's, `[..., student]` to `[..., teacher]` (Romero et al. 2015). */
export class Regressor extends Module {
  linear: Linear
  readonly #activation: keyof typeof ACTIVATIONS

  constructor(
    studentSize: number,
    teacherSize: number,
    { activation = 'none', ...options }: RegressorOptions = {},
  ) {
    super()
    checkSizes('Regressor', { studentSize, teacherSize })
    if (!Object.hasOwn(ACTIVATIONS, activation)) {
      throw new ArgumentError(
        `Regressor: unknown activation '${String(activation)}'; expected 'none', 'relu' or 'tanh'`,
      )
    }
    this.linear = new Linear(studentSize, teacherSize, options)
    this.#activation = activation
  }

  forward(x: Tensor): Tensor {
    return tidy(() => ACTIVATIONS[this.#activation](this.linear.forward(x)))
  }
}

/** A layer of the student and the one of the teacher that it learns from: places in lists of states. */
export interface HintMatch {
  student: number
  teacher: number
  /** Default 1. */
  weight?: number
}

export interface HintsOptions extends RegressorOptions {
  /** `fsp` compares the matrices of each match and the next one; the others each match by itself. Default 'mse'. */
  kind?: 'mse' | 'cosine' | 'attention' | 'pkd' | 'fsp'
  matches: readonly HintMatch[]
  /** Width of the student's states. */
  studentSize: number
  teacherSize: number
  /** Regressors though the widths are the same. Default false. */
  alwaysRegress?: boolean
}

/**
 * The weighted sum of a kind of hint over layers: `hints.forward(studentStates, teacherStates, { mask })` for lists of states
 * [N, T, E], such as `hiddenStates` of BERT. Its regressors are parameters: give them to the optimizer with the student's, and
 * drop the module when training is done.
 *
 * ```ts
 * const hints = new Hints({ matches: pkdMatches('skip', 12, 6), studentSize: 384, teacherSize: 768 })
 * const optimizer = new optim.AdamW([...student.parameters(), ...hints.parameters()])
 * ```
 * @throws ArgumentError without matches, for places below 0, weights that are not finite, or an unknown kind.
 */
export class Hints extends Module {
  /** One for each match; none where the widths are equal, or where only positions count (`attention`). */
  regressors: Regressor[]
  readonly matches: readonly HintMatch[]
  readonly kind: NonNullable<HintsOptions['kind']>

  constructor({
    kind = 'mse',
    matches,
    studentSize,
    teacherSize,
    alwaysRegress = false,
    ...options
  }: HintsOptions) {
    super()
    checkSizes('Hints', { studentSize, teacherSize })
    if (!['mse', 'cosine', 'attention', 'pkd', 'fsp'].includes(kind)) {
      throw new ArgumentError(
        `Hints: unknown kind '${String(kind)}'; expected 'mse', 'cosine', 'attention', 'pkd' or 'fsp'`,
      )
    }
    const least = kind === 'fsp' ? 2 : 1
    if (matches.length < least) {
      throw new ArgumentError(`Hints: ${matches.length} matches; '${kind}' needs at least ${least}`)
    }
    for (const { student, teacher, weight = 1 } of matches) {
      for (const [name, place] of Object.entries({ student, teacher })) {
        if (Number.isInteger(place) && place >= 0) continue
        throw new ArgumentError(`Hints: a match has ${name} ${place}; expected the place of a layer, from 0`)
      }
      checkFinite('Hints', 'the weight of a match', weight)
    }
    this.kind = kind
    this.matches = matches.map((match) => ({ ...match }))
    const regressed = kind !== 'attention' && (alwaysRegress || studentSize !== teacherSize)
    this.regressors = regressed ? matches.map(() => new Regressor(studentSize, teacherSize, options)) : []
  }

  /** @throws ShapeError for states that are not there, of other positions, or of other widths than were given. */
  forward(student: readonly Tensor[], teacher: readonly Tensor[], options: HintOptions = {}): Tensor {
    return tidy(() => {
      const pairs = this.matches.map((match, i) => {
        const own = stateAt('student', student, match.student)
        return {
          student: this.regressors[i]?.forward(own) ?? own,
          teacher: stateAt('teacher', teacher, match.teacher),
          weight: match.weight ?? 1,
        }
      })
      const losses = pairs.flatMap((pair, i) => {
        const next = pairs[i + 1]
        if (this.kind !== 'fsp') return [mul(this.#loss(pair.student, pair.teacher, options), pair.weight)]
        if (!next) return []
        return [mul(fsp([pair.student, next.student], [pair.teacher, next.teacher], options), pair.weight)]
      })
      return losses.reduce((total, loss) => add(total, loss))
    })
  }

  #loss(student: Tensor, teacher: Tensor, options: HintOptions): Tensor {
    switch (this.kind) {
      case 'mse':
        return hiddenMse(student, teacher, options)
      case 'cosine':
        return hiddenCosine(student, teacher, options)
      case 'attention':
        return attentionTransfer(student, teacher, { ...options, channelDim: -1 })
      default:
        return pkd(student, teacher)
    }
  }
}

function stateAt(whose: string, states: readonly Tensor[], place: number): Tensor {
  const state = states[place]
  if (state) return state
  throw new ShapeError(
    `Hints: there is no state ${place} of the ${whose}${inModule()}; it gave ${states.length}, from 0`,
  )
}

/**
 * Patient distillation's choice of layers (Sun et al. 2019), as places in BERT's `hiddenStates`, where 0 is the embeddings: the
 * student's layers but its last learn from every (teacher / student)-th layer (`skip`), or from those before the last (`last`).
 * @throws ArgumentError for numbers of layers that cannot be, and for `skip` where one does not divide the other.
 */
export function pkdMatches(
  strategy: 'skip' | 'last',
  teacherLayers: number,
  studentLayers: number,
): HintMatch[] {
  checkSizes('pkdMatches', { teacherLayers, studentLayers })
  if (strategy !== 'skip' && strategy !== 'last') {
    throw new ArgumentError(
      `pkdMatches: unknown strategy '${String(strategy satisfies never)}'; expected 'skip' or 'last'`,
    )
  }
  if (studentLayers > teacherLayers || studentLayers < 2) {
    throw new ArgumentError(
      `pkdMatches: a student of ${studentLayers} layers and a teacher of ${teacherLayers}; expected 2 to ${teacherLayers}`,
    )
  }
  if (strategy === 'skip' && teacherLayers % studentLayers !== 0) {
    throw new ArgumentError(
      `pkdMatches: ${studentLayers} layers do not divide the teacher's ${teacherLayers}; use 'last', or matches of your own`,
    )
  }
  return Array.from({ length: studentLayers - 1 }, (_, i) => {
    const student = i + 1
    const teacher =
      strategy === 'skip'
        ? student * (teacherLayers / studentLayers)
        : teacherLayers - studentLayers + student
    return { student, teacher }
  })
}
