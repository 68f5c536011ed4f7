// Generation: a sequence grows by one id at a time, the likeliest or drawn, from any model that gives logits of the next.
//
// Rows of a batch stay aligned from the left: while the shortest prompt's continuation grows, longer prompts are read
// alongside (Touvron et al. 2023, the published code). So every row has the positions it would have alone, no padding is
// looked at, and a model needs no mask.

import type { DeviceName } from '../backend/types'
import { ArgumentError, ShapeError } from '../errors'
import { tensor } from '../tensor/create'
import { multinomial } from '../tensor/multinomial'
import { div, le, sub, where } from '../tensor/ops/elementwise'
import { gather } from '../tensor/ops/indexing'
import { cumsum, topk } from '../tensor/ops/order'
import { argmax } from '../tensor/ops/reduce'
import { softmax } from '../tensor/ops/softmax'
import { select, squeeze } from '../tensor/ops/views'
import { noGrad } from '../tensor/scope'
import { formatShape } from '../tensor/shape'
import type { Tensor } from '../tensor/tensor'
import { KeyValueCache } from './key-value-cache'

/**
 * Logits [B, T, V] of what follows each of `ids` [B, T] int32. With a cache, `ids` are those after its `length` positions,
 * and the model adds theirs; without, all from the start. Runs inside `noGrad`.
 */
export type NextLogits = (ids: Tensor, cache: KeyValueCache | null) => Tensor

export interface GenerateOptions {
  /** Ids added to a prompt at most. Default: as many as `maxLength` leaves. */
  maxNewTokens?: number
  /** Ids of a prompt and its continuation at most; the positions a model has. Default: no limit but maxNewTokens. */
  maxLength?: number
  /** An id, or several, that ends a sequence; it is not returned. */
  eosId?: number | readonly number[] | null
  /**
   * 0 (default): the likeliest id each time, the lowest of equals. Above: drawn from softmax(logits / temperature),
   * following `manualSeed`.
   */
  temperature?: number
  /** Draw from the k likeliest ids only. */
  topK?: number
  /** Draw from the likeliest ids that together reach this probability only (Holtzman et al. 2020), after topK. */
  topP?: number
  /** Called with each new id and the row of its prompt as soon as it is known; a promise is waited for. */
  onToken?: (id: number, row: number) => void | Promise<void>
  /** False: each step computes the sequence from its start. Default true. */
  useCache?: boolean
  /** Where the ids are made. Default: that chosen by `init`. */
  device?: DeviceName
}

type Prompt = readonly number[]

/** One list of ids for one prompt, a list for each of several. */
export type Generated<P extends Prompt | readonly Prompt[]> = P extends Prompt ? number[] : number[][]

/**
 * The ids that follow a prompt, or each of several, which are computed as one batch (prompts of similar lengths waste
 * least). Dropout is the caller's to switch off: `model.eval()`. From an encoder-decoder, for example:
 *
 *     const memory = noGrad(() => encoder.forward(source))
 *     await nn.generate((ids, cache) => head(decoder.forward(embed(ids, cache), memory, { cache })), [start], { maxLength: 64 })
 *
 * @throws ArgumentError for options or prompts that make no sense, before anything is computed, and for a model that does
 * not use the cache; ShapeError for logits of another shape.
 */
export async function generate<P extends Prompt | readonly Prompt[]>(
  next: NextLogits,
  prompts: P,
  options: GenerateOptions = {},
): Promise<Generated<P>> {
  const single = typeof prompts[0] === 'number'
  const rows = (single ? [prompts] : prompts) as readonly Prompt[]
  check(rows, options)
  const found = await run(next, rows, options)
  return (single ? found[0] : found) as Generated<P>
}

