// Splitting text into words, by Unicode properties, so that every script is treated alike.

/** How to split: 'word' by Unicode letters and digits, 'whitespace' for text that is tokenized already. */
export type Tokenizer = 'word' | 'whitespace'

/** A run of letters, marks and digits, with inner apostrophes (don't, l’ami); or any other visible character. */
const WORD = /[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*|[^\s\p{L}\p{M}\p{N}]/gu
const NOT_SPACE = /\S+/g

/** The tokens of a text, in order. The text is brought to Unicode normal form C first. */
export function tokenize(text: string, tokenizer: Tokenizer = 'word'): string[] {
  return text.normalize('NFC').match(tokenizer === 'word' ? WORD : NOT_SPACE) ?? []
}
