// Recurrent layers beyond PyTorch's goldens: the fused sequence node against the same layer in ordinary ops, over all
// cells, shapes, masks and layouts; lengths and masks by what they mean; errors; memory.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as nn from '../src/nn'
import {
  GRU_CELL,
  LSTM_CELL,
  type RecurrentCell,
  RNN_RELU_CELL,
  RNN_TANH_CELL,
} from '../src/nn/recurrent-cells'
import {
  type RecurrentMask,
  recurrentReference,
  type RecurrentResult,
  type RecurrentWeights,
} from '../src/nn/recurrent-reference'
import { recurrentSequence } from '../src/nn/recurrent-sequence'

const float64 = { dtype: 'float64' } as const
const random = (shape: readonly number[]) => ef.randn(shape, { ...float64, requiresGrad: true })

const cells = { gru: GRU_CELL, lstm: LSTM_CELL, rnnTanh: RNN_TANH_CELL, rnnRelu: RNN_RELU_CELL }

interface Case {
  cell: keyof typeof cells
  T: number
  B: number
  I: number
  H: number
  D: number
  bias: boolean
  mask: boolean[][] | null
  zeroOutput: boolean
  layout: 'plain' | 'batchFirst' | 'cut'
}

const positive = (max: number) => fc.oneof(fc.constant(1), fc.integer({ min: 1, max }))
const anyCase: fc.Arbitrary<Case> = fc
  .record({
    cell: fc.constantFrom('gru', 'lstm', 'rnnTanh', 'rnnRelu'),
    T: positive(6),
    B: fc.oneof({ weight: 9, arbitrary: positive(5) }, { weight: 1, arbitrary: fc.constant(0) }),
    I: positive(4),
    H: positive(5),
    D: fc.constantFrom(1, 2),
    bias: fc.boolean(),
    masked: fc.boolean(),
    zeroOutput: fc.boolean(),
    layout: fc.constantFrom('plain' as const, 'batchFirst' as const, 'cut' as const),
  })
  .chain(({ masked, ...sizes }) =>
    fc
      .array(fc.array(fc.boolean(), { minLength: sizes.B, maxLength: sizes.B }), {
        minLength: sizes.T,
        maxLength: sizes.T,
      })
      .map((mask) => ({ ...sizes, mask: masked ? mask : null })),
  )

/** x and h0 as leaves, and how the sequence sees x: as it is, through swapped axes, or with gaps in memory. */
function leaves({ cell, T, B, I, H, D, bias, layout }: Case) {
  const { gates, states } = cells[cell]
  const weights = Array.from({ length: D }, () => [
    random([gates * H, I]),
    random([gates * H, H]),
    ...(bias ? [random([gates * H]), random([gates * H])] : []),
  ])
  const x = random(layout === 'batchFirst' ? [B, T, I] : layout === 'cut' ? [T, B, 2 * I] : [T, B, I])
  return [x, ...Array.from({ length: states }, () => random([D, B, H])), ...weights.flat()]
}

type Implementation = (
  cell: RecurrentCell,
  x: ef.Tensor,
  first: readonly ef.Tensor[],
  weights: readonly RecurrentWeights[],
  mask: RecurrentMask | null,
) => RecurrentResult

const composed: Implementation = ({ step }, ...rest) => recurrentReference(step, ...rest)

function run(implementation: Implementation, sizes: Case) {
  const { cell, T, B, D, bias, mask, zeroOutput, layout } = sizes
  return (...[x, ...p]: ef.Tensor[]): ef.Tensor[] => {
    const steps =
      layout === 'batchFirst' ? x.transpose(0, 1) : layout === 'cut' ? x.slice(null, null, [0, null, 2]) : x
    const first = p.splice(0, cells[cell].states)
    const per = bias ? 4 : 2
    const weights = Array.from({ length: D }, (_, d): RecurrentWeights => {
      const [weightIh, weightHh, biasIh = null, biasHh = null] = p.slice(d * per, (d + 1) * per)
      return { weightIh, weightHh, biasIh, biasHh }
    })
    const keep: RecurrentMask | null = mask && {
      keep: ef.tensor(mask.flat(), { shape: [T, B], dtype: 'bool' }),
      zeroOutput,
    }
    const { output, last } = implementation(cells[cell], steps, first, weights, keep)
    return [output, ...last]
  }
}

