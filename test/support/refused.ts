// Bad input must be refused before a byte is allocated: how tests say so.
import * as ef from 'evenfold'
import { expect } from 'vitest'

type ErrorType = new (message: string) => Error
export type Mistake = [what: string, run: () => unknown, type: ErrorType, message: RegExp]

/** Runs a mistake. Nothing may be allocated on its way to the error, not even for a moment: the peak would show it. */
async function refused(run: () => unknown): Promise<Error> {
  const { cpu, webgpu } = ef.memory()
  ef.resetPeakMemory()
  let error: unknown
  try {
    await run()
  } catch (thrown) {
    error = thrown
  }
  const after = ef.memory()
  for (const [now, before] of [
    [after.cpu, cpu],
    [after.webgpu, webgpu],
  ]) {
    expect(now.peakBytes).toBe(before.bytes)
    // What earlier tests dropped may be collected during an `await`.
    expect(now.tensors).toBeLessThanOrEqual(before.tensors)
  }
  expect(error, 'nothing was thrown').toBeInstanceOf(ef.EvenfoldError)
  return error as Error
}

/** Expects a mistake to end in an error of its type and message, with nothing allocated and nothing kept. */
export async function expectRefused([what, run, type, message]: Mistake): Promise<void> {
  const error = await refused(run)
  expect(error, what).toBeInstanceOf(type)
  expect(error.message, what).toMatch(message)
}
