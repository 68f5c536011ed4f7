// Ids mean something only together with their vocabulary: a check of sizes before a model runs, and a fingerprint that
// files of ids carry.

import { ArgumentError } from '../errors'

/** A {@link Vocabulary}, a subword tokenizer, or anything else with tokens in id order. */
export interface TokenList {
  readonly tokens: readonly string[]
}

/**
 * Throws ArgumentError unless a model has as many ids as its tokenizer. `modelSize`: the rows of the model's embedding
 * (`vocabSize` of its config). With `padded`, more rows than tokens are allowed: some models round them up.
 */
export function checkVocabulary(
  tokenizer: { readonly size: number },
  modelSize: number,
  options: { padded?: boolean } = {},
): void {
  const { size } = tokenizer
  if (size === modelSize || (options.padded && size < modelSize)) return
  const hint = size < modelSize ? ' (or give { padded: true } if the model rounds its rows up)' : ''
  throw new ArgumentError(
    `the tokenizer has ${size} tokens, but the model's embedding has ${modelSize} rows: they belong to different ` +
      `vocabularies; load both from the same model${hint}`,
  )
}

/** 16 hexadecimal digits that change with any token or its place. Against mistakes, not against forgery. */
export function vocabularyHash({ tokens }: TokenList): string {
  const bytes = new TextEncoder().encode(JSON.stringify(tokens))
  // Two multiplicative hashes with different factors (FNV-1a's, and one of MurmurHash3's), mixed at the end.
  let a = 0x811c9dc5
  let b = 0x9747b28c
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x01000193)
    b = Math.imul(b ^ byte, 0x85ebca6b)
    b ^= b >>> 15
  }
  a ^= a >>> 16
  return [a, b ^ a].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
}
