// Module: a tree of layers that knows its parameters by name.
//
// A subclass assigns modules, parameters, buffers or arrays of them to its own properties, and defines `forward` as
// a method; there is nothing to register. The base constructor wraps `forward` once, so that errors and the tape
// know the path of the running layer and hooks run.

import type { DeviceName, DType } from '../backend/types'
import { ArgumentError, FormatError } from '../errors'
import { enterModule, leaveModule } from '../tensor/context'
import { copyInto } from '../tensor/mutate'
import { cpu, to } from '../tensor/ops/cast'
import { eachTensor, escapeScopes, noGrad } from '../tensor/scope'
import { formatShape, sameShape } from '../tensor/shape'
import { scalarType, Tensor } from '../tensor/tensor'
import { Buffer, Parameter } from './parameter'

/** Tensors under PyTorch's names: `rnn.weight_ih_l0`. */
export type StateDict = Record<string, Tensor>

type Owned = Module | Parameter | Buffer

/** Where a module holds something: `owner[property]`, the owner being the module or an array in it. */
export interface Slot<Member = Owned> {
  /** As in a state dict, without the module's own path. */
  readonly name: string
  readonly member: Member
  readonly owner: object
  readonly property: string
}

/** A module whose forward takes one tensor to one tensor. */
export type Layer = Module & { forward(input: Tensor): Tensor }

interface Frame {
  readonly module: Module
  /** Path from the outermost running module, '' for that one. */
  readonly path: string
}

/** The modules whose `forward` is running, outermost first. */
const running: Frame[] = []
const namesWithin = new WeakMap<Module, Map<Module, string>>()

/** Tensors that live until the outermost running `forward` ends. */
const untilEnd = new Set<Tensor>()

/**
 * Keeps a tensor for the rest of the outermost `forward` that is running, whatever scopes end before, and releases it
 * then, unless it is part of the output. False if none is running.
 */
export function keepDuringForward(tensor: Tensor): boolean {
  if (running.length === 0) return false
  untilEnd.add(escapeScopes(tensor))
  return true
}

function releaseAfterForward(output: unknown): void {
  if (untilEnd.size === 0) return
  eachTensor(output, (t) => {
    untilEnd.delete(t)
  })
  for (const t of untilEnd) t.dispose('a parametrized tensor used after the forward that computed it')
  untilEnd.clear()
}

/** Path of `inner` below `outer`, or null if it is not part of it. */
function nameWithin(outer: Module, inner: Module): string | null {
  const known = namesWithin.get(outer)?.get(inner)
  if (known !== undefined) return known
  const names = new Map(outer.namedModules().map(([name, module]) => [module, name]))
  namesWithin.set(outer, names)
  return names.get(inner) ?? null
}

function pathOf(module: Module): string {
  for (let i = running.length - 1; i >= 0; i--) {
    const name = nameWithin(running[i].module, module)
    if (name !== null) return join(running[i].path, name)
  }
  return running.length === 0 ? '' : module.constructor.name
}

function join(path: string, name: string): string {
  return path === '' ? name : name === '' ? path : `${path}.${name}`
}

function snakeCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()
}

/** Base class of all layers and models. */
export abstract class Module {
  /**
   * State-dict names of properties whose name in snake_case is not the right one: `static keys = { W: 'W' }`. An empty
   * name drops the level. A subclass that adds names spreads those of its parent.
   */
  static readonly keys: Readonly<Record<string, string>> = {}

  /** Whether layers such as Dropout behave as in training. Set by `train()` and `eval()`. */
  training = true
  readonly #hooks = new Set<(module: never, args: never, output: never) => unknown>()
  readonly #forward: unknown

  constructor() {
    const { forward } = this
    this.#forward = (...args: never[]): unknown => this.#run(forward, args)
    // Not enumerable: own enumerable properties are the module's members.
    Object.defineProperty(this, 'forward', { value: this.#forward, writable: true, configurable: true })
  }

  /** Computes the module's output. Subclasses define it as a method, with arguments of their own. */
  abstract forward(...args: never[]): unknown

  #run(forward: (...args: never[]) => unknown, args: never[]): unknown {
    return this.inside(() => {
      let output = forward.apply(this, args)
      for (const hook of this.#hooks) {
        const replaced = hook(this as never, args as never, output as never)
        if (replaced !== undefined) output = replaced
      }
      return output
    })
  }

  /** Runs `fn` as `forward` runs: errors and the tape name this module's path. For methods that others call beside it. */
  protected inside<R>(fn: () => R): R {
    const path = pathOf(this)
    running.push({ module: this, path })
    enterModule(path === '' ? this.constructor.name : path)
    let output: R | undefined
    try {
      output = fn()
      return output
    } finally {
      leaveModule()
      running.pop()
      if (running.length === 0) releaseAfterForward(output)
    }
  }

  /**
   * Calls `hook(module, args, output)` after every forward; what it returns, unless undefined, replaces the output.
   * Returns a function that removes the hook.
   */
  registerForwardHook<M extends Module>(
    this: M,
    hook: (
      module: M,
      args: Parameters<M['forward']>,
      output: ReturnType<M['forward']>,
    ) => ReturnType<M['forward']> | undefined,
  ): () => void {
    if (this.forward !== this.#forward) {
      throw new ArgumentError(
        `registerForwardHook: ${this.constructor.name}.forward was assigned as a property, so hooks would not run; define it as a method`,
      )
    }
    // A function of its own, so that one hook registered twice runs twice and is removed once.
    const entry = (module: never, args: never, output: never): unknown => hook(module, args, output)
    this.#hooks.add(entry)
    return () => {
      this.#hooks.delete(entry)
    }
  }

  /** Own modules, parameters and buffers, those in arrays too, in the order of declaration. */
  #members(): [name: string, member: Owned][] {
    return slotsOf(this).map(({ name, member }) => [name, member])
  }

