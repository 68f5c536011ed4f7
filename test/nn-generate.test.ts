// Generation and its cache: a decoder-only model and an encoder-decoder give the ids and logits of computing everything
// again, in memory that does not grow; how ids are chosen; decoder layers beyond PyTorch's values; what is refused.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as nn from '../src/nn'
import { describeDevices, type TestDevice } from './support/devices'

const float64 = { device: 'cpu', dtype: 'float64' } as const
const V = 11
const positions = 12
const ids = (rows: number[][]) => ef.tensor(rows, { dtype: 'int32' })
const values = async (t: ef.Tensor) => Array.from(await t.data(), Number)

/** Weights large enough that logits differ. */
function lively<M extends nn.Module>(model: M): M {
  for (const p of model.parameters()) nn.init.normal_(p, 0, 0.7)
  return model.eval()
}

interface Shape {
  normFirst?: boolean
  batchFirst?: boolean
}

/** What both models below have: embeddings of ids and positions, and an output layer. */
abstract class Generator extends nn.Module {
  embedding: nn.Embedding
  position: nn.Embedding
  output: nn.Linear

  constructor(
    where: TestDevice,
    readonly batchFirst: boolean,
  ) {
    super()
    this.embedding = new nn.Embedding(V, 4, where)
    this.position = new nn.Embedding(positions, 4, where)
    this.output = new nn.Linear(4, V, where)
  }

  protected embed(tokens: ef.Tensor, from: number): ef.Tensor {
    const at = ef.arange(from, from + tokens.shape[1], 1, { device: tokens.device })
    const x = this.embedding.forward(tokens).add(this.position.forward(at))
    return this.batchFirst ? x : x.transpose(0, 1)
  }

  protected logits(x: ef.Tensor): ef.Tensor {
    return this.output.forward(this.batchFirst ? x : x.transpose(0, 1))
  }
}

class LanguageModel extends Generator {
  body: nn.TransformerEncoder

  constructor(where: TestDevice, { normFirst = true, batchFirst = true }: Shape = {}) {
    super(where, batchFirst)
    const layer = new nn.TransformerEncoderLayer(4, 2, {
      dimFeedforward: 6,
      normFirst,
      batchFirst,
      ...where,
    })
    this.body = new nn.TransformerEncoder(layer, 2)
  }

  forward(tokens: ef.Tensor, cache: nn.KeyValueCache | null = null): ef.Tensor {
    return this.logits(this.body.forward(this.embed(tokens, cache?.length ?? 0), { causal: true, cache }))
  }
}

class Translator extends Generator {
  decoder: nn.TransformerDecoder

  constructor(where: TestDevice, { normFirst = false, batchFirst = true }: Shape = {}) {
    super(where, batchFirst)
    const layer = new nn.TransformerDecoderLayer(4, 2, {
      dimFeedforward: 6,
      normFirst,
      batchFirst,
      ...where,
    })
    this.decoder = new nn.TransformerDecoder(layer, 2)
  }

  forward(
    tokens: ef.Tensor,
    memory: ef.Tensor,
    padding: ef.Tensor | null = null,
    cache: nn.KeyValueCache | null = null,
  ): ef.Tensor {
    const x = this.embed(tokens, cache?.length ?? 0)
    const where = { causal: true, memoryKeyPaddingMask: padding, cache }
    return this.logits(this.decoder.forward(x, memory, where))
  }
}

/** Logits of a sequence read in parts, with a cache. */
async function inParts(
  parts: readonly number[][][],
  next: (tokens: ef.Tensor, cache: nn.KeyValueCache) => ef.Tensor,
  after: () => void = () => {},
): Promise<number[][]> {
  const cache = new nn.KeyValueCache(positions)
  const found: number[][] = []
  for (const part of parts) {
    found.push(await values(ef.noGrad(() => next(ids(part), cache))))
    after()
  }
  cache.dispose()
  return found
}

function expectClose(actual: readonly number[], expected: readonly number[], { dtype }: TestDevice): void {
  expect(actual).toHaveLength(expected.length)
  const tolerance = (dtype === 'float64' ? 1e-12 : 1e-5) * Math.max(1, ...expected.map(Math.abs))
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i] - value), `element ${i}`).toBeLessThanOrEqual(tolerance)
}

