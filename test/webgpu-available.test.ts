// Every test run has a WebGPU adapter: a real one, or the software driver from npm. This fails first, and plainly.
import { expect, it } from 'vitest'
import { platform } from '#platform'

it('finds a WebGPU adapter and runs a compute shader', async () => {
  const gpu = await platform.requestGPU()
  const adapter = await gpu?.requestAdapter()
  expect(adapter, 'no WebGPU adapter: see test/support/swiftshader.ts').toBeTruthy()
  const device = await adapter!.requestDevice()
  const module = device.createShaderModule({
    code: '@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) i: vec3u) { x[i.x] = i.x * i.x; }',
  })
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } })
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC
  const buffer = device.createBuffer({ size: 16, usage })
  const read = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ })
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  const entries = [{ binding: 0, resource: { buffer } }]
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
  pass.dispatchWorkgroups(1)
  pass.end()
  encoder.copyBufferToBuffer(buffer, 0, read, 0, 16)
  device.queue.submit([encoder.finish()])
  await read.mapAsync(GPUMapMode.READ)
  expect([...new Uint32Array(read.getMappedRange())]).toEqual([0, 1, 4, 9])
  device.destroy()
  platform.releaseGPU()
})
