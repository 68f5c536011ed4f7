// What the docs name exists: pages and headings that are linked, scripts and files in commands, paths and the library's
// own names in the text.
import fs from 'node:fs'
import path from 'node:path'
import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import { type Page, pageNames, readPage, root } from './markdown'

const pages = pageNames().map(readPage)
const { scripts } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

/** What npm does without a script of the project's. */
const NPM = ['ci', 'install', 'i', 'pack', 'publish', 'create', 'init']
/** Other programs that a reader is asked to run. */
const PROGRAMS = ['bash', 'cat', 'cd', 'curl', 'git', 'mkdir', 'node', 'pip', 'python', 'python3', 'unzip']
/** A file or folder of the project's, without a placeholder in it. */
const PATH = /^(?:src|test|docs|examples|experiments|scripts|shaders|bench|\.ci)\/[\w./-]*$/

/** What commands make, and git leaves out: named, and not always there. */
const made = fs
  .readFileSync(path.join(root, '.gitignore'), 'utf8')
  .split('\n')
  .filter((line) => line.endsWith('/'))

const exists = (name: string): boolean =>
  fs.existsSync(path.join(root, name)) || made.some((folder) => `${name}/`.startsWith(folder))

describe.each(pages)('$path', (page) => {
  it('links to what is there', () => {
    const broken = page.links.filter(({ target }) => !leads(page, target))
    expect(broken).toEqual([])
  })

  it('names commands that are there', () => {
    const problems = page.blocks.flatMap((block) =>
      block.language === 'sh'
        ? block.code.split('\n').flatMap((line, i) => complaints(line, page, block.line + i))
        : [],
    )
    expect(problems).toEqual([])
  })

  it('names files that are there', () => {
    const words = page.spans.flatMap(({ line, code }) => code.split(/\s+/).map((word) => ({ line, word })))
    expect(words.filter(({ word }) => PATH.test(word) && !exists(word))).toEqual([])
  })

  it('names what the library has', () => {
    const own = page.spans.filter(({ column }) => column !== 'PyTorch')
    expect(own.filter(({ code }) => !isKnown(code))).toEqual([])
  })
})

/** Whether the names in `nn.functional.relu`, `ef.zeros(…)`, `x.sum(1)`, `model.eval()` are the library's. */
function isKnown(code: string): boolean {
  const has = (value: unknown, name: string) => value != null && name in Object(value)
  const rooted = /^(?:await |new )?(ef|nn|optim|io|data|text|models)((?:\.\w+)+)(?!\S*\/)/.exec(code)
  if (rooted) {
    const names = [rooted[1], ...rooted[2].split('.').slice(1)].filter((name) => name !== 'ef')
    let at: unknown = ef
    for (const name of names) {
      if (!has(at, name)) return false
      at = (at as Record<string, unknown>)[name]
    }
    return true
  }
  const called = /^(?:await )?(x|a|b|t|loss|model|mha)\.(\w+)\(/.exec(code)
  if (!called) return true
  const { prototype } =
    called[1] === 'model' ? ef.nn.Module : called[1] === 'mha' ? ef.nn.MultiheadAttention : ef.Tensor
  return has(prototype, called[2]) || called[2] === 'forward'
}

function leads(page: Page, target: string): boolean {
  if (/^[a-z]+:/.test(target)) return true
  const [file, anchor] = target.split('#')
  const name = file === '' ? page.path : path.posix.join(path.posix.dirname(page.path), file)
  if (!exists(name)) return false
  return anchor === undefined || readPage(name).anchors.has(anchor)
}

/** What is wrong with a line of shell. */
function complaints(line: string, page: Page, number: number): string[] {
  const fail = (what: string) => [`${page.path}:${number}: ${what}`]
  return line
    .replace(/(^|\s)#.*$/, '')
    .split(/&&|\|\||[|;]/)
    .flatMap((command) => {
      const words = command
        .trim()
        .split(/\s+/)
        .filter((word) => !/^[A-Z_]+=/.test(word))
      const [program, first, second] = words
      if (!program) return []
      const absent = words.filter((word) => PATH.test(word) && !exists(word))
      if (absent.length > 0) return fail(`no file ${absent.join(', ')}`)
      if (program === 'npm') {
        const name = first === 'run' ? second : first
        const known = first === 'run' ? name in scripts : name in scripts || NPM.includes(name)
        return known ? [] : fail(`no npm script '${name}'`)
      }
      if (program === 'npx')
        return fs.existsSync(path.join(root, 'node_modules/.bin', first)) ? [] : fail(`no program '${first}'`)
      return PROGRAMS.includes(path.basename(program)) ? [] : fail(`unknown program '${program}'`)
    })
}
