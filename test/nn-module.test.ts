// Module: names, state, moves between dtypes, hooks, scopes, and what errors say.
import * as ef from 'evenfold'
import { describe, expect, it } from 'vitest'
import * as nn from '../src/nn'
import { summary } from '../src/nn/summary'

class Affine extends nn.Module {
  weight: nn.Parameter
  bias: nn.Parameter
  constructor(size: number) {
    super()
    this.weight = new nn.Parameter(ef.ones([size, size]))
    this.bias = new nn.Parameter(ef.zeros([size]))
  }
  forward(x: ef.Tensor): ef.Tensor {
    return x.matmul(this.weight.T).add(this.bias)
  }
}

class Net extends nn.Module {
  static override readonly keys = { W: 'W' }
  W = new Affine(2)
  selfAttention = new Affine(2)
  layers = [new Affine(2), new Affine(2)]
  positionTable = new nn.Buffer(ef.arange(3))
  scratch = new nn.Buffer(ef.zeros([1]), { persistent: false })
  weightIhL0Reverse = new nn.Parameter(ef.ones([1]))
  forward(x: ef.Tensor): ef.Tensor {
    return this.layers.reduce((h, layer) => layer.forward(h), this.selfAttention.forward(this.W.forward(x)))
  }
}

/** Input and output tables of one memory, as in a language model. */
class Tied extends nn.Module {
  embedding = new nn.Embedding(4, 3)
  output = new nn.Linear(3, 4, { bias: false })
  constructor() {
    super()
    this.output.weight = this.embedding.weight
  }
  forward(ids: ef.Tensor): ef.Tensor {
    return this.output.forward(this.embedding.forward(ids))
  }
}

const ids = (values: number[]) => ef.tensor(values, { dtype: 'int32' })

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

  it('Sequential and ModuleList number their modules without a level of their own', () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1, { bias: false }))
    expect(model.namedParameters().map(([name]) => name)).toEqual(['0.weight', '0.bias', '2.weight'])
    const list = new nn.ModuleList<nn.Module>([new nn.Linear(1, 1)]).append(new nn.LayerNorm(2))
    expect(Object.keys(list.stateDict())).toEqual(['0.weight', '0.bias', '1.weight', '1.bias'])
    expect([...list].map((m) => m.constructor.name)).toEqual(['Linear', 'LayerNorm'])
    expect(list.at(-1)).toBeInstanceOf(nn.LayerNorm)
    expect(() => list.forward()).toThrow(ef.ArgumentError)
  })

  it('modules are listed with their paths, parents first', () => {
    expect(new Net().namedModules().map(([name]) => name)).toEqual([
      '',
      'W',
      'self_attention',
      'layers.0',
      'layers.1',
    ])
  })

  it('a plain tensor property is no part of the state', () => {
    const layer = Object.assign(new nn.Identity(), { scale: ef.ones([1]) })
    expect(layer.stateDict()).toEqual({})
  })

  it('registerBuffer names a buffer, and refuses a name that is taken', () => {
    const layer = new nn.Identity()
    const buffer = layer.registerBuffer('runningMean', ef.zeros([2]))
    expect(layer.stateDict()).toEqual({ running_mean: buffer })
    expect(() => layer.registerBuffer('training', ef.zeros([1]))).toThrow(/has a property 'training'/)
  })
})

describe('parameters', () => {
  it('a tied one is listed once, stored under every name, and gets the sum of its gradients', async () => {
    const model = new Tied()
    expect(model.parameters()).toEqual([model.embedding.weight])
    expect(Object.keys(model.stateDict())).toEqual(['embedding.weight', 'output.weight'])
    model.loadStateDict({ 'embedding.weight': ef.ones([4, 3]), 'output.weight': ef.ones([4, 3]) })
    model
      .forward(ids([1]))
      .sum()
      .backward()
    // From the output every row gets the embedded vector (1), row 1 also the sum of the columns (4) as an input.
    expect(await model.embedding.weight.grad?.tolist()).toEqual([
      [1, 1, 1],
      [5, 5, 5],
      [1, 1, 1],
      [1, 1, 1],
    ])
  })

  it('requiresGrad_(false) freezes: no graph is recorded', () => {
    const layer = new nn.Linear(2, 1).requiresGrad_(false)
    expect(layer.forward(ef.ones([1, 2])).requiresGrad).toBe(false)
    layer.requiresGrad_()
    expect(layer.forward(ef.ones([1, 2])).requiresGrad).toBe(true)
  })

  it('zeroGrad drops gradients but not kept ones', async () => {
    const layer = new nn.Linear(2, 1)
    layer
      .forward(ef.ones([1, 2]))
      .sum()
      .backward()
    const weight = ef.keep(layer.weight.grad!)
    const bias = layer.bias!.grad!
    layer.zeroGrad()
    expect(layer.weight.grad).toBe(null)
    expect(await weight.tolist()).toEqual([[1, 1]])
    expect(bias.isDisposed).toBe(true)
  })

  it('of integers are refused', () => {
    expect(() => new nn.Parameter(ids([1]))).toThrow(ef.DTypeError)
  })

  it('made inside tidy outlive it, with their gradients, and leave nothing else behind', async () => {
    ef.releaseSpent()
    const before = ef.memory().cpu.tensors
    const model = ef.tidy(() => {
      const inner = new nn.Sequential(new nn.Linear(2, 3), new nn.LayerNorm(3), new nn.Linear(3, 1))
      inner
        .forward(ef.ones([4, 2]))
        .sum()
        .backward()
      return inner
    })
    expect(ef.memory().cpu.tensors - before).toBe(2 * model.parameters().length)
    expect((await model.parameters()[0].grad!.data()).length).toBe(6)
    expect(await model.forward(ef.ones([1, 2])).data()).toHaveLength(1)
  })

  it('apply visits children before parents', () => {
    const seen: string[] = []
    new nn.Sequential(new nn.Linear(1, 1), new nn.Sequential(new nn.ReLU())).apply((m) => {
      seen.push(m.constructor.name)
    })
    expect(seen).toEqual(['Linear', 'ReLU', 'Sequential', 'Sequential'])
  })
})

