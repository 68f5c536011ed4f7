// The shape of the house, held: imports point one way, the platform's modules stay behind `#platform`, and no two
// files need each other to load.
import fs from 'node:fs'
import path from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../src')

/** From the ground up: a room may import from its own layer's rooms where they are listed together, and from below. */
const layers: string[][] = [
  ['errors', 'priority-queue', 'wgsl.d'],
  ['platform'],
  ['backend'],
  ['tensor', 'autograd'],
  ['init', 'profile'],
  ['nn'],
  ['optim'],
  ['text'],
  ['tokenizers'],
  ['io'],
  ['data'],
  ['parquet'],
  ['models'],
  ['fairness'],
  ['train'],
  ['compress'],
  ['report'],
  ['index'],
  ['testing'],
]
const layerOf = new Map(layers.flatMap((rooms, layer) => rooms.map((room) => [room, layer] as const)))

interface Import {
  from: string
  specifier: string
  typeOnly: boolean
  /** `import 'x'`, which takes nothing. */
  effectOnly?: boolean
}

const files = fs
  .readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.split(path.sep).join('/'))
const imports = files.flatMap(importsOf)
const roomOf = (file: string) => file.split('/')[0]!.replace(/\.ts$/, '')

function importsOf(from: string): Import[] {
  const text = fs.readFileSync(path.join(root, from), 'utf8')
  const source = ts.createSourceFile(from, text, ts.ScriptTarget.Latest)
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const { importClause: clause, moduleSpecifier } = node
      found.push({ from, specifier: moduleSpecifier.text, typeOnly: isTypeOnly(clause), effectOnly: !clause })
    } else if (
      ts.isExportDeclaration(node) &&
      node.moduleSpecifier &&
      ts.isStringLiteral(node.moduleSpecifier)
    ) {
      found.push({ from, specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly })
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments
      if (argument && ts.isStringLiteral(argument))
        found.push({ from, specifier: argument.text, typeOnly: false })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false // import 'x' runs x
  if (clause.isTypeOnly) return true
  const named = clause.namedBindings
  return !clause.name && !!named && ts.isNamedImports(named) && named.elements.every((one) => one.isTypeOnly)
}

/** The file below src/ that a relative specifier names, or null for anything else. */
function target({ from, specifier }: Import): string | null {
  if (!specifier.startsWith('.')) return null
  const base = path.posix.join(path.posix.dirname(from), specifier)
  return [`${base}.ts`, `${base}/index.ts`, base].find((name) => files.includes(name)) ?? null
}

describe('imports in src/', () => {
  it('has a layer for every room', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => !layerOf.has(room))).toEqual([])
  })

  it('point from the upper layers to the lower ones', () => {
    const wrong = imports.filter((one) => {
      const to = target(one)
      if (to === null || roomOf(to) === roomOf(one.from)) return false
      return layerOf.get(roomOf(to))! > layerOf.get(roomOf(one.from))!
    })
    expect(wrong.map((one) => `${one.from} imports ${one.specifier}`)).toEqual([])
  })

  it('name node: and webgpu only in src/platform, and libraries only where a subpath needs them', () => {
    const allowed: Record<string, RegExp> = {
      platform: /^node:/,
      testing: /^(fast-check|vitest)$/,
      tokenizers: /^@huggingface\/tokenizers$/,
      parquet: /^hyparquet$/,
      report: /^echarts\//,
    }
    const wrong = imports.filter(({ from, specifier, typeOnly }) => {
      if (/^\.|^#platform$/.test(specifier)) return false
      return !typeOnly && !allowed[roomOf(from)]?.test(specifier)
    })
    expect(wrong.map((one) => `${one.from} imports ${one.specifier}`)).toEqual([])
  })

  it('take something from each file: who is imported for an effect alone is left out by bundlers', () => {
    const wrong = imports.filter(({ effectOnly }) => effectOnly)
    expect(wrong.map((one) => `${one.from} imports ${one.specifier}`)).toEqual([])
  })

  it('form no cycle of files that need each other to load', () => {
    const graph = new Map<string, string[]>(files.map((file) => [file, []]))
    for (const one of imports) {
      const to = target(one)
      if (to !== null && !one.typeOnly) graph.get(one.from)!.push(to)
    }
    expect(cycles(graph)).toEqual([])
  })
})

/** One cycle for each back edge of a depth-first walk. */
function cycles(graph: Map<string, string[]>): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const stack: string[] = []
  const walk = (file: string): void => {
    const at = stack.indexOf(file)
    if (at >= 0) {
      found.push([...stack.slice(at), file].join(' -> '))
      return
    }
    if (done.has(file)) return
    stack.push(file)
    for (const next of graph.get(file)!) walk(next)
    stack.pop()
    done.add(file)
  }
  for (const file of graph.keys()) walk(file)
  return found
}
