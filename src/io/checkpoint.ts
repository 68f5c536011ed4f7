// Training checkpoints: model, optimizer, scheduler, random state and loader position in one safetensors
// file. The weights are ordinary tensors (named `model.…`), everything else is JSON in the metadata that
// refers to further tensors, so any program that reads safetensors can open it.

import type { DeviceName } from '../backend/types'
import { ArgumentError, EvenfoldError, FormatError } from '../errors'
import { getRandomState, type RandomState, setRandomState } from '../tensor/random-state'
import type { Tensor } from '../tensor/tensor'
import { openSafetensors, type SafetensorsReader } from './safetensors'
import { decodeTree, type EncodedTree, encodeTree, parseTree } from './state-tree'
import { heldDType, readTensor, saveTensors } from './tensors'

/** A model: `loadStateDict` copies values in and does not adopt the given tensors. */
export interface CheckpointModel {
  stateDict(): Record<string, Tensor>
  loadStateDict(state: Record<string, Tensor>): unknown
}

/**
 * An optimizer or scheduler. Its state is JSON with tensors anywhere in it; `loadStateDict` checks all of
 * it before it changes anything, and copies the tensors.
 */
export interface CheckpointPart {
  stateDict(): object
  loadStateDict(state: object): unknown
}

/** A loader or sampler; its state is JSON. */
export interface CheckpointPosition {
  state(): object
  loadState(state: object): unknown
}

export interface CheckpointParts {
  model: CheckpointModel
  optimizer?: CheckpointPart
  scheduler?: CheckpointPart
  loader?: CheckpointPosition
}

export interface SaveCheckpointOptions extends CheckpointParts {
  /** Optimizer steps done; default 0. */
  step?: number
  /** Anything else: JSON with tensors, e.g. the vocabulary, the best score so far. */
  extra?: unknown
}

/** What a checkpoint says of itself. */
export interface CheckpointInfo {
  step: number
  extra: unknown
}

const FORMAT = 'evenfold.checkpoint'
const VERSION = 1

/**
 * Writes a checkpoint; a kill, an error or a full disk leaves the old file as it was. The state of the
 * library's random source is always part of it. Await it before the next step.
 */
export async function saveCheckpoint(path: string, options: SaveCheckpointOptions): Promise<void> {
  const { model, optimizer, scheduler, loader, step = 0, extra = null } = options
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new ArgumentError(`step: expected a non-negative integer, got ${step}`)
  }
  const tensors = new Map<string, Tensor>()
  for (const [key, value] of Object.entries(model.stateDict())) tensors.set(`model.${key}`, value)
  const state = {
    format: FORMAT,
    version: VERSION,
    step,
    random: { ...getRandomState() },
    extra: encodeTree(extra, 'extra', tensors),
    ...(optimizer && { optimizer: encodeTree(optimizer.stateDict(), 'optimizer', tensors) }),
    ...(scheduler && { scheduler: encodeTree(scheduler.stateDict(), 'scheduler', tensors) }),
    ...(loader && { loader: encodeTree(loader.state(), 'loader', tensors) }),
  }
  const metadata = { format: FORMAT, state: JSON.stringify(state) }
  await saveTensors(path, Object.fromEntries(tensors), { metadata })
}

/** Step and extra of a checkpoint, without its weights: what one needs to build the model that fits. */
export async function readCheckpointInfo(from: string | Blob | Uint8Array): Promise<CheckpointInfo> {
  const file = await CheckpointFile.open(from)
  const tensors = await file.read(['extra'], () => undefined)
  return { step: file.step, extra: file.decode('extra', tensors) }
}

/**
 * Restores everything given from a checkpoint, and the library's random source, so that training goes on
 * as if it had never stopped, bit for bit. Tensors in `extra` are new ones on the model's device.
 *
 * Throws FormatError if the file is malformed, lacks a part that is asked for, or holds a model of
 * another architecture: then missing, unexpected and mis-shaped keys are listed, and nothing is changed.
 */
export async function loadCheckpoint(
  from: string | Blob | Uint8Array,
  parts: CheckpointParts,
): Promise<CheckpointInfo> {
  const { model, optimizer, scheduler, loader } = parts
  const file = await CheckpointFile.open(from)
  for (const part of ['optimizer', 'scheduler', 'loader'] as const) {
    if (parts[part] && !file.has(part)) throw new FormatError(`${file.name} holds no ${part} state`)
  }
  const current = model.stateDict()
  file.checkModel(current)
  const modelDevice = Object.values(current)[0]?.device
  const live = new Map<string, Tensor>(Object.entries(current).map(([key, value]) => [`model.${key}`, value]))
  // Where a part has its tensors already, the stored ones go to the same device.
  if (optimizer) encodeTree(optimizer.stateDict(), 'optimizer', live)
  if (scheduler) encodeTree(scheduler.stateDict(), 'scheduler', live)

  const wanted = ['model', 'extra', ...(optimizer ? ['optimizer'] : []), ...(scheduler ? ['scheduler'] : [])]
  const tensors = await file.read(wanted, (name) => live.get(name)?.device ?? modelDevice)
  const given = new Set<Tensor>()
  const undo: (() => unknown)[] = []
  try {
    const extra = file.decode('extra', tensors, given)
    if (loader) {
      const before = loader.state()
      undo.push(() => loader.loadState(before))
      loader.loadState(file.decode('loader', tensors) as object)
    }
    const random = getRandomState()
    undo.push(() => setRandomState(random))
    setRandomState(file.random)
    if (scheduler) {
      const before = copyOfTree(scheduler.stateDict())
      undo.push(() => scheduler.loadStateDict(before))
      scheduler.loadStateDict(file.decode('scheduler', tensors) as object)
    }
    // These two check before they change anything, so they come last.
    optimizer?.loadStateDict(file.decode('optimizer', tensors) as object)
    model.loadStateDict(
      Object.fromEntries(Object.keys(current).map((key) => [key, tensors.get(`model.${key}`)!])),
    )
    return { step: file.step, extra }
  } catch (error) {
    given.clear()
    for (const restore of undo.reverse()) restore()
    if (error instanceof EvenfoldError) throw error
    throw new FormatError(`${file.name}: a stored state does not fit: ${String(error)}`, { cause: error })
  } finally {
    for (const loaded of tensors.values()) if (!given.has(loaded)) loaded.dispose()
  }
}

