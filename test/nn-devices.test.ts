// Models between devices: moving, state dicts, optimizer state, checkpoints, lengths and masks; the same on both.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const devices = ['cpu', 'webgpu'] as const
const others = [
  ['cpu', 'webgpu'],
  ['webgpu', 'cpu'],
] as const

const sizes = { vocabularySize: 12, embeddingSize: 5, hiddenSize: 4, dropout: 0 }
const rows = [
  [3, 7, 1, 5, 0, 0],
  [2, 9, 0, 0, 0, 0],
  [4, 4, 6, 8, 1, 11],
  [0, 0, 0, 0, 0, 0],
]
const lengths = [4, 2, 6, 0]

beforeAll(async () => {
  await ef.init({ device: 'webgpu' })
  await ef.init({ device: 'cpu' })
})

/** A classifier and its optimizer after three steps on a device, from one seed. */
function trained(device: ef.DeviceName, seed = 5) {
  ef.manualSeed(seed)
  const model = new ef.models.GRUClassifier({ ...sizes, device })
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.05 })
  for (let i = 0; i < 3; i++) step(model, optimizer)
  return { model, optimizer }
}

function step(model: ef.models.GRUClassifier, optimizer: optim.AdamW): ef.Tensor {
  const { device } = model.linear.weight
  const ids = ef.tensor(rows, { dtype: 'int32', device })
  const target = ef.tensor([0, 1, 0, 1], { dtype: 'int32', device })
  optimizer.zeroGrad()
  const loss = nn.functional.crossEntropy(model.forward(ids, { lengths }), target)
  loss.backward()
  optimizer.step()
  return loss
}

const values = async (model: nn.Module): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(model.stateDict()).map(async ([key, t]) => [key, Array.from(await t.data())] as const),
    ),
  )

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what = ''): void {
  const wanted = Array.from(expected)
  expect(actual.length).toBe(wanted.length)
  const tolerance = 1e-4 * Math.max(...wanted.map(Math.abs), 0) + 1e-6
  for (const [i, value] of wanted.entries())
    expect(Math.abs(actual[i] - value), `${what}[${i}]`).toBeLessThanOrEqual(tolerance)
}

