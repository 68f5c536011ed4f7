// The harness itself: a real Chromium opens a page, finds a WebGPU adapter and runs a compute shader, in the page
// and in a Web Worker.
import { expect, it } from 'vitest'
import { bundlePage, withPage } from '../support/chromium'

it('runs a compute shader in a page and in a worker of a headless Chromium', async () => {
  const site = await bundlePage('test/browser/pages/squares.page.ts')
  await withPage(site, async (page) => {
    expect(await page.evaluate(() => window.squaresInPage())).toEqual([0, 1, 4, 9])
    expect(await page.evaluate(() => window.squaresInWorker())).toEqual([0, 1, 4, 9])
  })
})
