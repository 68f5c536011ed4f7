// Is something commoner inside a group than outside?

import { checkCounts, checkLevel, type Interval, type LevelOptions } from './options'
import { normalQuantile } from './special'

/** What {@link oddsRatio} finds. */
export interface OddsRatio {
  value: number
  interval: Interval
}

/**
 * Odds ratio of hits inside a group against outside, with Gart's interval: half a row is added to each cell, so that it is
 * finite where a cell is empty. Above 1: commoner inside. J. J. Gart, J. Royal Stat. Soc. B 28 (1966), 164-179.
 * @throws ArgumentError unless all counts are integers of at least 0 and 0 < level < 1.
 */
export function oddsRatio(
  inside: { hits: number; misses: number },
  outside: { hits: number; misses: number },
  options: LevelOptions = {},
): OddsRatio {
  const level = checkLevel('oddsRatio', options.level)
  checkCounts('oddsRatio inside', inside)
  checkCounts('oddsRatio outside', outside)
  const cells = [inside.hits, inside.misses, outside.hits, outside.misses].map((count) => count + 0.5)
  const log = Math.log((cells[0]! * cells[3]!) / (cells[1]! * cells[2]!))
  const reach = normalQuantile((1 + level) / 2) * Math.sqrt(cells.reduce((sum, cell) => sum + 1 / cell, 0))
  return { value: Math.exp(log), interval: [Math.exp(log - reach), Math.exp(log + reach)] }
}
