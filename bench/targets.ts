// What the library is held to: ratios within one run, on two cores without a GPU. `--targets` measures what they compare
// and says which of them hold.

import { type Cell, markdownTable } from '../src/report'
import { rounded } from './report'
import type { Summary } from './results'

/** What a figure has to reach. */
type Goal =
  /** So many times as good as the best of `beside`. */
  | { times: number }
  /** The figure itself, at most. */
  | { most: number }
  /** So many times the floor, at most. */
  | { floors: number }
  /** GFLOP/s, at least. */
  | { rate: number }

type Figure = 'ms' | 'firstMs' | 'rssMiB' | 'dispatches'

export interface Target {
  bench: string
  engine: string
  figure: Figure
  /** Peers, the best of which counts; or our own other workload. */
  beside: readonly { bench: string; engine: string }[]
  must?: Goal
  aim?: Goal
}

const FIGURES: Record<Figure, string> = {
  ms: 'ms a step',
  firstMs: 'ms of the first step',
  rssMiB: 'peak MiB',
  dispatches: 'dispatches a step',
}

interface Ratios {
  threads?: 1 | 2
  beside: readonly string[]
  figure?: Figure
  must: number
  /** With fused multiply-add; default the same. */
  fma?: number
  aim?: Goal
}

/** Both engines of the cpu, without and with fused multiply-add. */
function cpu(
  benches: readonly string[],
  { threads = 2, beside, figure = 'ms', must, fma = must, aim }: Ratios,
): Target[] {
  return benches.flatMap((bench) =>
    ['', '+fma'].map(
      (variant): Target => ({
        bench,
        engine: `evenfold-cpu-${threads}t${variant}`,
        figure,
        beside: beside.map((engine) => ({ bench, engine })),
        must: { times: variant === '' ? must : fma },
        ...(aim && { aim }),
      }),
    ),
  )
}

/** Products of int8 beside those of float32; with 7 bits where relaxed SIMD can use that. */
function int8(bits: 7 | 8, times: number, aim?: Goal): Target[] {
  const engine = `evenfold-cpu-1t${bits === 7 ? '+fma' : ''}`
  return [256, 512, 1024].map((n) => ({
    bench: bits === 7 ? `int8:${n}:bits=7` : `int8:${n}`,
    engine,
    figure: 'ms',
    beside: [{ bench: `matmul:${n}`, engine }],
    must: { times },
    ...(aim && { aim }),
  }))
}

function dispatches(bench: string, must: number, aim: number): Target {
  return {
    bench,
    engine: 'evenfold-webgpu',
    figure: 'dispatches',
    beside: [],
    must: { most: must },
    aim: { most: aim },
  }
}

function webgpu(bench: string, goals: { must?: Goal; aim?: Goal }): Target {
  return {
    bench,
    engine: 'evenfold-webgpu',
    figure: 'ms',
    beside: [{ bench, engine: 'jax-js-webgpu' }],
    ...goals,
  }
}

const PRODUCTS = ['matmul:256', 'matmul:512', 'matmul:1024']
const ONE_THREAD = ['jax-js-1t', 'tfjs-wasm']
const TWO_THREADS = ['jax-js-2t', 'tfjs-wasm']
const NEAR_FLOOR: Goal = { floors: 1.3 }
/** The five-thousand-word table may cost this much of the step without it. */
const EMBEDDING_SHARE = 1.15

export const TARGETS: readonly Target[] = [
  ...cpu(PRODUCTS, { threads: 1, beside: ['tfjs-wasm'], must: 0.95, fma: 1.2, aim: { rate: 60 } }),
  ...cpu(PRODUCTS, { beside: ['jax-js-2t'], must: 1.1, fma: 1.4, aim: { times: 1.9 } }),
  ...int8(8, 1.3),
  ...int8(7, 3, { rate: 250 }),
  ...cpu(['eltwise'], { threads: 1, beside: ONE_THREAD, must: 5, aim: { floors: 1 } }),
  ...cpu(['layernorm'], { threads: 1, beside: ONE_THREAD, must: 4, aim: { floors: 1 } }),
  ...cpu(['softmax'], { beside: TWO_THREADS, must: 1.2, aim: { times: 2 } }),
  ...cpu(['mlp'], { beside: ['jax-js-2t'], must: 1.3, fma: 1.4, aim: NEAR_FLOOR }),
  ...cpu(['tcore'], { beside: ['jax-js-2t'], must: 1.4, fma: 1.7, aim: NEAR_FLOOR }),
  ...['', '+fma'].map((variant): Target => {
    const engine = `evenfold-cpu-2t${variant}`
    const beside = [{ bench: 'tcore', engine }]
    return { bench: 'transformer', engine, figure: 'ms', beside, must: { times: 1 / EMBEDDING_SHARE } }
  }),
  ...cpu(['gru', 'lstm', 'bidirectional'], { beside: ['jax-js-2t'], must: 2.5, fma: 3.5, aim: NEAR_FLOOR }),
  ...cpu(['mlp', 'tcore', 'gru'], { beside: ['jax-js-2t'], figure: 'firstMs', must: 2 }),
  ...cpu(['mlp', 'tcore', 'gru'], { beside: ['jax-js-2t'], figure: 'rssMiB', must: 1 / 0.8 }),
  dispatches('mlp', 40, 20),
  dispatches('tcore', 200, 60),
  dispatches('gru', 900, 30),
  webgpu('matmul:512', { must: { times: 2 } }),
  webgpu('gru', { must: { times: 2 } }),
  ...['eltwise', 'softmax', 'layernorm'].map((bench) => webgpu(bench, { aim: { times: 4 } })),
]

