// jax-js, on wasm with one or two threads, or on webgpu. Its ownership rule: a call consumes its arguments; `.ref` keeps one.
import { serve } from '../child'
import { EPSILON, ids, LEARNING_RATE, values } from '../data'
import { countsOf, offerWebGpu } from './gpu.mjs'
import { offerWorkers } from './workers.mjs'

async function load(engine) {
  const device = engine === 'jax-js-webgpu' ? 'webgpu' : 'wasm'
  if (device === 'webgpu') offerWebGpu()
  if (engine === 'jax-js-2t') offerWorkers(2)
  globalThis.navigator ??= {}
  const jax = await import('@jax-js/jax')
  await jax.init()
  jax.defaultDevice(device)
  return jax
}

function stepsOf({ numpy: np, nn, jit, valueAndGrad, blockUntilReady, tree }) {
  const array = (numbers, shape) => np.array(numbers).reshape(shape)
  const given = (name, shape, deviation = 1) =>
    array(
      values(
        name,
        shape.reduce((a, b) => a * b, 1),
        deviation,
      ),
      shape,
    )
  const weight = (name, shape) => given(name, shape, 0.05)
  const zeros = (...shape) => np.zeros(shape)
  const ones = (...shape) => np.ones(shape)
  const classes = (count, limit) => nn.oneHot(np.array(ids(count, limit)), limit)
  const dense = (x, kernel, bias) => np.matmul(x, kernel).add(bias)
  const layerNorm = (x, gain, bias) => nn.standardize(x, -1).mul(gain).add(bias)
  const gelu = (x) => {
    const inner = x.ref
      .mul(x.ref)
      .mul(x.ref)
      .mul(0.044715)
      .add(x.ref)
      .mul(Math.sqrt(2 / Math.PI))
    return x.mul(0.5).mul(np.tanh(inner).add(1))
  }
  const crossEntropy = (logits, y) => {
    const count = y.shape[0]
    return nn
      .logSoftmax(logits, -1)
      .mul(y)
      .sum()
      .mul(-1 / count)
  }
  /** Columns [from, from + width) of each row. */
  const columns = (numbers, rows, all, from, width) => {
    const out = new Float32Array(rows * width)
    for (let i = 0; i < rows; i++)
      out.set(numbers.subarray(i * all + from, i * all + from + width), i * width)
    return array(out, [rows, width])
  }
  const forward = (f, ...args) => {
    const compiled = jit(f)
    return async () => {
      const y = compiled(...args.map((x) => x.ref))
      await blockUntilReady(y)
      y.dispose()
    }
  }

  /** Forward, backward and Adam, compiled as one. Adam is written here: `@jax-js/optax` is not on the registry. */
  const training = (parameters, lossOf, data) => {
    const [beta1, beta2] = [0.9, 0.999]
    const derivative = valueAndGrad(lossOf)
    const [leaves, layout] = tree.flatten(parameters)
    const moments = () => leaves.map((x) => np.zeros(x.shape))
    let state = { p: leaves, m: moments(), v: moments(), power1: np.array(1), power2: np.array(1) }
    const update = jit((s, inputs) => {
      const kept = s.p.map((x) => x.ref)
      const [loss, nested] = derivative(tree.unflatten(layout, kept), inputs)
      const [gradients] = tree.flatten(nested)
      const power1 = s.power1.mul(beta1)
      const power2 = s.power2.mul(beta2)
      const scale1 = np.reciprocal(np.subtract(1, power1.ref))
      const scale2 = np.reciprocal(np.subtract(1, power2.ref))
      const next = { p: [], m: [], v: [], power1, power2 }
      for (const [i, g] of gradients.entries()) {
        const m = s.m[i].mul(beta1).add(g.ref.mul(1 - beta1))
        const v = s.v[i].mul(beta2).add(np.square(g).mul(1 - beta2))
        const root = np.sqrt(v.ref.mul(scale2.ref)).add(EPSILON)
        next.p.push(s.p[i].sub(m.ref.mul(scale1.ref).mul(LEARNING_RATE).div(root)))
        next.m.push(m)
        next.v.push(v)
      }
      scale1.dispose()
      scale2.dispose()
      return [loss, next]
    })
    return async () => {
      const [loss, next] = update(state, tree.ref(data))
      state = next
      await blockUntilReady(state)
      return (await loss.data())[0]
    }
  }

  const transformer = ({ batch, length, hidden, heads, layers, vocabulary, classes: kinds }) => {
    const tokens = batch * length
    const width = hidden / heads
    const parameters = {
      position: weight('position', [length, hidden]),
      gain: ones(hidden),
      bias: zeros(hidden),
      kernel: weight('classifier.weight', [hidden, kinds]),
      offset: zeros(kinds),
      blocks: Array.from({ length: layers }, (_, i) => {
        const packed = values(`layers.${i}.attention.in_proj_weight`, 3 * hidden * hidden)
        const [q, k, v] = [0, 1, 2].map((n) => columns(packed, hidden, 3 * hidden, n * hidden, hidden))
        return {
          ...{ q, k, v, qBias: zeros(hidden), kBias: zeros(hidden), vBias: zeros(hidden) },
          ...{ g1: ones(hidden), b1: zeros(hidden), g2: ones(hidden), b2: zeros(hidden) },
          out: weight(`layers.${i}.attention.out_proj.weight`, [hidden, hidden]),
          outBias: zeros(hidden),
          up: weight(`layers.${i}.linear1.weight`, [hidden, 2 * hidden]),
          upBias: zeros(2 * hidden),
          down: weight(`layers.${i}.linear2.weight`, [2 * hidden, hidden]),
          downBias: zeros(hidden),
        }
      }),
    }
    if (vocabulary > 0) parameters.table = weight('embedding.weight', [vocabulary, hidden])
    const input = vocabulary > 0 ? np.array(ids(tokens, vocabulary)) : given('x', [batch * length, hidden])
    const split = (x) => np.transpose(x.reshape([batch, length, heads, width]), [0, 2, 1, 3])
    const lossOf = (p, [given, y]) => {
      const embedded = vocabulary > 0 ? np.take(p.table, given, 0) : given
      let x = embedded.reshape([batch, length, hidden]).add(p.position).reshape([tokens, hidden])
      for (const l of p.blocks) {
        const normed = layerNorm(x.ref, l.g1, l.b1)
        const q = split(dense(normed.ref, l.q, l.qBias))
        const k = split(dense(normed.ref, l.k, l.kBias))
        const v = split(dense(normed, l.v, l.vBias))
        const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul(1 / Math.sqrt(width))
        const attended = np.transpose(np.matmul(nn.softmax(scores, -1), v), [0, 2, 1, 3])
        x = x.add(dense(attended.reshape([tokens, hidden]), l.out, l.outBias))
        const wide = gelu(dense(layerNorm(x.ref, l.g2, l.b2), l.up, l.upBias))
        x = x.add(dense(wide, l.down, l.downBias))
      }
      const pooled = np.mean(layerNorm(x, p.gain, p.bias).reshape([batch, length, hidden]), 1)
      return crossEntropy(dense(pooled, p.kernel, p.offset), y)
    }
    return training(parameters, lossOf, [input, classes(batch, kinds)])
  }

  /** From a step's gates, input's and state's share apart, and the state before, to the state after; its first part is h. */
  const GRU = {
    gates: 3,
    parts: 1,
    cell: ([xr, xz, xn], [hr, hz, hn], [h]) => {
      const z = nn.sigmoid(xz.add(hz))
      const n = np.tanh(xn.add(nn.sigmoid(xr.add(hr)).mul(hn)))
      return [n.ref.add(z.mul(h.sub(n)))]
    },
  }
  const LSTM = {
    gates: 4,
    parts: 2,
    cell: (x, y, [h, c]) => {
      h.dispose()
      const [i, f, g, o] = x.map((gate, n) => gate.add(y[n]))
      const next = nn
        .sigmoid(f)
        .mul(c)
        .add(nn.sigmoid(i).mul(np.tanh(g)))
      return [nn.sigmoid(o).mul(np.tanh(next.ref)), next]
    },
  }

  /** One layer, each direction with parameters of its own, and a linear layer on their last states. */
  const recurrent = ({ batch, length, hidden, classes: kinds }, { gates, parts, cell }, directions) => {
    const width = gates * hidden
    const parameters = {
      directions: directions.map((name) => ({
        ...{ input: weight(`rnn.weight_ih_${name}`, [hidden, width]), inputBias: zeros(width) },
        ...{ state: weight(`rnn.weight_hh_${name}`, [hidden, width]), stateBias: zeros(width) },
      })),
      kernel: weight('classifier.weight', [directions.length * hidden, kinds]),
      offset: zeros(kinds),
    }
    const last = (x, p, backwards) => {
      const inputs = dense(x, p.input, p.inputBias).reshape([length, batch, width])
      let state = Array.from({ length: parts }, () => np.zeros([batch, hidden]))
      for (let t = 0; t < length; t++) {
        const given = np.split(inputs.ref.slice(backwards ? length - 1 - t : t), gates, 1)
        state = cell(given, np.split(dense(state[0].ref, p.state.ref, p.stateBias.ref), gates, 1), state)
      }
      for (const used of [inputs, p.state, p.stateBias, ...state.slice(1)]) used.dispose()
      return state[0]
    }
    const lossOf = (p, [x, y]) => {
      const states = p.directions.map((own, i) => last(x.ref, own, i === 1))
      x.dispose()
      return crossEntropy(
        dense(states.length > 1 ? np.concatenate(states, 1) : states[0], p.kernel, p.offset),
        y,
      )
    }
    return training(parameters, lossOf, [given('x', [length * batch, hidden]), classes(batch, kinds)])
  }

  return {
    matmul: ({ n }) => forward((a, b) => np.matmul(a, b), given('a', [n, n]), given('b', [n, n])),
    eltwise: ({ n }) => forward((x) => gelu(x.mul(1.1).add(0.1)), given('x', [n])),
    softmax: (s) => forward((x) => nn.softmax(x, -1), given('x', [s.rows, s.columns])),
    layernorm: (s) => forward(layerNorm, given('x', [s.rows, s.columns]), ones(s.columns), zeros(s.columns)),
    mlp: ({ batch, inputs, hidden, classes: kinds }) => {
      const parameters = {
        ...{ w1: weight('0.weight', [inputs, hidden]), b1: zeros(hidden) },
        ...{ w2: weight('2.weight', [hidden, hidden]), b2: zeros(hidden) },
        ...{ w3: weight('4.weight', [hidden, kinds]), b3: zeros(kinds) },
      }
      const lossOf = (p, [x, y]) => {
        const middle = nn.relu(dense(nn.relu(dense(x, p.w1, p.b1)), p.w2, p.b2))
        return crossEntropy(dense(middle, p.w3, p.b3), y)
      }
      return training(parameters, lossOf, [given('x', [batch, inputs]), classes(batch, kinds)])
    },
    tcore: transformer,
    transformer,
    gru: (s) => recurrent(s, GRU, ['l0']),
    lstm: (s) => recurrent(s, LSTM, ['l0']),
    bidirectional: (s) => recurrent(s, GRU, ['l0', 'l0_reverse']),
  }
}

await serve(async ({ engine, workload, sizes }) => {
  const step = stepsOf(await load(engine))[workload](sizes)
  return { step, ...(engine === 'jax-js-webgpu' && { counts: () => countsOf(step) }) }
})
