// How int8 matrices lie in memory: four values a word along K, the same on every device.
//
// A word holds k = 4q to 4q + 3 of one row or column, the lowest in its lowest byte, so that an instruction that
// multiplies four pairs of bytes (WASM's relaxed dot product, WGSL's dot4I8Packed) takes a word of each operand. The left
// operand of a product keeps its rows, [M, quads]. The right one, K x N, lies in panels of eight columns,
// [panels, quads, 8]; there what lies beyond K or N is 0, so that it adds nothing whatever the other holds.

/** Values of K in a word. */
export const QUAD = 4
/** Columns of a panel. */
export const INT8_PANEL = 8

/** Words of a row of K values. */
export function quadsOf(k: number): number {
  return Math.ceil(k / QUAD)
}

/** Shape of the words of a K x N right operand. */
export function panelShape(k: number, n: number): [panels: number, quads: number, columns: number] {
  return [Math.ceil(n / INT8_PANEL), quadsOf(k), INT8_PANEL]
}

/** The words of M rows of K values in -128 to 127, given row after row. */
export function packRows(values: ArrayLike<number>, m: number, k: number): Int32Array<ArrayBuffer> {
  const quads = quadsOf(k)
  const words = new Int32Array(m * quads)
  const bytes = new Int8Array(words.buffer)
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) bytes[QUAD * quads * i + p] = values[i * k + p]
  }
  return words
}

/** The words of the transpose of N rows of K values, as a linear layer's weight [outputs, inputs] is stored. */
export function packPanels(values: ArrayLike<number>, n: number, k: number): Int32Array<ArrayBuffer> {
  const [panels, quads] = panelShape(k, n)
  const words = new Int32Array(panels * quads * INT8_PANEL)
  const bytes = new Int8Array(words.buffer)
  for (let j = 0; j < n; j++) {
    for (let p = 0; p < k; p++) bytes[panelByte(quads, j, p)] = values[j * k + p]
  }
  return words
}

/** The N rows of K values that `packPanels` was given. */
export function unpackPanels(words: Int32Array, n: number, k: number): Int8Array<ArrayBuffer> {
  const quads = quadsOf(k)
  const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength)
  const values = new Int8Array(n * k)
  for (let j = 0; j < n; j++) {
    for (let p = 0; p < k; p++) values[j * k + p] = bytes[panelByte(quads, j, p)]
  }
  return values
}

function panelByte(quads: number, j: number, p: number): number {
  const panel = Math.floor(j / INT8_PANEL)
  const word = (panel * quads + Math.floor(p / QUAD)) * INT8_PANEL + (j % INT8_PANEL)
  return QUAD * word + (p % QUAD)
}
