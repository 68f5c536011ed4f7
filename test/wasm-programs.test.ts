// Expression programs on WASM kernels against the interpreter: the same programs on the same values, over layouts,
// sizes around the vector's width and reductions both ways. Values are small integers where the results must be
// equal to the last bit, whatever the order of the sums.
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { elementwise } from '../src/backend/cpu/elementwise'
import { reduce } from '../src/backend/cpu/reduce'
import { wasmElementwise, wasmReduce, wasmRows } from '../src/backend/cpu/wasm/programs'
import { type Expr, input, scalar } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { RowPlan, rowwise } from '../src/backend/rows'
import type { DType, View } from '../src/backend/types'
import { contiguous, type Layout, noise, place, randomArray, valuesOf } from './support/naive'
import { withThreads } from './support/threads'

const wasm = await withThreads(new CpuBackend())
const plain = new CpuBackend({ plain: true })

afterEach(() => {
  vi.restoreAllMocks()
})

/** Integers from -8 to 8 as a dtype; as floats, every so often NaN. */
function wholes(dtype: DType, n: number, seed: number, nan = false): ReturnType<typeof randomArray> {
  const values = randomArray(dtype, n, seed)
  if (dtype === 'bool') return values
  const next = noise(seed)
  for (let i = 0; i < n; i++)
    values[i] = nan && dtype === 'float32' && next() > 0.96 ? Number.NaN : Math.trunc(next() * 9)
  return values
}

interface Operand {
  readonly dtype: DType
  readonly layout: Layout
}

/** One operand on both backends, with the same values. */
function twin({ dtype, layout }: Operand, seed: number, nan = false): [View, View] {
  const values = wholes(dtype, layout.length, seed, nan)
  return [place(wasm, dtype, layout, values), place(plain, dtype, layout, values)]
}

function free(pairs: readonly (readonly [View, View])[]): void {
  for (const [a, b] of pairs) {
    wasm.free(a.buffer)
    plain.free(b.buffer)
  }
}

/** Runs a program both ways; whole buffers must be equal, also between the elements of the outputs. */
function agree(
  program: Program,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  scalars: readonly number[] = [],
  nan = false,
): void {
  const ins = inputs.map((o, i) => twin(o, i + 1, nan))
  const outs = outputs.map((o, i) => twin(o, 50 + i))
  const side = (k: 0 | 1): [View[], View[]] => [ins.map((p) => p[k]), outs.map((p) => p[k])]
  expect(wasmElementwise(program, side(0)[0], scalars, side(0)[1])).toBe(true)
  elementwise(program, side(1)[0], scalars, side(1)[1])
  expectEqual(outs, outputs)
  free([...ins, ...outs])
}

function expectEqual(outs: readonly [View, View][], outputs: readonly Operand[]): void {
  outs.forEach(([actual, expected], k) => {
    const { dtype, layout } = outputs[k]
    const [a, b] = [
      wasm.readSync(actual.buffer, dtype, 0, layout.length),
      plain.readSync(expected.buffer, dtype, 0, layout.length),
    ]
    // -0 and 0 are one.
    const wrong = a.findIndex((v, n) => !Object.is(v + 0, b[n] + 0))
    if (wrong >= 0) expect.fail(`output ${k}, element ${wrong}: ${a[wrong]}, expected ${b[wrong]}`)
  })
}

const [x, y, z] = [input(0), input(1), input(2)]
const [i, j] = [input(0, 'int'), input(1, 'int')]
const [p, q] = [input(0, 'bool'), input(1, 'bool')]
const flat = (dtype: DType, n = 777): Operand => ({ dtype, layout: contiguous([n]) })