async function run(
  next: NextLogits,
  prompts: readonly Prompt[],
  options: GenerateOptions,
): Promise<number[][]> {
  const { maxNewTokens = Infinity, maxLength = Infinity, eosId = null, onToken, device } = options
  const ends = new Set(eosId === null ? [] : typeof eosId === 'number' ? [eosId] : eosId)
  const found: number[][] = prompts.map(() => [])
  const sequences = prompts.map((prompt) => [...prompt])
  const limits = prompts.map((prompt) => Math.min(maxLength, prompt.length + maxNewTokens))
  const open = new Set(prompts.keys())
  for (const row of prompts.keys()) if (sequences[row].length >= limits[row]) open.delete(row)
  const cache = options.useCache === false ? null : new KeyValueCache(Math.max(...limits))
  try {
    let start = 0
    while (open.size > 0) {
      const end = Math.min(...[...open].map((row) => sequences[row].length))
      const columns = sequences.map((sequence) => windowOf(sequence, start, end))
      const chosen = noGrad(() => {
        const ids = tensor(columns.flat(), { shape: [prompts.length, end - start], dtype: 'int32', device })
        const logits = next(ids, cache)
        checkStep(logits, ids, cache, end)
        return choose(select(logits, 1, -1), options)
      })
      const ids = Array.from(await chosen.data(), Number)
      chosen.dispose()
      for (const row of [...open]) {
        if (sequences[row].length > end) continue
        const id = ids[row]
        if (ends.has(id)) open.delete(row)
        else {
          sequences[row].push(id)
          found[row].push(id)
          if (sequences[row].length >= limits[row]) open.delete(row)
          await onToken?.(id, row)
        }
      }
      if (cache) start = end
    }
  } finally {
    cache?.dispose()
  }
  return found
}

/** Columns `start` to `end` of a sequence; one that is finished repeats its last id, which nobody looks at. */
function windowOf(sequence: readonly number[], start: number, end: number): number[] {
  const last = sequence.length - 1
  return Array.from({ length: end - start }, (_, i) => sequence[Math.min(start + i, last)])
}

/** Logits [B, V] to ids [B]. */
function choose(logits: Tensor, { temperature = 0, topK, topP }: GenerateOptions): Tensor {
  if (temperature === 0) return argmax(logits, 1)
  const scaled = div(logits, temperature)
  if (topK === undefined && topP === undefined) return squeeze(multinomial(softmax(scaled, 1), 1), 1)
  const V = logits.shape[1]
  const { values, indices } = topk(scaled, Math.min(topK ?? V, V), 1)
  const shares = softmax(values, 1)
  // An id stays if those before it do not reach topP: the first one always does.
  const kept = topP === undefined ? shares : where(le(topP, sub(cumsum(shares, 1), shares)), 0, shares)
  return squeeze(gather(indices, 1, multinomial(kept, 1)), 1)
}

function checkStep(logits: Tensor, ids: Tensor, cache: KeyValueCache | null, end: number): void {
  if (logits.ndim !== 3 || logits.shape[0] !== ids.shape[0] || logits.size === 0) {
    throw new ShapeError(
      `generate: the model gave logits of shape ${formatShape(logits.shape)} for ids ${formatShape(ids.shape)}; ` +
        'expected [batch, time, vocabulary]',
    )
  }
  if (cache && cache.length !== end) {
    throw new ArgumentError(
      `generate: ${end} positions were computed, and the cache holds ${cache.length}; ` +
        'hand the cache to each self-attention once, or set useCache to false',
    )
  }
}

function check(prompts: readonly Prompt[], options: GenerateOptions): void {
  const { maxNewTokens, maxLength, temperature = 0, topK, topP } = options
  const refuse = (name: string, value: unknown, expected: string): never => {
    throw new ArgumentError(`generate: ${name} is ${String(value)}; expected ${expected}`)
  }
  for (const [name, n] of Object.entries({ maxNewTokens, maxLength, topK })) {
    if (n !== undefined && !(Number.isSafeInteger(n) && n >= 1)) refuse(name, n, 'a positive integer')
  }
  if (maxNewTokens === undefined && maxLength === undefined)
    refuse('maxNewTokens', undefined, 'a limit: maxNewTokens, maxLength, or both')
  if (!(Number.isFinite(temperature) && temperature >= 0))
    refuse('temperature', temperature, 'a finite number from 0 upwards')
  if (topP !== undefined && !(topP > 0 && topP <= 1)) refuse('topP', topP, 'a number above 0, at most 1')
  for (const [name, value] of Object.entries({ topK, topP })) {
    if (value !== undefined && temperature === 0)
      refuse('temperature', temperature, `a number above 0, since ${name} is given`)
  }
  if (prompts.length === 0) refuse('prompts', '[]', 'at least one prompt')
  for (const [row, prompt] of prompts.entries()) {
    if (prompt.length === 0) refuse(`prompt ${row}`, '[]', 'at least one id, such as that of a start token')
    for (const id of prompt)
      if (!Number.isSafeInteger(id) || id < 0) refuse(`an id of prompt ${row}`, id, 'a non-negative integer')
    if (maxLength !== undefined && prompt.length > maxLength) {
      refuse(`prompt ${row}`, `${prompt.length} ids long`, `at most maxLength = ${maxLength}`)
    }
  }
}
