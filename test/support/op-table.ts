// One row per op: how to call it, on what, and what plain JavaScript says the answer is.
//
// Everything in test/ops*.test.ts is generated from these rows. Values keep clear of kinks (the points where an op
// has no derivative) by the options `avoid`, `grid` and `distinct`.
import { CHOOSING } from './ops/choosing'
import { INDEXING } from './ops/joining'
import { VIEWS } from './ops/moving'
import { BINARY, UNARY } from './ops/pointwise'
import { ALONG, REDUCTIONS } from './ops/reducing'
import type { Row } from './ops/case'

export type { OpCase, Row } from './ops/case'

export const TABLE: readonly Row[] = [
  ...UNARY,
  ...BINARY,
  ...CHOOSING,
  ...REDUCTIONS,
  ...ALONG,
  ...VIEWS,
  ...INDEXING,
]

export const titleOf = (row: Row): string => row.title ?? row.op
