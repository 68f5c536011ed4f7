// What can go wrong with a GPU: none there, lost, too small, misused; and a device that belongs to the user.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { platform } from '#platform'
import { input } from '../src/backend/expr'
import { Program } from '../src/backend/program'
import { getBackend, hasBackend } from '../src/backend/registry'
import type { DeviceBuffer, View } from '../src/backend/types'
import { createWebGpuBackend, type WebGpuBackend } from '../src/backend/webgpu'
import { DeviceError, DeviceLostError, OutOfMemoryError, ReleasedError } from '../src/errors'
import * as ef from '../src/index'

const DOUBLE = new Program([input(0).mul(2)], 1)

async function adapter(): Promise<GPUAdapter> {
  const found = await (await platform.requestGPU())?.requestAdapter()
  if (!found) throw new Error('no WebGPU adapter: see test/webgpu-available.test.ts')
  return found
}

/** A device with WebGPU's default limits, as a user would make it. */
async function userDevice(): Promise<GPUDevice> {
  return (await adapter()).requestDevice()
}

/** A number through the memory of a device, without the library. */
async function roundTrip(device: GPUDevice): Promise<number> {
  const buffer = device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ })
  device.queue.writeBuffer(buffer, 0, Int32Array.of(42))
  await buffer.mapAsync(GPUMapMode.READ)
  return new Int32Array(buffer.getMappedRange())[0]
}

function vector(backend: WebGpuBackend, values: number[]): View {
  const buffer = backend.allocate('float32', values.length)
  backend.write(buffer, 'float32', Float32Array.from(values), 0)
  return { buffer, dtype: 'float32', offset: 0, shape: [values.length], strides: [1] }
}

function rawBuffer(buffer: DeviceBuffer): GPUBuffer {
  return (buffer as unknown as { block: { gpu: GPUBuffer } }).block.gpu
}

afterEach(() => {
  vi.restoreAllMocks()
  ef.shutdown()
})

describe('no GPU', () => {
  const nothing = { requestAdapter: async () => null } as unknown as GPU

  it('says what to install or do where there is no adapter', async () => {
    await expect(createWebGpuBackend({ gpu: nothing })).rejects.toThrow(DeviceError)
    await expect(createWebGpuBackend({ gpu: nothing })).rejects.toThrow(/no adapter.*driver.*'cpu'/s)
  })

  it('asked for by name it throws; left to choose, init takes the cpu', async () => {
    vi.spyOn(platform, 'requestGPU').mockResolvedValue(nothing)
    await expect(ef.init({ device: 'webgpu' })).rejects.toThrow(DeviceError)
    expect(await ef.init()).toBe('cpu')
    vi.spyOn(platform, 'requestGPU').mockResolvedValue(null)
    await expect(ef.init({ device: 'webgpu' })).rejects.toThrow(/package 'webgpu'/)
    expect(await ef.init()).toBe('cpu')
  })

  it('an adapter that gives no device', async () => {
    const real = await adapter()
    const refusing = {
      limits: real.limits,
      features: real.features,
      info: real.info,
      requestDevice: async () => {
        throw new Error('too many devices')
      },
    }
    const gpu = { requestAdapter: async () => refusing } as unknown as GPU
    await expect(createWebGpuBackend({ gpu })).rejects.toThrow(/refused a device: too many devices/)
  })

  it('a software adapter is taken only when webgpu is asked for', async () => {
    const real = await adapter()
    if (!real.info.isFallbackAdapter) return expect(await ef.init()).toBe('webgpu')
    expect(await ef.init()).toBe('cpu')
    expect(await ef.init({ device: 'webgpu' })).toBe('webgpu')
    expect(ef.defaultDevice()).toBe('webgpu')
  })
})

