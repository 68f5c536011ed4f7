// How the tests run: source through the `evenfold-source` condition, shaders as text, and a WebGPU driver that is
// always there (the machine's own, else the software one from npm).
import { defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'
import { ensureVulkan } from './test/support/swiftshader'
import { wgslAsText } from './test/support/wgsl'

const conditions = ['evenfold-source', ...defaultServerConditions]

/** What holds the cpu's kernels to their references runs a second time, on two threads; test/threads.test.ts has the rest. */
const ON_THREADS = [
  'backend-cpu-matmul',
  'nn.golden',
  'nn-attention.golden',
  'ops',
  'wasm-fma',
  'wasm-matmul',
  'wasm-programs',
  'wasm-random',
].map((name) => `test/${name}.test.ts`)

export default defineConfig(async () => {
  await ensureVulkan()
  return {
    plugins: [wgslAsText()],
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      setupFiles: ['./test/support/setup.ts'],
      globalSetup: ['./test/support/packed.setup.ts'],
      // A process per test file: a driver that crashes takes one file with it, not the run.
      pool: 'forks' as const,
      maxWorkers: 2,
      testTimeout: 60_000,
      hookTimeout: 120_000,
      env: { EVENFOLD_TEST: '1' },
      projects: [
        { extends: true as const, test: { name: 'all', include: ['test/**/*.test.ts'] } },
        {
          extends: true as const,
          test: { name: 'two threads', include: ON_THREADS, env: { EVENFOLD_TEST_THREADS: '2' } },
        },
      ],
    },
  }
})
