// The cpu's threads in this run of the tests: what holds kernels to their references runs a second time with two, which
// then divide even the smallest work.
import type { CpuBackend } from '../../src/backend/cpu'

/** The backend, with as many threads as this run is about. */
export async function withThreads(backend: CpuBackend): Promise<CpuBackend> {
  const count = Number(process.env.EVENFOLD_TEST_THREADS)
  if (count > 1) await backend.setThreads(count, 1)
  return backend
}
