// What all optimizers share: parameter groups, state on the device, saving, and the guard against bad steps.
//
// Nothing here reads a value back. Each step reduces all gradients to one flag, whether any of them is not finite;
// the update kernels look at it and leave weights and state alone, and the number of the first such step
// stays in a second cell until someone asks. So a NaN never reaches the weights, and no step waits for the GPU.

import { elementwiseEach, reduceEach } from '../backend/each'
import { type Expr, input, scalar } from '../backend/expr'
import { Program } from '../backend/program'
import type { DType, ElementwiseCall } from '../backend/types'
import { ArgumentError, DeviceError, FormatError } from '../errors'
import { zeros } from '../tensor/create'
import { cpu, to } from '../tensor/ops/cast'
import { fillStorage } from '../tensor/ops/views'
import { escapeScopes, noGrad } from '../tensor/scope'
import { contiguousStrides, formatShape, sameShape } from '../tensor/shape'
import { Tensor } from '../tensor/tensor'

/** Parameters with options of their own. */
export type ParameterGroup<Options> = { params: Iterable<Tensor> } & Partial<Options>

/** A group as the optimizer holds it; schedulers change `lr`. */
export type Group<Options> = { params: Tensor[] } & Options

/** Everything needed to go on: options per group, counters, and the tensors by `<parameter index>.<name>`. */
export interface OptimizerState {
  groups: Record<string, number | boolean>[]
  steps: number[]
  stepCount: number
  tensors: Record<string, Tensor>
}

/** What is kept for a parameter: how many steps it took, and tensors of its shape by name. */
interface ParameterState {
  step: number
  readonly tensors: Record<string, Tensor>
}

/** Elements of a storage that state tensors share, at most: 64 MiB of float32. */
const SHARED_ELEMENTS = 2 ** 24

/** State tensors start at multiples of 64 bytes. */
const aligned = (size: number): number => Math.ceil(size / 16) * 16

/** Cuts a list of parameters into runs that share a storage. */
function runs(params: readonly Tensor[]): Tensor[][] {
  const lists: Tensor[][] = []
  let room = 0
  for (const p of params) {
    room -= aligned(p.size)
    if (room < 0 || lists.length === 0) {
      lists.push([])
      room = SHARED_ELEMENTS - aligned(p.size)
    }
    lists[lists.length - 1].push(p)
  }
  return lists
}

const NON_FINITE = new Program([input(0).isFinite().not()], 1)
const FIRST_BAD = new Program([input(0, 'bool').and(input(1).eq(0)).where(scalar(0), input(1))], 2, 1)

/** The old value where the step is a bad one. */
export function unless(bad: Expr, value: Expr, old: Expr): Expr {
  return bad.where(old, value)
}

/** `t`, kept for `p`, on the device of `p` and in `dtype`; itself where it is so already, else `t` is released. */
export function beside(owner: string, p: Tensor, t: Tensor, dtype: DType): Tensor {
  if (t.backend === p.backend && t.dtype === dtype) return t
  if (t.backend !== p.backend && t.device !== 'cpu') {
    throw new DeviceError(
      `${owner}: the model is on '${p.device}', the state kept beside it on '${t.device}'; bring it over with its \`await cpu()\``,
    )
  }
  const moved = escapeScopes(to(to(t, dtype), p.device))
  t.dispose()
  return moved
}

/** What every optimizer does: groups of parameters, their state, a step that skips what is not finite. */
export abstract class Optimizer<Options extends { lr: number }> {
  readonly groups: Group<Options>[] = []
  readonly #state = new Map<Tensor, ParameterState>()
  #stepCount = 0
  /** Number of the first step with a non-finite gradient, 0 if none; on the device. */
  #firstBad: Tensor | null = null

