// BERT and DistilBERT equal PyTorch: logits, loss, hidden states and gradients, on every device; small ones written out
// in test/goldens, and, where EVENFOLD_DATA names the data, models and values that transformers wrote.
import fs from 'node:fs'
import path from 'node:path'
import * as ef from 'evenfold'
import { expect, it } from 'vitest'
import { parseSafetensors } from '../src/io/safetensors'
import * as models from '../src/models'
import { checkGolden, describeDevices, type TestDevice } from './support/devices'
import { expectGolden, type GoldenTensor, loadGolden } from './support/golden'

const SMALL: [string, models.BertArchitecture][] = [
  ['bertMlm', 'BertForMaskedLM'],
  ['bertCls', 'BertForSequenceClassification'],
  ['distilbertMlm', 'DistilBertForMaskedLM'],
  ['distilbertCls', 'DistilBertForSequenceClassification'],
]

type Headed = models.BertForMaskedLM | models.BertForSequenceClassification

function outputsOf({ logits, loss, hiddenStates }: models.BertHeadOutput): Record<string, ef.Tensor> {
  const states = (hiddenStates ?? []).map((state, i): [string, ef.Tensor] => [`hidden${i}`, state])
  return { logits, loss: loss!, ...Object.fromEntries(states) }
}

const data = process.env.EVENFOLD_DATA
const folder = (name: string) => path.join(data!, 'tiny_bert', name)

/** Loads a model and its recorded values, and compares outputs, loss and gradients. */
async function checkTiny(name: string, where: TestDevice): Promise<void> {
  const { tensors } = parseSafetensors(
    new Uint8Array(fs.readFileSync(path.join(folder(name), 'golden.safetensors'))),
  )
  const golden = (key: string): GoldenTensor => {
    const { dtype, shape, data: values } = tensors.get(key)!
    return { dtype, shape, values: Array.from(values, Number) }
  }
  const ints = (key: string) =>
    ef.tensor(golden(key).values, { shape: golden(key).shape, dtype: 'int32', device: where.device })
  const { model, newKeys, unusedKeys } = await models.loadPretrained(folder(name), where)
  expect([newKeys, unusedKeys]).toEqual([[], []])
  const ids = ints('input_ids')
  const labels = name.endsWith('mlm') ? ids : ef.tensor([0, 2, 1], { dtype: 'int32', device: where.device })
  const { logits, loss, hiddenStates } = (model as Headed).forward(ids, {
    attentionMask: ints('attention_mask'),
    tokenTypeIds: name.startsWith('distil') ? null : ints('token_type_ids'),
    outputHiddenStates: true,
    labels,
  })
  // The values were recorded in float32, whatever the device computes in.
  const compare = async (key: string, actual: ef.Tensor) =>
    expectGolden(await actual.data(), golden(key), 'float32', `${name}: ${key}`)
  const kept = golden('logits').shape.at(-1)!
  await compare('logits', ef.narrow(logits, -1, 0, kept))
  await compare('loss', loss!)
  expect(hiddenStates).toHaveLength(4)
  for (const [i, state] of hiddenStates!.entries()) await compare(`hidden.${i}`, state)
  loss!.backward()
  const parameters = new Map(model.namedParameters())
  const recorded = [...tensors.keys()].filter((key) => key.startsWith('grad.'))
  expect(recorded.length).toBe(parameters.size - 1) // all but the word embeddings
  for (const key of recorded) await compare(key, parameters.get(key.slice('grad.'.length))!.grad!)
}

describeDevices('BERT', (where) => {
  it.each(SMALL)('%s', (name, as) => {
    const [golden] = loadGolden(name)
    const model = models.buildBert(models.parseBertConfig(golden.options.config as object), { as, ...where })
    return checkGolden(
      golden,
      where,
      ['ids', 'attentionMask', 'tokenTypeIds', 'labels'],
      model,
      (inputs, m) => {
        const { ids, ...others } = inputs
        return outputsOf((m.eval() as Headed).forward(ids, { ...others, outputHiddenStates: true }))
      },
    )
  })

  // Real data is not part of the project; EVENFOLD_DATA names its folder.
  it.skipIf(!data).each(['bert-mlm', 'bert-cls', 'distilbert-cls'])(
    '%s as transformers computes it (needs EVENFOLD_DATA)',
    (name) => checkTiny(name, where),
  )
})
