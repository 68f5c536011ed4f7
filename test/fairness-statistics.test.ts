// Intervals, tests and adjustments against SciPy and statsmodels (test/goldens/statistics.py) and against their definitions.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostRandom } from '../src/backend/threefry'
import { ArgumentError, NonFiniteError, ShapeError } from '../src/errors'
import {
  benjaminiHochberg,
  bootstrap,
  clopperPearson,
  holm,
  mcnemar,
  pairedBootstrap,
  permutationTest,
  tangoInterval,
  tangoTest,
  welch,
  wilsonInterval,
} from '../src/fairness'
import { binomial } from '../src/fairness/statistics/draws'
import {
  betaQuantile,
  binomialCdf,
  logGamma,
  normalCdf,
  normalQuantile,
  regularizedBeta,
  studentTwoSided,
} from '../src/fairness/statistics/special'

type Rows = number[][]
const golden = JSON.parse(readFileSync(new URL('./goldens/statistics.json', import.meta.url), 'utf8')) as {
  normalCdf: Rows
  normalQuantile: Rows
  logGamma: Rows
  regularizedBeta: Rows
  betaQuantile: Rows
  studentTwoSided: Rows
  binomialCdf: Rows
  proportion: Rows
  mcnemar: Rows
  tango: Rows
  multiple: { p: number[]; holm: number[]; bh: number[] }
  welch: [number[], number[], number, number, number][]
  bootstrap: { sample: number[]; percentile: number[]; bca: number[]; standardError: number }
}

/** Equal to 1e-9 of the value; to 1e-12 near 0. */
function expectNear(actual: number, expected: number, relative = 1e-9): void {
  expect(Math.abs(actual - expected), `${actual} beside ${expected}`).toBeLessThanOrEqual(
    relative * Math.abs(expected) + 1e-12 * relative * 1e9,
  )
}

const anyCounts = fc
  .tuple(fc.integer({ min: 1, max: 400 }), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([n, share]) => [Math.round(share * n), n] as const)
const anyFlips = fc
  .tuple(fc.nat(60), fc.nat(60), fc.nat(300))
  .map(([gained, lost, rest]) => [gained, lost, gained + lost + rest + 1] as const)

describe('distributions', () => {
  it.each(
    Object.entries({
      normalCdf,
      normalQuantile,
      logGamma,
      regularizedBeta,
      betaQuantile,
      studentTwoSided,
      binomialCdf,
    } satisfies Partial<Record<keyof typeof golden, unknown>>),
  )('%s agrees with SciPy', (name, fn: (...values: number[]) => number) => {
    for (const row of golden[name as 'normalCdf']) expectNear(fn(...row.slice(0, -1)), row.at(-1)!)
  })

  it('are each their own inverse', () => {
    const chance = fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true })
    const shape = fc.double({ min: 1, max: 3000, noNaN: true })
    fc.assert(
      fc.property(chance, shape, shape, (p, a, b) => {
        expectNear(normalCdf(normalQuantile(p)), p, 1e-8)
        expect(regularizedBeta(betaQuantile(p, a, b), a, b)).toBeCloseTo(p, 7)
      }),
    )
  })

  it.each([
    [12, 0.3],
    [400, 0.01],
    [1000, 0.5],
    [5000, 0.93],
  ])('binomial draws of %i trials at %d have their mean and variance', (n, p) => {
    const random = new HostRandom(1)
    const draws = Array.from({ length: 4000 }, () => binomial(random, n, p))
    const mean = draws.reduce((sum, k) => sum + k, 0) / draws.length
    const variance = draws.reduce((sum, k) => sum + (k - mean) ** 2, 0) / draws.length
    const expected = n * p * (1 - p)
    expect(Math.abs(mean - n * p)).toBeLessThan(4 * Math.sqrt(expected / draws.length))
    expect(Math.abs(variance / expected - 1)).toBeLessThan(4 * Math.sqrt(3 / draws.length))
    expect(draws.every((k) => Number.isInteger(k) && k >= 0 && k <= n)).toBe(true)
  })
})

