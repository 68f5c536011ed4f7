// Processes that use a GPU: they end by themselves, with `shutdown` or without, and never crash on the way out.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { build } from 'vite'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { wgslAsText } from './support/wgsl'

const root = path.resolve(import.meta.dirname, '..')
// Inside node_modules, so that `webgpu` is found from there.
const folder = fs.mkdtempSync(path.join(root, 'node_modules/.evenfold-process-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

beforeAll(async () => {
  const conditions = ['evenfold-source', 'node']
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    plugins: [wgslAsText()],
    ssr: { noExternal: true, external: ['webgpu'], resolve: { conditions } },
    build: {
      ssr: true,
      outDir: folder,
      minify: false,
      target: 'es2022',
      rollupOptions: {
        input: { evenfold: 'src/index.ts', swiftshader: 'test/support/swiftshader.ts' },
        output: { entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' },
      },
    },
  })
})

/** Runs a script that has `ef`; gives its exit code (null: it had to be stopped) and output. */
function run(script: string, seconds: number): { status: number | null; output: string } {
  const file = path.join(folder, 'script.mjs')
  fs.writeFileSync(
    file,
    `import { preloadChosenDriver } from './swiftshader.mjs'
     import * as ef from './evenfold.mjs'
     preloadChosenDriver()
     ${script}`,
  )
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', file], {
    encoding: 'utf8',
    timeout: seconds * 1000,
    killSignal: 'SIGKILL',
  })
  return { status, output: stdout + stderr }
}

const TRAIN = `
  await ef.init({ device: 'webgpu' })
  const w = ef.tensor([1, 2, 3], { requiresGrad: true })
  const optimizer = new ef.optim.SGD([w], { lr: 0.1 })
  for (let i = 0; i < 3; i++) {
    optimizer.zeroGrad()
    w.mul(w).sum().backward()
    optimizer.step()
  }
  console.log('w', (await w.tolist()).map((x) => x.toFixed(3)).join(' '))
`

it('a script that trains and shuts down ends by itself', () => {
  const { status, output } = run(`${TRAIN} ef.shutdown()`, 30)
  expect(output).toContain('w 0.512 1.024 1.536')
  expect({ status, output }).toMatchObject({ status: 0 })
})

it('also with work and a read under way', () => {
  const script = `${TRAIN} w.detach().mul(2).data().catch((e) => console.log(e.name)); w.detach().add(1); ef.shutdown()`
  const { status, output } = run(script, 30)
  expect(output).toContain('DeviceLostError')
  expect({ status, output }).toMatchObject({ status: 0 })
})

it('a script that forgets to shut down ends too, once nothing is awaited', () => {
  const { status, output } = run(TRAIN, 10)
  expect({ status, output }).toMatchObject({ status: 0 })
})

it('the garbage collector may run at any time, also while a device is going down', () => {
  const script = `
    const collect = async () => { for (let i = 0; i < 5; i++) { gc(); await new Promise((r) => setTimeout(r, 2)) } }
    for (let i = 0; i < 15; i++) {
      await ef.init({ device: 'webgpu' })
      const x = ef.tensor([1, 2, 3])
      const reading = x.mul(2).data().catch((e) => e.name)
      await collect()
      const early = await reading
      const late = x.mul(3).data().catch((e) => e.name)
      ef.shutdown()
      await collect()
      console.log(String(early), await late)
    }`
  const { status, output } = run(script, 30)
  expect({ status, output }).toEqual({ status: 0, output: '2,4,6 DeviceLostError\n'.repeat(15) })
})

it('process.exit with a device open', () => {
  const { status, output } = run(`${TRAIN} process.exit(3)`, 30)
  expect({ status, output }).toMatchObject({ status: 3 })
})

it('left to choose, a script without a hardware GPU holds nothing', () => {
  const { status, output } = run(
    `console.log(await ef.init()); if (ef.defaultDevice() === 'webgpu') ef.shutdown()`,
    30,
  )
  expect({ status, output }).toMatchObject({ status: 0 })
})