it('calls of init at once open one device', async () => {
  const opened = vi.spyOn(platform, 'requestGPU')
  expect(await Promise.all([ef.init({ device: 'webgpu' }), ef.init({ device: 'webgpu' })])).toEqual([
    'webgpu',
    'webgpu',
  ])
  expect(opened).toHaveBeenCalledTimes(1)
  await expect(ef.init({ device: 'tpu' as 'cpu' })).rejects.toThrow(ef.ArgumentError)
  expect(await ef.init({ device: 'cpu' })).toBe('cpu')
})

describe("the user's own device", () => {
  it('computes, and stays alive and clean after shutdown', async () => {
    const device = await userDevice()
    const uncaptured = vi.fn()
    device.addEventListener('uncapturederror', uncaptured)
    expect(await ef.init({ gpuDevice: device })).toBe('webgpu')
    const x = ef.tensor([1, 2, 3])
    expect([...(await x.mul(x).data())]).toEqual([1, 4, 9])
    ef.shutdown()
    await expect(x.data()).rejects.toThrow(DeviceLostError)
    expect(await roundTrip(device)).toBe(42)
    // And the library may have it again.
    await ef.init({ gpuDevice: device })
    expect(await ef.tensor([2]).add(1).item()).toBe(3)
    expect(uncaptured).not.toHaveBeenCalled()
    device.destroy()
  })

  it('is kept when given again, and replaced when another is given', async () => {
    const [one, two] = [await userDevice(), await userDevice()]
    await ef.init({ gpuDevice: one })
    const x = ef.tensor([1, 2])
    await ef.init({ device: 'cpu' })
    await ef.init({ gpuDevice: one })
    expect([...(await x.add(1).data())]).toEqual([2, 3])
    await ef.init({ device: 'webgpu' })
    expect([...(await x.add(1).data())]).toEqual([2, 3])
    await ef.init({ gpuDevice: two })
    expect(() => x.add(1)).toThrow(DeviceLostError)
    expect([...(await ef.tensor([1, 2]).add(1).data())]).toEqual([2, 3])
    expect(await roundTrip(one)).toBe(42)
    for (const device of [one, two]) device.destroy()
  })

  it("is not blamed for the user's own mistakes on it", async () => {
    const device = await userDevice()
    const uncaptured = new Promise((resolve) => device.addEventListener('uncapturederror', resolve))
    const backend = await createWebGpuBackend({ device })
    device.createBuffer({ size: 4, usage: 0xffff })
    await uncaptured
    const x = vector(backend, [1, 2])
    backend.elementwise(DOUBLE, [x], [], [x])
    expect([...(await backend.read(x.buffer, 'float32', 0, 2))]).toEqual([2, 4])
    backend.destroy()
    device.destroy()
  })

  it('works at default limits: kernels over more buffers than one may bind', async () => {
    const device = await userDevice()
    const most = device.limits.maxStorageBuffersPerShaderStage
    const backend = await createWebGpuBackend({ device })
    const ins = Array.from({ length: most + 5 }, (_, i) => vector(backend, [i, 2 * i, 1]))
    const sum = ins.map((_, i) => input(i)).reduce((a, b) => a.add(b))
    const total = (n: number): number => (n * (n - 1)) / 2
    const expected = [total(ins.length), 2 * total(ins.length), ins.length]
    const out = vector(backend, [0, 0, 0])
    backend.elementwise(new Program([sum], ins.length), ins, [], [out])
    expect([...(await backend.read(out.buffer, 'float32', 0, 3))]).toEqual(expected)
    const one = { ...out, shape: [], strides: [] }
    backend.reduce('sum', new Program([sum], ins.length), ins, [], one)
    expect((await backend.read(out.buffer, 'float32', 0, 1))[0]).toBe(expected[0] + expected[1] + expected[2])
    // Outputs cannot be packed.
    const outs = Array.from({ length: most + 1 }, () => vector(backend, [0, 0, 0]))
    const many = new Program(
      outs.map((_, i) => input(0).add(i)),
      1,
    )
    expect(() => backend.elementwise(many, ins.slice(0, 1), [], outs)).toThrow(
      new RegExp(`${most + 2} buffers.*at most ${most}.*Split`, 's'),
    )
    expect([...(await backend.read(ins[1].buffer, 'float32', 0, 3))]).toEqual([1, 2, 1])
    backend.destroy()
    device.destroy()
  })
})

