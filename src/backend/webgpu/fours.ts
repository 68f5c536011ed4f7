// Four neighbouring elements at a time, for software adapters: an access to memory costs them as much as dozens of
// operations, and one to a vector of four about as much as one to a single element.

import type { View } from '../types'
import { elementOf } from './bindings'

/** With fewer elements than this, a kernel of its own is not worth compiling. */
export const FOURS_FROM = 1024

/**
 * Whether a window can be bound as vectors of four: along the last axis, with the given step, it goes through aligned memory
 * element by element, or, where it is only read, stays where it is.
 */
export function goesInFours(view: View, step: number, outer: readonly number[], written: boolean): boolean {
  if (step === 0) return !written
  return step === 1 && view.offset % 4 === 0 && outer.every((s) => s % 4 === 0)
}

/** WGSL for a vector of four elements of a window's dtype. */
export function fourOf(view: View): string {
  return `vec4<${elementOf(view.dtype)}>`
}

/** The place of element c of the four in the vector that was read at `offset`, which moves on or stays. */
export function placeInFour(c: number, moves: boolean, offset: string): string {
  return moves ? `${c}` : `${offset} & 3`
}

/** The same statements for each of four elements. */
export function eachOfFour(indent: string, statements: (c: number) => string): string {
  return [0, 1, 2, 3].map((c) => `${indent}{\n${statements(c)}\n${indent}}`).join('\n')
}
