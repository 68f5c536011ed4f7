// What the scripts of test pages share: how a test asks a page, and a page its worker.

/** Resolves to the one message that a worker posts after `request` was posted to it, or rejects with its error. */
export function askWorker<Answer>(worker: Worker, request?: unknown): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<Answer>) => resolve(event.data)
    worker.onerror = (event) => reject(new Error(`In the worker: ${event.message}`))
    worker.postMessage(request)
  }).finally(() => worker.terminate())
}
