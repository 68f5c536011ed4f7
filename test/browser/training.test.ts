// The library in a real browser: a page and a Web Worker train a few steps on cpu and on WebGPU and get Node's losses.
import * as ef from 'evenfold'
import { beforeAll, expect, it } from 'vitest'
import { bundlePage, withPage } from '../support/chromium'
import { trainingSteps } from '../support/training-steps'

let chosen: string
let node: number[]
const browser: Record<string, number[]> = {}

/** One browser for all that follows. */
beforeAll(async () => {
  await ef.init({ device: 'cpu' })
  node = await trainingSteps()
  const site = await bundlePage('test/browser/pages/training.page.ts')
  await withPage(site, async (page) => {
    chosen = await page.evaluate(() => window.chosenDevice())
    browser['cpu in the page'] = await page.evaluate(() => window.trainInPage('cpu'))
    browser['webgpu in the page'] = await page.evaluate(() => window.trainInPage('webgpu'))
    browser['webgpu in the page, again'] = await page.evaluate(() => window.trainInPage('webgpu'))
    browser['webgpu on a device of its own'] = await page.evaluate(() => window.trainOnOwnDevice())
    browser['cpu in a worker'] = await page.evaluate(() => window.trainInWorker('cpu'))
    browser['webgpu in a worker'] = await page.evaluate(() => window.trainInWorker('webgpu'))
  })
}, 180_000)

it('learns', () => {
  expect(node).toHaveLength(7)
  expect(node.at(-1)).toBeLessThan(node[0] / 2)
})

it('chooses the cpu by itself where WebGPU is software', () => {
  expect(chosen).toBe('cpu')
})

it.each(['cpu in the page', 'cpu in a worker'])('%s: the losses are those of Node', (way) => {
  expectClose(browser[way], node, 1e-6)
})

it.each(['webgpu in the page', 'webgpu on a device of its own', 'webgpu in a worker'])(
  '%s: the losses are those of Node',
  (way) => {
    expectClose(browser[way], node, 1e-4)
  },
)

it('gives the same bits every time on one device', () => {
  expect(browser['webgpu in the page, again']).toEqual(browser['webgpu in the page'])
  expect(browser['webgpu on a device of its own']).toEqual(browser['webgpu in the page'])
  expect(browser['webgpu in a worker']).toEqual(browser['webgpu in the page'])
  expect(browser['cpu in a worker']).toEqual(browser['cpu in the page'])
})

function expectClose(actual: number[], expected: number[], relative: number): void {
  expect(actual).toHaveLength(expected.length)
  for (const [step, loss] of expected.entries())
    expect(Math.abs(actual[step] - loss), `step ${step}`).toBeLessThanOrEqual(relative * loss + 1e-6)
}
