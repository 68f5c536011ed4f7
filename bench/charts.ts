// Pictures of what was measured: every engine's time for each workload, and how cost grows with a size.

import { LineChart, ScatterChart } from 'echarts/charts'
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components'
import { use } from 'echarts/core'
import type { Scheme } from '../src/report/palette'
import { renderSvg } from '../src/report/svg'
import { unique } from './report'
import type { Summary } from './results'
import { parseBench, WORKLOADS } from './workloads'

/** A measurement that came to something. */
type Point = Summary & { ms: number }

/** For `--report`: SVGs that follow the reader's light or dark scheme, by the names of their files. */
export function charts(all: readonly Summary[]): { name: string; svg: string }[] {
  const measured = all.filter((one): one is Point => one.ms !== undefined)
  const compared = measured.filter(({ bench }) => sweptSize(bench) === null)
  const panels = panelsOf(measured)
  return [
    ...(compared.length > 0 ? [{ name: 'results', svg: overview(compared) }] : []),
    ...(panels.length > 0 ? [{ name: 'sweep', svg: sweep(panels) }] : []),
  ]
}

/** A family of engines shares a colour, a variant has the same marker in each. */
const FAMILIES = ['evenfold', 'jax-js', 'tfjs', 'ort', 'torch']
const PLUS = 'path://M3 0h4v3h3v4h-3v3h-4v-3h-3v-4h3z'
const MARKERS = { '1t': 'circle', '1t+fma': 'triangle', '2t': 'rect', '2t+fma': 'diamond', webgpu: PLUS }

function looks(engine: string, { series }: Scheme): { color: string; symbol: string } {
  const family = FAMILIES.findIndex((name) => engine.startsWith(name))
  const variant = Object.entries(MARKERS).findLast(([name]) => engine.endsWith(name))
  return { color: series[Math.max(0, family)]!, symbol: variant?.[1] ?? 'circle' }
}

const WIDTH = 960
const ROW = 34
const TOP = 56

function overview(points: readonly Point[]): string {
  const benches = unique(points.map(({ bench }) => bench))
  const engines = unique(points.map(({ engine }) => engine))
  const legend = legendOf(engines)
  const height = Math.max(200, TOP + ROW * benches.length + 56 + legend.height)
  const options = { title: 'Milliseconds a step: further left is faster', width: WIDTH, height }
  use([ScatterChart, GridComponent, LegendComponent, TitleComponent])
  const of = (bench: string) =>
    points.filter((point) => point.bench === bench).map(({ engine, ms }) => `${engine} ${short(ms)}`)
  const description = benches.map((bench) => `${bench}: ${of(bench).join(', ')}`).join('; ')
  return renderSvg('overview', options, `${description}.`, (scheme) => ({
    ...legend.draw(scheme),
    grid: { left: 128, right: 28, top: TOP, height: ROW * benches.length },
    xAxis: logAxis('milliseconds', scheme),
    yAxis: {
      type: 'category',
      data: benches,
      inverse: true,
      axisLabel: { color: scheme.text, fontSize: 13 },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: scheme.muted } },
      splitLine: { show: true, lineStyle: { color: scheme.grid } },
    },
    series: engines.map((name) => ({
      ...{ type: 'scatter', name, silent: true, symbolSize: 11 },
      ...looks(name, scheme),
      itemStyle: { opacity: 0.9, borderColor: scheme.background, borderWidth: 1 },
      data: points.filter(({ engine }) => engine === name).map(({ ms, bench }) => [ms, bench]),
    })),
  }))
}

interface Panel {
  title: string
  key: string
  points: readonly (Point & { size: number })[]
}

/** The one size that a name gives, if it gives one and the workload is swept by it. */
function sweptSize(bench: string): { workload: string; key: string; size: number } | null {
  const { workload, chosen } = parseBench(bench)
  const [first, ...more] = Object.entries(chosen)
  if (!first || more.length > 0 || !WORKLOADS[workload]!.sweep?.[first[0]]) return null
  return { workload, key: first[0], size: first[1] }
}

