// Real removal: what is removed equals what is masked, for every kind of part and layer; files hold the smaller model; and
// what cannot go is refused with its reason, the model as it was.
import * as ef from 'evenfold'
import { compress, models, nn } from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { outputsOf } from '../src/compress/outputs'
import { describeDevices, type TestDevice } from './support/devices'

const ids = (rows: number[][], where?: TestDevice) =>
  ef.tensor(rows.flat(), {
    shape: [rows.length, rows[0].length],
    dtype: 'int32',
    ...(where && { device: where.device }),
  })
const tokens = [
  [1, 2, 3, 4],
  [5, 6, 1, 2],
]

function sizeOf(model: nn.Module): number {
  return model.parameters().reduce((n, p) => n + p.size, 0)
}

const bertConfig = (layers = 2) =>
  models.parseBertConfig({
    architectures: ['BertModel'],
    model_type: 'bert',
    vocab_size: 7,
    hidden_size: 8,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    intermediate_size: 12,
    max_position_embeddings: 8,
  })

/** Outputs of attention alone. */
class Attending extends nn.Module {
  attention: nn.MultiheadAttention
  constructor(options: nn.MultiheadAttentionOptions & { heads?: number; width?: number }) {
    super()
    this.attention = new nn.MultiheadAttention(options.width ?? 8, options.heads ?? 4, options)
  }
  forward(...x: ef.Tensor[]): ef.Tensor {
    return this.attention.forward(x[0], x[1], x[2], { needWeights: false })[0]
  }
}

/** A recurrent layer whose mean over time is classified. */
class Recurrent extends nn.Module {
  out: nn.Linear
  constructor(
    readonly rnn: nn.GRU | nn.LSTM | nn.RNN,
    where: TestDevice,
  ) {
    super()
    this.out = new nn.Linear(rnn.hiddenSize * (rnn.bidirectional ? 2 : 1), 3, where)
  }
  forward(x: ef.Tensor): ef.Tensor {
    return this.out.forward(this.rnn.forward(x)[0].mean(0))
  }
}

/** The study's encoder-decoder with a head, so that its states are not what it returns. */
class Headed extends nn.Module {
  body: models.EncoderDecoder
  head: nn.Linear
  constructor(where: TestDevice) {
    super()
    this.body = new models.EncoderDecoder({ vocabularySize: 7, embeddingSize: 5, hiddenSize: 6, ...where })
    this.head = new nn.Linear(6, 2, where)
  }
  forward(x: ef.Tensor): ef.Tensor {
    return this.head.forward(this.body.forward(x)[0])
  }
}

interface Case {
  model: nn.Module
  inputs: unknown[]
  what: 'heads' | 'units'
  amount?: compress.Amount
  /** Parameters left. */
  left: number
}

