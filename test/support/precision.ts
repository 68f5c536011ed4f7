// Where and how precisely ops are compared: the tolerance is per tensor, max|a - b| <= relative max|expected| + absolute.
import { afterAll, beforeAll, describe } from 'vitest'
import * as ef from '../../src/index'
import type { TestDevice } from './devices'

export interface Precision extends TestDevice {
  readonly title: string
  readonly relative: number
  readonly absolute: number
}

const SINGLE = { dtype: 'float32', relative: 1e-4, absolute: 1e-6 } as const

export const CPU64: Precision = {
  title: 'cpu float64',
  device: 'cpu',
  dtype: 'float64',
  relative: 1e-10,
  absolute: 1e-12,
}
export const CPU32: Precision = { title: 'cpu float32', device: 'cpu', ...SINGLE }
export const WEBGPU: Precision = { title: 'webgpu float32', device: 'webgpu', ...SINGLE }

export function toleranceOf({ relative, absolute }: Precision, expected: ArrayLike<number>): number {
  let largest = 0
  for (const v of Array.from(expected)) if (Number.isFinite(v)) largest = Math.max(largest, Math.abs(v))
  return relative * largest + absolute
}

/**
 * Describes something once per device, which is the default one meanwhile. Without a WebGPU adapter the webgpu part
 * fails: it is never skipped.
 */
export function onDevices(
  title: string,
  body: (where: Precision) => void,
  where: readonly Precision[] = [CPU32, WEBGPU],
): void {
  describe.each(where)(`${title}, $title`, (one) => {
    beforeAll(async () => {
      await ef.init({ device: one.device })
    })
    afterAll(async () => {
      await ef.init({ device: 'cpu' })
    })
    body(one)
  })
}