  /** Every parameter and buffer under every name it has, in the order of a state dict. */
  #named(): [name: string, tensor: Parameter | Buffer][] {
    const members = this.#members()
    const own = (type: typeof Parameter | typeof Buffer) => members.filter(([, m]) => m instanceof type)
    // As in torch: a module's own parameters, then its own buffers, then its children.
    return [
      ...(own(Parameter) as [string, Parameter][]),
      ...(own(Buffer) as [string, Buffer][]),
      ...members.flatMap(([name, m]) =>
        m instanceof Module
          ? m.#named().map(([inner, t]): [string, Parameter | Buffer] => [join(name, inner), t])
          : [],
      ),
    ]
  }

  /** Child modules with their names, each once. */
  namedChildren(): [name: string, module: Module][] {
    return once(this.#members().filter((entry): entry is [string, Module] => entry[1] instanceof Module))
  }

  /** Child modules, each once. */
  children(): Module[] {
    return this.namedChildren().map(([, module]) => module)
  }

  /** This module (named '') and all below it, each once, parents first. */
  namedModules(): [name: string, module: Module][] {
    const walk = (path: string, module: Module): [string, Module][] => [
      [path, module],
      ...module.namedChildren().flatMap(([name, child]) => walk(join(path, name), child)),
    ]
    return once(walk('', this))
  }

  /** This module and all below it, each once. */
  modules(): Module[] {
    return this.namedModules().map(([, module]) => module)
  }

  /** All parameters with their state-dict names; a tied one once, under its first name. */
  namedParameters(): [name: string, parameter: Parameter][] {
    return once(this.#named().filter((entry): entry is [string, Parameter] => entry[1] instanceof Parameter))
  }

  /** All parameters, a tied one once. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter)
  }

  /** All buffers with their names, each once. */
  namedBuffers(): [name: string, buffer: Buffer][] {
    return once(this.#named().filter((entry): entry is [string, Buffer] => entry[1] instanceof Buffer))
  }

  buffers(): Buffer[] {
    return this.namedBuffers().map(([, buffer]) => buffer)
  }

  /** Makes `values` a buffer in the property `name`. Assigning `new Buffer(values)` is the same, and typed. */
  registerBuffer(name: string, values: Tensor, options: { persistent?: boolean } = {}): Buffer {
    if (name in this)
      throw new ArgumentError(`registerBuffer: ${this.constructor.name} has a property '${name}' already`)
    const buffer = new Buffer(values, options)
    Object.assign(this, { [name]: buffer })
    return buffer
  }

  /** Parameters and persistent buffers by PyTorch's names: the live tensors, not copies. Tied ones under every name. */
  stateDict(): StateDict {
    return Object.fromEntries(this.#named().filter(([, t]) => t instanceof Parameter || t.persistent))
  }

  /**
   * Copies values in, converted to this module's dtypes and moved to its device. With `strict: false` missing and
   * unexpected keys are allowed and returned.
   * @throws FormatError listing all missing, unexpected and unfitting keys; nothing has been changed then.
   */
  loadStateDict(
    state: Readonly<StateDict>,
    { strict = true }: { strict?: boolean } = {},
  ): { missingKeys: string[]; unexpectedKeys: string[] } {
    const own = this.stateDict()
    const missingKeys = Object.keys(own).filter((key) => !Object.hasOwn(state, key))
    const unexpectedKeys = Object.keys(state).filter((key) => !Object.hasOwn(own, key))
    const unfitting: string[] = []
    for (const [key, target] of Object.entries(own)) {
      const source = Object.hasOwn(state, key) ? state[key] : target
      if (!(source instanceof Tensor)) unfitting.push(`${key}: a ${typeof source}, expected a tensor`)
      else if (!sameShape(source.shape, target.shape)) {
        unfitting.push(
          `${key}: shape ${formatShape(source.shape)}, the model's is ${formatShape(target.shape)}`,
        )
      } else if (scalarType(source.dtype) !== scalarType(target.dtype)) {
        unfitting.push(`${key}: ${source.dtype}, the model's is ${target.dtype}`)
      }
    }
    const absent = strict ? missingKeys : []
    const extra = strict ? unexpectedKeys : []
    if (absent.length + extra.length + unfitting.length > 0) {
      const lines = [
        ...absent.map((key) => `  missing: ${key}`),
        ...extra.map((key) => `  unexpected: ${key}`),
        ...unfitting.map((line) => `  does not fit: ${line}`),
      ]
      throw new FormatError(
        `loadStateDict: the state does not fit ${this.constructor.name}; nothing was loaded.\n${lines.join('\n')}`,
      )
    }
    noGrad(() => {
      // All values are on the device before the first is written, so that a failure changes nothing.
      const staged = Object.entries(own).flatMap(([key, target]): [Tensor, Tensor][] =>
        Object.hasOwn(state, key) ? [[target, to(state[key], target.device)]] : [],
      )
      for (const [target, source] of staged) copyInto(target, source)
    })
    return { missingKeys, unexpectedKeys }
  }

  /** Training mode for this module and all below it. */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode
    return this
  }

  /** Evaluation mode: no dropout. */
  eval(): this {
    return this.train(false)
  }

  /**
   * Moves parameters, buffers and gradients to a device, or the float ones to a float dtype. The tensors keep their
   * identity, so optimizers and tied weights go on working.
   * @throws DeviceError from webgpu to cpu (use `await model.cpu()`); DTypeError for a dtype the device does not have.
   */
  to(target: DType | DeviceName): this {
    const isDevice = target === 'cpu' || target === 'webgpu'
    if (!isDevice && target !== 'float32' && target !== 'float64') {
      throw new ArgumentError(
        `Module.to: '${String(target)}' is not a device or float dtype; expected 'cpu', 'webgpu', 'float32' or 'float64'`,
      )
    }
    const moved = noGrad(() =>
      this.#tensors()
        .filter((t) =>
          isDevice ? t.device !== target : scalarType(t.dtype) === 'float' && t.dtype !== target,
        )
        .map((t): [Parameter | Buffer, Tensor, Tensor | null] => [
          t,
          to(t, target),
          t.grad && to(t.grad, target),
        ]),
    )
    this.#settle(moved)
    return this
  }

  /** Moves everything to the cpu; from webgpu this needs a read. */
  async cpu(): Promise<this> {
    const moved: [Parameter | Buffer, Tensor, Tensor | null][] = []
    for (const t of this.#tensors()) {
      if (t.device === 'cpu') continue
      // No scope that ends while the next one is being read may take these.
      const values = escapeScopes(await cpu(t))
      moved.push([t, values, t.grad && escapeScopes(await cpu(t.grad))])
    }
    this.#settle(moved)
    return this
  }

  #tensors(): (Parameter | Buffer)[] {
    return [...new Set(this.#named().map(([, t]) => t))]
  }

  #settle(moved: readonly [Parameter | Buffer, Tensor, Tensor | null][]): void {
    for (const [t, values, grad] of moved) {
      t.adopt(values)
      if (!grad || grad === t.grad) continue
      if (!t.grad?.isKept) t.grad?.dispose()
      t.grad = escapeScopes(grad)
    }
  }

  /** Drops all gradients: `grad` is null until the next backward. Kept ones stay readable. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) {
      if (!parameter.grad?.isKept) parameter.grad?.dispose()
      parameter.grad = null
    }
  }

  /** Freezes (false) or unfreezes all parameters. */
  requiresGrad_(value = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = value
    return this
  }

  /** Calls `fn` on all modules below this one and then on this one, children first. */
  apply(fn: (module: Module) => void): this {
    for (const child of this.children()) child.apply(fn)
    fn(this)
    return this
  }
}

/** What a property of a module is called in a state dict. */
export function keyOf(module: Module, property: string): string {
  return (module.constructor as typeof Module).keys[property] ?? snakeCase(property)
}

/** Where a module holds its own modules, parameters and buffers, in the order of declaration. */
export function slotsOf(module: Module): Slot[] {
  const found: Slot[] = []
  const visit = (name: string, member: unknown, owner: object, property: string): void => {
    if (member instanceof Module || member instanceof Parameter || member instanceof Buffer)
      found.push({ name, member, owner, property })
    else if (Array.isArray(member)) {
      for (const [i, item] of member.entries()) visit(join(name, String(i)), item, member, String(i))
    }
  }
  for (const [property, value] of Object.entries(module))
    visit(keyOf(module, property), value, module, property)
  return found
}

/** Entries whose value was not seen before. */
function once<T>(entries: readonly [string, T][]): [string, T][] {
  const seen = new Set<T>()
  return entries.filter(([, value]) => !seen.has(value) && seen.add(value))
}
