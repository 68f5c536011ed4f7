// measure: what a model costs on this device, so that what a compression saved is seen and not believed.

import { getBackend } from '../backend/registry'
import type { AttentionCall, Backend, DeviceName, RecurrentForward, View } from '../backend/types'
import { ArgumentError } from '../errors'
import type { Module } from '../nn/module'
import { namedOriginals, parametrizationsOf } from '../nn/parametrize'
import { escapeScopes, noGrad } from '../tensor/scope'
import { memory, resetPeakMemory } from '../tensor/storage'
import { modelByteLength, type SaveModelOptions } from './file'
import { evaluating } from './outputs'

export interface MeasureOptions {
  /** Timed runs; after as many as take 50 ms, at least two, to warm up. Default 10. */
  runs?: number
  /** How the file would be written. */
  save?: SaveModelOptions
}

/** What a model costs. */
export interface Measure {
  readonly device: DeviceName
  /** Of the file that `saveModel` writes. */
  readonly bytesOnDisk: number
  readonly parameters: number
  /** Parameters that layers compute with as other than 0: masks count, as much as zeros in the weights. */
  readonly nonZeros: number
  /** Multiply-accumulates of the matrix products, attention and recurrences of one forward; zeros are multiplied too. */
  readonly macs: number
  /** Of one forward in evaluation mode, milliseconds: the median, and the quartiles around it. */
  readonly latencyMs: { readonly median: number; readonly low: number; readonly high: number }
  /** The most memory held at once during a forward, the model's and everything else's on the device. */
  readonly peakBytes: number
  /** A table for people. */
  toString(): string
}

/**
 * Measures a model on what `forward` takes, on the device it is on. The peak of `memory()` starts anew.
 *
 * ```ts
 * const before = await ef.compress.measure(model, [ids])
 * await ef.compress.removeHeads(model, { amount: 0.5 })
 * console.log(ef.compress.compareMeasures(before, await ef.compress.measure(model, [ids])))
 * ```
 * @throws ArgumentError for a model without parameters and for fewer than one run.
 */
export async function measure(
  model: Module,
  inputs: readonly unknown[],
  { runs = 10, save = {} }: MeasureOptions = {},
): Promise<Measure> {
  if (!(Number.isInteger(runs) && runs >= 1))
    throw new ArgumentError(`measure: runs is ${runs}; expected a positive integer`)
  const all = model.parameters()
  if (all.length === 0) throw new ArgumentError(`measure: ${model.constructor.name} has no parameters`)
  const { device } = all[0]
  const backend = getBackend(device)
  const run = (): void =>
    evaluating(model, () =>
      noGrad(() => {
        ;(model.forward as (...args: unknown[]) => unknown)(...inputs)
      }),
    )
  const macs = countMacs(backend, run)
  await backend.synchronize()
  const start = performance.now()
  for (let i = 0; i < 1 || performance.now() - start < 50; i++) {
    run()
    await backend.synchronize()
  }
  resetPeakMemory()
  const times: number[] = []
  for (let i = 0; i < runs; i++) {
    const from = performance.now()
    run()
    await backend.synchronize()
    times.push(performance.now() - from)
  }
  const { peakBytes } = memory()[device]
  times.sort((a, b) => a - b)
  const quantile = (q: number): number => times[Math.round(q * (times.length - 1))]
  const found = {
    device,
    bytesOnDisk: await modelByteLength(model, save),
    parameters: namedOriginals(model).reduce((n, [, p]) => n + p.size, 0),
    nonZeros: await countNonZeros(model),
    macs,
    latencyMs: { median: quantile(0.5), low: quantile(0.25), high: quantile(0.75) },
    peakBytes,
  }
  return { ...found, toString: () => table(found, null) }
}

/** Both measures side by side, and what the second is of the first. */
export function compareMeasures(before: Measure, after: Measure): string {
  return table(before, after)
}

async function countNonZeros(model: Module): Promise<number> {
  const computed = new Map(
    parametrizationsOf(model).map(({ parametrized }) => [parametrized.original, parametrized]),
  )
  let count = 0
  for (const [, parameter] of namedOriginals(model)) {
    const value = noGrad(() => computed.get(parameter)?.forward() ?? parameter)
    const numbers = await value.data()
    if (value !== parameter) escapeScopes(value).dispose()
    for (let i = 0; i < numbers.length; i++) if (numbers[i] !== 0) count++
  }
  return count
}

/** Runs `fn` with counters in front of the backend's products. */
function countMacs(backend: Backend, fn: () => void): number {
  let macs = 0
  let depth = 0
  const restores: (() => void)[] = []
  const watch = <T extends object>(
    target: T | undefined,
    name: keyof T & string,
    cost: (args: never[]) => number,
  ): void => {
    if (!target) return
    const own = Object.getOwnPropertyDescriptor(target, name)
    const method = target[name] as (...args: never[]) => unknown
    const counting = (...args: never[]): unknown => {
      // A product that is made of others counts as one.
      if (depth === 0) macs += cost(args)
      depth++
      try {
        return method.apply(target, args)
      } finally {
        depth--
      }
    }
    Object.defineProperty(target, name, { value: counting, configurable: true, writable: true })
    restores.push(() => {
      if (own) Object.defineProperty(target, name, own)
      else delete target[name]
    })
  }
  const elements = (shape: readonly number[]): number => shape.reduce((n, s) => n * s, 1)
  watch(backend, 'matmul', ([a, , out]: View[]) => elements(out.shape) * a.shape[a.shape.length - 1])
  watch(backend.attention, 'forward', ([{ q, k, v }]: AttentionCall[]) => {
    const [B, H, T, d] = q.shape
    return B * H * T * k.shape[2] * (d + v.shape[3])
  })
  watch(
    backend.recurrent,
    'forward',
    ([
      {
        sizes: { T, B, D, H, G },
      },
    ]: RecurrentForward[]) => T * B * D * H * G * H,
  )
  try {
    fn()
  } finally {
    for (const restore of restores) restore()
  }
  return macs
}

type Row = readonly [name: string, before: number, after: number | null, show: (n: number) => string]

function table(a: Omit<Measure, 'toString'>, b: Omit<Measure, 'toString'> | null): string {
  const whole = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',')
  const ms = (n: number): string => n.toFixed(2)
  const rows: Row[] = [
    ['bytes on disk', a.bytesOnDisk, b?.bytesOnDisk ?? null, whole],
    ['parameters', a.parameters, b?.parameters ?? null, whole],
    ['non-zeros', a.nonZeros, b?.nonZeros ?? null, whole],
    ['MACs', a.macs, b?.macs ?? null, whole],
    ['latency, ms', a.latencyMs.median, b?.latencyMs.median ?? null, ms],
    ['peak memory, bytes', a.peakBytes, b?.peakBytes ?? null, whole],
  ]
  const head = ['', ...(b ? ['before', 'after', 'after / before'] : ['value']), '']
  const cells = rows.map(([name, before, after, show]) => [
    name,
    show(before),
    ...(after === null ? [] : [show(after), (after / before).toFixed(3)]),
  ])
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd()
  return [
    line([b && b.device !== a.device ? `${a.device}, ${b.device}` : a.device, ...head.slice(1)]),
    ...cells.map(line),
  ].join('\n')
}
