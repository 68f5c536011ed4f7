// The page of the threads' test: training steps with as many threads as the test asks for.
import * as ef from 'evenfold'
import { trainingSteps } from '../../support/training-steps'

declare global {
  interface Window {
    /** Losses, and a product that is large enough to be shared. */
    trainWithThreads(threads: number): Promise<number[]>
  }
}

window.trainWithThreads = async (threads) => {
  await ef.init({ device: 'cpu', threads })
  const losses = await trainingSteps()
  ef.manualSeed(3)
  const x = ef.randn([300, 300])
  return [...losses, ...(await ef.sum(ef.exp(ef.div(ef.matmul(x, x), 100)), 0).data())]
}
