// What two checkers of packages say of the tarball: publint of its files and fields, arethetypeswrong of its types as
// Node's and bundlers' resolution find them. The package has ES modules only; how `require` sees it is not asked.
import fs from 'node:fs'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { beforeAll, expect, it } from 'vitest'
import { packedTarball } from '../support/packed'

let tarball: Buffer

beforeAll(async () => {
  tarball = fs.readFileSync(await packedTarball())
}, 180_000)

it('publint finds nothing to say', async () => {
  const { buffer, byteOffset, byteLength } = tarball
  const bytes = buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer
  const { messages, pkg } = await publint({ pack: { tarball: bytes }, level: 'suggestion', strict: true })
  expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([])
})

it('arethetypeswrong finds types and code that fit, at every path', async () => {
  const checked = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)))
  if (!checked.types) throw new Error('the package has no types')
  const asked = ['node16-esm', 'bundler']
  const problems = checked.problems.filter(
    (problem) => !('resolutionKind' in problem) || asked.includes(problem.resolutionKind),
  )
  expect(problems).toEqual([])
  const seen = Object.entries(checked.entrypoints).filter(
    ([, { resolutions }]) =>
      resolutions['node16-esm'].resolution?.isTypeScript && resolutions.bundler.resolution?.isTypeScript,
  )
  const { exports } = JSON.parse(fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(seen.map(([name]) => name)).toEqual(Object.keys(exports).filter((name) => name !== './package.json'))
})
