// Simplifies strided windows before a kernel walks them: axes of size 1 go, and neighbours that are laid
// out as one axis become one, so that most tensors turn into a single contiguous run.

/** Several strided windows of one shape, after collapsing. */
export interface Collapsed {
  readonly shape: readonly number[]
  /** One list of strides per window. */
  readonly strides: readonly (readonly number[])[]
}

/**
 * Merges adjacent axes that all the given windows allow to merge. Element order stays; an element count of 0
 * gives shape [0], and of 1 gives shape [].
 */
export function collapse(shape: readonly number[], strides: readonly (readonly number[])[]): Collapsed {
  const sizes: number[] = []
  const merged: number[][] = strides.map(() => [])
  for (let d = 0; d < shape.length; d++) {
    const size = shape[d]
    if (size === 0) return { shape: [0], strides: strides.map(() => [1]) }
    if (size === 1) continue
    const last = sizes.length - 1
    if (last >= 0 && strides.every((s, v) => merged[v][last] === s[d] * size)) {
      sizes[last] *= size
      for (let v = 0; v < strides.length; v++) merged[v][last] = strides[v][d]
    } else {
      sizes.push(size)
      for (let v = 0; v < strides.length; v++) merged[v].push(strides[v][d])
    }
  }
  return { shape: sizes, strides: merged }
}

/** Number of elements of a shape. */
export function count(shape: readonly number[]): number {
  let n = 1
  for (const size of shape) n *= size
  return n
}

/**
 * Calls `visit` with the element offset of every window at each index of `shape`, in row-major order. The array
 * passed is reused. Kernels run it over the outer axes and write the inner loop themselves.
 */
export function walk(
  shape: readonly number[],
  starts: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (offsets: readonly number[]) => void,
): void {
  const rank = shape.length
  if (shape.includes(0)) return
  const offsets = [...starts]
  const index = new Array<number>(rank).fill(0)
  for (;;) {
    visit(offsets)
    let d = rank - 1
    for (; d >= 0; d--) {
      index[d]++
      for (let v = 0; v < offsets.length; v++) offsets[v] += strides[v][d]
      if (index[d] < shape[d]) break
      for (let v = 0; v < offsets.length; v++) offsets[v] -= strides[v][d] * shape[d]
      index[d] = 0
    }
    if (d < 0) return
  }
}
