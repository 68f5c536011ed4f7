// States of optimizers, schedulers and the like: JSON with tensors anywhere in it. Here such a tree is
// parted into tensors with names and JSON with references to them, and put together again.

import { ArgumentError, FormatError } from '../errors'
import { Tensor } from '../tensor/tensor'

/** JSON with references: `{ $tensor: name }` for a tensor, `{ $number: text }` for what JSON lacks. */
export type EncodedTree = null | boolean | number | string | EncodedTree[] | { [key: string]: EncodedTree }

/** Deeper than any state; what is deeper is a cycle, or a hostile file. */
const MAX_DEPTH = 100

/** Parts a tree; its tensors are added to `tensors` under names that start with `path`. */
export function encodeTree(
  value: unknown,
  path: string,
  tensors: Map<string, Tensor>,
  depth = 0,
): EncodedTree {
  if (depth > MAX_DEPTH)
    throw new ArgumentError(`${path.slice(0, 80)}…: nested too deeply; does it contain itself?`)
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { $number: Object.is(value, -0) ? '-0' : `${value}` }
  }
  if (value instanceof Tensor) {
    let name = path
    // Keys may hold dots, so two paths may read the same.
    while (tensors.has(name)) name += '~'
    tensors.set(name, value)
    return { $tensor: name }
  }
  if (Array.isArray(value))
    return value.map((item, i) => encodeTree(item, `${path}.${i}`, tensors, depth + 1))
  if (!isPlainObject(value)) {
    const found = typeof value === 'object' ? value.constructor.name : typeof value
    throw new ArgumentError(
      `${path}: ${found} cannot be stored; use plain objects, lists, numbers, strings or tensors`,
    )
  }
  const entries: [string, EncodedTree][] = []
  for (const [key, item] of Object.entries(value)) {
    if (key === '$tensor' || key === '$number') throw new ArgumentError(`${path}.${key}: the key is reserved`)
    if (item !== undefined) entries.push([key, encodeTree(item, `${path}.${key}`, tensors, depth + 1)])
  }
  return Object.fromEntries(entries)
}

/** Puts a tree together again; `tensorOf` gives the tensor of a name, or throws. */
export function decodeTree(tree: EncodedTree, tensorOf: (name: string) => Tensor, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw new FormatError('checkpoint state: nested too deeply')
  if (typeof tree !== 'object' || tree === null) return tree
  if (Array.isArray(tree)) return tree.map((item) => decodeTree(item, tensorOf, depth + 1))
  if (typeof tree.$tensor === 'string') return tensorOf(tree.$tensor)
  if (typeof tree.$number === 'string') return Number(tree.$number)
  return Object.fromEntries(
    Object.entries(tree).map(([key, item]) => [key, decodeTree(item, tensorOf, depth + 1)]),
  )
}

/** Parses the JSON of a tree from a file. */
export function parseTree(text: string, where: string): { [key: string]: EncodedTree } {
  let tree: unknown
  try {
    tree = JSON.parse(text)
  } catch (error) {
    throw new FormatError(`${where}: not valid JSON`, { cause: error })
  }
  if (isPlainObject(tree)) return tree as { [key: string]: EncodedTree }
  throw new FormatError(`${where}: expected an object`)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
