// A page's code as the reader would have it: a folder with its files and with the packages that the page says to install.
// Every block stands at its own line of the page, so that what the compiler and stack traces say can be looked up there.
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { type Block, type Page, root } from './markdown'

const SCRIPT = ['ts', 'typescript', 'js', 'javascript']
const FILE_ONLY = ['html', 'css', 'json']

/** Something a page has that can be run. */
export interface Runnable {
  /** For the title of its test: page and line. */
  where: string
  /** 'script' and 'page': run in Node; 'page' in a browser as well. 'test': by vitest. 'site': bundled, opened. */
  kind: 'script' | 'page' | 'test' | 'site'
  file: string
  /** What the page says it prints or, of a site, shows. */
  output: string | null
}

export interface Project {
  page: Page
  folder: string
  /** Name in the folder and content. */
  files: Map<string, string>
  runnables: Runnable[]
  /** Packages that the page says to install. */
  installs: string[]
  /** Blocks that belong into a file of the library. */
  additions: { target: string; block: Block }[]
}

/** Reads a page into a project; nothing is written. Throws for a block that nothing would run. */
export function projectOf(page: Page, parent: string): Project {
  const folder = path.join(parent, page.path.replaceAll('/', '-').replace(/\.md$/, ''))
  const project: Project = {
    page,
    folder,
    files: new Map(),
    runnables: [],
    installs: installsOf(page),
    additions: [],
  }
  const { files, runnables } = project
  let last: Runnable | null = null
  for (const block of page.blocks) {
    const where = `${page.path}:${block.line}`
    const words = block.info.split(/\s+/).filter(Boolean)
    const value = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1)
    const place = (name: string) => {
      const before = files.get(name) ?? ''
      const line = before.split('\n').length
      files.set(name, `${before}${'\n'.repeat(Math.max(0, block.line - line))}${block.code}`)
    }
    if (block.language === 'sh' || block.language === 'text' || block.language === '') {
      if (!words.includes('output')) continue
      if (!last) throw new Error(`${where}: the output of what?`)
      last.output = (last.output ?? '') + block.code
    } else if (block.language === 'python') {
      if (!/^unexecuted: \S/.test(block.info))
        throw new Error(`${where}: say why: \`\`\`python unexecuted: …`)
    } else if (value('in') !== undefined) {
      project.additions.push({ target: value('in')!, block })
    } else if (value('file') !== undefined) {
      const name = value('file')!
      if (name === 'index.html') last = runnable('site', name)
      else if (/\.test\.[jt]s$/.test(name)) last = runnable('test', name)
      else if (!files.has(name) && SCRIPT.includes(block.language)) {
        const script = runnable('script', name)
        // What follows the files of a site is what the site shows.
        if (last?.kind !== 'site') last = script
      }
      place(name)
    } else if (SCRIPT.includes(block.language)) {
      const previous = runnables.at(-1)
      if (words.includes('continue')) {
        if (!previous?.file.startsWith('line-')) throw new Error(`${where}: continues no script`)
        place(previous.file)
      } else {
        last = runnable(words.includes('page') ? 'page' : 'script', `line-${block.line}.ts`)
        place(last.file)
      }
    } else {
      const hint = FILE_ONLY.includes(block.language) ? 'give it a name: file=NAME' : 'nothing can run it'
      throw new Error(`${where}: a block of '${block.language}': ${hint}`)
    }

    function runnable(kind: Runnable['kind'], file: string): Runnable {
      const one: Runnable = { where, kind, file, output: null }
      runnables.push(one)
      return one
    }
  }
  // A file that another one names is run by that one; a configuration by the tool it is for.
  const isRunByOthers = (file: string) =>
    !file.startsWith('line-') && (isConfig(file) || isNamed(files, file))
  project.runnables = runnables.filter(({ kind, file }) => kind !== 'script' || !isRunByOthers(file))
  return project
}

const isConfig = (file: string): boolean => /\.config\.[jt]s$/.test(file)

