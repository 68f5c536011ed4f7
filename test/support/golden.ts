// Reads the golden files of test/goldens (PyTorch's values; their README explains the names) and compares with them
// at the tolerances every layer and op is held to.
import fs from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import { parseSafetensors } from '../../src/io/safetensors'

const folder = path.resolve(import.meta.dirname, '../goldens')

export interface GoldenTensor {
  dtype: string
  shape: number[]
  values: number[]
}

/** Options of a case: JSON, in the library's camelCase. */
export type GoldenOptions = Record<string, unknown>

/** One case of a golden file; names are those after `<case>/`. */
export class GoldenCase {
  constructor(
    readonly name: string,
    readonly options: GoldenOptions,
    private readonly tensors: Map<string, GoldenTensor>,
  ) {}

  has(name: string): boolean {
    return this.tensors.has(name)
  }

  get(name: string): GoldenTensor {
    const found = this.tensors.get(name)
    if (!found) throw new Error(`golden case ${this.name} has no ${name}; it has ${this.names().join(', ')}`)
    return found
  }

  /** Names that start with a prefix, the prefix removed: `names('param.')` are the state-dict keys. */
  names(prefix = ''): string[] {
    return [...this.tensors.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
  }
}

/** Every case of test/goldens/NAME.safetensors, in the order of the script. */
export function loadGolden(name: string): GoldenCase[] {
  const { tensors, metadata } = parseSafetensors(
    new Uint8Array(fs.readFileSync(path.join(folder, `${name}.safetensors`))),
  )
  const { cases } = JSON.parse(metadata.golden!) as { cases: Record<string, GoldenOptions> }
  return Object.entries(cases).map(([name, options]) => {
    const own = new Map<string, GoldenTensor>()
    for (const [key, { dtype, shape, data }] of tensors) {
      if (!key.startsWith(`${name}/`)) continue
      own.set(key.slice(name.length + 1), { dtype, shape: [...shape], values: Array.from(data, Number) })
    }
    return new GoldenCase(name, options, own)
  })
}

export function goldenCase(file: string, name: string): GoldenCase {
  const found = loadGolden(file).find((golden) => golden.name === name)
  if (!found) throw new Error(`golden file ${file} has no case ${name}`)
  return found
}

const TOLERANCES = {
  float32: { relative: 1e-4, absolute: 1e-6 },
  float64: { relative: 1e-10, absolute: 1e-12 },
}

/**
 * Fails unless max|actual - golden| <= relative * max|golden| + absolute over the finite golden values, and NaN and
 * infinities stand exactly where the golden has them.
 */
export function expectGolden(
  actual: ArrayLike<number>,
  golden: GoldenTensor,
  precision: keyof typeof TOLERANCES,
  what: string,
): void {
  const { relative, absolute } = TOLERANCES[precision]
  const { values } = golden
  expect(actual.length, `${what}: number of elements`).toBe(values.length)
  let largest = 0
  for (const value of values) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value))
  const tolerance = relative * largest + absolute
  for (let i = 0; i < values.length; i++) {
    const wanted = values[i]!
    const got = Number(actual[i])
    const fits = Number.isFinite(wanted) ? Math.abs(got - wanted) <= tolerance : Object.is(got, wanted)
    if (!fits)
      expect.fail(`${what}[${i}]: got ${got}, PyTorch ${wanted} (tolerance ${tolerance}, ${precision})`)
  }
}
