// How much a pass removes: a number of elements, or a share of what remains, rounded half to even as PyTorch does.

import { ArgumentError } from '../../errors'

/**
 * `{ count }` elements, or the `{ fraction }` of those that remain; or `{ sparsity }`: as many as make this share of all be
 * gone, with those that are gone already. A bare number is a fraction below 1 and a count from 2
 * upwards; 1 could be either and is refused.
 */
export type Amount =
  | { readonly count: number }
  | { readonly fraction: number }
  | { readonly sparsity: number }
  | number

/** Rounds to the nearest integer, ties to the even one. */
export function roundHalfToEven(x: number): number {
  const below = Math.floor(x)
  const rest = x - below
  if (rest !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

/** @throws ArgumentError for what is neither a count nor a fraction in [0, 1]. */
export function checkAmount(where: string, amount: Amount): void {
  const refuse = (expected: string): never => {
    throw new ArgumentError(
      `${where}: amount is ${typeof amount === 'number' ? amount : JSON.stringify(amount)}; expected ${expected}`,
    )
  }
  if (typeof amount === 'number') {
    if (amount === 1) refuse('{ count: 1 } or { fraction: 1 }: a bare 1 could be either')
    if (!(amount >= 0 && (amount < 1 || Number.isInteger(amount))))
      refuse('a fraction from 0 to below 1, or an integer of at least 2')
    return
  }
  const given = Object.entries(amount ?? {}).filter(([, value]) => value !== undefined)
  const [name, value = Number.NaN] = given[0] ?? ['']
  if (given.length !== 1 || !['count', 'fraction', 'sparsity'].includes(name))
    refuse('one of { count }, { fraction } and { sparsity }')
  if (name === 'count' && !(Number.isSafeInteger(value) && value >= 0))
    refuse('a count that is a non-negative integer')
  if (name !== 'count' && !(typeof value === 'number' && value >= 0 && value <= 1))
    refuse(`a ${name} from 0 to 1`)
}

/**
 * How many of `remaining` an amount is, out of a `total`.
 * @throws ArgumentError for an amount out of range or a count beyond what remains.
 */
export function amountOf(where: string, amount: Amount, remaining: number, total = remaining): number {
  checkAmount(where, amount)
  const given = typeof amount === 'number' ? (amount < 1 ? { fraction: amount } : { count: amount }) : amount
  if ('fraction' in given) return roundHalfToEven(given.fraction * remaining)
  if ('sparsity' in given) return Math.max(0, roundHalfToEven(given.sparsity * total) - (total - remaining))
  if (given.count > remaining) {
    throw new ArgumentError(
      `${where}: count is ${given.count}; expected at most ${remaining}, which is what remains`,
    )
  }
  return given.count
}