/** Whether another file imports it, loads it as a worker or has it in a script element. */
function isNamed(files: ReadonlyMap<string, string>, file: string): boolean {
  const stem = path.basename(file).replace(/\.[jt]s$/, '')
  return [...files].some(
    ([other, text]) => other !== file && new RegExp(`/${stem}(\\.[jt]s)?['"]`).test(text),
  )
}

/** The names in every `npm install …` of a page. */
function installsOf(page: Page): string[] {
  const shell = page.blocks.filter(({ language }) => language === 'sh').map(({ code }) => code)
  const texts = [...shell, ...page.spans.map(({ code }) => code)]
  const found = texts.flatMap((text) =>
    [...text.matchAll(/\bnpm (?:install|i|add)\b([^\n&|;]*)/g)].flatMap(([, names]) =>
      names.trim().split(/\s+/),
    ),
  )
  return [...new Set(found)].filter((name) => name !== '' && name !== 'evenfold' && !name.startsWith('-'))
}

/**
 * Writes a project's folder: its files (scripts also as JavaScript), what lies in the folder beside the page that has
 * the page's name, the package under test from `installed`, and the others from the project's own node_modules.
 */
export function writeProject({ page, folder, files, installs }: Project, installed: string): void {
  const modules = path.join(folder, 'node_modules')
  fs.mkdirSync(modules, { recursive: true })
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const beside = path.join(root, page.path.replace(/\.md$/, ''))
  if (fs.existsSync(beside)) fs.cpSync(beside, path.join(folder, path.basename(beside)), { recursive: true })
  // A copy, not a link: from where it lies it must find what the page installs, and no more.
  fs.cpSync(installed, path.join(modules, 'evenfold'), { recursive: true })
  for (const name of installs) {
    const own = path.join(root, 'node_modules', name)
    if (!fs.existsSync(own))
      throw new Error(`${page.path}: npm install ${name}: not among the project's packages`)
    fs.mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
    fs.symlinkSync(own, path.join(modules, name))
  }
  for (const [name, code] of files) {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, code)
    if (name.endsWith('.ts')) fs.writeFileSync(file.replace(/\.ts$/, '.js'), javascript(code, name))
  }
}

function javascript(code: string, fileName: string): string {
  const compilerOptions: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    inlineSourceMap: true,
  }
  return ts.transpileModule(code, { fileName, compilerOptions }).outputText
}

/** What the compiler has to say of the projects' scripts, at their pages' lines. */
export function typeErrors(projects: readonly Project[]): string[] {
  const isScript = (name: string) => /\.[jt]s$/.test(name)
  const pageOf = new Map(
    projects.flatMap(({ folder, files, page }) =>
      [...files.keys()].filter(isScript).map((name) => [path.join(folder, name), page.path]),
    ),
  )
  const found = diagnose([...pageOf.keys()], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    strict: true,
    noEmit: true,
    allowJs: true,
    checkJs: true,
    skipLibCheck: true,
    types: [],
  })
  return found.map(({ file, text }) => `${pageOf.get(file) ?? file}:${text}`)
}

export function diagnose(files: string[], options: ts.CompilerOptions): { file: string; text: string }[] {
  const program = ts.createProgram(files, options)
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const message = ts.flattenDiagnosticMessageText(found.messageText, '\n')
    if (!found.file) return { file: '', text: message }
    const { line } = found.file.getLineAndCharacterOfPosition(found.start ?? 0)
    return { file: found.file.fileName, text: `${line + 1}: ${message}` }
  })
}

/** Runs Node in a folder as a user's shell would: without what the test runner adds to the environment. */
export async function node(folder: string, ...args: string[]): Promise<string> {
  const own = /^(VITEST|EVENFOLD|NODE_ENV|NODE_OPTIONS|TEST$|DEV$|PROD$|MODE$|SSR$|BASE_URL$)/
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
  const { stdout } = await promisify(execFile)(process.execPath, ['--enable-source-maps', ...args], {
    cwd: folder,
    env,
  })
  return stdout
}
