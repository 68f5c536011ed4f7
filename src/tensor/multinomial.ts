// Drawing from lists of weights, on the device and without waiting for it.

import { constant, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import { ArgumentError, ShapeError } from '../errors'
import { inModule } from './context'
import { map, mapReduce, requireFloat } from './ops/apply'
import { positions } from './ops/indexing'
import { cumsum, topk } from './ops/order'
import { amax } from './ops/reduce'
import { unsqueeze } from './ops/views'
import { nextStream } from './random-state'
import { noGrad } from './scope'
import { formatShape, type Shape } from './shape'
import { Tensor } from './tensor'

const weight = input(0)
const valid = weight.ge(0).and(weight.isFinite())
/** What is no weight becomes NaN, which the maximum of a line passes on: such a line gives nothing. */
const CHECKED = new Program([valid.where(weight, constant(Number.NaN))], 1)
/** The running sum (1) where there is a weight, so that nothing of weight 0 is ever drawn. */
const REACH = new Program([valid.where(weight.gt(0).where(input(1), -1), constant(Number.NaN))], 2)
/** The position (3) where the running sum (0) is above a share (2) of the total (1); elsewhere one that does not exist. */
const HIT = new Program(
  [
    input(0)
      .gt(input(1).mul(input(2)))
      .where(input(3, 'int'), scalar(0, 'int')),
  ],
  4,
  1,
)
/** Weight, relative to the largest (1), over an exponential waiting time made from a uniform number (2). */
const wait = constant(1)
  .sub(input(2))
  .log()
  .neg()
  .max(2 ** -25)
const RACE = new Program(
  [
    weight
      .gt(0)
      .and(input(1).isFinite())
      .where(weight.div(input(1)).div(wait), 0),
  ],
  3,
)
const WINNER = new Program([input(0).gt(0).where(input(1, 'int'), scalar(0, 'int'))], 2, 1)

/**
 * Positions drawn by weight: from weights `[classes]` `count` of them, from `[lines, classes]` as many for each line
 * (torch.multinomial). Weights are non-negative and need not add up to 1; without `replacement` (the default) no position
 * is drawn twice. Follows `manualSeed`. int32.
 * @throws ArgumentError on the cpu for lines without enough positive weights, or with negative or non-finite ones; on
 * webgpu such a line gives the position `classes`, which lookups report.
 */
export function multinomial(
  weights: Tensor,
  count: number,
  { replacement = false }: { replacement?: boolean } = {},
): Tensor {
  requireFloat('multinomial', weights)
  if (weights.ndim < 1 || weights.ndim > 2) {
    throw new ShapeError(
      `multinomial: weights have shape ${formatShape(weights.shape)}${inModule()}; expected [classes] or [lines, classes]`,
    )
  }
  const classes = weights.shape[weights.ndim - 1]
  if (!Number.isInteger(count) || count < 1 || classes === 0 || (!replacement && count > classes)) {
    throw new ArgumentError(
      `multinomial: count is ${count} for ${classes} classes${inModule()}; ` +
        `expected a positive integer${replacement ? ' and classes to draw from' : ', at most the number of classes without replacement'}`,
    )
  }
  const drawn = noGrad(() => (replacement ? withReplacement : withoutReplacement)(weights, count, classes))
  // Where it can be looked at for free.
  if (drawn.dataSync()?.includes(classes as never)) {
    drawn.dispose()
    throw new ArgumentError(
      `multinomial: a line of weights holds negative or non-finite numbers, or fewer positive ones than are drawn${inModule()}; ` +
        'expected non-negative, finite weights',
    )
  }
  return drawn
}

function withReplacement(weights: Tensor, count: number, classes: number): Tensor {
  const [reach] = map('multinomial', REACH, [weights, cumsum(weights, -1)])
  const total = amax(reach, -1, { keepdim: true })
  const share = uniform(weights, [...weights.shape.slice(0, -1), count, 1])
  const position = positions(weights, classes)
  const inputs = [unsqueeze(reach, -2), unsqueeze(total, -2), share, position]
  return mapReduce('min', 'multinomial', HIT, inputs, [classes], [share.ndim - 1], false)
}

function withoutReplacement(weights: Tensor, count: number, classes: number): Tensor {
  const largest = amax(map('multinomial', CHECKED, [weights])[0], -1, { keepdim: true })
  const luck = uniform(weights, weights.shape)
  const { values, indices } = topk(map('multinomial', RACE, [weights, largest, luck])[0], count)
  return map('multinomial', WINNER, [values, indices], [classes])[0]
}

/** Uniform numbers on [0, 1) of the weights' dtype and device. */
function uniform(weights: Tensor, shape: Shape): Tensor {
  const out = Tensor.allocate(weights.backend, weights.dtype, shape)
  const { seed, stream } = nextStream()
  if (out.size > 0) out.backend.random({ kind: 'uniform' }, seed, stream, out.view())
  return out
}
