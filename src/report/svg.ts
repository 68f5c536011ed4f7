// Charts as SVG text, drawn by Apache ECharts (an optional peer) without a DOM. What it leaves in the markup for its own
// browser side goes, and so do its global counters: the same chart is the same text every time.

import { init, use } from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'
import { ArgumentError } from '../errors'
import { DARK, LIGHT, type Scheme, twins } from './palette'
import { escapeText, printable } from './text'

/** What every chart can be told. */
export interface ChartOptions {
  /** Above the drawing, and what a screen reader says first. */
  title: string
  /** In pixels of the drawing, which a page may scale; default 720. */
  width?: number
  /** Default 400. */
  height?: number
  /** `auto` (default) follows the reader's `prefers-color-scheme`; light where that is unknown. */
  theme?: 'light' | 'dark' | 'auto'
}

/** A drawing whose colours are those of a scheme. */
export type Drawing = (scheme: Scheme, size: { width: number; height: number }) => object

/**
 * Draws one chart. `description` is for those who cannot see it.
 * @throws ArgumentError for an empty title, an unknown theme, or sizes that leave no room.
 */
export function renderSvg(name: string, options: ChartOptions, description: string, draw: Drawing): string {
  const { width = 720, height = 400, theme = 'auto' } = options
  const title = printable(options.title)
  if (title.trim() === '') throw new ArgumentError(`${name}: title is empty; expected what the chart shows`)
  for (const [key, size] of Object.entries({ width, height })) {
    if (!(Number.isInteger(size) && size >= 200 && size <= 10_000)) {
      throw new ArgumentError(`${name}: ${key} is ${size}; expected a whole number of pixels, 200 to 10000`)
    }
  }
  if (!['light', 'dark', 'auto'].includes(theme)) {
    throw new ArgumentError(`${name}: theme is '${theme}'; expected 'light', 'dark' or 'auto'`)
  }
  const scheme = theme === 'dark' ? DARK : LIGHT
  use(SVGRenderer)
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height })
  let drawn: string
  try {
    chart.setOption({
      animation: false,
      backgroundColor: scheme.background,
      textStyle: { fontFamily: 'system-ui, sans-serif' },
      title: {
        text: title,
        left: 16,
        top: 12,
        textStyle: { color: scheme.text, fontSize: 16, width: width - 32, overflow: 'break' },
      },
      ...draw(scheme, { width, height }),
    })
    drawn = chart.renderToSVGString()
  } finally {
    chart.dispose()
  }
  return labelled(clean(drawn), { title, description: printable(description), adaptive: theme === 'auto' })
}

/** Quotes in texts are escaped, so that what stands in quotes here is markup. */
function clean(svg: string): string {
  const bare = svg
    .replace(/<style ?><!\[CDATA\[[\s\S]*?\]\]>\s*<\/style>\n?/, '')
    .replace(/ (?:class|pointer-events|ecmeta_\w+)="[^"]*"/g, '')
    .replace(/ (?:xmlns:xlink|version|baseProfile)="[^"]*"/g, '')
    .replace(/(\bid="|="url\(#)zr\d+-/g, '$1')
  // Charts of one page must not share the names of their clips.
  return bare.replace(/(\bid="|="url\(#)/g, `$1chart-${hash(bare)}-`)
}

function labelled(svg: string, of: { title: string; description: string; adaptive: boolean }): string {
  const [head, ...rest] = svg.split(/(?<=<svg[^>]*>)/)
  const id = `chart-${hash(svg + of.description)}`
  const rules = twins().map(
    ([light, dark]) => `#${id} [fill="${light}"]{fill:${dark}}#${id} [stroke="${light}"]{stroke:${dark}}`,
  )
  const style = of.adaptive ? `<style>@media (prefers-color-scheme:dark){${rules.join('')}}</style>` : ''
  const opened = head!.replace('<svg', `<svg id="${id}" role="img" aria-labelledby="${id}-title ${id}-desc"`)
  return (
    `${opened}<title id="${id}-title">${escapeText(of.title)}</title>` +
    `<desc id="${id}-desc">${escapeText(of.description)}</desc>${style}${rest.join('')}`
  )
}

/** FNV-1a, 32 bits. */
function hash(text: string): string {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return (h >>> 0).toString(36)
}
