// Tensors of which most elements are pruned, as few bytes: the kept values alone, and where they stand, as one bit per element
// or as the columns of each row (CSR), whichever is smaller; and all elements where that is smaller still.

import { FormatError } from '../errors'
import type { TensorToWrite } from '../io/safetensors'
import { packBits, unpackBits } from './prune/mask'

/** How a tensor is stored. `dense`: as it is. */
export type SparseFormat = 'dense' | 'bitmap' | 'csr'

/** What a file says of a tensor that is stored in parts. */
export interface SparseTensor {
  readonly format: Exclude<SparseFormat, 'dense'>
  readonly shape: readonly number[]
  /** Key of the mask that says which elements are kept. */
  readonly mask: string
}

/** Names of the parts are those of the tensor with these ends. */
export const PARTS = { bitmap: ['bits', 'values'], csr: ['rows', 'columns', 'values'] } as const

function rowsOf(shape: readonly number[]): { rows: number; columns: number } {
  const columns = shape[shape.length - 1] ?? 1
  return { rows: shape.reduce((n, size) => n * size, 1) / Math.max(1, columns), columns }
}

/** The format that takes the fewest bytes for a tensor of which `kept` elements of `bytes` each are stored. */
export function smallestFormat(shape: readonly number[], kept: number, bytes: number): SparseFormat {
  const { rows, columns } = rowsOf(shape)
  const index = columns <= 256 ? 1 : 4
  const sizes: [SparseFormat, number][] = [
    ['dense', rows * columns * bytes],
    ['bitmap', 4 * Math.ceil((rows * columns) / 32) + kept * bytes],
    ['csr', 4 * (rows + 1) + kept * (index + bytes)],
  ]
  return sizes.reduce((best, next) => (next[1] < best[1] ? next : best))[0]
}

/** The parts of a tensor: the values where `keep` is not 0, and where they stand. */
export function encodeSparse(
  format: SparseTensor['format'],
  values: Float32Array | Float64Array,
  shape: readonly number[],
  keep: Uint8Array,
): Record<string, TensorToWrite> {
  const kept = values.filter((_, i) => keep[i] !== 0)
  const list = (data: TensorToWrite['data']): TensorToWrite => ({ shape: [data.length], data })
  if (format === 'bitmap') return { bits: list(packBits(keep)), values: list(kept) }
  const { rows, columns } = rowsOf(shape)
  const starts = new Int32Array(rows + 1)
  const places = new Int32Array(kept.length)
  let at = 0
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) if (keep[row * columns + column]) places[at++] = column
    starts[row + 1] = at
  }
  const narrow = columns <= 256
  return {
    rows: list(starts),
    columns: { ...list(narrow ? Uint8Array.from(places) : places), ...(narrow && { dtype: 'U8' as const }) },
    values: list(kept),
  }
}

/**
 * All elements, 0 where pruned, and which are kept.
 * @throws FormatError for parts that do not fit each other, before anything is allocated by what they say.
 */
export function decodeSparse(
  name: string,
  { format, shape }: Pick<SparseTensor, 'format' | 'shape'>,
  parts: Readonly<Record<string, ArrayLike<number>>>,
): { values: Float64Array; keep: Uint8Array } {
  const { rows, columns } = rowsOf(shape)
  const size = rows * columns
  const refuse = (): never => {
    throw new FormatError(`'${name}': its stored parts do not make a tensor of shape [${shape.join(', ')}]`)
  }
  const { values: kept } = parts
  let keep: Uint8Array
  if (format === 'bitmap') {
    if (parts.bits.length !== Math.ceil(size / 32)) refuse()
    keep = unpackBits(Int32Array.from(parts.bits), size)
  } else {
    const { rows: starts, columns: places } = parts
    if (starts.length !== rows + 1 || starts[0] !== 0 || starts[rows] !== places.length) refuse()
    keep = new Uint8Array(size)
    for (let row = 0; row < rows; row++) {
      for (let i = starts[row]; i < starts[row + 1]; i++) {
        const ascends = i === starts[row] || places[i] > places[i - 1]
        if (!ascends || places[i] < 0 || places[i] >= columns) refuse()
        keep[row * columns + places[i]] = 1
      }
    }
  }
  const values = new Float64Array(size)
  let at = 0
  for (let i = 0; i < size; i++) if (keep[i]) values[i] = kept[at++]
  if (at !== kept.length) refuse()
  return { values, keep }
}