describeDevices('generation with a cache', (where) => {
  it.each([
    { normFirst: true, batchFirst: true },
    { normFirst: false, batchFirst: false },
  ])('of a decoder-only model is that without: %j', async (shape) => {
    ef.manualSeed(1)
    const model = lively(new LanguageModel(where, shape))
    const whole = model.forward(ids([[1, 2, 3, 4, 5]]))
    const parts = await inParts([[[1, 2]], [[3]], [[4, 5]]], (t, cache) => model.forward(t, cache))
    expectClose(parts.flat(), await values(whole), where)
    const prompts = [[1], [4, 2, 7]]
    const next: nn.NextLogits = (tokens, cache) => model.forward(tokens, cache)
    const found = await nn.generate(next, prompts, { maxLength: positions })
    expect(found.map((row) => row.length)).toEqual([11, 9])
    expect(await nn.generate(next, prompts, { maxLength: positions, useCache: false })).toEqual(found)
  })

  it.each([
    { normFirst: false, batchFirst: true },
    { normFirst: true, batchFirst: false },
  ])('of an encoder-decoder is that without, and reads the memory once: %j', async (shape) => {
    ef.manualSeed(2)
    const model = lively(new Translator(where, shape))
    const memory = ef.randn(shape.batchFirst ? [2, 3, 4] : [3, 2, 4], where)
    const padding = ef.tensor([
      [false, false, true],
      [true, true, true],
    ])
    const sequences = [
      [1, 2, 3, 4],
      [9, 8, 7, 6],
    ]
    const whole = model.forward(ids(sequences), memory, padding)
    const prompts = [[1], [1]]
    const next: nn.NextLogits = (tokens, cache) => model.forward(tokens, memory, padding, cache)
    const found = await nn.generate(next, prompts, { maxNewTokens: 6 })
    expect(await nn.generate(next, prompts, { maxNewTokens: 6, useCache: false })).toEqual(found)
    const expected = await values(whole.transpose(0, 1))
    const steps = [0, 1, 2, 3].map((t) => sequences.map((row) => [row[t]]))
    const parts = await inParts(
      steps,
      (t, cache) => model.forward(t, memory, padding, cache),
      // What was read of the memory is not read again.
      () => ef.noGrad(() => memory.fill_(0)),
    )
    expectClose(parts.flat(), expected, where)
  })

  it('takes its memory once, and gives it back', () => {
    const model = lively(new Translator(where))
    const memory = ef.randn([1, 3, 4], where)
    const tokens = ids([[3]])
    const before = ef.memory()[where.device]
    const cache = new nn.KeyValueCache(positions)
    const used = Array.from({ length: positions }, () => {
      ef.noGrad(() => model.forward(tokens, memory, null, cache).dispose())
      const { tensors, bytes } = ef.memory()[where.device]
      return { tensors, bytes }
    })
    const bytes = where.dtype === 'float64' ? 8 : 4
    expect(new Set(used.map((one) => JSON.stringify(one))).size).toBe(1)
    // Two layers: keys and values of all positions, and of the memory; devices round up.
    const exact = 2 * 2 * (positions + 3) * 4 * bytes
    expect(used[0].bytes - before.bytes).toBeGreaterThanOrEqual(exact)
    expect(used[0].bytes - before.bytes).toBeLessThan(2 * exact)
    cache.dispose()
    expect(ef.memory()[where.device].tensors).toBe(before.tensors)
  })
})

