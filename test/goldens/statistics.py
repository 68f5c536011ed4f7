"""Intervals, tests and distributions from SciPy and statsmodels: statistics.json. Needs scipy and statsmodels besides."""

import json
from pathlib import Path

import numpy as np
from scipy import special, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint  # noqa: F401

rng = np.random.default_rng(7)
out = {}

out["normalCdf"] = [[z, float(special.ndtr(z))] for z in (-8.5, -5.0, -2.5, -1.2, -0.3, 0.0, 0.4, 1.96, 3.7, 6.0)]
out["normalQuantile"] = [[p, float(special.ndtri(p))] for p in (1e-12, 1e-5, 0.001, 0.02, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999)]
out["logGamma"] = [[x, float(special.gammaln(x))] for x in (0.1, 0.5, 1.0, 1.5, 2.0, 7.3, 101.0, 5001.0)]
out["regularizedBeta"] = [
    [x, a, b, float(special.betainc(a, b, x))]
    for x, a, b in [(0.5, 0.5, 0.5), (0.01, 2, 30), (0.3, 5, 5), (0.97, 40, 2), (0.5, 2500, 2501), (0.049, 250, 4751), (1e-4, 1, 5000)]
]
out["betaQuantile"] = [
    [p, a, b, float(special.betaincinv(a, b, p))]
    for p, a, b in [(0.025, 1, 50), (0.975, 1, 5000), (0.025, 8, 3), (0.975, 9, 2), (0.025, 2500, 2501), (0.6, 0.5, 0.5), (0.001, 300, 20)]
]
out["studentTwoSided"] = [[t, df, float(2 * stats.t.sf(abs(t), df))] for t, df in [(0.0, 3), (1.3, 2.5), (8.2, 7.476), (-2.2, 40), (30, 11)]]
out["binomialCdf"] = [[k, n, p, float(stats.binom.cdf(k, n, p))] for k, n, p in [(0, 5, 0.1), (3, 13, 0.5), (40, 100, 0.45), (4700, 5000, 0.95)]]

out["proportion"] = [
    [k, n, level, *map(float, proportion_confint(k, n, 1 - level, "wilson")), *map(float, proportion_confint(k, n, 1 - level, "beta"))]
    for k, n, level in [(0, 5, 0.95), (8, 10, 0.95), (1, 50, 0.95), (50, 50, 0.9), (250, 5000, 0.95), (4987, 5000, 0.99), (33, 91, 0.8)]
]

out["mcnemar"] = []
for gained, lost in [(3, 10), (0, 0), (0, 6), (5, 5), (12, 30), (100, 140)]:
    table = [[0, lost], [gained, 0]]
    exact = float(mcnemar(table, exact=True).pvalue)
    n, few = gained + lost, min(gained, lost)
    mid = 1.0 if n == 0 else float(min(1, 2 * stats.binom.cdf(few, n, 0.5) - stats.binom.pmf(few, n, 0.5)))
    chi = 1.0 if n == 0 else float(mcnemar(table, exact=False, correction=False).pvalue)
    corrected = 1.0 if n == 0 else float(stats.chi2.sf(max(0, abs(gained - lost) - 1) ** 2 / n, 1))
    out["mcnemar"].append([gained, lost, exact, mid, chi, corrected])

# Tango (1998), Table III: 100 (1 - 2 alpha) = 95 % score limits for pairs (b, c, n); checked here by the definition,
# maximizing the likelihood under the hypothesis numerically instead of by the closed form.
from scipy.optimize import brentq, minimize_scalar


def score(b, c, n, delta):
    # p12 - p21 = delta; with q = p21, log-likelihood b log(q + delta) + c log q + (n - b - c) log(1 - 2 q - delta)
    low, high = max(0.0, -delta), (1 - delta) / 2
    f = lambda q: -(special.xlogy(b, q + delta) + special.xlogy(c, q) + special.xlogy(n - b - c, 1 - 2 * q - delta))
    q = minimize_scalar(f, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    q = min((q, low, high), key=lambda v: f(v) if np.isfinite(f(v)) else np.inf)
    return (b - c - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))


out["tango"] = []
for b, c, n in [(0, 0, 44), (1, 3, 54), (9, 2, 50), (0, 5, 30), (29, 10, 200), (3, 3, 40)]:
    z = float(special.ndtri(0.975))
    d = (b - c) / n
    upper = brentq(lambda t: score(b, c, n, t) + z, d + 1e-9, 1 - 1e-9, xtol=1e-12)
    lower = brentq(lambda t: score(b, c, n, t) - z, -1 + 1e-9, d - 1e-9, xtol=1e-12)
    out["tango"].append([b, c, n, float(lower), float(upper)])

p = [float(x) for x in np.round(rng.uniform(0, 0.08, 12), 4)]
p[3] = p[7]
out["multiple"] = {"p": p, "holm": multipletests(p, method="holm")[1].tolist(), "bh": multipletests(p, method="fdr_bh")[1].tolist()}

out["welch"] = []
for n, m, shift in [(5, 5, 0.4), (3, 20, 0.0), (40, 9, 1.5)]:
    a, b = rng.normal(0, 1, n).round(6), rng.normal(shift, 2, m).round(6)
    t = stats.ttest_ind(a, b, equal_var=False)
    out["welch"].append([a.tolist(), b.tolist(), float(t.statistic), float(t.df), float(t.pvalue)])

sample = rng.exponential(1, 40).round(4)
boot = {m: stats.bootstrap((sample,), np.mean, n_resamples=200_000, method=m, rng=np.random.default_rng(1), batch=1000) for m in ("percentile", "BCa")}
out["bootstrap"] = {
    "sample": sample.tolist(),
    **{m.lower(): [float(r.confidence_interval.low), float(r.confidence_interval.high)] for m, r in boot.items()},
    "standardError": float(boot["BCa"].standard_error),
}

text = "{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in out.items()) + "\n}\n"
Path(__file__).with_suffix(".json").write_text(text)
