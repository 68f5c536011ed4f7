// WebGPU on a machine without a GPU, from npm alone: no system package, no environment variable to set.
//
// Dawn (npm `webgpu`) opens `libvulkan.so.1` and asks it for a driver; without one `requestAdapter()` gives null.
// `@sparticuz/chromium` carries a Vulkan loader and SwiftShader, a Vulkan driver that runs on the CPU. Both are
// unpacked once and loaded into this process, so that Dawn's own dlopen finds them by name. The machine's own
// driver comes first: this is the fall-back.
import os from 'node:os'
import path from 'node:path'
import { unpackOnce } from './unpack'

/** Names the folder of the unpacked driver to child processes; unset where the machine's own driver is used. */
const CHOSEN = 'EVENFOLD_SWIFTSHADER'

/** Makes sure that `requestAdapter()` finds something; called once, in the main process of a test run. */
export async function ensureVulkan(): Promise<void> {
  if (process.env[CHOSEN]) return preloadChosenDriver()
  if (hasVulkanLoader() && (await hasAdapter())) return
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `No WebGPU adapter here, and the software one is for linux-x64, not ${process.platform}-${process.arch}. ` +
        'Install a driver for Vulkan, Metal or Direct3D 12 to run the WebGPU tests.',
    )
  }
  const folder = unpackOnce('swiftshader', ['swiftshader.tar.br'])
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
  if (folder && !canOpen(path.join(folder, 'libvulkan.so.1'))) {
    throw new Error(`The Vulkan loader in ${folder} does not load. Delete that folder and try again.`)
  }
}

/** Only Linux has a Vulkan loader to look for first: Dawn prints a warning where it is missing. */
function hasVulkanLoader(): boolean {
  return process.platform !== 'linux' || canOpen('libvulkan.so.1')
}

/**
 * Opens a shared library and keeps it. Node closes one that is not an addon and says so; NODELETE keeps it mapped
 * all the same, and Dawn's later dlopen("libvulkan.so.1") then finds it by its SONAME.
 */
function canOpen(library: string): boolean {
  const RTLD_NODELETE = 0x1000
  try {
    process.dlopen({ exports: {} }, library, os.constants.dlopen.RTLD_NOW | RTLD_NODELETE)
    return true
  } catch (error) {
    return /did not self-register/.test(String(error))
  }
}

/** Entry points made here. Collected while the answer is under way, one would crash the process. */
const entryPoints: GPU[] = []

async function hasAdapter(): Promise<boolean> {
  const { create } = await import('webgpu')
  const gpu = create([])
  entryPoints.push(gpu)
  return (await gpu.requestAdapter()) !== null
}
