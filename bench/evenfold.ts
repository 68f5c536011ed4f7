// evenfold's own side of the benchmark, in a process of its own.

import { packPanels, packRows, panelShape, quadsOf } from '../src/backend/int8'
import { getBackend } from '../src/backend/registry'
import * as ef from '../src/index'
import { nn, optim } from '../src/index'
import { serve, type Job, median, type Prepared } from './child'
import { EPSILON, ids, LEARNING_RATE, transposed, values } from './data'
import type { Sizes } from './workloads'

/** Names stand for `values`, so that every engine has the same numbers. */
function given(name: string, shape: readonly number[], deviation = 1): ef.Tensor {
  const count = shape.reduce((a, b) => a * b, 1)
  return ef.tensor(values(name, count, deviation), { shape })
}

/** Weights as all engines have them: biases 0, gains 1, matrices [in, out] turned into torch's [out, in]. */
function fill(model: nn.Module): void {
  for (const [name, parameter] of model.namedParameters()) {
    const { shape } = parameter
    const [outputs = 1, inputs = 1] = shape
    let numbers = values(name, outputs * inputs)
    if (shape.length === 1) numbers.fill(name.includes('bias') ? 0 : 1)
    else if (!TABLES.has(name)) numbers = transposed(numbers, inputs, outputs)
    ef.noGrad(() => parameter.copy_(ef.tensor(numbers, { shape })))
  }
}

const TABLES = new Set(['embedding.weight', 'position'])

/** Normal values in -128 to 127, or of 7 bits in 0 to 127. */
function int8Values(name: string, count: number, bits: number): Int8Array {
  const zero = bits === 7 ? 64 : 0
  const scale = 2 ** bits / 8
  return Int8Array.from(values(name, count), (v) =>
    Math.max(bits === 7 ? 0 : -128, Math.min(127, Math.round(zero + scale * v))),
  )
}

/** A step that only computes something. */
function forward(compute: () => ef.Tensor): Prepared['step'] {
  return async () => {
    const y = ef.noGrad(() => ef.tidy(compute))
    await ef.synchronize()
    y.dispose()
    return undefined
  }
}

/** A training step: forward, backward, Adam, and the loss read. */
function training(model: nn.Module, predict: () => ef.Tensor, { batch, classes }: Sizes): Prepared['step'] {
  fill(model)
  const targets = ef.tensor(ids(batch!, classes!))
  const optimizer = new optim.Adam(model.parameters(), { lr: LEARNING_RATE, eps: EPSILON })
  return async () => {
    optimizer.zeroGrad()
    const loss = nn.functional.crossEntropy(predict(), targets)
    loss.backward()
    optimizer.step()
    return loss.item()
  }
}

class Block extends nn.Module {
  norm1: nn.LayerNorm
  attention: nn.MultiheadAttention
  norm2: nn.LayerNorm
  linear1: nn.Linear
  linear2: nn.Linear

  constructor({ hidden, heads }: Sizes) {
    super()
    this.norm1 = new nn.LayerNorm(hidden!)
    this.attention = new nn.MultiheadAttention(hidden!, heads!, { batchFirst: true })
    this.norm2 = new nn.LayerNorm(hidden!)
    this.linear1 = new nn.Linear(hidden!, 2 * hidden!)
    this.linear2 = new nn.Linear(2 * hidden!, hidden!)
  }

  forward(x: ef.Tensor): ef.Tensor {
    const normed = this.norm1.forward(x)
    const [attended] = this.attention.forward(normed, normed, normed, { needWeights: false })
    const middle = ef.add(x, attended)
    const wide = nn.functional.gelu(this.linear1.forward(this.norm2.forward(middle)), { approximate: 'tanh' })
    return ef.add(middle, this.linear2.forward(wide))
  }
}

/** `vocabulary` 0: the tokens' vectors are given, and no table of them is trained. */
class Transformer extends nn.Module {
  embedding: nn.Embedding | null
  position: nn.Parameter
  layers: nn.ModuleList<Block>
  norm: nn.LayerNorm
  classifier: nn.Linear

  constructor(sizes: Sizes) {
    super()
    const { vocabulary, length, hidden, classes, layers } = sizes
    this.embedding = vocabulary! > 0 ? new nn.Embedding(vocabulary!, hidden!) : null
    this.position = new nn.Parameter(ef.zeros([length!, hidden!]))
    this.layers = new nn.ModuleList(Array.from({ length: layers! }, () => new Block(sizes)))
    this.norm = new nn.LayerNorm(hidden!)
    this.classifier = new nn.Linear(hidden!, classes!)
  }

  forward(input: ef.Tensor): ef.Tensor {
    let x = ef.add(this.embedding ? this.embedding.forward(input) : input, this.position)
    for (const block of this.layers) x = block.forward(x)
    return this.classifier.forward(ef.mean(this.norm.forward(x), 1))
  }
}

class Recurrent extends nn.Module {
  rnn: nn.GRU | nn.LSTM
  classifier: nn.Linear

