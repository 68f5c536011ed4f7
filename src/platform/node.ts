// The platform under Node: WebGPU from the optional package `webgpu` (Dawn), files from `node:fs`.
import { createReadStream } from 'node:fs'
import { access, appendFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ArgumentError, EvenfoldError, FileError } from '../errors'
import type { Platform, PlatformWorker } from './types'

/**
 * Held to the end of the process, which it does not keep from ending: once this object is collected, whatever Dawn
 * still has to do for a device of it (a read under way, an error to report) crashes or hangs.
 */
let gpu: GPU | null = null
let temporaryFiles = 0

/** Dawn prints a warning where Linux has no Vulkan loader; a machine that is fine with its cpu need not see it. */
function hasGraphicsLoader(): boolean {
  if (process.platform !== 'linux') return true
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1')
  } catch (error) {
    // Found, but of course no addon of Node's: any other complaint than a missing file.
    return !messageOf(error).includes('cannot open shared object file')
  }
  return true
}

async function requestGPU({ onlyIfLikely = false } = {}): Promise<GPU | null> {
  if (onlyIfLikely && !hasGraphicsLoader()) return null
  if (gpu) return gpu
  // A variable, so that no bundler tries to resolve the optional package.
  const specifier = 'webgpu'
  let dawn: typeof import('webgpu')
  try {
    dawn = await import(/* @vite-ignore */ specifier)
  } catch (error) {
    if (isCode(error, 'ERR_MODULE_NOT_FOUND') || isCode(error, 'MODULE_NOT_FOUND')) return null
    throw new EvenfoldError(`The package 'webgpu' is installed but does not load: ${messageOf(error)}`, {
      cause: error,
    })
  }
  // The constants (GPUBufferUsage, GPUMapMode ...) and classes that a browser has as globals.
  for (const [name, value] of Object.entries(dawn.globals)) {
    if (!(name in globalThis))
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  }
  gpu = dawn.create([])
  return gpu
}

async function writeFileAtomic(
  path: string,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const folder = dirname(path)
  // In the same folder, since rename is atomic only within one file system.
  const temporary = `${path}.${process.pid}-${temporaryFiles++}.tmp`
  await explained('write', path, async () => {
    await mkdir(folder, { recursive: true })
    try {
      const file = await open(temporary, 'wx')
      try {
        for await (const part of parts) await writeFully(file, part)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    await syncFolder(folder)
  })
}

type FileHandle = Awaited<ReturnType<typeof open>>

async function writeFully(file: FileHandle, part: Uint8Array): Promise<void> {
  for (let done = 0; done < part.byteLength; ) {
    const { bytesWritten } = await file.write(part, done, part.byteLength - done)
    done += bytesWritten
  }
}

/** Makes the rename itself durable; some systems cannot open a folder, and there it is left to them. */
async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle
  try {
    handle = await open(folder, 'r')
  } catch {
    return
  }
  try {
    await handle.sync()
  } catch (error) {
    if (!isCode(error, 'EINVAL') && !isCode(error, 'EPERM') && !isCode(error, 'EISDIR')) throw error
  } finally {
    await handle.close()
  }
}

async function readFile(path: string, offset = 0, length?: number): Promise<Uint8Array<ArrayBuffer>> {
  return explained('read', path, async () => {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      // Never more than the file holds, whatever a header claims.
      const wanted = Math.max(0, Math.min(length ?? size, size - offset))
      const bytes = new Uint8Array(wanted)
      let done = 0
      while (done < wanted) {
        const { bytesRead } = await file.read(bytes, done, wanted - done, offset + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return done === wanted ? bytes : bytes.slice(0, done)
    } finally {
      await file.close()
    }
  })
}

async function* readChunks(path: string, chunkSize = 1 << 16): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: chunkSize }))
      yield new Uint8Array(chunk)
  } catch (error) {
    throw fileError('read', path, error)
  }
}

function onInterrupt(handler: () => void): () => void {
  const signals = ['SIGINT', 'SIGTERM'] as const
  const withdraw = () => {
    for (const signal of signals) process.off(signal, listener)
  }
  const listener = () => {
    withdraw() // the next one ends the process
    handler()
  }
  for (const signal of signals) process.on(signal, listener)
  return withdraw
}

/** Runs a file operation and turns what it throws into an error that names the file and says what to do. */
async function explained<T>(verb: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw fileError(verb, path, error)
  }
}

function fileError(verb: string, path: string, error: unknown): EvenfoldError {
  if (error instanceof EvenfoldError) return error
  const options = { cause: error }
  const start = `Cannot ${verb} '${path}'`
  if (isCode(error, 'ENOENT')) return new ArgumentError(`${start}: there is no such file or folder.`, options)
  if (isCode(error, 'EISDIR')) return new ArgumentError(`${start}: it is a folder; name a file.`, options)
  if (['EACCES', 'EPERM', 'EROFS'].some((code) => isCode(error, code))) {
    return new FileError(`${start}: permission denied. Name another place, or change its rights.`, options)
  }
  if (['ENOSPC', 'EDQUOT', 'EFBIG'].some((code) => isCode(error, code))) {
    return new FileError(
      `${start}: the disk is full or its quota used up. Free some space and try again.`,
      options,
    )
  }
  return new FileError(`${start}: ${messageOf(error)}`, options)
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

async function startWorker(source: string, setup: object): Promise<PlatformWorker> {
  // Loaders such as tsx name functions with a helper, __name.
  const text = `const { workerData, parentPort } = require('node:worker_threads')
    const __name = (f) => f
    ;(${source})(workerData, () => parentPort.postMessage(0))`
  // Without the flags of this process: a loader among them would take longer to start than the worker.
  const worker = new Worker(text, { eval: true, workerData: setup, execArgv: [], name: 'evenfold' })
  await new Promise<void>((ready, failed) => {
    worker.once('message', () => ready())
    worker.once('error', failed)
    worker.once('exit', (code) => failed(new Error(`it ended with exit code ${code}`)))
  })
  worker.unref()
  return {
    onEnd: (then) => {
      worker.once('exit', then)
    },
    stop: () => void worker.terminate(),
  }
}

export const platform: Platform = {
  name: 'node',
  requestGPU,
  hardwareConcurrency: () => availableParallelism(),
  sharingObstacle: () => null,
  startWorker,
  yieldMacrotask: () => new Promise((resolve) => setImmediate(resolve)),
  exists: (path) =>
    access(path).then(
      () => true,
      () => false,
    ),
  fileSize: (path) => explained('read', path, async () => (await stat(path)).size),
  readFile,
  readChunks,
  writeFileAtomic,
  appendFile: (path, content) =>
    explained('write', path, async () => {
      await mkdir(dirname(path), { recursive: true })
      await appendFile(path, content)
    }),
  makeFolder: (path) => explained('make', path, async () => void (await mkdir(path, { recursive: true }))),
  listFolder: (path) => explained('read', path, async () => (await readdir(path)).sort()),
  removeFile: (path) => explained('remove', path, () => rm(path, { force: true })),
  onInterrupt,
}
