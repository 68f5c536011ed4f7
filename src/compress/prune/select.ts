// Which elements go: the lowest scores, equal ones in the order of their index, so that the choice is the same everywhere.

/** One tensor's scores, and which of them take part. */
export interface Candidates {
  readonly scores: ArrayLike<number>
  /** 0 where an element is pruned already. */
  readonly keep: Uint8Array
}

/**
 * Marks the `n` lowest scores over all lists as pruned, in copies of their `keep`; of equal scores those of the earlier list,
 * then of the lower index, go first.
 */
export function pruneLowest(lists: readonly Candidates[], n: number): Uint8Array[] {
  const kept = lists.map(({ keep }) => keep.slice())
  if (n === 0) return kept
  const total = kept.reduce((sum, keep) => sum + countKept(keep), 0)
  const sorted = new Float64Array(total)
  let at = 0
  lists.forEach(({ scores, keep }) => {
    for (let i = 0; i < keep.length; i++) if (keep[i]) sorted[at++] = scores[i]
  })
  sorted.sort()
  const threshold = sorted[n - 1]
  let below = 0
  while (below < n && sorted[below] < threshold) below++
  let ties = n - below
  lists.forEach(({ scores }, list) => {
    const keep = kept[list]
    for (let i = 0; i < keep.length; i++) {
      if (!keep[i] || scores[i] > threshold) continue
      if (scores[i] < threshold || ties-- > 0) keep[i] = 0
    }
  })
  return kept
}

export function countKept(keep: Uint8Array): number {
  let n = 0
  for (let i = 0; i < keep.length; i++) n += keep[i]
  return n
}
