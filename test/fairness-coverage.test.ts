// How often the intervals hold the true value: shares exactly, by enumeration; paired differences by simulation, with its
// own error. `npx vitest run test/fairness-coverage.test.ts` prints the figures.
import { describe, expect, it } from 'vitest'
import { HostRandom } from '../src/backend/threefry'
import { bootstrap, clopperPearson, type Interval, tangoInterval, wilsonInterval } from '../src/fairness'
import { binomial } from '../src/fairness/statistics/draws'
import { binomialPmf } from '../src/fairness/statistics/special'

const SIZES = [50, 100, 200, 500, 1000, 2000, 5000]
const RATES = Array.from({ length: 19 }, (_, i) => 0.05 * (i + 1))

/** The coverage of 95 % intervals for every size and rate, summed over all counts that can come up. */
function coverage(interval: (k: number, n: number) => Interval): number[][] {
  return SIZES.map((n) => {
    const intervals = Array.from({ length: n + 1 }, (_, k) => interval(k, n))
    return RATES.map((rate) =>
      intervals.reduce(
        (sum, [low, high], k) => sum + (low <= rate && rate <= high ? binomialPmf(k, n, rate) : 0),
        0,
      ),
    )
  })
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const percent = (value: number) => `${(100 * value).toFixed(2)} %`
const range = (values: number[]) => `${percent(Math.min(...values))} to ${percent(Math.max(...values))}`

describe('95 % intervals of a share, n 50 to 5,000, rates .05 to .95, by enumeration', () => {
  it("Wilson's hold it in 93 to 97 % on average", () => {
    const held = coverage(wilsonInterval)
    held.forEach((row, i) => {
      console.log(`Wilson           n ${SIZES[i]}: mean ${percent(mean(row))}, ${range(row)}`)
      expect(mean(row)).toBeGreaterThan(0.93)
      expect(mean(row)).toBeLessThan(0.97)
    })
  })

  it("Clopper and Pearson's nowhere less than 95 %", () => {
    const held = coverage(clopperPearson)
    held.forEach((row, i) => {
      console.log(`Clopper-Pearson  n ${SIZES[i]}: mean ${percent(mean(row))}, ${range(row)}`)
      expect(Math.min(...row)).toBeGreaterThanOrEqual(0.95 - 1e-9)
    })
  })
})

describe('95 % intervals of a paired difference, 2,000 draws', () => {
  const DRAWS = 2000
  const error = Math.sqrt((0.95 * 0.05) / DRAWS)
  const cells = [
    { n: 50, gained: 0.05, lost: 0.05 },
    { n: 200, gained: 0.02, lost: 0.06 },
    { n: 500, gained: 0.01, lost: 0.01 },
    { n: 1000, gained: 0.05, lost: 0.1 },
    { n: 5000, gained: 0.004, lost: 0.01 },
  ]

  function simulate(
    { n, gained, lost }: (typeof cells)[number],
    interval: (flips: number[]) => Interval,
  ): number {
    const random = new HostRandom(n)
    let held = 0
    for (let draw = 0; draw < DRAWS; draw++) {
      const up = binomial(random, n, gained)
      const down = binomial(random, n - up, lost / (1 - gained))
      const [low, high] = interval([up, down, n - up - down])
      if (low <= gained - lost && gained - lost <= high) held++
    }
    return held / DRAWS
  }

  it.each(cells)("Tango's hold it: $n rows, $gained gained, $lost lost", (cell) => {
    const held = simulate(cell, ([up, down]) => tangoInterval(up!, down!, cell.n))
    console.log(
      `Tango                 ${JSON.stringify(cell)}: ${percent(held)}, Monte-Carlo error ${percent(error)}`,
    )
    // A score interval of a discrete quantity swings around its level, as Wilson's does.
    expect(held).toBeGreaterThan(0.93 - 2 * error)
    expect(held).toBeLessThan(0.98 + 2 * error)
  })

  it.each(cells.slice(1, 4))(
    'percentile bootstrap intervals come near: $n rows, $gained gained, $lost lost',
    (cell) => {
      const seeds = new HostRandom(1)
      const held = simulate(cell, (counts) => {
        const difference = (w: Float64Array) => (w[0]! - w[1]!) / cell.n
        const options = { size: 3, counts, resamples: 400, seed: seeds.nextUint32() }
        return bootstrap({ difference }, options).difference.interval!
      })
      console.log(
        `percentile bootstrap  ${JSON.stringify(cell)}: ${percent(held)}, Monte-Carlo error ${percent(error)}`,
      )
      expect(held).toBeGreaterThan(0.91 - 2 * error)
      expect(held).toBeLessThan(0.97 + 2 * error)
    },
  )
})
