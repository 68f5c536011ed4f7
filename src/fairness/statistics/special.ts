// The functions behind intervals and tests: log-gamma, the regularised incomplete beta and gamma functions, and the
// normal, Student and binomial distributions that follow from them. All in double precision; test/goldens/statistics.py
// holds them to SciPy.

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
]

/** log Γ(x) for x > 0 (Lanczos, g = 7). */
export function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x)
  const y = x - 1
  let sum = LANCZOS[0]!
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i]! / (y + i)
  const t = y + 7.5
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum)
}

/** The continued fraction with terms a(i) / (b(i) + …), by Lentz's method. */
function continuedFraction(b0: number, a: (i: number) => number, b: (i: number) => number): number {
  const tiny = 1e-300
  let f = b0 || tiny
  let c = f
  let d = 0
  for (let i = 1; i < 10_000; i++) {
    d = b(i) + a(i) * d || tiny
    c = b(i) + a(i) / c || tiny
    d = 1 / d
    const factor = c * d
    f *= factor
    if (Math.abs(factor - 1) < 1e-16) break
  }
  return f
}

/** The regularised incomplete beta function I_x(a, b): the chance that a Beta(a, b) variable is at most x. */
export function regularizedBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  // The fraction converges fast below the mean; above it the mirror image does.
  if (x > (a + 1) / (a + b + 2)) return 1 - regularizedBeta(1 - x, b, a)
  const front = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x) - Math.log(a),
  )
  const term = (i: number) => {
    const m = i >> 1
    if (i % 2 === 0) return (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    return (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
  }
  return front / continuedFraction(1, term, () => 1)
}

/** The x with I_x(a, b) = p: Newton's steps inside a shrinking bracket. */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0
  if (p >= 1) return 1
  const logBeta = logGamma(a) + logGamma(b) - logGamma(a + b)
  let low = 0
  let high = 1
  let x = a / (a + b)
  for (let i = 0; i < 200; i++) {
    const error = regularizedBeta(x, a, b) - p
    if (error > 0) high = x
    else low = x
    const density = Math.exp((a - 1) * Math.log(x) + (b - 1) * Math.log1p(-x) - logBeta)
    let next = x - error / density
    if (!(next > low && next < high)) next = (low + high) / 2
    if (Math.abs(next - x) <= 1e-15 * x) return next
    x = next
  }
  return x
}

/** The complementary error function, by the series or the continued fraction of the incomplete gamma function. */
function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x)
  const square = x * x
  if (x > 1.5) {
    const fraction = continuedFraction(
      square + 0.5,
      (i) => -i * (i - 0.5),
      (i) => square + 2 * i + 0.5,
    )
    return (x * Math.exp(-square)) / (Math.sqrt(Math.PI) * fraction)
  }
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
    term *= (2 * square) / (2 * n + 1)
    sum += term
  }
  return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * sum
}

/** The chance that a standard normal variable is at most z. */
export function normalCdf(z: number): number {
  return 0.5 * erfc(-z / Math.SQRT2)
}

/**
 * The z with normalCdf(z) = p. Acklam's rational approximation, then one step of Halley's method, which carries it to
 * double precision.
 */
export function normalQuantile(p: number): number {
  if (p <= 0) return -Infinity
  if (p >= 1) return Infinity
  if (p > 0.5) return -normalQuantile(1 - p)
  let z: number
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p))
    z =
      (((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) *
        q +
        4.374664141464968) *
        q +
        2.938163982698783) /
      ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) *
        q +
        1)
  } else {
    const q = p - 0.5
    const r = q * q
    z =
      ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
        30.66479806614716) *
        r +
        2.506628277459239) *
        q) /
      (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
        13.28068155288572) *
        r +
        1)
  }
  const step = (normalCdf(z) - p) * Math.sqrt(2 * Math.PI) * Math.exp((z * z) / 2)
  return z - step / (1 + (z * step) / 2)
}

/** The chance that |t| is at least as large under Student's distribution with `df` degrees of freedom. */
export function studentTwoSided(t: number, df: number): number {
  return regularizedBeta(df / (df + t * t), df / 2, 0.5)
}

/** The chance of exactly k hits in n trials of chance p. */
export function binomialPmf(k: number, n: number, p: number): number {
  if (k < 0 || k > n) return 0
  if (p <= 0 || p >= 1) return k === (p <= 0 ? 0 : n) ? 1 : 0
  const ways = logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1)
  return Math.exp(ways + k * Math.log(p) + (n - k) * Math.log1p(-p))
}

/** The chance of at most k hits in n trials of chance p. */
export function binomialCdf(k: number, n: number, p: number): number {
  if (k < 0) return 0
  return k >= n ? 1 : regularizedBeta(1 - p, n - k, k + 1)
}
