// Parameter and Buffer: the tensors a module owns.
//
// Both are ordinary tensors that no memory scope releases, and whose values a module can move to another device or
// dtype while the tensor itself, and so every tie, optimizer and gradient that refers to it, stays the same.

import { copy } from '../tensor/ops/views'
import { escapeScopes, noGrad } from '../tensor/scope'
import { Tensor } from '../tensor/tensor'

abstract class OwnedTensor extends Tensor {
  /** Shares memory with `values` where they are laid out row by row, else copies them. */
  constructor(values: Tensor) {
    const source = values.isContiguous ? values : noGrad(() => copy(values))
    source.storage.retain()
    super(source.storage, source.offset, source.shape, source.strides)
    if (source !== values) source.dispose()
    escapeScopes(this)
  }

  /** Takes over the memory of `values`, a fresh contiguous tensor of the same shape, and disposes it. */
  adopt(values: Tensor): void {
    values.storage.retain()
    this.rehome(values.storage, values.offset)
    values.dispose()
  }
}

/**
 * A tensor that training changes: a leaf with `requiresGrad` that a module reports in `parameters()`.
 * @throws DTypeError for values that are not float.
 */
export class Parameter extends OwnedTensor {
  constructor(values: Tensor, { requiresGrad = true }: { requiresGrad?: boolean } = {}) {
    super(values)
    this.requiresGrad = requiresGrad
  }
}

/** A tensor that belongs to a module's state but is not trained: masks, running averages, tables of positions. */
export class Buffer extends OwnedTensor {
  /** Whether `stateDict()` holds it. */
  readonly persistent: boolean

  constructor(values: Tensor, { persistent = true }: { persistent?: boolean } = {}) {
    super(values)
    this.persistent = persistent
  }
}
