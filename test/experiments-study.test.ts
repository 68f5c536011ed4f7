// The sequence-model study through its command line, at tiny sizes and from source.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Result } from '../experiments/sequence-models/results'
import { parseSafetensors } from '../src/io'
import { tinyReviews, writeTinyStudy } from './support/tiny-study'

const root = resolve(import.meta.dirname, '..')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-study-'))
  await writeTinyStudy(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

function start(args: readonly string[], watch: (child: ChildProcess) => void = () => {}): Promise<Ended> {
  const loader = ['--conditions=evenfold-source', '--import', 'tsx', 'experiments/main.ts']
  const child = spawn(process.execPath, [...loader, ...args], {
    cwd: root,
    env: { ...process.env, EVENFOLD_DATA: '' },
  })
  const ended = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => {
    ended.stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    ended.stderr += chunk
  })
  watch(child)
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code, signal) => done({ code, signal, ...ended }))
  })
}

/** A run on the tiny reviews; later options win. */
function study(out: string, args: readonly string[], watch?: (child: ChildProcess) => void): Promise<Ended> {
  const data = ['--data', folder, '--tokenizer', join(folder, 'tokenizer.json'), '--device', 'cpu']
  const sizes = ['--width', '8', '--batch', '4', '--length', '8', '--validation', '10']
  return start(['sequence-models', ...data, ...sizes, '--out', join(folder, out), ...args], watch)
}

const fileOf = (out: string, experiment: number, name: string) =>
  join(folder, out, `experiment-${experiment}`, name)

async function resultOf(out: string, experiment: number): Promise<Result> {
  return JSON.parse(await readFile(fileOf(out, experiment, 'result.json'), 'utf8'))
}

/** The final weights, as bytes by name. */
async function weightsOf(out: string, experiment: number): Promise<Map<string, string>> {
  const { tensors } = parseSafetensors(await readFile(fileOf(out, experiment, 'checkpoint.safetensors')))
  return new Map(
    [...tensors].map(([name, { data }]) => [
      name,
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'),
    ]),
  )
}

describe('the published parameter counts', () => {
  const counts = [8_603_136, 9_195_008, 8_671_744, 9_463_296, 8_671_744, 109_482_240]

  it('are one line of JSON each', async () => {
    const { code, stdout } = await start(['sequence-models', '--counts', '--json'])
    expect(code).toBe(0)
    expect(stdout).toBe(
      counts.map((parameters, i) => `{"experiment":${i + 1},"parameters":${parameters}}\n`).join(''),
    )
  })

  it('are a table for people', async () => {
    const { stdout } = await start(['sequence-models', '--counts', '--experiments', '2,6'])
    expect(stdout).toMatch(/\| 2 GRU encoder-decoder \| 9,195,008 \|/)
    expect(stdout).toMatch(/\| 6 BERT, frozen \| 109,482,240 \|/)
    expect(stdout).not.toMatch(/8,603,136/)
  })
})

