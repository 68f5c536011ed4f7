// The expressions of composite attention: what masks, softmax and dropout do to a score, and their gradients.

import { type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { type AttentionMask, FAR_BELOW } from './attention-reference'

export type Kind = AttentionMask['kind'] | 'causal'

/** Operands: 0 scores, 1 a statistic of the row, then the masks. Scalar 0: the scale. */
interface Programs {
  readonly largest: Program
  readonly total: Program
  readonly weights: Program
}

const cache = new Map<string, Programs>()

export function programsFor(kinds: readonly Kind[]): Programs {
  const key = kinds.join()
  const known = cache.get(key)
  if (known) return known
  let score: Expr = input(0).mul(scalar(0))
  let excluded: Expr | null = null
  let at = 2
  for (const kind of kinds) {
    let out: Expr
    if (kind === 'exclude') out = input(at++, 'bool')
    else if (kind === 'add') {
      score = score.add(input(at))
      out = input(at++).eq(Number.NEGATIVE_INFINITY)
    } else {
      out = input(at, 'int').lt(input(at + 1, 'int'))
      at += 2
    }
    excluded = excluded ? excluded.or(out) : out
  }
  const unless = (value: Expr, instead: number): Expr => (excluded ? excluded.where(instead, value) : value)
  const power = unless(score.sub(input(1)).exp(), 0)
  const programs = {
    largest: new Program([unless(score, FAR_BELOW)], at, 1),
    total: new Program([power], at, 1),
    weights: new Program([power], at, 1),
  }
  cache.set(key, programs)
  return programs
}

/** Of a row's shift and total. A row without keys gets 0, so that nothing infinite appears. */
export const LOG_SUM = new Program(
  [
    input(1)
      .eq(0)
      .where(0, input(0).add(input(1).log())),
  ],
  2,
)
/** Operands: values, kept. Scalar: 1 / (1 - p). */
const DROPPED = input(1, 'bool').where(input(0).mul(scalar(0)), 0)
export const DROP = new Program([DROPPED], 2, 1)
/** Operands: weights, gradient of the weights, [sum of their products]. Scalar: the scale. */
export const PRODUCTS = new Program([input(0).mul(input(1))], 2)
export const SCORE_GRADIENT = new Program(
  [
    input(0)
      .mul(input(1).sub(input(2)))
      .mul(scalar(0)),
  ],
  3,
  1,
)
