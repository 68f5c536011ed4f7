// How much a pass removes: a number of elements, or a share of what remains, rounded half to even as PyTorch does.

import { ArgumentError } from '../../errors'

/**
 * `{ count }` elements, or the `{ fraction }` of those that remain. A bare number is a fraction below 1 and a count from 2
 * upwards; 1 could be either and is refused.
 */
export type Amount = { readonly count: number } | { readonly fraction: number } | number

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
  const { count, fraction } = { count: undefined, fraction: undefined, ...amount } as {
    count?: unknown
    fraction?: unknown
  }
  if ((count === undefined) === (fraction === undefined)) refuse('{ count } or { fraction }')
  if (fraction !== undefined && !(typeof fraction === 'number' && fraction >= 0 && fraction <= 1))
    refuse('a fraction from 0 to 1')
  if (count !== undefined && !(Number.isSafeInteger(count) && (count as number) >= 0))
    refuse('a count that is a non-negative integer')
}

/**
 * How many of `remaining` an amount is.
 * @throws ArgumentError for an amount out of range or a count beyond what remains.
 */
export function amountOf(where: string, amount: Amount, remaining: number): number {
  checkAmount(where, amount)
  const fraction =
    typeof amount === 'number' ? (amount < 1 ? amount : null) : 'fraction' in amount ? amount.fraction : null
  if (fraction !== null) return roundHalfToEven(fraction * remaining)
  const count = typeof amount === 'number' ? amount : (amount as { count: number }).count
  if (count > remaining)
    throw new ArgumentError(
      `${where}: count is ${count}; expected at most ${remaining}, which is what remains`,
    )
  return count
}
