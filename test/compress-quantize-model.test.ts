// Quantization of whole models: which layers are exchanged, what stays near, calibration, and what a failure leaves.
import * as ef from 'evenfold'
import { compress, models, nn } from 'evenfold'
import { describe, expect, it } from 'vitest'
import { parseBertConfig } from '../src/models/bert-config'
import { bertJson } from './support/tiny-models'

const vocabulary = 30

/** Tokens, a Transformer layer, and a head. */
class Tagger extends nn.Module {
  embedding = new nn.Embedding(vocabulary, 16)
  encoder = new nn.TransformerEncoder(
    new nn.TransformerEncoderLayer(16, 2, { dimFeedforward: 24, batchFirst: true, dropout: 0 }),
    2,
  )
  head = new nn.Linear(16, 5)

  forward(ids: ef.Tensor): ef.Tensor {
    return this.head.forward(this.encoder.forward(this.embedding.forward(ids)))
  }
}

const idsOf = (seed: number, length = 6): ef.Tensor =>
  ef.tensor(
    Int32Array.from({ length: 2 * length }, (_, i) => (i * 7 + seed * 3) % vocabulary),
    {
      shape: [2, length],
    },
  )

const norm = (v: ArrayLike<number>): number => Math.hypot(...Array.from(v))
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  norm(Array.from(a, (v, i) => v - b[i])) / norm(b)

async function output(model: { forward(ids: ef.Tensor): ef.Tensor }, ids: ef.Tensor): Promise<ef.HostArray> {
  return ef.noGrad(() => model.forward(ids)).data()
}

/** Bytes of everything that a model holds. */
const bytesOf = (model: nn.Module): number =>
  Object.values(model.stateDict()).reduce((sum, t) => sum + 4 * t.size, 0)

describe.each(['cpu', 'webgpu'] as const)('a model in int8 (%s)', (device) => {
  async function tagger(): Promise<Tagger> {
    await ef.init({ device: 'cpu' })
    ef.manualSeed(11)
    const model = new Tagger().eval()
    await ef.init({ device })
    return model.to(device)
  }
  const here = (ids: ef.Tensor): ef.Tensor => ids.to(device)

  it.each([
    ['each token', { range: 'token' }, 0.02],
    ['each call', { range: 'tensor' }, 0.02],
    ['calibrated', { range: 'static' }, 0.03],
    ['seven bits, calibrated', { range: 'static', type: 'uint7' }, 0.05],
  ] satisfies [string, compress.ActivationScheme, number][])(
    '%s: stays near float32',
    async (_, activations, bound) => {
      const model = await tagger()
      const expected = await output(model, here(idsOf(1)))
      const before = bytesOf(model)
      const { quantized, left } = await compress.quantize(model, {
        activations,
        calibrate: () => {
          for (let i = 0; i < 4; i++) ef.noGrad(() => model.forward(here(idsOf(i))).dispose())
        },
      })
      expect(quantized).toEqual([
        'embedding',
        ...[0, 1].flatMap((i) =>
          ['self_attn', 'linear1', 'linear2'].map((name) => `encoder.layers.${i}.${name}`),
        ),
        'head',
      ])
      expect(left).toEqual([])
      const y = await output(model, here(idsOf(1)))
      expect(distance(y, expected)).toBeLessThan(bound)
      expect(bytesOf(model)).toBeLessThan(0.5 * before)
      expect(await output(model, here(idsOf(1)))).toEqual(y)
    },
  )

  it('generation with a cache, and queries that are not the keys', async () => {
    await ef.init({ device })
    ef.manualSeed(5)
    // Three heads of width 2: projections begin inside a panel.
    const model = new nn.MultiheadAttention(6, 3, { batchFirst: true }).eval()
    const [query, key] = [ef.randn([2, 3, 6]), ef.randn([2, 4, 6])]
    const run = () => ef.noGrad(() => model.forward(query, key, key, { needWeights: false })[0]).data()
    const expected = await run()
    class Holder extends nn.Module {
      attention = model
      forward(): never {
        throw new Error('unused')
      }
    }
    await compress.quantize(new Holder())
    expect(distance(await run(), expected)).toBeLessThan(0.03)
    expect(Object.keys(model.stateDict())).toEqual([
      'in_proj.bias',
      ...['weight', 'weight_scale', 'weight_sums'].map((key) => `in_proj.${key}`),
      'out_proj.bias',
      ...['weight', 'weight_scale', 'weight_sums'].map((key) => `out_proj.${key}`),
    ])
    await ef.init({ device: 'cpu' })
  })

  it('a GRU classifier, whose recurrent layer stays float', async () => {
    await ef.init({ device: 'cpu' })
    ef.manualSeed(2)
    const model = new models.GRUClassifier({
      vocabularySize: vocabulary,
      embeddingSize: 8,
      hiddenSize: 6,
    }).eval()
    await ef.init({ device })
    model.to(device)
    const expected = await output(model, here(idsOf(3)))
    const { quantized } = await compress.quantize(model)
    expect(quantized).toContain('encoder.embedding')
    expect(distance(await output(model, here(idsOf(3))), expected)).toBeLessThan(0.05)
    await ef.init({ device: 'cpu' })
  })
})

