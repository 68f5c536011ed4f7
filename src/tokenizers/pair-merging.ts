// The core of both trainers: byte-pair merging (Gage 1994; Sennrich et al. 2016) over counted words.
//
// Every word is a list of token ids. The pair of neighbours that is most frequent over all words becomes a token, wherever
// it stands, until the vocabulary is large enough. Pairs know in which words they stand, so a merge visits those only and
// corrects the counts of their neighbours; a heap holds the pairs, and an entry whose count has fallen since is put back
// when it comes to the top. Equal counts go to the pair of lower ids (Hugging Face's rule), so that the result depends on
// the counts alone, never on the order of the texts.

import { PriorityQueue } from '../priority-queue'

/** A pair of neighbours that became a token, by ids. */
export type Merge = readonly [left: number, right: number]

export interface MergingOptions {
  /** The tokens at the start; grows by those that merges make. */
  readonly tokens: string[]
  /** The words as ids of those tokens; changed in place. */
  readonly words: readonly number[][]
  /** How often each word occurs. */
  readonly counts: readonly number[]
  /** The token of two neighbours. */
  join(left: string, right: string): string
  /** Ends when there are as many tokens. */
  readonly size: number
  /** Ends when no pair is as frequent. */
  readonly minFrequency: number
}

interface Pair {
  readonly left: number
  readonly right: number
  count: number
  /** Words where it stands, or stood. */
  words: number[]
}

/** A pair with the count it had when it was put into the heap. */
interface Entry {
  readonly pair: Pair
  readonly count: number
}

/** Ids are below this. */
const LIMIT = 2 ** 26

/** Merges pairs one at a time, each as it is asked for. */
export function* mergePairs(options: MergingOptions): Generator<Merge> {
  const { tokens, words, counts, join, size, minFrequency } = options
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const pairs = new Map<number, Pair>()
  const heap = new PriorityQueue(before)

  const pairOf = (left: number, right: number): Pair => {
    const key = left * LIMIT + right
    let pair = pairs.get(key)
    if (!pair) {
      pair = { left, right, count: 0, words: [] }
      pairs.set(key, pair)
    }
    return pair
  }
  const add = (left: number, right: number, word: number): Pair => {
    const pair = pairOf(left, right)
    pair.count += counts[word]
    if (pair.words.at(-1) !== word) pair.words.push(word)
    return pair
  }

  for (const [w, word] of words.entries()) {
    for (let i = 0; i + 1 < word.length; i++) add(word[i], word[i + 1], w)
  }
  for (const pair of pairs.values()) heap.push({ pair, count: pair.count })

  while (tokens.length < size) {
    const top = heap.pop()
    if (!top) return
    const { pair, count } = top
    if (count !== pair.count) {
      // One that has grown since was put in again then.
      if (count > pair.count && pair.count > 0) heap.push({ pair, count: pair.count })
      continue
    }
    if (count < minFrequency) return
    const { left, right } = pair
    const token = join(tokens[left], tokens[right])
    let id = ids.get(token)
    if (id === undefined) {
      id = tokens.length
      tokens.push(token)
      ids.set(token, id)
    }
    const grown = new Set<Pair>()
    const found = pair.words
    pair.words = []
    for (const w of found) {
      const word = words[w]
      const drop = (a: number, b: number): void => {
        pairOf(a, b).count -= counts[w]
      }
      let kept = 0
      for (let i = 0; i < word.length; i++) {
        if (word[i] !== left || word[i + 1] !== right) {
          word[kept++] = word[i]
          continue
        }
        i++
        if (kept > 0) {
          drop(word[kept - 1], left)
          grown.add(add(word[kept - 1], id, w))
        }
        if (i + 1 < word.length) {
          drop(right, word[i + 1])
          grown.add(add(id, word[i + 1], w))
        }
        word[kept++] = id
      }
      word.length = kept
    }
    pair.count = 0
    for (const one of grown) if (one.count > 0) heap.push({ pair: one, count: one.count })
    yield [left, right]
  }
}

/** Whether `a` comes out before `b`. */
function before(a: Entry, b: Entry): boolean {
  if (a.count !== b.count) return a.count > b.count
  if (a.pair.left !== b.pair.left) return a.pair.left < b.pair.left
  return a.pair.right < b.pair.right
}