const cases: Record<string, (where: TestDevice) => Case> = {
  'heads of packed attention': (where) => ({
    model: new Attending({ ...where, batchFirst: true }),
    inputs: [ef.randn([2, 3, 8], where)],
    what: 'heads',
    left: 3 * (4 * 8 + 4) + (8 * 4 + 8),
  }),
  'heads of attention with keys and values of other widths': (where) => ({
    model: new Attending({ ...where, kdim: 3, vdim: 5, heads: 2 }),
    inputs: [ef.randn([2, 3, 8], where), ef.randn([4, 3, 3], where), ef.randn([4, 3, 5], where)],
    what: 'heads',
    left: 4 * (8 + 3 + 5) + 12 + (8 * 4 + 8),
  }),
  'heads of BERT': (where) => ({
    model: new models.BertModel(bertConfig(), where),
    inputs: [ids(tokens, where)],
    what: 'heads',
    left: 7 * 8 + 8 * 8 + 16 + 16 + 72 + 2 * (3 * 36 + 40 + 32 + 12 * 9 + 8 * 13),
  }),
  'heads of Llama, keys and values shared by two': (where) => ({
    model: new models.Llama(
      {
        vocabularySize: 7,
        embedDim: 16,
        hiddenDim: 6,
        numLayers: 1,
        numHeads: 4,
        numKeyHeads: 2,
        maxPositions: 8,
      },
      where,
    ),
    inputs: [ids(tokens, where)],
    what: 'heads',
    left: 7 * 16 + 3 * 16 + 2 * 4 * 16 + 2 * 8 * 16 + 3 * 6 * 16,
  }),
  'columns between two Linears, whatever is between them': (where) => ({
    model: new nn.Sequential(
      new nn.Linear(4, 10, where),
      new nn.Sigmoid(),
      new nn.Dropout(0.5),
      new nn.Linear(10, 3, where),
    ),
    inputs: [ef.randn([2, 4], where)],
    what: 'units',
    left: 5 * 5 + 3 * 6,
  }),
  'feed-forward columns of encoder layers': (where) => ({
    model: new nn.TransformerEncoder(
      new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, activation: 'gelu', ...where }),
      2,
    ),
    inputs: [ef.randn([3, 2, 4], where)],
    what: 'units',
    left: 2 * (80 + 16 + 3 * 5 + 4 * 4),
  }),
  'feed-forward columns of BERT': (where) => ({
    model: new models.BertModel(bertConfig(), where),
    inputs: [ids(tokens, where)],
    what: 'units',
    left: 7 * 8 + 8 * 8 + 16 + 16 + 72 + 2 * (4 * 72 + 32 + 6 * 9 + 8 * 7),
  }),
  'feed-forward columns of a Transformer classifier': (where) => ({
    model: new models.TransformerClassifier({
      vocabularySize: 7,
      embeddingSize: 4,
      hiddenSize: 6,
      numHeads: 2,
      maxLength: 4,
      ...where,
    }),
    inputs: [ids(tokens, where)],
    what: 'units',
    left: 7 * 4 + 4 + 20 + 8 + 10 + 2 * (80 + 16 + 3 * 5 + 4 * 4),
  }),
  'gated columns of Llama: two producers, one unit': (where) => ({
    model: new models.Llama(
      { vocabularySize: 7, embedDim: 8, hiddenDim: 6, numLayers: 1, numHeads: 2, maxPositions: 8 },
      where,
    ),
    inputs: [ids(tokens, where)],
    what: 'units',
    left: 7 * 8 + 3 * 8 + 4 * 64 + 3 * 3 * 8,
  }),
  'units of a GRU classifier: directions summed, attention over them': (where) => ({
    model: new models.GRUClassifier({ vocabularySize: 7, embeddingSize: 5, hiddenSize: 6, ...where }),
    inputs: [ids(tokens, where)],
    what: 'units',
    left: 35 + 2 * (9 * 5 + 9 * 3 + 18) + (6 * 6 + 6) + (6 * 6 + 6) + (2 * 3 + 2),
  }),
  'units of an encoder-decoder, tied by the first state': (where) => ({
    model: new Headed(where),
    inputs: [ids(tokens, where)],
    what: 'units',
    left: 35 + 2 * (9 * 5 + 9 * 3 + 18) + (6 * 6 + 6) + (6 * 6 + 6) + (9 * 3 + 9 * 3 + 18) + (2 * 3 + 2),
  }),
  'units of a bidirectional GRU of two layers': (where) => ({
    model: new Recurrent(new nn.GRU(3, 4, { numLayers: 2, bidirectional: true, ...where }), where),
    inputs: [ef.randn([3, 2, 3], where)],
    what: 'units',
    left: 2 * (6 * 3 + 6 * 2 + 12) + 2 * (6 * 4 + 6 * 2 + 12) + (3 * 4 + 3),
  }),
  'units of an LSTM of two layers': (where) => ({
    model: new Recurrent(new nn.LSTM(3, 4, { numLayers: 2, ...where }), where),
    inputs: [ef.randn([3, 2, 3], where)],
    what: 'units',
    left: 8 * 3 + 8 * 2 + 16 + (8 * 2 + 8 * 2 + 16) + (3 * 2 + 3),
  }),
  'units of an RNN': (where) => ({
    model: new Recurrent(new nn.RNN(3, 4, { bias: false, ...where }), where),
    inputs: [ef.randn([3, 2, 3], where)],
    what: 'units',
    left: 2 * 3 + 2 * 2 + (3 * 2 + 3),
  }),
}

