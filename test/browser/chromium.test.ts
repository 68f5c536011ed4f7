// The harness itself: a real Chromium opens a page, finds a WebGPU adapter and runs a compute shader.
import { expect, it } from 'vitest'
import { bundlePage, withPage } from '../support/chromium'

it('runs a compute shader in a page of a headless Chromium', async () => {
  const site = await bundlePage('test/browser/pages/compute.ts')
  const squares = await withPage(site, (page) => page.evaluate(() => window.squares()))
  expect(squares).toEqual([0, 1, 4, 9])
})
