/// <reference lib="esnext.disposable" preserve="true" />
// The Tensor: a window (offset, shape, strides) on a storage, and its place in the autograd graph.
//
// This file holds what a tensor *is*: identity, lifetime, reading, printing. What one can do with it lives in
// ops/, one family a file, and is added as methods in methods.ts.

import { platform } from '#platform'
import type { Edge } from '../autograd/tape'
import { input } from '../backend/expr'
import { Program } from '../backend/program'
import type { DeviceName, DType, HostArray, View } from '../backend/types'
import { ArgumentError, DTypeError, GraphError, ReleasedError } from '../errors'
import { inModule } from './context'
import { formatTensor, nest, type Nested } from './format'
import type { Methods } from './methods'
import { escapeScopes, setTensorGuard, track } from './scope'
import { contiguousStrides, formatShape, isContiguous, type Shape, sizeOf } from './shape'
import { type IdRange, Reference, releaseWhenDropped, Storage } from './storage'

const COPY: Record<'float' | 'int' | 'bool', Program> = {
  float: new Program([input(0)], 1),
  int: new Program([input(0, 'int')], 1),
  bool: new Program([input(0, 'bool')], 1),
}

/** The program that copies a tensor of this dtype. */
export function copyProgram(dtype: DType): Program {
  return COPY[scalarType(dtype)]
}

export function scalarType(dtype: DType): 'float' | 'int' | 'bool' {
  return dtype === 'int32' ? 'int' : dtype === 'bool' ? 'bool' : 'float'
}

let nextId = 1
let lastYield = 0

/** Lets timers, signals and finalizers run now and then, also in a loop that only awaits reads. */
export async function breathe(): Promise<void> {
  const now = performance.now()
  if (now - lastYield < 50) return
  await platform.yieldMacrotask()
  lastYield = performance.now()
}

