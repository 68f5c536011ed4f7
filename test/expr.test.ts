// Expressions: derivatives against central differences for every kind, and what Program makes of them.
import { describe, expect, it } from 'vitest'
import { differentiate } from '../src/backend/derivative'
import { constant, type Expr, input, scalar, topological } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { evaluate, noise } from './support/naive'

const x = input(0)
const y = input(1)
const z = input(2)

/** The derivative with respect to input i, by a central difference of fourth order. */
function slope(e: Expr, at: number[], i: number, scalars: number[] = []): number {
  const h = 1e-3
  const f = (d: number): number => evaluate(e, at.with(i, at[i] + d), scalars)
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
}

const CASES: Record<string, { e: Expr; low?: number; high?: number }> = {
  neg: { e: x.neg() },
  abs: { e: x.abs().mul(y) },
  sign: { e: x.sign().mul(x) },
  exp: { e: x.exp() },
  log: { e: x.log(), low: 0.2 },
  log1p: { e: x.log1p(), low: -0.8 },
  expm1: { e: x.expm1() },
  sqrt: { e: x.sqrt(), low: 0.2 },
  sin: { e: x.sin() },
  cos: { e: x.cos() },
  tanh: { e: x.tanh() },
  sigmoid: { e: x.sigmoid() },
  erf: { e: x.erf() },
  floor: { e: x.floor().mul(x) },
  ceil: { e: x.ceil().mul(x) },
  round: { e: x.round().mul(x) },
  add: { e: x.add(y).add(1) },
  sub: { e: x.sub(y).sub(1) },
  mul: { e: x.mul(y).mul(3) },
  div: { e: x.div(y), low: 0.3 },
  pow: { e: x.pow(y), low: 0.2 },
  'pow with a constant exponent': { e: x.pow(3).add(y.pow(-2)), low: 0.3 },
  mod: { e: x.mod(y), low: 0.3 },
  max: { e: x.max(y).mul(z) },
  min: { e: x.min(y).mul(z) },
  where: { e: x.lt(y).where(x.mul(x), y.mul(z)) },
  'comparisons and logic': { e: x.lt(0.3).and(y.le(z)).or(x.eq(y)).not().where(x.mul(y), z) },
  isNaN: { e: x.isNaN().where(0, x.mul(2)) },
  cast: { e: x.cast('int').asFloat().mul(y).add(x.asBool().asFloat().mul(z)) },
  scalar: { e: x.mul(scalar(0)).add(scalar(0).mul(scalar(0))) },
  'a shared subexpression': { e: x.tanh().mul(x.tanh()).add(x.tanh().exp()) },
  gelu: { e: x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1)) },
  softplus: { e: x.max(0).add(x.abs().neg().exp().log1p()) },
}

/** Points at least `gap` away from the kinks of the cases (integers, ties, 0, 0.3). */
function points(low: number, high: number): number[][] {
  const next = noise(7)
  const gap = 0.02
  const smooth = (p: number[]): boolean =>
    p.every((v) => [v, v - 0.5, v - 0.3].every((u) => Math.abs(u - Math.round(u)) > gap)) &&
    Math.abs(p[0] - p[1]) > gap &&
    Math.abs(p[1] - p[2]) > gap &&
    [1, 2, 3, 4, 5, 6, 7, 8, 9].every((n) => Math.abs(p[0] - n * p[1]) > gap)
  const found: number[][] = []
  while (found.length < 12) {
    const p = [0, 1, 2].map(() => low + ((next() + 1) / 2) * (high - low))
    if (smooth(p)) found.push(p)
  }
  return found
}

describe('differentiate agrees with central differences', () => {
  it.each(Object.entries(CASES))('%s', (_, { e, low = -2, high = 2.5 }) => {
    const seed = scalar(1)
    const gradients = differentiate([e], [seed], [0, 1, 2])
    for (const at of points(low, high)) {
      gradients.forEach((g, i) => {
        const expected = slope(e, at, i, [1.3]) * 0.7
        const got = g ? evaluate(g, at, [1.3, 0.7]) : 0
        expect(Math.abs(got - expected)).toBeLessThan(1e-7 * (1 + Math.abs(expected)))
      })
    }
  })
})

describe('second derivatives', () => {
  it.each(Object.entries(CASES))('%s', (_, { e, low = -2, high = 2.5 }) => {
    for (const first of differentiate([e], [constant(1)], [0, 1])) {
      if (!first) continue
      const second = differentiate([first], [constant(1)], [0, 1])
      for (const at of points(low, high)) {
        second.forEach((g, i) => {
          const expected = slope(first, at, i, [1.3])
          const got = g ? evaluate(g, at, [1.3]) : 0
          expect(Math.abs(got - expected)).toBeLessThan(1e-6 * (1 + Math.abs(expected)))
        })
      }
    }
  })
})

