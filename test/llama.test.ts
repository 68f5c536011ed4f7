// Rotary positions and Llama: PyTorch's values on every device, generation, llama2.c's files and what is refused; and,
// where EVENFOLD_DATA names the data, the greedy text of a real model.
import fs from 'node:fs'
import path from 'node:path'
import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import * as models from '../src/models'
import { rotary, type RotaryOptions } from '../src/nn/functional'
import { checkGolden, describeDevices } from './support/devices'
import { loadGolden } from './support/golden'

const data = process.env.EVENFOLD_DATA
const sizes = {
  vocabularySize: 7,
  embedDim: 8,
  hiddenDim: 6,
  numLayers: 2,
  numHeads: 4,
  numKeyHeads: 2,
  maxPositions: 9,
}
const ids = (rows: number[][]) => ef.tensor(rows, { dtype: 'int32' })
/** Weights large enough that logits differ. */
const lively = () => {
  const model = new models.Llama(sizes)
  for (const p of model.parameters()) if (p.ndim === 2) ef.nn.init.normal_(p, 0, 1)
  return model
}

describeDevices('rotary positions and Llama', (where) => {
  it.each(loadGolden('rotary').map((golden) => [golden.name, golden] as const))('rotary: %s', (_, golden) =>
    checkGolden(golden, where, ['input'], null, ({ input }) =>
      rotary(input, golden.options as RotaryOptions),
    ),
  )

  it.each(['llamaTied', 'llamaUntied'])('%s', (name) => {
    const [golden] = loadGolden(name)
    const model = new models.Llama(golden.options as unknown as models.LlamaConfig, where)
    return checkGolden(golden, where, ['ids'], model, (inputs, m) => m.forward(inputs.ids))
  })

  // Real data is not part of the project; EVENFOLD_DATA names its folder.
  it.skipIf(!data)(
    'stories260k tells its story (needs EVENFOLD_DATA)',
    async () => {
      const folder = path.join(data!, 'stories260k')
      const golden = JSON.parse(fs.readFileSync(path.join(folder, 'golden_greedy.json'), 'utf8')) as {
        greedy_token_ids_from_BOS: number[]
      }
      const model = await models.loadLlama2c(path.join(folder, 'stories260K.bin'), where)
      expect(model.parameters().reduce((n, p) => n + p.size, 0)).toBe(260_032)
      expect(await model.generate([1], { maxNewTokens: 200 })).toEqual(golden.greedy_token_ids_from_BOS)
    },
    180_000,
  )
})

describe('rotary', () => {
  it('makes products depend on the distance only', async () => {
    const [q, k] = [
      ef.randn([1, 1, 1, 6], { dtype: 'float64' }),
      ef.randn([1, 1, 1, 6], { dtype: 'float64' }),
    ]
    const product = async (at: number, other: number) =>
      Number(
        await rotary(q, { offset: at })
          .mul(rotary(k, { offset: other }))
          .sum()
          .item(),
      )
    expect(await product(7, 3)).toBeCloseTo(await product(104, 100), 10)
    expect(await product(7, 3)).not.toBeCloseTo(await product(7, 4), 3)
  })

  it('refuses other shapes and options', () => {
    expect(() => rotary(ef.zeros([1, 2, 3]))).toThrow(ef.ShapeError)
    expect(() => rotary(ef.zeros([1, 2, 3, 5]))).toThrow('the width even')
    expect(() => rotary(ef.zeros([1, 2, 3, 4]), { offset: -1 })).toThrow(ef.ArgumentError)
    expect(() => rotary(ef.zeros([1, 2, 3, 4]), { base: 0 })).toThrow(ef.ArgumentError)
  })
})

