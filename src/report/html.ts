// A report as one HTML page that needs nothing else: no script, no request, light and dark by the reader's choice. It is
// made of sections, so that whoever measured something else can add what they found. All texts are escaped.

import { platform } from '#platform'
import { ArgumentError } from '../errors'
import { type AttentionText, htmlAttention } from './attention'
import { lineChart, type LineChartOptions } from './line-chart'
import { styleSheet } from './style'
import { formatNumber, htmlTable, type TableOptions } from './table'
import { escapeText } from './text'

interface Titled {
  /** The section's heading. */
  title: string
  /** What is to be known before the content is read: how it was measured, what it does not tell. */
  note?: string
}

/** Paragraphs. */
export interface TextSection extends Titled {
  kind: 'text'
  paragraphs: readonly string[]
}
/** Names and values: settings, versions, sizes. */
export interface FactsSection extends Titled {
  kind: 'facts'
  facts: Readonly<Record<string, string | number>>
}
/** Drawings, side by side where there is room. */
export interface ChartsSection extends Titled {
  kind: 'charts'
  charts: readonly LineChartOptions[]
}
export interface TableSection extends Titled, TableOptions {
  kind: 'table'
}
/** Texts with words marked by how much models looked at them. */
export interface AttentionSection extends Titled {
  kind: 'attention'
  texts: readonly AttentionText[]
}
/** One part of a report, under a title of its own. */
export type ReportSection = TextSection | FactsSection | ChartsSection | TableSection | AttentionSection

export interface HtmlReportOptions {
  title: string
  /** Below the title: what came out, in a sentence or two. */
  summary?: string
  /** The language of the texts; default `en`. */
  lang?: string
  sections: readonly ReportSection[]
}

/**
 * A self-contained HTML page of a run. The same options give the same text.
 *
 * ```ts
 * const html = htmlReport({
 *   title: 'Reviews',
 *   sections: [
 *     { kind: 'table', title: 'Results', columns: ['model', 'accuracy'], rows: [['GRU', { share: accuracy, interval }]] },
 *     { kind: 'charts', title: 'Learning curves', charts: [loss] },
 *   ],
 * })
 * await writeReport('runs/report.html', html)
 * ```
 * @throws ArgumentError for empty titles, an unknown section, and for what `lineChart` and tables refuse.
 */
export function htmlReport({ title, summary, lang = 'en', sections }: HtmlReportOptions): string {
  if (title.trim() === '') throw new ArgumentError('htmlReport: title is empty; expected what was measured')
  const name = escapeText(title)
  const lead = summary === undefined ? '' : `<p class="summary">${escapeText(summary)}</p>`
  return `<!doctype html>
<html lang="${escapeText(lang)}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<meta name="generator" content="evenfold" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
<title>${name}</title>
<style>${styleSheet()}</style>
</head>
<body>
<main>
<header><h1>${name}</h1>${lead}</header>
${sections.map(htmlSection).join('\n')}
</main>
</body>
</html>
`
}

/** Writes a report (or a chart, or a Markdown page) in UTF-8. What was there is replaced as a whole, or left as it was. */
export async function writeReport(path: string, content: string): Promise<void> {
  await platform.writeFileAtomic(path, [new TextEncoder().encode(content)])
}

function htmlSection(section: ReportSection, i: number): string {
  if (section.title.trim() === '') {
    throw new ArgumentError(`htmlReport: section ${i} has an empty title; expected what it shows`)
  }
  const id = `section-${i + 1}`
  const note = section.note === undefined ? '' : `<p class="aside">${escapeText(section.note)}</p>`
  return (
    `<section aria-labelledby="${id}"><h2 id="${id}">${escapeText(section.title)}</h2>${note}` +
    `${content(section)}</section>`
  )
}

function content(section: ReportSection): string {
  switch (section.kind) {
    case 'text':
      return section.paragraphs.map((paragraph) => `<p>${escapeText(paragraph)}</p>`).join('\n')
    case 'facts':
      return facts(section.facts)
    case 'charts': {
      const drawn = section.charts.map(
        (chart) => `<figure class="scroll" tabindex="0">${lineChart(chart)}</figure>`,
      )
      return `<div class="charts">${drawn.join('\n')}</div>`
    }
    case 'table':
      return htmlTable(section, section.title)
    case 'attention':
      return htmlAttention(section.texts)
    default: {
      const { kind } = section satisfies never as { kind: unknown }
      throw new ArgumentError(
        `htmlReport: unknown kind of section '${String(kind)}'; expected text, facts, charts, table or attention`,
      )
    }
  }
}

function facts(of: FactsSection['facts']): string {
  const items = Object.entries(of).map(([name, value]) => {
    const shown = typeof value === 'number' ? formatNumber(value) : value
    return `<div><dt>${escapeText(name)}</dt><dd>${escapeText(shown)}</dd></div>`
  })
  return `<dl>${items.join('\n')}</dl>`
}
