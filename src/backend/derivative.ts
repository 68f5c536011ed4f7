// The derivative of an expression is another expression: reverse mode over its nodes, one rule a kind.

import { constant, type Expr, topological } from './expr'

/**
 * Reverse-mode derivative. Given outputs `ys`, the gradient `gs[k]` of a loss with respect to each
 * (`null`: no gradient arrives there), returns the gradient with respect to every input index in `wrt`
 * (`null`: the outputs do not depend on it, or only through integers and comparisons).
 * Conventions at kinks are PyTorch's: sign(0) = 0 for abs, ties of max and min share equally.
 */
export function differentiate(
  ys: readonly Expr[],
  gs: readonly (Expr | null)[],
  wrt: readonly number[],
): (Expr | null)[] {
  const order = topological(ys)
  const adjoint = new Map<Expr, Expr>()
  const add = (x: Expr, g: Expr): void => {
    const old = adjoint.get(x)
    adjoint.set(x, old ? old.add(g) : g)
  }
  ys.forEach((y, k) => {
    const g = gs[k]
    if (g && y.type === 'float') add(y, g)
  })
  const result = new Map<number, Expr>()
  for (let i = order.length - 1; i >= 0; i--) {
    const y = order[i]
    const g = adjoint.get(y)
    if (!g) continue
    if (y.kind === 'input') {
      const old = result.get(y.value)
      result.set(y.value, old ? old.add(g) : g)
      continue
    }
    for (const [x, gx] of rule(y, g)) if (x.type === 'float') add(x, gx)
  }
  return wrt.map((i) => result.get(i) ?? null)
}

/** The gradient that `y = kind(args)` sends to each of its arguments. */
function rule(y: Expr, g: Expr): [Expr, Expr][] {
  const [a, b, c] = y.args
  switch (y.kind) {
    case 'neg':
      return [[a, g.neg()]]
    case 'abs':
      return [[a, g.mul(a.sign())]]
    case 'exp':
      return [[a, g.mul(y)]]
    case 'log':
      return [[a, g.div(a)]]
    case 'log1p':
      return [[a, g.div(a.add(1))]]
    case 'expm1':
      return [[a, g.mul(y.add(1))]]
    case 'sqrt':
      return [[a, g.div(y.mul(2))]]
    case 'sin':
      return [[a, g.mul(a.cos())]]
    case 'cos':
      return [[a, g.mul(a.sin()).neg()]]
    case 'tanh':
      return [[a, g.mul(constant(1).sub(y.mul(y)))]]
    case 'sigmoid':
      return [[a, g.mul(y.mul(constant(1).sub(y)))]]
    case 'erf':
      return [[a, g.mul(a.mul(a).neg().exp()).mul(2 / Math.sqrt(Math.PI))]]
    case 'add':
      return [
        [a, g],
        [b, g],
      ]
    case 'sub':
      return [
        [a, g],
        [b, g.neg()],
      ]
    case 'mul':
      return [
        [a, g.mul(b)],
        [b, g.mul(a)],
      ]
    case 'div':
      return [
        [a, g.div(b)],
        [b, g.mul(y).div(b).neg()],
      ]
    case 'pow':
      return [
        // x^0 is flat and 0^b with b >= 0 does not depend on b, also where the general formula would give NaN.
        [a, b.eq(0).where(0, g.mul(b.mul(a.pow(b.sub(1)))))],
        [
          b,
          a
            .eq(0)
            .and(b.ge(0))
            .where(0, g.mul(y.mul(a.log()))),
        ],
      ]
    case 'mod':
      return [
        [a, g],
        [b, g.mul(a.div(b).floor()).neg()],
      ]
    case 'max':
      return [
        [a, shareTies(g, b, a)],
        [b, shareTies(g, a, b)],
      ]
    case 'min':
      return [
        [a, shareTies(g, a, b)],
        [b, shareTies(g, b, a)],
      ]
    case 'where':
      return [
        [b, a.where(g, 0)],
        [c, a.where(0, g)],
      ]
    case 'cast':
    case 'single':
      return [[a, g]]
    case 'sign':
    case 'floor':
    case 'ceil':
    case 'round':
    case 'isNaN':
    case 'not':
    case 'eq':
    case 'lt':
    case 'le':
    case 'and':
    case 'or':
    case 'input':
    case 'scalar':
    case 'const':
      return []
    default:
      return y.kind satisfies never
  }
}

/** g where lo < hi, half of it where they are equal, else 0. */
function shareTies(g: Expr, lo: Expr, hi: Expr): Expr {
  return lo.lt(hi).where(g, lo.eq(hi).where(g.mul(0.5), 0))
}
