// Cross-entropy as one recorded op of three kernels forward (the targets' logits, a row plan, a mean) and one backward.
// With m the largest logit of a row, s the sum of exp(x - m), t the target, and e the share of label smoothing:
//   loss = log s - (1 - e) (x_t - m) - e mean(x - m)          dx = g (exp(x - m) / s - (1 - e) [k = t] - e / C)
// The definition in ordinary ops, which loss.ts gives, serves second derivatives.

import { differentiateReference } from '../autograd/reference'
import { record } from '../autograd/tape'
import { type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { RowPlan } from '../backend/rows'
import { map, mapRows } from '../tensor/ops/apply'
import { gather } from '../tensor/ops/indexing'
import { reshape, squeeze, unsqueeze } from '../tensor/ops/views'
import { gradEnabled, noGrad, tidy } from '../tensor/scope'
import type { Tensor } from '../tensor/tensor'
import type { Reduction } from './reduction'

// Scalars: id to ignore, share of label smoothing, 1 / C.
const [IGNORED, SHARE, PER_CLASS] = [scalar(0, 'int'), scalar(1), scalar(2)]

/** Class 0 in place of ids that do not count. */
const IDS = new Program([input(0, 'int').ne(IGNORED).where(input(0, 'int'), 0)], 1, 1)

/** Operands: logits, targets, the targets' logits. Values per row: loss, m, log s. */
const LOSSES = [false, true].map(
  (smooth) =>
    new RowPlan(
      ['float', 'int', 'float'],
      ([x, t, picked], reduce) => {
        const top = reduce('max', x)
        const shift = top.abs().eq(Number.POSITIVE_INFINITY).where(0, top)
        const log = reduce('sum', x.sub(shift).exp()).log()
        const near = picked.sub(shift)
        const even = (): Expr => SHARE.mul(reduce('sum', x.sub(shift)).mul(PER_CLASS).sub(near))
        const loss = log.sub(smooth ? near.add(even()) : near)
        return { rows: [t.ne(IGNORED).where(loss, 0), shift, log] }
      },
      3,
    ),
)

/** Of all losses, with their targets: sum and mean, and how many there are. */
const TOTAL = {
  sum: new RowPlan(['float', 'int'], ([loss], reduce) => ({ rows: [reduce('sum', loss)] }), 3),
  mean: new RowPlan(
    ['float', 'int'],
    ([loss, t], reduce) => {
      const n = reduce('sum', t.ne(IGNORED).asFloat())
      return { rows: [reduce('sum', loss).div(n), n] }
    },
    3,
  ),
}

/** Operands: logits, targets, m, log s, the gradient of the losses, and with `mean` their number. */
const GRADIENT = [false, true].map(
  (mean) =>
    new RowPlan(
      mean
        ? ['float', 'int', 'float', 'float', 'float', 'float']
        : ['float', 'int', 'float', 'float', 'float'],
      ([x, t, shift, log, g, n], _, position) => {
        const rest = SHARE.mul(PER_CLASS)
        const wanted = position.eq(t).where(rest.add(1).sub(SHARE), rest)
        const slope = x
          .sub(shift)
          .sub(log)
          .exp()
          .sub(wanted)
          .mul(mean ? g.div(n) : g)
        return { elements: [t.ne(IGNORED).where(slope, 0)] }
      },
      3,
    ),
)

/**
 * Cross-entropy of logits with classes along `dim` and ids `target` of the other axes, without class weights. `reference`
 * is the same in ordinary ops.
 */
export function fusedCrossEntropy(
  logits: Tensor,
  target: Tensor,
  dim: number,
  options: { readonly labelSmoothing: number; readonly ignoreIndex: number; readonly reduction: Reduction },
  reference: (logits: Tensor, target: Tensor) => Tensor,
): Tensor {
  const { labelSmoothing, ignoreIndex, reduction } = options
  const op = 'crossEntropy'
  const scalars = [ignoreIndex, labelSmoothing, 1 / logits.shape[dim]]
  const [out, count, ids, shift, log] = noGrad(() => {
    const wide = unsqueeze(target, dim)
    const range = target.idRange
    const ids =
      range && range.min >= 0 && range.max < logits.shape[dim] ? wide : map(op, IDS, [wide], [ignoreIndex])[0]
    const picked = gather(logits, dim, ids)
    const plan = LOSSES[Number(labelSmoothing > 0)]
    const [losses, m, s] = mapRows(op, plan, [logits, wide, picked], scalars, [dim])
    if (reduction === 'none') return [squeeze(losses, dim), null, wide, m, s]
    const flat = [losses, wide].map((t) => reshape(t, [t.size]))
    const [result, n = null] = mapRows(op, TOTAL[reduction], flat, scalars, [0])
    return [reshape(result, []), n && reshape(n, []), wide, m, s]
  })
  const saved = [logits, ids, shift, log, ...(count ? [count] : [])]
  record(op, [logits], [out], saved, ([g], [x, t, m, s, n]) => {
    if (!g) return [null]
    if (gradEnabled()) return differentiateReference((y) => [reference(y, squeeze(t, dim))], [x], [g], [true])
    return tidy(() => {
      const own = reduction === 'none' ? unsqueeze(g, dim) : g
      return mapRows(
        `${op} backward`,
        GRADIENT[Number(n !== undefined)],
        [x, t, m, s, own, ...(n ? [n] : [])],
        scalars,
        [dim],
      )
    })
  })
  return out
}
