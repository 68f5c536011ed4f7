// The same few training steps wherever they run: Node, a page, a worker. A small GRU classifier with everything that
// a real one has (embedding, padding, both directions, attention, dropout, clipping, AdamW, a schedule).
import * as ef from 'evenfold'
import { nn, optim } from 'evenfold'

const rows = [
  [3, 7, 1, 5, 0, 0],
  [2, 9, 0, 0, 0, 0],
  [4, 4, 6, 8, 1, 11],
  [5, 10, 2, 0, 0, 0],
]
const lengths = [4, 2, 6, 3]
const labels = [0, 1, 0, 1]
const STEPS = 6

/** Trains on the device that `init` chose; the loss of each step, and last the loss in evaluation mode. */
export async function trainingSteps(): Promise<number[]> {
  ef.manualSeed(11)
  const model = new ef.models.GRUClassifier({
    vocabularySize: 12,
    embeddingSize: 8,
    hiddenSize: 6,
    numLayers: 2,
    dropout: 0.2,
  })
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.05 })
  const scheduler = optim.linearScheduleWithWarmup(optimizer, 2, 2 * STEPS)
  const ids = ef.tensor(rows, { dtype: 'int32' })
  const target = ef.tensor(labels, { dtype: 'int32' })
  const losses: number[] = []
  for (let step = 0; step < STEPS; step++) {
    const loss = nn.functional.crossEntropy(model.forward(ids, { lengths }), target)
    optimizer.zeroGrad()
    loss.backward()
    optim.clipGradNorm(model.parameters(), 1)
    optimizer.step()
    scheduler.step()
    losses.push(await loss.item())
  }
  model.eval()
  losses.push(await ef.noGrad(() => nn.functional.crossEntropy(model.forward(ids), target)).item())
  return losses
}