describe('a run', () => {
  it('trains all six, evaluates every k steps on the same texts, and reports', async () => {
    const run = await study('all', ['--steps', '5', '--evaluate-every', '2'])
    expect(run).toMatchObject({ code: 0 })
    expect(run.stdout).toMatch(/^40 texts to train on, 10 unseen ones to evaluate on, 18 tokens, cpu/)
    for (let experiment = 1; experiment <= 6; experiment++) {
      const { losses, evaluations, memory, settings } = await resultOf('all', experiment)
      expect(losses).toHaveLength(5)
      expect(evaluations.map(({ step }) => step)).toEqual([2, 4, 5])
      const [first, , last] = evaluations
      expect(first.trainLoss).toBeCloseTo((losses[0] + losses[1]) / 2, 12)
      expect(last.trainLoss).toBe(losses[4])
      for (const { accuracy, interval, f1 } of evaluations) {
        expect((accuracy * 10) % 1).toBeCloseTo(0)
        expect(accuracy).toBeGreaterThanOrEqual(interval[0])
        expect(accuracy).toBeLessThanOrEqual(interval[1])
        expect(f1).toBeGreaterThanOrEqual(0)
      }
      expect(memory.peak).toBeGreaterThan(memory.steady)
      expect(settings.lr).toBe([1e-3, 1e-3, 3e-4, 3e-4, 3e-4, 1e-2][experiment - 1])
    }
    const table = await readFile(join(folder, 'all', 'table.md'), 'utf8')
    expect(run.stdout).toContain(table)
    expect(table.match(/^\| \d .*\| best \(step \d\)/gm)).toHaveLength(6)
    expect(table.match(/^\| +\| last \(step 5\)/gm)).toHaveLength(6)
    expect(table).toMatch(/published, best \| 0\.313 \| 0\.371 \| 83\.3 %/)

    const figures = ['loss.svg', 'accuracy.svg'].map((name) => join(folder, 'all', name))
    const before = await Promise.all(figures.map((path) => readFile(path, 'utf8')))
    for (const svg of before) {
      expect(svg).toMatch(/^<svg/)
      expect(svg).toContain('>step<')
      for (let experiment = 1; experiment <= 6; experiment++) expect(svg).toContain(`>${experiment} `)
    }
    for (const path of figures) await rm(path)
    const again = await study('all', ['--report'])
    expect(again.stdout).toContain(table)
    expect(await Promise.all(figures.map((path) => readFile(path, 'utf8')))).toEqual(before)
  }, 240_000)

  it('goes on after a kill at any time, bit for bit, and skips what was finished', async () => {
    // Long enough that the kill comes before the end.
    const args = ['--experiments', '2,3', '--steps', '120', '--evaluate-every', '3', '--validation', '4']
    const whole = await study('whole', args)
    expect(whole).toMatchObject({ code: 0 })
    const killed = await study('killed', args, (child) => {
      const timer = setInterval(() => {
        if (existsSync(fileOf('killed', 3, 'checkpoint.safetensors'))) child.kill('SIGKILL')
      }, 5)
      child.on('close', () => clearInterval(timer))
    })
    expect(killed.signal).toBe('SIGKILL')
    expect(existsSync(fileOf('killed', 3, 'result.json'))).toBe(false)

    const refused = await study('killed', args)
    expect(refused).toMatchObject({ code: 2 })
    expect(refused.stderr).toMatch(
      /holds a run of experiment 2; go on with --resume, or choose another --out/,
    )
    const other = await study('killed', [...args, '--resume', '--lr', '0.5'])
    expect(other.stderr).toMatch(/made with other settings[\s\S]*lr: 0.001 there, 0.5 now/)

    const resumed = await study('killed', [...args, '--resume'])
    expect(resumed).toMatchObject({ code: 0 })
    expect(resumed.stdout).toMatch(/experiment 2, .*: finished before/)
    for (const experiment of [2, 3]) {
      const timeless = ({ losses, evaluations }: Result) => ({
        losses,
        evaluations: evaluations.map(({ seconds: _, trainSeconds: __, ...rest }) => rest),
      })
      expect(timeless(await resultOf('killed', experiment))).toEqual(
        timeless(await resultOf('whole', experiment)),
      )
      expect(await weightsOf('killed', experiment)).toEqual(await weightsOf('whole', experiment))
    }
  }, 240_000)

  it('saves and ends on Ctrl-C', async () => {
    const args = ['--experiments', '1', '--steps', '2000', '--evaluate-every', '100']
    const stopped = await study('stopped', args, (child) => {
      child.stderr?.once('data', () => child.kill('SIGINT'))
    })
    expect(stopped).toMatchObject({ code: 0 })
    expect(stopped.stdout).toMatch(/stopped; saved to .*checkpoint\.safetensors, go on with --resume/)
    expect(existsSync(fileOf('stopped', 1, 'checkpoint.safetensors'))).toBe(true)
  })

  it('reads Parquet, and with the original defect learns otherwise', async () => {
    const reviews = tinyReviews(60)
    for (const [name, rows] of [
      ['train.parquet', reviews.slice(0, 40)],
      ['test.parquet', reviews.slice(40)],
    ] as const) {
      const columnData = [
        { name: 'label', data: rows.map(({ label }) => label), type: 'INT32' as const },
        { name: 'title', data: rows.map(({ title }) => title), type: 'STRING' as const },
        { name: 'content', data: rows.map(({ content }) => content), type: 'STRING' as const },
      ]
      await writeFile(join(folder, name), Buffer.from(parquetWriteBuffer({ columnData })))
    }
    const files = ['--train', 'train.parquet', '--test', 'test.parquet']
    const args = ['--experiments', '1', '--steps', '4', '--evaluate-every', '2']
    await study('csv', args)
    await study('parquet', [...args, ...files])
    await study('forever', [...args, '--accumulate-forever'])
    const [csv, parquet, forever] = await Promise.all(
      ['csv', 'parquet', 'forever'].map((out) => resultOf(out, 1)),
    )
    expect(parquet.losses).toEqual(csv.losses)
    // The first gradient is the same; Adam's first step, too.
    expect(forever.losses.slice(0, 2)).toEqual(csv.losses.slice(0, 2))
    expect(forever.losses[2]).not.toBe(csv.losses[2])
  }, 120_000)
})

