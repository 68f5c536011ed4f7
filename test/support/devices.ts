// The devices and float dtypes that layers and models are tested on.
import * as ef from 'evenfold'
import { afterAll, beforeAll, describe } from 'vitest'
import { expectGolden, type GoldenCase, type GoldenTensor } from './golden'

export interface TestDevice {
  device: ef.DeviceName
  dtype: 'float32' | 'float64'
}

export const devices: TestDevice[] = [
  { device: 'cpu', dtype: 'float64' },
  { device: 'cpu', dtype: 'float32' },
  { device: 'webgpu', dtype: 'float32' },
]

/** Runs a group of tests once per device, which is the default one meanwhile. */
export function describeDevices(title: string, fn: (device: TestDevice) => void): void {
  describe.each(devices)(`${title} ($device $dtype)`, (device) => {
    beforeAll(async () => {
      await ef.init({ device: device.device })
    })
    afterAll(async () => {
      await ef.init({ device: 'cpu' })
    })
    fn(device)
  })
}

/** A golden tensor on a device: floats in the device's dtype, integers and bools as they are. */
export function onDevice(golden: GoldenTensor, { device, dtype }: TestDevice): ef.Tensor {
  const own = golden.dtype === 'I32' ? 'int32' : golden.dtype === 'BOOL' ? 'bool' : dtype
  return ef.tensor(golden.values, { shape: golden.shape, dtype: own, device })
}

/** The parameters of a case under their state-dict keys. */
export function goldenState(golden: GoldenCase, where: TestDevice): Record<string, ef.Tensor> {
  return Object.fromEntries(
    golden.names('param.').map((key) => [key, onDevice(golden.get(`param.${key}`), where)]),
  )
}

/** What is needed of a module here, without depending on nn. */
interface ModuleLike {
  loadStateDict(state: Record<string, ef.Tensor>): unknown
  namedParameters(): [string, ef.Tensor][]
}

/**
 * Runs one case: loads the module's parameters, calls `run` with the inputs named, and compares every output and, for
 * the loss sum(output * cotangent), the gradient of every input and parameter with PyTorch's.
 */
export async function checkGolden<M extends ModuleLike | null>(
  golden: GoldenCase,
  where: TestDevice,
  names: readonly string[],
  module: M,
  run: (inputs: Record<string, ef.Tensor>, module: M) => ef.Tensor | Record<string, ef.Tensor>,
): Promise<void> {
  module?.loadStateDict(goldenState(golden, where))
  const inputs: Record<string, ef.Tensor> = {}
  for (const name of names) {
    if (!golden.has(name)) continue
    inputs[name] = onDevice(golden.get(name), where)
    if (golden.has(`grad.${name}`)) inputs[name].requiresGrad = true
  }
  const result = run(inputs, module)
  const outputs = result instanceof ef.Tensor ? { output: result } : result
  let loss: ef.Tensor | null = null
  for (const [name, output] of Object.entries(outputs)) {
    await compare(output, golden.get(name), where, `${golden.name}: ${name}`)
    if (!golden.has(`cotangent.${name}`)) continue
    const part = output.mul(onDevice(golden.get(`cotangent.${name}`), where)).sum()
    loss = loss ? loss.add(part) : part
  }
  loss?.backward()
  const leaves = { ...inputs, ...Object.fromEntries(module?.namedParameters() ?? []) }
  for (const name of golden.names('grad.')) {
    const grad = leaves[name]?.grad
    // Where no gradient can flow (sign) there is none, and PyTorch has zeros.
    if (!grad && golden.get(`grad.${name}`).values.every((v) => v === 0)) continue
    if (!grad) throw new Error(`${golden.name}: no gradient of ${name}`)
    await compare(grad, golden.get(`grad.${name}`), where, `${golden.name}: gradient of ${name}`)
  }
}

async function compare(
  actual: ef.Tensor,
  golden: GoldenTensor,
  where: TestDevice,
  what: string,
): Promise<void> {
  const shape = `[${actual.shape.join(', ')}]`
  const expected = `[${golden.shape.join(', ')}]`
  if (shape !== expected) throw new Error(`${what}: shape ${shape}, PyTorch ${expected}`)
  expectGolden(await actual.data(), golden, where.dtype, what)
}
