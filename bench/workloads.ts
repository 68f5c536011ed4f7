// What is measured: the workloads, their sizes, and the least work that each of them needs.

/** By name, e.g. { batch: 32, length: 64 }. */
export type Sizes = Readonly<Record<string, number>>

export interface Workload {
  sizes: Sizes
  /** For trials of the benchmark itself. */
  tiny: Sizes
  /** Multiplications and additions of the matrix products in one step; gradients that nobody reads are left out. */
  flops(sizes: Sizes): number
  /** Bytes from and to memory that no implementation can avoid. */
  bytes(sizes: Sizes): number
  /** What `--sweep` tries, one size at a time. */
  sweep?: Readonly<Record<string, readonly number[]>>
}

const FLOAT = 4
/** Adam reads parameter, gradient and both moments, and writes all but the gradient; backward has written that. */
const ADAM = 8 * FLOAT
/** An activation is written in forward and read in backward. */
const ACTIVATION = 2 * FLOAT

const rows: Workload = {
  sizes: { rows: 4096, columns: 768 },
  tiny: { rows: 4, columns: 24 },
  flops: () => 0,
  bytes: ({ rows, columns }) => 2 * FLOAT * rows! * columns!,
}

const SWEEP = { length: [32, 64, 128, 256, 512], batch: [8, 16, 32, 64], hidden: [64, 128, 256, 512] }

/** Two pre-norm layers of 4 heads, feed-forward twice as wide, mean over the tokens, a linear layer. */
function transformer(vocabulary: number): Workload {
  const perToken = ({ hidden, layers }: Sizes): number => layers! * 8 * hidden! ** 2
  return {
    sizes: { batch: 16, length: 128, hidden: 256, heads: 4, layers: 2, vocabulary, classes: 10 },
    tiny: {
      batch: 2,
      length: 5,
      hidden: 16,
      heads: 4,
      layers: 2,
      vocabulary: Math.min(vocabulary, 50),
      classes: 10,
    },
    flops: (s) => 6 * s.batch! * s.length! * (perToken(s) + 2 * s.layers! * s.length! * s.hidden!),
    bytes: (s) =>
      ADAM * (perToken(s) + (s.length! + s.vocabulary!) * s.hidden!) +
      // Of a layer: what two norms, attention's four products and its sum, and two linear layers leave.
      ACTIVATION * s.layers! * s.batch! * s.length! * 10 * s.hidden!,
    sweep: SWEEP,
  }
}

/** One layer over the sequence, a linear layer on the last state (both directions'). */
function recurrent(gates: number, directions: number): Workload {
  return {
    sizes: { batch: 32, length: 64, hidden: 256, classes: 10 },
    tiny: { batch: 3, length: 5, hidden: 8, classes: 10 },
    // Forward; gradients of both matrices and of the state. Nobody reads the input's.
    flops: ({ batch, length, hidden }) => directions * length! * batch! * 2 * gates * hidden! ** 2 * 5,
    bytes: ({ batch, length, hidden }) =>
      directions * (ADAM * 2 * gates * hidden! ** 2 + ACTIVATION * length! * batch! * (gates + 1) * hidden!),
    sweep: SWEEP,
  }
}

export const WORKLOADS: Readonly<Record<string, Workload>> = {
  matmul: {
    sizes: { n: 512 },
    tiny: { n: 12 },
    flops: ({ n }) => 2 * n! ** 3,
    bytes: ({ n }) => 3 * FLOAT * n! ** 2,
  },
  /** With bits 7 the left operand's values are in 0 to 127, else in -128 to 127. */
  int8: {
    sizes: { n: 512, bits: 8 },
    tiny: { n: 12, bits: 8 },
    flops: ({ n }) => 2 * n! ** 3,
    bytes: ({ n }) => (2 + FLOAT) * n! ** 2,
  },
  eltwise: { sizes: { n: 4 << 20 }, tiny: { n: 40 }, flops: () => 0, bytes: ({ n }) => 2 * FLOAT * n! },
  softmax: rows,
  layernorm: rows,
  mlp: {
    sizes: { batch: 128, inputs: 784, hidden: 512, classes: 10 },
    tiny: { batch: 6, inputs: 20, hidden: 16, classes: 10 },
    flops: ({ batch, inputs, hidden, classes }) =>
      2 * batch! * (2 * inputs! * hidden! + 3 * hidden! ** 2 + 3 * hidden! * classes!),
    bytes: ({ batch, inputs, hidden, classes }) =>
      ADAM * (inputs! * hidden! + hidden! ** 2 + hidden! * classes!) + ACTIVATION * batch! * 2 * hidden!,
  },
  tcore: transformer(0),
  transformer: transformer(5000),
  gru: recurrent(3, 1),
  lstm: recurrent(4, 1),
  bidirectional: recurrent(3, 2),
}

/** What runs without `--only`. */
export const DEFAULT_BENCHES: readonly string[] = [
  'matmul:256',
  'matmul:512',
  'matmul:1024',
  'int8:256',
  'int8:512',
  'int8:1024',
  'int8:256:bits=7',
  'int8:512:bits=7',
  'int8:1024:bits=7',
  ...Object.keys(WORKLOADS).slice(2),
]

export interface Bench {
  /** As typed, e.g. `gru:length=128`. */
  name: string
  workload: string
  sizes: Sizes
  /** The sizes that the name gives. */
  chosen: Sizes
}

/**
 * `gru`, `gru:length=128:batch=8`, or `matmul:512`, where the number is the workload's first size. A name's own sizes hold
 * with `tiny` as well.
 * @throws RangeError for names that cannot be; its message says what can.
 */
export function parseBench(name: string, { tiny = false } = {}): Bench {
  const [workload = '', ...parts] = name.split(':')
  if (!Object.hasOwn(WORKLOADS, workload)) {
    throw new RangeError(`there is no workload '${workload}'; expected ${Object.keys(WORKLOADS).join(', ')}`)
  }
  const normal = WORKLOADS[workload]!
  const defaults = tiny ? normal.tiny : normal.sizes
  const chosen: Record<string, number> = {}
  for (const part of parts) {
    const [key, text] = part.includes('=') ? part.split('=') : [Object.keys(defaults)[0], part]
    const value = Number(text)
    if (key === undefined || !Object.hasOwn(defaults, key) || !Number.isInteger(value) || value < 1) {
      throw new RangeError(
        `'${part}' is no size of ${workload}; expected a whole number for one of ${Object.keys(defaults).join(', ')}`,
      )
    }
    chosen[key] = value
  }
  return { name, workload, sizes: { ...defaults, ...chosen }, chosen }
}

/** A workload with each size of its sweep in turn; itself where it has none. */
export function sweepOf(name: string): string[] {
  const { sweep } = WORKLOADS[name.split(':')[0]!] ?? {}
  if (!sweep || name.includes(':')) return [name]
  return Object.entries(sweep).flatMap(([key, all]) => all.map((value) => `${name}:${key}=${value}`))
}
