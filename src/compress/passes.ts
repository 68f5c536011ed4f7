// What was done to a model: every pass that made it smaller leaves a note of its options and seed, which is saved with it.

import type { Module } from '../nn/module'
import { getRandomState } from '../tensor/random-state'

/** One pass over a model. */
export interface PassRecord {
  /** 'prune', 'remove heads' … */
  readonly pass: string
  /** What it was asked to do, as JSON. */
  readonly options: Readonly<Record<string, unknown>>
  /** The seed of the library's random source at that time. */
  readonly seed: number
}

const records = new WeakMap<Module, PassRecord[]>()

/** The passes that a model went through, the first one first. */
export function passesOf(model: Module): readonly PassRecord[] {
  return records.get(model) ?? []
}

/** Notes a pass. Options without a value are left out. */
export function recordPass(model: Module, pass: string, options: Readonly<Record<string, unknown>>): void {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  setPasses(model, [...passesOf(model), { pass, options: given, seed: getRandomState().seed }])
}

/** Takes over the notes of another model or of a file. */
export function setPasses(model: Module, passes: readonly PassRecord[]): void {
  records.set(model, [...passes])
}
