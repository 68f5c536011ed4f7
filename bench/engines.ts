// Who is measured, what each can do and how its process is started.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import { WORKLOADS } from './workloads'

export const folder = import.meta.dirname
const built = path.join(folder, '.cache')

export interface Engine {
  name: string
  device: 'cpu' | 'webgpu'
  /** Of `bundleChildren`, without its extension; or PyTorch's script. */
  script: string
  /** Needs the packages of bench/package.json. */
  peer: boolean
  workloads: readonly string[]
  /** Relaxed SIMD, which Node 20 keeps behind a flag. */
  fma?: boolean
}

const ALL = Object.keys(WORKLOADS)
/** Products of int8 are measured on evenfold's cpu alone. */
const FLOATS = ALL.filter((name) => name !== 'int8')
const TFJS = FLOATS.filter((name) => name !== 'lstm' && name !== 'bidirectional')

const evenfold = (name: string, device: Engine['device'], fma = false): Engine => ({
  name: `evenfold-${name}`,
  device,
  script: 'evenfold',
  peer: false,
  workloads: device === 'cpu' ? ALL : FLOATS,
  fma,
})
const peer = (name: string, script: string, workloads: Engine['workloads']): Engine => ({
  name,
  device: name.endsWith('webgpu') ? 'webgpu' : 'cpu',
  script,
  peer: true,
  workloads,
})
const torch = (threads: number): Engine => ({
  ...{ name: `torch-${threads}t`, device: 'cpu', script: 'torch_bench.py', peer: false, workloads: FLOATS },
})

export const ENGINES: readonly Engine[] = [
  evenfold('cpu-1t', 'cpu'),
  evenfold('cpu-1t+fma', 'cpu', true),
  evenfold('cpu-2t', 'cpu'),
  evenfold('cpu-2t+fma', 'cpu', true),
  evenfold('webgpu', 'webgpu'),
  peer('jax-js-1t', 'jax', FLOATS),
  peer('jax-js-2t', 'jax', FLOATS),
  peer('jax-js-webgpu', 'jax', FLOATS),
  peer('tfjs-wasm', 'tfjs', TFJS),
  peer('tfjs-webgpu', 'tfjs', TFJS),
  peer('ort-wasm-1t', 'ort', ['matmul']),
  torch(1),
  torch(2),
]

/** Makes one file of each child and what it imports of the project, as a user's bundler would; packages stay outside. */
export async function bundleChildren(engines: readonly Engine[]): Promise<void> {
  const scripts = new Set(engines.filter(({ script }) => !script.endsWith('.py')).map(entryOf))
  if (scripts.size === 0) return
  await build({
    entryPoints: [...scripts, path.join(folder, 'driver.ts')],
    entryNames: '[name]',
    outdir: built,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['evenfold-source'],
    loader: { '.wgsl': 'text' },
    // Packages stay outside, `#platform` does not: it is the library's own.
    external: ['webgpu', '@sparticuz/chromium', '@jax-js/*', '@tensorflow/*', 'onnxruntime-web'],
    logLevel: 'error',
  })
}

function entryOf({ script, peer }: Engine): string {
  return path.join(folder, peer ? `peers/${script}.mjs` : `${script}.ts`)
}

/** Program and arguments of an engine's process; the job follows. */
export function commandOf(
  { script, device, fma }: Engine,
  python: string,
): [program: string, ...args: string[]] {
  if (script.endsWith('.py')) return [python, path.join(folder, 'peers', script)]
  const file = path.join(built, `${script}.mjs`)
  return [
    process.execPath,
    ...(fma && !hasRelaxedSimd() ? ['--experimental-wasm-relaxed-simd'] : []),
    // The software driver has to be in the process before Dawn looks for one.
    ...(device === 'webgpu' ? ['--import', `file://${path.join(built, 'driver.mjs')}`] : []),
    file,
  ]
}

/** Whether this Node takes `f32x4.relaxed_madd` as it is (from 22 on): then there is no flag for it. */
export function hasRelaxedSimd(): boolean {
  const type = [1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b]
  const body = [0, 0x20, 0, 0x20, 1, 0x20, 2, 0xfd, 0x85, 0x02, 0x0b]
  const code = [10, body.length + 2, 1, body.length, ...body]
  return WebAssembly.validate(
    Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...type, 3, 2, 1, 0, ...code]),
  )
}

/** Installs the peers where they are missing. @throws Error with what npm said. */
export function installPeers(): void {
  if (existsSync(path.join(folder, 'node_modules/.package-lock.json'))) return
  console.error(`installing the peers of ${path.join(folder, 'package.json')} (once, about 500 MB)`)
  const { status, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the peers could not be installed:\n${stderr}`)
}

export function hasTorch(python: string): boolean {
  return spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0
}
