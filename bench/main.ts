// `npm run bench`: evenfold and its peers on the same workloads, each measurement in a process of its own.

import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { choiceOption, countOption, main, readOptions, refuse } from '../examples/common/cli'
import { ensureVulkan } from '../test/support/swiftshader'
import { type Job, messageOf } from './child'
import { charts } from './charts'
import { bundleChildren, ENGINES, type Engine, folder, hasTorch, installPeers } from './engines'
import { tables } from './report'
import { type Line, readLines, type Setting, summarize } from './results'
import { endWithChildren, runJob } from './run'
import { isCompared, judge, targetTable } from './targets'
import { type Bench, DEFAULT_BENCHES, parseBench, sweepOf, WORKLOADS } from './workloads'

const USAGE = `Measures evenfold beside other engines; bench/README.md says what and how.

  npm run bench -- --device cpu --only gru,matmul:512

  --only LIST        workloads: ${Object.keys(WORKLOADS).join(', ')};
                     with other sizes as matmul:1024 or gru:length=128:batch=8; default: each, matmul at 256, 512, 1024
  --engines LIST     default: all that can run here:
                     ${ENGINES.map(({ name }) => name).join(', ')}
  --device cpu|webgpu  only the engines on that device
  --rounds N         each engine in turn, N times; the figures are medians; default 3, with --sweep 1
  --sweep            gru, lstm, bidirectional, tcore and transformer (or --only) over length, batch and hidden size
  --targets          what the library's targets compare, and whether they hold; with --report of what --out holds
  --tiny             tiny sizes, once: whether everything runs
  --timeout N        seconds for one process; default 170
  --python FILE      for PyTorch; default python3
  --out FILE         where results are added as JSON lines; default bench/runs/results.jsonl
  --report           measure nothing; the table of what --out holds, and pictures of it
  --pictures FOLDER  where --report puts results.svg and sweep.svg; default beside --out
  --json             a line of JSON for each engine and workload instead of the table
  --help`

type Effort = Pick<Job, 'warm' | 'runs' | 'minMs' | 'slowMs'>
const FULL: Effort = { warm: 3, runs: 7, minMs: 600, slowMs: 6_000 }
/** Many points: a median of few steps each. */
const SWEEP: Effort = { warm: 2, runs: 3, minMs: 200, slowMs: 3_000 }
const TINY: Effort = { warm: 3, runs: 3, minMs: 0, slowMs: 1e9 }

await main(async () => {
  const options = readOptions(USAGE, {
    only: { type: 'string' },
    engines: { type: 'string' },
    device: { type: 'string' },
    rounds: { type: 'string' },
    sweep: { type: 'boolean', default: false },
    targets: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
    timeout: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    out: { type: 'string', default: path.join(folder, 'runs/results.jsonl') },
    report: { type: 'boolean', default: false },
    pictures: { type: 'string' },
    json: { type: 'boolean', default: false },
  })
  const { tiny, python, out, sweep, targets } = options
  if (options.report) {
    show(
      orRefuse(() => readLines(out)),
      options,
    )
    return
  }
  const timeout = countOption('timeout', options.timeout, 170)
  const rounds = countOption('rounds', options.rounds, tiny || sweep ? 1 : 3)
  const device = choiceOption('device', options.device, ['cpu', 'webgpu'] as const)
  const benches = chosenBenches(options.only, sweep, tiny)
  const engines = chosenEngines(options.engines, python).filter((one) => !device || one.device === device)
  const pairs = benches.flatMap((bench) =>
    engines
      .filter(({ workloads }) => workloads.includes(bench.workload))
      .filter(({ name }) => !targets || isCompared(bench.name, name))
      .map((engine) => ({ bench, engine })),
  )
  if (pairs.length === 0) refuse('none of these engines has any of these workloads')

  endWithChildren()
  if (engines.some(({ peer }) => peer)) orRefuse(installPeers)
  const onGpu = engines.some((engine) => engine.device === 'webgpu')
  if (onGpu) await ensureVulkan()
  await bundleChildren(engines)
  const effort = tiny ? TINY : sweep ? SWEEP : FULL
  const lines = await measure(pairs, { rounds, timeout, python, effort }, settingOf(onGpu, tiny), out)
  show(lines, options)
})

