// Tables of results, as HTML and as Markdown: numbers right-aligned, a share always beside its interval.

import { ArgumentError } from '../errors'
import { escapeText, printable } from './text'

/** A share from 0 to 1 and how sure one can be of it, e.g. what `evaluateClassifier` finds. */
export interface ShareCell {
  share: number
  interval: readonly [low: number, high: number]
}

/** Texts stand as they are; numbers get a separator between thousands, and four digits where they are small and not whole. */
export type Cell = string | number | ShareCell

export interface TableOptions {
  columns: readonly string[]
  /** As many cells as columns in each. The first cell names its row. */
  rows: readonly (readonly Cell[])[]
}

/** A table in GitHub's Markdown. @throws ArgumentError for rows of other lengths, and for intervals that are none. */
export function markdownTable(table: TableOptions): string {
  check('markdownTable', table)
  // A backslash keeps what follows it from being markup; a line of its own would end the table.
  const plain = (text: string) =>
    printable(text)
      .replace(/[\\`*_[\]<>|~&$]/g, '\\$&')
      .replace(/\s+/g, ' ')
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  const head =
    line(table.columns.map(plain)) + line(alignments(table).map((right) => (right ? '--:' : '---')))
  return head + table.rows.map((row) => line(row.map((cell) => plain(describe(cell))))).join('')
}

/** `label` says what it is to a reader who comes to it by keyboard: wide tables scroll. */
export function htmlTable(table: TableOptions, label: string): string {
  check('htmlReport', table)
  const right = alignments(table)
  const align = (i: number) => (right[i] ? ' class="number"' : '')
  const head = table.columns.map((name, i) => `<th scope="col"${align(i)}>${escapeText(name)}</th>`)
  const rows = table.rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? `<th scope="row">${htmlCell(cell)}</th>` : `<td${align(i)}>${htmlCell(cell)}</td>`,
    )
    return `<tr>${cells.join('')}</tr>`
  })
  return (
    `<div class="scroll" role="region" tabindex="0" aria-label="${escapeText(label)}"><table>` +
    `<thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`
  )
}

function check(where: string, { columns, rows }: TableOptions): void {
  if (columns.length === 0) throw new ArgumentError(`${where}: a table has no columns; expected their names`)
  for (const [i, row] of rows.entries()) {
    if (row.length !== columns.length) {
      throw new ArgumentError(
        `${where}: row ${i} has ${row.length} cells; expected ${columns.length}, one for each column`,
      )
    }
    for (const cell of row) {
      if (typeof cell !== 'object') continue
      const { share, interval } = cell
      if (interval[0] >= 0 && interval[0] <= share && share <= interval[1] && interval[1] <= 1) continue
      throw new ArgumentError(
        `${where}: row ${i} has a share of ${share} with the interval [${interval.join(', ')}]; expected ` +
          '0 <= low <= share <= high <= 1',
      )
    }
  }
}

/** Whether each column holds numbers. */
function alignments({ columns, rows }: TableOptions): boolean[] {
  return columns.map((_, i) => i > 0 && rows.length > 0 && rows.every((row) => typeof row[i] !== 'string'))
}

function describe(cell: Cell): string {
  if (typeof cell === 'string') return cell
  if (typeof cell === 'number') return formatNumber(cell)
  return `${percent(cell.share)} % (${percent(cell.interval[0])} to ${percent(cell.interval[1])} %)`
}

function htmlCell(cell: Cell): string {
  if (typeof cell !== 'object') return escapeText(describe(cell))
  const [low, high] = cell.interval.map((end) => (100 * end).toFixed(2))
  const centre = (100 * cell.share).toFixed(2)
  return (
    `<strong>${percent(cell.share)} %</strong> ` +
    `<span class="aside">${percent(cell.interval[0])} to ${percent(cell.interval[1])} %</span>` +
    `<span class="interval" aria-hidden="true" style="--low:${low}%;--high:${high}%;--at:${centre}%"></span>`
  )
}

function percent(share: number): string {
  return (100 * share).toFixed(1)
}

/** 50450 -> `50,450`; 1234.5 -> `1,235`; 0.123456 -> `0.1235`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (!Number.isInteger(value) && Math.abs(value) < 1000) return String(Number(value.toPrecision(4)))
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',')
}
