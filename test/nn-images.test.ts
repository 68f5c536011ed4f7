// Convolutions, pooling and batch normalization: what PyTorch's goldens do not show. Any geometry against a textbook
// loop, second derivatives, what is kept for backward, state, bad input.
import * as ef from 'evenfold'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as nn from '../src/nn'
import { describeDevices } from './support/devices'

const F = nn.functional
const { gradcheck, gradgradcheck } = ef.autograd
const random = (shape: number[]) => ef.randn(shape, { dtype: 'float64', requiresGrad: true })

/** How a kernel moves along one axis of some length. */
const axis = fc
  .record({
    size: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 3 }),
    dilation: fc.integer({ min: 1, max: 2 }),
    padding: fc.integer({ min: 0, max: 1 }),
    more: fc.integer({ min: 0, max: 4 }),
  })
  .map(({ more, ...a }) => {
    // At most half of what the kernel covers, as pooling wants it.
    const reach = a.dilation * (a.size - 1) + 1
    const padding = Math.min(a.padding, Math.floor(reach / 2))
    return { ...a, padding, length: Math.max(1, reach - 2 * padding) + more }
  })
type Axis = typeof axis extends fc.Arbitrary<infer T> ? T : never

const places = (a: Axis) =>
  Math.floor((a.length + 2 * a.padding - a.dilation * (a.size - 1) - 1) / a.stride) + 1

/** Calls `visit` for every place of the kernel and each of its entries that lies in the input. */
function eachEntry([y, x]: Axis[], visit: (place: number, entry: number, at: number) => void): void {
  for (let p = 0; p < places(y); p++) {
    for (let q = 0; q < places(x); q++) {
      for (let k = 0; k < y.size; k++) {
        for (let l = 0; l < x.size; l++) {
          const row = p * y.stride + k * y.dilation - y.padding
          const column = q * x.stride + l * x.dilation - x.padding
          if (row < 0 || column < 0 || row >= y.length || column >= x.length) continue
          visit(p * places(x) + q, k * x.size + l, row * x.length + column)
        }
      }
    }
  }
}

const optionsOf = ([y, x]: Axis[]) => ({
  stride: [y.stride, x.stride] as const,
  padding: [y.padding, x.padding] as const,
  dilation: [y.dilation, x.dilation] as const,
})

const geometry = fc.record({
  axes: fc.tuple(axis, axis),
  batch: fc.integer({ min: 0, max: 2 }),
  groups: fc.integer({ min: 1, max: 2 }),
  inPerGroup: fc.integer({ min: 1, max: 2 }),
  outPerGroup: fc.integer({ min: 1, max: 2 }),
})

