// The table and the curves of what was measured.

import { type Cell, lineChart, type LineSeries, markdownTable } from '../src/report'
import type { Summary } from './results'
import { parseBench, WORKLOADS } from './workloads'

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
function rounded(value: number | null | undefined): Cell {
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

/** For each workload and size of which there are several: a name for the file, and milliseconds by that size as SVG. */
export function charts(all: readonly Summary[]): { name: string; svg: string }[] {
  return Object.keys(WORKLOADS).flatMap((workload) => {
    const points = all.flatMap(({ bench, engine, ms }) => {
      const parsed = parseBench(bench)
      const [size, ...more] = Object.entries(parsed.chosen)
      if (parsed.workload !== workload || ms === undefined || !size || more.length > 0) return []
      return [{ engine, key: size[0], x: size[1], ms }]
    })
    return unique(points.map(({ key }) => key)).flatMap((key) => {
      const here = points.filter((point) => point.key === key)
      if (unique(here.map(({ x }) => x)).length < 2) return []
      const series = unique(here.map(({ engine }) => engine)).map((name): LineSeries => {
        const own = here.filter(({ engine }) => engine === name)
        return { name, points: own.map(({ x, ms }): [number, number] => [x, ms]).sort((a, b) => a[0] - b[0]) }
      })
      const title = `${workload}: cost of a step by ${key}`
      const svg = lineChart({ title, xLabel: key, yLabel: 'milliseconds', series })
      return [{ name: `${workload}-${key}`, svg }]
    })
  })
}

function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}
