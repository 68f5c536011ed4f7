// Bad input of attention and of models: each mistake is a typed error that names the argument, what
// was given and what is expected, before a byte is allocated; a training run goes on from it as if nothing had happened.
// (Options: bad-input-options.test.ts. Training steps of a GRU: bad-input.test.ts. Files: bad-input-files.test.ts.)
import * as ef from 'evenfold'
import { models, nn, optim } from 'evenfold'
import { beforeAll, describe, expect, it } from 'vitest'
import { expectRefused, type Mistake } from './support/refused'
import { bertJson, classifierSizes, llamaSizes, sizes, studySizes } from './support/tiny-models'

const int32 = { dtype: 'int32' } as const
const ids = (rows: number[][]) => ef.tensor(rows, int32)

const batchFirst = { batchFirst: true } as const
describe.each(['cpu', 'webgpu'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await ef.init({ device })
  })

  describe('a mask', () => {
    const x = () => ef.zeros([2, 3, 4])
    const other = device === 'cpu' ? 'webgpu' : 'cpu'
    const makers = {
      'of another shape': () => ef.ones([3, 2], { dtype: 'bool' }),
      'of the shape of the input': () => ef.ones([2, 3, 4], { dtype: 'bool' }),
      'on another device': () => ef.ones([2, 3], { dtype: 'bool', device: other }),
    }
    const expected = {
      'of another shape': [ef.ShapeError, /(mask|Mask) has shape \[3, 2\].*expected.*\[2, 3\]/],
      'of the shape of the input': [ef.ShapeError, /(mask|Mask) has shape \[2, 3, 4\].*expected.*\[2, 3\]/],
      'on another device': [ef.DeviceError, /(mask|Mask): operands are on .*'cpu'.*move them/],
    } as const
    beforeAll(() => ef.init({ device: other }).then(() => ef.init({ device })))

    it.each(Object.keys(makers) as (keyof typeof makers)[])('%s is refused', async (kind) => {
      const mask = makers[kind]()
      const input = x()
      const text = ids([
        [1, 2, 3],
        [4, 5, 0],
      ])
      const attention = new nn.MultiheadAttention(4, 2, batchFirst)
      const layers = [false, true].map(
        (normFirst) => new nn.TransformerEncoderLayer(4, 2, { ...batchFirst, normFirst }),
      )
      const encoder = new nn.TransformerEncoder(layers[1]!, 2)
      const decoder = new nn.TransformerDecoderLayer(4, 2, { ...batchFirst, normFirst: true })
      const blocks = [models.PreNormAttentionBlock, models.PostNormAttentionBlock].map((B) => new B(4, 6, 2))
      const transformer = new models.Transformer(sizes)
      const classifier = new models.TransformerClassifier(classifierSizes)
      const gru = new models.GRUClassifier({ vocabularySize: 7, embeddingSize: 4, hiddenSize: 3 })
      const study = new models.EncoderDecoder(studySizes)
      const bert = models.buildBert(models.parseBertConfig(bertJson))
      const runs: [string, () => unknown][] = [
        ['MultiheadAttention', () => attention.forward(input, input, input, { keyPaddingMask: mask })],
        ['layer', () => layers[0]!.forward(input, { srcKeyPaddingMask: mask })],
        ['layer, norm first', () => layers[1]!.forward(input, { srcKeyPaddingMask: mask })],
        ['TransformerEncoder', () => encoder.forward(input, { srcKeyPaddingMask: mask })],
        ['decoder layer, target', () => decoder.forward(input, input, { tgtKeyPaddingMask: mask })],
        ['decoder layer, memory', () => decoder.forward(input, input, { memoryKeyPaddingMask: mask })],
        ['PreNormAttentionBlock', () => blocks[0]!.forward(input, mask)],
        ['PostNormAttentionBlock', () => blocks[1]!.forward(input, mask)],
        ['Transformer', () => transformer.forward(text, mask)],
        ['TransformerClassifier', () => classifier.forward(text, { mask })],
        ['GRUClassifier', () => gru.forward(text, { mask })],
        ['EncoderDecoder', () => study.forward(text, mask)],
        ['its recurrent layers', () => study.forward(text, null, { mask })],
        ['BERT', () => bert.forward(text, { attentionMask: mask })],
      ]
      for (const [what, run] of runs) await expectRefused([what, run, ...expected[kind]])
    })

    it('between queries and keys, of another shape or dtype', async () => {
      const input = x()
      const attention = new nn.MultiheadAttention(4, 2, batchFirst)
      const layer = new nn.TransformerEncoderLayer(4, 2, { ...batchFirst, normFirst: true })
      const attend = (attnMask: ef.Tensor) => () => attention.forward(input, input, input, { attnMask })
      const [wide, perHead, four, ints] = [
        ef.zeros([3, 4]),
        ef.zeros([2, 3, 3]),
        ef.zeros([2, 3, 3, 3]),
        ef.zeros([3, 3], int32),
      ]
      await expectRefused([
        '[T, S]',
        attend(wide),
        ef.ShapeError,
        /attnMask has shape \[3, 4\].*expected \[3, 3\], \[4, 3, 3\] or 4 axes/,
      ])
      await expectRefused(['[B * heads, T, S]', attend(perHead), ef.ShapeError, /\[2, 3, 3\].*\[4, 3, 3\]/])
      await expectRefused(['four axes', attend(four), ef.ShapeError, /attnMask/])
      await expectRefused([
        'integers',
        attend(ints),
        ef.DTypeError,
        /attnMask is int32.*expected bool.*float32/,
      ])
      await expectRefused([
        'in a layer that normalizes first',
        () => layer.forward(input, { mask: wide }),
        ef.ShapeError,
        /attnMask has shape \[3, 4\]/,
      ])
    })
  })

  it('inputs of another width, rank or dtype are refused', async () => {
    const [wide, flat, ints] = [ef.zeros([2, 3, 5]), ef.zeros([3, 4]), ef.zeros([2, 3, 4], int32)]
    const good = ef.zeros([2, 3, 4])
    const attention = new nn.MultiheadAttention(4, 2, batchFirst)
    const decoder = new nn.TransformerDecoderLayer(4, 2, { ...batchFirst, normFirst: true })
    const runs: [string, (x: ef.Tensor) => unknown][] = [
      ['MultiheadAttention', (x) => attention.forward(x)],
      ['its values', (x) => attention.forward(good, good, x)],
      ...[true, false].map((normFirst): [string, (x: ef.Tensor) => unknown] => {
        const layer = new nn.TransformerEncoderLayer(4, 2, { ...batchFirst, normFirst })
        return [`layer, normFirst ${normFirst}`, (x) => layer.forward(x)]
      }),
      ['decoder layer, target', (x) => decoder.forward(x, good)],
      ['decoder layer, memory', (x) => decoder.forward(good, x)],
      ...[models.PreNormAttentionBlock, models.PostNormAttentionBlock].map(
        (Block): [string, (x: ef.Tensor) => unknown] => {
          const block = new Block(4, 6, 2)
          return [Block.name, (x) => block.forward(x)]
        },
      ),
    ]
    for (const [what, run] of runs) {
      await expectRefused([what, () => run(wide), ef.ShapeError, /has shape \[2, 3, 5\].*batch, time, 4\]/])
      await expectRefused([what, () => run(flat), ef.ShapeError, /has shape \[3, 4\].*\[batch, time, 4\]/])
      await expectRefused([what, () => run(ints), ef.DTypeError, /is int32.*to\('float32'\)/])
    }
  })

  describe('token ids', () => {
    const classifiers = {
      TransformerClassifier: () => new models.TransformerClassifier(classifierSizes),
      GRUClassifier: () => new models.GRUClassifier({ vocabularySize: 7, embeddingSize: 4, hiddenSize: 3 }),
    }
    /** Models of 7 ids and 4 positions. */
    const builders = {
      Transformer: () => new models.Transformer(sizes),
      Llama: () => new models.Llama(llamaSizes),
      BERT: () => models.buildBert(models.parseBertConfig(bertJson)),
      EncoderDecoder: () => new models.EncoderDecoder(studySizes),
      ...classifiers,
    }
    const names = Object.keys(builders) as (keyof typeof builders)[]
    const build = (name: keyof typeof builders): { forward(ids: ef.Tensor): unknown } => builders[name]()

    it.each(names)('%s refuses what is no batch of texts of its vocabulary', async (name) => {
      const model = build(name)
      const [beyond, negative, floats, flat] = [
        ids([[1, 7]]),
        ids([[-1, 2]]),
        ef.zeros([1, 2]),
        ef.zeros([2], int32),
      ]
      const mistakes: Mistake[] = [
        ['beyond', () => model.forward(beyond), ef.IndexError, /id 7 is out of range.*expected 0 to 6/],
        ['negative', () => model.forward(negative), ef.IndexError, /id -1 is out of range.*expected 0 to 6/],
        ['floats', () => model.forward(floats), ef.DTypeError, /ids are float32.*to\('int32'\)/],
        ['flat', () => model.forward(flat), ef.ShapeError, /ids have shape \[2\].*\[batch, time\]/],
      ]
      for (const [what, run, type, message] of mistakes) {
        await expectRefused([what, run, type, new RegExp(`^${name}: ${message.source}`)])
      }
    })

    it.each(names.filter((name) => !['GRUClassifier', 'EncoderDecoder'].includes(name)))(
      '%s refuses sequences longer than its positions',
      async (name) => {
        const model = build(name)
        const long = ids([[1, 2, 3, 4, 5]])
        await expectRefused([
          name,
          () => model.forward(long),
          ef.ShapeError,
          new RegExp(
            `^${name}: sequences of 5 tokens are longer than the model's 4 positions .*truncate them`,
          ),
        ])
      },
    )

    it('a prompt that is empty, too long or of another vocabulary is refused', async () => {
      const llama = builders.Llama()
      const mistakes: Mistake[] = [
        ['empty', () => llama.generate([]), ef.ArgumentError, /prompts is \[\]; expected at least one/],
        [
          'long',
          () => llama.generate([1, 2, 3, 4, 5]),
          ef.ArgumentError,
          /prompt 0 is 5 ids long; expected at most maxLength = 4/,
        ],
        ['no integer', () => llama.generate([1.5]), ef.ArgumentError, /prompt 0 is 1.5; expected a non-neg/],
        [
          'a negative count',
          () => llama.generate([1], { maxNewTokens: -1 }),
          ef.ArgumentError,
          /maxNewTokens is -1; expected a positive integer/,
        ],
      ]
      for (const mistake of mistakes) await expectRefused(mistake)
      await expect(llama.generate([1, 7])).rejects.toThrow(/^Llama: id 7 is out of range .*; expected 0 to 6/)
      expect(await llama.generate([1, 2, 3, 4])).toEqual([])
    })

    it('labels that do not fit a BERT’s ids are refused before it runs', async () => {
      const masked = models.buildBert(models.parseBertConfig(bertJson), { as: 'BertForMaskedLM' })
      const classifier = models.buildBert(models.parseBertConfig(bertJson), {
        as: 'BertForSequenceClassification',
      })
      const text = ids([[1, 2, 3]])
      const [perText, floats] = [ef.zeros([1], int32), ef.zeros([1])]
      await expectRefused([
        'one for each text',
        () => masked.forward(text, { labels: perText }),
        ef.ShapeError,
        /labels have shape \[1\].*expected \[1, 3\]/,
      ])
      await expectRefused([
        'one for each token',
        () => classifier.forward(text, { labels: text }),
        ef.ShapeError,
        /labels have shape \[1, 3\].*expected \[1\]/,
      ])
      await expectRefused([
        'floats',
        () => classifier.forward(text, { labels: floats }),
        ef.DTypeError,
        /labels are float32.*expected int32/,
      ])
    })

    it.each(Object.keys(classifiers) as (keyof typeof classifiers)[])(
      '%s refuses lengths that do not fit',
      async (name) => {
        const model = classifiers[name]()
        const text = ids([[1, 2, 0]])
        const mask = ef.ones([1, 3], { dtype: 'bool' })
        const [floats, long] = [ef.ones([1]), ef.tensor([4], int32)]
        const run = (where: nn.SequenceMask) => () => model.forward(text, where)
        const mistakes: Mistake[] = [
          ['two', run({ lengths: [1, 2] }), ef.ShapeError, /lengths has shape \[2\].*each text, \[1\]/],
          ['long', run({ lengths: [4] }), ef.IndexError, /lengths from 4 to 4 .*expected 0 to 3/],
          ['long, as a tensor', run({ lengths: long }), ef.IndexError, /lengths from 4 to 4/],
          ['negative', run({ lengths: [-1] }), ef.IndexError, /lengths from -1/],
          ['floats', run({ lengths: floats }), ef.DTypeError, /lengths are float32.*int32/],
          ['both', run({ lengths: [1], mask }), ef.ArgumentError, /lengths or mask, not both/],
        ]
        for (const mistake of mistakes) await expectRefused(mistake)
      },
    )
  })

  it('a training run of a Transformer goes on from mistakes as if nothing had happened', async () => {
    class Classifier extends nn.Module {
      body = new models.Transformer({ ...sizes, dropout: 0.2 })
      head = new nn.Linear(4, 2)
      forward(text: ef.Tensor, mask: ef.Tensor | null = null): ef.Tensor {
        return this.head.forward(this.body.forward(text, mask))
      }
    }
    const texts = [
      [1, 2, 3],
      [4, 5, 0],
    ]
    const run = async (trouble: boolean) => {
      ef.manualSeed(3)
      const model = new Classifier()
      const optimizer = new optim.AdamW(model.parameters(), { lr: 0.05 })
      const step = (text = ids(texts), mask: ef.Tensor | null = null) => {
        const loss = nn.functional.crossEntropy(model.forward(text, mask), ef.tensor([0, 1], int32))
        optimizer.zeroGrad()
        loss.backward()
        optimizer.step()
      }
      step()
      if (trouble) {
        expect(() => step(ids([[1, 2, 3, 4, 5]]))).toThrow(/5 tokens.*4 positions \(in body\)/)
        expect(() => step(ids([[1, 7]]))).toThrow(/id 7 .*\(in body\)/)
        expect(() => step(ids(texts), ef.ones([2, 2], int32))).toThrow(/mask has shape \[2, 2\] \(in body\)/)
      }
      step()
      const { tensors } = optimizer.stateDict()
      const all = [...Object.values(model.stateDict()), ...Object.values(tensors)]
      return Promise.all(all.map(async (t) => Array.from(await t.data())))
    }
    // Weights, moments and, because of dropout, the random source.
    expect(await run(true)).toEqual(await run(false))
  })
})