describe('intervals of a share', () => {
  it('agree with statsmodels', () => {
    for (const [k, n, level, ...ends] of golden.proportion) {
      const ours = [...wilsonInterval(k!, n!, { level }), ...clopperPearson(k!, n!, { level })]
      ours.forEach((end, i) => {
        expectNear(end, ends[i]!)
      })
    }
  })

  it('hold the share itself, mirror with it, lie in [0, 1], and widen with the level', () => {
    fc.assert(
      fc.property(anyCounts, ([k, n]) => {
        for (const interval of [wilsonInterval, clopperPearson]) {
          const [low, high] = interval(k, n)
          expect(low).toBeGreaterThanOrEqual(0)
          expect(high).toBeLessThanOrEqual(1)
          expect(low - 1e-12).toBeLessThanOrEqual(k / n)
          expect(high + 1e-12).toBeGreaterThanOrEqual(k / n)
          const [mirrorLow, mirrorHigh] = interval(n - k, n)
          expect(mirrorLow).toBeCloseTo(1 - high, 10)
          expect(mirrorHigh).toBeCloseTo(1 - low, 10)
          const [wideLow, wideHigh] = interval(k, n, { level: 0.99 })
          expect(wideLow).toBeLessThanOrEqual(low)
          expect(wideHigh).toBeGreaterThanOrEqual(high)
        }
      }),
    )
  })

  it.each([
    [() => clopperPearson(3, 2), /k is 3 and n is 2/],
    [() => clopperPearson(1.5, 2), /k is 1.5/],
    [() => clopperPearson(0, 0), /n is 0/],
    [() => wilsonInterval(Number.NaN, 5), /k is NaN/],
    [() => wilsonInterval(1, 5, { level: 95 }), /level is 95/],
  ])('refuse what is no share', (call, message) => {
    expect(call).toThrow(ArgumentError)
    expect(call).toThrow(message)
  })
})

describe('paired shares', () => {
  it('tangoInterval agrees with a numerical maximum of the likelihood', () => {
    for (const [gained, lost, n, low, high] of golden.tango) {
      const interval = tangoInterval(gained!, lost!, n!)
      expect(interval[0]).toBeCloseTo(low!, 6)
      expect(interval[1]).toBeCloseTo(high!, 6)
    }
  })

  it('without a flip says ± z² / (n + z²), and mirrors when before and after change places', () => {
    const z2 = 1.959963984540054 ** 2
    expect(tangoInterval(0, 0, 100)[1]).toBeCloseTo(z2 / (100 + z2), 9)
    fc.assert(
      fc.property(anyFlips, ([gained, lost, n]) => {
        const [low, high] = tangoInterval(gained, lost, n)
        const [backLow, backHigh] = tangoInterval(lost, gained, n)
        expect(backLow).toBeCloseTo(-high, 9)
        expect(backHigh).toBeCloseTo(-low, 9)
      }),
    )
  })

  it('tangoTest is below 1 - level exactly outside the interval', () => {
    const delta = fc.double({ min: -0.9, max: 0.9, noNaN: true })
    fc.assert(
      fc.property(anyFlips, delta, ([gained, lost, n], at) => {
        const [low, high] = tangoInterval(gained, lost, n, { level: 0.9 })
        if (Math.min(Math.abs(at - low), Math.abs(at - high)) < 1e-6) return
        expect(tangoTest(gained, lost, n, at) < 0.1).toBe(at < low || at > high)
      }),
    )
  })

  it('mcnemar agrees with statsmodels in all forms', () => {
    for (const [gained, lost, ...expected] of golden.mcnemar) {
      for (const [i, method] of (['exact', 'mid-p', 'chi-squared', 'corrected'] as const).entries()) {
        expectNear(mcnemar(gained!, lost!, { method }), expected[i]!)
      }
    }
  })

  it('refuse flips that do not fit', () => {
    expect(() => tangoInterval(3, 3, 5)).toThrow(/gained 3 and lost 3 of n 5/)
    expect(() => tangoTest(1, 1, 5, 1)).toThrow(/delta is 1/)
    expect(() => mcnemar(-1, 2)).toThrow(ArgumentError)
    expect(() => mcnemar(1, 2, { method: 'fisher' as 'exact' })).toThrow(/'fisher'/)
  })
})

