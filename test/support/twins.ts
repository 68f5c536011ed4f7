// The same call on the cpu and on webgpu, over buffers of equal contents: where they part, one of them is wrong.
import { afterAll, beforeAll, expect } from 'vitest'
import { platform } from '#platform'
import { CpuBackend } from '../../src/backend/cpu'
import type { Backend, DType, HostArray, View } from '../../src/backend/types'
import { createWebGpuBackend, type WebGpuBackend, type WebGpuOptions } from '../../src/backend/webgpu'
import { ARRAY, type Layout } from './naive'

/** A fresh backend on the machine's adapter. Without one the test fails: see test/webgpu-available.test.ts. */
export async function openWebGpu(options: Omit<WebGpuOptions, 'gpu'> = {}): Promise<WebGpuBackend> {
  const gpu = await platform.requestGPU()
  if (!gpu) throw new Error("the package 'webgpu' is not installed: run npm ci")
  return createWebGpuBackend({ gpu, ...options })
}

/** One buffer on each device, and the same window on both. */
export interface Twin {
  readonly dtype: DType
  readonly length: number
  readonly cpu: View
  readonly gpu: View
}

/** How far webgpu may be from the cpu: `relative` to the cpu's value, plus `absolute`. */
export interface Tolerance {
  readonly relative?: number
  readonly absolute?: number
}

export class Twins {
  readonly cpu = new CpuBackend()
  readonly #live: Twin[] = []

  constructor(readonly gpu: WebGpuBackend) {}

  /** Fills a buffer on each device with `values` and gives the window of a layout on them. */
  place(dtype: DType, layout: Layout, values: HostArray): Twin {
    const length = Math.max(layout.length, values.length)
    const make = (backend: Backend): View => {
      const buffer = backend.allocate(dtype, length)
      const all = new ARRAY[dtype](length)
      all.set(values)
      backend.write(buffer, dtype, all, 0)
      return { buffer, dtype, offset: layout.offset, shape: layout.shape, strides: layout.strides }
    }
    const twin = { dtype, length, cpu: make(this.cpu), gpu: make(this.gpu) }
    this.#live.push(twin)
    return twin
  }

  /** Another window on the buffers of a twin, which must be long enough. */
  window(twin: Twin, { offset, shape, strides }: Layout): Twin {
    return {
      ...twin,
      cpu: { ...twin.cpu, offset, shape, strides },
      gpu: { ...twin.gpu, offset, shape, strides },
    }
  }

  /** Makes one call on both devices. */
  run<T extends readonly Twin[]>(twins: T, call: (backend: Backend, views: View[]) => void): void {
    call(
      this.cpu,
      twins.map((t) => t.cpu),
    )
    call(
      this.gpu,
      twins.map((t) => t.gpu),
    )
  }

  /** Compares whole buffers, so that a write beside the window is seen too. */
  async expectSame(twin: Twin, tolerance: Tolerance = {}): Promise<void> {
    const expected = this.cpu.readSync(twin.cpu.buffer, twin.dtype, 0, twin.length)
    const actual = await this.gpu.read(twin.gpu.buffer, twin.dtype, 0, twin.length)
    expectClose(actual, expected, tolerance)
  }

  /** Gives back every buffer made since the last call. */
  release(): void {
    for (const twin of this.#live.splice(0)) {
      this.cpu.free(twin.cpu.buffer)
      this.gpu.free(twin.gpu.buffer)
    }
  }
}

/** Element by element; NaN equals NaN, and 0 equals -0. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative = 0, absolute = 0 }: Tolerance = {},
): void {
  expect(actual.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i], expected[i]]
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue
    if (!(Math.abs(a - e) <= relative * Math.abs(e) + absolute))
      expect.fail(`element ${i}: webgpu ${a}, expected ${e}`)
  }
}

/** One device for a test file. Call in its body; `twins()` is for use inside tests. */
export function useTwins(options: Omit<WebGpuOptions, 'gpu'> = {}): () => Twins {
  let twins: Twins
  beforeAll(async () => {
    twins = new Twins(await openWebGpu(options))
  })
  afterAll(() => {
    twins.gpu.destroy()
  })
  return () => twins
}
