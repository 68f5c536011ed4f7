// Threads of the cpu in a real page: cross-origin isolated, where they work, and not, where init says what is missing.
import { expect, it } from 'vitest'
import { bundlePage, withPage } from '../support/chromium'

const isolated = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}

it('an isolated page computes the same bits with two threads as with one', async () => {
  const site = await bundlePage('test/browser/pages/threads.page.ts')
  const [one, two, again] = await withPage(
    site,
    async (page) => {
      const results: number[][] = []
      for (const threads of [1, 2, 3])
        results.push(await page.evaluate((count) => window.trainWithThreads(count), threads))
      return results
    },
    isolated,
  )
  expect(one).toHaveLength(7 + 300)
  expect(two).toEqual(one)
  expect(again).toEqual(one)
}, 180_000)

it('a page that is not isolated is told what it lacks, and goes on with one thread', async () => {
  const site = await bundlePage('test/browser/pages/threads.page.ts')
  await withPage(site, async (page) => {
    await expect(page.evaluate(() => window.trainWithThreads(2))).rejects.toThrow(
      /DeviceError.*2 threads need.*not cross-origin isolated.*Cross-Origin-Embedder-Policy/s,
    )
    expect(await page.evaluate(() => window.trainWithThreads(1))).toHaveLength(7 + 300)
  })
}, 180_000)