describe('every step', () => {
  it.each<[string, Expr, DType]>([
    ['neg', x.neg(), 'float32'],
    ['abs', x.abs(), 'float32'],
    ['sign', x.sign(), 'float32'],
    ['add', x.add(y), 'float32'],
    ['sub', x.sub(y), 'float32'],
    ['mul', x.mul(y), 'float32'],
    ['max', x.max(y), 'float32'],
    ['min', x.min(y), 'float32'],
    ['pow 2, 1 and -1', x.pow(2).add(y.pow(1)).add(y.mul(4).sign().pow(-1)), 'float32'],
    ['where', x.lt(y).where(x, y.mul(3)), 'float32'],
    ['eq', x.eq(y), 'bool'],
    ['lt', x.lt(y), 'bool'],
    ['le', x.le(y), 'bool'],
    ['isNaN', x.isNaN(), 'bool'],
    ['isFinite', x.div(y).isFinite(), 'bool'],
    ['float to bool', x.asBool(), 'bool'],
    ['and, or, not', x.lt(y).and(x.eq(y.abs()).not()).or(y.isNaN()), 'bool'],
    ['scalars', x.mul(scalar(0)).add(scalar(1)), 'float32'],
    ['constants that no lane changes', scalar(0).mul(3).add(scalar(1)).add(x), 'float32'],
  ])('%s of float32', (_, e, out) => {
    agree(new Program([e], 2, 2), [flat('float32'), flat('float32')], [flat(out)], [3, -5], true)
  })

  it.each<[string, Expr, DType]>([
    ['neg', i.neg(), 'int32'],
    ['abs', i.abs(), 'int32'],
    ['add', i.add(j), 'int32'],
    ['sub', i.sub(j), 'int32'],
    ['a product that wraps', i.mul(j).mul(0x1234567), 'int32'],
    ['max', i.max(j), 'int32'],
    ['min', i.min(j), 'int32'],
    ['eq', i.eq(j), 'bool'],
    ['lt', i.lt(j), 'bool'],
    ['le', i.le(j), 'bool'],
    ['to float', i.asFloat().mul(0.5), 'float32'],
    ['to bool', i.asBool(), 'bool'],
    ['scalars', i.add(scalar(0, 'int')), 'int32'],
  ])('%s of int32', (_, e, out) => {
    agree(new Program([e], 2, 2), [flat('int32'), flat('int32')], [flat(out)], [3, -5])
  })

  it.each<[string, Expr, DType]>([
    ['and', p.and(q), 'bool'],
    ['or', p.or(q), 'bool'],
    ['not', p.not(), 'bool'],
    ['where', p.where(q, scalar(0, 'bool')), 'bool'],
    ['to int', p.cast('int').add(q.cast('int')), 'int32'],
    ['to float', p.asFloat().add(q.asFloat()), 'float32'],
    ['where of float32', p.where(z.mul(2), 0), 'float32'],
  ])('%s of bool', (_, e, out) => {
    agree(new Program([e], 3, 2), [flat('bool'), flat('bool'), flat('float32')], [flat(out)], [3, 0])
  })
})

/** A layout of `shape` whose last axis, and maybe others, may be broadcast or spaced. */
function layoutOver(shape: readonly number[], writable: boolean): fc.Arbitrary<Layout> {
  const modes = writable ? (['plain', 'spaced'] as const) : (['plain', 'spaced', 'broadcast'] as const)
  return fc
    .record({
      modes: fc.array(fc.constantFrom(...modes), { minLength: shape.length, maxLength: shape.length }),
      offset: fc.nat(5),
    })
    .map(({ modes, offset }) => {
      const strides: number[] = new Array(shape.length).fill(0)
      let span = 1
      for (let d = shape.length - 1; d >= 0; d--) {
        const last = d === shape.length - 1
        if (modes[d] === 'broadcast') continue
        strides[d] = span
        span = span * shape[d] + (modes[d] === 'spaced' && !last ? 3 : 0)
      }
      return { shape, strides, offset, length: span + offset + 1 }
    })
}