const values = (tensors: readonly (ef.Tensor | null)[]): Promise<number[][]> =>
  Promise.all(tensors.map(async (t) => Array.from(await t!.data())))

/** Gradients of a weighted sum of the outputs. */
function gradientsOf(outputs: readonly ef.Tensor[], inputs: readonly ef.Tensor[]): Promise<number[][]> {
  const weighted = outputs.map((y) =>
    y.mul(ef.arange(y.size, float64).mul(0.37).sin().reshape(y.shape)).sum(),
  )
  return values(ef.autograd.gradients([weighted.reduce((a, b) => a.add(b))], inputs))
}

async function outputsAndGradients(
  fn: (...inputs: ef.Tensor[]) => ef.Tensor[],
  inputs: ef.Tensor[],
): Promise<number[][]> {
  const outputs = fn(...inputs)
  return [...(await values(outputs)), ...(await gradientsOf(outputs, inputs))]
}

function expectClose(actual: readonly number[][], expected: readonly number[][], relative = 1e-12): void {
  expect(actual.map((values) => values.length)).toEqual(expected.map((values) => values.length))
  for (const [i, values] of expected.entries()) {
    const tolerance = relative * Math.max(1, ...values.map(Math.abs))
    for (const [j, value] of values.entries())
      expect(Math.abs(actual[i][j] - value), `value ${i}, element ${j}`).toBeLessThanOrEqual(tolerance)
  }
}

describe('the sequence as one node', () => {
  it('has the outputs and gradients of the layer in ordinary ops', async () => {
    await fc.assert(
      fc.asyncProperty(anyCase, async (sizes) => {
        const inputs = leaves(sizes)
        const fused = await outputsAndGradients(run(recurrentSequence, sizes), inputs)
        expectClose(fused, await outputsAndGradients(run(composed, sizes), inputs))
        ef.releaseSpent()
      }),
      { numRuns: 250 },
    )
  })

  it('gives an input its gradient also where the others want none', async () => {
    const sizes: Case = {
      cell: 'lstm',
      T: 3,
      B: 2,
      I: 2,
      H: 2,
      D: 2,
      bias: true,
      mask: null,
      zeroOutput: false,
      layout: 'plain',
    }
    const inputs = leaves(sizes)
    const all = await gradientsOf(run(recurrentSequence, sizes)(...inputs), inputs)
    for (const [i, one] of inputs.entries()) {
      for (const t of inputs) t.requiresGrad = t === one
      expectClose(await gradientsOf(run(recurrentSequence, sizes)(...inputs), [one]), [all[i]])
    }
  })

  it('has the right first derivatives', async () => {
    for (const cell of ['gru', 'lstm', 'rnnTanh'] as const) {
      for (const [D, bias] of [
        [1, true],
        [1, false],
        [2, true],
        [2, false],
      ] as const) {
        const mask = [
          [true, true],
          [true, false],
          [false, true],
        ]
        const sizes: Case = {
          cell,
          T: 3,
          B: 2,
          I: 2,
          H: 2,
          D,
          bias,
          mask,
          zeroOutput: bias,
          layout: 'batchFirst',
        }
        await ef.autograd.gradcheck(run(recurrentSequence, sizes), leaves(sizes))
      }
    }
  })

  it('has the right second derivatives', async () => {
    const mask = [[true], [false], [true]]
    for (const cell of ['gru', 'lstm', 'rnnTanh'] as const) {
      const sizes: Case = {
        cell,
        T: 3,
        B: 1,
        I: 1,
        H: 2,
        D: 2,
        bias: true,
        mask,
        zeroOutput: true,
        layout: 'plain',
      }
      await ef.autograd.gradgradcheck(run(recurrentSequence, sizes), leaves(sizes))
    }
  })

  it('computes the same with and without a gradient to come', async () => {
    const sizes: Case = {
      cell: 'lstm',
      T: 4,
      B: 3,
      I: 2,
      H: 3,
      D: 2,
      bias: true,
      mask: null,
      zeroOutput: false,
      layout: 'plain',
    }
    const inputs = leaves(sizes)
    const recorded = run(recurrentSequence, sizes)(...inputs)
    const free = ef.noGrad(() => run(recurrentSequence, sizes)(...inputs))
    for (const i of [0, 1]) expect(await free[i].data()).toEqual(await recorded[i].data())
    expect(free[0].requiresGrad).toBe(false)
  })

  it('refuses to differentiate through weights that were changed after the forward pass', () => {
    const gru = new nn.GRU(2, 2)
    const [output] = gru.forward(ef.randn([3, 1, 2]))
    ef.noGrad(() => {
      gru.parameters()[0].fill_(0)
    })
    expect(() => output.sum().backward()).toThrow(ef.GraphError)
  })
})