/** Whether a target needs this measurement. */
export function isCompared(bench: string, engine: string): boolean {
  return TARGETS.some((target) =>
    [target, ...target.beside, ...torchBeside(target)].some(
      (one) => one.bench === bench && one.engine === engine,
    ),
  )
}

function torchBeside({ bench, engine, figure }: Target): { bench: string; engine: string }[] {
  const threads = /-(\dt)/.exec(engine)?.[1]
  return threads && figure === 'ms' ? [{ bench, engine: `torch-${threads}` }] : []
}

/** A target and what was measured of it. */
export interface Verdict extends Target {
  ours: number | undefined
  theirs?: { engine: string; bench: string; value: number }
  /** Theirs divided by ours. */
  times?: number
  floors?: number
  gflops?: number
  torch?: number
  /** Undefined where something is missing. */
  holds?: boolean
  reached?: boolean
}

/** Only figures of one run are compared. */
export function judge(all: readonly Summary[]): Verdict[] {
  return TARGETS.map((target): Verdict => {
    const own = all.find((one) => one.bench === target.bench && one.engine === target.engine)
    const ours = own?.[target.figure]
    if (!own || ours === undefined) return { ...target, ours: undefined }
    const figureAt = (at: { bench: string; engine: string }): number | undefined =>
      all.find((one) => one.run === own.run && one.bench === at.bench && one.engine === at.engine)?.[
        target.figure
      ]
    const found = target.beside.flatMap((at) => {
      const value = figureAt(at)
      return value === undefined ? [] : [{ ...at, value }]
    })
    const theirs = found.sort((a, b) => a.value - b.value)[0]
    const torch = torchBeside(target).map(figureAt)[0]
    const inMs = target.figure === 'ms'
    const known = {
      ...target,
      ours,
      ...(theirs && { theirs, times: theirs.value / ours }),
      ...(inMs && own.floorMs !== undefined && { floors: ours / own.floorMs }),
      ...(inMs && own.gflops !== undefined && { gflops: own.gflops }),
      ...(torch !== undefined && { torch }),
    }
    return { ...known, ...compare('holds', known, target.must), ...compare('reached', known, target.aim) }
  })
}

function compare(key: 'holds' | 'reached', verdict: Verdict, goal: Goal | undefined): Partial<Verdict> {
  const value = goal && valueFor(goal, verdict)
  if (goal === undefined || value === undefined) return {}
  const limit = limitOf(goal)
  return { [key]: 'most' in goal || 'floors' in goal ? value <= limit : value >= limit }
}

function valueFor(goal: Goal, { times, ours, floors, gflops }: Verdict): number | undefined {
  if ('times' in goal) return times
  if ('most' in goal) return ours
  return 'floors' in goal ? floors : gflops
}

function limitOf(goal: Goal): number {
  if ('times' in goal) return goal.times
  if ('most' in goal) return goal.most
  return 'floors' in goal ? goal.floors : goal.rate
}

/** Markdown: a row for each target that was measured, then how many of the musts hold. */
export function targetTable(verdicts: readonly Verdict[]): string {
  const measured = verdicts.filter(({ ours }) => ours !== undefined)
  const musts = verdicts.filter(({ must }) => must)
  const count = (holds: boolean | undefined) => musts.filter((verdict) => verdict.holds === holds).length
  const table = markdownTable({
    columns: [
      ...['workload', 'figure', 'evenfold', 'is', 'beside', 'is there', 'ratio'],
      ...['must', 'aim', 'of the floor', 'PyTorch'],
    ],
    rows: measured.map(rowOf),
  })
  return `${table}
Of ${musts.length} musts ${count(true)} hold, ${count(false)} do not, ${count(undefined)} are not measured.
`
}

function rowOf(verdict: Verdict): Cell[] {
  const { bench, figure, engine, ours, theirs, times, must, holds, aim, reached, floors, torch } = verdict
  const own = theirs?.engine === engine
  return [
    bench,
    FIGURES[figure],
    engine,
    rounded(ours),
    theirs ? (own ? theirs.bench : theirs.engine) : '–',
    rounded(theirs?.value),
    times === undefined ? '–' : `${times.toFixed(2)}x`,
    goalCell(must, holds, ['holds', 'does not hold']),
    goalCell(aim, reached, ['reached', 'not reached']),
    floors === undefined ? '–' : `${floors.toFixed(2)}x`,
    rounded(torch),
  ]
}

function goalCell(goal: Goal | undefined, met: boolean | undefined, [yes, no]: [string, string]): string {
  if (!goal) return '–'
  return `${described(goal)}: ${met === undefined ? 'not measured' : met ? yes : no}`
}

function described(goal: Goal): string {
  if ('times' in goal) return `${Number(goal.times.toFixed(2))}x`
  if ('most' in goal) return `at most ${goal.most}`
  return 'floors' in goal ? `${goal.floors}x the floor` : `${goal.rate} GFLOP/s`
}