/** A copy of the JSON of a state; tensors stay the same ones. */
function copyOfTree(state: object): object {
  const tensors = new Map<string, Tensor>()
  return decodeTree(encodeTree(state, 'state', tensors), (name) => tensors.get(name)!) as object
}

/** An open checkpoint whose metadata has been checked. */
class CheckpointFile {
  readonly name: string
  readonly step: number
  readonly random: RandomState
  readonly #reader: SafetensorsReader
  readonly #state: { [key: string]: EncodedTree }

  private constructor(name: string, reader: SafetensorsReader) {
    this.name = name
    this.#reader = reader
    const { format, state } = reader.metadata
    if (format !== FORMAT || state === undefined) {
      throw new FormatError(
        `${name} holds tensors but is not a checkpoint; use loadTensors and loadStateDict`,
      )
    }
    this.#state = parseTree(state, `${name}: checkpoint state`)
    const { version, step, random } = this.#state
    if (version !== VERSION) {
      throw new FormatError(
        `${name}: checkpoint version ${JSON.stringify(version)}; this library reads ${VERSION}`,
      )
    }
    if (!isCount(step)) throw new FormatError(`${name}: step must be a non-negative integer`)
    const { seed, stream } = (random ?? {}) as Record<string, EncodedTree>
    if (!isCount(seed) || seed > 0xffffffff || !isCount(stream))
      throw new FormatError(`${name}: the random state is malformed`)
    this.step = step
    this.random = { seed, stream }
  }

  static async open(from: string | Blob | Uint8Array): Promise<CheckpointFile> {
    const name = typeof from === 'string' ? from : 'checkpoint'
    return new CheckpointFile(name, await openSafetensors(from, name))
  }

  /** Whether it holds the state of a part. */
  has(part: string): boolean {
    return Object.hasOwn(this.#state, part)
  }

  /** Throws FormatError with everything that differs, unless the model has exactly the stored tensors. */
  checkModel(model: Readonly<Record<string, Tensor>>): void {
    const stored = this.#reader.names().filter((name) => name.startsWith('model.'))
    const missing = Object.keys(model).filter((key) => this.#reader.describe(`model.${key}`) === undefined)
    const unexpected = stored
      .map((name) => name.slice('model.'.length))
      .filter((key) => !Object.hasOwn(model, key))
    const different: string[] = []
    for (const [key, { shape, dtype }] of Object.entries(model)) {
      const found = this.#reader.describe(`model.${key}`)
      if (!found) continue
      const [has, needs] = [describe(heldDType(found.dtype), found.shape), describe(dtype, shape)]
      if (has !== needs) different.push(`${key} (the file has ${has}, the model ${needs})`)
    }
    if (missing.length + unexpected.length + different.length === 0) return
    const lines = [
      ...listing('missing in the file', missing),
      ...listing('unexpected in the file', unexpected),
      ...listing('of another shape or dtype', different),
    ]
    throw new FormatError(`${this.name} does not fit this model; nothing was loaded.\n${lines.join('\n')}`)
  }

  /** Reads all tensors of some parts. */
  async read(
    parts: readonly string[],
    deviceOf: (name: string) => DeviceName | undefined,
  ): Promise<Map<string, Tensor>> {
    const tensors = new Map<string, Tensor>()
    try {
      for (const name of this.#reader.names()) {
        if (!parts.includes(name.split('.', 1)[0]!)) continue
        const device = deviceOf(name)
        tensors.set(name, await readTensor(this.#reader, name, device ? { device } : {}))
      }
    } catch (error) {
      for (const loaded of tensors.values()) loaded.dispose()
      throw error
    }
    return tensors
  }

  /** The state of a part, with its tensors; they are noted in `used`. */
  decode(part: string, tensors: ReadonlyMap<string, Tensor>, used?: Set<Tensor>): unknown {
    return decodeTree(this.#state[part] ?? null, (name) => {
      const found = tensors.get(name)
      if (!found)
        throw new FormatError(`${this.name}: the ${part} state refers to a missing tensor '${name}'`)
      used?.add(found)
      return found
    })
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function describe(dtype: string, shape: readonly number[]): string {
  return `${dtype} [${shape.join(', ')}]`
}

function listing(title: string, keys: readonly string[]): string[] {
  if (keys.length === 0) return []
  const shown = keys.slice(0, 20).join(', ')
  return [`  ${title}: ${shown}${keys.length > 20 ? ` and ${keys.length - 20} more` : ''}`]
}