describeDevices('any geometry', (where) => {
  const close = (actual: ArrayLike<number>, expected: readonly number[]) => {
    expect(actual.length).toBe(expected.length)
    const digits = where.dtype === 'float64' ? 10 : 4
    for (const [i, v] of expected.entries()) expect(actual[i]).toBeCloseTo(v, digits)
  }

  it('conv2d is a textbook loop', async () => {
    await fc.assert(
      fc.asyncProperty(geometry, async ({ axes, batch, groups, inPerGroup, outPerGroup }) => {
        const [channels, outs] = [groups * inPerGroup, groups * outPerGroup]
        const [y, x] = axes
        const input = ef.randn([batch, channels, y.length, x.length], where)
        const weight = ef.randn([outs, inPerGroup, y.size, x.size], where)
        const bias = ef.randn([outs], where)
        const [values, w, b] = [await input.data(), await weight.data(), await bias.data()]
        const count = places(y) * places(x)
        const expected: number[] = []
        for (let n = 0; n < batch; n++) {
          for (let o = 0; o < outs; o++) {
            const sums = new Array<number>(count).fill(b[o])
            const first = Math.floor(o / outPerGroup) * inPerGroup
            for (let c = 0; c < inPerGroup; c++) {
              const image = (n * channels + first + c) * y.length * x.length
              const filter = (o * inPerGroup + c) * y.size * x.size
              eachEntry(axes, (p, k, at) => {
                sums[p] += values[image + at] * w[filter + k]
              })
            }
            expected.push(...sums)
          }
        }
        const out = F.conv2d(input, weight, bias, { ...optionsOf(axes), groups })
        expect(out.shape).toEqual([batch, outs, places(y), places(x)])
        close(await out.data(), expected)
      }),
      { numRuns: 25 },
    )
  })

  it('maxPool2d is a textbook loop, and its gradient counts how often an entry was the first largest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(axis, axis), fc.integer({ min: 0, max: 2 }), async (axes, batch) => {
        const [y, x] = axes
        // Few different values: ties are common.
        const input = ef
          .randint(0, 4, [batch, 2, y.length, x.length], { device: where.device })
          .to(where.dtype)
        input.requiresGrad = true
        const values = await input.data()
        const expected: number[] = []
        const chosen = new Array<number>(values.length).fill(0)
        for (let image = 0; image < batch * 2; image++) {
          const start = image * y.length * x.length
          const best = new Array<number>(places(y) * places(x)).fill(-1)
          eachEntry(axes, (p, _, at) => {
            if (best[p] < 0 || values[start + at] > values[best[p]]) best[p] = start + at
          })
          for (const at of best) {
            // A dilated window may step over all of a short input.
            expected.push(values[at] ?? Number.NEGATIVE_INFINITY)
            if (at >= 0) chosen[at]++
          }
        }
        const out = F.maxPool2d(input, [y.size, x.size], optionsOf(axes))
        expect(out.shape).toEqual([batch, 2, places(y), places(x)])
        close(await out.data(), expected)
        out.sum().backward()
        close(await input.grad!.data(), chosen)
      }),
      { numRuns: 25 },
    )
  })
})

