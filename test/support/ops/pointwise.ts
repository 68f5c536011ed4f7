// Rows of the ops that work element by element.
import fc from 'fast-check'
import * as ef from '../../../src/index'
import { broadcastableShapes, shapes } from '../../../src/testing'
import { exactErf } from '../naive'
import { elementwise, type Nd } from '../nd'
import {
  awayFrom,
  betweenHalves,
  type Domain,
  type ResultDType,
  type Row,
  seeds,
  type Tensor,
  truth,
  values,
} from './case'

const roundHalfEven = (v: number): number => {
  const low = Math.floor(v)
  return v - low < 0.5 || (v - low === 0.5 && low % 2 === 0) ? low : low + 1
}
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** An export of the library, called by its name. */
const call = (op: string, ...args: ef.Operand[]): Tensor =>
  (ef as unknown as Record<string, (...x: ef.Operand[]) => Tensor>)[op](...args)

function unary(
  op: string,
  f: (x: number) => number,
  int32: ResultDType,
  bool: ResultDType,
  {
    result = 'float',
    differentiable = true,
    ...domain
  }: Domain & { result?: Nd['type']; differentiable?: boolean } = {},
): Row {
  return {
    op,
    int32,
    bool,
    differentiable,
    cases: (limits) =>
      fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
        inputs: [values(shape, seed, domain)],
        run: (x) => call(op, x),
        expected: (x) => elementwise(f, [x], result),
      })),
  }
}

const FLOAT = ['float32', 'float32'] as const
const KEEP = ['int32', 'int32'] as const

