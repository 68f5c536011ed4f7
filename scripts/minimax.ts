// Where the coefficients of src/backend/cpu/wasm/functions.ts come from: polynomials whose largest weighted error is
// as small as a polynomial of their degree can have it, found by Remez's exchange algorithm in double precision.
//
//   npx tsx scripts/minimax.ts
//
// The errors printed are those of the exact polynomial; rounding in float32 comes on top, and the test
// (test/wasm-functions.test.ts) prints what all of it adds up to.

import { erf } from '../src/backend/cpu/erf'

interface Problem {
  readonly name: string
  readonly from: number
  readonly to: number
  readonly degree: number
  readonly f: (x: number) => number
  /** What an error of the polynomial counts at x. */
  readonly weight: (x: number) => number
}

/** Where the direct formulas cancel, a Taylor series is exact. */
const series = (terms: (n: number) => number, x: number): number => {
  let sum = 0
  for (let n = 30; n >= 0; n--) sum = sum * x + terms(n)
  return sum
}
const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1))

/** log(1 - erf(x)); where erf is near 1, by the continued fraction of erfc. */
function logErfc(x: number): number {
  if (x < 1) return Math.log1p(-erf(x))
  let f = 0
  for (let n = 200; n >= 1; n--) f = n / 2 / (x + f)
  return -x * x - Math.log(Math.sqrt(Math.PI) * (x + f))
}

const half = Math.LN2 / 2
const problems: Problem[] = [
  {
    name: 'exp: q of e^t = 1 + t + t^2 q(t)',
    from: -half,
    to: half,
    degree: 4,
    f: (t) => series((n) => 1 / factorial(n + 2), t),
    weight: (t) => (t * t) / Math.exp(t),
  },
  {
    name: 'log: p of log(1 + f) = f - f^2/2 + f^3 p(f)',
    from: Math.SQRT1_2 - 1,
    to: Math.SQRT2 - 1,
    degree: 8,
    f: (f) =>
      Math.abs(f) < 0.02
        ? series((n) => (n % 2 === 0 ? 1 : -1) / (n + 3), f)
        : (Math.log1p(f) - f + (f * f) / 2) / f ** 3,
    weight: (f) => (f === 0 ? 0 : f ** 3 / Math.log1p(f)),
  },
  {
    name: 'erf: p of erf(x) = 1 - exp(-x p(x)), 0 <= x <= 4',
    from: 0,
    to: 4,
    degree: 9,
    f: (x) => (x === 0 ? 2 / Math.sqrt(Math.PI) : -logErfc(x) / x),
    weight: (x) => (x === 0 ? 1 : (x * Math.exp(logErfc(x))) / erf(x)),
  },
]

/** Remez: the polynomial whose weighted error has degree + 2 extremes of one size and alternating signs. */
function minimax({ from, to, degree, f, weight }: Problem): { coefficients: number[]; error: number } {
  const count = degree + 2
  const at = (u: number): number => from + ((to - from) * (1 - Math.cos(Math.PI * u))) / 2
  const grid = Array.from({ length: 4001 }, (_, i) => at(i / 4000)).filter((x) => weight(x) !== 0)
  let points = Array.from(
    { length: count },
    (_, i) => grid[Math.round((i * (grid.length - 1)) / (count - 1))],
  )
  let coefficients: number[] = []
  for (let round = 0; round < 40; round++) {
    // p(x_i) + (-1)^i e / w(x_i) = f(x_i), for the coefficients and e.
    const rows = points.map((x, i) => [
      ...Array.from({ length: degree + 1 }, (_, k) => x ** k),
      (i % 2 === 0 ? 1 : -1) / weight(x),
      f(x),
    ])
    coefficients = solve(rows).slice(0, degree + 1)
    const errors = grid.map((x) => (polynomial(coefficients, x) - f(x)) * weight(x))
    const next = extremes(errors, count).map((i) => grid[i])
    if (next.length < count) break
    points = next
  }
  const error = Math.max(...grid.map((x) => Math.abs((polynomial(coefficients, x) - f(x)) * weight(x))))
  return { coefficients, error }
}

/** Indices of `count` consecutive extremes of alternating sign, the larger ones. */
function extremes(errors: readonly number[], count: number): number[] {
  const found: number[] = []
  errors.forEach((e, i) => {
    const last = found[found.length - 1]
    if (last === undefined || Math.sign(errors[last]) !== Math.sign(e)) found.push(i)
    else if (Math.abs(e) > Math.abs(errors[last])) found[found.length - 1] = i
  })
  while (found.length > count) {
    const size = (i: number): number => Math.abs(errors[found[i]])
    if (size(0) < size(found.length - 1)) found.shift()
    else found.pop()
  }
  return found
}

/** Gaussian elimination with pivoting of rows that end with the right-hand side. */
function solve(rows: number[][]): number[] {
  const n = rows.length
  for (let c = 0; c < n; c++) {
    const pivot = rows
      .slice(c)
      .reduce((best, row, i) => (Math.abs(row[c]) > Math.abs(rows[best][c]) ? c + i : best), c)
    ;[rows[c], rows[pivot]] = [rows[pivot], rows[c]]
    for (let r = c + 1; r < n; r++) {
      const factor = rows[r][c] / rows[c][c]
      for (let k = c; k <= n; k++) rows[r][k] -= factor * rows[c][k]
    }
  }
  const x = new Array<number>(n).fill(0)
  for (let r = n - 1; r >= 0; r--) {
    let sum = rows[r][n]
    for (let k = r + 1; k < n; k++) sum -= rows[r][k] * x[k]
    x[r] = sum / rows[r][r]
  }
  return x
}

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduceRight((sum, c) => sum * x + c, 0)
}

for (const problem of problems) {
  const { coefficients, error } = minimax(problem)
  console.log(
    `${problem.name}; largest relative error ${error.toExponential(1)} = 2^${Math.log2(error).toFixed(1)}`,
  )
  console.log(`  [${coefficients.map((c) => c.toPrecision(10)).join(', ')}]`)
}
