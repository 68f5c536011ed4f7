// The attention example draws the pictures that stand in its guide.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import * as ef from 'evenfold'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomTwins, twins } from '../examples/attention/models'
import { parseXml, textOf } from './support/xml'

const root = resolve(import.meta.dirname, '..')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-attention-'))
  await ef.init({ device: 'cpu' })
})
afterAll(() => rm(folder, { recursive: true }))

const example = (...args: string[]) => {
  const loader = ['--conditions=evenfold-source', '--import', 'tsx', 'examples/attention/main.ts']
  return promisify(execFile)(process.execPath, [...loader, ...args], { cwd: root })
}

/** For each row of a heat map, its name and that of the column where it is strongest. */
async function peaks(file: string): Promise<string[]> {
  const [, list] = textOf(parseXml(await readFile(file, 'utf8')).all('desc')[0]!).split('row. ')
  return list!.split('; ').map((entry) => entry.replace(/: [\d.]+ at (\w)\.?$/, ' at $1'))
}

describe('the example', () => {
  it('learns both tasks and draws what the guide shows', async () => {
    const { stdout } = await example('--device', 'cpu', '--out', folder)
    expect(stdout).toMatch(/^writes backwards: 512 of 512 letters right/m)
    expect(stdout).toMatch(/^finds the twin: 512 of 512 letters right/m)
    for (const name of ['cross-attention.svg', 'self-attention.svg']) {
      const shown = await peaks(join(root, 'docs/guides/attention', name))
      expect(shown).toHaveLength(8)
      expect(await peaks(join(folder, name))).toEqual(shown)
    }
    // Backwards: each letter written is read where it stands. Twins: each looks at its equal.
    for (const peak of await peaks(join(folder, 'cross-attention.svg'))) expect(peak).toMatch(/^(\w) at \1$/)
    for (const peak of await peaks(join(folder, 'self-attention.svg'))) expect(peak).toMatch(/^(\w) at \1$/)
  }, 180_000)

  it('refuses what it cannot do', async () => {
    await expect(example('--steps', 'many')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--steps is 'many'"),
    })
  })
})

describe('sequences of twins', () => {
  it('have each letter twice, and know where the other one is', async () => {
    const ids = randomTwins(20)
    const rows = (await ids.tolist()) as number[][]
    const found = (await twins(ids).tolist()) as number[][]
    for (const [i, row] of rows.entries()) {
      expect(row.toSorted()).toEqual([0, 0, 1, 1, 2, 2, 3, 3])
      for (const [at, letter] of row.entries()) {
        expect(found[i]![at]).not.toBe(at)
        expect(row[found[i]![at]!]).toBe(letter)
      }
    }
  })
})