describe('a lost device', () => {
  it('rejects reads that wait and reads that come, and every op throws', async () => {
    const device = await userDevice()
    const backend = await createWebGpuBackend({ device })
    const x = vector(backend, [1, 2])
    const y = vector(backend, [0, 0])
    backend.elementwise(DOUBLE, [x], [], [y])
    const waiting = [
      backend.read(y.buffer, 'float32', 0, 2),
      backend.read(x.buffer, 'float32', 0, 2),
      backend.synchronize(),
    ]
    device.destroy()
    for (const result of await Promise.allSettled(waiting)) {
      expect(result).toMatchObject({ status: 'rejected', reason: expect.any(DeviceLostError) })
    }
    await expect(backend.read(x.buffer, 'float32', 0, 2)).rejects.toThrow(/lost.*init/s)
    await expect(backend.synchronize()).rejects.toThrow(DeviceLostError)
    expect(() => backend.elementwise(DOUBLE, [x], [], [y])).toThrow(DeviceLostError)
    expect(() => backend.reduce('sum', DOUBLE, [x], [], { ...y, shape: [], strides: [] })).toThrow(
      DeviceLostError,
    )
    expect(() => backend.allocate('float32', 1)).toThrow(DeviceLostError)
    expect(() => backend.write(x.buffer, 'float32', Float32Array.of(1), 0)).toThrow(DeviceLostError)
    expect(() => backend.random({ kind: 'uniform' }, 1, 2, x)).toThrow(DeviceLostError)
    // Handles are still let go of without fuss.
    backend.free(x.buffer)
    backend.destroy()
    backend.destroy()
  })

  it('is replaced by the next init; tensors of the old one say so and do no harm', async () => {
    const device = await userDevice()
    await ef.init({ gpuDevice: device })
    const old = ef.tensor([1, 2, 3])
    device.destroy()
    await device.lost
    await expect(old.data()).rejects.toThrow(DeviceLostError)
    expect(await ef.init({ device: 'webgpu' })).toBe('webgpu')
    const fresh = ef.tensor([1, 2, 3])
    expect([...(await fresh.mul(2).data())]).toEqual([2, 4, 6])
    expect(() => old.add(1)).toThrow(DeviceLostError)
    expect(() => fresh.add(old)).toThrow(DeviceError)
    expect(() => fresh.matmul(old)).toThrow(DeviceError)
    expect([...(await fresh.add(1).data())]).toEqual([2, 3, 4])
    old.dispose()
  })

  it('shutdown with work and reads under way', async () => {
    await ef.init({ device: 'webgpu' })
    const x = ef.tensor([1, 2, 3])
    const reading = x.mul(2).data()
    x.add(1)
    ef.shutdown()
    await expect(reading).rejects.toThrow(DeviceLostError)
    expect(() => x.add(1)).toThrow(/shut down/)
    expect(hasBackend('webgpu')).toBe(false)
    expect(ef.defaultDevice()).toBe('cpu')
    await ef.init({ device: 'webgpu' })
    expect(await ef.tensor([4]).sqrt().item()).toBe(2)
  })
})

