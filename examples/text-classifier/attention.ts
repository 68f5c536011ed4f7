// What a classifier makes of a text and which words it looked at, for the terminal and for the report.

import * as ef from 'evenfold'
import { CLASSES } from '../common/texts'
import { CLASSIFIERS, MAX_LENGTH, type Trained } from './classifiers'

export interface Reading {
  /** Index into CLASSES. */
  label: number
  /** E.g. `negative, probability 0.934`. */
  answer: string
  words: string[]
  /** How much each word counted. */
  weights: number[]
}

export async function read({ model, vocabulary }: Trained, sentence: string): Promise<Reading> {
  const words = vocabulary.tokenize(sentence).slice(0, MAX_LENGTH)
  const ids = ef.tensor(vocabulary.encode(sentence).slice(0, MAX_LENGTH), { dtype: 'int32' }).unsqueeze(0)
  model.eval()
  const [logits, attention] = ef.noGrad(() => model.forward(ids, { attention: true }))
  const [probabilities] = (await logits.softmax(-1).tolist()) as number[][]
  const label = probabilities[0] > probabilities[1] ? 0 : 1
  const answer = `${CLASSES[label]}, probability ${probabilities[label].toFixed(3)}`
  return { label, answer, words, weights: [...(await attention.data())] }
}

/** The answer, each word with a bar, and in a terminal the words on shades of grey. */
export async function print(classifier: Trained, sentence: string): Promise<void> {
  const { answer, words, weights } = await read(classifier, sentence)
  console.log(`\n${CLASSIFIERS[classifier.name].title}: ${answer}`)
  const most = Math.max(...weights, 1e-9)
  const width = Math.max(...words.map((word) => word.length), 0)
  words.forEach((word, i) => {
    const bar = '█'.repeat(Math.round((20 * weights[i]) / most))
    const note = classifier.vocabulary.has(word) ? '' : '  (unknown word)'
    console.log(`  ${word.padEnd(width)} ${weights[i].toFixed(3)} ${bar}${note}`)
  })
  if (process.stdout.isTTY) {
    // 24 steps of grey behind each word, from the 256 colours.
    const shade = (weight: number) => 232 + Math.round((14 * weight) / most)
    console.log(`  ${words.map((word, i) => `\x1b[97;48;5;${shade(weights[i])}m ${word} \x1b[0m`).join('')}`)
  }
}
