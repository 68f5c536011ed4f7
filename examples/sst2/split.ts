// A validation set from SST-2's training file, which holds sentences and, as texts of their own, their phrases.

import type { data } from 'evenfold'
import { data as loaders } from 'evenfold'

type Text = Pick<data.TextExample, 'text' | 'label'>

const words = (text: string): string[] => text.trim().split(/\s+/)

/** All runs of at least `least` words of a text. */
function* runs(text: string, least: number): Generator<string> {
  const w = words(text)
  for (let start = 0; start < w.length; start++) {
    for (let end = start + least; end <= w.length; end++) yield w.slice(start, end).join(' ')
  }
}

/**
 * Holds out `count` whole sentences: texts with a full stop that are not the end of a longer text. Their phrases of
 * three words and more leave the training set with them, or the validation would reward learning by heart. Data
 * without phrases lose the sentences alone.
 */
export function holdOutSentences(
  texts: readonly Text[],
  count: number,
  seed: number,
): { train: Text[]; heldOut: Text[] } {
  const ends = new Set<string>()
  for (const { text } of texts) {
    const w = words(text)
    for (let start = 1; start < w.length; start++) ends.add(w.slice(start).join(' '))
  }
  const whole = texts.filter(({ text }) => /[.!?]$/.test(text.trim()) && !ends.has(words(text).join(' ')))
  const { heldOut: chosen } = loaders.holdOut(whole.length, {
    count: Math.min(count, whole.length >> 1),
    seed,
  })
  const heldOut = [...chosen].map((i) => whole[i])
  const gone = new Set(heldOut.flatMap(({ text }) => [words(text).join(' '), ...runs(text, 3)]))
  return { train: texts.filter(({ text }) => !gone.has(words(text).join(' '))), heldOut }
}