  constructor(params: Iterable<Tensor> | Iterable<ParameterGroup<Options>>, defaults: Options) {
    const list = [...(params as Iterable<Tensor | ParameterGroup<Options>>)]
    if (list.length === 0)
      throw new ArgumentError(`${new.target.name}: got no parameters; pass model.parameters()`)
    const groups =
      list[0] instanceof Tensor ? [{ params: list as Tensor[] }] : (list as ParameterGroup<Options>[])
    const seen = new Set<Tensor>()
    for (const group of groups) {
      if (typeof group?.params?.[Symbol.iterator] !== 'function')
        throw new ArgumentError(
          `${new.target.name}: expected parameters, or groups { params, lr, ... }, got ${String(group)}`,
        )
      const tensors = [...group.params]
      for (const p of tensors) {
        if (!(p instanceof Tensor) || !p.isLeaf)
          throw new ArgumentError(`${new.target.name}: parameters must be leaf tensors`)
        if (seen.has(p))
          throw new ArgumentError(`${new.target.name}: a parameter appears in two groups or twice in one`)
        seen.add(p)
      }
      const given = Object.fromEntries(Object.entries(group).filter(([, v]) => v !== undefined))
      this.groups.push({ ...defaults, ...given, params: tensors } as Group<Options>)
    }
    for (const group of this.groups) this.check(group)
  }

  /** Refuses options outside their range. */
  protected abstract check(group: Group<Options>): void

  /** Names of the state tensors this group keeps per parameter; they start at zero. */
  protected abstract stateNames(group: Group<Options>): readonly string[]

  /** The in-place update: outputs are the new parameter and the new state tensors, in order. */
  protected abstract update(
    group: Group<Options>,
    step: number,
  ): { program: Program; scalars: readonly number[] }

  /** How many times `step` has been called. */
  get stepCount(): number {
    return this.#stepCount
  }