/** Removes or masks, as the case says. */
function reduce({ model, inputs, what, amount = 0.5 }: Case, mask = false): Promise<compress.Removed[]> {
  return what === 'heads'
    ? compress.removeHeads(model, { amount, mask, check: inputs })
    : compress.removeUnits(model, { amount, mask, inputs })
}

const apart = (a: ArrayLike<number>[], b: ArrayLike<number>[]) =>
  Math.max(...a.map((t, k) => Math.max(...Array.from(t, (x, i) => Math.abs(x - b[k][i])))))

describeDevices('removed equals masked', (where) => {
  it.each(Object.entries(cases))('%s', async (_, make) => {
    ef.manualSeed(7)
    const [small, masked, fresh] = [make(where), make(where), make(where)]
    masked.model.loadStateDict(small.model.stateDict())
    const before = sizeOf(small.model)
    const dense = await outputsOf(small.model, small.inputs)

    const removed = await reduce(small)
    expect(await reduce(masked, true)).toEqual(removed)
    expect(removed.every(({ removed: r, kept }) => r.length === kept)).toBe(true)
    expect(sizeOf(small.model)).toBe(small.left)
    expect(sizeOf(masked.model)).toBe(before)
    const [a, b] = [await outputsOf(small.model, small.inputs), await outputsOf(masked.model, small.inputs)]
    expect(apart(a, b)).toBeLessThan(where.dtype === 'float64' ? 1e-12 : 1e-5)
    expect(apart(a, dense)).toBeGreaterThan(1e-4)

    // The file holds the smaller model, and so does one that is loaded from it.
    const bytes = await compress.modelToBytes(small.model)
    await compress.loadModel(bytes, fresh.model)
    expect(Object.keys(fresh.model.stateDict())).toEqual(Object.keys(small.model.stateDict()))
    expect(await outputsOf(fresh.model, small.inputs)).toEqual(a)
    expect(compress.passesOf(fresh.model)).toEqual(compress.passesOf(small.model))

    // It trains on.
    const optimizer = new ef.optim.AdamW(fresh.model.parameters(), { lr: 1e-3 })
    const outputs: ef.Tensor[] = []
    const collect = (value: unknown): void => {
      if (value instanceof ef.Tensor) outputs.push(value)
      else if (value !== null && typeof value === 'object') Object.values(value).forEach(collect)
    }
    collect((fresh.model.forward as (...args: unknown[]) => unknown)(...small.inputs))
    outputs[0].square().sum().backward()
    optimizer.step()
    expect(await optimizer.firstBadStep()).toBeNull()

    compress.undoPruning(masked.model)
    expect(apart(await outputsOf(masked.model, small.inputs), dense)).toBe(0)
  })

  it('a masked model keeps its masks when parts of it go', async () => {
    const make = () =>
      new nn.Sequential(new nn.Linear(6, 8, where), new nn.Tanh(), new nn.Linear(8, 2, where))
    const model = make()
    await compress.prune(model, { amount: 0.5, scope: 'global' })
    await compress.removeUnits(model, { amount: 0.5, inputs: [ef.randn([2, 6], where)] })
    expect(nn.parametrizationsOf(model).map(({ name }) => name)).toEqual(['0.weight', '2.weight'])
    expect((model.layers[0] as nn.Linear).weight.shape).toEqual([4, 6])
    const x = [ef.randn([2, 6], where)]
    const twin = await compress.loadModel(await compress.modelToBytes(model), make())
    expect(await outputsOf(twin, x)).toEqual(await outputsOf(model, x))
    compress.makePermanent(twin)
    expect(await outputsOf(twin, x)).toEqual(await outputsOf(model, x))
  })

  it('whole layers', async () => {
    const make = () =>
      new nn.TransformerEncoder(new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, ...where }), 4)
    const [model, fresh] = [make(), make()]
    const x = ef.randn([3, 2, 4], where)
    const kept = [model.layers[0], model.layers[2]]
    await compress.removeLayers(model, { list: 'layers', keep: [0, 2], check: [x] })
    expect(model.layers).toEqual(kept)
    expect(Object.keys(model.stateDict()).some((key) => key.startsWith('layers.2'))).toBe(false)
    await compress.loadModel(await compress.modelToBytes(model), fresh)
    expect(await outputsOf(fresh, [x])).toEqual(await outputsOf(model, [x]))
  })

  it('rows of a vocabulary: kept tokens, in their new ids, give what they gave', async () => {
    const make = () =>
      new models.BertForMaskedLM({ ...bertConfig(1), architecture: 'BertForMaskedLM' }, where)
    const [model, fresh] = [make(), make()]
    const text = [[0, 2, 4, 5]]
    const [before] = await outputsOf(model, [ids(text, where)])
    const { newIds, oldIds } = await compress.trimVocabulary(model, {
      embedding: 'bert.embeddings.word_embeddings',
      keep: [5, 4, 2, 0],
    })
    expect([[...newIds], [...oldIds]]).toEqual([
      [0, -1, 1, -1, 2, 3, -1],
      [0, 2, 4, 5],
    ])
    const renamed = [ids([text[0].map((id) => newIds[id])], where)]
    const after = await outputsOf(model, renamed)
    const expected = Array.from(after[0], (_, i) => before[Math.floor(i / 4) * 7 + oldIds[i % 4]])
    expect(apart(after, [expected])).toBeLessThan(where.dtype === 'float64' ? 1e-12 : 1e-5)
    await compress.loadModel(await compress.modelToBytes(model), fresh)
    expect(await outputsOf(fresh, renamed)).toEqual(after)
  })
})

