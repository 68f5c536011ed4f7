// What the library needs from the place it runs in, and nothing more. `node.ts` and `browser.ts` export the same
// names; package.json's `imports` chooses between them (`#platform`), so no other file names `node:` or `webgpu`.

/** A worker under way. */
export interface PlatformWorker {
  /** Calls `then` when it has ended of itself. */
  onEnd(then: () => void): void
  /** Ends it, whatever it does. */
  stop(): void
}

/** Everything that `#platform` exports; both files are checked against it. */
export interface Platform {
  readonly name: 'node' | 'browser'

  /**
   * The WebGPU entry point, or null where there is none (no `webgpu` package, or a browser without WebGPU).
   * `onlyIfLikely`: also null, without the driver's own warnings, where no adapter can be expected.
   */
  requestGPU(options?: { onlyIfLikely?: boolean }): Promise<GPU | null>

  /** Logical cores, at least 1. */
  hardwareConcurrency(): number
  /** Why memory cannot be shared with workers here; null where it can. */
  sharingObstacle(): string | null
  /**
   * Starts a worker with the source of a function `(setup, ready) => …`; resolves once that has called `ready`. From then
   * on the worker does not keep a process from ending.
   */
  startWorker(source: string, setup: object): Promise<PlatformWorker>
  /** Lets timers, finalizers and user events run, then goes on. */
  yieldMacrotask(): Promise<void>

  /** True if `path` names something. */
  exists(path: string): Promise<boolean>
  /** Size of a file in bytes. */
  fileSize(path: string): Promise<number>
  /** The bytes of a file, or `length` of them from `offset` (fewer at the end of the file). */
  readFile(path: string, offset?: number, length?: number): Promise<Uint8Array<ArrayBuffer>>
  /** The file in chunks of about `chunkSize` bytes; memory stays constant. */
  readChunks(path: string, chunkSize?: number): AsyncIterable<Uint8Array<ArrayBuffer>>
  /**
   * Replaces a file as a whole: a temporary file beside it, fsync, rename. After a crash or on a full disk the
   * old content is still there.
   */
  writeFileAtomic(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>
  /** Appends text or bytes to a file, made if missing together with its folder. */
  appendFile(path: string, content: string | Uint8Array): Promise<void>
  /** Makes a folder and its parents. */
  makeFolder(path: string): Promise<void>
  /** Names in a folder, sorted. */
  listFolder(path: string): Promise<string[]>
  /** Removes a file if it is there. */
  removeFile(path: string): Promise<void>

  /**
   * Calls `handler` once on the user's request to stop (Ctrl-C, SIGTERM); a second request ends the process as
   * usual. Returns a function that withdraws it. In a page nothing ever calls it.
   */
  onInterrupt(handler: () => void): () => void
}