describe('which layers', () => {
  it('those that are named, or that a predicate takes', async () => {
    const model = new Tagger()
    const { quantized } = await compress.quantize(model, { layers: ['head'] })
    expect(quantized).toEqual(['head'])
    expect(model.head).toBeInstanceOf(compress.QuantizedLinear)
    const other = new Tagger()
    const report = await compress.quantize(other, { layers: (path) => path.endsWith('linear1') })
    expect(report.quantized).toEqual(['encoder.layers.0.linear1', 'encoder.layers.1.linear1'])
  })

  it('a layer held twice is exchanged twice, for one', async () => {
    class Twice extends nn.Module {
      first = new nn.Linear(3, 3)
      second = this.first
      forward(x: ef.Tensor): ef.Tensor {
        return this.second.forward(this.first.forward(x))
      }
    }
    const model = new Twice()
    await compress.quantize(model)
    expect(model.first).toBeInstanceOf(compress.QuantizedLinear)
    expect(model.second).toBe(model.first)
  })

  it('tied weights stay float', async () => {
    class Tied extends nn.Module {
      embedding = new nn.Embedding(7, 4)
      head = new nn.Linear(4, 7, { bias: false })
      other = new nn.Linear(4, 4)
      constructor() {
        super()
        this.head.weight = this.embedding.weight
      }
      forward(ids: ef.Tensor): ef.Tensor {
        return this.head.forward(this.other.forward(this.embedding.forward(ids)))
      }
    }
    const { quantized, left } = await compress.quantize(new Tied())
    expect(quantized).toEqual(['other'])
    expect(left.map(({ path }) => path)).toEqual(['embedding', 'head'])
    expect(left[0].why).toMatch(/tied/)
    await expect(compress.quantize(new Tied(), { layers: ['head'] })).rejects.toThrow(
      /cannot be quantized: .*tied/,
    )
  })

  it('a model that reads weights itself gets the numbers that they stand for', async () => {
    ef.manualSeed(8)
    const model = new models.BertForMaskedLM(parseBertConfig(bertJson)).eval()
    const ids = ef.tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: 'int32' },
    )
    const expected = await ef.noGrad(() => model.forward(ids).logits).data()
    await compress.quantize(model)
    expect(distance(await ef.noGrad(() => model.forward(ids).logits).data(), expected)).toBeLessThan(0.05)
  })

  it('after pruning: what is masked stays 0', async () => {
    ef.manualSeed(9)
    const model = new Tagger().eval()
    await compress.prune(model, { amount: { fraction: 0.5 } })
    const expected = await output(model, idsOf(1))
    await compress.quantize(model)
    expect(distance(await output(model, idsOf(1)), expected)).toBeLessThan(0.03)
    const { values } = await (model.head as unknown as compress.QuantizedLinear).integers()
    expect(values.filter((q) => q === 0).length).toBeGreaterThan(10)
    expect(compress.passesOf(model).map(({ pass }) => pass)).toEqual(['prune', 'quantize'])
  })
})