describe('convolutions', () => {
  it('have the right first and second derivatives', async () => {
    await fc.assert(
      fc.asyncProperty(geometry, async ({ axes, groups, inPerGroup, outPerGroup }) => {
        const [y, x] = axes
        const inputs = [
          random([1, groups * inPerGroup, y.length, x.length]),
          random([groups * outPerGroup, inPerGroup, y.size, x.size]),
          random([groups * outPerGroup]),
        ]
        const fn = (a: ef.Tensor, w: ef.Tensor, b: ef.Tensor) =>
          F.conv2d(a, w, b, { ...optionsOf(axes), groups })
        await gradcheck(fn, inputs)
        await gradgradcheck(fn, inputs)
      }),
      { numRuns: 6 },
    )
    const fn = (a: ef.Tensor, w: ef.Tensor) => F.conv1d(a, w, null, { stride: 2, padding: 1 })
    await gradgradcheck(fn, [random([2, 2, 5]), random([3, 2, 3])])
  })

  it('read any layout', async () => {
    const fn = (a: ef.Tensor, w: ef.Tensor) => F.conv2d(a.transpose(1, 3), w.flip(2).transpose(0, 1))
    await gradcheck(fn, [random([2, 4, 3, 2]), random([2, 3, 2, 2])])
  })

  it('keep no windows for backward', () => {
    const layer = new nn.Conv2d(4, 4, 5, { padding: 2 })
    const x = ef.randn([2, 4, 16, 16], { requiresGrad: true })
    const before = ef.memory().cpu.bytes
    const out = layer.forward(x)
    // The product without bias, and the result.
    expect(ef.memory().cpu.bytes - before).toBeLessThanOrEqual(2 * 4 * out.size)
    out.sum().backward()
    expect(x.grad!.shape).toEqual(x.shape)
  })

  it('go through a large batch in parts, with the same results', async () => {
    ef.manualSeed(6)
    const layer = new nn.Conv2d(4, 2, 5, { padding: 'same' })
    // 4 channels x 25 entries x 4096 places x 42 examples: more than 2^24.
    const x = ef.randn([42, 4, 64, 64], { requiresGrad: true })
    const upstream = ef.randn([42, 2, 64, 64])
    const gradients = async (ranges: [number, number][]) => {
      layer.zeroGrad()
      x.grad = null
      for (const range of ranges) layer.forward(x.slice(range)).mul(upstream.slice(range)).sum().backward()
      return [await x.grad!.data(), await layer.weight.grad!.data(), await layer.bias!.grad!.data()]
    }
    const whole = await gradients([[0, 42]])
    const halves = await gradients([
      [0, 20],
      [20, 42],
    ])
    whole.forEach((values, i) => {
      const scale = Math.max(...halves[i].slice(0, 1000).map(Math.abs))
      expect(values.every((v, at) => Math.abs(v - halves[i][at]) < 1e-4 * scale)).toBe(true)
    })
    ef.resetPeakMemory()
    const before = ef.memory().cpu.bytes
    const outputs = ef.noGrad(() => layer.forward(x))
    expect(ef.memory().cpu.peakBytes - before).toBeLessThan(4 * 2 ** 24)
    const last = ef.noGrad(() => layer.forward(x.slice([40, 42])))
    expect(await outputs.slice([40, 42]).data()).toEqual(await last.data())
  })

  it('give only the gradients asked for, and bias its own', async () => {
    const layer = new nn.Conv1d(2, 3, 2)
    layer.weight.requiresGrad = false
    layer
      .forward(ef.randn([4, 2, 6]))
      .sum()
      .backward()
    expect(layer.weight.grad).toBe(null)
    expect(await layer.bias!.grad!.tolist()).toEqual([20, 20, 20])
  })

  it('take an empty batch', async () => {
    const layer = new nn.Conv2d(2, 3, 2)
    const out = layer.forward(ef.zeros([0, 2, 4, 4]))
    expect(out.shape).toEqual([0, 3, 3, 3])
    out.sum().backward()
    expect(await layer.weight.grad!.abs().sum().item()).toBe(0)
  })

  it('have torch’s names, shapes and start', async () => {
    ef.manualSeed(2)
    const layer = new nn.Conv2d(8, 64, [3, 2], { groups: 2 })
    expect(layer.namedParameters().map(([name, p]) => [name, p.shape])).toEqual([
      ['weight', [64, 4, 3, 2]],
      ['bias', [64]],
    ])
    for (const p of layer.parameters()) {
      const largest = await p.abs().max().item()
      expect(largest).toBeLessThanOrEqual(1 / Math.sqrt(24))
      expect(largest).toBeGreaterThan(0.9 / Math.sqrt(24))
    }
    expect(Object.keys(new nn.Conv1d(1, 1, 1, { bias: false }).stateDict())).toEqual(['weight'])
  })

  it('refuse inputs that do not fit, naming the layer and what is expected', () => {
    const layer = new nn.Conv2d(3, 4, 3)
    expect(() => layer.forward(ef.zeros([2, 4, 8, 8]))).toThrow(
      /conv2d: input of shape \[2, 4, 8, 8\] does not fit weight \[4, 3, 3, 3\] \(in Conv2d\); expected \[batch, 3, height, width\]/,
    )
    expect(() => layer.forward(ef.zeros([8, 8]))).toThrow(ef.ShapeError)
    expect(() => layer.forward(ef.zeros([2, 3, 8, 2]))).toThrow(
      /covers 3 entries and the input, padded, has 2 along axis -1/,
    )
    expect(() => layer.forward(ef.zeros([2, 3, 8, 8], { dtype: 'float64' }))).toThrow(ef.DTypeError)
    expect(() => layer.forward(ef.zeros([2, 3, 8, 8], { dtype: 'int32' }))).toThrow(ef.DTypeError)
    const [x, w] = [ef.zeros([2, 3, 8]), ef.zeros([4, 3, 2])]
    expect(() => F.conv1d(x, ef.zeros([4, 3]))).toThrow(/weight has shape \[4, 3\]/)
    expect(() => F.conv1d(x, w, ef.zeros([3]))).toThrow(/bias has shape \[3\]; expected \[4\]/)
    expect(() => F.conv1d(x, ef.zeros([4, 1, 2]), null, { groups: 3 })).toThrow(/divisor of the 4 output/)
  })

  it('refuse bad options when they are made', () => {
    expect(() => new nn.Conv2d(3, 4, 3, { groups: 2 })).toThrow(/groups is 2; expected a divisor/)
    expect(() => new nn.Conv2d(3, 4, 0)).toThrow(/kernelSize is 0/)
    expect(() => new nn.Conv2d(3, 4, [3, 3, 3] as unknown as nn.Pair)).toThrow(/kernelSize is \[3, 3, 3\]/)
    expect(() => new nn.Conv1d(3, 4, 3, { stride: 0 })).toThrow(/stride is 0/)
    expect(() => new nn.Conv1d(3, 4, 3, { padding: -1 })).toThrow(/padding is -1/)
    expect(() => new nn.Conv1d(3, 4, 3, { dilation: 1.5 })).toThrow(/dilation is 1.5/)
    expect(() => new nn.Conv1d(3, 4, 3, { padding: 'same', stride: 2 })).toThrow(/'same' needs stride 1/)
    expect(() => new nn.Conv1d(3, 4, 3, { padding: 'full' as 'same' })).toThrow(/padding is 'full'/)
  })
})

