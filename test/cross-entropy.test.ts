// The fused cross-entropy against its definition, nll of logSoftmax, forward and backward.
import * as ef from 'evenfold'
import { nn } from 'evenfold'
import { expect, it } from 'vitest'
import { describeDevices } from './support/devices'
import { expectClose } from './support/twins'

const { crossEntropy, nll } = nn.functional
const REDUCTIONS = ['mean', 'sum', 'none'] as const

describeDevices('crossEntropy', ({ device, dtype }) => {
  const close = { relative: dtype === 'float64' ? 1e-12 : 1e-5, absolute: dtype === 'float64' ? 1e-12 : 1e-6 }

  /** Value and gradient of the logits for a loss that weighs its elements differently. */
  async function run(x: ef.Tensor, loss: (x: ef.Tensor) => ef.Tensor): Promise<[ef.HostArray, ef.HostArray]> {
    const leaf = x.detach().contiguous()
    leaf.requiresGrad = true
    const value = loss(leaf)
    value.mul(ef.arange(value.size, { dtype }).reshape(value.shape).add(1)).sum().backward()
    return [await value.data(), await (leaf.grad as ef.Tensor).data()]
  }

  it.each([[[6, 5]], [[5]], [[3, 4, 2, 3]], [[2, 300]], [[40, 33]]])('of logits %j', async (shape) => {
    ef.manualSeed(3)
    const C = shape.length === 1 ? shape[0] : shape[1]
    const lines = shape.filter((_, i) => i !== (shape.length === 1 ? 0 : 1))
    const logits = ef.randn(shape, { dtype }).mul(4)
    const ids = await ef.randint(0, C, lines).data()
    // Ids made on the device, known ids, and ids of which some do not count.
    const targets = [ef.randint(0, C, lines), ef.tensor(ids as Int32Array, { shape: lines })]
    if (lines.length > 0) {
      const some = Int32Array.from(ids, (id, i) => (i % 3 === 1 ? -100 : id))
      targets.push(ef.tensor(some, { shape: lines }))
    }
    for (const target of targets) {
      for (const reduction of REDUCTIONS) {
        for (const ignoreIndex of [-100, 2]) {
          const options = { reduction, ignoreIndex }
          if (ignoreIndex === 2 && target === targets[2]) continue
          const [value, grad] = await run(logits, (x) => crossEntropy(x, target, options))
          const dim = shape.length === 1 ? 0 : 1
          const [wanted, slope] = await run(logits, (x) => nll(x.logSoftmax(dim), target, options))
          expectClose(value, wanted, close)
          expectClose(grad, slope, close)
        }
      }
    }
  })

  it('label smoothing is the same as uniform class weights say in ordinary ops', async () => {
    ef.manualSeed(4)
    const logits = ef.randn([7, 6], { dtype })
    const target = ef.tensor(Int32Array.of(0, 5, -100, 3, 3, 1, 2))
    const weight = ef.ones([6], { dtype })
    for (const reduction of REDUCTIONS) {
      const options = { labelSmoothing: 0.2, reduction }
      const [value, grad] = await run(logits, (x) => crossEntropy(x, target, options))
      const [wanted, slope] = await run(logits, (x) => crossEntropy(x, target, { ...options, weight }))
      expectClose(value, wanted, close)
      expectClose(grad, slope, close)
    }
  })

  it('large and infinite logits', async () => {
    const inf = Number.POSITIVE_INFINITY
    const logits = ef.tensor(
      [
        [1e4, 1e4 + 1, -1e4],
        [-inf, 0, 1],
        [-inf, -inf, 2],
      ],
      { dtype },
    )
    const target = ef.tensor(Int32Array.of(0, 2, 0))
    const value = crossEntropy(logits, target, { reduction: 'none' })
    expectClose(await value.data(), [Math.log1p(Math.E), Math.log1p(Math.exp(-1)), inf], close)
  })

  it('takes an empty batch', async () => {
    const [logits, target] = [ef.zeros([0, 3], { dtype }), ef.zeros([0], { dtype: 'int32' })]
    expect(await crossEntropy(logits, target).item()).toBeNaN()
    expect(await crossEntropy(logits, target, { reduction: 'sum' }).item()).toBe(0)
  })

  if (dtype === 'float64') {
    it('has second derivatives', async () => {
      ef.manualSeed(5)
      const target = ef.tensor(Int32Array.of(1, -100, 0))
      const fn = (x: ef.Tensor): ef.Tensor => crossEntropy(x, target, { labelSmoothing: 0.1 })
      const x = ef.randn([3, 4], { dtype })
      x.requiresGrad = true
      await ef.autograd.gradcheck(fn, [x])
      await ef.autograd.gradgradcheck(fn, [x])
    })
  }

  if (device === 'webgpu') {
    it('is five kernels, forward and backward', async () => {
      const logits = ef.randn([8, 10])
      logits.requiresGrad = true
      const target = ef.tensor(Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7))
      const report = await ef.profile(() => crossEntropy(logits, target).backward())
      // Picking, the row plan, the mean, the gradient of the result (1), the gradient.
      expect(report.dispatches).toBe(5)
    })
  }
})