  /**
   * Updates every parameter that has a gradient. If any gradient of the step is NaN or infinite, nothing changes and
   * the step is remembered: see `firstBadStep`. State follows parameters that were moved to webgpu or another dtype.
   * @throws DeviceError for parameters on different devices, or on the cpu with state still on webgpu: `await cpu()`.
   */
  step(): void {
    noGrad(() => {
      const ready = this.groups.map((group) => ({ group, params: group.params.filter((p) => p.grad) }))
      const params = ready.flatMap((r) => r.params)
      // Whatever can fail comes before the first change.
      this.#settle(params)
      this.#stepCount++
      if (params.length === 0) return
      const filled = params.filter((p) => p.size > 0)
      const bad = filled.length > 0 ? this.#guard(filled) : null
      for (const { group, params: list } of ready) {
        const names = this.stateNames(group)
        this.#extendState(list, names)
        // Parameters with a gradient since equally many steps are updated with the same numbers, hence together.
        const bySteps = new Map<number, Tensor[]>()
        for (const p of list) {
          const { step } = this.#advance(p)
          if (bad && p.size > 0) bySteps.set(step, [...(bySteps.get(step) ?? []), p])
          p.storage.version++
        }
        for (const [step, same] of bySteps) {
          const { program, scalars } = this.update(group, step)
          const calls = same.map((p) => this.#operands(p, bad as Tensor, names))
          elementwiseEach(same[0].backend, program, calls, scalars)
        }
      }
    })
  }

  /** Drops the gradients, so that the next backward starts from none. */
  zeroGrad(): void {
    for (const group of this.groups) {
      for (const p of group.params) {
        if (p.grad && !p.grad.isKept)
          p.grad.dispose('a gradient used after zeroGrad(); use keep(p.grad) to hold it')
        p.grad = null
      }
    }
  }

  /** The number of the first `step` that was skipped because a gradient was not finite, or null. Reads the device. */
  async firstBadStep(): Promise<number | null> {
    const step = this.#firstBad ? await this.#firstBad.item() : 0
    return step === 0 ? null : step
  }

  /** Forgets a bad step, to go on after one. */
  clearBadStep(): void {
    if (this.#firstBad) fillStorage(this.#firstBad, 0)
  }

  /**
   * Releases what the optimizer keeps beside the parameters, for one that is not needed any more, such as that of a round of
   * iterative pruning. A later `step` would begin anew.
   */
  dispose(): void {
    for (const { tensors } of this.#state.values()) for (const t of Object.values(tensors)) t.dispose()
    this.#state.clear()
    this.#firstBad?.dispose()
    this.#firstBad = null
  }

  /** Brings the state of parameters that are on the cpu there; needed once, after `await model.cpu()`. */
  async cpu(): Promise<this> {
    for (const [p, { tensors }] of this.#state) {
      if (p.device !== 'cpu') continue
      for (const [name, t] of Object.entries(tensors)) {
        if (t.device === 'cpu') continue
        tensors[name] = escapeScopes(await cpu(t))
        t.dispose()
      }
    }
    if (this.#firstBad?.device === 'webgpu' && this.#allParams().every((p) => p.device === 'cpu')) {
      const cell = this.#firstBad
      this.#firstBad = escapeScopes(await cpu(cell))
      cell.dispose()
    }
    return this
  }

  /** Parameters on one device, their state and the cell for bad steps beside them. */
  #settle(params: readonly Tensor[]): void {
    for (const p of params) {
      if (p.backend !== params[0].backend)
        throw new DeviceError(
          `${this.constructor.name}.step: parameters are on '${params[0].device}' and '${p.device}'; move the model to one device with to()`,
        )
    }
    for (const p of params) {
      const tensors = this.#state.get(p)?.tensors ?? {}
      for (const [name, t] of Object.entries(tensors))
        tensors[name] = beside(this.constructor.name, p, t, p.dtype)
    }
    const [first] = params
    if (first)
      this.#firstBad = this.#firstBad
        ? beside(this.constructor.name, first, this.#firstBad, 'float32')
        : escapeScopes(zeros([], { device: first.device }))
  }

  #guard(params: readonly Tensor[]): Tensor {
    const { backend } = params[0]
    const bad = Tensor.allocate(backend, 'bool', [])
    const grads = params.map((p) => [(p.grad as Tensor).view()])
    reduceEach(backend, 'max', NON_FINITE, grads, [], bad.view())
    const cell = (this.#firstBad as Tensor).view()
    backend.elementwise(FIRST_BAD, [bad.view(), cell], [this.#stepCount], [cell])
    return bad
  }

  /** What the update of a parameter reads and writes. */
  #operands(p: Tensor, bad: Tensor, names: readonly string[]): ElementwiseCall {
    const { tensors } = this.#stateOf(p)
    const own = [p, ...names.map((name) => tensors[name])].map((t) => t.view())
    const flag = { ...bad.view(), shape: p.shape, strides: p.shape.map(() => 0) }
    return { inputs: [own[0], (p.grad as Tensor).view(), flag, ...own.slice(1)], outputs: own }
  }

  #advance(p: Tensor): ParameterState {
    const state = this.#stateOf(p)
    state.step++
    return state
  }

  #stateOf(p: Tensor): ParameterState {
    let state = this.#state.get(p)
    if (!state) {
      state = { step: 0, tensors: {} }
      this.#state.set(p, state)
    }
    return state
  }

  /**
   * Zeros where a parameter lacks a state tensor, also where a schedule switches momentum on later. Those of one name lie
   * side by side in one storage: a kernel that updates many parameters binds few buffers.
   */
  #extendState(params: readonly Tensor[], names: readonly string[]): void {
    for (const name of names) {
      const lacking = params.filter((p) => !this.#stateOf(p).tensors[name])
      const kinds = new Map<string, Tensor[]>()
      for (const p of lacking) {
        const kind = `${p.device} ${p.dtype}`
        kinds.set(kind, [...(kinds.get(kind) ?? []), p])
      }
      for (const alike of kinds.values()) {
        const [{ dtype, device }] = alike
        for (const run of runs(alike)) {
          const room = run.reduce((n, p) => n + aligned(p.size), 0)
          const all = zeros([room], { dtype, device })
          let offset = 0
          for (const p of run) {
            const own = all.window(offset, p.shape, contiguousStrides(p.shape))
            this.#stateOf(p).tensors[name] = escapeScopes(own)
            offset += aligned(p.size)
          }
          all.dispose()
        }
      }
    }
  }

  #allParams(): Tensor[] {
    return this.groups.flatMap((g) => g.params)
  }

  /** Options, counters and state tensors (the live ones, not copies), by the parameters' order. */
  stateDict(): OptimizerState {
    const tensors: Record<string, Tensor> = {}
    const steps = this.#allParams().map((p, i) => {
      const state = this.#state.get(p)
      for (const [name, t] of Object.entries(state?.tensors ?? {})) tensors[`${i}.${name}`] = t
      return state?.step ?? 0
    })
    const groups = this.groups.map(
      ({ params: _, ...options }) => options as unknown as Record<string, number | boolean>,
    )
    return { groups, steps, stepCount: this.#stepCount, tensors }
  }

