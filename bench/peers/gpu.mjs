// WebGPU for the peers in Node, as a browser would offer it, with a count of what they make it do.
import { create, globals } from 'webgpu'

let dispatches = 0
let submits = 0

/** Puts `navigator.gpu` and the WebGPU globals in place. */
export function offerWebGpu() {
  Object.assign(globalThis, globals)
  globalThis.navigator ??= { userAgent: 'Node' }
  const gpu = create([])
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true })
  const { dispatchWorkgroups, dispatchWorkgroupsIndirect } = GPUComputePassEncoder.prototype
  const { submit } = GPUQueue.prototype
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...args) {
    dispatches++
    return dispatchWorkgroups.apply(this, args)
  }
  GPUComputePassEncoder.prototype.dispatchWorkgroupsIndirect = function (...args) {
    dispatches++
    return dispatchWorkgroupsIndirect.apply(this, args)
  }
  GPUQueue.prototype.submit = function (...args) {
    submits++
    return submit.apply(this, args)
  }
}

/** One step, counted. */
export async function countsOf(step) {
  dispatches = submits = 0
  await step()
  return { dispatches, submits }
}
