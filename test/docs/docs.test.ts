// Every code block of the docs, compiled under strict and executed against the packed package; every link and every
// command's target looked up. What the words after a block's language mean is said in markdown.ts.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Page as BrowserPage } from 'playwright-core'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { siteFromFolder, withPage } from '../support/chromium'
import { installPacked } from '../support/packed'
import { pageNames, readPage, root } from './markdown'
import { outputDifference } from './output'
import { diagnose, node, type Project, projectOf, type Runnable, typeErrors, writeProject } from './project'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-docs-'))
const pages = pageNames().map(readPage)
const projects = pages.map((page) => projectOf(page, folder)).filter(({ files }) => files.size > 0)
const bin = (name: string) => path.join(root, 'node_modules', name)

beforeAll(async () => {
  const alone = path.join(folder, 'installed')
  await installPacked(alone)
  for (const project of projects) writeProject(project, path.join(alone, 'node_modules/evenfold'))
}, 180_000)
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

it('finds the pages', () => {
  expect(pages.map(({ path }) => path)).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md']))
  expect(projects.flatMap(({ runnables }) => runnables)).not.toEqual([])
})

it('type-checks under strict', () => {
  expect(typeErrors(projects)).toEqual([])
})

describe.concurrent('runs', () => {
  for (const project of projects)
    for (const runnable of project.runnables)
      it(`${runnable.where} (${runnable.kind})`, () => run(project, runnable), 240_000)
})

async function run({ folder, files }: Project, { kind, file, output, where }: Runnable): Promise<void> {
  if (kind === 'test') {
    await node(folder, bin('vitest/vitest.mjs'), 'run', '--root', folder, file)
    return
  }
  if (kind === 'site') {
    if (output === null)
      throw new Error(`${where}: say after it, in a block 'text output', what the page shows`)
    // Under the policy that the page states, and where WebAssembly may not be compiled.
    const [, policy = ''] = /content-security-policy"\s+content="([^"]*)"/.exec(files.get(file)!) ?? []
    for (const stated of new Set([policy, policy.replace(" 'wasm-unsafe-eval'", '')])) {
      const headers: Record<string, string> = stated === '' ? {} : { 'content-security-policy': stated }
      await visit(folder, output, (page) => page.evaluate(() => document.body.innerText), { headers })
    }
    return
  }
  const printed = await node(folder, file.replace(/\.ts$/, '.js'))
  if (output !== null) expect(outputDifference(output, printed)).toBeNull()
  if (kind !== 'page') return
  if (files.has('index.html')) throw new Error(`${where}: the page has an index.html of its own`)
  fs.writeFileSync(
    path.join(folder, 'index.html'),
    `<!doctype html><script type="module" src="/${file}"></script>`,
  )
  const lines: string[] = []
  await visit(folder, printed, async () => lines.join('\n'), { lines })
}

/** Bundles index.html with Vite as its reader would, opens it and waits until what is `shown` is as expected. */
async function visit(
  folder: string,
  expected: string,
  shown: (page: BrowserPage) => Promise<string>,
  { lines = [], headers = {} }: { lines?: string[]; headers?: Record<string, string> } = {},
): Promise<void> {
  await node(folder, bin('vite/bin/vite.js'), 'build', '--logLevel', 'error')
  const look = async (page: BrowserPage) => {
    const url = page.url()
    // Again, now that somebody listens.
    await page.goto('about:blank')
    page.on('console', (message) => lines.push(message.text()))
    await page.goto(url)
    const close = async () => expect(outputDifference(expected, await shown(page))).toBeNull()
    await vi.waitFor(close, { timeout: 60_000, interval: 200 })
  }
  await withPage(siteFromFolder(path.join(folder, 'dist')), look, headers)
}

describe.each(pages.filter(({ blocks }) => blocks.some(({ info }) => info.startsWith('in='))))(
  'what $path adds to the library',
  (page) => {
    const copy = path.join(folder, `library-${page.path}`)
    const { additions } = projectOf(page, folder)
    beforeAll(() => {
      for (const name of ['src', 'shaders', 'package.json'])
        fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true })
      fs.symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'))
      for (const { target, block } of additions) fs.appendFileSync(path.join(copy, target), block.code)
    })

    it('type-checks', () => {
      const { config } = ts.readConfigFile(path.join(root, 'tsconfig.json'), ts.sys.readFile)
      const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root)
      const targets = additions.map(({ target }) => path.join(copy, target))
      expect(diagnose([...targets, path.join(copy, 'src/wgsl.d.ts')], options)).toEqual([])
    })

    it('has right gradients', async () => {
      for (const { target, block } of additions) {
        const names = [...block.code.matchAll(/^export const (\w+)/gm)].map(([, name]) => name)
        expect(names).not.toEqual([])
        const script = `import * as ef from 'evenfold'
          import { ${names.join(', ')} } from './${target}'
          const x = ef.tensor([-1.3, 0.4, 2.1], { dtype: 'float64', requiresGrad: true })
          for (const op of [${names.join(', ')}]) console.log(await ef.autograd.gradcheck(op, [x]))`
        fs.writeFileSync(path.join(copy, 'check.ts'), script)
        const tsx = pathToFileURL(path.join(root, 'node_modules/tsx/dist/loader.mjs')).href
        const printed = await node(copy, '--conditions=evenfold-source', '--import', tsx, 'check.ts')
        expect(printed.trim().split('\n')).toEqual(names.map(() => 'true'))
      }
    })
  },
)
