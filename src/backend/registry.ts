// Which devices are ready, and which one new tensors go to. The cpu is always there; webgpu after `init`.

import { DeviceError } from '../errors'
import { cpuBackend } from './cpu'
import type { Backend, DeviceName } from './types'

const backends = new Map<DeviceName, Backend>([['cpu', cpuBackend]])
let defaultDevice: DeviceName = 'cpu'

export function registerBackend(backend: Backend): void {
  backends.set(backend.name, backend)
}

export function unregisterBackend(name: DeviceName): void {
  backends.delete(name)
  if (defaultDevice === name) defaultDevice = 'cpu'
}

export function hasBackend(name: DeviceName): boolean {
  return backends.has(name)
}

/** The backend of a device. Throws DeviceError where it is not initialised. */
export function getBackend(name: DeviceName): Backend {
  const backend = backends.get(name)
  if (backend) return backend
  if (name === 'webgpu') {
    throw new DeviceError("device 'webgpu' is not ready; call `await init({ device: 'webgpu' })` first")
  }
  throw new DeviceError(`unknown device '${String(name)}'; expected 'cpu' or 'webgpu'`)
}

export function setDefaultDevice(name: DeviceName): void {
  getBackend(name)
  defaultDevice = name
}

/** The device new tensors are created on where none is named. */
export function getDefaultDevice(): DeviceName {
  return defaultDevice
}
