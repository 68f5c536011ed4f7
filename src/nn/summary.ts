// summary: what a model is made of, as a table to print.

import { BYTES_PER_ELEMENT } from '../backend/types'
import { formatShape } from '../tensor/shape'
import type { Module } from './module'
import type { Parameter } from './parameter'

const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',')

function count(parameters: readonly Parameter[]): number {
  return parameters.reduce((total, p) => total + p.size, 0)
}

/**
 * A table with a line per module: path, class, shapes of its own parameters and their number; then the totals. A
 * parameter shared by several modules is counted at the first. Nothing is run.
 */
export function summary(model: Module): string {
  const seen = new Set<Parameter>()
  const rows = model.namedModules().map(([path, module]) => {
    const own = module.namedParameters().filter(([name, p]) => !name.includes('.') && !seen.has(p))
    for (const [, p] of own) seen.add(p)
    const depth = path === '' ? 0 : path.split('.').length
    return [
      `${'  '.repeat(depth)}${path.split('.').at(-1)}`,
      module.constructor.name,
      own.map(([name, p]) => `${name} ${formatShape(p.shape)}`).join(', '),
      own.length > 0 ? grouped(count(own.map(([, p]) => p))) : '',
    ]
  })
  const all = model.parameters()
  const trainable = count(all.filter((p) => p.requiresGrad))
  const bytes = [...all, ...model.buffers()].reduce((n, t) => n + t.size * BYTES_PER_ELEMENT[t.dtype], 0)

  const head = ['layer', 'class', 'parameter shapes', 'parameters']
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 3 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd()
  const rule = '-'.repeat(widths.reduce((n, w) => n + w, 2 * (widths.length - 1)))
  return [
    line(head),
    rule,
    ...rows.map(line),
    rule,
    `parameters: ${grouped(count(all))}, trainable: ${grouped(trainable)}, bytes: ${grouped(bytes)}`,
  ].join('\n')
}
