// Module: names, state, movement between dtypes, hooks, and what errors say.
import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import { Buffer, Module, Parameter } from '../src/nn'

class Affine extends Module {
  weight: Parameter
  bias: Parameter
  constructor(size: number) {
    super()
    this.weight = new Parameter(ef.ones([size, size]))
    this.bias = new Parameter(ef.zeros([size]))
  }
  forward(x: ef.Tensor): ef.Tensor {
    return x.matmul(this.weight.T).add(this.bias)
  }
}

class Net extends Module {
  static override readonly keys = { W: 'W' }
  W = new Affine(2)
  selfAttention = new Affine(2)
  layers = [new Affine(2), new Affine(2)]
  positionTable = new Buffer(ef.arange(3))
  scratch = new Buffer(ef.zeros([1]), { persistent: false })
  weightIhL0Reverse = new Parameter(ef.ones([1]))
  forward(x: ef.Tensor): ef.Tensor {
    return this.layers.reduce((h, layer) => layer.forward(h), this.selfAttention.forward(this.W.forward(x)))
  }
}

describe('names', () => {
  it('are PyTorch’s: snake_case, list positions, the static map; own tensors before children', () => {
    expect(Object.keys(new Net().stateDict())).toEqual([
      'weight_ih_l0_reverse',
      'position_table',
      'W.weight',
      'W.bias',
      'self_attention.weight',
      'self_attention.bias',
      'layers.0.weight',
      'layers.0.bias',
      'layers.1.weight',
      'layers.1.bias',
    ])
  })
})
