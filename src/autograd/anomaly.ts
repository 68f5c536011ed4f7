// detectAnomaly: which op made the first NaN or infinity.
//
// Values cannot be read while a step runs, so each op's verdict (one bool) stays on the device and all are read
// in order at the end.

import { input } from '../backend/expr'
import { Program } from '../backend/program'
import { NonFiniteError } from '../errors'
import { modulePath } from '../tensor/context'
import { escapeScopes } from '../tensor/scope'
import { scalarType, Tensor } from '../tensor/tensor'

interface Sighting {
  readonly op: string
  readonly flag: Tensor
  readonly stack: string
}

/** Where an op of the forward pass was called, for messages about its backward. */
export interface Origin {
  readonly op: string
  readonly stack: string
}

let watching: Sighting[] | null = null
/** The node whose backward is running. */
let undoing: Origin | null = null

const NON_FINITE = new Program([input(0).isFinite().not()], 1)

/** The calls that led here, without the library's own last few. Null when nobody watches. */
export function origin(op: string): Origin | null {
  if (!watching) return null
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 30
  const stack = new Error().stack?.split('\n').slice(3).join('\n') ?? ''
  Error.stackTraceLimit = stackTraceLimit
  return { op, stack }
}

/** Runs the backward of an op, so that what goes wrong in it is put down to that op. */
export function undo<R>(from: Origin | null, fn: () => R): R {
  if (!from) return fn()
  const outer = undoing
  undoing = { ...from, op: `backward of ${from.op}` }
  try {
    return fn()
  } finally {
    undoing = outer
  }
}

/** Called with the outputs of every op, forward and backward. */
export function observe(op: string, outputs: readonly (Tensor | null)[]): void {
  if (!watching) return
  for (const t of outputs) {
    if (!t || scalarType(t.dtype) !== 'float' || t.size === 0) continue
    const flag = escapeScopes(Tensor.allocate(t.backend, 'bool', []))
    t.backend.reduce('max', NON_FINITE, [t.view()], [], flag.view())
    const path = modulePath()
    watching.push({ ...(undoing ?? (origin(path === '' ? op : `${op} in ${path}`) as Origin)), flag })
  }
}

/**
 * Runs `fn` and checks the result of every op, forward and backward, for NaN and infinity.
 * Slow: one extra reduction per op. Resolves to what `fn` returns.
 * @throws NonFiniteError naming the first op whose result (or whose gradients) were not finite, with the place the op was called from.
 */
export async function detectAnomaly<R>(fn: () => R | Promise<R>): Promise<R> {
  const outer = watching
  const mine: Sighting[] = []
  watching = mine
  try {
    const result = await fn()
    watching = outer
    for (const { op, flag, stack } of mine) {
      if ((await flag.item()) !== 0)
        throw new NonFiniteError(`${op} gave a NaN or infinite value; the op was called\n${stack}`)
    }
    return result
  } finally {
    watching = outer
    for (const { flag } of mine) flag.dispose()
  }
}
