// Row plans: as one kernel on webgpu the same as the reductions and maps that they stand for.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { scalar } from '../src/backend/expr'
import { RowPlan, rowwise } from '../src/backend/rows'
import { contiguous, type Layout, layoutOf, randomArray, shapes } from './support/naive'
import { type Twin, useTwins } from './support/twins'

/** Everything a plan may hold: reductions that build on one another, the position, numbers, values of both sorts. */
const MIXED = new RowPlan(
  ['float', 'int', 'bool'],
  ([x, n, on], reduce, position) => {
    const top = reduce('max', x)
    const sum = reduce('sum', on.where(x.sub(top), 0.5))
    const ids = reduce('min', n.add(position))
    const any = reduce('max', on)
    const value = x.sub(top).mul(scalar(0)).add(sum.mul(0.01))
    return {
      elements: [any.where(value, 0), position.eq(ids).where(1, value)],
      rows: [sum.add(ids.asFloat().mul(scalar(1))), x.add(top)],
    }
  },
  2,
)
const SOFTMAX = new RowPlan(['float'], ([x], reduce) => {
  const power = x.sub(reduce('max', x)).exp()
  return { elements: [power.div(reduce('sum', power))] }
})
const MAP_ONLY = new RowPlan(['float'], ([x], _, position) => ({ elements: [x.add(position)] }))

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

describe.each([
  ['software', true, false],
  ['hardware', false, false],
  ['hardware with subgroups', false, true],
])('kernels for %s', (_, fallback, subgroups) => {
  const twins = useTwins({ fallback, subgroups })
  afterEach(() => twins().release())

  async function check(
    plan: RowPlan,
    layouts: Layout[],
    outer: number,
    scalars: number[],
  ): Promise<{ dispatches: number }> {
    const { shape } = layouts[0]
    const dtypes = { float: 'float32', int: 'int32', bool: 'bool' } as const
    const inputs = plan.operands.map((type, i) => {
      const { length } = layouts[i]
      return twins().place(dtypes[type], layouts[i], randomArray(dtypes[type], length, i + length))
    })
    const made = (of: readonly number[], count = 0): Twin[] =>
      Array.from({ length: count }, () =>
        twins().place('float32', contiguous(of), new Float32Array(size(of)).fill(7)),
      )
    const elements = made(shape, plan.elements?.outputs.length)
    const rows = made(shape.slice(0, outer), plan.rows?.outputs.length)
    const before = twins().gpu.stats.dispatches
    twins().run([...inputs, ...elements, ...rows], (backend, views) => {
      const [a, b] = [inputs.length, inputs.length + elements.length]
      rowwise(backend, plan, {
        inputs: views.slice(0, a),
        outer,
        scalars,
        elements: views.slice(a, b),
        rows: views.slice(b),
      })
    })
    const dispatches = twins().gpu.stats.dispatches - before
    for (const twin of [...elements, ...rows])
      await twins().expectSame(twin, { relative: 1e-5, absolute: 2e-5 })
    twins().release()
    return { dispatches }
  }

  it('one kernel for rows of every length, around blocks of 32 and 64', async () => {
    for (const rows of [1, 3, 70]) {
      for (const length of [1, 2, 31, 32, 33, 63, 64, 65, 200]) {
        const shape = contiguous([rows, length])
        expect((await check(SOFTMAX, [shape], 1, [])).dispatches).toBe(1)
        expect((await check(MIXED, [shape, shape, shape], 1, [3, 0.5])).dispatches).toBe(1)
      }
    }
    expect((await check(MAP_ONLY, [contiguous([3, 40])], 1, [])).dispatches).toBe(1)
  })

  it('rows longer than the kernel takes are reduced in chunks', async () => {
    for (const length of fallback ? [4096, 4097, 9000] : [65_536, 65_537]) {
      const { dispatches } = await check(SOFTMAX, [contiguous([2, length])], 1, [])
      if (length === 4096 || length === 65_536) expect(dispatches).toBe(1)
      else expect(dispatches).toBeGreaterThan(1)
      const shape = contiguous([1, length])
      await check(MIXED, [shape, shape, shape], 1, [1, 2])
    }
  })

  it('columns: neighbours in memory are rows of the plan', async () => {
    for (const length of [5, 40, 1025]) {
      const layout = { shape: [6, length], strides: [1, 6], offset: 0, length: 6 * length }
      await check(SOFTMAX, [layout], 1, [])
      await check(MIXED, [layout, layout, layout], 1, [1, 2])
    }
  })

  it('large ones, where memory goes in fours and where it does not', async () => {
    for (const [rows, length] of [
      [40, 32],
      [7, 260],
      [8, 129],
    ]) {
      const window = (pitch: number, offset: number, step = 1): Layout => ({
        shape: [rows, length],
        strides: [pitch, step],
        offset,
        length: offset + rows * Math.max(pitch, length),
      })
      const plain = window(length, 0)
      for (const other of [
        plain,
        window(length + 4, 8),
        window(length + 3, 0),
        window(length, 1),
        window(1, 3, 0),
      ]) {
        await check(SOFTMAX, [other], 1, [])
        await check(MIXED, [plain, other, plain], 1, [0.5, 2])
        await check(MIXED, [other, plain, other], 1, [0.5, 2])
      }
    }
  })

  it('any layout, operands of one element per row among them', async () => {
    const scene = shapes(4, 1)
      .filter((shape) => !shape.includes(0))
      .chain((shape) =>
        fc.record({
          x: layoutOf(shape),
          n: layoutOf(shape),
          on: layoutOf(shape),
          outer: fc.nat(shape.length),
        }),
      )
    await fc.assert(
      fc.asyncProperty(scene, async ({ x, n, on, outer }) => {
        const strides = n.strides.map((s, i) => (i < outer ? s : 0))
        await check(MIXED, [x, { ...n, strides }, on], outer, [0.5, 2])
      }),
      { numRuns: 30 },
    )
  })

  it('a result in place of its operand', async () => {
    for (const shape of [
      [5, 33],
      [40, 32],
    ]) {
      const x = twins().place('float32', contiguous(shape), randomArray('float32', size(shape), 1))
      twins().run([x], (backend, [v]) =>
        rowwise(backend, SOFTMAX, { inputs: [v], outer: 1, scalars: [], elements: [v], rows: [] }),
      )
      await twins().expectSame(x, { absolute: 1e-6 })
    }
  })
})