describe('many comparisons', () => {
  it('Holm and Benjamini-Hochberg agree with statsmodels', () => {
    const { p, holm: byHolm, bh } = golden.multiple
    holm(p).forEach((value, i) => {
      expectNear(value, byHolm[i]!)
    })
    benjaminiHochberg(p).forEach((value, i) => {
      expectNear(value, bh[i]!)
    })
    expect(holm([])).toEqual([])
  })

  it('keep the order of p, never lower one, and Holm is never the milder', () => {
    const ps = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(ps, (p) => {
        const strict = holm(p)
        const mild = benjaminiHochberg(p)
        for (let i = 0; i < p.length; i++) {
          expect(mild[i]).toBeGreaterThanOrEqual(p[i]! - 1e-15)
          expect(strict[i]).toBeGreaterThanOrEqual(mild[i]! - 1e-15)
          expect(strict[i]).toBeLessThanOrEqual(1)
          for (let j = 0; j < p.length; j++)
            if (p[i]! <= p[j]!) expect(strict[i]).toBeLessThanOrEqual(strict[j]!)
        }
      }),
    )
  })

  it('refuse what is no p-value', () => {
    expect(() => holm([0.1, 1.2])).toThrow(/p\[1\] is 1.2/)
    expect(() => benjaminiHochberg([Number.NaN])).toThrow(ArgumentError)
  })
})

describe('welch', () => {
  it('agrees with SciPy', () => {
    for (const [a, b, t, df, p] of golden.welch) {
      const test = welch(a, b)
      expectNear(test.t, t)
      expectNear(test.df, df)
      expectNear(test.p, p)
    }
  })

  it('judges constant samples by their means, and refuses what has no spread or is not finite', () => {
    expect(welch([1, 1], [1, 1, 1]).p).toBe(1)
    expect(welch([1, 1], [2, 2])).toMatchObject({ t: -Infinity, p: 0 })
    expect(() => welch([1], [1, 2])).toThrow(/a has 1 values/)
    expect(() => welch([1, 2], [1, Number.NaN])).toThrow(NonFiniteError)
  })
})

const mean = (values: ArrayLike<number>) => (weights: Float64Array) => {
  let sum = 0
  let total = 0
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]! * values[i]!
    total += weights[i]!
  }
  return total > 0 ? sum / total : undefined
}

