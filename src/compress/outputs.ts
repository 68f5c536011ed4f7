// Running a model to look at it: in evaluation mode, without gradients, its outputs compared or its inputs on the cpu.

import { ArgumentError } from '../errors'
import type { Module } from '../nn/module'
import { eachTensor, noGrad } from '../tensor/scope'
import { scalarType, Tensor } from '../tensor/tensor'

/** Calls `fn` with the model in evaluation mode, each module back in its own mode after. */
export function evaluating<R>(model: Module, fn: () => R): R {
  const modes = model.modules().map((module) => [module, module.training] as const)
  const restore = (): void => {
    for (const [module, training] of modes) module.training = training
  }
  model.eval()
  try {
    return fn()
  } finally {
    restore()
  }
}

/** What `forward` returns for `inputs`: every float tensor in it. */
export async function outputsOf(model: Module, inputs: readonly unknown[]): Promise<ArrayLike<number>[]> {
  const tensors: Tensor[] = []
  evaluating(model, () =>
    noGrad(() => {
      const output: unknown = (model.forward as (...args: unknown[]) => unknown)(...inputs)
      eachTensor(output, (t) => {
        if (scalarType(t.dtype) === 'float') tensors.push(t)
      })
      return output
    }),
  )
  if (tensors.length === 0) throw new ArgumentError(`${model.constructor.name} returned no float tensor`)
  const values: ArrayLike<number>[] = []
  for (const t of tensors) {
    values.push(await t.data())
    t.dispose()
  }
  return values
}

/**
 * Remembers what the model computes from `inputs` now; the function returned throws ArgumentError if it then computes
 * something else: by more than 1e-4 of the largest value in float32, 1e-10 in float64.
 */
export async function sameOutputs(
  model: Module,
  inputs: readonly unknown[],
): Promise<(where: string) => Promise<void>> {
  const before = await outputsOf(model, inputs)
  return async (where) => {
    const after = await outputsOf(model, inputs)
    after.forEach((values, k) => {
      const expected = before[k]
      let [largest, apart] = [0, values.length === expected?.length ? 0 : Number.POSITIVE_INFINITY]
      for (let i = 0; i < values.length; i++) {
        largest = Math.max(largest, Math.abs(expected?.[i] ?? 0))
        const d = Math.abs(values[i] - (expected?.[i] ?? 0))
        if (!(d <= apart)) apart = d
      }
      const bound = values instanceof Float64Array ? 1e-10 * largest + 1e-12 : 1e-4 * largest + 1e-6
      if (!(apart <= bound)) {
        throw new ArgumentError(
          `${where}: what is left computes something else than the masked model: output ${k} differs by ${apart}; the model is as it was`,
        )
      }
    })
  }
}

/** Calls `fn` with the model and its inputs on the cpu, in evaluation mode, and brings the model back where it was. */
export async function onCpu<R>(
  model: Module,
  inputs: readonly unknown[],
  fn: (inputs: readonly unknown[]) => R,
): Promise<R> {
  const away = model.parameters().some((p) => p.device !== 'cpu')
  if (away) await model.cpu()
  try {
    const own = (await localized(inputs)) as readonly unknown[]
    return evaluating(model, () => fn(own))
  } finally {
    if (away) model.to('webgpu')
  }
}

/** A copy of a structure with its tensors on the cpu. */
async function localized(value: unknown): Promise<unknown> {
  if (value instanceof Tensor) return value.device === 'cpu' ? value : value.cpu()
  if (Array.isArray(value)) return Promise.all(value.map(localized))
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  const entries = await Promise.all(
    Object.entries(value).map(async ([key, item]) => [key, await localized(item)] as const),
  )
  return Object.fromEntries(entries)
}
