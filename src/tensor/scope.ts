// Memory scopes: `tidy` and `noGrad` release what is made inside and not returned.
//
// There is one global stack, because browsers cannot follow a scope across awaits. A synchronous callback is
// exact; an async one owns whatever runs until it settles. Values the tape saves live on: it holds its own
// references.

import { ScopeOverlapError } from '../errors'
import type { Tensor } from './tensor'

interface Frame {
  readonly name: string
  /** Null for frames that only switch gradients on or off. */
  readonly tensors: Set<Tensor> | null
  readonly grad: boolean | null
  /** An overlapping scope closed meanwhile: whose the tensors are is unknown, so none is released. */
  mixed?: boolean
}

const stack: Frame[] = []

/** Called by every new tensor. */
export function track(tensor: Tensor): void {
  for (let i = stack.length - 1; i >= 0; i--) {
    const { tensors } = stack[i]
    if (tensors) {
      tensors.add(tensor)
      return
    }
  }
}

/** Takes a tensor out of every open scope: parameters, gradients and optimizer state outlive the code that makes them. */
export function escapeScopes<T extends Tensor>(tensor: T): T {
  for (const frame of stack) frame.tensors?.delete(tensor)
  return tensor
}

/** Whether ops are being recorded for backward. */
export function gradEnabled(): boolean {
  for (let i = stack.length - 1; i >= 0; i--) {
    const { grad } = stack[i]
    if (grad !== null) return grad
  }
  return true
}

/**
 * Runs `fn` and releases every tensor made inside that it does not return (at any depth of arrays and objects),
 * `keep` or assign to a parameter's `grad`. An async `fn` owns whatever runs until it settles.
 * @throws ScopeOverlapError if scopes close in another order than they opened (overlapping async scopes).
 */
export function tidy<R>(fn: () => R): R {
  return run({ name: 'tidy', tensors: new Set(), grad: null }, fn)
}

/** `tidy`, and ops inside are not recorded for backward. */
export function noGrad<R>(fn: () => R): R {
  return run({ name: 'noGrad', tensors: new Set(), grad: false }, fn)
}

/** Records ops inside `fn` even within `noGrad`. Releases nothing. */
export function enableGrad<R>(fn: () => R): R {
  return run({ name: 'enableGrad', tensors: null, grad: true }, fn)
}

/** Switches recording for `fn` without owning memory; for the backward pass. */
export function withGradMode<R>(grad: boolean, fn: () => R): R {
  return run({ name: 'gradMode', tensors: null, grad }, fn)
}

function run<R>(frame: Frame, fn: () => R): R {
  stack.push(frame)
  let result: R
  try {
    result = fn()
  } catch (error) {
    abandon(frame)
    throw error
  }
  if (result instanceof Promise) {
    return result.then(
      (value) => {
        close(frame, value)
        return value
      },
      (error) => {
        abandon(frame)
        throw error
      },
    ) as R
  }
  close(frame, result)
  return result
}

/** Takes a frame off the stack. False where scopes opened after it are still open. */
function remove(frame: Frame): boolean {
  if (stack[stack.length - 1] === frame) {
    stack.pop()
    return true
  }
  const at = stack.lastIndexOf(frame)
  const above = stack.splice(at).slice(1)
  for (const other of above) other.mixed = true
  stack.push(...above)
  return false
}

function close(frame: Frame, result: unknown): void {
  const inOrder = remove(frame)
  if (!frame.tensors) return
  if (!inOrder) {
    // Nothing is lost: the collector will find what is unused.
    throw new ScopeOverlapError(
      `${frame.name}: an async scope ended while another one opened inside it was still running; ` +
        'await inner scopes before the outer one ends, and do not run two async scopes side by side',
    )
  }
  eachTensor(result, (tensor) => {
    if (frame.tensors?.delete(tensor)) track(tensor)
  })
  release(frame)
}

function release({ tensors, mixed }: Frame): void {
  if (!tensors || mixed) return
  for (const tensor of tensors) if (!tensor.isKept) tensor.dispose()
}

/** After an error: release what was made, and leave the error to be the one that is seen. */
function abandon(frame: Frame): void {
  if (remove(frame)) release(frame)
}

let isTensor: (value: object) => value is Tensor = (_): _ is Tensor => false

/** Breaks the import cycle: the Tensor class announces itself. */
export function setTensorGuard(guard: (value: object) => value is Tensor): void {
  isTensor = guard
}

/** Visits every tensor reachable through arrays, maps, sets and object properties. */
export function eachTensor(
  value: unknown,
  visit: (tensor: Tensor) => void,
  seen: Set<object> = new Set(),
): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || seen.has(value)) return
  seen.add(value)
  if (isTensor(value)) visit(value)
  else if (value instanceof Map) for (const v of value.values()) eachTensor(v, visit, seen)
  else if (Array.isArray(value) || value instanceof Set) for (const v of value) eachTensor(v, visit, seen)
  else for (const v of Object.values(value)) eachTensor(v, visit, seen)
}
