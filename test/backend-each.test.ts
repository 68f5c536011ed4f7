// One program over many tensors: in few launches the same as call by call, whatever the layouts and shared buffers.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { elementwiseEach, reduceEach } from '../src/backend/each'
import { input, scalar } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import type { View } from '../src/backend/types'
import { contiguous, type Layout, layoutOf, randomArray, shapes } from './support/naive'
import { type Twin, useTwins } from './support/twins'

/** x and y become two values of x, y, a number and a flag. */
const [X, Y, ON] = [input(0), input(1), input(2, 'bool')]
const STEP = new Program([ON.where(X, X.sub(Y.mul(scalar(0)))), ON.where(Y, Y.mul(0.5).add(X.mul(X)))], 3, 1)
const SQUARES = new Program([X.mul(X)], 1)
const PRODUCTS = new Program([X.mul(Y).mul(scalar(0))], 2, 1)
const NEGATIVE = new Program([X.lt(-1.5)], 1)

describe.each([
  ['software', true, false],
  ['hardware', false, false],
  ['hardware with subgroups', false, true],
])('kernels for %s', (_, fallback, subgroups) => {
  const twins = useTwins({ fallback, subgroups })
  afterEach(() => twins().release())

  function place(layout: Layout, seed: number): Twin {
    return twins().place('float32', layout, randomArray('float32', layout.length, seed))
  }

  /** A flag repeated over a shape. */
  function flag(value: number, shape: readonly number[]): Twin {
    const one = twins().place('bool', contiguous([1]), Uint8Array.of(value))
    return twins().window(one, { offset: 0, shape, strides: shape.map(() => 0), length: 1 })
  }

  async function checkSteps(xs: Layout[], ys: Layout[], on = 0): Promise<number> {
    const all = xs.map((x, i) => [place(x, i), place(ys[i], i + 100), flag(on, x.shape)])
    const before = twins().gpu.stats.dispatches
    twins().run(all.flat(), (backend, views) => {
      const calls = xs.map((_, i) => {
        const [x, y, f] = views.slice(3 * i, 3 * i + 3)
        return { inputs: [x, y, f], outputs: [x, y] }
      })
      elementwiseEach(backend, STEP, calls, [0.25])
    })
    const dispatches = twins().gpu.stats.dispatches - before
    for (const [x, y] of all) {
      await twins().expectSame(x, { absolute: 1e-6 })
      await twins().expectSame(y, { absolute: 1e-6 })
    }
    twins().release()
    return dispatches
  }

  it('an update of many tensors of different sizes, a few launches for all', async () => {
    for (const n of [1, 2, 3, 4, 5, 17, 40]) {
      const shapesOf = Array.from({ length: n }, (_, i) => contiguous(i % 3 === 0 ? [i + 1] : [i, 7]))
      const dispatches = await checkSteps(shapesOf, shapesOf)
      const bindings = twins().gpu.gpuDevice.limits.maxStorageBuffersPerShaderStage
      // Each tensor brings three buffers here; a tensor without elements needs no launch.
      expect(dispatches).toBeLessThanOrEqual(Math.ceil(n / Math.floor(bindings / 3)))
    }
    await checkSteps([contiguous([300]), contiguous([70])], [contiguous([300]), contiguous([70])], 1)
  })

  it('large ones, where memory goes in fours and where it does not', async () => {
    const sizes = [[1024], [4], [40, 32], [12, 1]]
    for (const offset of [0, 4, 2]) {
      const layouts = sizes.map((shape) => contiguous(shape, offset))
      const plain = sizes.map((shape) => contiguous(shape))
      for (const on of [0, 1]) await checkSteps(layouts, plain, on)
      await checkSteps([...layouts.slice(0, 1), contiguous([6])], [...plain.slice(0, 1), contiguous([6])])
    }
  })

  it('any layout', async () => {
    const scene = fc.array(
      shapes(5).chain((shape) => fc.record({ x: layoutOf(shape, true), y: layoutOf(shape, true) })),
      { minLength: 1, maxLength: 6 },
    )
    await fc.assert(
      fc.asyncProperty(scene, async (list) => {
        await checkSteps(
          list.map(({ x }) => x),
          list.map(({ y }) => y),
        )
      }),
      { numRuns: 20 },
    )
  })

  it('tensors side by side in shared buffers take one launch', async () => {
    const lengths = [5, 64, 1, 200, 130, 7, 80, 33, 2, 90, 11, 6, 300, 4]
    const total = lengths.reduce((a, b) => a + b)
    const [x, y, f] = [place(contiguous([total]), 1), place(contiguous([total]), 2), flag(0, [1])]
    const before = twins().gpu.stats.dispatches
    twins().run([x, y, f], (backend, [a, b, c]) => {
      let offset = 0
      const calls = lengths.map((n) => {
        const part = (v: View): View => ({ ...v, offset, shape: [n], strides: [1] })
        const views = [part(a), part(b)]
        offset += n
        return { inputs: [...views, { ...c, shape: [n], strides: [0] }], outputs: views }
      })
      elementwiseEach(backend, STEP, calls, [2])
    })
    expect(twins().gpu.stats.dispatches - before).toBe(1)
    await twins().expectSame(x, { absolute: 1e-6 })
    await twins().expectSame(y, { absolute: 1e-6 })
  })

  async function checkTotal(layouts: Layout[][], program: Program, scalars: number[]): Promise<void> {
    const all = layouts.map((list, i) => list.map((layout, k) => place(layout, 7 * i + k)))
    const result = twins().place('float32', contiguous([3]), new Float32Array(3))
    twins().run([...all.flat(), result], (backend, views) => {
      let next = 0
      const operands = layouts.map((list) => list.map(() => views[next++]))
      const out = { ...views[next], offset: 1, shape: [], strides: [] }
      reduceEach(backend, 'sum', program, operands, scalars, out)
    })
    await twins().expectSame(result, { relative: 2e-6, absolute: 2e-5 })
    twins().release()
  }

  it('the sum over many tensors, around the lengths at which they are cut', async () => {
    for (const lengths of [[1], [3, 64, 65], [255, 256, 257, 31], [4095, 4096, 4097, 1], [20_000, 5, 70_000]])
      await checkTotal(
        lengths.map((n) => [contiguous([n])]),
        SQUARES,
        [],
      )
    const many = Array.from({ length: 50 }, (_, i) => [contiguous([3, i + 1]), contiguous([3, i + 1])])
    await checkTotal(many, PRODUCTS, [0.5])
  })

  it('the sum over tensors of any layout', async () => {
    const scene = fc.array(
      shapes(5)
        .filter((shape) => !shape.includes(0))
        .chain((shape) => fc.tuple(layoutOf(shape), layoutOf(shape))),
      { minLength: 1, maxLength: 5 },
    )
    await fc.assert(
      fc.asyncProperty(scene, (list) => checkTotal(list, PRODUCTS, [2])),
      { numRuns: 20 },
    )
  })

  it('whether any element of many tensors is so', async () => {
    for (const at of [null, 0, 300, 301, 30_000]) {
      const tensors = [301, 1, 40_000].map((n) => place(contiguous([n]), 3))
      const result = twins().place('bool', contiguous([1]), Uint8Array.of(0))
      if (at !== null) {
        const which = tensors[at < 301 ? 0 : 2]
        for (const [backend, view] of [[twins().cpu, which.cpu] as const, [twins().gpu, which.gpu] as const])
          backend.write(view.buffer, 'float32', Float32Array.of(-2), at)
      }
      twins().run([...tensors, result], (backend, views) => {
        const operands = views.slice(0, 3).map((v) => [v])
        reduceEach(backend, 'max', NEGATIVE, operands, [], { ...views[3], shape: [], strides: [] })
      })
      const [found] = await twins().gpu.read(result.gpu.buffer, 'bool', 0, 1)
      expect(found).toBe(Number(at !== null))
      await twins().expectSame(result)
      twins().release()
    }
  })
})
