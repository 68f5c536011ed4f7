// Whole layers: a list of layers becomes a shorter one, as when a student keeps every other layer of its teacher.

import { ArgumentError } from '../../errors'
import { Module, slotsOf } from '../../nn/module'
import { Tensor } from '../../tensor/tensor'
import { sameOutputs } from '../outputs'
import { recordPass } from '../passes'

export interface RemoveLayersOptions {
  /** State-dict path of the list: `layers`, `encoder.layer`. */
  list: string
  /** Indices of the layers that stay, ascending. Layers take and give tensors of one shape. */
  keep: readonly number[]
  /** What `forward` takes. If given, the model is compared with itself with those layers passed over. */
  check?: readonly unknown[]
}

/**
 * Takes layers out of a list. The others keep their parameters, so optimizers go on with them.
 * @throws ArgumentError for a path without a list, indices that are not in it, and where `check` finds a difference; the model
 * is then as it was.
 */
export async function removeLayers(model: Module, { list, keep, check }: RemoveLayersOptions): Promise<void> {
  const layers = listAt(model, list)
  const valid = keep.every(
    (k, i) => Number.isInteger(k) && k >= 0 && k < layers.length && (i === 0 || k > keep[i - 1]),
  )
  if (keep.length === 0 || !valid) {
    throw new ArgumentError(
      `removeLayers: keep is [${keep.join(', ')}]; expected ascending indices of '${list}', from 0 to ${layers.length - 1}`,
    )
  }
  const before = [...layers]
  const expected =
    check &&
    (await passedOver(
      before.filter((_, i) => !keep.includes(i)),
      () => sameOutputs(model, check),
    ))
  const set = (next: readonly Module[]): void => {
    layers.splice(0, layers.length, ...next)
  }
  set(keep.map((k) => before[k]))
  try {
    await expected?.('removeLayers')
  } catch (error) {
    set(before)
    throw error
  }
  recordPass(model, 'removeLayers', { list, keep: [...keep] })
}

/** The array that holds the modules `path.0`, `path.1`, … */
function listAt(model: Module, path: string): Module[] {
  for (const [at, module] of model.namedModules()) {
    for (const { name, member, owner } of slotsOf(module)) {
      const own = at === '' ? name : `${at}.${name}`
      if (member instanceof Module && Array.isArray(owner) && own === (path === '' ? '0' : `${path}.0`))
        return owner as Module[]
    }
  }
  const lists = model.namedModules().flatMap(([at]) => (/(^|\.)0$/.test(at) ? [at.replace(/\.?0$/, '')] : []))
  throw new ArgumentError(
    `removeLayers: ${model.constructor.name} has no list '${path}'; it has ${lists.map((at) => `'${at}'`).join(', ') || 'none'}`,
  )
}

/** Runs with layers that give back what they take. */
async function passedOver<R>(layers: readonly Module[], run: () => Promise<R>): Promise<R> {
  const removeHooks = layers.map((layer) =>
    layer.registerForwardHook<Module>((_, args) => {
      const [x] = args as readonly unknown[]
      return (x instanceof Tensor ? x.alias() : x) as never
    }),
  )
  try {
    return await run()
  } finally {
    for (const remove of removeHooks) remove()
  }
}
