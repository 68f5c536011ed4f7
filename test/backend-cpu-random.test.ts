// Random fills on the cpu: known answers through threefry2x32, independence of size, statistics.
import { describe, expect, it } from 'vitest'
import { CpuBackend } from '../src/backend/cpu'
import { threefry2x32 } from '../src/backend/threefry'
import type { DType, HostArray, RandomKind } from '../src/backend/types'
import { contiguous, place } from './support/naive'

const backend = new CpuBackend()

async function draw(kind: RandomKind, dtype: DType, n: number, seed = 1, stream = 2): Promise<HostArray> {
  const view = place(backend, dtype, contiguous([n]), new Float32Array(0))
  backend.random(kind, seed, stream, view)
  const values = await backend.read(view.buffer, dtype, 0, n)
  backend.free(view.buffer)
  return values
}

const SEEDS = [
  [0, 0],
  [1, 2],
  [0xffffffff, 0xffffffff],
  [0x13198a2e, 0x03707344],
]

/** Word that element i draws from the blocks with second counter word 0. */
function word(seed: number, stream: number, i: number): number {
  return threefry2x32(seed, stream, i >>> 1, 0)[i & 1]
}

describe.each(SEEDS)('seed %i, stream %i', (seed, stream) => {
  const n = 1301
  const positions = Array.from({ length: n }, (_, i) => i)

  it('uniform is the top 24 bits of the word', async () => {
    const got = await draw({ kind: 'uniform' }, 'float32', n, seed, stream)
    expect([...got]).toEqual(positions.map((i) => (word(seed, stream, i) >>> 8) / 2 ** 24))
    expect([...(await draw({ kind: 'uniform' }, 'float64', n, seed, stream))]).toEqual([...got])
  })

  it('int scales the whole word exactly', async () => {
    for (const [low, high] of [
      [0, 10],
      [-5, 3],
      [-(2 ** 31), 2 ** 31],
      [0, 2 ** 31 - 1],
      [7, 8],
    ]) {
      const got = await draw({ kind: 'int', low, high }, 'int32', n, seed, stream)
      const expected = positions.map(
        (i) => low + Number((BigInt(word(seed, stream, i)) * BigInt(high - low)) >> 32n),
      )
      expect([...got]).toEqual(expected)
    }
  })

  it('bernoulli compares the uniform number with p in float32', async () => {
    for (const p of [0, 0.1, 0.5, 1]) {
      const got = await draw({ kind: 'bernoulli', p }, 'bool', n, seed, stream)
      expect([...got]).toEqual(
        positions.map((i) => +((word(seed, stream, i) >>> 8) / 2 ** 24 < Math.fround(p))),
      )
    }
  })

  it('normal is Box-Muller on the block (i, 1)', async () => {
    const got = await draw({ kind: 'normal' }, 'float64', n, seed, stream)
    positions.forEach((i) => {
      const [a, b] = threefry2x32(seed, stream, i, 1)
      const expected =
        Math.sqrt(-2 * Math.log(((a >>> 8) + 1) / 2 ** 24)) * Math.cos((2 * Math.PI * (b >>> 8)) / 2 ** 24)
      expect(Math.abs(got[i] - expected)).toBeLessThan(1e-14)
    })
  })
})

it.each<RandomKind>([{ kind: 'uniform' }, { kind: 'normal' }, { kind: 'bernoulli', p: 0.3 }])(
  '$kind does not depend on the size',
  async (kind) => {
    const long = await draw(kind, 'float32', 3001)
    for (const n of [0, 1, 2, 7, 511, 513, 1023, 1025, 2999])
      expect([...(await draw(kind, 'float32', n))]).toEqual([...long.slice(0, n)])
  },
)

it('writes only its window', async () => {
  const view = place(backend, 'float32', contiguous([3], 2), new Float32Array(8).fill(9))
  backend.random({ kind: 'uniform' }, 1, 2, view)
  const all = await backend.read(view.buffer, 'float32', 0, 8)
  expect([...all.filter((v) => v === 9)]).toHaveLength(5)
  expect([...all.slice(2, 5)]).toEqual([...(await draw({ kind: 'uniform' }, 'float32', 3))])
})

describe('statistics of 200,000 draws (a fixed seed: 5 standard errors)', () => {
  const n = 200_000
  const moments = (x: HostArray): { mean: number; variance: number } => {
    let mean = 0
    for (const v of x) mean += v / n
    let variance = 0
    for (const v of x) variance += (v - mean) ** 2 / n
    return { mean, variance }
  }

  it('uniform: mean 1/2, variance 1/12, ten equal bins', async () => {
    const x = await draw({ kind: 'uniform' }, 'float32', n)
    const { mean, variance } = moments(x)
    expect(Math.abs(mean - 0.5)).toBeLessThan((5 * Math.sqrt(1 / 12)) / Math.sqrt(n))
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / n))
    const bins = new Array(10).fill(0)
    for (const v of x) bins[Math.floor(v * 10)]++
    for (const b of bins) expect(Math.abs(b - n / 10)).toBeLessThan(5 * Math.sqrt(n * 0.09))
  })

  it('normal: mean 0, variance 1, tails', async () => {
    const x = await draw({ kind: 'normal' }, 'float32', n)
    const { mean, variance } = moments(x)
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(n))
    expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / n))
    const beyond = x.filter((v) => Math.abs(v) > 1.959964).length / n
    expect(Math.abs(beyond - 0.05)).toBeLessThan(5 * Math.sqrt((0.05 * 0.95) / n))
    expect(x.every((v) => Number.isFinite(v))).toBe(true)
  })

  it('neighbours and streams are uncorrelated', async () => {
    const x = await draw({ kind: 'normal' }, 'float32', n)
    const y = await draw({ kind: 'normal' }, 'float32', n, 1, 3)
    let lag = 0
    let cross = 0
    for (let i = 0; i + 1 < n; i++) {
      lag += (x[i] * x[i + 1]) / n
      cross += (x[i] * y[i]) / n
    }
    expect(Math.abs(lag)).toBeLessThan(5 / Math.sqrt(n))
    expect(Math.abs(cross)).toBeLessThan(5 / Math.sqrt(n))
  })
})
