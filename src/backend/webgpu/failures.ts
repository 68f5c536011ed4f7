// Ids out of range are found by kernels, long after the op was called. Each such op has a token; a kernel leaves the
// token and the id in the failure cell, which every read brings along.

interface IdCheck {
  readonly op: string
  readonly dim: number
  readonly size: number
}

export class Failures {
  readonly #tokens = new Map<string, number>()
  readonly #checks: IdCheck[] = []

  /** The token of an op that looks up ids along an axis. Earlier tokens are larger, and the largest one is kept. */
  token(op: string, dim: number, size: number): number {
    const key = `${op} ${dim} ${size}`
    let index = this.#tokens.get(key)
    if (index === undefined) {
      index = this.#checks.length
      this.#checks.push({ op, dim, size })
      this.#tokens.set(key, index)
    }
    return 0xffffffff - index
  }

  /** What the words of the failure cell mean, or null if nothing happened. */
  explain(cell: Uint32Array): string | null {
    const [token, id] = cell
    if (token === 0) return null
    const { op, dim, size } = this.#checks[0xffffffff - token]
    return `${op}: index ${id | 0} is out of range for dim ${dim} of size ${size}; expected 0 to ${size - 1}. It was found on the GPU, so the op is one called before this read`
  }
}
