// As much of a browser's Worker as jax-js needs for its threads: scripts from blob: URLs on Node's worker threads.
import { resolveObjectURL } from 'node:buffer'
import { Worker as NodeWorker } from 'node:worker_threads'

const PREAMBLE = `
const { parentPort } = require('node:worker_threads')
globalThis.self = globalThis
globalThis.postMessage = (message) => parentPort.postMessage(message)
parentPort.on('message', (data) => self.onmessage({ data }))
`

class BlobWorker {
  #waiting = []
  #worker = null

  constructor(url) {
    void this.#start(resolveObjectURL(String(url)))
  }

  async #start(blob) {
    const worker = new NodeWorker(PREAMBLE + (await blob.text()), { eval: true })
    worker.on('message', (data) => this.onmessage?.({ data }))
    worker.on('error', ({ message }) => this.onerror?.({ message }))
    for (const message of this.#waiting) worker.postMessage(message)
    this.#worker = worker
  }

  postMessage(message) {
    if (this.#worker) this.#worker.postMessage(message)
    else this.#waiting.push(message)
  }

  terminate() {
    this.#worker?.terminate()
  }
}

/** Puts `Worker` in place, and a machine of `threads` cores. */
export function offerWorkers(threads) {
  globalThis.Worker = BlobWorker
  globalThis.navigator ??= {}
  Object.defineProperty(navigator, 'hardwareConcurrency', { value: threads, configurable: true })
}