describe('loadStateDict', () => {
  it('copies values, converted to the model’s dtype, and does not adopt the tensors given', async () => {
    const layer = new nn.Linear(2, 1)
    const { weight } = layer
    const given = ef.tensor([[3, 4]], { dtype: 'float64' })
    layer.loadStateDict({ weight: given, bias: ef.tensor([5]) })
    given.dispose()
    expect(layer.weight).toBe(weight)
    expect(weight.dtype).toBe('float32')
    expect(await weight.tolist()).toEqual([[3, 4]])
  })

  it('lists everything that does not fit in one error, and changes nothing', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Linear(3, 1))
    const before = await model.parameters()[0].tolist()
    const state = {
      '0.weight': ef.ones([3, 2]),
      '0.bias': ef.ones([4]),
      '1.weight': ids([1, 2, 3]).reshape([1, 3]),
      '2.weight': ef.ones([1]),
    }
    let message = ''
    try {
      model.loadStateDict(state)
    } catch (error) {
      expect(error).toBeInstanceOf(ef.FormatError)
      message = (error as Error).message
    }
    expect(message).toContain('missing: 1.bias')
    expect(message).toContain('unexpected: 2.weight')
    expect(message).toContain("0.bias: shape [4], the model's is [3]")
    expect(message).toContain("1.weight: int32, the model's is float32")
    expect(await model.parameters()[0].tolist()).toEqual(before)
  })

  it('with strict: false loads what fits and returns the rest', async () => {
    const layer = new nn.Linear(1, 1)
    const result = layer.loadStateDict({ weight: ef.tensor([[7]]), extra: ef.ones([1]) }, { strict: false })
    expect(result).toEqual({ missingKeys: ['bias'], unexpectedKeys: ['extra'] })
    expect(await layer.weight.tolist()).toEqual([[7]])
    expect(() => layer.loadStateDict({ weight: ef.ones([2, 2]) }, { strict: false })).toThrow(ef.FormatError)
  })

  it('a state goes back into its own model', async () => {
    const layer = new nn.Linear(2, 2)
    const before = await layer.weight.tolist()
    layer.loadStateDict(layer.stateDict())
    expect(await layer.weight.tolist()).toEqual(before)
  })
})

describe('to', () => {
  it('changes the dtype and keeps every parameter the same tensor, ties and gradients included', async () => {
    const model = new Tied()
    const { weight } = model.embedding
    model
      .forward(ids([0]))
      .sum()
      .backward()
    const grad = await weight.grad!.tolist()
    model.to('float64')
    expect(model.output.weight).toBe(weight)
    expect([weight.dtype, weight.grad?.dtype]).toEqual(['float64', 'float64'])
    expect(await weight.grad!.tolist()).toEqual(grad)
    const out = model.forward(ids([0]))
    expect(out.dtype).toBe('float64')
    out.sum().backward()
    expect(((await weight.grad!.tolist()) as number[][])[0][0]).toBeCloseTo(2 * (grad as number[][])[0][0], 5)
  })

  it('leaves integer buffers alone and gives the old memory back', () => {
    const model = ef.tidy(() => new Net())
    const before = ef.memory().cpu
    model.to('float64').to('float32')
    expect(model.positionTable.dtype).toBe('int32')
    expect(ef.memory().cpu.tensors).toBe(before.tensors)
    expect(ef.memory().cpu.bytes).toBe(before.bytes)
  })

  it('refuses anything but a device or a float dtype', () => {
    expect(() => new Net().to('int32')).toThrow(ef.ArgumentError)
  })

  it('cpu() is there for every device', async () => {
    const model = new Net()
    expect(await model.cpu()).toBe(model)
  })
})

