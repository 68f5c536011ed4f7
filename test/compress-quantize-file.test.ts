// Models in int8 on disk: what a file holds, that it loads into a float model, and what a bad one says.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { compress, nn } from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '../src/io/safetensors'

class Small extends nn.Module {
  embedding = new nn.Embedding(9, 6)
  attention = new nn.MultiheadAttention(6, 2, { batchFirst: true })
  norm = new nn.LayerNorm(6)
  head = new nn.Linear(6, 3)

  forward(ids: ef.Tensor): ef.Tensor {
    const x = this.embedding.forward(ids)
    return this.head.forward(this.norm.forward(this.attention.forward(x, x, x, { needWeights: false })[0]))
  }
}

const ids = ef.tensor(
  [
    [1, 2, 3, 8],
    [4, 5, 6, 0],
  ],
  { dtype: 'int32' },
)
const output = (model: Small) => ef.noGrad(() => model.forward(ids)).data()

let folder: string
let path: string
let model: Small
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-int8-'))
  path = join(folder, 'model.safetensors')
  ef.manualSeed(1)
  model = new Small()
  await compress.quantize(model, {
    activations: { range: 'static', type: 'uint7' },
    calibrate: () => ef.noGrad(() => model.forward(ids).dispose()),
  })
  await compress.saveQuantized(path, model, { metadata: { note: 'mine' } })
})
afterAll(() => rm(folder, { recursive: true }))

it('a float model takes over layers, integers and passes: the same outputs to the bit', async () => {
  const other = new Small()
  await compress.loadQuantized(path, other)
  expect(await output(other)).toEqual(await output(model))
  expect(other.head).toBeInstanceOf(compress.QuantizedLinear)
  expect(compress.passesOf(other)).toEqual(compress.passesOf(model))
  expect(other.parameters().some((p) => p.requiresGrad)).toBe(false)
  // And once more.
  const again = join(folder, 'again.safetensors')
  await compress.saveQuantized(again, other, { metadata: { note: 'mine' } })
  expect(await readFile(again)).toEqual(await readFile(path))
})

it('dynamic ranges and single layers', async () => {
  ef.manualSeed(2)
  const own = new Small()
  await compress.quantize(own, { layers: ['head'] })
  const file = join(folder, 'head.safetensors')
  await compress.saveQuantized(file, own)
  const other = new Small()
  await compress.loadQuantized(await readFile(file), other)
  expect(await output(other)).toEqual(await output(own))
  expect(other.embedding).toBeInstanceOf(nn.Embedding)
})

it('holds a byte for each weight, under the names that the float model has', async () => {
  const { tensors, metadata } = parseSafetensors(await readFile(path))
  expect(tensors.get('head.weight')).toMatchObject({ dtype: 'I8', shape: [3, 6] })
  expect(tensors.get('embedding.weight')).toMatchObject({ dtype: 'I8', shape: [9, 6] })
  expect(tensors.get('attention.in_proj.weight')).toMatchObject({ dtype: 'I8', shape: [18, 6] })
  expect([...tensors.keys()].filter((name) => name.includes('sums') || name.includes('reciprocal'))).toEqual(
    [],
  )
  expect(metadata.note).toBe('mine')
  const { values, params } = await (model.head as unknown as compress.QuantizedLinear).integers()
  expect([...tensors.get('head.weight')!.data]).toEqual([...values])
  expect([...tensors.get('head.weight_scale')!.data]).toEqual([...params.scale])
})

describe('a bad file changes nothing', () => {
  type Change = (tensors: Map<string, TensorToWrite>, metadata: Record<string, string>) => void
  it.each<[string, Change, RegExp]>([
    ['a scale of 0', (t) => t.get('head.weight_scale')!.data.fill(0), /layer 'head': .*scale 0 is 0/],
    [
      'a scale of activations that is NaN',
      (t) => t.get('head.activations.scale')!.data.fill(Number.NaN),
      /layer 'head': .*scale 0 is NaN/,
    ],
    [
      'a zero point outside',
      (t) => t.get('head.activations.zero_point')!.data.fill(200),
      /zero point 0 is 200/,
    ],
    [
      'no scale',
      (t) => t.delete('embedding.weight_scale'),
      /'embedding.weight_scale' is missing; expected F32 \[9\]/,
    ],
    [
      'another shape',
      (t) => t.set('head.weight', { shape: [6, 3], data: new Int32Array(18), dtype: 'I8' }),
      /'head.weight' is I8 \[6, 3\]; expected I8 \[3, 6\]/,
    ],
    [
      'a float weight',
      (t) => t.set('head.weight', { shape: [3, 6], data: new Float32Array(18) }),
      /'head.weight' is F32/,
    ],
    ['a parameter that is not there', (t) => t.delete('norm.bias'), /missing: norm.bias/],
    ['one too many', (t) => t.set('extra', { shape: [], data: new Float32Array(1) }), /unexpected: extra/],
    [
      'no description',
      (_, m) => delete m['evenfold.quantization'],
      /metadata has no 'evenfold.quantization'/,
    ],
    [
      'a description that is no JSON',
      (_, m) => {
        m['evenfold.quantization'] = '{'
      },
      /no JSON list/,
    ],
    [
      'a layer of no kind',
      (_, m) => {
        m['evenfold.quantization'] = '[{"path":"head"}]'
      },
      /describes no layer/,
    ],
    [
      'a layer that is not there',
      (_, m) => {
        m['evenfold.quantization'] = '[{"path":"tail","kind":"linear","activations":[{}]}]'
      },
      /'tail'; Small has no float layer/,
    ],
    [
      'a layer of another kind',
      (_, m) => {
        m['evenfold.quantization'] = '[{"path":"head","kind":"embedding","activations":[]}]'
      },
      /another kind of layer/,
    ],
  ])('%s', async (_, change, message) => {
    const { tensors, metadata } = parseSafetensors(await readFile(path))
    change(tensors, metadata)
    const bytes = serializeSafetensors(tensors, { metadata })
    ef.manualSeed(3)
    const other = new Small()
    const before = await output(other)
    const loaded = expect(compress.loadQuantized(bytes, other)).rejects
    await loaded.toThrow(ef.FormatError)
    await expect(compress.loadQuantized(bytes, other)).rejects.toThrow(message)
    expect(await output(other)).toEqual(before)
    expect(other.head).toBeInstanceOf(nn.Linear)
  })

  it('a float model is not saved as an int8 one', async () => {
    await expect(compress.saveQuantized(join(folder, 'float'), new Small())).rejects.toThrow(
      /no layer of Small/,
    )
  })
})
