// What the scripts of test pages share: the two functions a test calls on a page, and how a worker reports.
declare global {
  interface Window {
    inPage(): Promise<number[]>
    inWorker(): Promise<number[]>
  }
}

/** Resolves to the one message that a worker posts, or rejects with its error. */
export function runWorker(worker: Worker): Promise<number[]> {
  return new Promise<number[]>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<number[]>) => resolve(event.data)
    worker.onerror = (event) => reject(new Error(`In the worker: ${event.message}`))
  }).finally(() => worker.terminate())
}
