// What was measured, one line of JSON for each process, and what the rounds come to.

import { existsSync, readFileSync } from 'node:fs'
import { type Measured, median } from './child'
import { parseBench, WORKLOADS } from './workloads'

/** Where and how a run was made; the same in all of its lines. */
export interface Setting {
  /** When it began, ISO 8601. */
  run: string
  command: string
  /** Model and number of the processors. */
  machine: string
  node: string
  /** The driver of WebGPU, where it was used. */
  gpu?: string
  tiny: boolean
}

export interface Line extends Setting, Partial<Measured> {
  engine: string
  bench: string
  round: number
  /** Why there is no measurement. */
  error?: string
}

export interface Summary extends Omit<Line, 'round'> {
  rounds: number
  /** Of the matrix products that the workload needs. */
  gflops?: number
  /** Products at the rate of a large one, and bytes at the rate of a copy, both measured in the same process. */
  floorMs?: number
}

/** @throws Error for a line that is none, with its number. */
export function readLines(file: string): Line[] {
  if (!existsSync(file)) throw new Error(`there is no file '${file}'`)
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.flatMap((text, i) => {
    if (text.trim() === '') return []
    try {
      const line: Line = JSON.parse(text)
      if (typeof line.engine === 'string' && typeof line.bench === 'string') return [line]
    } catch {
      // Said below.
    }
    throw new Error(`${file}, line ${i + 1}: expected what the benchmark writes, got ${text.slice(0, 80)}`)
  })
}

const MEDIANS = ['ms', 'firstMs', 'rssMiB', 'matmulGflops', 'copyGBs'] as const

/** The rounds of each engine and workload as one: medians; of several runs in the file the last one's. */
export function summarize(lines: readonly Line[]): Summary[] {
  const groups = new Map<string, Line[]>()
  for (const line of lines) {
    const key = `${line.bench}\n${line.engine}`
    const group = groups.get(key) ?? []
    groups.set(key, group[0] && group[0].run < line.run ? [line] : [...group, line])
  }
  return [...groups.values()].map((group) => {
    const done = group.filter(({ error }) => error === undefined)
    const { round: _, ...first } = done[0] ?? group[0]!
    const summary: Summary = { ...first, rounds: done.length }
    for (const key of MEDIANS) {
      const numbers = done.map((line) => line[key]).filter((number) => number !== undefined)
      if (numbers.length > 0) summary[key] = median(numbers)
    }
    return withFloor(summary)
  })
}

function withFloor(summary: Summary): Summary {
  const { ms, matmulGflops, copyGBs } = summary
  const { workload, sizes } = parseBench(summary.bench, summary)
  const { flops, bytes } = WORKLOADS[workload]!
  if (ms !== undefined && flops(sizes) > 0) summary.gflops = flops(sizes) / ms / 1e6
  if (matmulGflops !== undefined && copyGBs !== undefined) {
    summary.floorMs = flops(sizes) / matmulGflops / 1e6 + bytes(sizes) / copyGBs / 1e6
  }
  return summary
}