describe('Llama', () => {
  it('gives the same logits step by step as at once', async () => {
    const model = lively()
    const all = await model.forward(ids([[1, 2, 3, 4, 5]])).data()
    const cache = new ef.nn.KeyValueCache(sizes.maxPositions)
    const found: number[] = []
    for (const part of [[1, 2], [3], [4, 5]])
      found.push(...(await ef.noGrad(() => model.forward(ids([part]), { cache })).data()))
    expect(cache.length).toBe(5)
    cache.dispose()
    expect(found).toHaveLength(all.length)
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(Number(all[i]), 4)
    })
  })

  it('generates the likeliest ids, up to the last position, a number of them, or an id to stop at', async () => {
    const model = lively()
    const before = ef.memory().cpu.tensors
    const found = await model.generate([1, 2])
    // What earlier tests dropped may be collected meanwhile, so the count may fall.
    expect(ef.memory().cpu.tensors).toBeLessThanOrEqual(before)
    expect(found).toHaveLength(7)
    const logits = model.forward(ids([[1, 2, ...found.slice(0, -1)]]))
    expect([...(await ef.argmax(ef.select(logits, 0, 0), 1).data())].slice(1)).toEqual(found)
    expect(await model.generate([1, 2], { maxNewTokens: 3 })).toEqual(found.slice(0, 3))
    const eosId = found[4]!
    expect(await model.generate([1, 2], { eosId })).toEqual(found.slice(0, found.indexOf(eosId)))
  })

  it('refuses what does not fit, before anything is allocated', async () => {
    const model = lively()
    const long = ids([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    const outside = ids([[7]])
    const cache = new ef.nn.KeyValueCache(20)
    ef.noGrad(() => model.forward(ids([[1, 2, 3, 4, 5, 6, 0, 1]]), { cache }).dispose())
    const two = ids([[1, 2]])
    const before = ef.memory()
    expect(() => model.forward(long)).toThrow(/10 tokens.*9 positions/)
    expect(() => model.forward(outside)).toThrow(ef.IndexError)
    expect(() => model.forward(two, { cache })).toThrow(/10 tokens.*9 positions/)
    await expect(model.generate(Array.from({ length: 10 }, () => 1))).rejects.toThrow(
      /prompt 0 is 10 ids long; expected at most maxLength = 9/,
    )
    expect(() => new models.Llama({ ...sizes, numHeads: 3 })).toThrow(/3 heads do not divide embedDim 8/)
    expect(() => new models.Llama({ ...sizes, numKeyHeads: 3 })).toThrow(
      /numKeyHeads 3 does not divide numHeads 4/,
    )
    expect(ef.memory()).toEqual(before)
  })
})

describe('llama2.c files', () => {
  /** A file of the sizes given, whose weights count up. */
  function fileOf(vocabulary: number, heads = 4, keyHeads = 2): Uint8Array {
    const header = new Int32Array([8, 6, 1, heads, keyHeads, vocabulary, 5])
    const attention = 8 + 64 + 32 + 32 + 64
    const weights = Math.abs(vocabulary) * 8 * (vocabulary > 0 ? 1 : 2) + attention + 8 + 3 * 48 + 8 + 5 * 2
    return new Uint8Array([
      ...new Uint8Array(header.buffer),
      ...new Uint8Array(Float32Array.from({ length: weights }, (_, i) => i).buffer),
    ])
  }

  it('hold the weights in their order, with an output layer of its own if the vocabulary is negative', async () => {
    const tied = await models.loadLlama2c(fileOf(3))
    expect([tied.output, tied.training]).toEqual([null, false])
    expect((await tied.layers[0]!.wq.weight.data())[0]).toBe(24 + 8)
    expect((await tied.norm.weight!.data())[0]).toBe(24 + 200 + 8 + 144)
    const own = await models.loadLlama2c(new Blob([fileOf(-3) as Uint8Array<ArrayBuffer>]))
    expect((await own.output!.weight.data())[0]).toBe(24 + 200 + 8 + 144 + 8 + 10)
  })

  it.each<[string, Uint8Array, RegExp]>([
    ['truncated', fileOf(3).subarray(0, -4), /truncated/],
    ['without a header', fileOf(3).subarray(0, 20), /too few/],
    ['of odd sizes', fileOf(0), /vocab_size is 0/],
    ['whose heads do not fit', fileOf(3, 3), /3 heads .* do not divide the width 8/],
  ])('are refused if %s', async (_, bytes, message) => {
    const before = ef.memory()
    const error = await models.loadLlama2c(bytes).then(
      () => null,
      (e: unknown) => e as Error,
    )
    expect(error).toBeInstanceOf(ef.FormatError)
    expect(error!.message).toMatch(message)
    expect(ef.memory()).toEqual(before)
  })
})
