// profile: what a piece of work costs on its device, kernel by kernel.
//
// A GPU counts and times by itself. The cpu runs a kernel when it is called, so timed functions are put in front of the
// backend's methods for as long as the profile lasts; otherwise nothing is measured, and nothing paid for it.

import { getBackend, getDefaultDevice } from './backend/registry'
import {
  type Backend,
  BYTES_PER_ELEMENT,
  type DeviceName,
  type DeviceProfile,
  type DType,
  type HostArray,
} from './backend/types'
import { ArgumentError } from './errors'

/** One row of a profile: all launches of a kernel. */
export interface ProfiledKernel {
  name: string
  calls: number
  /** Milliseconds: on webgpu of GPU time, null where the device has no timestamps; on cpu of host time. */
  ms: number | null
}

/** What `profile` found; printed, it is a table. */
export interface Profile<T> extends Omit<DeviceProfile, 'kernels'> {
  device: DeviceName
  /** Milliseconds of host time, until the work was asked for and whatever it waited for was there. */
  hostMs: number
  /** Milliseconds until the device was done as well. */
  totalMs: number
  /** The most expensive first. */
  kernels: ProfiledKernel[]
  /** What the function returned. */
  result: T
  /** A table for people. */
  toString(): string
}

let running = false

/**
 * Runs `step` once and reports what it made the device do: kernel launches, submits, new GPU buffers and pipelines, bytes
 * from and to the host, host time, and the time of each kernel. Profile a step after the second one: the first ones
 * compile kernels and make buffers. While it lasts, webgpu runs each kernel in a pass of its own, which costs a little.
 *
 * ```ts
 * const report = await ef.profile(() => trainStep())
 * console.log(`${report}`)
 * ```
 * @throws ArgumentError while another profile runs.
 */
export async function profile<T>(
  step: () => T | Promise<T>,
  { device = getDefaultDevice() }: { device?: DeviceName } = {},
): Promise<Profile<T>> {
  if (typeof step !== 'function')
    throw new ArgumentError(`profile: expected a function to run, got ${String(step)}`)
  if (running) throw new ArgumentError('profile: another profile is running; await it first')
  const backend = getBackend(device)
  running = true
  try {
    await backend.synchronize()
    return await measure(backend, step)
  } finally {
    running = false
  }
}

async function measure<T>(backend: Backend, step: () => T | Promise<T>): Promise<Profile<T>> {
  const stop = backend.startProfile?.() ?? timeCalls(backend)
  let stopped: Promise<DeviceProfile> | null = null
  try {
    const start = performance.now()
    const result = await step()
    const hostMs = performance.now() - start
    stopped = stop()
    const { kernels, ...counts } = await stopped
    const totalMs = performance.now() - start
    const rows = [...kernels].map(([name, { calls, ms }]) => ({ name, calls, ms }))
    rows.sort((a, b) => (b.ms ?? 0) - (a.ms ?? 0) || b.calls - a.calls)
    const report = { device: backend.name, hostMs, totalMs, ...counts, kernels: rows, result }
    return { ...report, toString: () => table(report) }
  } finally {
    await (stopped ?? stop())
  }
}

/** Methods of a backend that are no kernels. */
const HOUSEKEEPING = new Set([
  'constructor',
  'supports',
  'allocate',
  'free',
  'write',
  'read',
  'readSync',
  'startProfile',
  'synchronize',
  'destroy',
])

/** Timed functions in front of a backend's kernels, until the function returned is called. */
function timeCalls(backend: Backend): () => Promise<DeviceProfile> {
  const kernels = new Map<string, { calls: number; ms: number }>()
  const own = backend as unknown as Record<string, unknown>
  const hidden = new Map<string, PropertyDescriptor | undefined>()
  const put = (name: string, method: unknown): void => {
    hidden.set(name, Object.getOwnPropertyDescriptor(own, name))
    Object.defineProperty(own, name, { value: method, configurable: true, writable: true })
  }
  const counts = { dispatches: 0, bytesWritten: 0, bytesRead: 0 }
  let depth = 0
  for (const name of methodsOf(backend)) {
    const method = own[name]
    if (typeof method !== 'function' || HOUSEKEEPING.has(name)) continue
    put(name, (...args: unknown[]) => {
      // A kernel that is made of others counts as one.
      if (depth > 0) return method.apply(backend, args)
      const label = typeof args[0] === 'string' ? `${name} ${args[0]}` : name
      const row = kernels.get(label) ?? { calls: 0, ms: 0 }
      kernels.set(label, row)
      row.calls++
      counts.dispatches++
      depth++
      const start = performance.now()
      try {
        return method.apply(backend, args)
      } finally {
        depth--
        row.ms += performance.now() - start
      }
    })
  }
  const { write, read } = backend
  put('write', (buffer: never, dtype: DType, data: HostArray, offset: number) => {
    counts.bytesWritten += data.byteLength
    write.call(backend, buffer, dtype, data, offset)
  })
  put('read', (buffer: never, dtype: DType, offset: number, length: number) => {
    counts.bytesRead += length * BYTES_PER_ELEMENT[dtype]
    return read.call(backend, buffer, dtype, offset, length)
  })
  return async () => {
    for (const [name, descriptor] of hidden) {
      if (descriptor) Object.defineProperty(own, name, descriptor)
      else delete own[name]
    }
    return { ...counts, submits: 0, newPipelines: 0, newBuffers: 0, kernels }
  }
}

function methodsOf(backend: Backend): Set<string> {
  const names = new Set<string>()
  for (let at: object = backend; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) {
      if (Object.getOwnPropertyDescriptor(at, name)?.get === undefined) names.add(name)
    }
  return names
}

function table(report: Omit<Profile<unknown>, 'toString'>): string {
  const { device, hostMs, totalMs, dispatches, submits, newPipelines, newBuffers, kernels } = report
  const head =
    `${device}: ${dispatches} kernels, ${submits} submits, ${newPipelines} new pipelines, ${newBuffers} new buffers, ` +
    `${report.bytesWritten} bytes written, ${report.bytesRead} read, ${hostMs.toFixed(2)} ms on the host, ${totalMs.toFixed(2)} ms in all`
  const width = Math.max(...kernels.map((k) => k.name.length), 'kernel'.length)
  const line = (name: string, calls: string, ms: string): string =>
    `${name.padEnd(width)} ${calls.padStart(7)} ${ms.padStart(10)}`
  return [
    head,
    line('kernel', 'calls', device === 'cpu' ? 'host ms' : 'GPU ms'),
    ...kernels.map(({ name, calls, ms }) => line(name, String(calls), ms === null ? '-' : ms.toFixed(3))),
  ].join('\n')
}