describe('bad input', () => {
  it.each([
    [['--experiments', '1,7'], /--experiments: there is no experiment '7'; expected some of 1 to 6/],
    [['--length', '257'], /--length is 257; the Transformers of experiments 3, 4, 5 have positions for 256/],
    [['--experiments', '6', '--length', '513'], /--length is 513; BERT has 512 positions/],
    [['--width', '10'], /--width is 10; expected a multiple of 4/],
    [['--train', 'none.csv'], /none\.csv: there is no such file\. The study used Amazon Polarity/],
    [['--train', 'tokenizer.json'], /cannot tell the format; expected a file named \.csv or \.parquet/],
    [['--text-column', 'body'], /--text-column is 'body'; expected title, content, or the number/],
    [['--tokenizer', 'none.json'], /none\.json: there is no such file; give --tokenizer/],
    [['--bert', 'none'], /--bert: there is no none\/config\.json/],
    [['--bert', 'BERT'], /the tokenizer has 18 tokens, but the model's embedding has 30 rows/],
    [['--json'], /--json needs --counts/],
  ])('%j ends with a clear line before any training', async (args, message) => {
    const bert = join(folder, 'bert')
    if (args[1] === 'BERT') {
      const sizes = { vocab_size: 30, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2 }
      const rest = { model_type: 'bert', intermediate_size: 8, max_position_embeddings: 16 }
      await rm(bert, { recursive: true, force: true })
      await mkdir(bert)
      await writeFile(join(bert, 'config.json'), JSON.stringify({ ...sizes, ...rest }))
    }
    const given = args.map((arg) => (arg === 'BERT' ? bert : arg))
    const { code, stdout, stderr } = await study('bad', given)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('other columns in a Parquet file are named', async () => {
    const columnData = [{ name: 'body', data: ['a', 'b'], type: 'STRING' as const }]
    await writeFile(join(folder, 'other.parquet'), Buffer.from(parquetWriteBuffer({ columnData })))
    const { code, stderr } = await study('bad', ['--train', 'other.parquet'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/other\.parquet: there is no column 'content', 'label'; the file has body/)
  })

  it('missing data and unknown experiments are explained', async () => {
    const none = await start(['sequence-models'])
    expect(none).toMatchObject({ code: 2 })
    expect(none.stderr).toMatch(
      /give --data FOLDER, or set EVENFOLD_DATA to the folder that holds amazon_reviews/,
    )
    expect(await start(['unknown'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/there is no experiment 'unknown'; expected one of: sequence-models/),
    })
  })
})