describe('conventions at kinks and edges', () => {
  const gradient = (e: Expr, at: number[]): (number | null)[] =>
    differentiate([e], [constant(1)], [0, 1]).map((g) => (g ? evaluate(g, at) : null))

  it('ties of max and min share the gradient equally', () => {
    expect(gradient(x.max(y), [2, 2])).toEqual([0.5, 0.5])
    expect(gradient(x.min(y), [2, 2])).toEqual([0.5, 0.5])
    expect(gradient(x.max(y), [3, 2])).toEqual([1, 0])
    expect(gradient(x.min(y), [3, 2])).toEqual([0, 1])
  })

  it('abs is flat at 0', () => {
    expect(gradient(x.abs(), [0])).toEqual([0, null])
  })

  it('x^0 is flat, 0^b does not depend on b, and 0^1 has slope 1', () => {
    expect(gradient(x.pow(y), [0, 0])).toEqual([0, 0])
    expect(gradient(x.pow(y), [0, 1])).toEqual([1, 0])
    expect(gradient(x.pow(y), [0, 3])).toEqual([0, 0])
    expect(gradient(x.pow(2), [-3])).toEqual([-6, null])
  })

  it('where sends nothing to the branch not taken, even if its value is NaN', () => {
    const safe = x.gt(0).where(x, 1)
    expect(gradient(x.gt(0).where(safe.log(), 0), [-1])).toEqual([0, null])
  })

  it('no gradient flows through integers, comparisons and unused inputs', () => {
    expect(differentiate([x.cast('int').asFloat()], [constant(1)], [0])).toEqual([null])
    expect(differentiate([x.lt(y).asFloat()], [constant(1)], [0, 1])).toEqual([null, null])
    expect(differentiate([x], [null], [0])).toEqual([null])
    expect(differentiate([x], [constant(1)], [1])).toEqual([null])
    expect(differentiate([x.lt(y)], [constant(1)], [0])).toEqual([null])
  })

  it('several outputs add up', () => {
    const [gx, gy] = differentiate([x.mul(y), x.sin()], [scalar(0), scalar(1)], [0, 1])
    const [a, b, p, q] = [0.4, 0.9, 2, 3]
    expect(evaluate(gx!, [a, b], [p, q])).toBeCloseTo(p * b + q * Math.cos(a), 12)
    expect(evaluate(gy!, [a, b], [p, q])).toBeCloseTo(p * a, 12)
  })

  it('differentiates deep expressions without recursion', () => {
    let e: Expr = x
    for (let i = 0; i < 30_000; i++) e = e.add(1)
    const [g] = differentiate([e], [scalar(0)], [0])
    expect(g).toEqual(scalar(0))
    expect(topological([e])).toHaveLength(30_001 + 30_000)
  })
})

describe('typing', () => {
  it('unifies bool < int < float, divides to float, and keeps rounding off integers', () => {
    const [b, i] = [input(0, 'bool'), input(1, 'int')]
    expect(b.add(b).type).toBe('int')
    expect(b.mul(i).type).toBe('int')
    expect(i.add(x).type).toBe('float')
    expect(i.add(0.5).type).toBe('float')
    expect(i.add(2).type).toBe('int')
    expect(i.div(2).type).toBe('float')
    expect(i.floor()).toBe(i)
    expect(i.lt(3).type).toBe('bool')
    expect(b.where(i, x).type).toBe('float')
  })

  it('drops only operations that change no bit', () => {
    expect(x.mul(1)).toBe(x)
    expect(constant(1).mul(x)).toBe(x)
    expect(x.div(1)).toBe(x)
    expect(x.add(0)).not.toBe(x)
  })
})

describe('Program', () => {
  it('computes common subexpressions once', () => {
    const e = x.add(y).sin().add(x.add(y).cos())
    const program = new Program([e, x.add(y)], 2)
    expect(program.instructions.map((s) => s.kind)).toEqual(['input', 'input', 'add', 'sin', 'cos', 'add'])
    expect(program.outputs).toEqual([5, 2])
    expect(program.usedInputs).toEqual([0, 1])
  })

  it('has equal keys for equal structure only; scalars are not part of it, constants and types are', () => {
    const key = (...e: Expr[]): string => new Program(e, 2, 1).key
    expect(key(x.mul(scalar(0)))).toBe(key(input(0).mul(scalar(0))))
    const different = [
      x.add(y),
      y.add(x),
      x.sub(y),
      x.add(0),
      x.add(-0),
      x.add(0.5),
      x.mul(scalar(0)),
      x.neg(),
      input(0, 'int').neg(),
    ]
    expect(new Set(different.map((e) => key(e))).size).toBe(different.length)
    expect(key(x, y)).not.toBe(key(y, x))
  })

  it('lists only the inputs that are read', () => {
    expect(new Program([input(2).add(input(0))], 4).usedInputs).toEqual([0, 2])
  })

  it('orders arguments before their users', () => {
    const program = new Program([x.lt(y).where(x.exp(), y.log()).pow(z)], 3)
    program.instructions.forEach((s, i) => {
      for (const a of s.args) expect(a).toBeLessThan(i)
    })
  })
})
