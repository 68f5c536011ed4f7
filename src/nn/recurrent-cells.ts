// The cells of the recurrent layers: what one time step computes and how its gradient flows, as expressions for the
// fused node, and the same step in ordinary ops for its definition. Gates come in torch's order.

import { constant, type Expr } from '../backend/expr'
import { relu, tanh } from '../tensor/ops/elementwise'
import type { RecurrentStep } from './recurrent-reference'

export interface RecurrentCell {
  /** Of the op on the tape; unique, programs are cached by it. */
  readonly op: string
  /** Rows of the weights per hidden unit. */
  readonly gates: number
  /** Tensors of state; the first is the output. */
  readonly states: number
  /** Values per unit that backward needs. */
  readonly kept: number
  /** Whether bias_ih and bias_hh only ever appear as a sum. */
  readonly oneBias: boolean
  /** From the projections of input and state (biases added) and the states: the next states, and what is kept. */
  next(
    gi: readonly Expr[],
    gh: readonly Expr[],
    states: readonly Expr[],
  ): { readonly states: Expr[]; readonly kept: Expr[] }
  /**
   * From the gradients of the next states: those of the states, but for what flows through the projection, and those of
   * both projections.
   */
  gradient(
    grads: readonly Expr[],
    kept: readonly Expr[],
    states: readonly Expr[],
  ): { readonly states: Expr[]; readonly gi: Expr[]; readonly gh: Expr[] }
  readonly step: RecurrentStep
}

const one = constant(1)
const zero = constant(0)
/** y' = y (1 - y) of the sigmoid and 1 - y² of tanh, from the values. */
const sigmoidSlope = (y: Expr): Expr => y.mul(one.sub(y))
const tanhSlope = (y: Expr): Expr => one.sub(y.mul(y))

/**
 * torch.nn.GRU:
 *   r = sigmoid(gi_r + gh_r)        z = sigmoid(gi_z + gh_z)
 *   n = tanh(gi_n + r gh_n)         h' = (1 - z) n + z h
 */
export const GRU_CELL: RecurrentCell = {
  op: 'gru',
  gates: 3,
  states: 1,
  kept: 4,
  oneBias: false,
  next([ir, iz, inn], [hr, hz, hn], [h]) {
    const r = ir.add(hr).sigmoid()
    const z = iz.add(hz).sigmoid()
    const n = inn.add(r.mul(hn)).tanh()
    return { states: [one.sub(z).mul(n).add(z.mul(h))], kept: [r, z, n, hn] }
  },
  gradient([dh], [r, z, n, hn], [h]) {
    const dn = dh.mul(one.sub(z)).mul(tanhSlope(n))
    const dz = dh.mul(h.sub(n)).mul(z).mul(one.sub(z))
    const dr = dn.mul(hn).mul(r).mul(one.sub(r))
    return { states: [dh.mul(z)], gi: [dr, dz, dn], gh: [dr, dz, dn.mul(r)] }
  },
  step([ir, iz, inn], [hr, hz, hn], [h]) {
    const r = ir.add(hr).sigmoid()
    const z = iz.add(hz).sigmoid()
    const n = inn.add(r.mul(hn)).tanh()
    return [n.sub(z.mul(n)).add(z.mul(h))]
  },
}

/**
 * torch.nn.LSTM (Hochreiter and Schmidhuber 1997, with forget gate), with g = gi + gh:
 *   i, f, o = sigmoid(g_i), sigmoid(g_f), sigmoid(g_o)        u = tanh(g_g)
 *   c' = f c + i u                                            h' = o tanh(c')
 */
export const LSTM_CELL: RecurrentCell = {
  op: 'lstm',
  gates: 4,
  states: 2,
  kept: 5,
  oneBias: true,
  next(gi, gh, [, c]) {
    const [a, b, d, e] = gi.map((x, k) => x.add(gh[k]))
    const [i, f, u, o] = [a.sigmoid(), b.sigmoid(), d.tanh(), e.sigmoid()]
    const next = f.mul(c).add(i.mul(u))
    const squashed = next.tanh()
    return { states: [o.mul(squashed), next], kept: [i, f, u, o, squashed] }
  },
  gradient([dh, dc], [i, f, u, o, squashed], [, c]) {
    const dNext = dc.add(dh.mul(o).mul(tanhSlope(squashed)))
    const gates = [
      dNext.mul(u).mul(sigmoidSlope(i)),
      dNext.mul(c).mul(sigmoidSlope(f)),
      dNext.mul(i).mul(tanhSlope(u)),
      dh.mul(squashed).mul(sigmoidSlope(o)),
    ]
    return { states: [zero, dNext.mul(f)], gi: gates, gh: gates }
  },
  step(gi, gh, [, c]) {
    const [i, f, u, o] = gi.map((x, k) => (k === 2 ? x.add(gh[k]).tanh() : x.add(gh[k]).sigmoid()))
    const next = f.mul(c).add(i.mul(u))
    return [o.mul(next.tanh()), next]
  },
}

/** torch.nn.RNN (Elman 1990): h' = tanh or relu of gi + gh. */
function elmanCell(
  op: string,
  apply: (x: Expr) => Expr,
  slope: (y: Expr) => Expr,
  step: typeof tanh,
): RecurrentCell {
  return {
    op,
    gates: 1,
    states: 1,
    kept: 1,
    oneBias: true,
    next([x], [y]) {
      const h = apply(x.add(y))
      return { states: [h], kept: [h] }
    },
    gradient([dh], [h]) {
      const d = dh.mul(slope(h))
      return { states: [zero], gi: [d], gh: [d] }
    },
    step: ([x], [y]) => [step(x.add(y))],
  }
}

export const RNN_TANH_CELL = elmanCell('rnnTanh', (x) => x.tanh(), tanhSlope, tanh)
export const RNN_RELU_CELL = elmanCell(
  'rnnRelu',
  (x) => x.le(0).where(0, x),
  (y) => y.gt(0).where(1, zero),
  relu,
)
