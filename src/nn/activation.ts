// Elementwise activations and their relatives as modules, so that they can stand in a Sequential.

import { gelu, relu, sigmoid, silu, softplus, tanh } from '../tensor/ops/elementwise'
import { logSoftmax, softmax } from '../tensor/ops/softmax'
import { flatten } from '../tensor/ops/views'
import type { Tensor } from '../tensor/tensor'
import { Module } from './module'

export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return relu(x)
  }
}

/** `approximate`: 'none' (erf, default) or 'tanh'. */
export class GELU extends Module {
  readonly approximate: 'none' | 'tanh'

  constructor({ approximate = 'none' }: { approximate?: 'none' | 'tanh' } = {}) {
    super()
    this.approximate = approximate
  }

  forward(x: Tensor): Tensor {
    return gelu(x, { approximate: this.approximate })
  }
}

export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return silu(x)
  }
}

export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return tanh(x)
  }
}

export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return sigmoid(x)
  }
}

export class Softplus extends Module {
  forward(x: Tensor): Tensor {
    return softplus(x)
  }
}

/** Over axis `dim`, default the last. */
export class Softmax extends Module {
  constructor(readonly dim = -1) {
    super()
  }

  forward(x: Tensor): Tensor {
    return softmax(x, this.dim)
  }
}

/** Over axis `dim`, default the last. */
export class LogSoftmax extends Module {
  constructor(readonly dim = -1) {
    super()
  }

  forward(x: Tensor): Tensor {
    return logSoftmax(x, this.dim)
  }
}

/** Passes its input on. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x
  }
}

/** Merges axes `startDim` to `endDim`; by default all but the first. */
export class Flatten extends Module {
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super()
  }

  forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim)
  }
}