describe('which go', () => {
  it('the lowest scores, of the layer or of all', async () => {
    const make = () => {
      const model = new nn.Sequential(
        new nn.Linear(1, 4),
        new nn.Tanh(),
        new nn.Linear(4, 4),
        new nn.Linear(4, 1),
      )
      const fill = (layer: unknown, rows: number[]) => {
        const { weight, bias } = layer as nn.Linear
        ef.noGrad(() => {
          weight.copy_(
            ef.tensor(
              rows.flatMap((r) => Array.from({ length: weight.shape[1] }, () => r)),
              { shape: weight.shape },
            ),
          )
          bias?.fill_(100)
        })
      }
      fill(model.layers[0], [4, 3, 2, 1])
      fill(model.layers[2], [0.1, 10, 0.2, 10])
      fill(model.layers[3], [1])
      return model
    }
    const inputs = [ef.ones([1, 1])]
    expect(await compress.removeUnits(make(), { amount: { count: 1 }, inputs })).toEqual([
      { layer: '0', removed: [3], kept: 3 },
      { layer: '2', removed: [0], kept: 3 },
    ])
    expect(await compress.removeUnits(make(), { amount: { count: 2 }, inputs, scope: 'global' })).toEqual([
      { layer: '0', removed: [], kept: 4 },
      { layer: '2', removed: [0, 2], kept: 2 },
    ])
  })

  it('by accumulated first-order importance', async () => {
    ef.manualSeed(2)
    const model = new Attending({ batchFirst: true })
    const x = ef.randn([2, 3, 8])
    for (let i = 0; i < 3; i++) model.forward(x).square().sum().backward()
    const scores = compress.taylorScores(model)
    const [inProj, outProj] = await Promise.all(
      ['attention.in_proj_weight', 'attention.out_proj.weight'].map((name) => scores[name].data()),
    )
    const importance = [0, 1, 2, 3].map((head) => {
      let total = 0
      for (let i = 0; i < 24 * 8; i++)
        if (Math.floor((Math.floor(i / 8) % 8) / 2) === head) total += inProj[i]
      for (let i = 0; i < 64; i++) if (Math.floor((i % 8) / 2) === head) total += outProj[i]
      return total
    })
    const [{ removed }] = await compress.removeHeads(model, { amount: { count: 1 }, score: scores })
    expect(removed).toEqual([importance.indexOf(Math.min(...importance))])
  })

  it('of any stack of layers and any amount: removed is masked, and the file is the model', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 3, maxLength: 5 }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        fc.constantFrom('layer' as const, 'global' as const),
        fc.integer({ min: 0, max: 1000 }),
        async (widths, fraction, scope, seed) => {
          ef.manualSeed(seed)
          const make = () =>
            new nn.Sequential(
              ...widths
                .slice(1)
                .flatMap((w, i) => [new nn.Linear(widths[i], w, { dtype: 'float64' }), new nn.Softplus()]),
            )
          const model = make()
          const x = [ef.randn([2, widths[0]], { dtype: 'float64' })]
          const hidden = widths.slice(1, -1)
          const before = await outputsOf(model, x)
          try {
            const removed = await compress.removeUnits(model, { amount: { fraction }, scope, inputs: x })
            expect(removed.map(({ removed: r, kept }) => r.length + kept)).toEqual(hidden)
          } catch (error) {
            expect(String(error)).toMatch(/would take the last one/)
            expect(await outputsOf(model, x)).toEqual(before)
          }
          const twin = await compress.loadModel(await compress.modelToBytes(model), make())
          expect(await outputsOf(twin, x)).toEqual(await outputsOf(model, x))
        },
      ),
      { numRuns: 25 },
    )
  })
})