/** The rows of a tensor along `axis`, in another order. */
const rows = (t: ef.Tensor, axis: number, order: number[]) =>
  t.indexSelect(axis, ef.tensor(order, { dtype: 'int32' }))

describe('lengths', () => {
  const lengths = [5, 1, 0, 3]
  const gru = new nn.GRU(3, 2, { numLayers: 2, bidirectional: true, batchFirst: true, ...float64 })
  const x = random([4, 5, 3])
  const h0 = random([4, 4, 2])

  it('make each row what it is alone and unpadded: outputs, last states and gradients', async () => {
    const [output, hidden] = gru.forward(x, h0, { lengths })
    for (const [b, length] of lengths.entries()) {
      const padding = output.slice(b, [length, null])
      expect(await padding.eq(0).all().item()).toBe(1)
      if (length === 0) {
        // Nothing was read: the state is the first one.
        expect(await hidden.slice(null, b).tolist()).toEqual(await h0.slice(null, b).tolist())
        continue
      }
      const [alone, last] = gru.forward(x.slice([b, b + 1], [0, length]), h0.slice(null, [b, b + 1]))
      expectClose(
        await values([output.slice([b, b + 1], [0, length]), hidden.slice(null, [b, b + 1])]),
        await values([alone, last]),
      )
    }
    // What stands in the padding counts for nothing.
    const gradients = await gradientsOf([output, hidden], [x, h0])
    const dx = ef.tensor(Float64Array.from(gradients[0]), { shape: x.shape })
    for (const [b, length] of lengths.entries()) {
      expect(await dx.slice(b, [length, null]).eq(0).all().item()).toBe(1)
      if (length > 0)
        expect(
          await dx
            .slice(b, length - 1)
            .eq(0)
            .any()
            .item(),
        ).toBe(0)
    }
  })

  it('that are all full change nothing', async () => {
    const inputs = [x, h0, ...gru.parameters()]
    const full = await outputsAndGradients(() => gru.forward(x, h0, { lengths: [5, 5, 5, 5] }), inputs)
    expectClose(full, await outputsAndGradients(() => gru.forward(x, h0), inputs))
  })

  it('may be an array, a typed array or a tensor', async () => {
    const wanted = await values(gru.forward(x, h0, { lengths }))
    const forms = [Int32Array.from(lengths), ef.tensor(lengths, { dtype: 'int32' })]
    // Computed on the device: their range is not known beforehand.
    forms.push(
      ef
        .tensor([0, 1, 0, 1], { dtype: 'int32' })
        .mul(0)
        .add(forms[1] as ef.Tensor),
    )
    for (const form of forms) expect(await values(gru.forward(x, h0, { lengths: form }))).toEqual(wanted)
  })

  it('follow their rows when the rows change places', async () => {
    const order = [2, 0, 3, 1]
    const straight = gru.forward(x, h0, { lengths })
    const permuted = gru.forward(rows(x, 0, order), rows(h0, 1, order), {
      lengths: order.map((i) => lengths[i]),
    })
    expectClose(
      await values([permuted[0], permuted[1]]),
      await values([rows(straight[0], 0, order), rows(straight[1], 1, order)]),
    )
  })

  it('are checked', () => {
    expect(() => gru.forward(x, h0, { lengths: [1, 2, 3] })).toThrow(
      /GRU: lengths has shape \[3\].*in GRU.*\[4\]/,
    )
    expect(() => gru.forward(x, h0, { lengths: [1, 2, 3, 6] })).toThrow(
      new ef.IndexError('GRU: lengths from 1 to 6 (in GRU); the sequence has 5 steps'),
    )
    expect(() => gru.forward(x, h0, { lengths: [1, 2, 3, -1] })).toThrow(ef.IndexError)
    expect(() => gru.forward(x, h0, { lengths: [1, 2, 3, 2.5] })).toThrow(ef.EvenfoldError)
    expect(() => gru.forward(x, h0, { lengths: ef.ones([4]) })).toThrow(ef.DTypeError)
  })
})