export const UNARY: Row[] = [
  unary('neg', (x) => -x, ...KEEP),
  unary('abs', Math.abs, ...KEEP, { avoid: awayFrom(0) }),
  unary('sign', Math.sign, ...KEEP, { avoid: awayFrom(0) }),
  unary('square', (x) => x * x, ...KEEP),
  unary('exp', Math.exp, ...FLOAT),
  unary('expm1', Math.expm1, ...FLOAT),
  unary('log', Math.log, ...FLOAT, { min: 0.1, max: 5 }),
  unary('log1p', Math.log1p, ...FLOAT, { min: -0.8, max: 5 }),
  unary('sqrt', Math.sqrt, ...FLOAT, { min: 0.1, max: 5 }),
  unary('rsqrt', (x) => 1 / Math.sqrt(x), ...FLOAT, { min: 0.1, max: 5 }),
  unary('reciprocal', (x) => 1 / x, ...FLOAT, { avoid: (v) => (Math.abs(v) < 0.3 ? 0.3 : v) }),
  unary('sin', Math.sin, ...FLOAT),
  unary('cos', Math.cos, ...FLOAT),
  unary('tanh', Math.tanh, ...FLOAT),
  unary('sigmoid', sigmoid, ...FLOAT, { min: -8, max: 8 }),
  unary('erf', exactErf, ...FLOAT),
  unary('floor', Math.floor, 'int32', 'bool', { avoid: betweenHalves }),
  unary('ceil', Math.ceil, 'int32', 'bool', { avoid: betweenHalves }),
  unary('round', roundHalfEven, 'int32', 'bool', { avoid: betweenHalves }),
  unary('relu', (x) => Math.max(x, 0), ...KEEP, { avoid: awayFrom(0) }),
  unary('silu', (x) => x * sigmoid(x), ...FLOAT, { min: -8, max: 8 }),
  unary('softplus', (x) => Math.log1p(Math.exp(x)), ...FLOAT, { min: -8, max: 8, grid: 0.5 }),
  unary('logSigmoid', (x) => -Math.log1p(Math.exp(-x)), ...FLOAT, { min: -8, max: 8, grid: 0.5 }),
  unary('logicalNot', (x) => truth(x === 0), 'bool', 'bool', {
    result: 'bool',
    differentiable: false,
    grid: 1,
  }),
  ...(
    [
      ['isnan', Number.isNaN],
      ['isfinite', Number.isFinite],
    ] as const
  ).map(([op, f]) =>
    unary(op, (x) => truth(f(x)), 'bool', 'bool', {
      result: 'bool',
      differentiable: false,
      min: 0,
      max: 5,
      avoid: (v) =>
        [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 1.5, -3][Math.floor(v)],
    }),
  ),
  ...(['none', 'tanh'] as const).map(
    (approximate): Row => ({
      op: 'gelu',
      title: `gelu ${approximate}`,
      int32: 'float32',
      bool: 'float32',
      cases: (limits) =>
        fc.record({ shape: shapes(limits), seed: seeds }).map(({ shape, seed }) => ({
          inputs: [values(shape, seed)],
          run: (x) => ef.gelu(x, { approximate }),
          expected: (x) =>
            elementwise(
              approximate === 'none'
                ? (v) => (v / 2) * (1 + exactErf(v / Math.SQRT2))
                : (v) => (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
              [x],
            ),
        })),
    }),
  ),
]

interface BinaryOptions {
  readonly a?: Domain
  readonly b?: Domain
  readonly result?: Nd['type']
  readonly differentiable?: boolean
  readonly distinct?: boolean
}

/** Tensor with tensor (broadcast), tensor with number, number with tensor. */
function binary(
  op: string,
  f: (a: number, b: number) => number,
  int32: ResultDType,
  bool: ResultDType | undefined,
  { a = {}, b = a, result = 'float', differentiable = true, distinct }: BinaryOptions = {},
): Row {
  return {
    op,
    int32,
    bool,
    differentiable,
    distinct,
    cases: (limits) =>
      fc
        .record({
          shapes: broadcastableShapes(limits),
          seed: seeds,
          form: fc.constantFrom('tt', 'tt', 'tn', 'nt'),
        })
        .map(
          ({
            shapes: {
              shapes: [sa, sb],
            },
            seed,
            form,
          }) => {
            const x = values(sa, seed, a)
            const y = values(sb, seed + 1, b)
            if (form === 'tt')
              return {
                inputs: [x, y],
                run: (p, q) => call(op, p, q),
                expected: (p, q) => elementwise(f, [p, q], result),
              }
            // Numbers exact in float32, so that both precisions see the same one.
            const number = Math.fround(values([], seed + 2, form === 'tn' ? b : a).data[0])
            return form === 'tn'
              ? {
                  inputs: [x],
                  run: (p) => call(op, p, number),
                  expected: (p) => elementwise((v) => f(v, number), [p], result),
                  note: `(x, ${number})`,
                }
              : {
                  inputs: [y],
                  run: (p) => call(op, number, p),
                  expected: (p) => elementwise((v) => f(number, v), [p], result),
                  note: `(${number}, x)`,
                }
          },
        ),
  }
}

const COMPARE: BinaryOptions = { a: { grid: 1 }, result: 'bool', differentiable: false }
const NEVER_EQUAL: BinaryOptions = { a: { grid: 0.25 }, b: { grid: 0.25, offset: 0.125 }, distinct: true }
const modulo = (a: number, b: number): number => a - b * Math.floor(a / b)

export const BINARY: Row[] = [
  binary('add', (a, b) => a + b, ...KEEP),
  binary('sub', (a, b) => a - b, ...KEEP),
  binary('mul', (a, b) => a * b, ...KEEP),
  binary('div', (a, b) => a / b, ...FLOAT, { b: { avoid: (v) => (Math.abs(v) < 0.4 ? 0.4 : v) } }),
  binary('pow', (a, b) => a ** b, ...FLOAT, { a: { min: 0.2, max: 3 }, b: { min: -2, max: 2 } }),
  binary('remainder', modulo, 'int32', undefined, {
    a: { grid: 0.5, min: -6, max: 6, offset: 0.25 },
    b: { avoid: (v) => [-2, -1, 1, 2][Math.floor(((v + 3) / 6) * 3.99)] },
    distinct: true,
  }),
  binary('maximum', Math.max, ...KEEP, NEVER_EQUAL),
  binary('minimum', Math.min, ...KEEP, NEVER_EQUAL),
  binary('eq', (a, b) => truth(a === b), 'bool', 'bool', COMPARE),
  binary('ne', (a, b) => truth(a !== b), 'bool', 'bool', COMPARE),
  binary('lt', (a, b) => truth(a < b), 'bool', 'bool', COMPARE),
  binary('le', (a, b) => truth(a <= b), 'bool', 'bool', COMPARE),
  binary('gt', (a, b) => truth(a > b), 'bool', 'bool', COMPARE),
  binary('ge', (a, b) => truth(a >= b), 'bool', 'bool', COMPARE),
  binary('logicalAnd', (a, b) => truth(a !== 0 && b !== 0), 'bool', 'bool', COMPARE),
  binary('logicalOr', (a, b) => truth(a !== 0 || b !== 0), 'bool', 'bool', COMPARE),
  binary('logicalXor', (a, b) => truth((a !== 0) !== (b !== 0)), 'bool', 'bool', COMPARE),
]