  /**
   * Continues from a saved state; nothing changes if it does not fit.
   * @throws FormatError for other groups, parameters or shapes.
   */
  loadStateDict(saved: OptimizerState): void {
    for (const [part, ok] of Object.entries({
      groups: Array.isArray(saved?.groups),
      steps: Array.isArray(saved?.steps),
      stepCount: Number.isInteger(saved?.stepCount),
      tensors: typeof saved?.tensors === 'object' && saved.tensors !== null,
    })) {
      if (!ok) throw new FormatError(`optimizer state does not fit: it has no ${part}`)
    }
    const params = this.#allParams()
    const expected = this.groups.flatMap((g) => g.params.map(() => this.stateNames(g)))
    const problems: string[] = []
    if (saved.groups.length !== this.groups.length)
      problems.push(`${saved.groups.length} groups, expected ${this.groups.length}`)
    if (saved.steps.length !== params.length)
      problems.push(`${saved.steps.length} parameters, expected ${params.length}`)
    for (const [key, t] of Object.entries(saved.tensors)) {
      const [index, name] = key.split('.')
      const p = params[Number(index)]
      if (!p) problems.push(`'${key}' belongs to no parameter`)
      else if (!expected[Number(index)].includes(name))
        problems.push(`'${key}' is not part of ${this.constructor.name}'s state`)
      else if (!sameShape(p.shape, t.shape)) {
        problems.push(`'${key}' has shape ${formatShape(t.shape)}, the parameter ${formatShape(p.shape)}`)
      }
    }
    params.forEach((_, i) => {
      for (const name of saved.steps[i] > 0 ? expected[i] : []) {
        if (!saved.tensors[`${i}.${name}`]) problems.push(`'${i}.${name}' is missing`)
      }
    })
    this.groups.slice(0, saved.groups.length).forEach((group, i) => {
      try {
        this.check({ ...group, ...saved.groups[i] })
      } catch (error) {
        problems.push((error as Error).message)
      }
    })
    if (problems.length > 0) throw new FormatError(`optimizer state does not fit: ${problems.join('; ')}`)
    noGrad(() => {
      // All values are where they belong before the first is written, so that a failure changes nothing.
      const staged = params.map((p, i) =>
        (saved.steps[i] > 0 ? expected[i] : []).map((name): [string, Tensor] => [
          name,
          to(saved.tensors[`${i}.${name}`], p.device),
        ]),
      )
      for (const [i, group] of this.groups.entries()) Object.assign(group, saved.groups[i])
      this.#stepCount = saved.stepCount
      params.forEach((p, i) => {
        const old = Object.values(this.#state.get(p)?.tensors ?? {})
        if (saved.steps[i] === 0 || old.some((t) => t.backend !== p.backend || t.dtype !== p.dtype)) {
          for (const t of old) t.dispose()
          this.#state.delete(p)
        }
      })
      let at = 0
      for (const group of this.groups) {
        const stepped = group.params.filter((_, k) => saved.steps[at + k] > 0)
        this.#extendState(stepped, this.stateNames(group))
        at += group.params.length
      }
      params.forEach((p, i) => {
        if (saved.steps[i] === 0) return
        const state = this.#stateOf(p)
        state.step = saved.steps[i]
        for (const [name, source] of staged[i]) state.tensors[name].copy_(source)
      })
    })
  }
}

/** Shared range checks. */
export function checkRange(name: string, option: string, value: number, ok: boolean, expected: string): void {
  if (!ok || Number.isNaN(value))
    throw new ArgumentError(`${name}: ${option} is ${value}; expected ${expected}`)
}

/** Leaves of an update expression: parameter, gradient, guard, then state. */
export function updateInputs(states: number): { p: Expr; g: Expr; bad: Expr; state: Expr[] } {
  return {
    p: input(0),
    g: input(1),
    bad: input(2, 'bool'),
    state: Array.from({ length: states }, (_, i) => input(3 + i)),
  }
}