describe('a mask', () => {
  const gru = new nn.GRU(3, 2, { bidirectional: true, batchFirst: true, ...float64 })
  const x = random([2, 4, 3])

  it('holds the state where it is false, as if those steps were not there', async () => {
    const mask = ef.tensor([
      [true, false, true, false],
      [false, false, false, false],
    ])
    const [output, hidden] = gru.forward(x, null, { mask })
    const [short, last] = gru.forward(x.slice([0, 1], [0, null, 2]))
    const [H, ends] = [2, [output.slice(0), short.slice(0)]]
    const [held, dense] = ends.map((t) => [t.slice(null, [0, H]), t.slice(null, [H, null])])
    expectClose(
      await values([rows(held[0], 0, [0, 1, 2, 3]), held[1], hidden.slice(null, [0, 1])]),
      await values([
        rows(dense[0], 0, [0, 0, 1, 1]),
        ef.cat([rows(dense[1], 0, [0, 1, 1]), ef.zeros([1, H], float64)]),
        last,
      ]),
    )
    expect(await output.slice(1).eq(0).all().item()).toBe(1)
  })

  it('that is all true changes nothing, and may be of any dtype', async () => {
    const wanted = await values(gru.forward(x))
    for (const dtype of ['bool', 'int32', 'float64'] as const)
      expect(await values(gru.forward(x, null, { mask: ef.ones([2, 4], { dtype }) }))).toEqual(wanted)
  })

  it('over padding on the right gives the last states that lengths give', async () => {
    const mask = ef.tensor([
      [true, true, true, false],
      [true, false, false, false],
    ])
    const [, byMask] = gru.forward(x, null, { mask })
    const [, byLengths] = gru.forward(x, null, { lengths: [3, 1] })
    expect(await byMask.data()).toEqual(await byLengths.data())
  })

  it('is checked', () => {
    const transposed = ef.ones([4, 2], { dtype: 'bool' })
    expect(() => gru.forward(x, null, { mask: transposed })).toThrow(
      /GRU: mask has shape \[4, 2\].*expected \[2, 4\]/,
    )
    const mask = ef.ones([2, 4], { dtype: 'bool' })
    expect(() => gru.forward(x, null, { mask, lengths: [1, 1] })).toThrow(
      'GRU: give lengths or mask, not both',
    )
  })
})

