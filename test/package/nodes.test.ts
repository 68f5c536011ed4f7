// The installed package under every version of Node that it is for: the README's first script, a file of weights written
// and read, and a gradient on WebGPU. `npm run nodes` fetches the Nodes; what it could not fetch is skipped.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { binaryOf, versions } from '../../scripts/nodes'
import { readPage, root } from '../docs/markdown'
import { installPacked } from '../support/packed'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'evenfold-nodes-'))

const WEIGHTS = `
import * as ef from 'evenfold'
import { Linear } from 'evenfold/nn'

await ef.init({ device: 'cpu' })
ef.manualSeed(5)
const layer = new Linear(3, 2)
await ef.io.saveTensors('weights.safetensors', layer.stateDict())
await ef.init({ device: process.argv[2] })
const { tensors } = await ef.io.loadTensors('weights.safetensors')
const { weight } = tensors
weight.requiresGrad = true
weight.square().sum().backward()
console.log(weight.device, JSON.stringify(await weight.grad.sub(weight.mul(2)).tolist()))
`

beforeAll(async () => {
  if (!versions.some(binaryOf)) return
  await installPacked(folder)
  fs.symlinkSync(path.join(root, 'node_modules/webgpu'), path.join(folder, 'node_modules/webgpu'))
  const first = readPage('README.md').blocks.find(({ language }) => language === 'ts')!
  fs.writeFileSync(path.join(folder, 'first.mjs'), first.code)
  fs.writeFileSync(path.join(folder, 'weights.mjs'), WEIGHTS)
}, 180_000)
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

function run(binary: string, ...args: string[]): string {
  // Where the machine has no driver, the software one: Dawn looks for its loader there.
  const { EVENFOLD_SWIFTSHADER: driver } = process.env
  const env = { ...process.env, NODE_OPTIONS: '', ...(driver && { LD_LIBRARY_PATH: driver }) }
  return execFileSync(binary, args, { cwd: folder, encoding: 'utf8', env, timeout: 120_000 })
}

describe.each(versions)('Node %i', (version) => {
  const binary = binaryOf(version) ?? ''
  const why = `Node ${version} is not there; npm run nodes fetches it`

  it("runs the README's first script", ({ skip }) => {
    if (!binary) skip(why)
    expect(run(binary, '-p', 'process.version')).toMatch(new RegExp(`^v${version}\\.`))
    expect(run(binary, 'first.mjs')).toBe(run(process.execPath, 'first.mjs'))
  })

  for (const device of ['cpu', 'webgpu']) {
    it(`writes and reads weights, and derives, on ${device}`, ({ skip }) => {
      if (!binary) skip(why)
      expect(run(binary, 'weights.mjs', device).trim()).toBe(`${device} [[0,0,0],[0,0,0]]`)
    })
  }
})
