// The page of the harness's own test.
import { runWorker } from '../../support/page'
import { squares } from '../../support/squares'

window.inPage = () => squares(navigator.gpu)
window.inWorker = () =>
  runWorker(new Worker(new URL('./squares.worker.ts', import.meta.url), { type: 'module' }))
