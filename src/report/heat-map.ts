// A matrix as coloured cells: attention weights, confusion counts.

import { HeatmapChart } from 'echarts/charts'
import { GridComponent, TitleComponent, VisualMapComponent } from 'echarts/components'
import { use } from 'echarts/core'
import { ArgumentError } from '../errors'
import type { Scheme } from './palette'
import { type ChartOptions, renderSvg } from './svg'
import { printable } from './text'

export interface HeatMapOptions extends ChartOptions {
  /** What the rows are, e.g. 'output'; default: not said. */
  rowLabel?: string
  columnLabel?: string
  /** Names of the rows, from the top. The same one may occur twice. */
  rows: readonly string[]
  /** Names of the columns, from the left. */
  columns: readonly string[]
  /** `values[row][column]`, finite. */
  values: readonly ArrayLike<number>[]
  /** Values of the palest and of the strongest colour; what lies outside takes the nearest. Default: 0 (or the least value, if below) to the greatest. */
  range?: readonly [low: number, high: number]
  /** Digits after the point of the number in each cell; null for none. Default 2. */
  digits?: number | null
}

/** Pixels of a cell, if neither width nor height is given. */
const CELL = 44
/** What a column's name may have and stand level. */
const LEVEL_LETTERS = 5

/**
 * A labelled heat map as one self-contained SVG: the first row on top, columns named above, a scale below, and the number
 * in each cell. One hue from pale to strong (from dim to bright in the dark). Deterministic.
 *
 * ```ts
 * heatMap({ title: 'Attention', rows: ['c', 'b'], columns: ['b', 'c'], values: [[0.1, 0.9], [0.8, 0.2]] })
 * ```
 * @throws ArgumentError without rows or columns, for values of another shape or that are not finite, and for a range that
 * is none.
 */
export function heatMap(options: HeatMapOptions): string {
  const { digits = 2 } = options
  if (digits !== null && !(Number.isInteger(digits) && digits >= 0 && digits <= 20)) {
    throw new ArgumentError(`heatMap: digits is ${digits}; expected a whole number from 0 to 20, or null`)
  }
  const rows = options.rows.map(printable)
  const columns = options.columns.map(printable)
  const values = checkedValues(options)
  const range = checkedRange(options, values)
  use([HeatmapChart, GridComponent, TitleComponent, VisualMapComponent])
  // Long names of columns stand aslant.
  const longest = Math.max(...columns.map((name) => name.length))
  const slant = longest > LEVEL_LETTERS ? 60 : 0
  const rise = slant > 0 ? 7 * longest : 0
  const left = 40 + Math.max(...rows.map((name) => 8 * name.length)) + (options.rowLabel ? 24 : 0)
  const top = rise + (options.columnLabel ? 104 : 76)
  const size = { width: left + 24 + CELL * columns.length, height: top + 64 + CELL * rows.length }
  const titleWidth = Math.min(720, 48 + 9 * options.title.length)
  const sized = {
    width: Math.max(320, titleWidth, size.width),
    height: Math.max(200, size.height),
    ...options,
  }
  return renderSvg('heatMap', sized, descriptionOf(rows, columns, values), (scheme) => ({
    grid: { left, top, right: 24, bottom: 64 },
    xAxis: axis(columns, options.columnLabel, scheme, { position: 'top', nameGap: 28 + rise, slant }),
    yAxis: axis(rows, options.rowLabel, scheme, { inverse: true, nameGap: left - 28, slant: 0 }),
    visualMap: scale(range, scheme),
    series: [
      {
        type: 'heatmap',
        silent: true,
        emphasis: { disabled: true },
        itemStyle: { borderColor: scheme.background, borderWidth: 1 },
        data: values.flatMap((row, y) => row.map((value, x) => cell([x, y, value], range, digits, scheme))),
      },
    ],
  }))
}

function checkedValues({ rows, columns, values }: HeatMapOptions): number[][] {
  if (rows.length === 0 || columns.length === 0) {
    throw new ArgumentError(
      `heatMap: ${rows.length} rows and ${columns.length} columns; expected at least one of each`,
    )
  }
  if (values.length !== rows.length) {
    throw new ArgumentError(
      `heatMap: values has ${values.length} rows; expected ${rows.length}, as rows has names`,
    )
  }
  return values.map((row, y) => {
    if (row.length !== columns.length) {
      throw new ArgumentError(
        `heatMap: values[${y}] has ${row.length} numbers; expected ${columns.length}, as columns has names`,
      )
    }
    const bad = Array.from(row).find((value) => !Number.isFinite(value))
    if (bad !== undefined)
      throw new ArgumentError(`heatMap: values[${y}] has ${bad}; expected finite numbers`)
    return Array.from(row)
  })
}

function checkedRange({ range }: HeatMapOptions, values: number[][]): readonly [number, number] {
  if (range === undefined) {
    const [least, most] = extremes(values)
    const low = Math.min(0, least)
    return [low, most > low ? most : low + 1]
  }
  if (!(range.every(Number.isFinite) && range[0] < range[1])) {
    throw new ArgumentError(`heatMap: range is [${range.join(', ')}]; expected [low, high] with low < high`)
  }
  return range
}

function extremes(values: number[][]): [least: number, most: number] {
  return values
    .flat()
    .reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ] as [number, number])
}

/** Where each row has its greatest value. */
function descriptionOf(rows: string[], columns: string[], values: number[][]): string {
  const peaks = values.map((row, y) => {
    const x = row.indexOf(Math.max(...row))
    return `${rows[y]}: ${Number(row[x]!.toPrecision(3))} at ${columns[x]}`
  })
  return `Greatest value of each row. ${peaks.join('; ')}.`
}

function axis(
  names: string[],
  name: string | undefined,
  { text }: Scheme,
  { slant, ...more }: { slant: number; nameGap: number; position?: string; inverse?: boolean },
): object {
  return {
    type: 'category',
    data: names,
    ...(name && {
      name: printable(name),
      nameLocation: 'middle',
      nameTextStyle: { color: text, fontSize: 13 },
    }),
    axisLabel: { color: text, fontSize: 13, interval: 0, rotate: slant },
    axisLine: { show: false },
    axisTick: { show: false },
    ...more,
  }
}

function scale([min, max]: readonly [number, number], { ramp, muted, background }: Scheme): object {
  const width = (max - min) / ramp.length
  return {
    type: 'piecewise',
    orient: 'horizontal',
    left: 'center',
    bottom: 16,
    itemWidth: 24,
    itemHeight: 12,
    itemGap: 0,
    itemSymbol: 'rect',
    selectedMode: false,
    showLabel: false,
    // The spaces keep the ends from touching the scale.
    text: [max, min].map((end) => `\u00a0${shortNumber(end)}\u00a0`),
    textStyle: { color: muted, fontSize: 12 },
    outOfRange: { color: background },
    pieces: ramp.map((color, i) => ({
      ...(i > 0 && { gte: min + i * width }),
      ...(i < ramp.length - 1 && { lt: min + (i + 1) * width }),
      color,
    })),
  }
}

const shortNumber = (value: number): string => String(Number(value.toPrecision(3)))

function cell(
  value: [x: number, y: number, value: number],
  [low, high]: readonly [number, number],
  digits: number | null,
  { text, onStrong }: Scheme,
): object {
  const isStrong = value[2] >= (low + high) / 2
  const label = digits !== null && {
    show: true,
    formatter: value[2].toFixed(digits),
    color: isStrong ? onStrong : text,
    fontSize: 11,
  }
  return { value, ...(label && { label }) }
}
