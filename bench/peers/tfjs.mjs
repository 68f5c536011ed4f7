// TensorFlow.js, on wasm or webgpu.
import { createRequire } from 'node:module'
import path from 'node:path'
import { serve } from '../child'
import { EPSILON, ids, LEARNING_RATE, values } from '../data'
import { countsOf, offerWebGpu } from './gpu.mjs'

const require = createRequire(import.meta.url)

async function load(backend) {
  if (backend === 'webgpu') offerWebGpu()
  const tf = require('@tensorflow/tfjs')
  const extra = require(`@tensorflow/tfjs-backend-${backend}`)
  if (backend === 'wasm') {
    extra.setWasmPaths(`${path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  }
  tf.env().set('PROD', true)
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs: the backend '${backend}' does not start`)
  await tf.ready()
  return tf
}

function stepsOf(tf, backend) {
  const given = (name, shape, deviation = 1) =>
    tf.tensor(values(name, tf.util.sizeFromShape(shape), deviation), shape)
  const weight = (name, shape) => tf.variable(given(name, shape, 0.05))
  const zeros = (...shape) => tf.variable(tf.zeros(shape))
  const ones = (...shape) => tf.variable(tf.ones(shape))
  const classes = (count, limit) => tf.oneHot(tf.tensor1d(ids(count, limit), 'int32'), limit).toFloat()
  const dense = (x, kernel, bias, activation = 'linear') =>
    tf.fused.matMul({ a: x, b: kernel, bias, activation })
  const gelu = (x) => {
    const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI))
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1))
  }
  const layerNorm = (x, gain, bias) => {
    const { mean, variance } = tf.moments(x, -1, true)
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), gain), bias)
  }
  /** Reading one element waits for the queue; wasm is done when the call is. */
  const finished = async (y) => {
    if (backend !== 'webgpu') return
    const one = tf.tidy(() => tf.slice(tf.reshape(y, [-1]), 0, 1))
    await one.data()
    one.dispose()
  }
  const forward = (compute) => async () => {
    const y = tf.tidy(compute)
    await finished(y)
    y.dispose()
  }
  const training = (variables, logits, y) => {
    const optimizer = tf.train.adam(LEARNING_RATE, 0.9, 0.999, EPSILON)
    return async () => {
      const cost = optimizer.minimize(() => tf.losses.softmaxCrossEntropy(y, logits()), true, variables)
      const [loss] = await cost.data()
      cost.dispose()
      return loss
    }
  }

  const rows = (compute) => (s) => {
    const x = given('x', [s.rows, s.columns])
    return forward(() => compute(x))
  }

  const transformer = ({ batch, length, hidden, heads, layers, vocabulary, classes: kinds }) => {
    const tokens = batch * length
    const width = hidden / heads
    const table = vocabulary > 0 ? weight('embedding.weight', [vocabulary, hidden]) : null
    const input = table
      ? tf.tensor(ids(tokens, vocabulary), [batch, length], 'int32')
      : given('x', [batch, length, hidden])
    const top = {
      position: weight('position', [length, hidden]),
      gain: ones(hidden),
      bias: zeros(hidden),
      kernel: weight('classifier.weight', [hidden, kinds]),
      offset: zeros(kinds),
    }
    const blocks = Array.from({ length: layers }, (_, i) => ({
      g1: ones(hidden),
      b1: zeros(hidden),
      qkv: weight(`layers.${i}.attention.in_proj_weight`, [hidden, 3 * hidden]),
      qkvBias: zeros(3 * hidden),
      out: weight(`layers.${i}.attention.out_proj.weight`, [hidden, hidden]),
      outBias: zeros(hidden),
      g2: ones(hidden),
      b2: zeros(hidden),
      up: weight(`layers.${i}.linear1.weight`, [hidden, 2 * hidden]),
      upBias: zeros(2 * hidden),
      down: weight(`layers.${i}.linear2.weight`, [2 * hidden, hidden]),
      downBias: zeros(hidden),
    }))
    const variables = [top, ...blocks].flatMap((part) => Object.values(part))
    if (table) variables.push(table)
    const logits = () => {
      const embedded = table ? tf.gather(table, input) : input
      let x = tf.reshape(tf.add(embedded, top.position), [tokens, hidden])
      for (const p of blocks) {
        const packed = dense(layerNorm(x, p.g1, p.b1), p.qkv, p.qkvBias)
        const split = tf.transpose(tf.reshape(packed, [batch, length, 3, heads, width]), [2, 0, 3, 1, 4])
        const [q, k, v] = tf.unstack(split)
        const weights = tf.softmax(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width)))
        const merged = tf.reshape(tf.transpose(tf.matMul(weights, v), [0, 2, 1, 3]), [tokens, hidden])
        x = tf.add(x, dense(merged, p.out, p.outBias))
        const wide = gelu(dense(layerNorm(x, p.g2, p.b2), p.up, p.upBias))
        x = tf.add(x, dense(wide, p.down, p.downBias))
      }
      const pooled = tf.mean(tf.reshape(layerNorm(x, top.gain, top.bias), [batch, length, hidden]), 1)
      return dense(pooled, top.kernel, top.offset)
    }
    return training(variables, logits, classes(batch, kinds))
  }

  return {
    matmul: ({ n }) => {
      const [a, b] = [given('a', [n, n]), given('b', [n, n])]
      return forward(() => tf.matMul(a, b))
    },
    eltwise: ({ n }) => {
      const x = given('x', [n])
      return forward(() => gelu(tf.add(tf.mul(x, 1.1), 0.1)))
    },
    softmax: rows((x) => tf.softmax(x)),
    layernorm: (s) => {
      const [gain, bias] = [ones(s.columns), zeros(s.columns)]
      return rows((x) => layerNorm(x, gain, bias))(s)
    },
    mlp: ({ batch, inputs, hidden, classes: kinds }) => {
      const x = given('x', [batch, inputs])
      const w = [
        weight('0.weight', [inputs, hidden]),
        weight('2.weight', [hidden, hidden]),
        weight('4.weight', [hidden, kinds]),
      ]
      const b = [zeros(hidden), zeros(hidden), zeros(kinds)]
      const logits = () => dense(dense(dense(x, w[0], b[0], 'relu'), w[1], b[1], 'relu'), w[2], b[2])
      return training([...w, ...b], logits, classes(batch, kinds))
    },
    tcore: transformer,
    transformer,
    gru: ({ batch, length, hidden, classes: kinds }) => {
      const x = given('x', [length * batch, hidden])
      const start = tf.zeros([batch, hidden])
      const p = {
        input: weight('rnn.weight_ih_l0', [hidden, 3 * hidden]),
        inputBias: zeros(3 * hidden),
        state: weight('rnn.weight_hh_l0', [hidden, 3 * hidden]),
        stateBias: zeros(3 * hidden),
        kernel: weight('classifier.weight', [hidden, kinds]),
        offset: zeros(kinds),
      }
      const logits = () => {
        const inputs = tf.unstack(tf.reshape(dense(x, p.input, p.inputBias), [length, batch, 3 * hidden]))
        let h = start
        for (const step of inputs) {
          const [xr, xz, xn] = tf.split(step, 3, 1)
          const [hr, hz, hn] = tf.split(dense(h, p.state, p.stateBias), 3, 1)
          const z = tf.sigmoid(tf.add(xz, hz))
          const n = tf.tanh(tf.add(xn, tf.mul(tf.sigmoid(tf.add(xr, hr)), hn)))
          h = tf.add(n, tf.mul(z, tf.sub(h, n)))
        }
        return dense(h, p.kernel, p.offset)
      }
      return training(Object.values(p), logits, classes(batch, kinds))
    },
  }
}

await serve(async ({ engine, workload, sizes }) => {
  const backend = engine.replace('tfjs-', '')
  const step = stepsOf(await load(backend), backend)[workload](sizes)
  return { step, ...(backend === 'webgpu' && { counts: () => countsOf(step) }) }
})
