// The installed package in a real browser, bundled and minified as its users would: a page and a Web Worker train on cpu
// and WebGPU and get the losses that the source gets in Node.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as ef from 'evenfold'
import { defaultClientConditions } from 'vite'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bundlePage, withPage } from '../support/chromium'
import { installPacked } from '../support/packed'
import { trainingSteps } from '../support/training-steps'

const root = path.resolve(import.meta.dirname, '../..')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-browser-'))
const page = 'test/browser/pages/training.page.ts'
const scripts = [
  page,
  'test/browser/pages/training.worker.ts',
  'test/support/page.ts',
  'test/support/training-steps.ts',
]
let node: number[]
const browser: Record<string, number[]> = {}

beforeAll(async () => {
  await installPacked(folder)
  for (const script of scripts) fs.cpSync(path.join(root, script), path.join(folder, script))
  await ef.init({ device: 'cpu' })
  node = await trainingSteps()
  const site = await bundlePage(page, {
    root: folder,
    conditions: [...defaultClientConditions],
    minify: true,
  })
  await withPage(site, async (opened) => {
    browser['cpu in the page'] = await opened.evaluate(() => window.trainInPage('cpu'))
    browser['cpu in a worker'] = await opened.evaluate(() => window.trainInWorker('cpu'))
    browser['webgpu in a worker'] = await opened.evaluate(() => window.trainInWorker('webgpu'))
  })
}, 240_000)
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

it.each([
  ['cpu in the page', 1e-6],
  ['cpu in a worker', 1e-6],
  ['webgpu in a worker', 1e-4],
])('%s: the losses are those of Node', (way, relative) => {
  expect(browser[way]).toHaveLength(node.length)
  for (const [step, loss] of node.entries())
    expect(Math.abs(browser[way][step] - loss), `step ${step}`).toBeLessThanOrEqual(relative * loss + 1e-6)
})
