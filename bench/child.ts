// One measurement in a process of its own: the job comes as JSON in the arguments, the result goes out as a line of JSON.

import type { Sizes } from './workloads'

export interface Job {
  engine: string
  workload: string
  sizes: Sizes
  /** Steps before the measured ones, the first included. */
  warm: number
  /** Measured steps, and the milliseconds that they take at least. */
  runs: number
  minMs: number
  /** A step slower than this is measured fewer times. */
  slowMs: number
}

export interface Counts {
  dispatches: number
  /** null on the cpu. */
  submits: number | null
}

/** What the machine gave the engine in the same process, just after the measurement. */
export interface Rates {
  matmulGflops: number
  copyGBs: number
}

export interface Prepared {
  /** One step; resolves when it is done, to the loss where there is one. */
  step(): Promise<number | undefined>
  /** One more step, counted. */
  counts?(): Promise<Counts>
  rates?(): Promise<Rates>
}

export interface Measured extends Partial<Rates> {
  ms: number
  minMs: number
  /** The first step, compilation included. */
  firstMs: number
  /** Steps measured. */
  steps: number
  /** Peak resident memory of the process. */
  rssMiB: number
  dispatches?: number
  submits?: number | null
  firstLoss?: number
  /** At the fifth step. */
  loss?: number
}

const LOSS_STEP = 5

export async function serve(prepare: (job: Job) => Promise<Prepared>): Promise<void> {
  // Peers talk to the console.
  console.log = console.info = console.debug = () => {}
  let line: Measured | { error: string }
  try {
    const job: Job = JSON.parse(process.argv[2]!)
    line = await measure(await prepare(job), job)
  } catch (error) {
    line = { error: messageOf(error) }
  }
  process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0))
}

async function measure(
  { step, counts, rates }: Prepared,
  { warm, runs, minMs, slowMs }: Job,
): Promise<Measured> {
  const losses: number[] = []
  const timed = async (): Promise<number> => {
    const start = performance.now()
    const loss = await step()
    const ms = performance.now() - start
    if (loss !== undefined) losses.push(loss)
    return ms
  }
  const firstMs = await timed()
  // The first step compiles; how slow the others are is seen from the second on.
  let warmMs = 0
  for (let i = 1; i < warm && warmMs < slowMs; i++) warmMs = await timed()
  const times: number[] = []
  const needed = warmMs < slowMs ? runs : 1
  for (let total = 0; times.length < needed || (total < minMs && times.length < 60); ) {
    const ms = await timed()
    times.push(ms)
    total += ms
  }
  const rssMiB = Math.round(process.resourceUsage().maxRSS / 1024)
  const [firstLoss, loss] = [losses[0], losses[LOSS_STEP - 1]]
  return {
    ms: median(times),
    minMs: Math.min(...times),
    firstMs,
    steps: times.length,
    rssMiB,
    ...(firstLoss !== undefined && { firstLoss }),
    ...(loss !== undefined && { loss }),
    ...(await counts?.()),
    ...(await rates?.()),
  }
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