describe('a model moved', () => {
  it('to webgpu and back keeps every bit, every tensor and the gradients', async () => {
    const { model } = trained('cpu')
    const before = await values(model)
    const parameters = model.parameters()
    const grads = await Promise.all(parameters.map((p) => p.grad!.data()))
    expect(model.to('webgpu')).toBe(model)
    expect(model.parameters()).toEqual(parameters)
    for (const p of parameters) expect([p.device, p.grad!.device]).toEqual(['webgpu', 'webgpu'])
    expect(await values(model)).toEqual(before)
    expect(await model.cpu()).toBe(model)
    for (const p of parameters) expect([p.device, p.grad!.device]).toEqual(['cpu', 'cpu'])
    expect(await values(model)).toEqual(before)
    for (const [i, p] of parameters.entries()) expect(await p.grad!.data()).toEqual(grads[i])
  })

  it('leaves no memory behind where it was', async () => {
    const { model } = trained('cpu')
    model.zeroGrad()
    ef.releaseSpent()
    const { cpu, webgpu } = ef.memory()
    const count = model.parameters().length
    model.to('webgpu')
    expect(ef.memory().cpu.tensors).toBe(cpu.tensors - count)
    expect(ef.memory().webgpu.tensors).toBe(webgpu.tensors + count)
    await model.cpu()
    expect(ef.memory().webgpu.tensors).toBe(webgpu.tensors)
    expect(ef.memory().cpu.tensors).toBe(cpu.tensors)
  })

  it('in the middle of a run trains on, its optimizer too', async () => {
    const stay = trained('cpu')
    const go = trained('cpu')
    go.model.to('webgpu')
    for (let i = 0; i < 3; i++)
      expectClose(
        [await step(go.model, go.optimizer).item()],
        [await step(stay.model, stay.optimizer).item()],
        `loss of step ${i}`,
      )
    await go.model.cpu()
    // The moments cannot be read at once: this step does not happen, and says what to do.
    const before = await values(go.model)
    expect(() => go.optimizer.step()).toThrow(/AdamW: the model is on 'cpu'.*await cpu\(\)/)
    expect(() => go.optimizer.step()).toThrow(ef.DeviceError)
    expect(await values(go.model)).toEqual(before)
    expect(go.optimizer.stepCount).toBe(stay.optimizer.stepCount)
    await go.optimizer.cpu()
    for (let i = 0; i < 2; i++)
      expectClose(
        [await step(go.model, go.optimizer).item()],
        [await step(stay.model, stay.optimizer).item()],
        `loss ${i} after the way back`,
      )
    for (const t of Object.values(go.optimizer.stateDict().tensors)) expect(t.device).toBe('cpu')
  })

  it('takes a bad step along: where it was seen does not matter', async () => {
    const { model, optimizer } = trained('cpu')
    const poison = () => {
      for (const p of model.parameters()) p.grad!.fill_(Number.NaN)
      optimizer.step()
    }
    ef.noGrad(poison)
    const bad = optimizer.stepCount
    model.to('webgpu')
    step(model, optimizer)
    expect(await optimizer.firstBadStep()).toBe(bad)
    await model.cpu()
    await optimizer.cpu()
    step(model, optimizer)
    expect(await optimizer.firstBadStep()).toBe(bad)
  })

  it('to another dtype trains on in that, its optimizer too', async () => {
    const { model, optimizer } = trained('cpu')
    model.to('float64')
    step(model, optimizer)
    for (const t of Object.values(optimizer.stateDict().tensors)) expect(t.dtype).toBe('float64')
  })

  it('to webgpu in float64, or off webgpu at once, is refused and stays as it was', async () => {
    const model = new nn.Linear(2, 2, { dtype: 'float64', device: 'cpu' })
    expect(() => model.to('webgpu')).toThrow(ef.DTypeError)
    expect(model.weight.device).toBe('cpu')
    const there = new nn.Linear(2, 2, { device: 'webgpu' })
    expect(() => there.to('cpu')).toThrow(/await .*cpu\(\)/)
    expect(() => there.to('cpu')).toThrow(ef.DeviceError)
    expect(() => there.to('float64')).toThrow(ef.DTypeError)
    expect([there.weight.device, there.weight.dtype]).toEqual(['webgpu', 'float32'])
    expect(Array.from(await there.forward(ef.ones([1, 2], { device: 'webgpu' })).data())).toHaveLength(2)
  })
})

describe.each(others)('from %s to %s', (from, to) => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'evenfold-devices-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('a state dict crosses bit for bit, where its values can be read at once', async () => {
    const source = trained(from).model
    const target = new ef.models.GRUClassifier({ ...sizes, device: to })
    const before = await values(target)
    if (from === 'webgpu') {
      expect(() => target.loadStateDict(source.stateDict())).toThrow(ef.DeviceError)
      expect(await values(target)).toEqual(before)
      await source.cpu()
    }
    target.loadStateDict(source.stateDict())
    expect(await values(target)).toEqual(await values(source))
    expect(target.parameters().every((p) => p.device === to)).toBe(true)
  })

  it('a checkpoint crosses, and the run goes on from the same weights and moments', async () => {
    const path = join(folder, 'run.safetensors')
    const source = trained(from)
    await ef.io.saveCheckpoint(path, { ...source, step: 3 })
    const target = trained(to, 99)
    const { step: at } = await ef.io.loadCheckpoint(path, target)
    expect(at).toBe(3)
    expect(await values(target.model)).toEqual(await values(source.model))
    expect(target.model.parameters().every((p) => p.device === to)).toBe(true)
    for (let i = 0; i < 3; i++)
      expectClose(
        [await step(target.model, target.optimizer).item()],
        [await step(source.model, source.optimizer).item()],
        `loss of step ${i}`,
      )
  })
})

