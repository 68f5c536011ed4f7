// Lines over a common axis: learning curves.

import { LineChart } from 'echarts/charts'
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components'
import { use } from 'echarts/core'
import { ArgumentError } from '../errors'
import type { Scheme } from './palette'
import { type ChartOptions, renderSvg } from './svg'
import { printable } from './text'

export interface LineSeries {
  /** In the legend; each series has another one. */
  name: string
  /** [x, y], joined in this order. A y that is NaN or infinite is a gap; x must be finite. */
  points: readonly (readonly [x: number, y: number])[]
  /** Default false. */
  dashed?: boolean
  /**
   * Which of the colours and markers, from 0; default the place of the series. Give two series the same one to show
   * that they belong together, and make one of them dashed.
   */
  color?: number
}

export interface LineChartOptions extends ChartOptions {
  xLabel: string
  yLabel: string
  series: readonly LineSeries[]
  /** Ends of the y axis; what lies outside is not drawn. Default: what holds all points. */
  yRange?: readonly [low: number, high: number]
}

/** Markers tell lines apart where colours do not. */
const MARKERS = ['circle', 'triangle', 'rect', 'diamond']
/** So many a line, and always where a point has no neighbours to join. */
const MARKERS_A_LINE = 8

/**
 * A labelled chart of lines as one self-contained SVG: title, axis names, legend; colours of Okabe and Ito and a marker
 * of its own for each line. Deterministic: the same options give the same text.
 *
 * ```ts
 * lineChart({ title: 'Loss', xLabel: 'step', yLabel: 'nats', series: [{ name: 'training', points: [[1, 0.69], [2, 0.5]] }] })
 * ```
 * @throws ArgumentError without series, for one without a finite point, for names that are empty or used twice, for an x
 * that is not finite, and for a yRange that is no range.
 */
export function lineChart(options: LineChartOptions): string {
  const { series, yRange } = options
  const xLabel = labelOf('xLabel', options.xLabel)
  const yLabel = labelOf('yLabel', options.yLabel)
  const named = series.map((one) => ({ ...one, name: labelOf('the name of a series', one.name) }))
  check(named, yRange)
  use([LineChart, GridComponent, LegendComponent, TitleComponent])
  const description = `${yLabel} by ${xLabel}. ${named.map(summaryOf).join('; ')}.`
  return renderSvg('lineChart', options, description, (scheme, { width }) => ({
    ...legend(named, scheme, width),
    xAxis: axis(xLabel, scheme),
    yAxis: { ...axis(yLabel, scheme), ...(yRange && { min: yRange[0], max: yRange[1] }) },
    series: named.map((one, i) => line(one, one.color ?? i, scheme)),
  }))
}

function labelOf(what: string, text: string): string {
  const clean = printable(text)
  if (clean.trim() === '') throw new ArgumentError(`lineChart: ${what} is empty; expected what it stands for`)
  return clean
}

function check(series: readonly LineSeries[], yRange: LineChartOptions['yRange']): void {
  if (series.length === 0) throw new ArgumentError('lineChart: series is empty; expected at least one line')
  const names = new Set<string>()
  for (const { name, points, color } of series) {
    const where = `lineChart: series '${name}'`
    if (names.has(name)) throw new ArgumentError(`${where} occurs twice; give each line its own name`)
    names.add(name)
    if (color !== undefined && !(Number.isInteger(color) && color >= 0)) {
      throw new ArgumentError(`${where}: color is ${color}; expected a whole number from 0`)
    }
    const bad = points.find(([x]) => !Number.isFinite(x))
    if (bad) throw new ArgumentError(`${where} has a point with x = ${bad[0]}; expected a finite number`)
    if (!points.some(([, y]) => Number.isFinite(y))) {
      throw new ArgumentError(`${where} has ${points.length} points, none of them finite; leave it out`)
    }
  }
  if (yRange && !(yRange.every(Number.isFinite) && yRange[0] < yRange[1])) {
    throw new ArgumentError(
      `lineChart: yRange is [${yRange.join(', ')}]; expected [low, high] with low < high`,
    )
  }
}

function summaryOf({ name, points }: LineSeries): string {
  const [x, y] = points.findLast(([, y]) => Number.isFinite(y))!
  return `${name}: ${Number(y.toPrecision(4))} at ${x}, the last of ${points.length} points`
}

function axis(name: string, { muted, text, grid }: Scheme): object {
  return {
    type: 'value',
    // The range of the data, not from 0.
    scale: true,
    name,
    nameLocation: 'middle',
    nameTextStyle: { color: text, fontSize: 13 },
    axisLabel: { color: muted },
    axisLine: { show: true, lineStyle: { color: muted } },
    axisTick: { lineStyle: { color: muted } },
    splitLine: { lineStyle: { color: grid } },
  }
}

function line(
  { name, points, dashed = false }: LineSeries,
  place: number,
  { series, background }: Scheme,
): object {
  const color = series[place % series.length]!
  const hollow = Math.floor(place / MARKERS.length) % 2 === 1
  // Past the palette's end a line has another pattern.
  const again = Math.floor(place / series.length) % 2 === 1
  const every = Math.max(1, Math.ceil(points.length / MARKERS_A_LINE))
  const drawn = (i: number) => Number.isFinite(points[i]?.[1])
  return {
    type: 'line',
    name,
    color,
    symbol: MARKERS[place % MARKERS.length],
    symbolSize: 7,
    showAllSymbol: true,
    silent: true,
    emphasis: { disabled: true },
    // Its own colour: else the line would take that of hollow markers, the background.
    lineStyle: {
      color,
      width: 2,
      type: again ? (dashed ? [2, 2] : [10, 3, 2, 3]) : dashed ? [6, 4] : 'solid',
    },
    // Full markers for the first four, then hollow ones.
    itemStyle: hollow
      ? { color: background, borderColor: color, borderWidth: 2 }
      : { color, borderColor: background, borderWidth: 1 },
    data: points.map(([x, y], i) => ({
      value: [x, Number.isFinite(y) ? y : Number.NaN],
      ...((i + place) % every !== 0 && (drawn(i - 1) || drawn(i + 1)) && { symbol: 'none' }),
    })),
  }
}

/** Below the drawing, in as many rows as the names need. */
function legend(series: readonly LineSeries[], { text }: Scheme, width: number): object {
  const longest = width - 96
  let rows = 1
  let used = 0
  for (const { name } of series) {
    const item = Math.min(longest, 8 * name.length) + 60
    if (used + item > width - 32 && used > 0) {
      rows++
      used = 0
    }
    used += item
  }
  return {
    legend: {
      left: 'center',
      bottom: 10,
      itemGap: 26,
      itemWidth: 30,
      textStyle: { color: text, fontSize: 12, width: longest, overflow: 'truncate' },
      data: series.map(({ name }) => name),
    },
    grid: { left: 64, right: 28, top: 56, bottom: 44 + 34 * rows },
  }
}