describe('GRU', () => {
  const x = random([5, 3, 4])

  it('in layers is one layer after another, with dropout between them in training only', async () => {
    const deep = new nn.GRU(4, 2, { numLayers: 3, bidirectional: true, dropout: 0.4, ...float64 })
    const state = Object.entries(deep.stateDict())
    const single = [0, 1, 2].map((n) => {
      const layer = new nn.GRU(n === 0 ? 4 : 4, 2, { bidirectional: true, ...float64 })
      const own = state
        .filter(([key]) => key.includes(`_l${n}`))
        .map(([key, t]) => [key.replace(`_l${n}`, '_l0'), t])
      layer.loadStateDict(Object.fromEntries(own))
      return layer
    })
    for (const training of [true, false]) {
      deep.train(training)
      ef.manualSeed(7)
      const [output, hidden] = deep.forward(x)
      ef.manualSeed(7)
      let h = x as ef.Tensor
      const last = single.map((layer, n) => {
        const [y, states] = layer.forward(n === 0 ? h : nn.functional.dropout(h, { p: 0.4, training }))
        h = y
        return states
      })
      expect(await values([output, hidden])).toEqual(await values([h, ef.cat(last)]))
    }
  })

  it('with batchFirst is the same with two axes swapped', async () => {
    const gru = new nn.GRU(4, 2, float64)
    const swapped = new nn.GRU(4, 2, { batchFirst: true, ...float64 })
    swapped.loadStateDict(gru.stateDict())
    const [output, hidden] = gru.forward(x)
    const [other, last] = swapped.forward(x.transpose(0, 1))
    expect(await values([other.transpose(0, 1), last])).toEqual(await values([output, hidden]))
  })

  it('takes an empty batch: outputs without rows, gradients 0', async () => {
    const gru = new nn.GRU(4, 2, { numLayers: 2, bidirectional: true })
    const [output, hidden] = gru.forward(ef.zeros([5, 0, 4]), null, { lengths: [] })
    expect([output.shape, hidden.shape]).toEqual([
      [5, 0, 4],
      [4, 0, 2],
    ])
    output.sum().add(hidden.sum()).backward()
    for (const p of gru.parameters()) expect(await p.grad!.eq(0).all().item()).toBe(1)
  })

  it('starts uniform on ±1/sqrt(hiddenSize)', async () => {
    ef.manualSeed(1)
    const gru = new nn.GRU(50, 16)
    for (const p of gru.parameters()) {
      const all = Array.from(await p.data())
      expect(Math.max(...all.map(Math.abs))).toBeLessThanOrEqual(0.25)
      expect(Math.max(...all)).toBeGreaterThan(0.2)
      expect(Math.min(...all)).toBeLessThan(-0.2)
    }
  })

  it('leaves nothing behind after fifty sequences, trained or not', () => {
    const gru = ef.tidy(
      () => new nn.GRU(4, 2, { numLayers: 2, bidirectional: true, dropout: 0.1, batchFirst: true }),
    )
    const once = (train: boolean) => {
      const input = ef.ones([3, 5, 4])
      const [output, hidden] = gru.forward(input, null, { lengths: [5, 2, 0] })
      const loss = output.sum().add(hidden.sum())
      if (train) loss.backward()
      for (const t of [input, output, hidden, loss]) t.dispose()
      gru.zeroGrad()
      ef.releaseSpent()
    }
    once(true)
    const before = ef.memory().cpu.tensors
    for (let i = 0; i < 50; i++) once(true)
    expect(ef.memory().cpu.tensors).toBe(before)
    ef.noGrad(() => {
      for (let i = 0; i < 50; i++) once(false)
    })
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('refuses inputs of other sizes, dtypes and devices, naming itself', () => {
    class Net extends nn.Module {
      rnn = new nn.GRU(4, 2)
      forward(...args: Parameters<nn.GRU['forward']>): ef.Tensor {
        return this.rnn.forward(...args)[0]
      }
    }
    const net = new Net()
    const good = ef.zeros([5, 3, 4])
    expect(() => net.forward(ef.zeros([5, 3, 3]))).toThrow(
      new ef.ShapeError('GRU: input has shape [5, 3, 3] (in rnn); expected [time, batch, 4]'),
    )
    expect(() => net.forward(ef.zeros([5, 4]))).toThrow(ef.ShapeError)
    expect(() => net.forward(ef.zeros([0, 3, 4]))).toThrow(
      new ef.ShapeError('GRU: the sequence has no steps (in rnn)'),
    )
    expect(() => net.forward(good, ef.zeros([2, 3, 2]))).toThrow(
      new ef.ShapeError('GRU: h0 has shape [2, 3, 2] (in rnn); expected [1, 3, 2]'),
    )
    expect(() => net.forward(ef.zeros([5, 3, 4], float64))).toThrow(/float64.*in rnn.*float32/)
    expect(() => net.forward(ef.zeros([5, 3, 4], { dtype: 'int32' }))).toThrow(ef.DTypeError)
    expect(() => net.forward(good, ef.zeros([1, 3, 2], float64))).toThrow(ef.DTypeError)
    expect(() => new nn.GRU(4, 0)).toThrow('GRU: hiddenSize is 0; expected a positive integer')
    expect(() => new nn.GRU(4, 2, { dropout: 1 })).toThrow(ef.ArgumentError)
  })
})

describe('LSTM and RNN', () => {
  it('start uniform on ±1/sqrt(hiddenSize), with the gates torch has', () => {
    const shapes = (layer: nn.Module) => layer.namedParameters().map(([name, p]) => [name, ...p.shape])
    expect(shapes(new nn.LSTM(3, 2))).toEqual([
      ['weight_ih_l0', 8, 3],
      ['weight_hh_l0', 8, 2],
      ['bias_ih_l0', 8],
      ['bias_hh_l0', 8],
    ])
    expect(shapes(new nn.RNN(3, 2, { bias: false, bidirectional: true }))).toEqual([
      ['weight_ih_l0', 2, 3],
      ['weight_hh_l0', 2, 2],
      ['weight_ih_l0_reverse', 2, 3],
      ['weight_hh_l0_reverse', 2, 2],
    ])
  })

  it('make a padded row what it is alone', async () => {
    const lstm = new nn.LSTM(3, 2, { numLayers: 2, bidirectional: true, batchFirst: true, ...float64 })
    const x = random([2, 4, 3])
    const [output, [hidden, cell]] = lstm.forward(x, null, { lengths: [4, 2] })
    const [alone, [last, ends]] = lstm.forward(x.slice([1, 2], [0, 2]))
    expectClose(
      await values([output.slice([1, 2], [0, 2]), hidden.slice(null, [1, 2]), cell.slice(null, [1, 2])]),
      await values([alone, last, ends]),
    )
    expect(await output.slice(1, [2, null]).eq(0).all().item()).toBe(1)
  })

  it('leave nothing behind after twenty sequences', () => {
    const lstm = ef.tidy(() => new nn.LSTM(4, 2, { numLayers: 2, bidirectional: true, dropout: 0.1 }))
    const input = ef.ones([5, 3, 4])
    const once = () => {
      const [output, [hidden, cell]] = lstm.forward(input, null, { lengths: [5, 2, 0] })
      const loss = ef.tidy(() => output.sum().add(hidden.sum()).add(cell.sum()))
      loss.backward()
      for (const t of [output, hidden, cell, loss]) t.dispose()
      lstm.zeroGrad()
      ef.releaseSpent()
    }
    once()
    const before = ef.memory().cpu.tensors
    for (let i = 0; i < 20; i++) once()
    expect(ef.memory().cpu.tensors).toBe(before)
  })

  it('name the state or option that does not fit', () => {
    const x = ef.zeros([5, 3, 4])
    const lstm = new nn.LSTM(4, 2)
    expect(() => lstm.forward(x, [ef.zeros([1, 3, 2]), ef.zeros([1, 2, 2])])).toThrow(
      new ef.ShapeError('LSTM: c0 has shape [1, 2, 2] (in LSTM); expected [1, 3, 2]'),
    )
    expect(() => lstm.forward(x, [ef.zeros([1, 3, 2]), ef.zeros([1, 3, 2], float64)])).toThrow(
      /c0 is float64/,
    )
    expect(() => new nn.RNN(4, 2, { nonlinearity: 'gelu' as 'tanh' })).toThrow(ef.ArgumentError)
  })
})