/** Shapes of 512 to 20,000 elements with more than one along the last axis. */
const shapes = fc
  .tuple(
    fc.array(fc.constantFrom(1, 2, 3, 5, 8, 30), { maxLength: 3 }),
    fc.constantFrom(2, 3, 4, 5, 7, 8, 9, 64, 67, 130, 601),
  )
  .map(([outer, last]): number[] => [...outer, last])
  .filter((shape) => {
    const n = shape.reduce((product, size) => product * size, 1)
    return n >= 512 && n <= 20_000
  })

describe('layouts', () => {
  it('any rows, broadcasts and offsets, several outputs, a tail of any length', () => {
    const scene = shapes.chain((shape) =>
      fc.record({
        a: layoutOver(shape, false),
        b: layoutOver(shape, false),
        c: layoutOver(shape, false),
        out: layoutOver(shape, true),
        second: layoutOver(shape, true),
      }),
    )
    const program = new Program([x.mul(y).add(input(2, 'bool').asFloat()), x.lt(y)], 3)
    fc.assert(
      fc.property(scene, ({ a, b, c, out, second }) => {
        agree(
          program,
          [
            { dtype: 'float32', layout: a },
            { dtype: 'float32', layout: b },
            { dtype: 'bool', layout: c },
          ],
          [
            { dtype: 'float32', layout: out },
            { dtype: 'bool', layout: second },
          ],
        )
      }),
      { numRuns: 100 },
    )
  })

  it('writes over an input in place', () => {
    const pairs = [twin(flat('float32', 1001), 1), twin(flat('float32', 1001), 2)]
    const program = new Program([x.add(y), x.sub(y)], 2)
    const run = (k: 0 | 1): [Program, View[], number[], View[]] => {
      const views = pairs.map((pair) => pair[k])
      return [program, views, [], views]
    }
    expect(wasmElementwise(...run(0))).toBe(true)
    elementwise(...run(1))
    expectEqual(pairs, [flat('float32', 1001), flat('float32', 1001)])
    free(pairs)
  })
})

/** Reduces both ways; equal to the last bit. */
function reduces(
  kind: 'sum' | 'max' | 'min',
  program: Program,
  inputs: readonly Operand[],
  output: Operand,
  nan = false,
): void {
  const ins = inputs.map((o, n) => twin(o, n + 1, nan))
  const out = twin(output, 50)
  const side = (k: 0 | 1): View[] => ins.map((pair) => pair[k])
  expect(wasmReduce(kind, program, side(0), [3], out[0])).toBe(true)
  reduce(kind, program, side(1), [3], out[1])
  expectEqual([out], [output])
  free([...ins, out])
}

/** The same memory with its axes in another order. */
function permuted({ shape, strides, ...rest }: Layout, order: readonly number[]): Layout {
  return { ...rest, shape: order.map((d) => shape[d]), strides: order.map((d) => strides[d]) }
}

const kinds = fc.constantFrom('sum', 'max', 'min')
const sizes = fc.constantFrom(1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 131, 200, 260)

