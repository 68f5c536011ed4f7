// The innermost loops of reductions, over the scratch memory.

import type { ReduceKind } from '../types'
import { REGISTERS } from './scratch'

/** The value that a reduction of nothing has. */
export function identity(kind: ReduceKind): number {
  return kind === 'sum' ? 0 : kind === 'prod' ? 1 : kind === 'max' ? -Infinity : Infinity
}

/** One step of the reduction; integers wrap as int32. */
export function combine(kind: ReduceKind, int: boolean, a: number, b: number): number {
  switch (kind) {
    case 'sum':
      return int ? (a + b) | 0 : a + b
    case 'prod':
      return int ? Math.imul(a, b) : a * b
    case 'max':
      return Math.max(a, b)
    case 'min':
      return Math.min(a, b)
    default:
      return kind satisfies never
  }
}

/**
 * `fold` reduces the scratch memory from `begin` to `end`; `merge` does
 * `sums[s + i] = combine(sums[s + i], R[x + i])` for i < n.
 */
export const { fold, merge } = makeFolds(REGISTERS)

// See scratch.ts for why the loops are inside a function.
function makeFolds(registers: Float64Array) {
  const R = registers

  function fold(kind: ReduceKind, int: boolean, begin: number, end: number): number {
    switch (kind) {
      case 'sum':
        // A block of int32 cannot leave the exact integers of a double.
        return int ? foldSum(begin, end) | 0 : foldSum(begin, end)
      case 'prod':
        return int ? foldProdInt(begin, end) : foldProd(begin, end)
      case 'max':
        return foldMax(begin, end)
      case 'min':
        return foldMin(begin, end)
      default:
        return kind satisfies never
    }
  }

  function foldSum(begin: number, end: number): number {
    // Four sums, because each addition waits for the one before it.
    let a = 0
    let b = 0
    let c = 0
    let d = 0
    let i = begin
    for (; i + 4 <= end; i += 4) {
      a += R[i]
      b += R[i + 1]
      c += R[i + 2]
      d += R[i + 3]
    }
    for (; i < end; i++) a += R[i]
    return a + b + (c + d)
  }
  function foldProd(begin: number, end: number): number {
    let a = 1
    for (let i = begin; i < end; i++) a *= R[i]
    return a
  }
  function foldProdInt(begin: number, end: number): number {
    let a = 1
    for (let i = begin; i < end; i++) a = Math.imul(a, R[i])
    return a
  }
  function foldMax(begin: number, end: number): number {
    let a = -Infinity
    let b = -Infinity
    let i = begin
    for (; i + 2 <= end; i += 2) {
      a = Math.max(a, R[i])
      b = Math.max(b, R[i + 1])
    }
    if (i < end) a = Math.max(a, R[i])
    return Math.max(a, b)
  }
  function foldMin(begin: number, end: number): number {
    let a = Infinity
    let b = Infinity
    let i = begin
    for (; i + 2 <= end; i += 2) {
      a = Math.min(a, R[i])
      b = Math.min(b, R[i + 1])
    }
    if (i < end) a = Math.min(a, R[i])
    return Math.min(a, b)
  }

  function merge(kind: ReduceKind, int: boolean, sums: Float64Array, s: number, x: number, n: number): void {
    if (kind === 'sum' && !int) mergeSum(sums, s, x, n)
    else for (let i = 0; i < n; i++) sums[s + i] = combine(kind, int, sums[s + i], R[x + i])
  }
  function mergeSum(sums: Float64Array, s: number, x: number, n: number): void {
    const end = s + n
    for (; s + 4 <= end; s += 4, x += 4) {
      sums[s] += R[x]
      sums[s + 1] += R[x + 1]
      sums[s + 2] += R[x + 2]
      sums[s + 3] += R[x + 3]
    }
    for (; s < end; s++, x++) sums[s] += R[x]
  }

  return { fold, merge }
}
