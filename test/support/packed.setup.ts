// Once per run of the tests: a folder for the packed package, which the first test that wants it fills.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    packFolder: string
  }
}

export default function setup({ provide }: TestProject): () => void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-packed-'))
  provide('packFolder', folder)
  return () => fs.rmSync(folder, { recursive: true, force: true })
}
