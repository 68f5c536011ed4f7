// The benchmark as its users start it, at tiny sizes: that it runs and says what was done. How long that takes is no test.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ids, transposed, values } from '../bench/data'
import { charts } from '../bench/charts'
import { ENGINES, hasRelaxedSimd } from '../bench/engines'
import { readLines, type Summary, summarize } from '../bench/results'
import { judge, TARGETS, targetTable } from '../bench/targets'
import { DEFAULT_BENCHES, parseBench, sweepOf, WORKLOADS } from '../bench/workloads'

const root = resolve(import.meta.dirname, '..')
const fixture = join(root, 'test/fixtures/bench.jsonl')
const TRAINED = ['mlp', 'tcore', 'transformer', 'gru', 'lstm', 'bidirectional']

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evenfold-bench-'))
})
afterAll(() => rm(folder, { recursive: true }))

function bench(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const loader = ['--conditions=evenfold-source', '--import', 'tsx', 'bench/main.ts']
  return new Promise((done) => {
    execFile(process.execPath, [...loader, ...args], { cwd: root }, (error, stdout, stderr) =>
      done({ code: error ? error.code : 0, stdout, stderr }),
    )
  })
}

const jsonOf = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('npm run bench', () => {
  it('measures each workload in a process of its own, and says what it came to', async () => {
    const out = join(folder, 'cpu.jsonl')
    const only = Object.keys(WORKLOADS).join(',')
    const run = await bench('--tiny', '--engines', 'evenfold-cpu-1t', '--only', only, '--json', '--out', out)
    expect(run).toMatchObject({ code: 0 })
    const lines = jsonOf(run.stdout)
    expect(lines.map((line) => line.bench)).toEqual(Object.keys(WORKLOADS))
    for (const line of lines) {
      expect(line).not.toHaveProperty('error')
      expect(line).toMatchObject({ engine: 'evenfold-cpu-1t', rounds: 1, tiny: true, submits: null })
      for (const key of ['ms', 'firstMs', 'floorMs', 'rssMiB', 'dispatches']) {
        expect(line[key], `${line.bench}: ${key}`).toBeGreaterThan(0)
      }
    }
    for (const { bench: name, firstLoss, loss } of lines.filter((line) =>
      TRAINED.includes(`${line.bench}`),
    )) {
      // Ten classes, and weights that say nothing yet.
      expect(firstLoss, `${name}`).toBeGreaterThan(Math.log(10) - 0.5)
      expect(firstLoss, `${name}`).toBeLessThan(Math.log(10) + 0.5)
      expect(loss, `${name}`).toBeLessThan(firstLoss as number)
    }
    expect(readLines(out).map((line) => line.bench)).toEqual(Object.keys(WORKLOADS))
  }, 300_000)

  it('counts the submits of webgpu, and reaches the losses of the cpu', async () => {
    const arguments_ = ['--tiny', '--only', 'mlp,gru', '--json', '--out', join(folder, 'both.jsonl')]
    const run = await bench('--engines', 'evenfold-cpu-1t+fma,evenfold-webgpu', ...arguments_)
    expect(run).toMatchObject({ code: 0 })
    const lines = jsonOf(run.stdout)
    expect(lines.map((line) => line.engine)).toEqual([
      ...['evenfold-cpu-1t+fma', 'evenfold-webgpu'],
      ...['evenfold-cpu-1t+fma', 'evenfold-webgpu'],
    ])
    for (const [cpu, gpu] of [lines.slice(0, 2), lines.slice(2)]) {
      expect(gpu!.dispatches).toBeGreaterThan(1)
      expect(gpu!.submits).toBeGreaterThan(0)
      expect(gpu!.loss).toBeCloseTo(cpu!.loss as number, 3)
    }
  }, 300_000)

  it('ends a child that takes too long, and goes on', async () => {
    const arguments_ = [
      '--only',
      'gru:length=4000:batch=64,matmul:8',
      '--rounds',
      '1',
      '--json',
      '--timeout',
      '1',
    ]
    const run = await bench(
      '--engines',
      'evenfold-cpu-1t',
      ...arguments_,
      '--out',
      join(folder, 'late.jsonl'),
    )
    const [late, next] = jsonOf(run.stdout)
    expect(late).toMatchObject({ bench: 'gru:length=4000:batch=64', error: 'not done after 1 s', rounds: 0 })
    expect(next).toMatchObject({ bench: 'matmul:8' })
  }, 120_000)

  it('makes the table and the pictures again from what was measured', async () => {
    const out = join(folder, 'report', 'results.jsonl')
    await mkdir(join(folder, 'report'))
    await copyFile(fixture, out)
    const { code, stdout } = await bench('--report', '--out', out)
    expect(code).toBe(0)
    expect(
      stdout,
    ).toBe(`a machine, 2 logical cores; Node 20.19.0; 2025-02-01; \`npm run bench -- --only gru,matmul:256,matmul:512\`.

| ms a step | evenfold-cpu-1t | jax-js-1t |
| --- | --: | --- |
| gru | 105 | – |
| matmul:256 | 1 | – |
| matmul:512 | 8 | – |

| workload | engine | ms | floor ms | GFLOP/s | first step ms | peak MiB | dispatches | submits | first loss | fifth loss |
| --- | --- | --: | --: | --: | --: | --: | --: | --- | --- | --- |
| gru | evenfold-cpu-1t | 105 | 103.6 | 38.35 | 160 | 211 | 40 | – | 2.31 | 2.1 |
| matmul:256 | evenfold-cpu-1t | 1 | 0.9175 | 33.55 | 3 | 90 | 1 | – | – | – |
| matmul:512 | evenfold-cpu-1t | 8 | 7.025 | 33.55 | 9 | 95 | 1 | – | – | – |

- jax-js-1t, gru: not done after 170 s

`)
    expect(await readdir(join(folder, 'report'))).toEqual(['results.jsonl', 'results.svg'])
    expect(await readFile(join(folder, 'report', 'results.svg'), 'utf8')).toContain(
      'gru: evenfold-cpu-1t 105 ms; matmul:256: evenfold-cpu-1t 1 ms; matmul:512: evenfold-cpu-1t 8 ms.',
    )
  }, 300_000)

  it.each([
    [['--only', 'grue'], "there is no workload 'grue'; expected matmul, "],
    [
      ['--only', 'gru:length=0'],
      "'length=0' is no size of gru; expected a whole number for one of batch, length",
    ],
    [['--engines', 'evenfold'], "--engines: there is no 'evenfold'; expected evenfold-cpu-1t, "],
    [['--engines', 'ort-wasm-1t', '--only', 'gru'], 'none of these engines has any of these workloads'],
    [['--report', '--out', 'nowhere.jsonl'], "there is no file 'nowhere.jsonl'"],
    [['--rounds', 'many'], "--rounds is 'many'; expected a whole number"],
  ])('answers %j with one line', async (args, message) => {
    const { code, stdout, stderr } = await bench(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/\n +at /)
  })
})