describe('reductions', () => {
  it('along rows and across them, of one or two operands, also one that is the same along the row', () => {
    const scene = fc.record({
      kind: kinds,
      rows: sizes,
      columns: sizes,
      across: fc.boolean(),
      nan: fc.boolean(),
    })
    const program = new Program([x.mul(scalar(0)).add(y)], 2, 1)
    fc.assert(
      fc.property(scene, ({ kind, rows, columns, across, nan }) => {
        fc.pre(rows * columns >= 512)
        const whole = contiguous([rows, columns], 2)
        const perRow: Layout = { ...contiguous([rows]), shape: [rows, columns], strides: [1, 0] }
        const layout = across ? permuted(whole, [1, 0]) : whole
        const other = across ? permuted(perRow, [1, 0]) : perRow
        const operands: Operand[] = [
          { dtype: 'float32', layout },
          { dtype: 'float32', layout: other },
        ]
        const out = contiguous([across ? columns : rows], 1)
        reduces(kind, program, operands, { dtype: 'float32', layout: out }, nan)
      }),
      { numRuns: 200 },
    )
  })

  it('a middle axis, and several at once', () => {
    const cube = contiguous([9, 33, 17])
    const square = new Program([x.mul(x)], 1)
    const reduceTo = (layout: Layout, out: number[]): void => {
      reduces('sum', square, [{ dtype: 'float32', layout }], { dtype: 'float32', layout: contiguous(out) })
    }
    reduceTo(permuted(cube, [0, 2, 1]), [9, 17])
    reduceTo(cube, [9, 33])
    reduceTo(cube, [9])
    reduceTo(permuted(cube, [2, 0, 1]), [17])
    reduceTo(cube, [])
  })

  it('an axis of size 1', () => {
    const layout = contiguous([700, 1])
    const out: Operand = { dtype: 'float32', layout: contiguous([700]) }
    reduces('sum', new Program([x.add(1)], 1), [{ dtype: 'float32', layout }], out)
  })

  it.each(['max', 'min'] as const)('%s of truth values is any or all', (kind) => {
    for (const across of [false, true]) {
      const whole = contiguous([130, 7])
      const layout = across ? permuted(whole, [1, 0]) : whole
      const out: Operand = { dtype: 'bool', layout: contiguous([layout.shape[0]]) }
      reduces(kind, new Program([x.eq(3).not()], 1), [{ dtype: 'float32', layout }], out, true)
    }
  })

  it('long sums lose little: each run goes on to a double', () => {
    const n = 3_000_001
    const a = place(wasm, 'float32', contiguous([n]), new Float32Array(n).fill(0.1))
    const out = place(wasm, 'float32', contiguous([]), new Float32Array(1))
    expect(wasmReduce('sum', new Program([x], 1), [a], [], out)).toBe(true)
    const exact = n * Math.fround(0.1)
    expect(Math.abs(wasm.readSync(out.buffer, 'float32', 0, 1)[0] - exact) / exact).toBeLessThan(1e-6)
    for (const v of [a, out]) wasm.free(v.buffer)
  })
})

/** Everything a plan may hold: reductions that build on one another, the position, numbers, values of both sorts. */
const MIXED = new RowPlan(
  ['float', 'int', 'bool'],
  ([v, n, on], fold, position) => {
    const top = fold('max', v)
    const sum = fold('sum', on.where(v.sub(top), 0.5))
    const ids = fold('min', n.add(position))
    const any = fold('max', on)
    const value = v.sub(top).mul(scalar(0)).add(sum)
    return {
      elements: [any.where(value, 0), position.eq(ids).where(1, value)],
      rows: [sum.add(ids.asFloat().mul(scalar(1))), v.add(top).add(position)],
    }
  },
  2,
)
const SOFTMAX = new RowPlan(['float'], ([v], fold) => {
  const power = v.sub(fold('max', v)).exp()
  return { elements: [power.div(fold('sum', power))] }
})
/** The dear value is not all that the elements read. */
const GATED = new RowPlan(['float', 'float'], ([v, w], fold) => {
  const gate = v.mul(0.1).sigmoid()
  return { elements: [gate.mul(w).sub(fold('sum', gate))], rows: [w.mul(2)] }
})