describe('train and eval', () => {
  it('reach every module', () => {
    const model = new nn.Sequential(new nn.Dropout(), new nn.Sequential(new nn.Dropout()))
    expect(
      model
        .eval()
        .modules()
        .map((m) => m.training),
    ).toEqual([false, false, false, false])
    expect(
      model
        .train()
        .modules()
        .map((m) => m.training),
    ).toEqual([true, true, true, true])
  })
})

describe('forward hooks', () => {
  it('see module, arguments and output; replace it; run in order; and can be removed', async () => {
    const layer = new nn.ReLU()
    const seen: unknown[] = []
    const removeFirst = layer.registerForwardHook((module, args, output) => {
      seen.push(module, args, output)
      return output.add(1)
    })
    layer.registerForwardHook((_, __, output) => output.mul(10))
    const x = ef.tensor([-1, 2])
    expect(await layer.forward(x).tolist()).toEqual([10, 30])
    expect(seen[0]).toBe(layer)
    expect(seen[1]).toEqual([x])
    removeFirst()
    expect(await layer.forward(x).tolist()).toEqual([0, 20])
    expect(seen).toHaveLength(3)
  })

  it('run inside a Sequential, and what they keep stays readable', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Tanh())
    let activation: ef.Tensor | undefined
    model.layers[1].registerForwardHook((_, __, output) => {
      activation = output
      return undefined
    })
    const out = ef.noGrad(() => model.forward(ef.ones([1, 2])))
    expect(activation).toBe(out)
    expect(await activation!.data()).toHaveLength(2)
  })

  it('are refused where forward was assigned as a property', () => {
    class Arrow extends nn.Module {
      override forward = (x: ef.Tensor) => x
    }
    expect(() => new Arrow().registerForwardHook(() => undefined)).toThrow(/define it as a method/)
  })
})

describe('errors', () => {
  it('say which layer, which shapes, and what was expected', () => {
    class Model extends nn.Module {
      encoder = new nn.Sequential(new nn.Linear(4, 4), new nn.Linear(3, 2))
      forward(x: ef.Tensor): ef.Tensor {
        return this.encoder.forward(x)
      }
    }
    expect(() => new Model().forward(ef.ones([5, 4]))).toThrow(
      'linear: input of shape [5, 4] does not fit weight [2, 3] (in encoder.1); the last axis of the input must have 3 elements',
    )
    expect(() => new nn.Linear(3, 2).forward(ef.ones([5, 4]))).toThrow('(in Linear)')
  })

  it('in backward name the module of the op', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2))
    const loss = model.forward(ef.ones([1, 2])).sum()
    loss.backward()
    expect(() => loss.backward()).toThrow(/freed|graph/)
    const again = model.forward(ef.ones([1, 2], { requiresGrad: true })).sum()
    ef.noGrad(() => {
      model.parameters()[0].zero_()
    })
    expect(() => again.backward()).toThrow(/matmul in 0.*changed in place/)
  })

  it('leave no path behind', () => {
    expect(() => new nn.Sequential(new nn.Linear(3, 2)).forward(ef.ones([4]))).toThrow()
    expect(() => ef.ones([2, 3]).matmul(ef.ones([2, 3]))).toThrow(/^(?!.*\(in )/)
  })

  it('of a module that appears while running name its class', () => {
    class Outer extends nn.Module {
      forward(x: ef.Tensor): ef.Tensor {
        return new nn.Linear(3, 1).forward(x)
      }
    }
    expect(() => new Outer().forward(ef.ones([4]))).toThrow('(in Linear)')
  })

  it('follow a child that was replaced after the first run', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2))
    model.forward(ef.ones([2]))
    model.layers[1] = new nn.Linear(5, 2)
    expect(() => model.forward(ef.ones([2]))).toThrow('(in 1)')
  })
})

describe('summary', () => {
  it('shows path, class, shapes and counts, a tied parameter once', () => {
    class Model extends nn.Module {
      body = new nn.Sequential(new nn.Linear(1000, 2), new nn.ReLU())
      tied = new Tied()
      forward(x: ef.Tensor): ef.Tensor {
        return this.body.forward(x)
      }
    }
    const model = new Model()
    model.tied.requiresGrad_(false)
    expect(summary(model)).toBe(
      [
        'layer          class       parameter shapes            parameters',
        '-----------------------------------------------------------------',
        '               Model',
        '  body         Sequential',
        '    0          Linear      weight [2, 1000], bias [2]       2,002',
        '    1          ReLU',
        '  tied         Tied',
        '    embedding  Embedding   weight [4, 3]                       12',
        '    output     Linear',
        '-----------------------------------------------------------------',
        'parameters: 2,014, trainable: 2,002, bytes: 8,056',
      ].join('\n'),
    )
  })
})
