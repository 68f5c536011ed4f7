// Keys and values of the positions that a model has seen, so that a step of generation computes the new ones only.
//
// Room for all positions is taken at once and written in place: a step allocates nothing that outlives it. Entries belong
// to the module that computed them, so a cache is handed through a model as it is, whatever the model's structure.

import { ArgumentError, GraphError, ShapeError } from '../errors'
import { inModule } from '../tensor/context'
import { copyInto } from '../tensor/mutate'
import { narrow } from '../tensor/ops/views'
import { escapeScopes, gradEnabled, noGrad } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'
import { checkSizes } from './options'

/** Keys and values of T positions, each [B, T, ...]. */
export type KeysAndValues = readonly [keys: Tensor, values: Tensor]

/** What one module of self-attention holds: room for every position, and how many there are. */
interface Growing {
  readonly room: KeysAndValues
  length: number
}

/** What one module of cross-attention holds. */
interface Fixed {
  readonly memory: object
  readonly entries: KeysAndValues
}

/**
 * Keys and values of one batch of sequences. Serves one model, which hands it to each of its attention modules once per
 * pass; in inference only (inside `noGrad`). Its memory is the caller's to `dispose`.
 */
export class KeyValueCache {
  readonly #growing = new Map<object, Growing>()
  readonly #fixed = new Map<object, Fixed>()

  /** @param maxLength positions there is room for. */
  constructor(readonly maxLength: number) {
    checkSizes('KeyValueCache', { maxLength })
  }

  /** Positions held, which is the position of the next one; to be asked between passes. */
  get length(): number {
    return this.#growing.size === 0 ? 0 : Math.min(...this.#lengths())
  }

  /** Positions held for one module of self-attention. */
  lengthOf(owner: object): number {
    return this.#growing.get(owner)?.length ?? 0
  }

  /**
   * Adds `keys` and `values` [B, T, ...] of the next T positions; returns those of all positions so far, as views.
   * @throws ShapeError beyond maxLength or for another batch; GraphError where gradients are recorded.
   */
  append(owner: object, keys: Tensor, values: Tensor): KeysAndValues {
    checkInference([keys, values])
    const T = keys.shape[1]
    const start = this.lengthOf(owner)
    this.#checkPass(owner, start, T)
    if (start + T > this.maxLength) {
      throw new ShapeError(
        `KeyValueCache: ${T} more positions after ${start} are beyond maxLength ${this.maxLength}${inModule()}; ` +
          'make the cache longer, or shorten the sequence',
      )
    }
    const { room } = this.#slotOf(owner, [keys, values])
    noGrad(() => {
      for (const [i, t] of [keys, values].entries()) copyInto(narrow(room[i], 1, start, T), t)
    })
    const length = start + T
    this.#growing.set(owner, { room, length })
    return [narrow(room[0], 1, 0, length), narrow(room[1], 1, 0, length)]
  }

  /**
   * Keys and values of a `memory` that does not grow: computed by `compute` at the first call, the same at every later one.
   * @throws ArgumentError for another memory than at the first call; GraphError where gradients are recorded.
   */
  once(owner: object, memory: Tensor, compute: () => KeysAndValues): KeysAndValues {
    const known = this.#fixed.get(owner)
    if (known && known.memory !== memory.storage) {
      throw new ArgumentError(
        `KeyValueCache: it holds keys and values of another memory${inModule()}; use a new cache for a new memory`,
      )
    }
    if (known) return known.entries
    const entries = compute()
    checkInference(entries)
    for (const t of entries) escapeScopes(t)
    this.#fixed.set(owner, { memory: memory.storage, entries })
    return entries
  }

  /** Gives the memory back. */
  dispose(): void {
    const all = [...this.#growing.values()].flatMap(({ room }) => room)
    for (const t of [...all, ...[...this.#fixed.values()].flatMap(({ entries }) => entries)]) t.dispose()
    this.#growing.clear()
    this.#fixed.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #lengths(): number[] {
    return [...this.#growing.values()].map(({ length }) => length)
  }

  /** Whoever has its turn is as far as those who wait for theirs; in the first pass nobody else is there yet. */
  #checkPass(owner: object, start: number, T: number): void {
    const others = this.#lengths()
    const inTurn = this.#growing.has(owner) ? start === this.length : others.every((n) => n === T)
    if (inTurn) return
    throw new ArgumentError(
      `KeyValueCache: a module with ${start} positions has its turn while others have ${Math.max(...others)}${inModule()}; ` +
        'a cache serves one model, each of its attention modules once per pass',
    )
  }

  #slotOf(owner: object, entries: KeysAndValues): Growing {
    const wanted = entries.map(({ shape }) => [shape[0], this.maxLength, ...shape.slice(2)])
    const known = this.#growing.get(owner)
    if (!known) {
      const [keys, values] = entries.map((t, i) =>
        escapeScopes(Tensor.allocate(t.backend, t.dtype, wanted[i])),
      )
      return { room: [keys, values], length: 0 }
    }
    if (known.room.every((t, i) => sameShape(t.shape, wanted[i]))) return known
    throw new ShapeError(
      `KeyValueCache: keys and values of shape ${entries.map((t) => formatShape(t.shape)).join(' and ')}${inModule()} ` +
        `do not continue those held, ${known.room.map((t) => formatShape(t.shape)).join(' and ')}; ` +
        'a cache serves one batch of sequences',
    )
  }
}

function checkInference(entries: KeysAndValues): void {
  if (gradEnabled() && entries.some((t) => t.requiresGrad)) {
    throw new GraphError(
      `KeyValueCache: no gradients flow through a cache${inModule()}; call the model inside noGrad(() => …)`,
    )
  }
}