  constructor(kind: 'gru' | 'lstm' | 'bidirectional', { hidden, classes }: Sizes) {
    super()
    const bidirectional = kind === 'bidirectional'
    this.rnn =
      kind === 'lstm' ? new nn.LSTM(hidden!, hidden!) : new nn.GRU(hidden!, hidden!, { bidirectional })
    this.classifier = new nn.Linear((bidirectional ? 2 : 1) * hidden!, classes!)
  }

  forward(x: ef.Tensor): ef.Tensor {
    const [, state] = this.rnn.forward(x)
    const last = state instanceof ef.Tensor ? state : state[0]
    const [directions, batch, hidden] = last.shape
    return this.classifier.forward(ef.reshape(ef.transpose(last, 0, 1), [batch!, directions! * hidden!]))
  }
}

function stepOf(workload: string, sizes: Sizes): Prepared['step'] {
  switch (workload) {
    case 'matmul': {
      const [a, b] = ['a', 'b'].map((name) => given(name, [sizes.n!, sizes.n!]))
      return forward(() => ef.matmul(a!, b!))
    }
    case 'int8': {
      const { n, bits } = sizes
      const [a, b] = ['a', 'b'].map((name) => int8Values(name, n! * n!, bits!))
      const left = ef.tensor(packRows(a!, n!, n!), { shape: [n!, quadsOf(n!)] })
      const right = ef.tensor(packPanels(b!, n!, n!), { shape: panelShape(n!, n!) })
      const out = ef.zeros([n!, n!], { dtype: 'int32' })
      const backend = getBackend('cpu')
      return async () => {
        backend.matmulInt8(left.view(), right.view(), out.view(), bits === 7)
        return undefined
      }
    }
    case 'eltwise': {
      const x = given('x', [sizes.n!])
      const chain = ef.fuse((v) => geluTanh(v.mul(1.1).add(0.1)))
      return forward(() => chain(x))
    }
    case 'softmax': {
      const x = given('x', [sizes.rows!, sizes.columns!])
      return forward(() => ef.softmax(x, -1))
    }
    case 'layernorm': {
      const x = given('x', [sizes.rows!, sizes.columns!])
      const layer = new nn.LayerNorm(sizes.columns!)
      return forward(() => layer.forward(x))
    }
    case 'mlp': {
      const { batch, inputs, hidden, classes } = sizes
      const x = given('x', [batch!, inputs!])
      const [first, second] = [new nn.Linear(inputs!, hidden!), new nn.Linear(hidden!, hidden!)]
      const model = new nn.Sequential(
        first,
        new nn.ReLU(),
        second,
        new nn.ReLU(),
        new nn.Linear(hidden!, classes!),
      )
      return training(model, () => model.forward(x), sizes)
    }
    case 'tcore':
    case 'transformer': {
      const { batch, length, hidden, vocabulary } = sizes
      const model = new Transformer(sizes)
      const input =
        vocabulary! > 0
          ? ef.tensor(ids(batch! * length!, vocabulary!), { shape: [batch!, length!] })
          : given('x', [batch!, length!, hidden!])
      return training(model, () => model.forward(input), sizes)
    }
    case 'gru':
    case 'lstm':
    case 'bidirectional': {
      const x = given('x', [sizes.length!, sizes.batch!, sizes.hidden!])
      const model = new Recurrent(workload, sizes)
      return training(model, () => model.forward(x), sizes)
    }
    default:
      throw new Error(`evenfold has no workload '${workload}'`)
  }
}

function geluTanh(x: ef.Expr): ef.Expr {
  const inner = x
    .mul(x)
    .mul(x)
    .mul(0.044715)
    .add(x)
    .mul(Math.sqrt(2 / Math.PI))
  return x.mul(0.5).mul(inner.tanh().add(1))
}

/** What a large product and a copy reach here and now: the two numbers that floors are made of. */
async function rates(device: ef.DeviceName, n: number): Promise<{ matmulGflops: number; copyGBs: number }> {
  const product = stepOf('matmul', { n })
  const count = n * n * 64
  const x = device === 'webgpu' ? ef.zeros([count]) : null
  const [from, to] = x ? [] : [new Float32Array(count).fill(1), new Float32Array(count)]
  // On the cpu a plain copy of memory; a GPU copies by a kernel that does nothing else.
  const copy = x ? forward(() => ef.neg(x)) : async () => to!.set(from!)
  const fastest = async (run: () => Promise<unknown>): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < 7; i++) {
      const start = performance.now()
      await run()
      if (i > 1) times.push(performance.now() - start)
    }
    return median(times)
  }
  const productMs = await fastest(product)
  return { matmulGflops: (2 * n ** 3) / productMs / 1e6, copyGBs: (8 * count) / (await fastest(copy)) / 1e6 }
}

await serve(async ({ engine, workload, sizes, minMs }: Job) => {
  const device = engine.startsWith('evenfold-webgpu') ? 'webgpu' : 'cpu'
  await ef.init({ device, threads: engine.startsWith('evenfold-cpu-2t') ? 2 : 1 })
  const step = stepOf(workload, sizes)
  return {
    step,
    counts: async () => {
      const { dispatches, submits } = await ef.profile(step)
      return { dispatches, submits: device === 'cpu' ? null : submits }
    },
    // Tiny runs are no measurements: their rates need not be real ones either.
    rates: () => rates(device, minMs === 0 ? 64 : 512),
  }
})
