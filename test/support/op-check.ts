// Runs a case of the op table on a device: its inputs in odd layouts, its outputs, its gradients.
import fc from 'fast-check'
import * as ef from '../../src/index'
import { type Precision, toleranceOf } from './precision'
import { dtypeOf, type Nd, nd } from './nd'
import type { OpCase, Row } from './op-table'

type Tensor = ef.Tensor

/** How a tensor lies in memory; `expanded` repeats its first entry along the first axis. */
const LAYOUTS = ['plain', 'transposed', 'flipped', 'cut', 'expanded'] as const
export type Layout = (typeof LAYOUTS)[number]

/** One layout per input (used again from the start if there are more inputs). */
export function layouts(row: Row): fc.Arbitrary<Layout[]> {
  const allowed = row.distinct ? LAYOUTS.filter((l) => l !== 'expanded') : LAYOUTS
  return fc.array(fc.constantFrom(...allowed), { minLength: 3, maxLength: 3 })
}

/** A case with values as they will be: rounded to the dtype, repeated where the layout repeats. */
export function settle(one: OpCase, how: readonly Layout[], dtype: 'float32' | 'float64'): Nd[] {
  return one.inputs.map((x, k) => {
    const rounded = x.type === 'float' && dtype === 'float32' ? { ...x, data: x.data.map(Math.fround) } : x
    if (how[k % how.length] !== 'expanded' || x.shape.length === 0 || x.data.length === 0) return rounded
    const step = x.data.length / x.shape[0]
    return { ...rounded, data: rounded.data.map((_, i) => rounded.data[i % step]) }
  })
}

/** A tensor with the values of x in a layout. Not a leaf of any graph. */
export function place(x: Nd, layout: Layout, device: ef.DeviceName, float: 'float32' | 'float64'): Tensor {
  const options = { dtype: dtypeOf(x, float), device }
  const rank = x.shape.length
  const plain = (): Tensor => ef.tensor(x.data, { shape: x.shape, ...options })
  if (layout === 'plain' || rank === 0) return plain()
  return ef.tidy(() => {
    if (layout === 'transposed') {
      const order = [...x.shape.keys()].reverse()
      return plain().permute(order).clone().permute(order)
    }
    if (layout === 'flipped') return plain().flip(0).clone().flip(0)
    if (layout === 'cut') {
      // Every second entry of the last axis, the others poison.
      const last = rank - 1
      const shape = x.shape.with(last, 2 * x.shape[last])
      const poison = x.type === 'float' ? Number.NaN : x.type === 'bool' ? 1 : 77
      const wide = nd(shape, (i) => (i[last] % 2 === 1 ? poison : 0))
      let k = 0
      const data = wide.data.map((v, i) => (i % 2 === 0 ? x.data[k++] : v))
      return ef.tensor(data, { shape, ...options }).slice(...new Array<null>(last).fill(null), [0, null, 2])
    }
    const step = x.data.length / x.shape[0] || 0
    if (step === 0) return plain()
    return ef.tensor(x.data.slice(0, step), { shape: [1, ...x.shape.slice(1)], ...options }).expand(x.shape)
  })
}

export interface Outcome {
  readonly outputs: { shape: readonly number[]; dtype: ef.DType; data: number[] }[]
  /** Per float input; null where none arrived. */
  readonly gradients: (number[] | null)[]
}

/** Outputs, and gradients of a fixed weighted sum of the float outputs. */
export async function outcome(
  row: Row,
  one: OpCase,
  inputs: readonly Nd[],
  how: readonly Layout[],
  { device, dtype }: Pick<Precision, 'device' | 'dtype'>,
): Promise<Outcome> {
  return ef.tidy(async () => {
    const tensors = inputs.map((x, k) => place(x, how[k % how.length], device, dtype))
    const leaves = tensors.filter((_, k) => inputs[k].type === 'float')
    if (row.differentiable !== false) for (const t of leaves) t.requiresGrad = true
    const found = one.run(...tensors)
    const outputs = found instanceof ef.Tensor ? [found] : [...found]
    let loss: Tensor | null = null
    for (const y of outputs) {
      if (!y.requiresGrad) continue
      const weights = Float64Array.from({ length: y.size }, (_, i) => Math.fround(Math.cos(1.7 * i + 0.3)))
      const part = y.mul(ef.tensor(weights, { shape: y.shape, dtype, device })).sum()
      loss = loss ? loss.add(part) : part
    }
    loss?.backward()
    // One after another: a device works in order anyway.
    const read = []
    for (const y of outputs) read.push({ shape: y.shape, dtype: y.dtype, data: Array.from(await y.data()) })
    const gradients = []
    for (const t of leaves) gradients.push(t.grad ? Array.from(await t.grad.data()) : null)
    return { outputs: read, gradients }
  })
}

/** Null if two lists agree to the device's tolerance (NaN with NaN, infinity with itself), else what differs. */
export function compare(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  device: Precision,
): string | null {
  if (actual.length !== expected.length)
    return `${what}: ${actual.length} elements, expected ${expected.length}`
  const tolerance = toleranceOf(device, expected)
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i], expected[i]]
    const fits = Number.isFinite(b) ? Math.abs(a - b) <= tolerance : Object.is(a, b)
    if (!fits) return `${what}[${i}]: ${a}, expected ${b} (tolerance ${tolerance})`
  }
  return null
}

/** For messages: the call as one could type it. */
export function describeCase(row: Row, one: OpCase, inputs: readonly Nd[], how: readonly Layout[]): string {
  const args = inputs.map(
    (x, k) => `${x.type}[${x.shape.join(', ')}] ${how[k % how.length]} = [${x.data.slice(0, 12).join(', ')}]`,
  )
  return `${row.op} ${one.note ?? ''} of ${args.join('; ')}`
}

/** The case with all its float inputs turned into whole numbers from -3 to 3 or truth values. */
export function asWhole(row: Row, one: OpCase, type: 'int32' | 'bool'): Nd[] {
  const value = (i: number): number => (type === 'bool' ? ((i * 7) % 3) % 2 : ((i * 5) % 7) - 3)
  // Integers have no NaN for a remainder by 0.
  const allowed = (v: number): number => (row.op === 'remainder' && v === 0 ? 3 : v)
  return one.inputs.map((x) =>
    x.type === 'float' ? { ...x, type, data: x.data.map((_, i) => allowed(value(i))) } : x,
  )
}

/** Limits that let cases cross odd sizes and stay quick. */
export const MEDIUM = { maxElements: 150, maxSize: 9 }

/** Runs a property over cases and layouts of a row, from a fixed seed. */
export function forCases(
  row: Row,
  limits: typeof MEDIUM,
  numRuns: number,
  check: (one: OpCase, how: Layout[]) => Promise<void>,
): Promise<void> {
  return fc.assert(
    fc.asyncProperty(row.cases(limits), layouts(row), (one, how) => check(one, how)),
    { seed: 20240607, numRuns },
  )
}
