// Masked language modelling: which tokens of a batch are to be guessed, and what the model sees in their place
// (Devlin et al. 2019, section 3.1).

import { HostRandom } from '../backend/threefry'
import { ArgumentError, IndexError } from '../errors'
import type { HostBatch } from './loader'

/** The target at positions that are not to be guessed; the loss leaves it out (`ignoreIndex`). */
export const IGNORED = -100

export interface MaskedLMOptions {
  /** Id of [MASK]. */
  maskId: number
  /** Number of ids. */
  vocabularySize: number
  /** Never chosen, and never put in another token's place: [PAD], [CLS], [SEP], [UNK], [MASK]. */
  specialIds: readonly number[]
  /** Part of the tokens to be guessed; default 0.15. */
  probability?: number
  /** Part of the chosen that become [MASK]; default 0.8. */
  maskPart?: number
  /** Part of the chosen that become a random token; default 0.1. The rest stays as it is. */
  randomPart?: number
  /**
   * How often each id occurs in the training texts: rare tokens are then chosen more often, with weights
   * max(count, 1)^-smoothing, and of a batch exactly the part `probability` of its tokens, rounded up (Lample and Conneau 2019;
   * DistilBERT). Default: every token alike.
   */
  counts?: ArrayLike<number>
  /** Default 0.7. */
  smoothing?: number
  /** Default 0. */
  seed?: number
}

/** A batch with tokens to be guessed. */
export interface MaskedBatch extends Omit<HostBatch, 'labels'> {
  /** [B, L], row-major: the original id where it is to be guessed, else {@link IGNORED}. */
  labels: Int32Array<ArrayBuffer>
  /** How many are to be guessed; at 0 there is no loss. */
  targets: number
}

/**
 * A function that masks batches: `collate(batch, step)` chooses by seed and `step` alone, so that a resumed run makes
 * the same choice and each epoch another. The batch itself is left as it is.
 */
export function maskedLM(options: MaskedLMOptions): (batch: HostBatch, step: number) => MaskedBatch {
  const { maskId, vocabularySize, specialIds, seed = 0 } = options
  const { probability = 0.15, maskPart = 0.8, randomPart = 0.1 } = options
  for (const [name, part] of Object.entries({ probability, maskPart, randomPart })) {
    if (!(part >= 0 && part <= 1))
      throw new ArgumentError(`${name}: expected a number from 0 to 1, got ${part}`)
  }
  // A little room, since 0.9 + 0.1 is not always 1 in floating point.
  if (maskPart + randomPart > 1 + 1e-9) {
    throw new ArgumentError(`maskPart + randomPart: ${maskPart} + ${randomPart} is above 1`)
  }
  if (!Number.isSafeInteger(vocabularySize) || vocabularySize < 1) {
    throw new ArgumentError(`vocabularySize: expected a positive integer, got ${vocabularySize}`)
  }
  const special = new Uint8Array(vocabularySize)
  for (const id of [maskId, ...specialIds]) {
    if (!(Number.isInteger(id) && id >= 0 && id < vocabularySize)) {
      throw new ArgumentError(`maskId, specialIds: ${id} is outside the vocabulary of ${vocabularySize} ids`)
    }
    special[id] = 1
  }
  const words = Int32Array.from({ length: vocabularySize }, (_, id) => id).filter((id) => special[id] === 0)
  if (words.length === 0) throw new ArgumentError('specialIds: every id of the vocabulary is special')

  const weights = options.counts && weightsOf(options.counts, special, options.smoothing)

  return (batch, step) => {
    const random = new HostRandom(seed, step)
    const ids = batch.ids.slice()
    const labels = new Int32Array(ids.length).fill(IGNORED)
    const drawn = weights && drawRare(batch, weights, probability, random)
    let targets = 0
    for (let i = 0; i < ids.length; i++) {
      if (batch.mask[i] === 0) continue
      const id = ids[i]!
      if (id < 0 || id >= vocabularySize) {
        throw new IndexError(`batch: id ${id} is outside the vocabulary of ${vocabularySize} ids`)
      }
      if (special[id] === 1 || !(drawn ? drawn.has(i) : random.uniform() < probability)) continue
      labels[i] = id
      targets++
      const kind = random.uniform()
      if (kind < maskPart) ids[i] = maskId
      else if (kind < maskPart + randomPart) ids[i] = words[random.nextInt(words.length)]!
    }
    return { ...batch, ids, labels, targets }
  }
}

function weightsOf(counts: ArrayLike<number>, special: Uint8Array, smoothing = 0.7): Float64Array {
  if (counts.length !== special.length) {
    throw new ArgumentError(`counts: ${counts.length} of them for a vocabulary of ${special.length} ids`)
  }
  if (!(smoothing >= 0 && Number.isFinite(smoothing))) {
    throw new ArgumentError(`smoothing: expected a number of at least 0, got ${smoothing}`)
  }
  return Float64Array.from(counts, (count, id) => {
    if (!(count >= 0 && Number.isFinite(count)))
      throw new ArgumentError(`counts: expected a number of at least 0 for id ${id}, got ${count}`)
    return special[id] === 1 ? 0 : Math.max(count, 1) ** -smoothing
  })
}

/** Places of tokens drawn without replacement: the largest of u^(1 / weight) (Efraimidis and Spirakis 2006), by logarithms. */
function drawRare(
  { ids, mask, lengths }: HostBatch,
  weights: Float64Array,
  probability: number,
  random: HostRandom,
): Set<number> {
  const keyed: { place: number; key: number }[] = []
  for (let i = 0; i < ids.length; i++) {
    const weight = mask[i] === 0 ? 0 : (weights[ids[i]!] ?? 0)
    // Not 0, of which there is no logarithm.
    if (weight > 0) keyed.push({ place: i, key: Math.log(1 - random.uniform()) / weight })
  }
  const wanted = Math.ceil(probability * lengths.reduce((a, b) => a + b, 0))
  const drawn = keyed.sort((a, b) => b.key - a.key).slice(0, wanted)
  return new Set(drawn.map(({ place }) => place))
}
