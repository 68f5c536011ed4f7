// The project's pages as the docs test reads them: code blocks with where they stand, links and headings.
//
// The words after a fence's language are for the test; no renderer shows them:
//
//   ```ts                      a script of its own, run in Node
//   ```ts continue             goes on where the page's previous script ended
//   ```ts page                 a script run in Node and, bundled by Vite, in a page: both print the same
//   ```ts file=NAME            a file of the page's own folder; html, css and json need a name
//   ```ts in=src/FILE.ts       added to a file of the project
//   ```text output             what the block before it prints (decimals to within 2 %, a line … is any lines)
//   ```text                    not code: trees, output of something else
//   ```python unexecuted: WHY  the tests need no Python
//   ```sh, or indented         commands; what they name must exist
import fs from 'node:fs'
import path from 'node:path'

export const root = path.resolve(import.meta.dirname, '../..')

export interface Block {
  /** Number in the page of the first line of code. */
  line: number
  /** In lower case; 'sh' for indented blocks. */
  language: string
  /** The rest of the info string. */
  info: string
  code: string
}

export interface Link {
  line: number
  target: string
}

/** `code` in the text. */
export interface Span {
  line: number
  code: string
  /** In a table: the head of its column. */
  column?: string
}

export interface Page {
  /** From the project's root. */
  path: string
  blocks: Block[]
  links: Link[]
  /** What may follow '#', as GitHub makes it of headings. */
  anchors: Set<string>
  spans: Span[]
}

const FENCE = /^( *)(`{3,}|~{3,}) *([^\s`]*) *([^`]*?)\s*$/

export function readPage(name: string): Page {
  return parsePage(name, fs.readFileSync(path.join(root, name), 'utf8'))
}

export function parsePage(name: string, text: string): Page {
  const page: Page = { path: name, blocks: [], links: [], anchors: new Set(), spans: [] }
  const lines = text.split('\n')
  let head: string[] = []
  for (let i = 0; i < lines.length; i++) {
    if (!lines[i].startsWith('|')) head = []
    else if (head.length === 0) head = cells(lines[i])
    const fence = FENCE.exec(lines[i])
    if (fence) {
      const [, indent, marks, language, info] = fence
      const start = i + 1
      const isEnd = (line: string) =>
        line.trim().startsWith(marks) && line.trim().replaceAll(marks[0], '') === ''
      while (++i < lines.length && !isEnd(lines[i]));
      if (i === lines.length) throw new Error(`${name}:${start}: the code block has no end`)
      const code = lines
        .slice(start, i)
        .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
      page.blocks.push({
        line: start + 1,
        language: language.toLowerCase(),
        info,
        code: `${code.join('\n')}\n`,
      })
    } else if (/^ {4}\S/.test(lines[i]) && (i === 0 || lines[i - 1].trim() === '') && !inList(lines, i)) {
      const start = i
      while (i + 1 < lines.length && /^( {4}|\s*$)/.test(lines[i + 1])) i++
      const code = lines.slice(start, i + 1).map((line) => line.slice(4))
      page.blocks.push({ line: start + 1, language: 'sh', info: '', code: `${code.join('\n').trimEnd()}\n` })
    } else readText(page, lines[i], i + 1, head)
  }
  return page
}

/** Whether an indented line belongs to a list item above it, and is text then. */
function inList(lines: readonly string[], at: number): boolean {
  for (let i = at - 1; i >= 0; i--) {
    if (/^\s*([-*]|\d+\.) /.test(lines[i])) return true
    if (/^\S/.test(lines[i])) return false
  }
  return false
}

/** The cells of a table's row; a | within code does not part them. */
function cells(row: string): string[] {
  const marked = row.replaceAll(/`[^`]*`/g, (code) => code.replaceAll('|', '\0'))
  return marked
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.replaceAll('\0', '|').trim())
}

function readText(page: Page, text: string, line: number, head: readonly string[]): void {
  const heading = /^#+ +(.*)$/.exec(text)
  if (heading) {
    const words = heading[1].toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '')
    page.anchors.add(words.trim().replaceAll(' ', '-'))
  }
  for (const [i, cell] of (head.length > 0 ? cells(text) : [text]).entries())
    for (const [, code] of cell.matchAll(/`([^`]+)`/g)) page.spans.push({ line, code, column: head[i] })
  const outsideCode = text.replaceAll(/`[^`]*`/g, '')
  for (const [, target] of outsideCode.matchAll(/\]\(([^)\s]+)\)/g)) page.links.push({ line, target })
  for (const [, target] of outsideCode.matchAll(/<img [^>]*src="([^"]+)"/g)) page.links.push({ line, target })
}

/** Every page that is checked, from the project's root. */
export function pageNames(): string[] {
  const below = (folder: string, wanted: (name: string) => boolean): string[] =>
    fs.existsSync(path.join(root, folder))
      ? fs
          .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
          .map((name) => path.posix.join(folder, name.split(path.sep).join('/')))
          .filter(wanted)
          .sort()
      : []
  return [
    'README.md',
    'CONTRIBUTING.md',
    ...below('docs', (name) => name.endsWith('.md') && !name.startsWith('docs/api/')),
    'bench/README.md',
    ...below('examples', (name) => name.endsWith('/README.md')),
    ...below('experiments', (name) => name.endsWith('/README.md')),
    ...below('test', (name) => name.endsWith('/README.md')),
  ]
}
