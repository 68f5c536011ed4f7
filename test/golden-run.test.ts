// Golden runs: twenty training steps of two GRU classifiers, with the whole optimizer, give PyTorch's losses; and the
// same steps twice give the same bits. On every device.
import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'
import { expect, it } from 'vitest'
import { describeDevices, goldenState, onDevice, type TestDevice } from './support/devices'
import { expectGolden, type GoldenCase, type GoldenTensor, goldenCase } from './support/golden'

/** A model, and how it makes logits [B, 2] of ids and mask [B, L]. */
interface Classifier {
  model: nn.Module
  logits: (ids: ef.Tensor, mask: ef.Tensor) => ef.Tensor
}

/** Embedding, bidirectional GRU over right-padded lengths, mean of the real steps, Linear. */
class MeanClassifier extends nn.Module {
  embedding: nn.Embedding
  rnn: nn.GRU
  linear: nn.Linear

  constructor(where: TestDevice) {
    super()
    this.embedding = new nn.Embedding(30, 12, { paddingIdx: 0, ...where })
    this.rnn = new nn.GRU(12, 10, { batchFirst: true, bidirectional: true, ...where })
    this.linear = new nn.Linear(20, 2, where)
  }

  forward(ids: ef.Tensor, mask: ef.Tensor): ef.Tensor {
    const lengths = mask.sum(1).to('int32')
    const [output] = this.rnn.forward(this.embedding.forward(ids), null, { lengths })
    return this.linear.forward(output.sum(1).div(lengths.to(output.dtype).unsqueeze(1)))
  }
}

interface Run {
  losses: number[]
  norms: number[]
  model: nn.Module
}

interface RunOptions {
  steps: number
  lr: number
  weightDecay: number
  maxNorm?: number
  warmupSteps?: number
}

/** The training script of test/goldens/models.py, as a user would write it here. */
async function training(golden: GoldenCase, { model, logits }: Classifier, where: TestDevice): Promise<Run> {
  const { steps, lr, weightDecay, maxNorm, warmupSteps } = golden.options as unknown as RunOptions
  model.loadStateDict(goldenState(golden, where))
  const optimizer = new optim.AdamW(model.parameters(), { lr, weightDecay })
  const scheduler =
    warmupSteps === undefined ? null : optim.linearScheduleWithWarmup(optimizer, warmupSteps, steps)
  const [ids, mask, labels] = ['ids', 'mask', 'labels'].map((name) => onDevice(golden.get(name), where))
  const losses: number[] = []
  const norms: number[] = []
  for (let step = 0; step < steps; step++) {
    const batch = step % ids.shape[0]
    const loss = nn.functional.crossEntropy(
      logits(ids.select(0, batch), mask.select(0, batch)),
      labels.select(0, batch),
    )
    optimizer.zeroGrad()
    loss.backward()
    if (maxNorm !== undefined) norms.push(await optim.clipGradNorm(model.parameters(), maxNorm).item())
    optimizer.step()
    scheduler?.step()
    losses.push(await loss.item())
  }
  return { losses, norms, model }
}

const runs: Record<string, (where: TestDevice) => Classifier> = {
  runGruMean: (where) => {
    const model = new MeanClassifier(where)
    return { model, logits: (ids, mask) => model.forward(ids, mask) }
  },
  // The library's own classifier: masked encoder and attention, weighted steps summed, Linear.
  runGruAttention: (where) => {
    const sizes = { vocabularySize: 30, embeddingSize: 12, hiddenSize: 10, dropout: 0 }
    const model = new ef.models.GRUClassifier({ ...sizes, ...where })
    return { model, logits: (ids, mask) => model.forward(ids, { lengths: mask.sum(1).to('int32') }) }
  },
}

/** Each step's loss by itself: late losses are small, and small mistakes would hide under the first one's size. */
function expectLosses(actual: number[], golden: GoldenTensor, { dtype }: TestDevice, what: string): void {
  for (const [step, value] of actual.entries())
    expectGolden([value], { ...golden, values: [golden.values[step]] }, dtype, `${what}, step ${step}`)
}

describeDevices('golden runs', (where) => {
  for (const [name, make] of Object.entries(runs)) {
    it(`${name}: the losses of twenty steps are PyTorch's`, async () => {
      const golden = goldenCase(name, 'run')
      const { losses, norms, model } = await training(golden, make(where), where)
      expect(losses).toHaveLength(20)
      expectLosses(losses, golden.get(`losses.${where.dtype}`), where, 'loss')
      if (golden.has(`norms.${where.dtype}`))
        expectLosses(norms, golden.get(`norms.${where.dtype}`), where, 'gradient norm')
      if (where.dtype === 'float32') return
      for (const [key, parameter] of Object.entries(model.stateDict())) {
        // A softmax ignores a constant: the gradient of this bias is rounding alone, which Adam amplifies.
        if (key === 'attention.V.bias') continue
        // Stored in float32.
        expectGolden(await parameter.data(), golden.get(`final.${key}`), 'float32', key)
      }
    })

    it(`${name}: twice gives the same bits`, async () => {
      const golden = goldenCase(name, 'run')
      const [first, second] = [
        await training(golden, make(where), where),
        await training(golden, make(where), where),
      ]
      expect(second.losses).toEqual(first.losses)
      expect(second.norms).toEqual(first.norms)
      const [a, b] = [first.model.stateDict(), second.model.stateDict()]
      for (const key of Object.keys(a)) expect(await b[key].data(), key).toEqual(await a[key].data())
    })
  }

  it('a whole run from a seed, initialisation and dropout included, gives the same bits, and another seed others', async () => {
    const golden = goldenCase('runGruAttention', 'run')
    const [ids, labels] = ['ids', 'labels'].map((name) => onDevice(golden.get(name), where).select(0, 1))
    const run = async (seed: number) => {
      ef.manualSeed(seed)
      const model = new ef.models.GRUClassifier({
        vocabularySize: 30,
        embeddingSize: 6,
        hiddenSize: 5,
        numLayers: 2,
        dropout: 0.3,
        ...where,
      })
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
      const losses: number[] = []
      for (let step = 0; step < 5; step++) {
        const loss = nn.functional.crossEntropy(model.forward(ids), labels)
        optimizer.zeroGrad()
        loss.backward()
        optimizer.step()
        losses.push(await loss.item())
      }
      return losses
    }
    const first = await run(1)
    expect(await run(1)).toEqual(first)
    expect(await run(2)).not.toEqual(first)
  })
})