it('one seed gives one model on both devices', async () => {
  const draw = async (device: ef.DeviceName) => {
    ef.manualSeed(5)
    return values(new ef.models.GRUClassifier({ ...sizes, device }))
  }
  const [a, b] = [await draw('cpu'), await draw('webgpu')]
  for (const key of Object.keys(a)) expectClose(b[key], a[key], key)
})

describe('lengths, masks and dropout give the same on both devices', () => {
  const options = { numLayers: 2, bidirectional: true, batchFirst: true, dropout: 0.4 }
  const x = ef.randn([4, 6, 3], { device: 'cpu' })
  const keep = ef.tensor(
    rows.map((row) => row.map((id) => id % 3 !== 0)),
    { device: 'cpu' },
  )
  const ways: Record<string, (device: ef.DeviceName) => Parameters<nn.GRU['forward']>[2]> = {
    neither: () => ({}),
    'lengths as a list': () => ({ lengths }),
    'lengths computed on the device': (device) => ({
      lengths: ef.tensor(rows, { dtype: 'int32', device }).ne(0).sum(1).to('int32'),
    }),
    mask: (device) => ({ mask: keep.to(device) }),
    'mask through swapped axes': (device) => ({ mask: keep.T.contiguous().to(device).T }),
  }

  it.each(Object.entries(ways))('%s', async (_, way) => {
    const results = []
    for (const device of devices) {
      ef.manualSeed(3)
      const gru = new nn.GRU(3, 4, { ...options, device: 'cpu' })
      gru.to(device)
      const input = x.to(device).detach()
      input.requiresGrad = true
      const [output, hidden] = gru.forward(input, null, way(device))
      const loss = output.square().sum().add(hidden.sum())
      const outputs = [await output.data(), await hidden.data()]
      loss.backward()
      results.push([
        ...outputs,
        ...(await Promise.all([input, ...gru.parameters()].map((t) => t.grad!.data()))),
      ])
    }
    const [cpu, webgpu] = results
    for (const [i, wanted] of cpu.entries()) expectClose(webgpu[i], wanted, `value ${i}`)
  })

  it('an empty batch, and one with all rows empty', async () => {
    for (const device of devices) {
      const gru = new nn.GRU(3, 4, { bidirectional: true, device })
      const [none] = gru.forward(ef.zeros([2, 0, 3], { device }), null, { lengths: [] })
      expect(none.shape).toEqual([2, 0, 8])
      const [output, hidden] = gru.forward(ef.ones([2, 3, 3], { device }), null, { lengths: [0, 0, 0] })
      output.sum().add(hidden.sum()).backward()
      expect(await output.eq(0).all().item()).toBe(1)
      expect(await gru.parameters()[0].grad!.eq(0).all().item()).toBe(1)
    }
  })
})

it('tensors of two devices in one layer are refused by name', () => {
  const gru = new nn.GRU(3, 4, { device: 'cpu' })
  const x = ef.ones([2, 1, 3], { device: 'webgpu' })
  expect(() => gru.forward(x)).toThrow(ef.DeviceError)
  expect(() => gru.forward(x)).toThrow(/GRU.*'cpu' and 'webgpu' \(in GRU\); move/)
  const mask = ef.ones([2, 1], { dtype: 'bool', device: 'webgpu' })
  expect(() => gru.forward(ef.ones([2, 1, 3]), null, { mask })).toThrow(ef.DeviceError)
  expect(() => new nn.Linear(3, 2, { device: 'cpu' }).forward(x)).toThrow(ef.DeviceError)
  expect(() => new nn.LayerNorm(3, { device: 'cpu' }).forward(x)).toThrow(ef.DeviceError)
  const ids = ef.tensor([1], { dtype: 'int32', device: 'webgpu' })
  expect(() => new nn.Embedding(3, 2, { device: 'cpu' }).forward(ids)).toThrow(ef.DeviceError)
  const logits = ef.ones([1, 3], { device: 'cpu' })
  expect(() => nn.functional.crossEntropy(logits, ids)).toThrow(ef.DeviceError)
})