describe('a batch of prompts', () => {
  const prompt = fc.array(fc.nat(V - 1), { minLength: 1, maxLength: 5 })

  it('gives each prompt what it gives alone, with and without a cache', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(prompt, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 5, max: positions }),
        fc.boolean(),
        async (prompts, maxNewTokens, maxLength, useCache) => {
          ef.manualSeed(3)
          const model = lively(new LanguageModel(float64))
          const next: nn.NextLogits = (tokens, cache) => model.forward(tokens, cache)
          const options = { maxNewTokens, maxLength, eosId: [4, 9] }
          const together = await nn.generate(next, prompts, { ...options, useCache })
          const apart = []
          for (const one of prompts) apart.push(await nn.generate(next, one, { ...options, useCache: false }))
          expect(together).toEqual(apart)
        },
      ),
      { numRuns: 30 },
    )
  })

  it('hands each id on as soon as it is known, and waits for who gets it', async () => {
    const seen: [number, number][] = []
    let steps = 0
    const next: nn.NextLogits = (tokens) => {
      steps++
      return nn.functional.oneHot(tokens.add(1), V).to('float32')
    }
    const found = await nn.generate(next, [[1], [5, 6]], {
      maxNewTokens: 3,
      eosId: 8,
      useCache: false,
      onToken: async (id, row) => {
        const before = steps
        await new Promise((resolve) => setTimeout(resolve, 1))
        expect(steps).toBe(before)
        seen.push([id, row])
      },
    })
    expect(found).toEqual([[2, 3, 4], [7]])
    expect(seen).toEqual([
      [2, 0],
      [3, 0],
      [7, 1],
      [4, 0],
    ])
  })

  it('of a prompt that fills the positions is empty, and nothing is left behind by an error', async () => {
    const model = lively(new LanguageModel(float64))
    const full = Array.from({ length: positions }, () => 1)
    const next: nn.NextLogits = (tokens, cache) => model.forward(tokens, cache)
    expect(await nn.generate(next, full, { maxLength: positions })).toEqual([])
    const before = ef.memory()
    const onToken = () => {
      throw new Error('enough')
    }
    await expect(nn.generate(next, [1], { maxLength: positions, onToken })).rejects.toThrow('enough')
    expect(ef.memory().cpu.tensors).toBe(before.cpu.tensors)
  })
})

describeDevices('the choice of ids', (where) => {
  const shares = [0.1, 0.45, 0.05, 0.3, 0.1]
  const rows = 600
  /** How often each id follows, where `shares` are the probabilities. */
  async function drawn(options: nn.GenerateOptions): Promise<number[]> {
    const logits = ef.tensor(shares.map(Math.log), where).add(2)
    const next: nn.NextLogits = (tokens) => logits.expand([...tokens.shape, shares.length])
    const prompts = Array.from({ length: rows }, () => [0])
    const found = await nn.generate(next, prompts, { maxNewTokens: 1, useCache: false, ...options })
    return shares.map((_, id) => found.filter(([one]) => one === id).length / rows)
  }

  it('follows softmax(logits / temperature), topK and topP, and the seed', async () => {
    const expectShares = (found: number[], expected: number[]) => {
      const total = expected.reduce((a, b) => a + b)
      for (const [i, p] of expected.entries()) {
        const share = p / total
        // Five standard deviations.
        expect(Math.abs(found[i] - share)).toBeLessThanOrEqual(5 * Math.sqrt((share * (1 - share)) / rows))
      }
    }
    ef.manualSeed(7)
    const plain = await drawn({ temperature: 1 })
    expectShares(plain, shares)
    ef.manualSeed(7)
    expect(await drawn({ temperature: 1 })).toEqual(plain)
    expectShares(
      await drawn({ temperature: 0.5 }),
      shares.map((p) => p ** 2),
    )
    expectShares(await drawn({ temperature: 1, topK: 2 }), [0, 0.45, 0, 0.3, 0])
    expectShares(await drawn({ temperature: 1, topK: 99 }), shares)
    // 0.45 + 0.3 do not reach 0.8; of the two equal ones the lower id comes first.
    expectShares(await drawn({ temperature: 1, topP: 0.8 }), [0.1, 0.45, 0, 0.3, 0])
    // Of the three likeliest, 0.45 / 0.85 reaches a half.
    expect(await drawn({ temperature: 1, topK: 3, topP: 0.5 })).toEqual([0, 1, 0, 0, 0])
    expect(await drawn({ temperature: 2, topP: 1e-9 })).toEqual([0, 1, 0, 0, 0])
    expect(await drawn({})).toEqual([0, 1, 0, 0, 0])
  })
})

