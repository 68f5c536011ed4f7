// The platform in a page or a Web Worker. Paths mean nothing there: file functions throw and say to pass bytes.
import { ArgumentError } from '../errors'
import type { Platform, PlatformWorker } from './types'

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

/** From a URL of its own text, so that no bundler has to know of it. */
async function startWorker(source: string, setup: object): Promise<PlatformWorker> {
  const text = `onmessage = ({ data }) => { const __name = (f) => f; (${source})(data, () => postMessage(0)) }`
  const url = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }))
  try {
    const worker = new Worker(url)
    await new Promise<void>((ready, failed) => {
      worker.onmessage = () => ready()
      worker.onerror = ({ message }) =>
        failed(
          new Error(
            message || "its script was refused; a content security policy has to allow 'worker-src blob:'",
          ),
        )
      worker.postMessage(setup)
    })
    return {
      onEnd: (then) => {
        worker.onerror = then
      },
      stop: () => worker.terminate(),
    }
  } finally {
    URL.revokeObjectURL(url)
  }
}

export const platform: Platform = {
  name: 'browser',
  requestGPU: async () => globalThis.navigator?.gpu ?? null,
  hardwareConcurrency: () => Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1),
  sharingObstacle: () =>
    globalThis.crossOriginIsolated
      ? null
      : 'this page is not cross-origin isolated; serve it with the headers Cross-Origin-Opener-Policy: same-origin and ' +
        'Cross-Origin-Embedder-Policy: require-corp',
  startWorker,
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