describe('row plans', () => {
  /** One kernel must give what the sequence gives, to within `relative`; 0 is equality. */
  function follows(
    plan: RowPlan,
    layouts: readonly Layout[],
    outer: number,
    relative: number,
    inPlace = false,
  ): void {
    const { shape } = layouts[0]
    const dtypes = { float: 'float32', int: 'int32', bool: 'bool' } as const
    const ins = layouts.map((layout, n) => twin({ dtype: dtypes[plan.operands[n]], layout }, n + 1))
    const fresh = (of: readonly number[], count = 0): [View, View][] =>
      Array.from({ length: count }, () => twin({ dtype: 'float32', layout: contiguous(of) }, 9))
    const elements = inPlace ? ins.slice(0, 1) : fresh(shape, plan.elements?.outputs.length)
    const rows = fresh(shape.slice(0, outer), plan.rows?.outputs.length)
    const call = (k: 0 | 1) => {
      const side = (pairs: readonly [View, View][]): View[] => pairs.map((pair) => pair[k])
      return { inputs: side(ins), outer, scalars: [3, -2], elements: side(elements), rows: side(rows) }
    }
    expect(wasmRows(plan, call(0))).toBe(true)
    rowwise(plain, plan, call(1))
    for (const [actual, expected] of [...elements, ...rows]) {
      const n = actual.shape.reduce((a, b) => a * b, 1)
      const [got, want] = [
        wasm.readSync(actual.buffer, 'float32', 0, n),
        plain.readSync(expected.buffer, 'float32', 0, n),
      ]
      const wrong = got.findIndex((v, at) => !(Math.abs(v - want[at]) <= relative * Math.abs(want[at])))
      if (wrong >= 0) expect.fail(`element ${wrong}: ${got[wrong]}, expected ${want[wrong]}`)
    }
    free(inPlace ? [...ins, ...rows] : [...ins, ...elements, ...rows])
  }

  it('rows of any length, some operands the same along a row or for all rows', () => {
    const scene = fc
      .record({
        rows: fc.constantFrom(1, 3, 64, 130),
        columns: fc.constantFrom(2, 3, 4, 5, 31, 127, 129, 600),
      })
      .filter(({ rows, columns }) => rows * columns >= 512)
      .chain(({ rows, columns }) => {
        const layout = fc.constantFrom<Layout>(
          contiguous([rows, columns]),
          { shape: [rows, columns], strides: [1, 0], offset: 2, length: rows + 2 },
          { shape: [rows, columns], strides: [0, 1], offset: 0, length: columns },
          { shape: [rows, columns], strides: [columns + 3, 1], offset: 1, length: rows * (columns + 3) + 1 },
        )
        return fc.tuple(layout, layout, layout)
      })
    fc.assert(
      fc.property(scene, (layouts) => follows(MIXED, layouts, 1, 0)),
      { numRuns: 80 },
    )
  })

  it('several axes in a row and around it', () => {
    const shape = [3, 5, 7, 11]
    for (const outer of [0, 1, 2, 3])
      follows(
        MIXED,
        [1, 2, 3].map(() => contiguous(shape)),
        outer,
        0,
      )
    const rotated = permuted(contiguous([5, 3, 64]), [1, 0, 2])
    follows(MIXED, [rotated, rotated, rotated], 2, 0)
  })

  it('keeps what is dear from the last sum, also in place, and not where more is read', () => {
    follows(SOFTMAX, [contiguous([9, 203])], 1, 1e-6)
    follows(SOFTMAX, [contiguous([9, 203])], 1, 1e-6, true)
    follows(GATED, [contiguous([9, 203]), contiguous([9, 203])], 1, 2e-6)
  })

  it('leaves rows across memory, integer sums and small tensors to the sequence', () => {
    const served = (plan: RowPlan, layout: Layout, dtype: DType = 'float32'): boolean => {
      const [a, out] = [
        place(wasm, dtype, layout, wholes(dtype, layout.length, 1)),
        twin(flat('float32', layout.length), 2)[0],
      ]
      const elements = [{ ...out, shape: layout.shape, strides: contiguous(layout.shape).strides }]
      return wasmRows(plan, { inputs: [a], outer: 1, scalars: [], elements, rows: [] })
    }
    expect(served(SOFTMAX, contiguous([64, 64]))).toBe(true)
    expect(served(SOFTMAX, permuted(contiguous([64, 64]), [1, 0]))).toBe(false)
    expect(served(SOFTMAX, contiguous([4, 4]))).toBe(false)
    const ints = new RowPlan(['int'], ([n], fold) => ({ elements: [n.sub(fold('sum', n)).asFloat()] }))
    expect(served(ints, contiguous([64, 64]), 'int32')).toBe(false)
  })
})