describe('attention with a cache', () => {
  it('has weights over all positions, and takes padding masks of all of them', async () => {
    const layer = lively(new nn.MultiheadAttention(4, 2, { batchFirst: true, ...float64 }))
    const x = ef.randn([2, 5, 4], float64)
    const keyPaddingMask = ef.tensor([
      [true, false, false, false, false],
      [false, false, false, false, true],
    ])
    const [whole, all] = layer.forward(x, x, x, { keyPaddingMask, causal: true })
    // The first position of the first row sees nothing.
    expect((await values(all!)).slice(0, 5)).toEqual([0, 0, 0, 0, 0])
    const cache = new nn.KeyValueCache(5)
    const parts = ef.noGrad(() =>
      [0, 3].map((from, i) => {
        const end = [3, 5][i]
        const part = x.narrow(1, from, end - from)
        const mask = keyPaddingMask.narrow(1, 0, end)
        return layer.forward(part, part, part, { keyPaddingMask: mask, cache })
      }),
    )
    expect(parts.map(([, weights]) => weights!.shape)).toEqual([
      [2, 3, 3],
      [2, 2, 5],
    ])
    expectClose(
      await values(
        ef.cat(
          parts.map(([output]) => output),
          1,
        ),
      ),
      await values(whole),
      float64,
    )
  })

  it('says what a cache is not for', () => {
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true })
    const x = ef.zeros([1, 2, 4])
    const cache = new nn.KeyValueCache(3)
    expect(() => layer.forward(x, x, x, { cache })).toThrow(ef.GraphError)
    expect(() => layer.forward(x, ef.zeros([1, 3, 4]), undefined, { cache })).toThrow(/inside noGrad/)
    ef.noGrad(() => {
      layer.forward(x, x, x, { cache })
      expect(() => layer.forward(x, x, x, { cache })).toThrow(
        /2 more positions after 2 are beyond maxLength 3 \(in MultiheadAttention\); make the cache longer/,
      )
      const one = ef.zeros([2, 1, 4])
      expect(() => layer.forward(one, one, one, { cache })).toThrow(/a cache serves one batch/)
      expect(() => layer.forward(x, x, x, { cache, causal: false })).toThrow(/cannot look ahead/)
      const memory = ef.zeros([1, 3, 4])
      layer.forward(x, memory, memory, { cache })
      expect(() => layer.forward(x, x.add(1), undefined, { cache })).toThrow(/another memory/)
      expect(cache.length).toBe(2)
      const other = new nn.MultiheadAttention(4, 2, { batchFirst: true })
      const next = ef.zeros([1, 1, 4])
      expect(() => other.forward(next, next, next, { cache })).toThrow(/once per pass/)
    })
    cache.dispose()
    expect(cache.length).toBe(0)
    expect(() => new nn.KeyValueCache(0)).toThrow(ef.ArgumentError)
  })
})

