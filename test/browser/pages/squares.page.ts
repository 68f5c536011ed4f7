// The page of the harness's own test.
import { askWorker } from '../../support/page'
import { squares } from '../../support/squares'

declare global {
  interface Window {
    squaresInPage(): Promise<number[]>
    squaresInWorker(): Promise<number[]>
  }
}

window.squaresInPage = () => squares(navigator.gpu)
window.squaresInWorker = () =>
  askWorker(new Worker(new URL('./squares.worker.ts', import.meta.url), { type: 'module' }))