function panelsOf(measured: readonly Point[]): Panel[] {
  return Object.entries(WORKLOADS).flatMap(([workload, { sweep = {} }]) =>
    Object.keys(sweep).flatMap((key): Panel[] => {
      const points = measured.flatMap((point) => {
        const at = sweptSize(point.bench)
        return at?.workload === workload && at.key === key ? [{ ...point, size: at.size }] : []
      })
      const sizes = unique(points.map(({ size }) => size))
      return sizes.length < 2 ? [] : [{ title: `${workload} by ${key}`, key, points }]
    }),
  )
}

const COLUMNS = 3
const PANEL = 270

/** Small charts side by side, both axes logarithmic: a straight line is a power, its slope the exponent. */
function sweep(panels: readonly Panel[]): string {
  const engines = unique(panels.flatMap(({ points }) => points.map(({ engine }) => engine)))
  const legend = legendOf(engines)
  const rows = Math.ceil(panels.length / COLUMNS)
  const columns = Math.min(COLUMNS, panels.length)
  const cell = WIDTH / columns
  const height = TOP + PANEL * rows + legend.height
  const options = { title: 'Milliseconds a step, by one size', width: WIDTH, height }
  use([LineChart, GridComponent, LegendComponent, TitleComponent])
  const description = panels.map(({ title, points }) => {
    const most = Math.max(...points.map(({ size }) => size))
    const last = points.filter(({ size }) => size === most)
    return `${title}: at ${most} ${last.map(({ engine, ms }) => `${engine} ${short(ms)}`).join(', ')}`
  })
  return renderSvg('sweep', options, `${description.join('; ')}.`, (scheme) => ({
    ...legend.draw(scheme),
    grid: panels.map((_, i) => ({
      left: cell * (i % columns) + 58,
      width: cell - 78,
      top: TOP + PANEL * Math.floor(i / columns) + 12,
      height: PANEL - 78,
    })),
    xAxis: panels.map(({ title, points }, i) => ({
      type: 'category',
      gridIndex: i,
      data: unique(points.map(({ size }) => size)).sort((a, b) => a - b),
      name: title,
      nameLocation: 'middle',
      nameGap: 28,
      nameTextStyle: { color: scheme.text, fontSize: 13 },
      axisLabel: { color: scheme.muted },
      axisLine: { lineStyle: { color: scheme.muted } },
      axisTick: { show: false },
    })),
    yAxis: panels.map((_, i) => ({ ...logAxis('', scheme), gridIndex: i })),
    series: panels.flatMap(({ points }, i) =>
      engines.map((name) => ({
        ...{ type: 'line', name, silent: true, xAxisIndex: i, yAxisIndex: i },
        ...looks(name, scheme),
        ...{ symbolSize: 7, showAllSymbol: true, lineStyle: { color: looks(name, scheme).color, width: 2 } },
        data: points.filter(({ engine }) => engine === name).map(({ size, ms }) => [String(size), ms]),
      })),
    ),
  }))
}

function logAxis(name: string, { text, muted, grid }: Scheme): object {
  return {
    type: 'log',
    name,
    nameLocation: 'middle',
    nameGap: 30,
    nameTextStyle: { color: text, fontSize: 13 },
    axisLabel: { color: muted },
    axisLine: { show: true, lineStyle: { color: muted } },
    splitLine: { lineStyle: { color: grid } },
  }
}

/** Below the drawing, in as many rows as the names need. */
function legendOf(engines: readonly string[]): { height: number; draw: (scheme: Scheme) => object } {
  const letters = engines.reduce((sum, name) => sum + name.length, 0)
  const rows = Math.ceil((8 * letters + 58 * engines.length) / (WIDTH - 64))
  const height = 24 + 28 * rows
  const draw = ({ text }: Scheme) => ({
    legend: {
      ...{ left: 'center', bottom: 10, width: WIDTH - 64, itemGap: 28, itemWidth: 14 },
      textStyle: { color: text, fontSize: 12 },
      data: [...engines],
    },
  })
  return { height, draw }
}

function short(ms: number): string {
  return `${Number(ms.toPrecision(3))} ms`
}
