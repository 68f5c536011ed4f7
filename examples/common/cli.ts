// Command-line manners that the examples share: options checked, wrong input answered by one clear line.

import { EvenfoldError, NonFiniteError, shutdown } from 'evenfold'
import { parseArgs, type ParseArgsConfig } from 'node:util'

/** What the user typed cannot be served; ends the program with exit code 2. */
class UsageError extends Error {}

type OptionSpecs = NonNullable<ParseArgsConfig['options']>

/** The options of the command line. Unknown ones end the program; `--help` prints the usage. */
export function readOptions<O extends OptionSpecs>(usage: string, specs: O) {
  try {
    const options = { ...specs, help: { type: 'boolean', short: 'h' } } as const
    const { values } = parseArgs({ options, allowPositionals: false })
    if ((values as { help?: boolean }).help) {
      console.log(usage)
      process.exit(0)
    }
    return values
  } catch (error) {
    throw new UsageError(`${messageOf(error).split('. To specify')[0]}\n\n${usage}`)
  }
}

/** A number at least `least`, or the default where the option is absent. */
export function numberOption<T>(name: string, value: string | undefined, absent: T, least = 0): number | T {
  if (value === undefined) return absent
  const number = Number(value)
  if (value.trim() !== '' && Number.isFinite(number) && number >= least) return number
  throw new UsageError(`--${name} is '${value}'; expected a number of at least ${least}`)
}

/** A whole number at least `least`, or the default. */
export function countOption<T>(name: string, value: string | undefined, absent: T, least = 1): number | T {
  if (value === undefined || Number.isInteger(Number(value))) return numberOption(name, value, absent, least)
  throw new UsageError(`--${name} is '${value}'; expected a whole number`)
}

/** One of a list, or undefined where the option is absent. */
export function choiceOption<T extends string>(
  name: string,
  value: string | undefined,
  choices: readonly T[],
): T | undefined {
  const found = choices.find((choice) => choice === value)
  if (value === undefined || found !== undefined) return found
  throw new UsageError(`--${name} is '${value}'; expected ${choices.join(' or ')}`)
}

/**
 * Runs an example. Errors that the user can mend are a line without a stack, with exit code 2 for wrong input and 1
 * for what went wrong later. The GPU is given back, or Node would not exit.
 */
export async function main(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof EvenfoldError)) throw error
    console.error(`\n${error.message}`)
    process.exitCode = error instanceof NonFiniteError ? 1 : 2
  } finally {
    shutdown()
  }
}

/** Ends the program with a message and exit code 2. */
export function refuse(message: string): never {
  throw new UsageError(message)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** 61.2 -> `1 min 1 s`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds)
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`
}

/** 0.87 and its interval -> `87.0 % (95 % interval 84.2 to 89.4 %)`. */
export function formatShare(share: number, [low, high]: readonly [number, number]): string {
  const percent = (x: number) => (100 * x).toFixed(1)
  return `${percent(share)} % (95 % interval ${percent(low)} to ${percent(high)} %)`
}
