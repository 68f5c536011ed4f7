// `evenfold/report`: what a run came to, as pages and pictures that need nothing else to be read. Charts are drawn by
// Apache ECharts, an optional peer: only this path needs it.

export type { AttentionReading, AttentionText } from './attention'
export {
  type AttentionSection,
  type ChartsSection,
  type FactsSection,
  htmlReport,
  type HtmlReportOptions,
  type ReportSection,
  type TableSection,
  type TextSection,
  writeReport,
} from './html'
export { heatMap, type HeatMapOptions } from './heat-map'
export { lineChart, type LineChartOptions, type LineSeries } from './line-chart'
export type { ChartOptions } from './svg'
export { type Cell, markdownTable, type ShareCell, type TableOptions } from './table'
