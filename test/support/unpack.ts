// The binaries that `@sparticuz/chromium` carries (a browser, a software Vulkan driver, system libraries a bare
// container lacks), unpacked once below node_modules/.cache, which `npm ci` clears along with the rest.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const require = createRequire(import.meta.url)
const bin = path.join(path.dirname(require.resolve('@sparticuz/chromium')), '../../bin')
const cache = path.resolve(path.dirname(require.resolve('webgpu/package.json')), '../.cache/evenfold')

/**
 * Unpacks the named archives of the package flat into one folder and returns it; a later call finds it there.
 * A `.tar.br` gives its files, `name.br` one executable called `name`.
 */
export function unpackOnce(title: string, archives: string[]): string {
  // The sizes name the version: another release of the package gets a folder of its own.
  const sizes = archives.map((archive) => fs.statSync(path.join(bin, archive)).size)
  const folder = path.join(cache, [title, ...sizes].join('-'))
  if (fs.existsSync(folder)) return folder
  // By way of a folder of this process and a rename, so that a run cut short leaves nothing half done.
  const temporary = `${folder}.${process.pid}`
  fs.mkdirSync(temporary, { recursive: true })
  for (const archive of archives) {
    const bytes = brotliDecompressSync(fs.readFileSync(path.join(bin, archive)))
    const files = archive.endsWith('.tar.br')
      ? tarFiles(bytes)
      : [{ name: archive.slice(0, -3), body: bytes }]
    for (const { name, body } of files) fs.writeFileSync(path.join(temporary, name), body, { mode: 0o755 })
  }
  try {
    fs.renameSync(temporary, folder)
  } catch {
    fs.rmSync(temporary, { recursive: true, force: true }) // another process was first
  }
  return folder
}

/** The plain files of a tar archive: headers of 512 bytes with the name at 0, the octal size at 124, the type at 156. */
function* tarFiles(tar: Buffer): Generator<{ name: string; body: Buffer }> {
  for (let at = 0; at + 512 <= tar.length; ) {
    const name = tar.toString('utf8', at, tar.indexOf(0, at))
    if (name === '') return // two empty blocks end the archive
    const size = Number.parseInt(tar.toString('utf8', at + 124, at + 136), 8) || 0
    const type = tar.toString('utf8', at + 156, at + 157)
    if (type === '0' || type === '\0')
      yield { name: path.basename(name), body: tar.subarray(at + 512, at + 512 + size) }
    at += 512 + Math.ceil(size / 512) * 512
  }
}