describe('what is left to the interpreter', () => {
  const run = (program: Program, operands: readonly Operand[], out: Operand, backend = wasm): boolean => {
    const views = operands.map((o) => place(backend, o.dtype, o.layout, wholes(o.dtype, o.layout.length, 1)))
    const target = place(backend, out.dtype, out.layout, wholes(out.dtype, out.layout.length, 2))
    return wasmElementwise(program, views, [], [target])
  }

  it.each<[string, Expr]>([
    ['sin', x.sin()],
    ['cos', x.cos()],
    ['a remainder', x.mod(3)],
    ['a general power', x.pow(1.5)],
    ['a power that is data', x.pow(y)],
    ['float to int', x.cast('int').asFloat()],
  ])('%s', (_, e) => {
    expect(run(new Program([e], 2), [flat('float32'), flat('float32')], flat('float32'))).toBe(false)
  })

  it('other dtypes than the steps carry, small tensors, elements that do not lie side by side', () => {
    const add = new Program([x.add(y)], 2)
    const float = flat('float32')
    expect(run(add, [float, flat('float64')], float)).toBe(false)
    expect(run(add, [float, flat('int32')], float)).toBe(false)
    expect(run(add, [flat('float64'), flat('float64')], flat('float64'))).toBe(false)
    expect(run(add, [flat('float32', 100), flat('float32', 100)], flat('float32', 100))).toBe(false)
    const spread: Operand = {
      dtype: 'float32',
      layout: { shape: [777], strides: [2], offset: 0, length: 1554 },
    }
    expect(run(add, [float, spread], float)).toBe(false)
    expect(run(add, [float, float], spread)).toBe(false)
    expect(run(add, [float, float], float)).toBe(true)
  })

  it('sums of integers, and products', () => {
    const [a, out] = [flat('int32'), { dtype: 'int32', layout: contiguous([]) } as Operand].map((o) =>
      twin(o, 1),
    )
    expect(wasmReduce('sum', new Program([i], 1), [a[0]], [], out[0])).toBe(false)
    const [b, to] = [flat('float32'), { dtype: 'float32', layout: contiguous([]) } as Operand].map((o) =>
      twin(o, 1),
    )
    expect(wasmReduce('prod', new Program([x], 1), [b[0]], [], to[0])).toBe(false)
    free([a, out, b, to])
  })

  it('everything, where compiling is forbidden', async () => {
    vi.spyOn(WebAssembly, 'Module').mockImplementation(function refuse() {
      throw new WebAssembly.CompileError('blocked by the content security policy')
    })
    const backend = new CpuBackend()
    const program = new Program([x.mul(x).add(1)], 1)
    const a = place(backend, 'float32', contiguous([700]), wholes('float32', 700, 1))
    const out = place(backend, 'float32', contiguous([700]), new Float32Array(700))
    const sum = place(backend, 'float32', contiguous([]), new Float32Array(1))
    backend.elementwise(program, [a], [], [out])
    backend.reduce('sum', program, [a], [], sum)
    const expected = Array.from(wholes('float32', 700, 1), (v) => v * v + 1)
    expect(await valuesOf(backend, out)).toEqual(expected)
    expect(await valuesOf(backend, sum)).toEqual([expected.reduce((s, v) => s + v, 0)])
  })
})

it('compiles once for equal programs, whatever the sizes and scalars', () => {
  const compile = vi.spyOn(WebAssembly, 'Module')
  const backend = new CpuBackend()
  for (const [n, s] of [
    [600, 1],
    [601, 2],
    [9000, -3],
  ]) {
    const a = place(backend, 'float32', contiguous([n]), new Float32Array(n).fill(2))
    backend.elementwise(new Program([x.mul(scalar(0)).sub(7)], 1, 1), [a], [s], [a])
    expect([...backend.readSync(a.buffer, 'float32', n - 2, 2)]).toEqual([2 * s - 7, 2 * s - 7])
  }
  expect(compile).toHaveBeenCalledTimes(1)
})
