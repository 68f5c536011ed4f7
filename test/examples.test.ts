// The examples as their users start them, at tiny sizes, from source.
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { holdOutSentences } from '../examples/sst2/split'
import { syntheticReviews } from '../examples/text-classifier/synthetic'
import { loadTensors, readCheckpointInfo } from '../src/io'
import { parseXml, textOf, type XmlNode } from './support/xml'

const root = resolve(import.meta.dirname, '..')
const CLASSIFIER = 'examples/text-classifier/main.ts'
const SST2 = 'examples/sst2/main.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-examples-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs an example on the cpu, from source; `onText` sees what it prints so far. */
function start(
  example: string,
  args: readonly string[],
  onText: (text: string, pid: number) => void = () => {},
): Promise<Ended> {
  const loader = ['--conditions=evenfold-source', '--import', 'tsx', example]
  const child = spawn(process.execPath, [...loader, ...args], {
    cwd: root,
    env: { ...process.env, EVENFOLD_DATA: '' },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
    onText(stderr, child.pid!)
  })
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => done({ code, stdout, stderr }))
  })
}

const cpu = ['--device', 'cpu']

/** All values of a checkpoint, by name. */
async function savedIn(checkpoint: string) {
  const { tensors } = await loadTensors(checkpoint)
  return Promise.all(Object.entries(tensors).map(async ([key, t]) => [key, await t.data()]))
}

