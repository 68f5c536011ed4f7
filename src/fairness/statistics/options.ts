// What the arguments of intervals and tests have to be, said in one voice.

import { ArgumentError } from '../../errors'

/** Both ends belong to the interval. */
export type Interval = [low: number, high: number]

/** An interval's confidence. */
export interface LevelOptions {
  /** How often such intervals hold the true value; in (0, 1). Default 0.95. */
  level?: number
}

/** The level, checked. */
export function checkLevel(name: string, level: number | undefined): number {
  if (level !== undefined && !(level > 0 && level < 1)) {
    throw new ArgumentError(`${name}: level is ${level}; expected a number in (0, 1), such as 0.95`)
  }
  return level ?? 0.95
}

/** Throws ArgumentError unless every value is an integer of at least 0. */
export function checkCounts(name: string, counts: Record<string, number>): void {
  for (const [argument, value] of Object.entries(counts)) {
    if (!(Number.isSafeInteger(value) && value >= 0)) {
      throw new ArgumentError(`${name}: ${argument} is ${value}; expected an integer of at least 0`)
    }
  }
}

/** Throws ArgumentError unless `n` is an integer of at least `least`. */
export function checkAtLeast(name: string, argument: string, n: number, least: number): void {
  if (!(Number.isSafeInteger(n) && n >= least)) {
    throw new ArgumentError(`${name}: ${argument} is ${n}; expected an integer of at least ${least}`)
  }
}
