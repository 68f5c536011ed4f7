// `evenfold/report`: what a run came to, as pages and pictures that need nothing else to be read. Charts are drawn by
// Apache ECharts, an optional peer: only this path needs it.

export { lineChart, type LineChartOptions, type LineSeries } from './line-chart'
export type { ChartOptions } from './svg'