describe('pooling', () => {
  it('has the right first and second derivatives', async () => {
    const x = ef.randperm(60).to('float64').reshape([1, 2, 5, 6]).detach()
    x.requiresGrad = true
    const largest = (t: ef.Tensor) => F.maxPool2d(t, 3, { stride: 2, padding: 1, ceilMode: true })
    const average = (t: ef.Tensor) => F.avgPool2d(t, [2, 3], { stride: 1, padding: 1 })
    for (const fn of [largest, average]) {
      await gradcheck(fn, [x])
      await gradgradcheck((t) => fn(t).square(), [x])
    }
  })

  it('gives NaN where a window holds one', async () => {
    const x = ef.tensor([[[1, Number.NaN, 2, 3]]])
    expect(await F.maxPool2d(x, [1, 2]).tolist()).toEqual([[[Number.NaN, 3]]])
  })

  it('refuses what does not fit', () => {
    const x = ef.zeros([1, 2, 4, 4])
    expect(() => F.maxPool2d(x, 2, { padding: 2 })).toThrow(/padding 2 is more than half/)
    expect(() => F.maxPool2d(x, 5)).toThrow(/covers 5 entries and the input, padded, has 4/)
    expect(() => F.maxPool2d(ef.zeros([4, 4]), 2)).toThrow(/\[4, 4\].*expected \[batch, channels/)
    expect(() => F.avgPool2d(ef.zeros([1, 4, 4], { dtype: 'int32' }), 2)).toThrow(ef.DTypeError)
    expect(() => new nn.MaxPool2d(0)).toThrow(/kernelSize is 0/)
  })
})

describe('BatchNorm', () => {
  it('has the right first and second derivatives, in training and evaluation', async () => {
    const inputs = [random([3, 2, 4]), random([2]), random([2])]
    for (const training of [true, false]) {
      const fn = (x: ef.Tensor, weight: ef.Tensor, bias: ef.Tensor) => {
        const running = [0.3, 1.5].map((v) => ef.full([2], v, { dtype: 'float64' }))
        return F.batchNorm(x, running[0], running[1], { weight, bias, training, eps: 0.1 })
      }
      await gradcheck(fn, inputs)
      await gradgradcheck(fn, inputs)
    }
    await gradcheck((x, weight) => F.batchNorm(x, null, null, { weight }), inputs.slice(0, 2))
    await gradcheck((x, bias) => F.batchNorm(x, null, null, { bias }), inputs.slice(0, 2))
  })

  it('has torch’s state, which evaluation reads and leaves alone', async () => {
    const layer = new nn.BatchNorm2d(3)
    expect(Object.entries(layer.stateDict()).map(([key, t]) => [key, t.shape, t.dtype])).toEqual([
      ['weight', [3], 'float32'],
      ['bias', [3], 'float32'],
      ['running_mean', [3], 'float32'],
      ['running_var', [3], 'float32'],
      ['num_batches_tracked', [], 'int32'],
    ])
    expect(layer.parameters().length).toBe(2)
    layer.forward(ef.randn([2, 3, 4, 4]))
    const state = async () => Promise.all(layer.buffers().map((b) => b.tolist()))
    const trained = await state()
    expect(trained[2]).toBe(1)
    expect(trained[0]).not.toEqual([0, 0, 0])
    layer.eval().forward(ef.randn([2, 3, 4, 4]))
    expect(await state()).toEqual(trained)
    expect(new nn.BatchNorm1d(3, { trackRunningStats: false }).buffers()).toEqual([])
  })

  it('does not grow memory over batches', () => {
    const layer = new nn.BatchNorm1d(3)
    const step = () => {
      ef.tidy(() => {
        layer
          .forward(ef.randn([4, 3]))
          .square()
          .sum()
          .backward()
      })
      layer.zeroGrad()
    }
    step()
    const before = ef.memory().cpu
    for (let i = 0; i < 20; i++) step()
    // The collector may take what other tests left meanwhile.
    expect(ef.memory().cpu.tensors).toBeLessThanOrEqual(before.tensors)
    expect(ef.memory().cpu.bytes).toBeLessThanOrEqual(before.bytes)
  })

  it('refuses what does not fit, and then changes nothing', async () => {
    const layer = new nn.BatchNorm1d(3)
    expect(() => layer.forward(ef.zeros([4, 2]))).toThrow(
      /BatchNorm1d: input has shape \[4, 2\].*expected \[batch, channels\].*3 channels/,
    )
    expect(() => layer.forward(ef.zeros([4, 3, 2, 2]))).toThrow(ef.ShapeError)
    expect(() => new nn.BatchNorm2d(3).forward(ef.zeros([4, 3]))).toThrow(
      /\[batch, channels, height, width\]/,
    )
    expect(() => layer.forward(ef.zeros([1, 3]))).toThrow(/one value per channel/)
    expect(() => layer.forward(ef.zeros([2, 3], { dtype: 'float64' }))).toThrow(ef.DTypeError)
    expect(await layer.numBatchesTracked!.item()).toBe(0)
    expect(() => F.batchNorm(ef.zeros([3]), null, null)).toThrow(ef.ShapeError)
    expect(() => F.batchNorm(ef.zeros([2, 3]), null, null, { weight: ef.zeros([2]) })).toThrow(
      /weight shape \[2\]; expected \[3\]/,
    )
    expect(() => new nn.BatchNorm1d(0)).toThrow(/numFeatures is 0/)
    expect(() => new nn.BatchNorm1d(3, { momentum: 2 })).toThrow(/momentum is 2/)
    expect(() => new nn.BatchNorm1d(3, { eps: -1 })).toThrow(/eps is -1/)
  })
})

describeDevices('a small network', (where) => {
  it('learns to tell rows from columns, and keeps what it learned through a state dict', async () => {
    ef.manualSeed(7)
    const options = { device: where.device, dtype: where.dtype }
    const build = () =>
      new nn.Sequential(
        new nn.Conv2d(1, 4, 3, { padding: 1, ...options }),
        new nn.BatchNorm2d(4, options),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(4 * 3 * 3, 2, options),
      )
    // Picture i has one bright row, or column, among noise.
    const count = 24
    const labels = Int32Array.from({ length: count }, (_, i) => i % 2)
    const bright = Array.from({ length: count * 36 }, (_, at) => {
      const [i, row, column] = [Math.floor(at / 36), Math.floor(at / 6) % 6, at % 6]
      return (i % 2 === 0 ? row : column) === i % 6 ? 2 : 0
    })
    const noise = ef.randn([count, 1, 6, 6], options).mul(0.3)
    const x = ef.tensor(bright, { shape: [count, 1, 6, 6], ...options }).add(noise)
    const target = ef.tensor(labels, { device: where.device })
    const model = build()
    const optimizer = new ef.optim.Adam(model.parameters(), { lr: 0.02 })
    for (let step = 0; step < 30; step++) {
      optimizer.zeroGrad()
      F.crossEntropy(model.forward(x), target).backward()
      optimizer.step()
    }
    const copy = build()
    copy.loadStateDict(model.stateDict())
    const scores = ef.noGrad(() => model.eval().forward(x))
    expect(await scores.argmax(1).data()).toEqual(labels)
    expect(await ef.noGrad(() => copy.eval().forward(x)).data()).toEqual(await scores.data())
  })
})
