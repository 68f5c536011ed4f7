// What a run leaves behind: one JSON file an experiment, from which tables and figures are made.

import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { refuse } from '../../examples/common/cli'
import { EXPERIMENTS } from './recipe'

/** Everything that decides the numbers; a run goes on only with the same. */
export type Settings = Readonly<Record<string, string | number | boolean | null>>

export interface Evaluated {
  step: number
  /** Mean loss of the training batches since the evaluation before. */
  trainLoss: number
  loss: number
  accuracy: number
  interval: readonly [low: number, high: number]
  f1: number
  /** Until here, without evaluations. */
  trainSeconds: number
  /** Of this evaluation. */
  seconds: number
}

export interface Result {
  experiment: number
  settings: Settings
  /** Of the model that was trained, without its classifier. */
  parameters: number
  /** Of each step's batch. */
  losses: number[]
  evaluations: Evaluated[]
  /** Bytes of tensors. */
  memory: { steady: number; peak: number }
}

export const folderOf = (out: string, experiment: number) => join(out, `experiment-${experiment}`)
const resultFile = (out: string, experiment: number) => join(folderOf(out, experiment), 'result.json')

/** Writes a file as a whole: a kill leaves the old one. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}.tmp`
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

export function writeResult(out: string, result: Result): Promise<void> {
  return writeWhole(resultFile(out, result.experiment), `${JSON.stringify(result, null, 1)}\n`)
}

/** The result of a finished experiment, or null. */
export async function readResult(out: string, experiment: number): Promise<Result | null> {
  const path = resultFile(out, experiment)
  if (!existsSync(path)) return null
  try {
    const result = JSON.parse(await readFile(path, 'utf8')) as Result
    if (result.experiment === experiment && result.evaluations.length > 0) return result
  } catch {}
  return refuse(`${path} is not a result of experiment ${experiment}; remove it to train again`)
}

/** All finished experiments of a folder. */
export async function readResults(out: string): Promise<Result[]> {
  const found = await Promise.all(EXPERIMENTS.map(({ number }) => readResult(out, number)))
  return found.filter((result) => result !== null)
}

/** Ends the program if a stored run was made with other settings. */
export function checkSettings(where: string, stored: Settings, given: Settings): void {
  const names = [...new Set([...Object.keys(stored), ...Object.keys(given)])]
  const differing = names.filter((name) => (stored[name] ?? null) !== (given[name] ?? null))
  if (differing.length === 0) return
  const lines = differing.map((name) => `  ${name}: ${stored[name]} there, ${given[name]} now`)
  refuse(`${where} was made with other settings; give the same, or another --out.\n${lines.join('\n')}`)
}
