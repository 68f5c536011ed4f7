// The expressions of composite attention: what masks, softmax and dropout do to a score, and their gradients.

import { constant, type Expr, input, type ScalarType, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { RowPlan } from '../backend/rows'
import { type AttentionMask, FAR_BELOW } from './attention-reference'

export type Kind = AttentionMask['kind'] | 'causal'

interface Programs {
  /** Operands: scores, then the masks; scalar: the scale. Values: weights, and the logarithm of each row's total. */
  readonly softmax: RowPlan
  /** Operands: scores, the logarithm of the row's total, then the masks; scalar: the scale. */
  readonly weights: Program
}

const cache = new Map<string, Programs>()

export function programsFor(kinds: readonly Kind[]): Programs {
  const key = kinds.join()
  let programs = cache.get(key)
  if (!programs) {
    const masks = kinds.flatMap((kind) => OPERANDS[kind])
    programs = {
      softmax: new RowPlan(
        ['float', ...masks],
        ([x, ...rest], reduce) => {
          const { score, unless } = masked(kinds, x, rest)
          const shift = reduce('max', unless(score, FAR_BELOW))
          const power = unless(score.sub(shift).exp(), 0)
          const total = reduce('sum', power)
          // A row without keys gets 0, so that nothing infinite appears.
          const none = total.eq(0)
          return {
            elements: [power.mul(none.where(0, constant(1).div(total)))],
            rows: [none.where(0, shift.add(total.log()))],
          }
        },
        1,
      ),
      weights: new Program([weightsOf(kinds, masks)], 2 + masks.length, 1),
    }
    cache.set(key, programs)
  }
  return programs
}

/** What each kind of mask brings; causal: the positions of query and key. */
const OPERANDS: Record<Kind, readonly ScalarType[]> = {
  exclude: ['bool'],
  add: ['float'],
  causal: ['int', 'int'],
}

function weightsOf(kinds: readonly Kind[], masks: readonly ScalarType[]): Expr {
  const rest = masks.map((type, i) => input(2 + i, type))
  const { score, unless } = masked(kinds, input(0), rest)
  return unless(score.sub(input(1)).exp(), 0)
}

/** Scaled and masked scores, and what puts a number in the place of a value that is masked out. */
function masked(
  kinds: readonly Kind[],
  x: Expr,
  masks: readonly Expr[],
): { score: Expr; unless: (value: Expr, instead: number) => Expr } {
  let score = x.mul(scalar(0))
  let excluded: Expr | null = null
  let at = 0
  for (const kind of kinds) {
    let out = masks[at++]
    if (kind === 'add') {
      score = score.add(out)
      out = out.eq(Number.NEGATIVE_INFINITY)
    } else if (kind === 'causal') out = out.lt(masks[at++])
    excluded = excluded ? excluded.or(out) : out
  }
  return { score, unless: (value, instead) => (excluded ? excluded.where(instead, value) : value) }
}

/** Operands: values, kept. Scalar: 1 / (1 - p). */
const DROPPED = input(1, 'bool').where(input(0).mul(scalar(0)), 0)
export const DROP = new Program([DROPPED], 2, 1)
/** Operands: weights, their gradient. Scalar: the scale. Values: the scores' gradient. */
export const SCORE_GRADIENT = new RowPlan(
  ['float', 'float'],
  ([w, g], reduce) => ({ elements: [w.mul(g.sub(reduce('sum', w.mul(g)))).mul(scalar(0))] }),
  1,
)
