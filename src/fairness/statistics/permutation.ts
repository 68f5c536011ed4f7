// Could the difference between groups be chance? Deal the groups out anew and see how often it is as large.

import { HostRandom } from '../../backend/threefry'
import { ArgumentError } from '../../errors'
import { checkAtLeast } from './options'

/** How {@link permutationTest} deals. */
export interface PermutationOptions {
  /** How often the groups are dealt anew. Default 9999. */
  permutations?: number
  /**
   * Rows with equal values here are shuffled among themselves only: with the labels, the test of a rate among positives or
   * negatives keeps their numbers in each group.
   */
  within?: ArrayLike<number | string | boolean>
  /** Equal seeds give equal results. Default 0. */
  seed?: number
}

/** What {@link permutationTest} finds. */
export interface PermutationTest {
  /** The statistic of the groups as they are. */
  value: number
  /** (1 + how often a shuffle was at least as large) / (1 + shuffles): never 0, and never above its nominal level. */
  p: number
}

/**
 * Permutation test of "the group says nothing about the row": `statistic` gets a group for each row, larger meaning more
 * different (a gap between groups, say). Shuffles where it is undefined count as large, on the side of caution.
 * R. A. Fisher, The Design of Experiments (1935); the +1 after Phipson and Smyth, Stat. Appl. Genet. 9 (2010), 39.
 * @throws ArgumentError for no rows, or where the statistic is undefined for the groups as they are.
 */
export function permutationTest<G>(
  groups: ArrayLike<G>,
  statistic: (groups: readonly G[]) => number | undefined,
  options: PermutationOptions = {},
): PermutationTest {
  const { permutations = 9999, within, seed = 0 } = options
  checkAtLeast('permutationTest', 'permutations', permutations, 1)
  checkAtLeast('permutationTest', 'number of rows', groups.length, 1)
  const value = statistic(Array.from(groups))
  if (value === undefined || Number.isNaN(value)) {
    throw new ArgumentError(
      'permutationTest: the statistic has no value for the groups as they are; nothing to compare with',
    )
  }
  const blocks = new Map<unknown, number[]>()
  for (let i = 0; i < groups.length; i++) {
    const block = blocks.get(within?.[i])
    if (block) block.push(i)
    else blocks.set(within?.[i], [i])
  }
  const random = new HostRandom(seed)
  const dealt = Array.from(groups)
  let hits = 0
  for (let round = 0; round < permutations; round++) {
    for (const block of blocks.values()) {
      for (let i = block.length - 1; i > 0; i--) {
        const from = block[random.nextInt(i + 1)]!
        const to = block[i]!
        const held = dealt[to]!
        dealt[to] = dealt[from]!
        dealt[from] = held
      }
    }
    const shuffled = statistic(dealt)
    // Sums in another order differ in their last digits; equal is equal.
    if (!(shuffled !== undefined && shuffled < value - 1e-12 * Math.abs(value))) hits++
  }
  return { value, p: (1 + hits) / (1 + permutations) }
}