describe('memory', () => {
  it('a buffer beyond the limits is refused before the call, and nothing is broken', async () => {
    const device = await userDevice()
    const { maxStorageBufferBindingSize } = device.limits
    await ef.init({ gpuDevice: device })
    const backend = getBackend('webgpu') as WebGpuBackend
    const { buffersCreated } = backend.stats
    const tooMany = maxStorageBufferBindingSize / 4 + 1
    expect(() => backend.allocate('float32', tooMany)).toThrow(OutOfMemoryError)
    expect(() => ef.zeros([tooMany])).toThrow(new RegExp(`${tooMany * 4} bytes.*smaller batches`, 's'))
    expect(backend.stats.buffersCreated).toBe(buffersCreated)
    expect(await ef.tensor([1]).add(1).item()).toBe(2)
    ef.shutdown()
    device.destroy()
  })

  it('the largest buffer allowed can be made, written and read', async () => {
    const device = await userDevice()
    const backend = await createWebGpuBackend({ device })
    const length = device.limits.maxStorageBufferBindingSize / 4
    const buffer = backend.allocate('int32', length)
    backend.write(buffer, 'int32', Int32Array.of(7), length - 1)
    expect([...(await backend.read(buffer, 'int32', length - 1, 1))]).toEqual([7])
    backend.destroy()
    device.destroy()
  })

  it('where the driver has no room, the next read throws OutOfMemoryError, and so does everything after', async () => {
    const device = await userDevice()
    const backend = await createWebGpuBackend({ device })
    const create = device.createBuffer.bind(device)
    // An error scope reports it as the driver would.
    vi.spyOn(device, 'popErrorScope').mockResolvedValueOnce({
      constructor: { name: 'GPUOutOfMemoryError' },
      message: 'no room',
    } as unknown as GPUError)
    vi.spyOn(device, 'createBuffer').mockImplementation((d) => create(d))
    const buffer = backend.allocate('float32', 100_000)
    await expect(backend.read(buffer, 'float32', 0, 1)).rejects.toThrow(OutOfMemoryError)
    expect(() => backend.allocate('float32', 4)).toThrow(/out of GPU memory in allocate \(\d+ bytes\)/)
    backend.destroy()
    device.destroy()
  })

  it('freed twice or used after free: ReleasedError', async () => {
    const device = await userDevice()
    const backend = await createWebGpuBackend({ device })
    const x = vector(backend, [1])
    backend.free(x.buffer)
    expect(() => backend.free(x.buffer)).toThrow(ReleasedError)
    expect(() => backend.elementwise(DOUBLE, [x], [], [x])).toThrow(ReleasedError)
    await expect(backend.read(x.buffer, 'float32', 0, 1)).rejects.toThrow(ReleasedError)
    backend.destroy()
    device.destroy()
  })
})

describe('errors that WebGPU reports later', () => {
  it('the first one is kept, names the work, and is thrown by pending and later calls', async () => {
    const device = await userDevice()
    const backend = await createWebGpuBackend({ device })
    const x = vector(backend, [1, 2])
    const y = vector(backend, [1, 2])
    // Behind the library's back: the submit that uses it becomes invalid.
    rawBuffer(x.buffer).destroy()
    backend.elementwise(DOUBLE, [x], [], [y])
    const error = await backend.read(y.buffer, 'float32', 0, 2).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(DeviceError)
    expect(String(error)).toMatch(/a batch ending with read failed.*destroyed/s)
    expect(() => backend.elementwise(DOUBLE, [y], [], [y])).toThrow(error as Error)
    await expect(backend.synchronize()).rejects.toBe(error)
    await expect(backend.read(y.buffer, 'float32', 0, 2)).rejects.toBe(error)
    backend.destroy()
    device.destroy()
  })

  it('init gives a working device again', async () => {
    await ef.init({ device: 'webgpu' })
    const backend = getBackend('webgpu')
    const x = ef.tensor([1, 2])
    rawBuffer(x.view().buffer).destroy()
    await expect(x.mul(2).data()).rejects.toThrow(DeviceError)
    await ef.init({ device: 'webgpu' })
    expect(getBackend('webgpu')).not.toBe(backend)
    expect([...(await ef.tensor([1, 2]).mul(2).data())]).toEqual([2, 4])
  })
})

it('float64 is refused with advice', async () => {
  await ef.init({ device: 'webgpu' })
  const backend = getBackend('webgpu')
  expect(backend.supports('float64')).toBe(false)
  expect(() => backend.allocate('float64', 1)).toThrow(/float64.*float32/s)
  expect(() => ef.zeros([2], { dtype: 'float64' })).toThrow(ef.DTypeError)
})
