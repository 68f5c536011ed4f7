// First in every test process: a library loaded with dlopen does not survive a fork, so the software Vulkan
// driver that the config file chose is loaded again here, before anything imports `webgpu`.
import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, expect } from 'vitest'
import { preloadChosenDriver } from './swiftshader'
import { withThreads } from './threads'

preloadChosenDriver()

if (process.env.EVENFOLD_TEST_THREADS) {
  const { cpuBackend } = await import('../../src/backend/cpu')
  await withThreads(cpuBackend)
}

// Tests that count live memory start from a collected heap: what earlier tests dropped must not vanish in the middle.
const { testPath } = expect.getState()
if (testPath && readFileSync(testPath, 'utf8').includes('memory()')) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  beforeEach(async () => {
    collect()
    // Finalizers run between macrotasks.
    await new Promise((resolve) => setImmediate(resolve))
  })
}