describe('decoder layers', () => {
  const sizes = { dimFeedforward: 3, dropout: 0, batchFirst: true, ...float64 }

  it.each([true, false])('have the right derivatives (normFirst %s)', async (normFirst) => {
    const layer = new nn.TransformerDecoderLayer(2, 1, { ...sizes, activation: 'gelu', normFirst })
    const inputs = [[1, 3, 2] as const, [1, 2, 2] as const].map((shape) =>
      ef.randn(shape, { ...float64, requiresGrad: true }),
    )
    await ef.autograd.gradcheck(
      (tgt: ef.Tensor, memory: ef.Tensor) => layer.forward(tgt, memory, { causal: true }),
      inputs,
    )
  })

  it('give a row whose memory is all padding what they give without one: zeros, never NaN', async () => {
    const layer = lively(new nn.TransformerDecoderLayer(4, 2, { ...sizes, bias: false }))
    const tgt = ef.randn([2, 3, 4], float64)
    const memory = ef.randn([2, 2, 4], { ...float64, requiresGrad: true })
    const memoryKeyPaddingMask = ef.tensor([
      [true, true],
      [false, false],
    ])
    const output = layer.forward(tgt, memory, { memoryKeyPaddingMask })
    const [first] = (await output.tolist()) as number[][][]
    output.sum().backward()
    const [none, some] = (await memory.grad!.tolist()) as number[][][]
    expect(none.flat()).toEqual(new Array(8).fill(0))
    expect(some.flat().some((g) => g !== 0)).toBe(true)
    ef.noGrad(() => layer.multiheadAttn.outProj.weight.fill_(0))
    const [without] = (await layer.forward(tgt, memory).tolist()) as number[][][]
    expect(first).toEqual(without)
  })

  it('have torch’s keys in torch’s order, and stacks have copies', () => {
    const layer = new nn.TransformerDecoderLayer(4, 2, { dimFeedforward: 3 })
    const attention = ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']
    const keys = [
      ...attention.map((name) => `self_attn.${name}`),
      ...attention.map((name) => `multihead_attn.${name}`),
      ...['linear1', 'linear2', 'norm1', 'norm2', 'norm3'].flatMap((name) => [
        `${name}.weight`,
        `${name}.bias`,
      ]),
    ]
    expect(Object.keys(layer.stateDict())).toEqual(keys)
    const stack = new nn.TransformerDecoder(layer, 2, { norm: new nn.LayerNorm(4) })
    expect(Object.keys(stack.stateDict())).toEqual([
      ...[0, 1].flatMap((i) => keys.map((key) => `layers.${i}.${key}`)),
      'norm.weight',
      'norm.bias',
    ])
    expect(new Set(stack.parameters()).size).toBe(38)
  })

  it('name what does not fit', () => {
    const layer = new nn.TransformerDecoderLayer(4, 2, { dimFeedforward: 3, batchFirst: true })
    const decoder = new nn.TransformerDecoder(layer, 1)
    const tgt = ef.zeros([2, 3, 4])
    expect(() => decoder.forward(tgt, ef.zeros([2, 3, 5]))).toThrow(
      /key has shape \[2, 3, 5\] \(in layers\.0\.multihead_attn\); expected \[batch, time, 4\]/,
    )
    expect(() => decoder.forward(tgt, ef.zeros([1, 3, 4]))).toThrow(/one batch size/)
    const mask = ef.tensor([[true]])
    expect(() => decoder.forward(tgt, tgt, { tgtKeyPaddingMask: mask })).toThrow(
      /self_attn.*expected \[2, 3\]/,
    )
    expect(() => decoder.forward(tgt, tgt, { memoryMask: mask })).toThrow(/multihead_attn.*expected \[3, 3\]/)
    expect(() => new nn.TransformerDecoderLayer(4, 3)).toThrow(/3 heads do not divide embedDim 4/)
    expect(() => new nn.TransformerDecoderLayer(4, 2, { activation: 'tanh' as 'relu' })).toThrow(
      /TransformerDecoderLayer: unknown activation 'tanh'/,
    )
    expect(() => new nn.TransformerDecoder(layer, 0)).toThrow(/TransformerDecoder: numLayers is 0/)
  })
})

describe('generate refuses', () => {
  const next: nn.NextLogits = (tokens) => ef.zeros([...tokens.shape, 3])

  it.each<[string, number[] | number[][], nn.GenerateOptions, RegExp]>([
    ['no limit', [1], {}, /a limit: maxNewTokens, maxLength, or both/],
    ['no prompts', [], { maxNewTokens: 1 }, /prompts is \[\]/],
    ['an empty prompt', [[1], []], { maxNewTokens: 1 }, /prompt 1 is \[\]; expected at least one id/],
    ['an odd id', [[1.5]], { maxNewTokens: 1 }, /an id of prompt 0 is 1.5/],
    ['a long prompt', [1, 2, 3], { maxLength: 2 }, /prompt 0 is 3 ids long; expected at most maxLength = 2/],
    ['maxNewTokens', [1], { maxNewTokens: 0 }, /maxNewTokens is 0; expected a positive integer/],
    ['temperature', [1], { maxNewTokens: 1, temperature: -1 }, /temperature is -1/],
    ['topK', [1], { maxNewTokens: 1, temperature: 1, topK: 0 }, /topK is 0/],
    ['topP', [1], { maxNewTokens: 1, temperature: 1, topP: 1.5 }, /topP is 1.5/],
    ['topK without effect', [1], { maxNewTokens: 1, topK: 2 }, /above 0, since topK is given/],
    [
      'a model that ignores the cache',
      [1],
      { maxNewTokens: 1 },
      /1 positions were computed, and the cache holds 0/,
    ],
  ])('%s', async (_, prompts, options, message) => {
    const error = await nn.generate(next, prompts, options).catch((e: unknown) => e as Error)
    expect(error).toBeInstanceOf(ef.ArgumentError)
    expect((error as Error).message).toMatch(message)
  })

  it('logits of another shape', async () => {
    const flat: nn.NextLogits = (tokens) => ef.zeros(tokens.shape)
    await expect(nn.generate(flat, [1], { maxNewTokens: 1, useCache: false })).rejects.toThrow(
      /logits of shape \[1, 1\] for ids \[1, 1\]; expected \[batch, time, vocabulary\]/,
    )
  })
})
