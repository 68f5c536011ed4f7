// Files and signals behind `#platform`: what Node gives, and what a browser says instead.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { platform } from '#platform'
import { ArgumentError, EvenfoldError } from '../src/errors'
import { platform as browser } from '../src/platform/browser'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-platform-'))
afterAll(() => fs.rmSync(folder, { recursive: true }))

const text = (value: string) => new TextEncoder().encode(value)
const inFolder = (name: string) => path.join(folder, name)

describe('files in Node', () => {
  it('are written as a whole, with their folder, and read whole, in ranges and in chunks', async () => {
    const file = inFolder('new/letters')
    await platform.writeFileAtomic(file, [text('abc'), text('defg')])
    expect(await platform.fileSize(file)).toBe(7)
    expect(await platform.readFile(file)).toEqual(text('abcdefg'))
    expect(await platform.readFile(file, 2, 3)).toEqual(text('cde'))
    expect(await platform.readFile(file, 5, 2 ** 53)).toEqual(text('fg')) // no more than there is
    expect(await platform.readFile(file, 9, 1)).toEqual(text(''))
    const chunks: number[] = []
    for await (const chunk of platform.readChunks(file, 3)) chunks.push(chunk.length)
    expect(chunks).toEqual([3, 3, 1])
  })

  it('keep their old content, and leave nothing behind, when writing fails half way', async () => {
    const file = inFolder('half/file')
    await platform.writeFileAtomic(file, [text('old')])
    async function* fullDisk() {
      yield text('new')
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    }
    await expect(platform.writeFileAtomic(file, fullDisk())).rejects.toThrow(/disk is full/)
    expect(await platform.readFile(file)).toEqual(text('old'))
    expect(await platform.listFolder(inFolder('half'))).toEqual(['file'])
  })

  it('keep their old content when the process is killed while writing', async () => {
    const file = inFolder('killed')
    await platform.writeFileAtomic(file, [text('old')])
    const program = `
      import { platform } from '#platform'
      async function* slowly() {
        yield new Uint8Array(1 << 20)
        process.stdout.write('begun')
        await new Promise((resolve) => setTimeout(resolve, 60_000))
      }
      await platform.writeFileAtomic(${JSON.stringify(file)}, slowly())`
    const flags = [
      '--import',
      'tsx',
      '--conditions=evenfold-source',
      '--input-type=module',
      '--eval',
      program,
    ]
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    expect(await platform.readFile(file)).toEqual(text('old'))
  })

  it('grow by appending, are listed in order, and go away', async () => {
    await platform.appendFile(inFolder('logs/b.jsonl'), 'one\n')
    await platform.appendFile(inFolder('logs/b.jsonl'), 'two\n')
    await platform.appendFile(inFolder('logs/a.jsonl'), '')
    expect(await platform.readFile(inFolder('logs/b.jsonl'))).toEqual(text('one\ntwo\n'))
    expect(await platform.listFolder(inFolder('logs'))).toEqual(['a.jsonl', 'b.jsonl'])
    await platform.removeFile(inFolder('logs/a.jsonl'))
    expect(await platform.exists(inFolder('logs/a.jsonl'))).toBe(false)
    expect(await platform.exists(inFolder('logs/b.jsonl'))).toBe(true)
  })

  it('that are missing, or folders, are named in the error', async () => {
    await expect(platform.readFile(inFolder('none'))).rejects.toThrow(ArgumentError)
    await expect(platform.readFile(inFolder('none'))).rejects.toThrow(/none'.*no such file/)
    await expect(platform.readChunks(inFolder('none'))[Symbol.asyncIterator]().next()).rejects.toThrow(
      /no such file/,
    )
    await expect(platform.readFile(folder)).rejects.toThrow(EvenfoldError)
  })
})

it('an interrupt reaches its handler once, and never after it was withdrawn', () => {
  const before = process.listenerCount('SIGINT')
  let calls = 0
  platform.onInterrupt(() => calls++)
  process.emit('SIGINT')
  expect([calls, process.listenerCount('SIGINT')]).toEqual([1, before])
  platform.onInterrupt(() => calls++)()
  expect(process.listenerCount('SIGINT')).toBe(before)
})

it('yielding lets timers run', async () => {
  let ran = false
  setTimeout(() => {
    ran = true
  }, 0)
  for (let i = 0; i < 1000 && !ran; i++) await platform.yieldMacrotask()
  expect(ran).toBe(true)
})

it('a browser has no files, and says to pass the bytes', async () => {
  const calls = [
    () => browser.readFile('data.csv'),
    () => browser.fileSize('data.csv'),
    () => browser.readChunks('data.csv')[Symbol.asyncIterator]().next(),
    () => browser.writeFileAtomic('data.csv', []),
    () => browser.appendFile('data.csv', ''),
    () => browser.exists('data.csv'),
  ]
  for (const call of calls) await expect(call()).rejects.toThrow(/'data.csv'.*Pass the bytes/)
})