export interface Tensor extends Methods {}
/**
 * An array of numbers or booleans on a device, of any number of axes; ops on it can be recorded for `backward`. Made by
 * `tensor`, `zeros`, `rand` and the like; every op is a method as well: `x.add(y)` is `add(x, y)`.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: whoever makes a tensor adds the methods (methods.ts).
export class Tensor {
  /** No other tensor has it. */
  readonly id = nextId++
  readonly shape: readonly number[]
  /** Accumulated gradient of a leaf with `requiresGrad`, or null. */
  grad: Tensor | null = null
  /** @internal Where gradients flow to: the node that made this tensor, or the leaf itself. For the tape. */
  edge: Edge | null = null
  /** @internal Set by backward: the graph this tensor came from is gone; which op and step that was. For the tape. */
  spent: { readonly why: string; readonly released: boolean } | null = null

  #reference: Reference
  #offset: number
  #strides: readonly number[]
  #released: string | null = null
  #kept = false

  /** @internal Takes over one reference on `storage` from the caller. Users call `tensor`, `zeros` and so on. */
  constructor(storage: Storage, offset: number, shape: Shape, strides: readonly number[]) {
    this.#offset = offset
    this.shape = shape
    this.#strides = strides
    this.#reference = new Reference(storage)
    releaseWhenDropped(this, this.#reference)
    track(this)
  }

  /** @internal A new, uninitialised, contiguous tensor. */
  static allocate(backend: Storage['backend'], dtype: DType, shape: Shape): Tensor {
    return new Tensor(new Storage(backend, dtype, sizeOf(shape)), 0, shape, contiguousStrides(shape))
  }

  /** @internal Another window on the same storage. Not recorded: ops do that. */
  window(offset: number, shape: Shape, strides: readonly number[]): Tensor {
    const { storage } = this
    storage.retain()
    return new Tensor(storage, offset, shape, strides)
  }

  /** @internal A second handle on the same window, at the same place in the graph. */
  alias(): Tensor {
    const other = this.window(this.offset, this.shape, this.strides)
    other.edge = this.edge
    other.spent = this.spent
    return other
  }

  /**
   * @internal
   * @throws ReleasedError after `dispose`, the end of the scope, or the forward pass after its backward.
   */
  get storage(): Storage {
    if (this.#released !== null) throw new ReleasedError(this.#released)
    return this.#reference.storage
  }

  /** Where the window starts in its storage, in elements. */
  get offset(): number {
    return this.#offset
  }

  /** Elements to step per axis; 0 where broadcast, negative where flipped. */
  get strides(): readonly number[] {
    return this.#strides
  }

  get dtype(): DType {
    return this.#reference.storage.dtype
  }

  get device(): DeviceName {
    return this.#reference.storage.backend.name
  }

  /** @internal */
  get backend(): Storage['backend'] {
    return this.#reference.storage.backend
  }

  /** Number of axes. */
  get ndim(): number {
    return this.shape.length
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides)
  }

  get isDisposed(): boolean {
    return this.#released !== null
  }

  get isKept(): boolean {
    return this.#kept
  }

  /** True for tensors made by the user rather than by a recorded op. */
  get isLeaf(): boolean {
    return this.edge === null || this.edge.leaf !== null
  }

  /** Whether gradients flow to this tensor. Settable on leaves of a float dtype. */
  get requiresGrad(): boolean {
    return this.edge !== null
  }

  set requiresGrad(value: boolean) {
    if (!this.isLeaf) {
      throw new GraphError(
        'requiresGrad can only be set on a leaf; use detach() to get a leaf that shares the values',
      )
    }
    if (value && scalarType(this.dtype) !== 'float') {
      throw new DTypeError(`requiresGrad: only float tensors have gradients, this one is ${this.dtype}`)
    }
    this.edge = value ? (this.edge ?? { node: null, index: 0, leaf: this }) : null
  }

  /** @internal Smallest and largest id where they are known: ids from the host, of which this window shows all. */
  get idRange(): IdRange | null {
    const shown = this.shape.reduce((n, size, i) => (this.strides[i] === 0 ? n : n * size), 1)
    return shown === this.storage.length ? this.storage.range : null
  }

  /** @internal The window as backends see it. */
  view(): View {
    const { storage } = this
    return {
      buffer: storage.buffer,
      dtype: storage.dtype,
      offset: this.offset,
      shape: this.shape,
      strides: this.strides,
    }
  }

  /** Gives this handle's claim on the memory back. Other views and the tape keep theirs. Idempotent. */
  dispose(why = 'tensor used after dispose()'): void {
    if (this.#released !== null) return
    this.#released = `${why}${inModule()}; shape ${formatShape(this.shape)}, ${this.dtype}`
    escapeScopes(this)
    this.#reference.release()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal Marks the tensor as owned by the user: scopes, backward and `zeroGrad` leave it alone. */
  markKept(): void {
    this.#kept = true
    escapeScopes(this)
  }

  /**
   * @internal
   * Moves the handle to `storage`, row by row from `offset`, and takes over one reference on it. Identity, place in
   * the graph and `grad` stay. For parameters that change device, dtype or neighbours; users call `module.to`.
   */
  rehome(storage: Storage, offset = 0): void {
    if (this.#released !== null) throw new ReleasedError(this.#released)
    const next = new Reference(storage)
    releaseWhenDropped(this, next)
    this.#reference.release()
    this.#reference = next
    this.#offset = offset
    this.#strides = contiguousStrides(this.shape)
  }

  /** A fresh copy of the elements in row-major order; bool as 0 and 1 in a Uint8Array. */
  async data(): Promise<HostArray> {
    const { storage } = this
    const size = this.size
    if (this.isContiguous) {
      const values = await storage.backend.read(storage.buffer, this.dtype, this.offset, size)
      await breathe()
      return values
    }
    const packed = this.packed()
    try {
      const values = await packed.backend.read(packed.buffer, this.dtype, 0, size)
      await breathe()
      return values
    } finally {
      packed.release()
    }
  }

  /** The elements at once, where the device's memory is the host's (cpu); otherwise null. */
  dataSync(): HostArray | null {
    const { storage } = this
    if (!storage.backend.readSync) return null
    if (this.isContiguous) return storage.backend.readSync(storage.buffer, this.dtype, this.offset, this.size)
    const packed = this.packed()
    try {
      return storage.backend.readSync(packed.buffer, this.dtype, 0, this.size)
    } finally {
      packed.release()
    }
  }

  /** The elements as nested arrays; a number for a scalar; booleans for bool. */
  async tolist(): Promise<Nested> {
    return nest(await this.data(), this.shape, this.dtype)
  }

  /** The value of a one-element tensor. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new ArgumentError(
        `item: the tensor must have one element, this one has shape ${formatShape(this.shape)}`,
      )
    }
    return (await this.data())[0]
  }

  /** Values in PyTorch's layout where they can be read at once (cpu); otherwise shape, dtype and device. */
  toString(): string {
    if (this.#released !== null) return `Tensor(released, shape=${formatShape(this.shape)})`
    return formatTensor(this.dataSync(), this.shape, this.dtype, this.device, this.requiresGrad)
  }

  /** `toString` with the values of any device. */
  async format(): Promise<string> {
    return formatTensor(await this.data(), this.shape, this.dtype, this.device, this.requiresGrad)
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  /** A contiguous copy of the elements in a storage of its own. */
  private packed(): Storage {
    const { storage } = this
    const copy = new Storage(storage.backend, this.dtype, this.size)
    const out: View = {
      buffer: copy.buffer,
      dtype: this.dtype,
      offset: 0,
      shape: this.shape,
      strides: contiguousStrides(this.shape),
    }
    if (this.size > 0) storage.backend.elementwise(copyProgram(this.dtype), [this.view()], [], [out])
    return copy
  }
}

setTensorGuard((value): value is Tensor => value instanceof Tensor)

/** Protects a tensor from scopes, from release after backward and from `zeroGrad`; returns it. */
export function keep<T extends Tensor>(tensor: T): T {
  tensor.markKept()
  return tensor
}
