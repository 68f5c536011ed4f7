// Every op on webgpu against the cpu, forward and backward: the rows of support/op-table.ts on the other device. The
// cpu's answer in float64, from the same float32 inputs, is the one to match.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as ef from '../src/index'
import { asWhole, compare, describeCase, forCases, MEDIUM, outcome, place, settle } from './support/op-check'
import { type Row, TABLE, titleOf } from './support/op-table'
import { CPU64, onDevices, WEBGPU } from './support/precision'

const rows = (wanted: (row: Row) => boolean = () => true): (readonly [string, Row])[] =>
  TABLE.filter(wanted).map((row) => [titleOf(row), row] as const)

onDevices('ops', () => {
  it.each(rows())('%s: values and gradients equal the cpu’s', async (_, row) => {
    await forCases(row, MEDIUM, 6, async (one, how) => {
      const inputs = settle(one, how, 'float32')
      const where = describeCase(row, one, inputs, how)
      const gpu = await outcome(row, one, inputs, how, WEBGPU)
      const cpu = await outcome(row, one, inputs, how, CPU64)
      expect(gpu.outputs.length, where).toBe(cpu.outputs.length)
      cpu.outputs.forEach((y, k) => {
        expect(gpu.outputs[k].shape, where).toEqual(y.shape)
        expect(gpu.outputs[k].dtype, where).toBe(y.dtype === 'float64' ? 'float32' : y.dtype)
        const problem = compare(`output ${k}`, gpu.outputs[k].data, y.data, WEBGPU)
        if (problem) expect.fail(`${where}: ${problem}`)
      })
      cpu.gradients.forEach((g, k) => {
        const found = gpu.gradients[k]
        expect(found === null, `${where}: gradient ${k}`).toBe(g === null)
        const problem = g && found && compare(`gradient ${k}`, found, g, WEBGPU)
        if (problem) expect.fail(`${where}: ${problem}`)
      })
    })
  })

  for (const type of ['int32', 'bool'] as const) {
    it.each(rows((row) => row[type] !== undefined && row[type] !== 'throws'))(
      `%s of ${type} equals the cpu’s`,
      async (_, row) => {
        const cases = row.cases(MEDIUM).filter((one) => !one.note?.includes('.'))
        for (const one of fc.sample(cases, { seed: 11, numRuns: 2 })) {
          const inputs = asWhole(row, one, type)
          const [gpu, cpu] = (['webgpu', 'cpu'] as const).map((device) => {
            const found = one.run(...inputs.map((x) => place(x, 'plain', device, 'float32')))
            return found instanceof ef.Tensor ? [found] : [...found]
          })
          for (const [k, y] of cpu.entries()) {
            expect([gpu[k].dtype, gpu[k].shape]).toEqual([y.dtype, y.shape])
            const problem = compare(`output ${k}`, await gpu[k].data(), await y.data(), WEBGPU)
            if (problem) expect.fail(`${describeCase(row, one, inputs, ['plain'])}: ${problem}`)
          }
        }
      },
    )
  }
}, [WEBGPU])