/** Every pair once a round, so that a slow minute of the machine meets all engines alike. */
async function measure(
  pairs: readonly { bench: Bench; engine: Engine }[],
  { rounds, timeout, python, effort }: { rounds: number; timeout: number; python: string; effort: Effort },
  setting: Setting,
  out: string,
): Promise<Line[]> {
  mkdirSync(path.dirname(out), { recursive: true })
  const lines: Line[] = []
  const failed = new Set<unknown>()
  for (let round = 1; round <= rounds; round++) {
    for (const pair of pairs) {
      if (failed.has(pair)) continue
      const { bench, engine } = pair
      const { workload, sizes } = bench
      const result = await runJob(
        engine,
        { engine: engine.name, workload, sizes, ...effort },
        { timeout, python },
      )
      const line: Line = { engine: engine.name, bench: bench.name, round, ...result, ...setting }
      if (line.error !== undefined) failed.add(pair)
      lines.push(line)
      appendFileSync(out, `${JSON.stringify(line)}\n`)
      const outcome = line.ms === undefined ? line.error : `${line.ms.toFixed(2)} ms`
      console.error(`round ${round}/${rounds}  ${bench.name}  ${engine.name}  ${outcome}`)
    }
  }
  return lines
}

interface Shown {
  json: boolean
  targets: boolean
  report: boolean
  out: string
  pictures?: string | undefined
}

function show(lines: readonly Line[], { json, targets, report, out, pictures }: Shown): void {
  const all = summarize(lines)
  const verdicts = targets ? judge(all) : []
  if (json) {
    console.log([...all, ...verdicts].map((one) => JSON.stringify(shortened(one))).join('\n'))
    return
  }
  console.log(tables(all) + (targets ? `\n${targetTable(verdicts)}` : ''))
  if (!report) return
  const folder = pictures ?? path.dirname(out)
  mkdirSync(folder, { recursive: true })
  for (const { name, svg } of charts(all)) {
    const file = path.join(folder, `${name}.svg`)
    writeFileSync(file, svg)
    console.error(`wrote ${file}`)
  }
}

/** Six digits are more than a measurement keeps. */
function shortened(measured: object): object {
  const short = (value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)
  return Object.fromEntries(Object.entries(measured).map(([key, value]) => [key, short(value)]))
}

function chosenBenches(only: string | undefined, sweep: boolean, tiny: boolean): Bench[] {
  const swept = Object.keys(WORKLOADS).filter((name) => WORKLOADS[name]!.sweep)
  const names = listOf(only) ?? (sweep ? swept : DEFAULT_BENCHES)
  return orRefuse(() => (sweep ? names.flatMap(sweepOf) : names).map((name) => parseBench(name, { tiny })))
}

function chosenEngines(list: string | undefined, python: string): Engine[] {
  const names = listOf(list)
  if (names === null) {
    const torch = hasTorch(python)
    if (!torch) console.error(`PyTorch is left out: ${python} has no module torch`)
    return ENGINES.filter(({ script }) => torch || !script.endsWith('.py'))
  }
  return names.map((name) => {
    const found = ENGINES.find((engine) => engine.name === name)
    return (
      found ?? refuse(`--engines: there is no '${name}'; expected ${ENGINES.map((e) => e.name).join(', ')}`)
    )
  })
}

function settingOf(onGpu: boolean, tiny: boolean): Setting {
  const cpus = os.cpus()
  const software = process.env.EVENFOLD_SWIFTSHADER !== undefined
  return {
    run: new Date().toISOString(),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    machine: `${cpus[0]?.model.trim() ?? 'unknown processor'}, ${cpus.length} logical cores`,
    node: process.versions.node,
    ...(onGpu && { gpu: software ? 'SwiftShader, a driver in software' : 'the driver of the machine' }),
    tiny,
  }
}

function listOf(text: string | undefined): string[] | null {
  return text === undefined ? null : text.split(',').filter((name) => name !== '')
}

/** What the user can mend is one line. */
function orRefuse<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    return refuse(messageOf(error))
  }
}
