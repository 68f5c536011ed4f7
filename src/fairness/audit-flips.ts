// Flips: how answers changed row by row, and whether the rows that changed gather in a group.

import type { Flips, GroupAudit } from './audit-types'
import type { Group } from './groups'
import type { Measure } from './measure'
import type { Rows } from './rows'
import { oddsRatio } from './statistics/odds-ratio'
import { mcnemar } from './statistics/paired'
import { wilson } from './statistics/proportion'

/** A group's flips over all pairs of seeds, and its exemplars (`changed`, row numbers of all groups). */
export function flipsOf(
  { rows }: Group,
  before: Rows[],
  after: Rows[],
  changed: Set<number>,
): Pick<GroupAudit<string>, 'flips' | 'exemplars'> {
  let count = 0
  for (const row of rows) if (changed.has(row)) count++
  const total = before[0]!.labels.length
  const outside = { hits: changed.size - count, misses: total - rows.length - (changed.size - count) }
  const enrichment =
    rows.length > 0 && rows.length < total
      ? oddsRatio({ hits: count, misses: rows.length - count }, outside)
      : undefined
  const exemplars = { count, enrichment }
  if (before.length !== after.length || rows.length === 0) return { exemplars }
  const flips = { stayedRight: 0, rightToWrong: 0, wrongToRight: 0, stayedWrong: 0, wrongToOtherWrong: 0 }
  before.forEach(({ labels, predictions }, s) => {
    for (const row of rows) {
      const label = labels[row]
      const was = predictions[row]
      const is = after[s]!.predictions[row]
      if (was === label) flips[is === label ? 'stayedRight' : 'rightToWrong']++
      else if (is === label) flips.wrongToRight++
      else flips[is === was ? 'stayedWrong' : 'wrongToOtherWrong']++
    }
  })
  const k = flips.rightToWrong + flips.wrongToRight + flips.wrongToOtherWrong
  const n = rows.length * before.length
  // Answers of several seeds to one row are not independent: no formula for their interval.
  const churn: Measure =
    before.length === 1 ? { value: k / n, k, n, interval: wilson(k, n) } : { value: k / n, k, n }
  const full: Flips = { ...flips, churn }
  if (before.length === 1)
    full.mcnemar = { p: mcnemar(flips.wrongToRight, flips.rightToWrong), adjustedP: Number.NaN }
  return { exemplars, flips: full }
}
