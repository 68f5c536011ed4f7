// The package as `npm publish` would send it. Several test files install it; one of them builds it, the others wait.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inject } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const WAIT_MS = 120_000

/** Builds and packs what the working tree holds, once per run of the tests; resolves to the tarball's path. */
export async function packedTarball(): Promise<string> {
  const folder = inject('packFolder')
  const done = path.join(folder, 'tarball')
  try {
    fs.mkdirSync(path.join(folder, 'claimed'))
  } catch {
    const until = Date.now() + WAIT_MS
    while (!fs.existsSync(done)) {
      if (Date.now() > until) throw new Error(`another test file did not pack the package in ${WAIT_MS} ms`)
      await sleep(100)
    }
    return fs.readFileSync(done, 'utf8')
  }
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'pipe' })
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder]
  const tarball = path.join(folder, execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }).trim())
  // Appears whole, or not at all.
  fs.writeFileSync(`${done}.part`, tarball)
  fs.renameSync(`${done}.part`, done)
  return tarball
}

/** Installs the packed package, and nothing else, in a folder made for it. */
export async function installPacked(folder: string): Promise<void> {
  const tarball = await packedTarball()
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const quiet = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
  execFileSync('npm', ['install', ...quiet, tarball], { cwd: folder, stdio: 'pipe' })
}
