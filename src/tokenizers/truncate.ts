// How a text or a pair of texts is shortened to a number of tokens, as Hugging Face's tokenizers do it.

import { ArgumentError } from '../errors'

/** Which text of a pair gives way: the longer one first, or always the first or the second. */
export type TruncationStrategy = 'longestFirst' | 'onlyFirst' | 'onlySecond'

/** The lengths to which texts of `a` and `b` tokens are cut, so that together they have at most `room`. */
export function truncatedLengths(
  a: number,
  b: number,
  room: number,
  strategy: TruncationStrategy,
): [number, number] {
  if (a + b <= room) return [a, b]
  if (strategy !== 'longestFirst') {
    const other = strategy === 'onlyFirst' ? b : a
    if (other > room) {
      throw new ArgumentError(
        `truncation: '${strategy}' cannot help: the other text alone has ${other} tokens, and there is room for ` +
          `${room}; use 'longestFirst'`,
      )
    }
    return strategy === 'onlyFirst' ? [room - b, b] : [a, room - a]
  }
  const shorter = Math.min(a, b)
  let [less, more] = [shorter, room - shorter]
  if (less > more) [less, more] = [Math.floor(room / 2), Math.ceil(room / 2)]
  return a <= b ? [less, more] : [more, less]
}