describe('the numbers that weights stand for', () => {
  it('of a linear layer and of a table', async () => {
    ef.manualSeed(1)
    const linear = new nn.Linear(5, 11)
    const quantized = await compress.QuantizedLinear.from(linear)
    const { params } = await quantized.integers()
    const fake = compress.fakeQuantize(linear.weight, params)
    expect(await quantized.weight.tolist()).toEqual(await fake.tolist())
    const table = new nn.Embedding(9, 6)
    const small = await compress.QuantizedEmbedding.from(table)
    const rows = compress.fakeQuantize(table.weight, (await small.integers()).params)
    expect(await small.weight.tolist()).toEqual(await rows.tolist())
    const ids = ef.tensor(
      [
        [8, 0],
        [3, 3],
      ],
      { dtype: 'int32' },
    )
    expect(await small.forward(ids).tolist()).toEqual(await nn.functional.embedding(ids, rows).tolist())
    expect(small.buffers().reduce((sum, t) => sum + 4 * t.size, 0)).toBe(9 * 8 + 9 * 4)
  })
})

describe('what goes wrong leaves the model as it was', () => {
  const bad = async (
    options: compress.QuantizeOptions,
    error: new (m: string) => Error,
    message: RegExp,
    prepare?: (model: Tagger) => void,
  ): Promise<void> => {
    ef.manualSeed(4)
    const model = new Tagger().eval()
    prepare?.(model)
    const [before, keys] = [await output(model, idsOf(1)), Object.keys(model.stateDict())]
    const rejected = expect(compress.quantize(model, options)).rejects
    await rejected.toThrow(error)
    await expect(compress.quantize(model, options)).rejects.toThrow(message)
    expect(Object.keys(model.stateDict())).toEqual(keys)
    expect(await output(model, idsOf(1))).toEqual(before)
    expect(model.parameters().every((p) => p.requiresGrad)).toBe(true)
    expect(compress.passesOf(model)).toEqual([])
  }

  it('an unknown layer', () =>
    bad({ layers: ['haed'] }, ef.ArgumentError, /'haed' of Tagger is no layer .*'embedding'/))
  it('a static range without data', () =>
    bad({ activations: { range: 'static' } }, ef.ArgumentError, /need calibration data/))
  it('calibration that runs nothing', () =>
    bad(
      { activations: { range: 'static' }, calibrate: () => {} },
      ef.ArgumentError,
      /'encoder.layers.0.self_attn' was not run during calibration/,
    ))
  it('calibration that fails', () =>
    bad(
      {
        activations: { range: 'static' },
        calibrate: () => {
          throw new RangeError('no such file')
        },
      },
      RangeError,
      /no such file/,
    ))
  it('an unknown scheme', () =>
    bad({ activations: { type: 'int4' as never } }, ef.ArgumentError, /'int8' or 'uint7'/))
  it('weights that are not finite', () =>
    bad({}, ef.NonFiniteError, /layer 'head'/, (model) => {
      ef.noGrad(() => model.head.weight.fill_(Number.NaN))
    }))
  it('float64', async () => {
    const model = new Tagger().to('float64')
    await expect(compress.quantize(model)).rejects.toThrow(ef.DTypeError)
    expect(model.head).toBeInstanceOf(nn.Linear)
  })
  it('a model without such layers, or that is one', async () => {
    await expect(compress.quantize(new nn.LayerNorm(3))).rejects.toThrow(/holds no layer to quantize/)
    await expect(compress.quantize(new nn.Linear(3, 3))).rejects.toThrow(/use QuantizedLinear.from/)
  })
  it('int8 weights do not load into a float model', async () => {
    const model = new Tagger()
    await compress.quantize(model, { layers: ['head'] })
    const float = new Tagger()
    expect(() => float.loadStateDict(model.stateDict())).toThrow(ef.FormatError)
    expect(() => float.loadStateDict(model.stateDict())).toThrow(/head.weight: shape/)
  })
})