describe('what cannot go is refused, and the model stays as it was', () => {
  /** A layer that pruning knows nothing of. */
  class Gain extends nn.Module {
    gain = new nn.Parameter(ef.ones([6]))
    forward(x: ef.Tensor): ef.Tensor {
      return x.mul(this.gain)
    }
  }
  const unknown = () => new nn.Sequential(new nn.Linear(3, 6), new Gain(), new nn.Linear(6, 2))
  const x = [ef.ones([2, 3])]

  it('an unknown layer is named, with what to register', async () => {
    const model = unknown()
    await expect(compress.removeUnits(model, { amount: 0.5, inputs: x, layers: ['0'] })).rejects.toThrow(
      /units of '0' cannot go: .*Gain '1', which is not known; describe it with registerLayer\(Gain/,
    )
    expect(sizeOf(model)).toBe(sizeOf(unknown()))
  })

  it('and goes once it is registered', async () => {
    class Known extends Gain {}
    compress.registerLayer(Known, {
      trace: (layer, [input], tracer) => {
        tracer.enter(layer, input, (j) => [{ parameter: layer.gain, axis: 0, index: j }])
        return input.alias()
      },
      fit: () => {},
    })
    const model = new nn.Sequential(new nn.Linear(3, 6), new Known(), new nn.Linear(6, 2))
    await compress.removeUnits(model, { amount: 0.5, inputs: x })
    expect((model.layers[1] as Gain).gain.shape).toEqual([3])
  })

  it.each([
    [
      'the last head',
      () => compress.removeHeads(new Attending({}), { amount: { count: 4 } }),
      /would take the last one/,
    ],
    [
      'all units',
      () => compress.removeUnits(unknown(), { amount: { fraction: 1 }, inputs: x }),
      /no units that could go/,
    ],
    ['a bare 1', () => compress.removeHeads(new Attending({}), { amount: 1 }), /a bare 1 could be either/],
    [
      'an unknown layer path',
      () => compress.removeHeads(new Attending({}), { amount: 0.5, layers: ['attn'] }),
      /'attn' has no attention heads; those that have: attention/,
    ],
    ['a model without heads', () => compress.removeHeads(unknown(), { amount: 0.5 }), /no attention heads/],
    [
      'an output of the model',
      () => compress.removeUnits(unknown(), { amount: 0.5, inputs: x, layers: ['2'] }),
      /part of what Sequential returns/,
    ],
    [
      'a residual stream',
      () =>
        compress.removeUnits(new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6 }), {
          amount: 0.5,
          inputs: [ef.ones([2, 1, 4])],
          layers: ['linear2'],
        }),
      /LayerNorm '.*' normalizes over all of them/,
    ],
    [
      'scores of nothing',
      () => compress.removeHeads(new Attending({}), { amount: 0.5, score: {} }),
      /no scores for parameter 'attention.in_proj_weight'/,
    ],
    [
      'no list of layers',
      () => compress.removeLayers(unknown(), { list: 'layers', keep: [0] }),
      /no list 'layers'/,
    ],
    [
      'layers that are not there',
      () => compress.removeLayers(unknown(), { list: '', keep: [0, 3] }),
      /from 0 to 2/,
    ],
    [
      'an id outside the vocabulary',
      () => compress.trimVocabulary(new nn.Embedding(4, 2), { keep: [1, 4] }),
      /holds 4/,
    ],
    [
      'the padding token',
      () => compress.trimVocabulary(new nn.Embedding(4, 2, { paddingIdx: 0 }), { keep: [1] }),
      /lacks 0, the padding token/,
    ],
    [
      'which embedding is not said',
      () =>
        compress.trimVocabulary(new nn.Sequential(new nn.Embedding(4, 2), new nn.Embedding(3, 2)), {
          keep: [1],
        }),
      /embedding is not given; Sequential has '0', '1'/,
    ],
  ] as const)('%s', async (_, run, message) => {
    await expect(run()).rejects.toThrow(message)
  })

  it('weights that are not finite', async () => {
    const model = new Attending({})
    ef.noGrad(() => model.attention.outProj.weight.fill_(Number.NaN))
    await expect(compress.removeHeads(model, { amount: 0.5 })).rejects.toThrow(
      /element 0 of 'attention.out_proj.weight'/,
    )
    expect(model.attention.numHeads).toBe(4)
  })

  it('a difference that the check finds', async () => {
    /** Looks at the number of heads itself, which masking does not change. */
    class Counting extends Attending {
      override forward(...inputs: ef.Tensor[]): ef.Tensor {
        return super.forward(...inputs).mul(this.attention.numHeads)
      }
    }
    const model = new Counting({})
    const inputs = [ef.randn([2, 1, 8])]
    const before = await outputsOf(model, inputs)
    const parameters = model.parameters()
    await expect(compress.removeHeads(model, { amount: 0.5, check: inputs })).rejects.toThrow(
      /computes something else/,
    )
    expect(model.attention.numHeads).toBe(4)
    expect(model.parameters()).toEqual(parameters)
    expect(await outputsOf(model, inputs)).toEqual(before)
    expect(compress.passesOf(model)).toEqual([])
  })

  it('files of something else', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Linear(3, 1))
    const plain = await ef.io.tensorsToBytes(model.stateDict())
    await expect(compress.loadModel(plain, model)).rejects.toThrow(/was not written by saveModel/)
    const other = await compress.modelToBytes(
      new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1)),
    )
    await expect(compress.loadModel(other, model)).rejects.toThrow(/only in the file: 2/)
    const norm = await compress.modelToBytes(new nn.LayerNorm(4))
    await expect(compress.loadModel(norm, new nn.LayerNorm(5))).rejects.toThrow(
      /weight: shape \[4\], the model's is \[5\]/,
    )
  })
})

describe('vocabularies', () => {
  it('are numbered anew with the model', async () => {
    const vocabulary = await ef.text.Vocabulary.train(['a b c d', 'b c', 'c'])
    const model = new nn.Embedding(vocabulary.size, 2, { paddingIdx: 0 })
    const text = 'c d c'
    const before = await model.forward(ef.tensor(vocabulary.encode(text), { dtype: 'int32' })).data()
    const trimmed = await compress.trimVocabulary(model, { keep: [0, 1, ...vocabulary.encode(text)] })
    const smaller = compress.trimmedVocabulary(vocabulary, trimmed)
    expect(smaller.tokens).toEqual(['<pad>', '<unk>', 'c', 'd'])
    expect(await model.forward(ef.tensor(smaller.encode(text), { dtype: 'int32' })).data()).toEqual(before)
  })
})
