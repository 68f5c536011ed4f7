// The numbers that all engines start from: parameters and inputs follow from their names, so every engine computes the same
// losses, and one that skips work is seen. torch_bench.py has the same lines in Python.

/** `count` numbers, evenly spread with this standard deviation. */
export function values(name: string, count: number, deviation = 0.05): Float32Array<ArrayBuffer> {
  let seed = 0x811c9dc5
  for (const character of name) seed = Math.imul(seed ^ character.charCodeAt(0), 0x01000193)
  const out = new Float32Array(count)
  const width = 2 * Math.sqrt(3) * deviation
  for (let i = 0; i < count; i++) {
    let h = Math.imul(i + 1, 0x9e3779b1) ^ seed
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    h ^= h >>> 16
    out[i] = ((h >>> 0) / 2 ** 32 - 0.5) * width
  }
  return out
}

/** Token ids or classes, all of them below `limit`. */
export function ids(count: number, limit: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % limit)
}

/** [rows, columns] to [columns, rows]. */
export function transposed(x: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(x.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = x[i * columns + j]!
  return out
}

export const LEARNING_RATE = 1e-3
export const EPSILON = 1e-7
