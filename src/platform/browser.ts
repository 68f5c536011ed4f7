// The platform in a page or a Web Worker. Paths mean nothing there: file functions throw and say to pass bytes.
import { ArgumentError } from '../errors'
import type { Platform } from './types'

function noFiles(path: string): never {
  throw new ArgumentError(
    `Cannot open '${path}': there are no files in a browser. Pass the bytes or the text itself ` +
      '(for example from fetch(url) or an <input type="file">).',
  )
}

/** A message to oneself is a macrotask that browsers do not slow down, as they do with setTimeout. */
function yieldMacrotask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}

export const platform: Platform = {
  name: 'browser',
  requestGPU: async () => globalThis.navigator?.gpu ?? null,
  hardwareConcurrency: () => Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1),
  yieldMacrotask,
  exists: async (path) => noFiles(path),
  fileSize: async (path) => noFiles(path),
  readFile: async (path) => noFiles(path),
  readChunks: (path) => ({ [Symbol.asyncIterator]: () => ({ next: async () => noFiles(path) }) }),
  writeFileAtomic: async (path) => noFiles(path),
  appendFile: async (path) => noFiles(path),
  makeFolder: async (path) => noFiles(path),
  listFolder: async (path) => noFiles(path),
  removeFile: async (path) => noFiles(path),
  onInterrupt: () => () => {},
}
