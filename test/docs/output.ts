// What a page says a script prints, against what it printed.

/** Decimals may differ by so much of their size and by a step in the last digit shown: another build or machine. */
const TOLERANCE = 0.02
const NUMBER = /-?\d+(?:\.\d+)?(?:e[-+]?\d+)?/g

/** Null, or the first line that differs. */
export function outputDifference(expected: string, actual: string): string | null {
  const want = expected.trimEnd().split('\n')
  const got = actual.trimEnd().split('\n')
  let at = 0
  for (const [i, line] of want.entries()) {
    if (line.trim() === '…') {
      const next = want[i + 1]
      if (next === undefined) return null
      while (at < got.length && !sameLine(next, got[at])) at++
      continue
    }
    if (at === got.length) return `the page goes on with '${line}', the output has ended:\n${actual}`
    if (!sameLine(line, got[at])) return `the page says '${line}', the output '${got[at]}' in\n${actual}`
    at++
  }
  return at === got.length ? null : `the page has ended, the output goes on with '${got[at]}'`
}

/** Words alike, whole numbers equal, decimals close. */
function sameLine(expected: string, actual: string): boolean {
  const shape = (line: string) => line.replaceAll(NUMBER, '#').trimEnd()
  if (shape(expected) !== shape(actual)) return false
  const [want, got] = [expected, actual].map((line) => line.match(NUMBER) ?? [])
  return want.every(
    (text, i) => text === got[i] || (isDecimal(text) && isDecimal(got[i]) && isClose(text, got[i])),
  )
}

const isDecimal = (text: string): boolean => /[.e]/.test(text)

function isClose(expected: string, actual: string): boolean {
  const [, decimals = '', exponent = '0'] = /^-?\d+\.?(\d*)(?:e(.*))?$/.exec(expected) ?? []
  const step = 10 ** (Number(exponent) - decimals.length)
  // A hair more than a step: 0.1 and 0.2 are not numbers of the binary system.
  return Math.abs(+expected - +actual) <= TOLERANCE * Math.abs(+expected) + 1.001 * step
}
