// The only public ways to change a tensor in place, and only where no graph can be looking.

import { ArgumentError, DTypeError, GraphError } from '../errors'
import { sameDevice } from './ops/apply'
import { cast } from './ops/cast'
import { copy, expand, fillStorage } from './ops/views'
import { gradEnabled, noGrad } from './scope'
import { copyProgram, type Tensor } from './tensor'

function checkMutable(op: string, x: Tensor): void {
  if (!x.isLeaf)
    throw new GraphError(`${op}: only leaves can be changed in place; this tensor is the result of an op`)
  if (x.requiresGrad && gradEnabled()) {
    throw new GraphError(`${op}: a leaf that requires a gradient can only be changed inside noGrad(() => …)`)
  }
  if (x.size > 1 && x.strides.some((s, i) => s === 0 && x.shape[i] > 1)) {
    throw new ArgumentError(`${op}: an expanded view repeats its elements and cannot be written`)
  }
}

/** Overwrites x with `source`, broadcast and converted to x's dtype. Returns x. */
export function copyInto(x: Tensor, source: Tensor): Tensor {
  checkMutable('copy_', x)
  sameDevice('copy_', [x, source])
  noGrad(() => {
    const wide = expand(cast(source, x.dtype), x.shape)
    // A kernel must not read a shifted window of what it writes.
    const values = wide.storage === x.storage ? copy(wide) : wide
    if (x.size > 0) x.backend.elementwise(copyProgram(x.dtype), [values.view()], [], [x.view()])
  })
  x.storage.version++
  x.storage.range = x.size === x.storage.length && source.dtype === x.dtype ? source.idRange : null
  return x
}

/** Overwrites every element with a number. Returns x. */
export function fill(x: Tensor, value: number): Tensor {
  checkMutable('fill_', x)
  if (x.dtype === 'int32' && (value | 0) !== value)
    throw new DTypeError(`fill_: ${value} is not a 32-bit integer`)
  fillStorage(x, value)
  x.storage.version++
  x.storage.range = null
  return x
}