describe('what is measured', () => {
  it('is work that can be counted', () => {
    const flops = (name: string) => {
      const { workload, sizes } = parseBench(name)
      return WORKLOADS[workload]!.flops(sizes)
    }
    expect(flops('matmul:256')).toBe(2 * 256 ** 3)
    expect(flops('mlp') / 1e6).toBeCloseTo(410.8, 1)
    expect(flops('tcore') / 1e9).toBeCloseTo(14.5, 1)
    // The table of vectors is looked up, not multiplied.
    expect(flops('transformer')).toBe(flops('tcore'))
    expect(flops('gru:length=128')).toBe(2 * flops('gru'))
    expect(flops('bidirectional')).toBe(2 * flops('gru'))
  })

  it('has names for every size, and a sweep for what has a length', () => {
    for (const tiny of [false, true]) {
      for (const name of DEFAULT_BENCHES) expect(parseBench(name, { tiny }).name).toBe(name)
    }
    expect(parseBench('gru:length=7:batch=2').sizes).toEqual({
      batch: 2,
      length: 7,
      hidden: 256,
      classes: 10,
    })
    expect(sweepOf('gru').slice(0, 2)).toEqual(['gru:length=32', 'gru:length=64'])
    expect(sweepOf('mlp')).toEqual(['mlp'])
    for (const { workloads } of ENGINES)
      expect(Object.keys(WORKLOADS)).toEqual(expect.arrayContaining([...workloads]))
  })

  it('starts from numbers that torch_bench.py makes too', () => {
    const expected = [-0.6683693509037808, 1.2543320442372128, -0.14186257837326796, 0.8042843667168736]
    expect([...values('x', 4, 1)]).toEqual(expected.map(Math.fround))
    expect([...values('rnn.weight_ih_l0', 2)]).toEqual(
      [0.014051723244660034, -0.04829612693808932].map(Math.fround),
    )
    expect([...ids(3, 10)]).toEqual([3, 2, 1])
    expect([...transposed(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3)]).toEqual([1, 4, 2, 5, 3, 6])
  })

  it('knows where fused multiply-add needs a flag', () => {
    expect(hasRelaxedSimd()).toBe(Number.parseInt(process.versions.node, 10) >= 22)
  })
})

describe('the results', () => {
  it('of several runs are the last one, of its rounds the medians', () => {
    const gru = summarize(readLines(fixture)).find(
      ({ bench: name, engine }) => name === 'gru' && engine.startsWith('even'),
    )
    expect(gru).toMatchObject({
      rounds: 2,
      ms: 105,
      firstMs: 160,
      rssMiB: 211,
      run: '2025-02-01T00:00:00.000Z',
    })
    const { workload, sizes } = parseBench('gru')
    const { flops, bytes } = WORKLOADS[workload]!
    expect(gru!.floorMs).toBeCloseTo(flops(sizes) / 40e6 + bytes(sizes) / 10e6, 6)
  })
})

