// One experiment: train, evaluate every k steps on the same unseen rows, save so that a killed run goes on bit for bit.

import * as ef from 'evenfold'
import { data, io, nn, optim } from 'evenfold'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { showProgress } from '../../examples/common/progress'
import { buildClassifier, type Classifier, type Input } from './classifier'
import { AccumulatingAdamW } from './optimizer'
import { ADAMW } from './recipe'
import { checkSettings, type Evaluated, folderOf, type Result, type Settings, writeResult } from './results'

export interface RunOptions {
  experiment: number
  train: data.SampleSource
  validation: data.SampleSource
  out: string
  /** Decide the numbers; stored with them. */
  settings: Settings
  steps: number
  batchSize: number
  /** Tokens of every row, padded. */
  length: number
  lr: number
  seed: number
  evaluateEvery: number
  accumulateForever: boolean
  vocabularySize: number
  width: number
  bertFolder: string | undefined
}

/** What a checkpoint remembers beside what `train` does. */
type Memory = Pick<Result, 'settings' | 'losses' | 'evaluations'> & { peakBytes: number }

export const checkpointFile = (out: string, experiment: number) =>
  join(folderOf(out, experiment), 'checkpoint.safetensors')

/** Trains an experiment, from its checkpoint on if there is one; null if it was interrupted, and saved. */
export async function runExperiment(options: RunOptions): Promise<Result | null> {
  const { experiment, out, seed, batchSize, length, settings } = options
  ef.resetPeakMemory()
  ef.manualSeed(seed)
  const model = await buildClassifier(experiment, options, options.bertFolder)
  const Optimizer = options.accumulateForever ? AccumulatingAdamW : optim.AdamW
  const optimizer = new Optimizer(model.trainable(), { lr: options.lr, ...ADAMW })
  const shape = { batchSize, maxLength: length, padTo: 'maxLength' } as const
  const loader = new data.DataLoader(options.train, { ...shape, shuffle: true, seed, dropLast: true })
  const validation = new data.DataLoader(options.validation, shape)
  const path = checkpointFile(out, experiment)
  const memory = await remembered(path, settings)
  const progress = showProgress(`experiment ${experiment}`)
  try {
    const { interrupted } = await ef
      .train({
        model,
        optimizer,
        loader,
        loss: (batch) => nn.functional.crossEntropy(model.forward(batch), batch.labels),
        maxSteps: options.steps,
        evaluate: () => evaluate(model, validation),
        evaluateEvery: options.evaluateEvery,
        checkpoint: { path, every: options.evaluateEvery, extra: { study: memory } },
        resume: true,
        callbacks: [recorder(memory)],
        onProgress: progress.update,
      })
      .finally(progress.stop)
    if (interrupted) return null
    const { losses, evaluations, peakBytes } = memory
    const { bytes } = ef.memory()[ef.defaultDevice()]
    const result = {
      experiment,
      settings,
      parameters: model.parameterCount,
      losses,
      evaluations,
      memory: { steady: bytes, peak: peakBytes },
    }
    await writeResult(out, result)
    return result
  } finally {
    for (const t of Object.values(optimizer.stateDict().tensors)) t.dispose()
    model.release()
  }
}

/** What the checkpoint remembers; empty without one. */
async function remembered(path: string, settings: Settings): Promise<Memory> {
  if (!existsSync(path)) return { settings, losses: [], evaluations: [], peakBytes: 0 }
  const { extra } = await io.readCheckpointInfo(path)
  const { study } = extra as { study: Memory }
  checkSettings(path, study.settings, settings)
  return study
}

async function evaluate(model: Classifier, loader: data.DataLoader): Promise<Record<string, number>> {
  const start = performance.now()
  const logits = (batch: Input) => model.forward(batch)
  const { loss, accuracy, correct, count, f1 } = await ef.evaluateClassifier({ model, loader, logits })
  // An undefined F1 (neither answered nor there) is the worst one.
  return { loss, accuracy, correct, count, f1: f1[1] || 0, seconds: (performance.now() - start) / 1000 }
}

/** Gathers the curves. The arrays are part of each checkpoint, so they end where it does. */
function recorder(memory: Memory): ef.TrainCallback {
  const { losses, evaluations } = memory
  return {
    onStep: ({ loss }) => {
      losses.push(loss)
    },
    onEvaluate: ({ step, metrics, seconds: elapsed }) => {
      const { loss, accuracy, correct, count, f1, seconds } = metrics
      const since = losses.slice(evaluations.at(-1)?.step ?? 0)
      const evaluated: Evaluated = {
        step,
        trainLoss: since.reduce((a, b) => a + b, 0) / since.length,
        loss,
        accuracy,
        interval: ef.wilson(correct, count),
        f1,
        trainSeconds: elapsed - evaluations.reduce((sum, e) => sum + e.seconds, seconds),
        seconds,
      }
      evaluations.push(evaluated)
      memory.peakBytes = Math.max(memory.peakBytes, ef.memory()[ef.defaultDevice()].peakBytes)
    },
  }
}
