// BERT beyond PyTorch's values: counts from a config, loading, what it refuses, and that it frees what it uses.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as ef from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as models from '../src/models'

const bertBase = {
  architectures: ['BertForMaskedLM'],
  model_type: 'bert',
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  max_position_embeddings: 512,
  type_vocab_size: 2,
}
const distilbertBase = {
  architectures: ['DistilBertForMaskedLM'],
  model_type: 'distilbert',
  vocab_size: 30522,
  dim: 768,
  n_layers: 6,
  n_heads: 12,
  hidden_dim: 3072,
  max_position_embeddings: 512,
}
const tiny = {
  ...bertBase,
  vocab_size: 11,
  hidden_size: 4,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 6,
  max_position_embeddings: 5,
}
const tinyDistil = {
  ...distilbertBase,
  vocab_size: 11,
  dim: 4,
  n_layers: 2,
  n_heads: 2,
  hidden_dim: 6,
  max_position_embeddings: 5,
}

const parse = models.parseBertConfig
const ids = (rows: number[][]) => ef.tensor(rows, { dtype: 'int32' })
const text = ids([[1, 2, 3]])
const thrown = (fn: () => unknown): Error => {
  try {
    fn()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

describe('counts', () => {
  it('are the published ones, from the config alone', () => {
    const before = ef.memory()
    expect(models.countBertParameters(parse(bertBase), 'BertModel')).toBe(109_482_240)
    expect(models.countBertParameters(parse(distilbertBase), 'DistilBertModel')).toBe(66_362_880)
    expect(models.countBertParameters(parse(bertBase))).toBe(109_514_298) // masked LM, the decoder tied
    expect(ef.memory()).toEqual(before)
  })

  it.each(models.BERT_ARCHITECTURES.map((name) => [name]))(
    'and the shapes are those of the model: %s',
    (as) => {
      const config = parse({
        ...(as.startsWith('Distil') ? tinyDistil : tiny),
        id2label: { 0: 'a', 1: 'b', 2: 'c' },
      })
      const model = models.buildBert(config, { as })
      const shapes = Object.entries(model.stateDict()).map(([key, t]) => [key, t.shape] as const)
      expect(models.bertParameterShapes(config, as)).toEqual(Object.fromEntries(shapes))
      expect(models.countBertParameters(config, as)).toBe(model.parameters().reduce((n, p) => n + p.size, 0))
    },
  )
})

describe('a new model', () => {
  it('starts normal with the config’s deviation, norms at 1, biases and padding at 0', async () => {
    const model = models.buildBert(parse({ ...tiny, vocab_size: 2000, initializer_range: 0.5 }), {
      as: 'BertModel',
    })
    const words = model.embeddings.wordEmbeddings.weight
    expect((await words.std().item()) as number).toBeCloseTo(0.5, 1)
    expect(await ef.select(words, 0, 0).data()).toEqual(new Float32Array(4))
    expect(await model.pooler!.bias!.data()).toEqual(new Float32Array(4))
    expect(await model.embeddings.layerNorm.weight!.data()).toEqual(new Float32Array(4).fill(1))
  })

  it('drops in training only', async () => {
    const model = models.buildBert(parse({ ...tiny, hidden_dropout_prob: 0.5 }), { as: 'BertModel' })
    const run = () => model.forward(text).lastHiddenState.data()
    expect(await run()).not.toEqual(await run())
    model.eval()
    expect(await run()).toEqual(await run())
  })

  it('does not see padding, nor what follows it', async () => {
    const model = models.buildBert(parse({ ...tiny, initializer_range: 0.5 }), { as: 'BertModel' }).eval()
    const attentionMask = ids([[1, 1, 0]])
    const first = async (rows: number[][]) =>
      (await model.forward(ids(rows), { attentionMask }).poolerOutput!.data()) as Float32Array
    expect(await first([[1, 2, 3]])).toEqual(await first([[1, 2, 9]]))
    expect(await first([[1, 2, 3]])).not.toEqual(await first([[1, 4, 3]]))
  })

  it('keeps nothing but its outputs', () => {
    const model = models.buildBert(parse(tiny), { as: 'BertForMaskedLM' }).eval()
    const before = ef.memory().cpu.tensors
    const { logits, hiddenStates, loss } = ef.noGrad(() => model.forward(text))
    expect([hiddenStates, loss]).toEqual([null, null])
    expect(ef.memory().cpu.tensors).toBe(before + 1)
    logits.dispose()
  })
})

describe('a config is refused', () => {
  it.each<[string, object, RegExp]>([
    [
      'of another model type',
      { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] },
      /"gpt2" \(GPT2LMHeadModel\).*'bert' and 'distilbert'/,
    ],
    [
      'of another architecture',
      { architectures: ['BertForQuestionAnswering'] },
      /"BertForQuestionAnswering".*BertForMaskedLM/,
    ],
    [
      'of another family’s architecture',
      { architectures: ['DistilBertModel'] },
      /"DistilBertModel".*BertModel/,
    ],
    [
      'whose heads do not divide the width',
      { num_attention_heads: 3 },
      /3 attention heads do not divide the width 4/,
    ],
    ['with a size that is none', { hidden_size: '4' }, /hidden_size is "4"; expected a positive integer/],
    ['without a size', { vocab_size: undefined }, /vocab_size is missing/],
    ['with an unknown activation', { hidden_act: 'swish' }, /hidden_act "swish".*gelu, relu/],
    ['with relative positions', { position_embedding_type: 'relative_key' }, /relative_key.*"absolute"/],
    ['of a decoder', { is_decoder: true }, /is_decoder true/],
    ['with a decoder that is not tied', { tie_word_embeddings: false }, /tie_word_embeddings false/],
    ['with padding outside the vocabulary', { pad_token_id: 11 }, /pad_token_id 11/],
    ['with no probability for dropout', { hidden_dropout_prob: 1.5 }, /hidden_dropout_prob is 1.5/],
    ['without classes', { id2label: {} }, /id2label is empty/],
  ])('%s', (_, change, message) => {
    const error = thrown(() => parse({ ...tiny, ...change }))
    expect(error).toBeInstanceOf(ef.FormatError)
    expect(error.message).toMatch(message)
  })

  it('that is not a JSON object', () => {
    expect(() => parse('{"model_type": ')).toThrow(ef.FormatError)
    expect(() => parse('[]')).toThrow('expected a JSON object')
  })

  it('by a class of the other family', () => {
    expect(() => new models.BertModel(parse(tinyDistil))).toThrow(ef.ArgumentError)
    expect(() => new models.DistilBertForMaskedLM(parse(tiny))).toThrow(ef.ArgumentError)
    expect(() => models.buildBert(parse(tiny), { as: 'DistilBertModel' })).toThrow(ef.ArgumentError)
  })
})

describe('input is refused, and nothing allocated', () => {
  const model = models.buildBert(parse(tiny), { as: 'BertForSequenceClassification' })
  const distil = models.buildBert(parse(tinyDistil), { as: 'DistilBertModel' })
  const long = ids([[1, 2, 3, 4, 5, 6]])
  const outside = ids([[1, 11]])
  const flat = ef.tensor([1, 2], { dtype: 'int32' })
  const floats = ef.tensor([[1, 2, 3]])
  const two = ids([[1, 1]])
  const types = ids([[0, 2, 0]])
  it.each<[string, () => unknown, new (message: string) => Error, RegExp]>([
    ['longer than the positions', () => model.forward(long), ef.ShapeError, /6 tokens.*5 positions/],
    ['ids outside the vocabulary', () => model.forward(outside), ef.IndexError, /id 11.*0 to 10/],
    ['ids without a batch', () => model.forward(flat), ef.ShapeError, /\[batch, time\]/],
    ['ids that are no integers', () => model.forward(floats), ef.DTypeError, /float32.*int32/],
    [
      'a mask of another shape',
      () => model.forward(text, { attentionMask: two }),
      ef.ShapeError,
      /attentionMask.*\[1, 2\].*\[1, 3\]/,
    ],
    [
      'unknown token types',
      () => model.forward(text, { tokenTypeIds: types }),
      ef.IndexError,
      /token type 2/,
    ],
    [
      'token types for DistilBERT',
      () => distil.forward(text, { tokenTypeIds: text }),
      ef.ArgumentError,
      /no token types/,
    ],
  ])('%s', (_, run, type, message) => {
    const before = ef.memory()
    const error = thrown(run)
    expect(error).toBeInstanceOf(type)
    expect(error.message).toMatch(message)
    expect(ef.memory()).toEqual(before)
  })

  it('labels of another shape', () => {
    expect(() => model.forward(text, { labels: text })).toThrow(ef.ShapeError)
  })
})

describe('loadPretrained', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-bert-'))
  const masked = models.buildBert(parse(tiny), { as: 'BertForMaskedLM' })
  let bytes: Uint8Array<ArrayBuffer>
  beforeAll(async () => {
    bytes = await ef.io.tensorsToBytes(masked.stateDict())
    fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(tiny))
    fs.writeFileSync(path.join(folder, 'model.safetensors'), bytes)
  })
  afterAll(() => fs.rmSync(folder, { recursive: true }))

  it('reads a folder, or the contents of its files, in evaluation mode', async () => {
    for (const from of [
      folder,
      { config: JSON.stringify(tiny), bytes },
      { config: tiny, bytes: new Blob([bytes]) },
    ]) {
      const { model, newKeys, unusedKeys } = await models.loadPretrained(from)
      expect(model).toBeInstanceOf(models.BertForMaskedLM)
      expect(model.training).toBe(false)
      expect([newKeys, unusedKeys]).toEqual([[], []])
      for (const [key, own] of Object.entries(model.stateDict()))
        expect(await own.data()).toEqual(await masked.stateDict()[key]!.data())
    }
  })

  it('gives another head to pretrained layers, and says what is new and what unused', async () => {
    const { model, newKeys, unusedKeys } = await models.loadPretrained(folder, {
      as: 'BertForSequenceClassification',
    })
    expect(newKeys).toEqual([
      'bert.pooler.dense.weight',
      'bert.pooler.dense.bias',
      'classifier.weight',
      'classifier.bias',
    ])
    expect(unusedKeys).toHaveLength(5)
    expect(unusedKeys.every((key) => key.startsWith('cls.'))).toBe(true)
    expect(await model.bert.layers[1]!.query.weight.data()).toEqual(
      await masked.bert.layers[1]!.query.weight.data(),
    )
  })

  it('takes the base model out of a model with a head, and the other way round', async () => {
    const { model, newKeys } = await models.loadPretrained(folder, { as: 'BertModel' })
    expect(newKeys).toEqual(['pooler.dense.weight', 'pooler.dense.bias'])
    expect(await model.layers[0]!.out.weight.data()).toEqual(await masked.bert.layers[0]!.out.weight.data())
    const config = { ...tiny, architectures: ['BertModel'] }
    const back = { config, bytes: await ef.io.tensorsToBytes(model.stateDict()) }
    const again = await models.loadPretrained(back, { as: 'BertForSequenceClassification' })
    expect(again.newKeys).toEqual(['classifier.weight', 'classifier.bias'])
    expect(await again.model.bert.pooler!.weight.data()).toEqual(await model.pooler!.weight.data())
  })

  it('knows the old names of norms', async () => {
    const old = Object.entries(masked.stateDict()).map(([key, t]): [string, ef.Tensor] => [
      key.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'),
      t,
    ])
    const from = { config: tiny, bytes: await ef.io.tensorsToBytes(Object.fromEntries(old)) }
    expect((await models.loadPretrained(from)).unusedKeys).toEqual([])
  })

  it.each<[string, () => Promise<models.PretrainedFiles | string> | models.PretrainedFiles | string, RegExp]>(
    [
      [
        'a truncated file',
        () => ({ config: tiny, bytes: bytes.subarray(0, bytes.length - 4) }),
        /model.safetensors/,
      ],
      ['a file without a header', () => ({ config: tiny, bytes: bytes.subarray(0, 5) }), /truncated/],
      [
        'weights of other sizes',
        () => ({ config: { ...tiny, vocab_size: 12 }, bytes }),
        /word_embeddings.weight: shape \[11, 4\], the config's is \[12, 4\]/,
      ],
      [
        'a file without a layer',
        () => ({ config: { ...tiny, num_hidden_layers: 3 }, bytes }),
        /missing: bert.encoder.layer.2.attention.self.query.weight/,
      ],
      [
        'integers as weights',
        async () => ({
          config: tiny,
          bytes: await ef.io.tensorsToBytes({
            ...masked.stateDict(),
            'cls.predictions.bias': ef.zeros([11], { dtype: 'int32' }),
          }),
        }),
        /cls.predictions.bias: I32/,
      ],
      [
        'an unknown architecture',
        () => ({ config: { ...tiny, architectures: ['BertForPreTraining'] }, bytes }),
        /BertForPreTraining/,
      ],
    ],
  )('refuses %s before the model is allocated', async (_, make, message) => {
    const from = await make()
    const before = ef.memory()
    const error = await models.loadPretrained(from).then(
      () => null,
      (e: unknown) => e as Error,
    )
    expect(error).toBeInstanceOf(ef.FormatError)
    expect(error!.message).toMatch(message)
    expect(ef.memory()).toEqual(before)
  })

  it('names the file that is not there', async () => {
    await expect(models.loadPretrained(path.join(folder, 'none'))).rejects.toThrow(/none\/config\.json/)
  })
})
