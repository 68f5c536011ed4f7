// Files that are not what a model needs, and vocabularies that do not belong together: a typed error that names the file,
// what is there and what is expected, before a byte is allocated; what was loaded before stays as it was.
// (Every way to damage each kind of file: io-safetensors, io-checkpoint, bert, llama, parquet.)
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ef from 'evenfold'
import { models } from 'evenfold'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readParquet } from '../src/parquet'
import { expectRefused } from './support/refused'
import { bertJson, llamaSizes, sizes } from './support/tiny-models'

describe.each(['cpu', 'webgpu'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await ef.init({ device })
  })

  it('a tokenizer and a model of different vocabularies are told apart before the model is built', async () => {
    const vocabulary = await ef.text.Vocabulary.train(['a small film', 'a good film'])
    await expectRefused([
      'a model of fewer ids',
      () => ef.text.checkVocabulary(vocabulary, vocabulary.size - 1),
      ef.ArgumentError,
      /the tokenizer has 6 tokens, but the model's embedding has 5 rows.*different vocabularies; load both/,
    ])
    await expectRefused([
      'a model of more ids',
      () => ef.text.checkVocabulary(vocabulary, vocabulary.size + 1),
      ef.ArgumentError,
      /6 tokens.*7 rows.*\{ padded: true \}/,
    ])
  })

  describe('a file', () => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'evenfold-bad-files-'))
    afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))
    const bert = join(folder, 'bert')
    const weights = join(bert, 'model.safetensors')
    beforeAll(async () => {
      fs.mkdirSync(bert)
      const model = models.buildBert(models.parseBertConfig(bertJson))
      await ef.io.saveTensors(weights, model.stateDict())
      fs.writeFileSync(join(bert, 'config.json'), JSON.stringify(bertJson))
    })

    it('model.safetensors that is truncated gives no model, wherever it ends', async () => {
      const whole = fs.readFileSync(weights)
      try {
        for (const length of [0, 7, 100, whole.length >> 1, whole.length - 1]) {
          fs.writeFileSync(weights, whole.subarray(0, length))
          await expectRefused([
            `${length} bytes`,
            () => models.loadPretrained(bert),
            ef.FormatError,
            /bert\/model\.safetensors: .*truncated/,
          ])
        }
      } finally {
        fs.writeFileSync(weights, whole)
      }
      expect((await models.loadPretrained(bert)).newKeys).toEqual([])
    })

    it('config.json of an unknown architecture is refused by its name, with what is supported', async () => {
      const config = join(bert, 'config.json')
      const changes: [object, RegExp][] = [
        [
          { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] },
          /bert\/config\.json: model_type "gpt2" \(GPT2LMHeadModel\) is not supported; supported are 'bert' and 'distilbert'/,
        ],
        [
          { architectures: ['BertForTokenClassification'] },
          /"BertForTokenClassification" is not supported; supported for model_type 'bert' are BertModel, BertForMaskedLM, BertForSequenceClassification/,
        ],
        [{ model_type: undefined }, /model_type undefined .*'bert' and 'distilbert'/],
      ]
      try {
        for (const [change, message] of changes) {
          fs.writeFileSync(config, JSON.stringify({ ...bertJson, ...change }))
          await expectRefused([
            JSON.stringify(change),
            () => models.loadPretrained(bert),
            ef.FormatError,
            message,
          ])
        }
      } finally {
        fs.writeFileSync(config, JSON.stringify(bertJson))
      }
    })

    it('of llama2.c that is truncated gives no model, wherever it ends', async () => {
      const { embedDim: E, hiddenDim: F, vocabularySize: V, maxPositions: T } = llamaSizes
      const header = Int32Array.of(E, F, 2, 4, 2, V, T)
      const perLayer = 2 * E + 2 * E * E + 2 * (E / 2) * E + 3 * E * F
      const whole = Buffer.alloc(4 * (7 + V * E + 2 * perLayer + E + T * 2))
      Buffer.from(header.buffer).copy(whole)
      const path = join(folder, 'model.bin')
      fs.writeFileSync(path, whole)
      expect((await models.loadLlama2c(path)).config.maxPositions).toBe(4)
      for (const length of [0, 27, 28, whole.length >> 1, whole.length - 1]) {
        fs.writeFileSync(path, whole.subarray(0, length))
        await expectRefused([
          `${length} bytes`,
          () => models.loadLlama2c(path),
          ef.FormatError,
          length < 28 ? /model\.bin: .*too few/ : /model\.bin: .*truncated/,
        ])
      }
    })

    it('a checkpoint that is truncated, or of another vocabulary, leaves the Transformer as it was', async () => {
      const path = join(folder, 'checkpoint.safetensors')
      const model = new models.Transformer(sizes)
      const read = () => Promise.all(model.parameters().map(async (p) => Array.from(await p.data())))
      const before = await read()
      await ef.io.saveCheckpoint(path, { model: new models.Transformer(sizes), step: 1 })
      const whole = fs.readFileSync(path)
      for (const length of [0, 100, whole.length >> 1, whole.length - 1]) {
        fs.writeFileSync(path, whole.subarray(0, length))
        await expectRefused([
          `${length} bytes`,
          () => ef.io.loadCheckpoint(path, { model }),
          ef.FormatError,
          /checkpoint\.safetensors: .*truncated/,
        ])
      }
      await ef.io.saveCheckpoint(path, {
        model: new models.Transformer({ ...sizes, vocabularySize: 9 }),
        step: 1,
      })
      await expectRefused([
        'another vocabulary',
        () => ef.io.loadCheckpoint(path, { model }),
        ef.FormatError,
        /embedding\.weight.*\[9, 4\].*\[7, 4\]/,
      ])
      expect(await read()).toEqual(before)
    })

    it('of Parquet with other columns is refused with those that are there', async () => {
      const path = join(folder, 'reviews.parquet')
      const columnData = [
        { name: 'stars', data: [1, 2], type: 'INT32' as const },
        { name: 'body', data: ['one', 'two'], type: 'STRING' as const },
      ]
      fs.writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData })))
      await expectRefused([
        'other columns',
        () => readParquet(path).next(),
        ef.FormatError,
        /reviews\.parquet: there is no column 'content', 'label'; the file has stars, body\. Expected label, title, content, or the columns named by textColumn and labelColumn/,
      ])
    })
  })
})
