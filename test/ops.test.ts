// Every op of src/index.ts, on the cpu: values against plain JavaScript, first and second derivatives against central
// differences, float32 against float64, and what becomes of int32 and bool. The rows are in support/op-table.ts.
import fs from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as ef from '../src/index'
import { CPU32, CPU64, type Precision } from './support/precision'
import type { Nd } from './support/nd'
import {
  asWhole,
  compare,
  describeCase,
  forCases,
  type Layout,
  MEDIUM,
  outcome,
  place,
  settle,
} from './support/op-check'
import { type OpCase, type Row, TABLE, titleOf } from './support/op-table'

it('has a row for every exported op', async () => {
  const folder = new URL('../src/tensor/ops/', import.meta.url)
  const modules = await Promise.all(fs.readdirSync(folder).map((file) => import(new URL(file, folder).href)))
  const defined = new Set<unknown>(modules.flatMap((m: object) => Object.values(m)))
  const ops = Object.entries(ef).flatMap(([name, value]) =>
    typeof value === 'function' && defined.has(value) ? [name] : [],
  )
  expect(ops.length).toBeGreaterThan(80)
  const rows = new Set(TABLE.map((row) => row.op))
  expect(ops.filter((name) => !rows.has(name))).toEqual([])
  expect([...rows].filter((name) => !ops.includes(name))).toEqual([])
})

const SMALL = { maxElements: 8, maxSize: 4 }

async function checkValues(row: Row, one: OpCase, how: Layout[], device: Precision): Promise<void> {
  const inputs = settle(one, how, device.dtype)
  const { outputs } = await outcome({ ...row, differentiable: false }, one, inputs, how, device)
  const wanted = one.expected(...inputs)
  const expected: Nd[] = Array.isArray(wanted) ? wanted : [wanted]
  const where = describeCase(row, one, inputs, how)
  expect(outputs.length, where).toBe(expected.length)
  expected.forEach((y, k) => {
    expect(outputs[k].shape, where).toEqual(y.shape)
    expect(outputs[k].dtype, where).toBe(y.type === 'float' ? device.dtype : y.type)
    const problem = compare(`output ${k}`, outputs[k].data, y.data, device)
    if (problem) expect.fail(`${where}: ${problem}`)
  })
}

describe('values equal plain JavaScript', () => {
  it.each(TABLE.map((row) => [titleOf(row), row] as const))('%s', async (_, row) => {
    await forCases(row, MEDIUM, 25, (one, how) => checkValues(row, one, how, CPU64))
    await forCases(row, MEDIUM, 8, (one, how) => checkValues(row, one, how, CPU32))
  })
})

const DIFFERENTIABLE = TABLE.filter((row) => row.differentiable !== false)

describe('first and second derivatives equal central differences', () => {
  it.each(DIFFERENTIABLE.map((row) => [titleOf(row), row] as const))('%s', async (_, row) => {
    await forCases(row, SMALL, 10, async (one, how) => {
      const inputs = settle(one, how, 'float64')
      const leaves = inputs.map((x, k) => {
        const t = place(x, how[k % how.length], 'cpu', 'float64')
        if (x.type === 'float') t.requiresGrad = true
        return t
      })
      if (!leaves.some((t) => t.requiresGrad)) return
      const where = describeCase(row, one, inputs, how)
      try {
        await ef.autograd.gradcheck(one.run, leaves, { rtol: 1e-5, atol: 1e-7 })
        await ef.autograd.gradgradcheck(one.run, leaves, { rtol: 1e-4, atol: 1e-6 })
      } catch (error) {
        throw new Error(where, { cause: error })
      } finally {
        for (const t of leaves) t.dispose()
      }
    })
  })
})

describe('float32 gradients agree with float64', () => {
  it.each(DIFFERENTIABLE.map((row) => [titleOf(row), row] as const))('%s', async (_, row) => {
    await forCases(row, MEDIUM, 5, async (one, how) => {
      const inputs = settle(one, how, 'float32')
      const single = await outcome(row, one, inputs, how, CPU32)
      const double = await outcome(row, one, inputs, how, CPU64)
      const where = describeCase(row, one, inputs, how)
      double.gradients.forEach((g, k) => {
        expect(single.gradients[k] === null, where).toBe(g === null)
        const problem = g && compare(`gradient ${k}`, single.gradients[k] as number[], g, CPU32)
        if (problem) expect.fail(`${where}: ${problem}`)
      })
    })
  })
})

describe.each(['int32', 'bool'] as const)('of %s operands', (type) => {
  const rows = TABLE.filter((row) => row[type] !== undefined)
  it.each(
    rows.map((row) => [`${titleOf(row)} gives ${row[type]}`.replace('gives throws', 'throws'), row] as const),
  )('%s', async (_, row) => {
    // A number operand may be fractional, which an integer tensor refuses; that has a test of its own.
    const tensorsOnly = row.cases(MEDIUM).filter((one) => !one.note?.includes('.'))
    const [one] = fc.sample(
      tensorsOnly.filter((c) => c.inputs.every((x) => x.data.length > 0)),
      { seed: 5, numRuns: 1 },
    )
    const inputs = asWhole(row, one, type)
    const run = (): ef.Tensor => {
      const found = one.run(...inputs.map((x) => place(x, 'plain', 'cpu', 'float32')))
      return found instanceof ef.Tensor ? found : found[0]
    }
    if (row[type] === 'throws') {
      expect(run).toThrow(ef.DTypeError)
      return
    }
    const out = run()
    expect(out.dtype).toBe(row[type])
    const wanted = one.expected(...inputs)
    const { data } = Array.isArray(wanted) ? wanted[0] : wanted
    const problem = compare(
      'output',
      await out.data(),
      data.map(out.dtype === 'float32' ? Math.fround : (v) => v + 0),
      CPU32,
    )
    if (problem) expect.fail(`${describeCase(row, one, inputs, ['plain'])}: ${problem}`)
  })
})
