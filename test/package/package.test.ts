// The package as its users get it: packed, and installed alone in an empty folder: no `webgpu`, no peer. The scripts of
// README and guides, run against the same package, are in test/docs.
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installPacked } from '../support/packed'

const root = path.resolve(import.meta.dirname, '../..')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-package-'))
const installed = path.join(folder, 'node_modules/evenfold')
const bin = (name: string) => path.join(root, 'node_modules/.bin', name)
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

beforeAll(() => installPacked(folder), 180_000)
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

describe('the packed package', () => {
  it('brings nothing but itself', () => {
    expect(fs.readdirSync(path.join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(
      ['evenfold'],
    )
    expect(fs.readdirSync(installed).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
    ])
  })

  it('has every file that its exports name', () => {
    const { exports } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'))
    const named = Object.values<string | Record<string, string>>(exports).flatMap((target) =>
      typeof target === 'string' ? [target] : [target.types!, target.default!],
    )
    expect(named.filter((file) => !fs.existsSync(path.join(installed, file)))).toEqual([])
  })

  it('has types without any', () => {
    const declarations = fs
      .readdirSync(path.join(installed, 'dist'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.d.ts'))
    expect(declarations).not.toEqual([])
    const loose = declarations.flatMap((name) => {
      const text = fs.readFileSync(path.join(installed, 'dist', name), 'utf8')
      const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest)
      const found: string[] = []
      const visit = (node: ts.Node): void => {
        if (node.kind === ts.SyntaxKind.AnyKeyword) {
          const { line } = source.getLineAndCharacterOfPosition(node.getStart(source))
          found.push(`${name}:${line + 1}: ${text.split('\n')[line]}`)
        }
        ts.forEachChild(node, visit)
      }
      visit(source)
      return found
    })
    expect(loose).toEqual([])
  })

  it('type-checks under strict: every path that needs no peer', () => {
    const { exports } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'))
    const needPeers = ['./testing']
    const paths = Object.keys(exports).filter((name) => !name.endsWith('.json') && !needPeers.includes(name))
    const lines = paths.map((name, i) => `export * as path${i} from '${path.posix.join('evenfold', name)}'`)
    fs.writeFileSync(path.join(folder, 'paths.ts'), lines.join('\n'))
    const flags = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'nodenext']
    const { stdout } = spawnSync(bin('tsc'), [...flags, 'paths.ts'], { cwd: folder, encoding: 'utf8' })
    expect(stdout).toBe('')
  })

  it('gives every path by itself, with the same classes, and tensors that have their methods', () => {
    const { exports } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'))
    const needPeers = ['./testing', './tokenizers', './parquet', './report']
    const modules = Object.keys(exports).filter(
      (name) => !name.endsWith('.json') && !needPeers.includes(name),
    )
    for (const name of modules) {
      const script = `const path = await import('${path.posix.join('evenfold', name)}')
        console.log(Object.keys(path).length)
        const { Linear } = await import('evenfold/nn')
        console.log(new Linear(2, 3).weight.mul(2).sum().shape.length)
        const ef = await import('evenfold')
        console.log(ef.nn.Linear === Linear)`
      fs.writeFileSync(path.join(folder, 'alone.mjs'), script)
      const [count, rank, same] = run(process.execPath, 'alone.mjs').trim().split('\n')
      expect([Number(count) > 0, rank, same], name).toEqual([true, '0', 'true'])
    }
  })

  it('without the package `webgpu` takes the cpu, and says what to install where webgpu is asked for', () => {
    const script = `import * as ef from 'evenfold'
      console.log(await ef.init())
      const error = await ef.init({ device: 'webgpu' }).catch((error) => error)
      console.log(error instanceof ef.DeviceError, error.message)
      console.log(ef.defaultDevice())`
    fs.writeFileSync(path.join(folder, 'init.mjs'), script)
    const [chosen, error, after] = run(process.execPath, 'init.mjs').trim().split('\n')
    expect([chosen, after]).toEqual(['cpu', 'cpu'])
    expect(error).toMatch(/^true .*install.*webgpu/)
  })
})
