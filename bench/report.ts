// The table of what was measured.

import { type Cell, markdownTable } from '../src/report'
import type { Summary } from './results'

/** Markdown: where it was measured, milliseconds side by side, then everything about each figure, then what failed. */
export function tables(all: readonly Summary[]): string {
  const engines = unique(all.map(({ engine }) => engine))
  const benches = unique(all.map(({ bench }) => bench))
  const at = (bench: string, engine: string) => all.find((s) => s.bench === bench && s.engine === engine)
  const overview = markdownTable({
    columns: ['ms a step', ...engines],
    rows: benches.map((bench) => [bench, ...engines.map((engine) => rounded(at(bench, engine)?.ms))]),
  })
  const details = markdownTable({
    columns: DETAILS,
    rows: all.filter(({ ms }) => ms !== undefined).map(detailsOf),
  })
  const failed = all.flatMap(({ bench, engine, error, ms }) =>
    ms === undefined ? [`- ${engine}, ${bench}: ${error ?? 'not measured'}\n`] : [],
  )
  return [settings(all), overview, details, failed.join('')].filter((part) => part !== '').join('\n')
}

const DETAILS = [
  'workload',
  'engine',
  'ms',
  'floor ms',
  'GFLOP/s',
  'first step ms',
  'peak MiB',
  'dispatches',
  'submits',
  'first loss',
  'fifth loss',
]

function detailsOf(s: Summary): Cell[] {
  const numbers = [
    s.ms,
    s.floorMs,
    s.gflops,
    s.firstMs,
    s.rssMiB,
    s.dispatches,
    s.submits,
    s.firstLoss,
    s.loss,
  ]
  return [s.bench, s.engine, ...numbers.map(rounded)]
}

/** Three digits are more than a repetition keeps; losses show four. */
export function rounded(value: number | null | undefined): Cell {
  if (value === undefined || value === null) return '–'
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}

function settings(all: readonly Summary[]): string {
  const of = (line: Summary): string => {
    const gpu = line.gpu ? `; WebGPU by ${line.gpu}` : ''
    const tiny = line.tiny ? ' Tiny sizes: no measurement.' : ''
    return `${line.machine}${gpu}; Node ${line.node}; ${line.run.slice(0, 10)}; \`${line.command}\`.${tiny}\n`
  }
  return unique(all.map(of)).join('\n')
}

export function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}
