// The published types: tsc's declarations of every file that package.json's `exports` lead to, beside dist's modules.
//
// tsc copies import specifiers as they are, without file names; Node's resolution wants them, so they are added here.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
const emitted = path.join(root, 'dist/.declarations')
const target = path.join(root, 'dist')

/** Relative specifiers in import, export and import(). */
const SPECIFIER = /((?:\bfrom|\bimport)\s*\(?\s*)(['"])(\.[^'"]*)\2/g

/** The declaration file that a specifier means, e.g. `./autograd` -> `./autograd/index.d.ts`. */
function resolve(from: string, specifier: string): string {
  const base = path.resolve(path.dirname(from), specifier)
  for (const file of [`${base}.d.ts`, path.join(base, 'index.d.ts')]) if (fs.existsSync(file)) return file
  throw new Error(`${path.relative(root, from)}: '${specifier}' leads to no declaration`)
}

const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
const emit = ['--noEmit', 'false', '--emitDeclarationOnly', '--declaration', '--outDir', emitted]
execFileSync(process.execPath, [tsc, '-p', path.join(root, 'tsconfig.build.json'), ...emit], {
  stdio: 'inherit',
})

const { exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
const queue = Object.values<string | Record<string, string>>(exports).flatMap((entry) =>
  typeof entry === 'string'
    ? []
    : [path.join(emitted, path.relative('src', entry['evenfold-source']!).replace(/\.ts$/, '.d.ts'))],
)
const done = new Set<string>()
for (let file = queue.pop(); file; file = queue.pop()) {
  if (done.has(file)) continue
  done.add(file)
  const from = file
  const text = fs.readFileSync(from, 'utf8').replace(SPECIFIER, (_, before, quote, specifier) => {
    const found = resolve(from, specifier)
    queue.push(found)
    const relative = path.posix.join('.', path.relative(path.dirname(from), found).split(path.sep).join('/'))
    const named = relative.replace(/\.d\.ts$/, '.js')
    return `${before}${quote}${named.startsWith('.') ? named : `./${named}`}${quote}`
  })
  const out = path.join(target, path.relative(emitted, from))
  fs.mkdirSync(path.dirname(out), { recursive: true })
  fs.writeFileSync(out, text)
}
fs.rmSync(emitted, { recursive: true })