describe('bootstrap', () => {
  const { sample, percentile, bca, standardError } = golden.bootstrap
  const size = sample.length

  it.each([
    ['percentile', percentile],
    ['bca', bca],
  ] as const)('%s agrees with SciPy within the error of both', (method, [low, high]) => {
    const { result } = bootstrap({ result: mean(sample) }, { size, method, resamples: 20_000, seed: 3 })
    // The standard error of a 2.5 % quantile over 20,000 draws is about 1.9 % of the standard error.
    expect(Math.abs(result.interval![0] - low!)).toBeLessThan(0.08 * standardError)
    expect(Math.abs(result.interval![1] - high!)).toBeLessThan(0.08 * standardError)
    expect(Math.abs(result.standardError! / standardError - 1)).toBeLessThan(0.03)
  })

  it.each(['percentile', 'bca'] as const)(
    '%s over kinds of rows with counts is that over the rows',
    (method) => {
      const values = [0, 1, 5]
      const counts = [40, 25, 9]
      const long = values.flatMap((value, i) => new Array<number>(counts[i]!).fill(value))
      const short = bootstrap({ m: mean(values) }, { size: 3, counts, method, resamples: 20_000 }).m
      const rows = bootstrap({ m: mean(long) }, { size: long.length, method, resamples: 20_000, seed: 1 }).m
      expect(short.value).toBeCloseTo(rows.value!, 12)
      for (const end of [0, 1]) {
        expect(Math.abs(short.interval![end]! - rows.interval![end]!)).toBeLessThan(
          0.15 * rows.standardError!,
        )
      }
    },
  )

  it('keeps the size of each stratum, and equal seeds give equal bits', () => {
    const strata = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    const counts = [3, 0, 5, 1, 1, 1, 1, 1, 200]
    const sums: number[][] = []
    const statistic = (w: Float64Array) => {
      sums.push([w[0]! + w[1]! + w[2]!, w[3]! + w[4]!, w[5]! + w[6]! + w[7]! + w[8]!, w[1]!])
      return w[0]! + 10 * w[3]! + 100 * w[8]!
    }
    const options = { size: 9, counts, strata, resamples: 50, seed: 5 }
    const first = bootstrap({ statistic }, options)
    expect(sums.every((sum) => `${sum}` === `${[8, 2, 203, 0]}`)).toBe(true)
    expect(bootstrap({ statistic }, options)).toEqual(first)
    expect(bootstrap({ statistic }, { ...options, seed: 6 })).not.toEqual(first)
  })

  it('gives no interval where the statistic is often undefined, and says how often', () => {
    const rare = (weights: Float64Array) => (weights[0]! > 0 ? 1 : undefined)
    const { rare: result } = bootstrap({ rare }, { size: 10, resamples: 500 })
    expect(result.value).toBe(1)
    expect(result.interval).toBeUndefined()
    expect(result.undefinedResamples).toBeGreaterThan(100) // (9/10)^10 of 500 is 174
    expect(bootstrap({ none: () => undefined }, { size: 3, resamples: 10 }).none).toMatchObject({
      undefinedResamples: 10,
    })
  })

  it('paired is far narrower than the spread of each side where both find the same rows hard', () => {
    const random = new HostRandom(2)
    const before = Array.from({ length: 200 }, () => random.uniform())
    const after = before.map((value) => value - 0.1 + 0.01 * random.uniform())
    const share = (values: ArrayLike<number>, weights: Float64Array) => mean(values)(weights)
    const { interval, value } = pairedBootstrap(before, after, share, { resamples: 500 })
    expect(value).toBeCloseTo(-0.095, 2)
    expect(interval![1] - interval![0]).toBeLessThan(0.003)
  })

  it.each([
    [{ size: 0 }, /size is 0/],
    [{ size: 2, resamples: 0 }, /resamples is 0/],
    [{ size: 2, counts: [1, -1] }, /counts\[1\] is -1/],
    [{ size: 2, method: 'basic' as 'bca' }, /'basic'/],
  ])('refuses %j', (options, message) => {
    expect(() => bootstrap({ one: () => 1 }, options)).toThrow(ArgumentError)
    expect(() => bootstrap({ one: () => 1 }, options)).toThrow(message)
  })

  it('refuses arrays of another length', () => {
    expect(() => bootstrap({ one: () => 1 }, { size: 2, strata: [0] })).toThrow(ShapeError)
    expect(() => pairedBootstrap([1], [1, 2], () => 1)).toThrow(ShapeError)
  })
})

describe('permutationTest', () => {
  const gap = (values: number[]) => (groups: readonly string[]) => {
    const of = (name: string) => {
      const those = values.filter((_, i) => groups[i] === name)
      return those.reduce((sum, value) => sum + value, 0) / those.length
    }
    return Math.abs(of('a') - of('b'))
  }

  it('is the share of shuffles at least as far apart', () => {
    // 5 and 5 of 10 rows: 252 deals, two of which are as far apart.
    const groups = [...'aaaaabbbbb']
    const { value, p } = permutationTest(groups, gap([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]), { permutations: 4000 })
    expect(value).toBe(1)
    expect(Math.abs(p - 2 / 252)).toBeLessThan(4 * Math.sqrt(2 / 252 / 4000))
    expect(
      permutationTest(groups, gap([1, 0, 1, 0, 1, 0, 1, 0, 1, 0.999]), { permutations: 200 }).p,
    ).toBeGreaterThan(0.3)
    expect(permutationTest(groups, () => 3, { permutations: 10 }).p).toBe(1)
  })

  it('shuffles within blocks only, and leaves its input as it is', () => {
    const groups = [...'abab']
    const within = [0, 0, 1, 1]
    permutationTest(
      groups,
      (dealt) => {
        expect([...dealt.slice(0, 2)].sort()).toEqual(['a', 'b'])
        return 1
      },
      { within, permutations: 20 },
    )
    expect(groups).toEqual([...'abab'])
  })

  it('refuses a statistic without a value', () => {
    expect(() => permutationTest([...'aa'], () => undefined)).toThrow(/no value/)
    expect(() => permutationTest([], () => 1)).toThrow(ArgumentError)
  })
})