describe('the text classifier', () => {
  const checkpoint = (out: string, model: string) => join(out, model, 'checkpoint.safetensors')

  it('trains both models, measures, reports, saves, loads and classifies; then classifies from what it saved', async () => {
    const out = join(folder, 'start')
    const first = await start(CLASSIFIER, [...cpu, '--steps', '5', '--out', out])
    expect(first).toMatchObject({ code: 0 })
    for (const title of ['GRU', 'Transformer']) {
      expect(first.stdout).toMatch(
        new RegExp(
          `^${title}\\n {2}accuracy +\\d+\\.\\d % \\(95 % interval \\d+\\.\\d to \\d+\\.\\d %\\) on 1000 unseen reviews\\n` +
            ' {2}time +\\d+ s for 5 steps\\n {2}memory +\\d+ MiB of tensors at most\\n {2}parameters \\d+$',
          'm',
        ),
      )
      expect(first.stdout).toMatch(new RegExp(`^${title}: (negative|positive), probability 0\\.\\d{3}$`, 'm'))
      expect(first.stderr).toMatch(
        new RegExp(`^${title} step 5/5 \\| loss \\d\\.\\d+ .*examples/s \\| 0 s left$`, 'm'),
      )
    }
    for (const model of ['gru', 'transformer'])
      expect((await readCheckpointInfo(checkpoint(out, model))).step).toBe(5)

    const html = await readFile(join(out, 'report.html'), 'utf8')
    expect(first.stdout).toContain(join(out, 'report.html'))
    const page = parseXml(html.replace('<!doctype html>', ''))
    expect(page.all('h2').map(textOf)).toEqual([
      'Results',
      'Learning curves',
      'What the classifiers looked at',
      'Settings',
    ])
    const rows = page.all('tr').map((row) => row.children.map((cell) => textOf(cell as XmlNode)))
    expect(rows[0]).toEqual([
      'classifier',
      'accuracy',
      'F1',
      'parameters',
      'steps',
      'seconds',
      'MiB of tensors',
    ])
    expect(
      rows.slice(1).map(([name, accuracy]) => [name, /^\d+\.\d % \d+\.\d to \d+\.\d %$/.test(accuracy)]),
    ).toEqual([
      ['GRU', true],
      ['Transformer', true],
    ])
    expect(page.all('desc').map(textOf)).toEqual([
      expect.stringMatching(
        /GRU, training: .* at 5, the last of 5 points; GRU, unseen: .*Transformer, training: .* at 5, the last of 5 points; Transformer, unseen/,
      ),
      expect.stringMatching(/GRU: 0\.\d+ at 5, the last of 1 points; Transformer: 0\.\d+ at 5/),
    ])
    const { test } = syntheticReviews({ train: 5000, test: 1000, seed: 0 })
    const shown = page.all('p').filter((p) => p.attributes.class === 'words')
    expect(shown.map(textOf)).toEqual(test.slice(0, 8).flatMap(({ text }) => [text, text]))

    const second = await start(CLASSIFIER, [...cpu, '--out', out, '--text', 'A good flurb'])
    expect(second).toMatchObject({ code: 0, stderr: '' })
    const [gru, transformer] = second.stdout.split('\nTransformer: ').map((part) => {
      const words = [...part.matchAll(/^ {2}(\S+) +(0\.\d+|1\.000) .*$/gm)]
      expect(words.map(([, word]) => word)).toEqual(['a', 'good', 'flurb'])
      expect(words.map(([row]) => row.includes('unknown word'))).toEqual([false, false, true])
      return words.reduce((sum, [, , weight]) => sum + Number(weight), 0)
    })
    expect(gru).toBeCloseTo(1, 2)
    // The CLS vector looks at itself, too.
    expect(transformer).toBeGreaterThan(0.3)
    expect(transformer).toBeLessThan(1)
  })

  it.each([
    ['.csv', 'gru', (text: string, label: number) => `"${label + 1}","a title","${text}"\n`, ''],
    ['.tsv', 'transformer', (text: string, label: number) => `${label}\t${text}\n`, 'label\tsentence\n'],
    ['.jsonl', 'both', (text: string, label: number) => `${JSON.stringify({ text, label })}\n`, ''],
  ])('trains on a file of reviews: %s, %s', async (kind, model, line, head) => {
    const file = join(folder, `reviews${kind}`)
    const { train } = syntheticReviews({ train: 40, test: 0 })
    await writeFile(file, head + train.map(({ text, label }) => line(text, label)).join(''))
    const run = await start(CLASSIFIER, [
      ...cpu,
      '--data',
      file,
      '--epochs',
      '1',
      '--model',
      model,
      '--out',
      join(folder, kind),
    ])
    expect(run).toMatchObject({ code: 0 })
    expect(run.stdout).toMatch(/^36 reviews to train on, 4 to test/)
    const trained = [...run.stdout.matchAll(/^(GRU|Transformer)$/gm)].map(([name]) => name.toLowerCase())
    expect(trained).toEqual(model === 'both' ? ['gru', 'transformer'] : [model])
  })

  it('saves and ends on Ctrl-C; --resume ends as if nothing had happened, curves included', async () => {
    const out = join(folder, 'interrupted')
    let sent = false
    const file = join(folder, 'interrupted.jsonl')
    const { train } = syntheticReviews({ train: 400, test: 0 })
    await writeFile(file, train.map((review) => JSON.stringify(review)).join('\n'))
    const short = [...cpu, '--data', file, '--steps', '30']
    const args = [...short, '--out', out]
    const stopped = await start(CLASSIFIER, args, (text, pid) => {
      if (sent || !/Transformer step/.test(text)) return
      sent = true
      process.kill(pid, 'SIGINT')
    })
    expect(stopped).toMatchObject({ code: 0 })
    expect(stopped.stdout).toMatch(/Transformer: stopped at step \d+; saved to .*--resume/)
    const { step } = await readCheckpointInfo(checkpoint(out, 'transformer'))
    expect(step).toBeLessThan(30)
    const resumed = await start(CLASSIFIER, [...args, '--resume'])
    expect(resumed).toMatchObject({ code: 0 })
    expect(resumed.stdout).toMatch(/^GRU\n.*\n {2}time +\d+ s for 30 steps/m)
    expect(resumed.stderr).not.toMatch(/GRU step/)
    const steps = (await readFile(join(out, 'transformer/log.jsonl'), 'utf8')).match(/"step":\d+,"epoch"/g)
    expect(steps).toEqual(Array.from({ length: 30 }, (_, i) => `"step":${i + 1},"epoch"`))
    expect(await readFile(join(out, 'report.html'), 'utf8')).toMatch(
      /GRU, training: [\d.]+ at 30, the last of 30 points; .*Transformer, training: [\d.]+ at 30, the last of 30 points/,
    )

    // Alone and unbroken, with a log of an earlier run in its place.
    const whole = join(folder, 'whole')
    await mkdir(join(whole, 'transformer'), { recursive: true })
    await writeFile(join(whole, 'transformer/log.jsonl'), '{"step":99,"loss":9}\n')
    const unbroken = await start(CLASSIFIER, [...short, '--model', 'transformer', '--out', whole])
    expect(unbroken).toMatchObject({ code: 0 })
    expect(await readFile(join(whole, 'transformer/log.jsonl'), 'utf8')).not.toContain('"step":99')
    expect(await savedIn(checkpoint(out, 'transformer'))).toEqual(
      await savedIn(checkpoint(whole, 'transformer')),
    )
  }, 180_000)

  it.each([
    [['--epoch', '3'], /Unknown option '--epoch'[\s\S]*--epochs N/],
    [['nonsense'], /Unexpected argument 'nonsense'/],
    [['--epochs', 'many'], /^\s*--epochs is 'many'; expected a whole number/],
    [['--model', 'bert'], /^\s*--model is 'bert'; expected gru or transformer or both/],
    [['--device', 'tpu'], /^\s*--device is 'tpu'; expected cpu or webgpu/],
    [[...cpu, '--data', 'missing.csv'], /^\s*Cannot read 'missing.csv': there is no such file/],
    [
      [...cpu, '--data', 'package.json'],
      /^\s*package.json: cannot tell the format; expected a file named .csv/,
    ],
    [[...cpu, '--data', 'x.csv', '--text-column', 'title'], /^\s*--text-column is 'title'/],
  ])('answers %j by a clear line and exit code 2', async (args, message) => {
    const { code, stdout, stderr } = await start(CLASSIFIER, args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('prints its usage', async () => {
    expect(await start(CLASSIFIER, ['--help'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('npm start'),
    })
  })
})

describe('the SST-2 example', () => {
  const sizes = ['--embedding', '8', '--hidden', '8', '--batch-size', '16', '--validation', '30']
  beforeAll(async () => {
    const { train, test } = syntheticReviews({ train: 120, test: 20 })
    const tsv = (rows: typeof train) =>
      `label\tsentence\n${rows.map(({ text, label }) => `${label}\t${text}\n`).join('')}`
    await writeFile(join(folder, 'train.tsv'), tsv(train))
    await writeFile(join(folder, 'dev.tsv'), tsv(test))
  })

  it.each(['gru', 'transformer'])(
    'trains per seed, chooses on held-out sentences and gives the mean on dev: %s',
    async (model) => {
      const out = join(folder, `sst2-${model}`)
      const what = ['--data', folder, '--model', model, '--seeds', '4,5', '--epochs', '1', '--out', out]
      const run = await start(SST2, [...cpu, ...what, ...sizes])
      expect(run).toMatchObject({ code: 0 })
      expect(run.stdout).toMatch(/seed 4: 90 texts to train on, 30 to choose the checkpoint/)
      const shares = [...run.stdout.matchAll(/^(seed [45]|mean of 2): (\d+\.\d) % \(95 %/gm)].map((m) =>
        Number(m[2]),
      )
      expect(shares).toHaveLength(3)
      expect(shares[2]).toBeCloseTo((shares[0] + shares[1]) / 2, 0)
      const { extra } = await readCheckpointInfo(join(out, 'seed-4', 'best.safetensors'))
      expect(extra).toMatchObject({ model, settings: { embeddingSize: 8 } })
    },
  )

  it('goes on after Ctrl-C, or after a kill, with the bits of an unbroken run', async () => {
    const args = (out: string) => {
      const what = ['--data', folder, '--model', 'transformer', '--seeds', '0', '--epochs', '10']
      return [...cpu, ...what, ...sizes, '--out', join(folder, out), '--resume']
    }
    const learned = (out: string) => savedIn(join(folder, out, 'seed-0', 'checkpoint.safetensors'))
    const accuracy = ({ stdout }: Ended) => /^seed 0: \d.*interval.*?\)/m.exec(stdout)?.[0]
    const whole = await start(SST2, args('unbroken'))
    expect(whole).toMatchObject({ code: 0 })
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      let sent = false
      const stopped = await start(SST2, args(signal), (text, pid) => {
        // After the first epoch's checkpoint.
        if (sent || !/step (1[2-9]|2\d)\/60/.test(text)) return
        sent = true
        process.kill(pid, signal)
      })
      if (signal === 'SIGINT') expect(stopped.stdout).toMatch(/stopped at step \d+; saved to/)
      else expect(stopped.code).toBe(null)
      const resumed = await start(SST2, args(signal))
      expect(resumed).toMatchObject({ code: 0 })
      expect(accuracy(resumed)).toBe(accuracy(whole))
      expect(await learned(signal)).toEqual(await learned('unbroken'))
    }
  }, 180_000)

  it('says what is missing', async () => {
    const none = await start(SST2, cpu)
    expect(none).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('give --data FOLDER, or set EVENFOLD_DATA'),
    })
    const empty = await start(SST2, [...cpu, '--data', 'src'])
    expect(empty).toMatchObject({ code: 2, stderr: expect.stringContaining('src holds none of train') })
    const heads = await start(SST2, [...cpu, '--data', folder, '--heads', '2'])
    expect(heads).toMatchObject({ code: 2, stderr: expect.stringContaining('--heads is for --model tra') })
    const indivisible = await start(SST2, [
      ...cpu,
      ...['--data', folder, '--model', 'transformer', ...sizes, '--heads', '3'],
    ])
    expect(indivisible).toMatchObject({ code: 2, stderr: expect.stringMatching(/3 heads do not divide/) })
  })
})

describe('the made-up reviews', () => {
  const { train, test } = syntheticReviews({ train: 3000, test: 600, seed: 1 })

  it('are the same for the same seed, and others for another', () => {
    expect(syntheticReviews({ train: 3000, test: 600, seed: 1 })).toEqual({ train, test })
    expect(syntheticReviews({ train: 3000, test: 600, seed: 2 }).train).not.toEqual(train)
  })

  it('are balanced, and no test review was seen in training', () => {
    for (const reviews of [train, test]) {
      const share = reviews.filter(({ label }) => label === 1).length / reviews.length
      expect(Math.abs(share - 0.5)).toBeLessThan(0.06)
    }
    const seen = new Set(train.map(({ text }) => text))
    expect(test.filter(({ text }) => seen.has(text))).toEqual([])
  })

  it('use no word in the test that training lacks', () => {
    const seen = new Set(train.flatMap(({ text }) => text.split(' ')))
    expect(test.flatMap(({ text }) => text.split(' ')).filter((word) => !seen.has(word))).toEqual([])
  })

  it('are not solved by counting words', () => {
    const score = new Map<string, number>()
    for (const { text, label } of train) {
      for (const word of new Set(text.split(' ')))
        score.set(word, (score.get(word) ?? 0) + (label === 1 ? 1 : -1))
    }
    const right = test.filter(({ text, label }) => {
      const total = text.split(' ').reduce((sum, word) => sum + (score.get(word) ?? 0), 0)
      return (total > 0 ? 1 : 0) === label
    })
    expect(right.length / test.length).toBeLessThan(0.82)
  })
})

describe('holding out sentences', () => {
  it('takes whole sentences, and their longer phrases out of the training set', () => {
    const sentences = Array.from({ length: 10 }, (_, i) => `w${i} is a good film number ${i} .`)
    const phrases = Array.from({ length: 10 }, (_, i) => [
      `a good film number ${i} .`,
      `film number ${i}`,
      `number ${i}`,
    ])
    const texts = [...sentences, ...phrases.flat()].map((text, i) => ({ text, label: i % 2 }))
    const { train, heldOut } = holdOutSentences(texts, 3, 0)
    expect(heldOut).toHaveLength(3)
    for (const { text } of heldOut) {
      expect(sentences).toContain(text)
      const at = sentences.indexOf(text)
      expect(train.map((t) => t.text).filter((t) => [text, ...phrases[at]].includes(t))).toEqual([
        `number ${at}`,
      ])
    }
    expect(train).toHaveLength(40 - 3 * 3)
  })
})
