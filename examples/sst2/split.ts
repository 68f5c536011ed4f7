// A validation set from SST-2's training file, which holds sentences and, as texts of their own, their phrases.

import { data } from 'evenfold'

type Text = Pick<data.TextExample, 'text' | 'label'>

/** No phrase of SST-2 is longer; in longer texts, nothing longer is looked for. */
const LONGEST = 60

/** All runs of `least` to LONGEST words of a text, or only those that end with it. */
function* runs(text: string, least: number, atEnd = false): Generator<string> {
  const words = text.split(' ')
  for (let end = atEnd ? words.length : least; end <= words.length; end++) {
    for (let start = Math.max(0, end - LONGEST); start <= end - least; start++) {
      yield words.slice(start, end).join(' ')
    }
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
  const all = texts.map(({ text, label }) => ({ text: text.trim().replace(/\s+/g, ' '), label }))
  const known = new Set(all.map(({ text }) => text))
  const endings = new Set<string>()
  for (const { text } of all) {
    for (const run of runs(text, 1, true)) if (run !== text && known.has(run)) endings.add(run)
  }
  const whole = all.filter(({ text }) => /[.!?]$/.test(text) && !endings.has(text))
  const chosen = data.holdOut(whole.length, { count: Math.min(count, whole.length >> 1), seed }).heldOut
  const heldOut = [...chosen].map((i) => whole[i])
  const gone = new Set(heldOut.map(({ text }) => text))
  for (const { text } of heldOut) for (const run of runs(text, 3)) if (known.has(run)) gone.add(run)
  return { train: all.filter(({ text }) => !gone.has(text)), heldOut }
}
