// The same training in a Web Worker.
import * as ef from 'evenfold'
import { trainingSteps } from '../../support/training-steps'

addEventListener('message', async ({ data }: MessageEvent<ef.DeviceName>) => {
  await ef.init({ device: data })
  postMessage(await trainingSteps())
})