/** Measured in one run on a machine that never was. */
function measured(bench: string, engine: string, ms: number, more: Partial<Summary> = {}): Summary {
  const setting = { run: '2025-02-01', command: '', machine: '', node: '20.19.0', tiny: false }
  return { bench, engine, ms, rounds: 1, ...setting, ...more }
}

describe('the pictures', () => {
  it('show every workload, and how cost grows with a size', () => {
    const all = [
      measured('gru', 'evenfold-cpu-2t', 100),
      ...[32, 64].map((length) => measured(`gru:length=${length}`, 'evenfold-cpu-2t', 2 * length)),
      ...[64, 32].map((length) => measured(`gru:length=${length}`, 'jax-js-2t', 5 * length)),
    ]
    const [results, sweep, ...more] = charts(all)
    expect(more).toEqual([])
    expect(results).toMatchObject({ name: 'results' })
    expect(results!.svg).toContain('gru: evenfold-cpu-2t 100 ms.')
    expect(sweep).toMatchObject({ name: 'sweep' })
    expect(sweep!.svg).toContain('gru by length: at 64 evenfold-cpu-2t 128 ms, jax-js-2t 320 ms.')
    expect(charts(all)).toEqual(charts(all))
  })

  it('are none where nothing was measured, or at one size only', () => {
    expect(charts([])).toEqual([])
    expect(charts([measured('gru:length=32', 'evenfold-cpu-2t', 1)])).toEqual([])
  })
})

describe('the targets', () => {
  const verdictOf = (all: Summary[], bench: string, engine: string, figure = 'ms') =>
    judge(all).find((one) => one.bench === bench && one.engine === engine && one.figure === figure)

  it('are ratios to the best peer of the same run', () => {
    const all = [
      measured('softmax', 'evenfold-cpu-2t', 2, { floorMs: 1.6 }),
      measured('softmax', 'jax-js-2t', 10),
      measured('softmax', 'tfjs-wasm', 3),
      measured('softmax', 'torch-2t', 1),
    ]
    const [own, , tfjs] = all
    expect(verdictOf(all, 'softmax', 'evenfold-cpu-2t')).toMatchObject({
      ...{ ours: 2, times: 1.5, floors: 1.25, torch: 1, holds: true, reached: false },
      theirs: { engine: 'tfjs-wasm', value: 3 },
    })
    const slower = verdictOf([own!, { ...tfjs!, ms: 2.39 }], 'softmax', 'evenfold-cpu-2t')
    expect(slower).toMatchObject({ holds: false })
    const other = verdictOf([own!, { ...tfjs!, run: '2025-01-01' }], 'softmax', 'evenfold-cpu-2t')
    expect(other).toMatchObject({ ours: 2 })
    expect(other).not.toHaveProperty('holds')
    expect(verdictOf([tfjs!], 'softmax', 'evenfold-cpu-2t')).not.toHaveProperty('holds')
  })

  it('are limits as well, of floors, rates, counts and our own other workload', () => {
    const own = 'evenfold-cpu-2t'
    const matmul = [measured('matmul:512', 'evenfold-cpu-1t', 4, { gflops: 67 })]
    expect(verdictOf(matmul, 'matmul:512', 'evenfold-cpu-1t')).toMatchObject({ reached: true })
    const steps = [measured('tcore', own, 100, { floorMs: 80 }), measured('transformer', own, 114)]
    expect(verdictOf(steps, 'tcore', own)).toMatchObject({ floors: 1.25, reached: true })
    expect(verdictOf(steps, 'transformer', own)).toMatchObject({ holds: true })
    steps[1]!.ms = 116
    expect(verdictOf(steps, 'transformer', own)).toMatchObject({ holds: false })
    const counted = [measured('gru', 'evenfold-webgpu', 9, { dispatches: 31 })]
    const verdict = verdictOf(counted, 'gru', 'evenfold-webgpu', 'dispatches')
    expect(verdict).toMatchObject({ ours: 31, holds: true, reached: false })
  })

  it('are a table that says how many hold', () => {
    const all = [measured('gru', 'evenfold-cpu-2t', 100, { floorMs: 50 }), measured('gru', 'jax-js-2t', 240)]
    const musts = TARGETS.filter(({ must }) => must).length
    expect(targetTable(judge(all))).toBe(`\
| workload | figure | evenfold | is | beside | is there | ratio | must | aim | of the floor | PyTorch |
| --- | --- | --- | --: | --- | --: | --- | --- | --- | --- | --- |
| gru | ms a step | evenfold-cpu-2t | 100 | jax-js-2t | 240 | 2.40x | 2.5x: does not hold | 1.3x the floor: not reached | 2.00x | – |

Of ${musts} musts 0 hold, 1 do not, ${musts - 1} are not measured.
`)
  })

  it('name workloads that there are', () => {
    for (const { bench, beside } of TARGETS) for (const one of [{ bench }, ...beside]) parseBench(one.bench)
  })
})
