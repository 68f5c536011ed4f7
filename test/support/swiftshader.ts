// WebGPU on a machine without a GPU, from npm alone: no system package, no environment variable to set.
//
// Dawn (npm `webgpu`) opens `libvulkan.so.1` and asks it for a driver; without one `requestAdapter()` gives null.
// `@sparticuz/chromium` carries SwiftShader, a Vulkan driver that runs on the CPU, and a Vulkan loader, packed in
// bin/swiftshader.tar.br. They are unpacked once below node_modules/.cache and loaded into this process, so that
// Dawn's own dlopen finds them by name. The machine's own driver comes first: this is the fall-back.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

/** Names the folder of the unpacked driver to child processes; unset where the machine's own driver is used. */
const CHOSEN = 'EVENFOLD_SWIFTSHADER'
const FILES = ['libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json']

const require = createRequire(import.meta.url)

/** Makes sure that `requestAdapter()` finds something; called once, in the main process of a test run. */
export async function ensureVulkan(): Promise<void> {
  if (process.env[CHOSEN]) return preloadChosenDriver()
  if (await hasAdapter()) return
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `No WebGPU adapter on this machine, and the software one is for linux-x64, not ${process.platform}-${process.arch}. ` +
        'Install a Vulkan, Metal or Direct3D 12 driver to run the WebGPU tests.',
    )
  }
  const folder = unpackSwiftShader()
  process.env[CHOSEN] = folder
  process.env.VK_ICD_FILENAMES = path.join(folder, 'vk_swiftshader_icd.json')
  process.env.XDG_RUNTIME_DIR ??= os.tmpdir()
  preloadChosenDriver()
  if (!(await hasAdapter())) {
    throw new Error(`The software Vulkan driver in ${folder} was loaded, but Dawn still finds no adapter.`)
  }
}

/** Loads the driver chosen by `ensureVulkan` into this process; does nothing where the machine's own is used. */
export function preloadChosenDriver(): void {
  const folder = process.env[CHOSEN]
  if (!folder) return
  // Node closes a library that is not an addon, and says so; NODELETE keeps it mapped all the same, and Dawn's
  // later dlopen("libvulkan.so.1") then finds it by its SONAME.
  const RTLD_NODELETE = 0x1000
  try {
    process.dlopen(
      { exports: {} },
      path.join(folder, 'libvulkan.so.1'),
      os.constants.dlopen.RTLD_NOW | RTLD_NODELETE,
    )
  } catch (error) {
    if (!/did not self-register/.test(String(error))) throw error
  }
}

async function hasAdapter(): Promise<boolean> {
  const { create } = await import('webgpu')
  return (await create([]).requestAdapter()) !== null
}

/** Unpacks the three files of the driver and returns their folder; a second call finds them there. */
export function unpackSwiftShader(): string {
  const archive = path.join(
    path.dirname(require.resolve('@sparticuz/chromium')),
    '../../bin/swiftshader.tar.br',
  )
  const cache = path.resolve(path.dirname(require.resolve('webgpu/package.json')), '../.cache/evenfold')
  // The size names the version: another release of the package gets a folder of its own.
  const folder = path.join(cache, `swiftshader-${fs.statSync(archive).size}`)
  if (FILES.every((name) => fs.existsSync(path.join(folder, name)))) return folder
  unpackTarBrotli(archive, folder, (name) => FILES.includes(name))
  return folder
}

/** Writes the chosen files of a .tar.br flat into `folder`, by way of a temporary one, so that two runs may race. */
export function unpackTarBrotli(archive: string, folder: string, wanted: (name: string) => boolean): void {
  const temporary = `${folder}.${process.pid}`
  fs.mkdirSync(temporary, { recursive: true })
  for (const { name, type, body, link } of tarEntries(brotliDecompressSync(fs.readFileSync(archive)))) {
    const base = path.basename(name)
    if (!wanted(base)) continue
    if (type === '2') fs.symlinkSync(path.basename(link), path.join(temporary, base))
    else if (type === '0' || type === '') fs.writeFileSync(path.join(temporary, base), body, { mode: 0o755 })
  }
  try {
    fs.renameSync(temporary, folder)
  } catch {
    fs.rmSync(temporary, { recursive: true, force: true }) // another process was first
  }
}

/** The entries of a tar archive: 512-byte headers (name at 0, octal size at 124, type at 156, link at 157). */
function* tarEntries(tar: Buffer): Generator<{ name: string; type: string; link: string; body: Buffer }> {
  const text = (start: number, length: number) => {
    const field = tar.toString('utf8', start, start + length)
    const end = field.indexOf('\0')
    return end < 0 ? field : field.slice(0, end)
  }
  for (let at = 0; at + 512 <= tar.length; ) {
    const name = text(at, 100)
    if (name === '') return
    const size = Number.parseInt(text(at + 124, 12), 8) || 0
    const body = tar.subarray(at + 512, at + 512 + size)
    yield { name, type: text(at + 156, 1), link: text(at + 157, 100), body }
    at += 512 + Math.ceil(size / 512) * 512
  }
}
