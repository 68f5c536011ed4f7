// A page that uses the library as its users do.
import * as ef from 'evenfold'
import { askWorker } from '../../support/page'
import { trainingSteps } from '../../support/training-steps'

declare global {
  interface Window {
    chosenDevice(): Promise<ef.DeviceName>
    trainInPage(device: ef.DeviceName): Promise<number[]>
    trainOnOwnDevice(): Promise<number[]>
    trainInWorker(device: ef.DeviceName): Promise<number[]>
  }
}

window.chosenDevice = () => ef.init()

window.trainInPage = async (device) => {
  await ef.init({ device })
  return trainingSteps()
}

window.trainOnOwnDevice = async () => {
  const adapter = await navigator.gpu.requestAdapter()
  const gpuDevice = await adapter!.requestDevice()
  await ef.init({ gpuDevice })
  const losses = await trainingSteps()
  ef.shutdown()
  // Still the page's own: not destroyed with the library's use of it.
  gpuDevice.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE }).destroy()
  const lost = await Promise.race([gpuDevice.lost.then(() => true), gpuDevice.queue.onSubmittedWorkDone()])
  if (lost) throw new Error("shutdown() destroyed the page's own device")
  gpuDevice.destroy()
  return losses
}

window.trainInWorker = (device) =>
  askWorker(new Worker(new URL('./training.worker.ts', import.meta.url), { type: 'module' }), device)
