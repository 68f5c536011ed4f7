// One job in a process of its own, with a limit on its time; none outlives the benchmark.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Job, Measured } from './child'
import { commandOf, type Engine } from './engines'

let current: ChildProcess | null = null

/** Ends the running child with the program, whatever ends it. */
export function endWithChildren(): void {
  process.on('exit', () => current?.kill('SIGKILL'))
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.on(signal, () => process.exit(code))
  }
}

/** What the child measured, or why it did not. */
export function runJob(
  engine: Engine,
  job: Job,
  { timeout, python }: { timeout: number; python: string },
): Promise<Measured | { error: string }> {
  const [program, ...args] = commandOf(engine, python)
  const child = spawn(program, [...args, JSON.stringify(job)], { stdio: ['ignore', 'pipe', 'pipe'] })
  current = child
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-4_000)
  })
  return new Promise((done) => {
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout * 1_000)
    const end = (result: Measured | { error: string }): void => {
      clearTimeout(timer)
      current = null
      done(result)
    }
    child.on('error', ({ message }) => end({ error: message }))
    child.on('close', (code, signal) => {
      // Peers may print as well; the result is the last line.
      const line = stdout.trimEnd().split('\n').at(-1) ?? ''
      if (late) end({ error: `not done after ${timeout} s` })
      else if (code === 0 && line.startsWith('{')) end(JSON.parse(line))
      else end({ error: `ended with ${signal ?? code}: ${lastLine(stderr)}` })
    })
  })
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.slice(0, 300) ?? ''
}
